"""Results of several frames, and the nightly transfer function for frames that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.display import Words
from crosscal.core.errors import FitError, InputError
from crosscal.core.robust import mad_sd
from crosscal.core.tables import describe
from crosscal.core.threads import one_thread
from crosscal.core.units import floats, plain
from crosscal.fluxcal.curve.curve import Curve, compress, polynomials
from crosscal.fluxcal.quality import Quality
from crosscal.fluxcal.result import NO_PATTERN, PATTERN, FluxCalibration
from crosscal.fluxcal.tables import STARS
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import Presented


@one_thread
def transfer_function(
    curves: Sequence[Curve], times: Sequence[float], when: float, *, n: int = 5, scale: float = 0.1
) -> Curve:
    """Curve of a moment from the curves of neighbouring frames.

    ln C is the mean of the ``n`` nearest in time with weights 1 / (1 + (dt / scale)^2), ``scale`` in days. The
    spread between them, in grey and slope, is added to the covariance in full: another frame differs from its
    neighbours that much.

    Parameters
    ----------
    curves : sequence of Curve
    times : sequence of float, days
        Of the curves.
    when : float, days

    Raises
    ------
    InputError
        If there is no curve or the grids differ.

    Examples
    --------
    >>> night = fluxcal.transfer_function(curves, times, when=59000.5)  # doctest: +SKIP
    """
    if not curves:
        raise InputError("no neighbouring curve", where="transfer function", expected="at least one frame that passed")
    grid = curves[0].wavelength
    if any(not np.allclose(c.wavelength, grid, rtol=1e-3) for c in curves if c.wavelength.size == grid.size) or any(
        c.wavelength.size != grid.size for c in curves
    ):
        raise InputError("curves on different grids", where="transfer function", expected="frames of one arm")
    distance = np.abs(
        floats(times, "d", where="transfer function") - float(plain(when, "d", where="transfer function"))
    )
    distance = np.where(np.isfinite(distance), distance, np.nanmax(np.append(distance[np.isfinite(distance)], 1.0)))
    nearest = np.argsort(distance, kind="stable")[:n]
    weight = 1 / (1 + (distance[nearest] / scale) ** 2)
    weight /= weight.sum()
    chosen = [curves[k] for k in nearest]
    logs = np.stack([np.log(c.value) for c in chosen])
    mean = weight @ logs
    covered = np.all([c.covered for c in chosen], axis=0)
    basis = polynomials(grid, 1)
    inside = covered & np.isfinite(mean)
    deviation = np.stack([np.linalg.lstsq(basis[:, inside].T, (row - mean)[inside], rcond=None)[0] for row in logs])
    if len(chosen) > 1:
        spread = (deviation.T * weight) @ deviation / max(1 - float(np.sum(weight**2)), 0.2)
    else:
        # One neighbour says nothing about the spread: 0.1 mag in grey and 0.02 mag per 1000 A, typical of a night.
        spread = np.diag(np.array([0.1, 0.02]) * 0.4 * np.log(10)) ** 2
    values, vectors = np.linalg.eigh(spread)
    own = [np.sqrt(w) * c.modes for w, c in zip(weight, chosen, strict=True)]
    modes = compress(np.concatenate([*own, np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T @ basis]))
    value = np.exp(mean)
    relative = sum(w**2 * c.variance / c.value**2 for w, c in zip(weight, chosen, strict=True))
    first = chosen[0]
    return replace(
        first,
        value=value,
        variance=value**2 * relative,
        modes=modes,
        covered=inside,
        bridged=np.any([c.bridged for c in chosen], axis=0),
        n_stars=np.sum([c.n_stars for c in chosen], axis=0),
        scatter=np.sqrt(np.mean([c.scatter**2 for c in chosen], axis=0)),
        names=(),
        coefficients=np.zeros((0, 1)),
        coefficient_errors=np.zeros((0, 1)),
        rejected=(),
        rejected_why=(),
        rms=float(np.mean([c.rms for c in chosen])),
        plate=None,
        warnings=("from neighbouring frames: the error of the flux scale is the spread between them",),
    )


def fall_back(results: Sequence[FluxCalibration]) -> list[FluxCalibration]:
    """Give frames that failed the transfer function of their night; those without a neighbour stay failed.

    Neighbours are passed frames whose grids agree. The result keeps its stars and says in ``source`` where its curve
    is from.
    """
    finished = []
    for result in results:
        if result.passed:
            finished.append(result)
            continue
        neighbours = [r for r in results if r.passed and same_arm(r, result)]
        if not neighbours:
            finished.append(result)
            continue
        curves = [r.curve for r in neighbours if r.curve is not None]
        curve = transfer_function(curves, [r.info.mjd for r in neighbours], result.info.mjd)
        names = ", ".join(r.info.name for r in neighbours[:5])
        check = Check("fallback", True, f"curve from {len(curves)} neighbouring frame(s)")
        warnings = (*result.quality.warnings, f"own stars failed: {result.quality.reason}", *curve.warnings)
        finished.append(
            replace(
                result,
                curve=curve,
                vectors=(),
                held_out=(),
                quality=Quality((check,), warnings),
                source=f"neighbours: {names}",
            )
        )
    return finished


def same_arm(one: FluxCalibration, other: FluxCalibration) -> bool:
    """Whether two frames share a grid of wavelengths."""
    a, b = one.info.grid, other.info.grid
    # Half a pixel or so of drift between nights is less than any feature of a smooth curve.
    return a.size == b.size and bool(np.max(np.abs(a - b)) < 3 * np.median(np.diff(a)))


@dataclass(frozen=True, eq=False, repr=False)
class NightCalibration(Presented):
    """Results of several frames; what the command line shows.

    ``results`` are in the order of the frames; ``unread`` are (file, reason) of frames that could not be read.

    Examples
    --------
    >>> night = fluxcal.calibrate_frames(calibrator, frames)  # doctest: +SKIP
    >>> night.answer, night.summary(), night.statistics()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "fluxcal-night"

    results: tuple[FluxCalibration, ...]
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        good = [r for r in self.results if r.passed]
        total = len(self.results) + len(self.unread)
        if len(self.results) == 1 and not self.unread:
            return self.results[0].answer
        stats = self.statistics()
        text = f"{len(good)} of {total} frames calibrated"
        if np.isfinite(stats["grey"]):
            text += f"; leave-one-star-out scatter: grey {stats['grey']:.3f} mag, slope {stats['slope']:.3f} mag/1000 Å"
            if np.isfinite(stats["colour"]):
                text += f", colour {stats['colour']:.3f} mag (median {stats['colour_median']:+.3f})"
        aside = self.statistics("targets")
        if aside["n"] and np.isfinite(aside["grey"]):
            text += f"; {aside['n']:.0f} targets against the catalogue: grey {aside['grey']:.3f} mag"
            if np.isfinite(aside["colour"]):
                text += f", colour {aside['colour']:.3f} mag (median {aside['colour_median']:+.3f})"
        together = {r.together for r in self.results if r.together}
        if together:
            text += f"; the arms of {len(together)} exposure{'s' if len(together) > 1 else ''} calibrated together"
        asked = [r for r in good if r.options.position == "auto" and np.isfinite(r.info.fibres.x).any()]
        if asked:
            fields = sum(r.curve is not None and r.curve.plate is not None for r in asked)
            text += f"; {PATTERN} in {fields} frames" if fields else f"; {NO_PATTERN}"
        return text + "."

    @property
    def warnings(self) -> tuple[str, ...]:
        """Failures first, then notes of frames (each kind once)."""
        notes = [f"{name}: not read: {why}" for name, why in self.unread]
        notes += [f"{r.info.name}: not calibrated: {r.quality.reason}" for r in self.results if not r.passed]
        seen: dict[str, list[str]] = {}
        for r in self.results:
            for w in r.warnings:
                seen.setdefault(w, []).append(r.info.name)
        notes += [
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {w}" for w, names in seen.items()
        ]
        return tuple(notes)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Checks of the frames, by their names; of many frames only the failed ones."""
        found = [Check(name, False, f"not read: {why}") for name, why in self.unread]
        found += [
            Check(f"{r.info.name}: {c.name}", c.passed, c.why)
            for r in self.results
            for c in r.checks
            if not c.passed or len(self.results) <= 6
        ]
        return tuple(found) or (Check("all frames", True, f"{len(self.results)} frames passed all checks"),)

    @property
    def diagnostics(self) -> str:
        """Checks of the failed frames, else of all."""
        failed = [r for r in self.results if not r.passed] or list(self.results)
        return Words("\n".join(f"{r.info.name}\n{r.diagnostics}" for r in failed[:20]))

    @property
    def _first(self) -> FluxCalibration:
        """The first frame with a curve."""
        for r in self.results:
            if r.curve is not None:
                return r
        raise FitError("no frame has a calibration curve.")

    @property
    def correction(self) -> Correction:
        """The correction of the first calibrated frame (each result has its own).

        Raises
        ------
        FitError
            If no frame has a curve.
        """
        return self._first.correction

    @property
    def posterior_draws(self) -> Posterior:
        """Draws of ln C of the first calibrated frame (each result has its own).

        Raises
        ------
        FitError
            If no frame has a curve.
        """
        return self._first.posterior_draws

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the first frame; each result has its own."""
        return self.results[0].provenance if self.results else {}

    def statistics(self, which: str = "held_out") -> dict[str, float]:
        """Robust scatters over all frames of the leave-one-star-out residuals ("held_out"), or of the "targets"."""
        held = [h for r in self.results for h in getattr(r, which)]

        def values(key: str) -> Any:
            v = np.array([getattr(h, key) for h in held], dtype=float)
            return v[np.isfinite(v)]

        grey, colour, slope = (values(k) for k in ("grey", "colour", "slope"))
        nan = float("nan")
        return {
            "n": float(len(held)),
            "grey": float(mad_sd(grey)) if grey.size > 2 else nan,
            "grey_median": float(np.median(grey)) if grey.size else nan,
            "colour": float(mad_sd(colour)) if colour.size > 2 else nan,
            "colour_median": float(np.median(colour)) if colour.size else nan,
            "slope": float(mad_sd(slope)) if slope.size > 2 else nan,
            "slope_median": float(np.median(slope)) if slope.size else nan,
        }

    def summary(self) -> Any:
        """One row per frame and star (QTable)."""
        from astropy.table import QTable, vstack

        tables = []
        for r in self.results:
            table = r.summary()
            table.add_column(np.full(len(table), r.info.name), name="frame", index=0)
            table.meta = {}
            tables.append(table)
        return describe(vstack(tables) if tables else QTable(), STARS)

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of what to cite."""
        return tuple(dict.fromkeys(key for r in self.results for key in r.citations))
