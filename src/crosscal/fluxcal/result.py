"""What a calibration hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.display import Words
from crosscal.core.errors import FitError
from crosscal.core.provenance import record
from crosscal.core.robust import mad_sd
from crosscal.core.threads import on_one_thread
from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.loo import HeldOut
from crosscal.fluxcal.frames.files import CalibratedFrame
from crosscal.fluxcal.frames.source import FrameInfo
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.quality import REJECTED, Quality
from crosscal.fluxcal.stars.reddening import FieldReddening
from crosscal.fluxcal.tables import star_table
from crosscal.fluxcal.types import CalibrationVector, Frame, StarFit, StarStatus
from crosscal.inference.gaussian import gaussian_posterior
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import Presented

#: Most nodes of the correction that is handed out (its covariance is dense).
CORRECTION_NODES = 256


#: Keys of the report's bibliography: velocities and their errors, Galactic extinction.
CITATIONS = ("tonry-davis", "zucker", "fitzpatrick")


#: What an answer says of losses that vary smoothly over the plate, where the data were to decide.
PATTERN = "a smooth pattern of fibre losses over the plate is corrected"
NO_PATTERN = "fibre losses show no smooth pattern over the plate"
#: What a frame without a curve fails.
NO_CURVE = Check("curve", False, "no calibration curve")


@dataclass(frozen=True, eq=False, repr=False)
class FluxCalibration(Presented):
    """The calibration of one frame.

    Attributes
    ----------
    info : FrameInfo, the frame without its spectra
    stars : tuple of StarFit, all standards with their status
    vectors : tuple of CalibrationVector, of the used stars
    curve : Curve or None where nothing could be calibrated
    held_out : tuple of HeldOut, leave-one-out residuals
    quality : Quality
    options : Options
    bands : tuple of str
    template_library : str
    source : "stars", or where the curve came from ("neighbours: ...")
    targets : tuple of HeldOut, standards that were calibrated as targets, against the catalogue
    notes : tuple of str, what was assumed about the catalogue
    loaded : Frame, optional; without it the frame is read again where it is needed
    together : tuple of str, names of the frames of all arms that were calibrated together; empty for a single frame

    Examples
    --------
    >>> result = fluxcal.calibrate(frame, stars, "demo", filters)  # doctest: +SKIP
    >>> result.answer, result.summary(), result.curve  # doctest: +SKIP
    """

    kind: ClassVar[str] = "fluxcal"

    info: FrameInfo
    stars: tuple[StarFit, ...]
    vectors: tuple[CalibrationVector, ...]
    curve: Curve | None
    held_out: tuple[HeldOut, ...]
    quality: Quality
    options: Options
    bands: tuple[str, ...]
    template_library: str = ""
    source: str = "stars"
    targets: tuple[HeldOut, ...] = ()
    notes: tuple[str, ...] = ()
    loaded: Frame | None = None
    together: tuple[str, ...] = ()

    @property
    def frame(self) -> Frame:
        """The frame with its spectra, read again where the result does not keep it.

        Raises
        ------
        FitError
            If it is not kept and has no file.
        """
        if self.loaded is not None:
            return self.loaded
        if self.info.file is None:
            raise FitError(f"{self.info.name}: the spectra were not kept.")
        return self.info.file.read()

    @property
    def used(self) -> tuple[StarFit, ...]:
        """The stars that made the curve."""
        return tuple(s for s in self.stars if s.status == StarStatus.USED)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The quality checks; a frame without a curve fails one."""
        return self.quality.checks if self.curve is not None else (*self.quality.checks, NO_CURVE)

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        if not self.passed:
            return f"{self.info.name}: not calibrated: {self.quality.reason or 'no curve'}."
        assert self.curve is not None
        error = float(np.median(np.sqrt(np.sum(self.curve.modes**2, axis=0))[self.curve.covered]))
        return (
            f"{self.info.name}: calibrated with {len(self.used)} of {len(self.stars)} stars{self._rejected}, "
            f"scatter {100 * self.curve.rms:.1f} %, error of the curve {100 * error:.1f} %"
            f"{self._dust}{self._field}{self._arms}."
        )

    @property
    def reddening(self) -> FieldReddening | None:
        """E(B-V) of the field, by its map and by its stars; None if no star was fitted."""
        return next((s.reddening for s in self.stars if s.reddening is not None), None)

    @property
    def _dust(self) -> str:
        """The E(B-V) that was used, where stars had a say in it."""
        field = self.reddening
        return f"; {field}" if field is not None and field.fitted else ""

    @property
    def _field(self) -> str:
        """Whether a field over the plate was used, if the data were to decide."""
        if self.options.position != "auto" or self.curve is None or not np.isfinite(self.info.fibres.x).any():
            return ""
        return f"; {PATTERN if self.curve.plate is not None else NO_PATTERN}"

    @property
    def _arms(self) -> str:
        others = [name for name in self.together if name != self.info.name]
        return f"; together with {', '.join(others)}" if others else ""

    @property
    def _rejected(self) -> str:
        n = sum(s.status in REJECTED for s in self.stars)
        return f" ({n} rejected)" if n else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting it."""
        notes = [*self.info.notes, *self.notes, *self.quality.warnings]
        if self.source != "stars":
            notes.append(f"the curve is taken from {self.source}")
        return tuple(notes)

    @property
    def diagnostics(self) -> str:
        """Quality checks and warnings, and how well the stars determine the level and the shape of the curve."""
        curve = self.curve
        if curve is None or not curve.covered.any():
            return Words(str(self.quality))
        modes = curve.modes[:, curve.covered]
        level = modes.mean(axis=1, keepdims=True)
        shape = np.median(np.sqrt(np.sum((modes - level) ** 2, axis=0)))
        known = f"error of the flux scale {100 * np.sqrt(np.sum(level**2)):.1f} % (common to all fibres)"
        known = f"{known}, of the shape of the curve {100 * shape:.1f} % at the median wavelength"
        gaps = f"interpolated across masks: {100 * np.mean(curve.bridged):.0f} % of the wavelengths"
        gaps = f"{gaps}; uncalibrated: {100 * (1 - np.mean(curve.covered)):.0f} %"
        dust = [] if self.reddening is None else [str(self.reddening)]
        return Words("\n".join([str(self.quality), f"{len(self.used)} stars: {known}", *dust, gaps]))

    @cached_property
    def correction(self) -> Correction:
        """C(lambda) in 1e-17 erg/s/cm2/A per count/s with the covariance of ln C, at up to 256 wavelengths.

        Raises
        ------
        FitError
            If there is no curve.
        """
        curve = self._curve()
        inside = np.flatnonzero(curve.covered)
        nodes = inside[np.unique(np.linspace(0, inside.size - 1, CORRECTION_NODES).astype(int))]
        modes = curve.modes[:, nodes]
        with on_one_thread():
            common = modes.T @ modes
        covariance = common + np.diag((curve.variance / curve.value**2)[nodes])
        return Correction(
            curve.wavelength[nodes],
            curve.value[nodes],
            covariance,
            "wavelength",
            unit="Angstrom",
            target=f"counts/s of {self.info.name}, to 1e-17 erg/s/cm2/Angstrom",
            provenance=dict(self.provenance),
        )

    @cached_property
    def posterior_draws(self) -> Posterior:
        """Draws of ln C(lambda) at the wavelengths of ``correction``, from its Gaussian.

        Raises
        ------
        FitError
            If there is no curve.
        """
        found = self.correction
        return gaussian_posterior(
            {"ln_C": np.log(found.factor)},
            found.covariance,
            dims={"ln_C": ["wavelength"]},
            coords={"wavelength": found.coordinate.tolist()},
            messages=self.warnings,
            provenance=self.provenance,
        )

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, options, templates and standards."""
        config = {
            "part": "fluxcal",
            "frame": self.info.name,
            "options": asdict(self.options),
            "bands": list(self.bands),
            "templates": self.template_library,
            "source": self.source,
            "stars": [s.name for s in self.used],
        }
        return record(config=config, seed=0)

    def _curve(self) -> Curve:
        if self.curve is None:
            raise FitError(f"{self.info.name}: there is no calibration curve ({self.quality.reason}).")
        return self.curve

    def apply(self, frame: Frame | None = None, *, variance: str = "total", force: bool = False) -> CalibratedFrame:
        """Calibrate a frame (default: the one this was made from).

        Raises
        ------
        FitError
            If there is no curve, or checks failed and ``force`` is false.
        """
        curve = self._curve()
        if not self.passed and not force:
            raise FitError(f"{self.info.name}: quality checks failed ({self.quality.reason}).")
        return CalibratedFrame(apply_curve(frame or self.frame, curve, self.options, variance=variance), self)

    def summary(self) -> Any:
        """One row per standard star with all quality numbers (QTable)."""
        return star_table(self)

    def frame_summary(self) -> dict[str, Any]:
        """One row about the frame: stars, scatter, leave-one-out statistics, outcome."""
        greys, slopes, colours = (np.array([getattr(h, k) for h in self.held_out]) for k in ("grey", "slope", "colour"))

        nan = float("nan")

        def robust(values: Any) -> float:
            finite = values[np.isfinite(values)] if values.size else values
            return float(mad_sd(finite)) if finite.size > 1 else nan

        return {
            "frame": self.info.name,
            "passed": self.passed,
            "source": self.source,
            "n_standards": len(self.stars),
            "n_used": len(self.used),
            "FCALRMS": float("nan") if self.curve is None else self.curve.rms,
            "loo_grey": robust(greys),
            "loo_slope": robust(slopes),
            "loo_colour": robust(colours),
            "ebv": nan if self.reddening is None else self.reddening.used,
            "ebv_error": nan if self.reddening is None else self.reddening.error,
            "ebv_stars": nan if self.reddening is None else self.reddening.stars,
            "airmass": self.info.airmass,
            "exposure": self.info.exposure,
            "together": " ".join(self.together),
            "reason": self.quality.reason,
        }

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of what to cite."""
        own = ("kurucz",) if self.template_library.startswith("kurucz") else ()
        return (*CITATIONS, *own, *(("calspec",) if any(s.template == "known spectrum" for s in self.used) else ()))
