"""Checks that a calibrated frame must pass, each with its value, limit and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge

from crosscal.core.check import Check
from crosscal.core.options import Fraction, Positive, options
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.loo import HeldOut
from crosscal.fluxcal.types import StarFit, StarStatus

#: Why a check without a measurement passes.
NOT_JUDGED = "not measured, so not judged"


@options
class Limits:
    """What a frame must reach; one that misses a limit fails, with the reason.

    Attributes
    ----------
    min_stars : int
        Fewer used stars fail the frame; one star is passed through with a warning.
    matched_fraction : float
        Least part of the standards with signal that the catalogue knows.
    colour_residual : float
        Largest median RMS (synthetic - catalogue) of the used stars, mag.
    rms : float
        Largest robust fractional scatter of stars about the curve (FCALRMS).
    loo_grey : float
        Largest RMS of leave-one-out residuals, mag; judged with four stars or more.
    loo_slope : float
        Largest RMS of their chromatic slopes, mag per 1000 A.
    coverage : float
        Least part of the frame's pixels that the curve covers.
    """

    min_stars: Annotated[int, Ge(1)] = 1
    matched_fraction: Fraction = 0.5
    colour_residual: Positive = 0.10
    rms: Positive = 0.30
    loo_grey: Positive = 0.8
    loo_slope: Positive = 0.5
    coverage: Fraction = 0.8


@dataclass(frozen=True)
class Quality:
    """All checks of a frame, and what is worth knowing although it passed."""

    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """The failed checks in one sentence, empty if none."""
        return "; ".join(check.why for check in self.checks if not check.passed)

    def __str__(self) -> str:
        marks = ["FAIL" if not c.passed else "-   " if c.why.endswith(NOT_JUDGED) else "ok  " for c in self.checks]
        lines = [f"{mark} {c.why}" for mark, c in zip(marks, self.checks, strict=True)]
        return "\n".join([*lines, *(f"note {w}" for w in self.warnings)])


def _least(name: str, what: str, value: float, limit: float, unit: str = "") -> Check:
    passed = bool(value >= limit)
    return Check(name, passed, f"{what} {value:.3g}{unit} ({'>=' if passed else '<'} {limit:g}{unit})")


def _most(name: str, what: str, value: float, limit: float, unit: str = "") -> Check:
    if np.isnan(value):
        return Check(name, True, f"{what}: {NOT_JUDGED}")
    passed = bool(value <= limit)
    return Check(name, passed, f"{what} {value:.3g}{unit} ({'<=' if passed else '>'} {limit:g}{unit})")


def _nearest(stars: Sequence[StarFit]) -> str:
    """How far the nearest star of the catalogue is from any standard: a wrong catalogue is degrees away."""
    apart = [s.separation for s in stars if np.isfinite(s.separation)]
    if not apart:
        return ""
    arcsec = min(apart)
    unit, size = next(((u, n) for u, n in (("deg", 3600.0), ("arcmin", 60.0)) if arcsec >= n), ("arcsec", 1.0))
    return f", the nearest star of the catalogue is {arcsec / size:.3g} {unit} from a standard"


def _rms(values: Sequence[float]) -> float:
    finite = np.array([v for v in values if np.isfinite(v)])
    return float(np.sqrt(np.mean((finite - np.median(finite)) ** 2))) if finite.size else float("nan")


def judge(stars: Sequence[StarFit], curve: Curve | None, loo: Sequence[HeldOut], limits: Limits) -> Quality:
    """Check the stars, the curve and the leave-one-out residuals of a frame."""
    used = [s for s in stars if s.status == StarStatus.USED]
    seen = [s for s in stars if s.status != StarStatus.NO_SIGNAL]
    unmatched = {StarStatus.NOT_IN_CATALOGUE, StarStatus.AMBIGUOUS_MATCH, StarStatus.DUPLICATE}
    matched = sum(s.status not in unmatched for s in seen)
    checks = [_least("stars", "stars used:", float(len(used)), float(limits.min_stars))]
    if seen:
        check = _least("matched", "matched fraction", matched / len(seen), limits.matched_fraction)
        checks.append(check if check.passed else replace(check, why=check.why + _nearest(seen)))
    warnings: list[str] = []
    if used:
        residual = float(np.median([s.colour_residual for s in used]))
        checks.append(_most("colour", "median colour residual", residual, limits.colour_residual, " mag"))
        several = [s.template for s in used if s.feh <= -2.0 + 1e-6 or s.teff <= 5000 + 1e-6]
        if len(several) > len(used) / 2:
            warnings.append("most stars sit at the edge of the template grid")
    if curve is not None:
        checks.append(_least("coverage", "covered fraction", float(np.mean(curve.covered)), limits.coverage))
        checks.append(_most("rms", "scatter about the curve (FCALRMS)", curve.rms, limits.rms))
        warnings += list(curve.warnings)
        bridged = float(np.mean(curve.bridged))
        if bridged > 0.25:
            warnings.append(f"{bridged:.0%} of the curve bridges masked pixels")
    if len(loo) >= 4:
        checks.append(_most("loo grey", "leave-one-out grey RMS", _rms([h.grey for h in loo]), limits.loo_grey, " mag"))
        slope = _rms([h.slope for h in loo])
        checks.append(_most("loo slope", "leave-one-out slope RMS", slope, limits.loo_slope, " mag/1000 Å"))
    return Quality(tuple(checks), tuple(warnings))
