"""The result of an intercalibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.random import generator
from crosscal.core.rounding import with_error
from crosscal.inference.diagnostics import sampling_check
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import Presented
from crosscal.lightcurves.calibrated import Calibrated, calibrate, calibrated_draws, calibrated_table
from crosscal.lightcurves.diagnostics import Diagnostics, diagnose
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.outliers import LeaveOneOut, leave_one_out
from crosscal.lightcurves.physical import Factors
from crosscal.lightcurves.reconstruction import Reconstruction, reconstruct
from crosscal.lightcurves.sampling import Draws
from crosscal.lightcurves.types import LightCurves

#: Posterior draws over which reconstructions and leave-one-out residuals are averaged.
FEW_DRAWS = 50
#: Leave-one-out residuals beyond this are called outliers.
OUTLIER = 5.0


#: What the columns of `Intercalibration.summary` mean.
COLUMNS = {
    "telescope": "telescope; the reference comes first",
    "points": "points of all files",
    "scale": "posterior mean of the factor phi: calibrated flux = scale * flux - shift",
    "scale_sd": "standard deviation of scale",
    "shift": "posterior mean of the constant G",
    "shift_sd": "standard deviation of shift",
    "covariance": "posterior covariance of scale and shift",
    "syserr*": "error added in quadrature to the quoted errors (file and flag in the name)",
    "errscale*": "factor that multiplies the quoted errors (file and flag in the name)",
    "at_limit": "factors that reach a limit of their prior",
    "held": "factors that were not fitted",
}


@dataclass(frozen=True)
class KernelEvidence:
    """Log evidence of one kernel, with its error and how it was computed."""

    kernel: str
    log_evidence: float
    error: float
    sampler: str
    converged: bool


@dataclass(frozen=True, eq=False, repr=False)
class Intercalibration(Presented):
    """Scale, shift and error model of each telescope, and the merged light curves.

    Attributes
    ----------
    curves : LightCurves
        The data, reference telescope first.
    draws : Draws
        Posterior draws in normalised units.
    factors : Factors
        The same in physical units, in the gauge of ``reference``.
    seed : int
    provenance : mapping
    kernels : tuple of KernelEvidence
        Evidences of other kernels, best first, where they were asked for.
    choices : tuple of str
        What the data chose where the settings said "auto", and why.

    Examples
    --------
    >>> result = lightcurves.intercalibrate(curves)  # doctest: +SKIP
    >>> result.answer, result.summary(), result.calibrated()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "lightcurves"
    curves: LightCurves
    draws: Draws
    factors: Factors
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    kernels: tuple[KernelEvidence, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of what to cite."""
        return "pycali", "drw" if isinstance(self.model.settings.process, Kernel) else "running-mean"

    @property
    def model(self) -> Model:
        """The model that was sampled."""
        return self.draws.model

    @property
    def reference(self) -> str:
        """The telescope whose flux scale is kept."""
        return self.factors.reference

    @cached_property
    def _few(self) -> NDArray[np.float64]:
        vectors = self.draws.vectors
        return vectors[np.linspace(0, len(vectors) - 1, min(FEW_DRAWS, len(vectors))).round().astype(int)]

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """What to trust and what not."""
        z = {curve.name: self.leave_one_out(i).z for i, curve in enumerate(self.curves.files)}
        return diagnose(self.draws, z, OUTLIER)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting the result."""
        return self.diagnostics.warnings

    @cached_property
    def posterior_draws(self) -> Posterior:
        """Draws in physical units: kernel parameters, mean, scale, shift, systematic error, error scale.

        ``vector`` holds the normalised full vector of each draw. Draws of a sampler with chains keep them; importance
        sampling and the Laplace approximation have one.
        """
        f = self.factors
        arrays: dict[str, NDArray[np.float64]] = {
            name.replace("log_", "ln_"): f.kernel[:, :, k] for k, name in enumerate(f.kernel_names)
        }
        dims = {name: ["file"] for name in arrays}
        arrays |= {"mean": f.mean, "scale": f.scale, "shift": f.shift, "syserr": f.syserr, "errscale": f.errscale}
        arrays["vector"] = self.draws.vectors
        dims |= {"mean": ["file"], "scale": ["telescope"], "shift": ["telescope"], "vector": ["element"]}
        dims |= {name: ["file", "telescope", "flag"] for name in ("syserr", "errscale")}
        unit = self.curves.continuum.unit
        sampled = self.draws.posterior
        return Posterior.from_draws(
            {name: values.reshape(self.draws.chains, -1, *values.shape[1:]) for name, values in arrays.items()},
            method=sampled.method,
            dims=dims,
            coords={
                "file": list(f.files),
                "telescope": list(f.codes),
                "flag": list(range(self.curves.n_flags)),
                "element": list(self.model.layout.labels),
            },
            units={"mean": unit, "shift": unit, "syserr": unit},
            log_evidence=sampled.log_evidence,
            log_evidence_error=sampled.log_evidence_error,
            converged=sampled.converged,
            messages=sampled.messages,
            provenance=self.provenance,
        )

    @cached_property
    def correction(self) -> Correction:
        """Scale factor of each telescope relative to the reference, with covariance of the logarithms."""
        return Correction.from_draws(
            np.array(self.factors.codes),
            self.factors.scale,
            axis="telescope",
            target=f"fluxes, to the scale of {self.reference}",
            provenance=self.provenance,
        )

    def summary(self) -> Any:
        """Return an astropy QTable with one row per telescope, in physical units.

        Columns: telescope, points, scale and shift with standard deviations and their covariance, systematic errors
        and error scales per file and flag, which factors are held, and which reach a prior limit.
        """
        from crosscal.core.tables import ResultTable, describe

        f = self.factors
        counts = np.sum([curve.counts for curve in self.curves.files], axis=0)
        table = ResultTable({"telescope": list(f.codes), "points": counts})
        table["scale"], table["scale_sd"] = f.scale.mean(0), f.scale.std(0, ddof=1)
        table["shift"], table["shift_sd"] = f.shift.mean(0), f.shift.std(0, ddof=1)
        centred = (f.scale - f.scale.mean(0)) * (f.shift - f.shift.mean(0))
        table["covariance"] = centred.sum(0) / (len(f.scale) - 1)
        for i, name in enumerate(f.files):
            for k in range(self.curves.n_flags):
                suffix = f"_{i}" * (len(f.files) > 1) + f"_flag{k}" * (self.curves.n_flags > 1)
                table[f"syserr{suffix}"] = f.syserr[:, i, :, k].mean(0)
                table[f"errscale{suffix}"] = f.errscale[:, i, :, k].mean(0)
            table.meta[f"file_{i}"] = name
        if self.curves.continuum.unit:
            for name in table.colnames:
                if name.startswith(("shift", "covariance", "syserr")):
                    table[name].unit = self.curves.continuum.unit
        limits = self.diagnostics.limits
        table["at_limit"] = [
            ", ".join(f"{label.split('[')[0]}: {side}" for label, side in limits.items() if f"[{code}]" in label) or "-"
            for code in f.codes
        ]
        lay = self.model.layout
        held = [[n for n, at in (("scale", lay.scale), ("shift", lay.shift)) if not lay.free[at[c]]]
                for c in range(len(f.codes))]  # fmt: skip
        table["held"] = [", ".join(names) or "-" for names in held]
        table.meta["reference"] = self.reference
        table.meta["log_evidence"] = self.draws.posterior.log_evidence
        table.meta["sampler"] = self.draws.posterior.method
        return describe(table, COLUMNS)

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        f = self.factors
        others = [i for i, code in enumerate(f.codes) if code != self.reference and self._present(i)]
        if not others:
            return f"Only {self.reference} has data; nothing to intercalibrate."
        scales = ((f.codes[i], f.scale[:, i]) for i in others[:6])
        shown = ", ".join(f"{code} by {with_error(scale.mean(), scale.std())}" for code, scale in scales)
        more = f" and {len(others) - 6} more" if len(others) > 6 else ""
        points = f"{len(self.curves)} points of {len(others) + 1} telescopes"
        shifts = ", then subtract their shifts (see the summary)" if np.any(f.shift[:, others] != 0) else ""
        return f"{points} on the flux scale of {self.reference}: multiply the fluxes of {shown}{more}{shifts}." + (
            f" {' '.join(self.choices)}" if self.choices else ""
        )

    def _present(self, i: int) -> bool:
        return any(curve.counts[i] > 0 for curve in self.curves.files)

    def file(self, which: int | str = 0) -> int:
        """Return the number of a file by number or name."""
        names = self.factors.files
        if isinstance(which, str):
            if which not in names:
                raise UnknownNameError("light curve", which, names)
            return names.index(which)
        if not 0 <= which < len(names):
            raise InputError(f"file {which}", where="light curves", expected=f"0 to {len(names) - 1}")
        return which

    def curve(self, which: int | str = 0) -> Calibrated:
        """Return a calibrated light curve with its independent and common errors."""
        i = self.file(which)
        return calibrate(self.curves.files[i], self.factors, i)

    def calibrated(self, *, draws: int | None = None, file: int | str = 0, noise: bool = True) -> Any:
        """Return a merged light curve.

        Parameters
        ----------
        draws : int, optional
            If given, an array (draws, N) of joint draws of the true fluxes at the observed times; every draw shifts
            all points of a telescope together, as the calibration error does. Else a table with independent errors
            (an astropy TimeSeries where the time system is known).
        file : int or str
            0 is the continuum.
        noise : bool
            Whether draws contain the measurement error of each point.
        """
        i = self.file(file)
        curve = self.curves.files[i]
        if draws is None:
            source = self._at_points(i)
            return calibrated_table(self.curves, i, self.curve(i), self.leave_one_out(i).z, source, self.reference)
        return calibrated_draws(curve, self.factors.thin(draws), i, generator(self.seed, "calibrated", i), noise)

    def reconstruct(self, *, file: int | str = 0, times: Any = None) -> Reconstruction:
        """Return the posterior mean and standard deviation of the source's light curve at ``times``.

        In the gauge of ``reference``, averaged over posterior draws, O(N) per draw. Times may be numbers, quantities
        or astropy Times; by default a uniform grid that reaches a little beyond the data.

        Raises
        ------
        InputError
            For times that do not convert.
        """
        i = self.file(file)
        wanted = None if times is None else self.curves.times(times, where="reconstruct, times")
        return self._reconstructed(i, wanted)

    def _at_points(self, i: int) -> Reconstruction:
        """The source at the observed times, in time order."""
        curve = self.curves.files[i]
        if not len(curve):
            return Reconstruction(curve.name, *(np.zeros(0) for _ in range(3)))
        return self._reconstructed(i, curve.time)

    def _reconstructed(self, i: int, wanted: NDArray[np.float64] | None) -> Reconstruction:
        few = np.linspace(0, self.factors.n_draws - 1, min(FEW_DRAWS, self.factors.n_draws)).round().astype(int)
        gauge = None
        if self.reference != self.curves.codes[0]:
            r = self.factors.codes.index(self.reference)
            first = Factors.of(self.model, self.draws.vectors[few], self.draws.means[few])
            gauge = first.scale[:, r], first.shift[:, r] if i == 0 else np.zeros(len(few))
        vectors = self.draws.vectors[few]
        return reconstruct(self.model, vectors, i, wanted, gauge=gauge, inflation=self.draws.inflation)

    def leave_one_out(self, file: int | str = 0) -> LeaveOneOut:
        """Return exact leave-one-out residuals of a file."""
        i = self.file(file)
        return leave_one_out(self.model, self._few, i)

    def regauge(self, code: str) -> Intercalibration:
        """Return the same posterior with another telescope as the reference; nothing is sampled again.

        The priors stay those of the original reference.

        Raises
        ------
        UnknownNameError, InputError
            For a telescope that is not there, or that has no points, so that nothing fixes its scale.
        """
        codes = self.curves.codes
        if code in codes and not any(np.any(one.code == codes.index(code)) for one in self.curves.files):
            raise InputError(f"telescope {code!r} has no points", where="regauge", expected="a telescope with points")
        return replace(self, factors=self.factors.regauge(code))

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether the sampling converged, and whether outliers are few."""
        posterior = self.draws.posterior

        bad = sum(len(found) for found in self.diagnostics.outliers.values())
        n = len(self.curves)
        return (
            sampling_check(posterior.converged, posterior.messages, posterior),
            Check(
                "outliers",
                bad <= max(1.0, 0.01 * n),
                f"{bad} of {n} points have leave-one-out residuals above {OUTLIER:g} sigma (limit 1 %)",
            ),
        )
