"""Gates that a calibrated frame must pass, each with its value, limit and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosscal.core.errors import ConfigError
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.loo import HeldOut
from crosscal.fluxcal.types import StarFit, StarStatus


@dataclass(frozen=True)
class Limits:
    """Limits of the gates.

    Attributes
    ----------
    min_stars : int
        Fewer used stars fail the frame. One star is passed through with a warning.
    matched_fraction : float
        Least part of the standards with signal that the catalogue knows.
    colour_residual : float
        Largest median RMS (synthetic - catalogue) of the used stars, mag.
    rms : float
        Largest robust fractional scatter of stars about the curve (FCALRMS).
    loo_grey, loo_slope : float
        Largest RMS of leave-one-out residuals: mag, and mag per 1000 A; judged with four stars or more.
    coverage : float
        Least part of the frame's pixels that the curve covers.
    """

    min_stars: int = 1
    matched_fraction: float = 0.5
    colour_residual: float = 0.10
    rms: float = 0.30
    loo_grey: float = 0.8
    loo_slope: float = 0.5
    coverage: float = 0.8

    def __post_init__(self) -> None:
        if self.min_stars < 1:
            raise ConfigError(f"min_stars = {self.min_stars}", where="fluxcal gates", expected="at least 1")
        for key in ("matched_fraction", "coverage"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} = {getattr(self, key)}", where="fluxcal gates", expected="between 0 and 1")
        for key in ("colour_residual", "rms", "loo_grey", "loo_slope"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"{key} = {getattr(self, key)}", where="fluxcal gates", expected="a positive number")


@dataclass(frozen=True)
class Gate:
    """One criterion: ``value`` against ``limit``, passed or not, in words."""

    name: str
    value: float
    limit: float
    passed: bool
    text: str


@dataclass(frozen=True)
class Quality:
    """All gates of a frame, and what is worth knowing although it passed."""

    gates: tuple[Gate, ...]
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all gates passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def reason(self) -> str:
        """The failed gates in one sentence, empty if none."""
        return "; ".join(gate.text for gate in self.gates if not gate.passed)

    def __str__(self) -> str:
        lines = [f"{'-   ' if np.isnan(g.value) else 'ok  ' if g.passed else 'FAIL'} {g.text}" for g in self.gates]
        return "\n".join([*lines, *(f"note {w}" for w in self.warnings)])


def _least(name: str, what: str, value: float, limit: float, unit: str = "") -> Gate:
    passed = bool(value >= limit)
    return Gate(name, value, limit, passed, f"{what} {value:.3g}{unit} ({'>=' if passed else '<'} {limit:g}{unit})")


def _most(name: str, what: str, value: float, limit: float, unit: str = "") -> Gate:
    if np.isnan(value):
        return Gate(name, value, limit, True, f"{what}: not measured, so not judged")
    passed = bool(value <= limit)
    return Gate(name, value, limit, passed, f"{what} {value:.3g}{unit} ({'<=' if passed else '>'} {limit:g}{unit})")


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
    """Apply the gates to the stars, the curve and the leave-one-out residuals of a frame."""
    used = [s for s in stars if s.status == StarStatus.USED]
    seen = [s for s in stars if s.status != StarStatus.NO_SIGNAL]
    unmatched = {StarStatus.NOT_IN_CATALOGUE, StarStatus.AMBIGUOUS_MATCH, StarStatus.DUPLICATE}
    matched = sum(s.status not in unmatched for s in seen)
    gates = [_least("stars", "stars used:", float(len(used)), float(limits.min_stars))]
    if seen:
        gate = _least("matched", "matched fraction", matched / len(seen), limits.matched_fraction)
        gates.append(gate if gate.passed else replace(gate, text=gate.text + _nearest(seen)))
    warnings: list[str] = []
    if used:
        residual = float(np.median([s.colour_residual for s in used]))
        gates.append(_most("colour", "median colour residual", residual, limits.colour_residual, " mag"))
        several = [s.template for s in used if s.feh <= -2.0 + 1e-6 or s.teff <= 5000 + 1e-6]
        if len(several) > len(used) / 2:
            warnings.append("most stars sit at the edge of the template grid")
    if curve is not None:
        gates.append(_least("coverage", "covered fraction", float(np.mean(curve.covered)), limits.coverage))
        gates.append(_most("rms", "scatter about the curve (FCALRMS)", curve.rms, limits.rms))
        warnings += list(curve.warnings)
        bridged = float(np.mean(curve.bridged))
        if bridged > 0.25:
            warnings.append(f"{bridged:.0%} of the curve bridges masked pixels")
    if len(loo) >= 4:
        gates.append(_most("loo grey", "leave-one-out grey RMS", _rms([h.grey for h in loo]), limits.loo_grey, " mag"))
        slope = _rms([h.slope for h in loo])
        gates.append(_most("loo slope", "leave-one-out slope RMS", slope, limits.loo_slope, " mag/1000 Å"))
    return Quality(tuple(gates), tuple(warnings))
