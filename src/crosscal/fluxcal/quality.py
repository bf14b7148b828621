"""Checks that a calibrated frame must pass, each with its value, limit and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge

from crosscal.core.check import Check
from crosscal.core.options import Fraction, Positive, options
from crosscal.core.robust import mad_sd
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.loo import HeldOut
from crosscal.fluxcal.curve.outliers import disagreement
from crosscal.fluxcal.types import StarFit, StarStatus

#: Offsets of colours below this, mag, are those of photometric systems.
LEAST_COLOUR = 0.03
#: Why a check without a measurement passes.
NOT_JUDGED = "not measured"


@options
class Limits:
    """Limits of the quality checks; a frame that misses a limit fails, with the reason.

    Attributes
    ----------
    min_stars : int
        Minimum number of stars used; a single star is accepted with a warning.
    matched_fraction : float
        Minimum fraction of the standards with signal that are in the catalogue.
    colour_residual : float
        Largest median RMS (synthetic - catalogue) of the used stars, mag.
    rms : float
        Largest robust fractional scatter of stars about the curve (FCALRMS).
    loo_grey : float
        Largest RMS of leave-one-out residuals, mag; checked with four stars or more.
    loo_slope : float
        Largest RMS of their chromatic slopes, mag per 1000 A.
    coverage : float
        Minimum fraction of the pixels of the frame that the curve covers.

    Examples
    --------
    >>> limits = fluxcal.Limits(min_stars=4, rms=0.1)  # doctest: +SKIP
    >>> result = fluxcal.calibrate(frame, stars, "demo", filters, limits=limits)  # doctest: +SKIP
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
    """All checks of a frame, and further notes."""

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
    return f", the nearest star in the catalogue is {arcsec / size:.3g} {unit} from a standard"


def _rms(values: Sequence[float]) -> float:
    finite = np.array([v for v in values if np.isfinite(v)])
    return float(np.sqrt(np.mean((finite - np.median(finite)) ** 2))) if finite.size else float("nan")


#: Statuses of stars that were fitted and then found not to fit the others.
REJECTED = {
    StarStatus.GREY_OUTLIER, StarStatus.SLOPE_OUTLIER, StarStatus.COLOUR_OUTLIER, StarStatus.TEMPLATE_OUTLIER,
    StarStatus.VELOCITY_OUTLIER,
}  # fmt: skip


def _agreement(used: Sequence[StarFit], stars: Sequence[StarFit], curve: Curve | None, limits: Limits) -> list[Check]:
    """Whether most of the fitted stars agree on the scale."""
    rejected = [s for s in stars if s.status in REJECTED]
    found = []
    if rejected:
        why = f"flux scale from {len(used)} stars, {len(rejected)} rejected"
        found.append(Check("agreement", len(used) > len(rejected), why))
    if curve is not None and len(curve.names) - len(curve.rejected) == 2:
        kept = [k for k in range(len(curve.names)) if k not in curve.rejected]
        apart = disagreement(curve.coefficients[kept], [curve.names[k] for k in kept], 4.0)
        found += [Check("agreement", False, apart)] if apart else []
    return found


def _rejections(stars: Sequence[StarFit], curve: Curve | None) -> list[str]:
    """One sentence for each star that does not fit the others, with how far it is away."""
    grey = dict(zip(curve.names, curve.coefficients, strict=True)) if curve is not None else {}
    notes = []
    for s in (s for s in stars if s.status in REJECTED):
        own = grey.get(s.name)
        apart = f" ({own[0]:+.2f} mag)" if own is not None and s.status == StarStatus.GREY_OUTLIER else ""
        notes.append(f"star {s.name} was rejected: {s.reason}{apart}")
    return notes


def _colour_offset(loo: Sequence[HeldOut]) -> list[str]:
    """Held-out stars whose colours all err alike: what the stars share is wrong."""
    colour = np.array([h.colour for h in loo if np.isfinite(h.colour)])
    if colour.size < 4:
        return []
    offset = float(np.median(colour))
    error = 1.25 * float(mad_sd(colour)) / np.sqrt(colour.size)
    if abs(offset) < max(LEAST_COLOUR, 3 * error):
        return []
    return [
        f"the colours of held-out stars are biased by {offset:+.3f} mag: check E(B-V), telluric bands and photometry"
    ]


def _reddening(used: Sequence[StarFit]) -> list[str]:
    """Whether the stars contradict the E(B-V) of the catalogue or map."""
    field = used[0].reddening
    if field is None or not field.disagrees:
        return []
    told = (
        f"E(B-V) is {field.map:.3f} in the catalogue or map, but the stars give {field.stars:.3f} +/- "
        f"{field.stars_error:.3f}"
    )
    done = f"{field.used:.3f} is used" if field.fitted else "the map is used (reddening = 'map')"
    return [f"{told}: {done}; check the map and the magnitudes"]


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
            warnings.append("the best templates of most stars are at the edge of the template grid")
        warnings += _reddening(used)
        checks += _agreement(used, stars, curve, limits)
        warnings += _rejections(stars, curve)
    if curve is not None:
        checks.append(
            _least("coverage", "covered fraction", float(np.mean(curve.covered & ~curve.extrapolated)), limits.coverage)
        )
        checks.append(_most("rms", "scatter about the curve (FCALRMS)", curve.rms, limits.rms))
        warnings += list(curve.warnings)
        if curve.extrapolated.any():
            reach = curve.wavelength[curve.extrapolated]
            text = f"the curve is extrapolated in {100 * np.mean(curve.extrapolated):.1f} % of the pixels"
            warnings.append(f"{text} ({reach[0]:.0f} to {reach[-1]:.0f} Angstrom), where its error grows")
        bridged = float(np.mean(curve.bridged))
        if bridged > 0.25:
            warnings.append(f"{100 * bridged:.0f} % of the curve is interpolated across masked pixels")
    if len(loo) >= 4:
        checks.append(_most("loo grey", "leave-one-out grey RMS", _rms([h.grey for h in loo]), limits.loo_grey, " mag"))
        slope = _rms([h.slope for h in loo])
        checks.append(_most("loo slope", "leave-one-out slope RMS", slope, limits.loo_slope, " mag/1000 Å"))
    warnings += _colour_offset(loo)
    return Quality(tuple(checks), tuple(warnings))
