"""Leave one star out: calibrate it with the others and compare with its catalogue magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.curve.combine import combine
from crosscal.fluxcal.curve.curve import MAG, Curve
from crosscal.fluxcal.curve.downdate import MANY, curves_without_each
from crosscal.fluxcal.curve.position import PlatePrior, PlateTerm
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.fitting import synthetic_offset
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.types import CalibrationVector, Catalogue, Frame, StarFit


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Residuals of one star calibrated by the others.

    ``offset`` (n_b,) is synthetic minus catalogue magnitude in each band that the spectrum covers (else NaN);
    ``grey`` its
    mean, ``colour`` the offset of the first covered band minus that of the last (NaN with one band); ``slope`` the
    trend of -2.5 log10(calibrated / model) in mag per 1000 A.
    """

    fibre: int
    name: str
    snr: float
    offset: NDArray[np.float64]
    grey: float
    colour: float
    slope: float

    @classmethod
    def of(cls, fibre: int, name: str, snr: float, offset: NDArray[np.float64], slope: float) -> HeldOut:
        """Make one from the offsets in the bands."""
        seen = offset[np.isfinite(offset)]
        grey = float(seen.mean()) if seen.size else float("nan")
        return cls(fibre, name, snr, offset, grey, float(seen[0] - seen[-1]) if seen.size > 1 else float("nan"), slope)


def combine_with(
    vectors: Sequence[CalibrationVector],
    options: Options,
    airmass: float = float("nan"),
    field: PlateTerm | None = None,
) -> Curve:
    """Combine vectors under the choices of a calibration; with ``field``, under this field over the plate."""
    plate = field or (plate_prior(options, airmass) if options.position else None)
    return combine(
        vectors,
        method=options.method,
        order=options.slope_order,
        smooth=options.smooth,
        smooth_scale=options.smooth_scale,
        n_sigma=options.n_sigma,
        common_grey=options.common_grey,
        common_slope=options.common_slope,
        grey_sigma=options.grey_sigma,
        slope_sigma=options.slope_sigma,
        plate=plate,
        extrapolation=options.extrapolation,
    )


def plate_prior(options: Options, airmass: float) -> PlatePrior:
    """The prior of the field over the plate at an airmass.

    The gradient's prior grows as tan z, as differential refraction does (``position_sd`` at tan z = 1).
    Curvatures, per 1000 A squared, have a quarter of the prior of slopes.
    """
    sd = options.position_sd * MAG
    return PlatePrior(
        sd=(options.position_grey_sd * MAG, sd, 0.25 * sd, 0.1 * sd)[: options.slope_order + 1],
        scale=options.position_scale,
        gradient_sd=sd * tangent_of(airmass),
        judged=options.position == "auto",
        gradient_mean=(options.position_gradient[0] * MAG, options.position_gradient[1] * MAG),
    )


def tangent_of(airmass: float) -> float:
    """tan z of an airmass, at least 0.1; 0.5 where it is not known."""
    return max(float(np.sqrt(max(airmass, 1.0) ** 2 - 1)), 0.1) if np.isfinite(airmass) else 0.5


def leave_one_out(
    frame: Frame,
    stars: Sequence[StarFit],
    vectors: Sequence[CalibrationVector],
    curve: Curve,
    catalogue: Catalogue,
    filters: Sequence[Filter],
    options: Options,
    field: Callable[[str], PlateTerm | None] = lambda star: None,
) -> list[HeldOut]:
    """Hold out each star in turn; ``stars`` and ``vectors`` correspond. Needs two stars, else the list is empty.

    ``field`` gives the field over the plate that frames share, fitted without a star of this name.
    """
    curves = curves_of_others(vectors, curve, options, frame.airmass, field)
    return [
        held_out(frame, star, other, catalogue, filters, options) for star, other in zip(stars, curves, strict=False)
    ]


def curves_of_others(
    vectors: Sequence[CalibrationVector],
    curve: Curve,
    options: Options,
    airmass: float,
    field: Callable[[str], PlateTerm | None] = lambda star: None,
) -> list[Curve]:
    """The curve without each star in turn; empty for fewer than two stars.

    Of few stars the others are combined anew; from :data:`MANY` on, a star is taken out of the sums of ``curve``, which
    all of them made.
    """
    if len(vectors) < 2:
        return []
    if len(vectors) >= MANY and options.method == "throughput":
        return curves_without_each(vectors, curve, options, lambda k: field(vectors[k].star))
    return [
        combine_with([v for j, v in enumerate(vectors) if j != k], options, airmass, field(vectors[k].star))
        for k in range(len(vectors))
    ]


def held_out(
    frame: Frame, star: StarFit, curve: Curve, catalogue: Catalogue, filters: Sequence[Filter], options: Options
) -> HeldOut:
    """Compare one star, calibrated with a curve that it did not enter, with its catalogue magnitudes and model."""
    assert star.model is not None
    wave = frame.wavelength[star.fibre]
    one = single(frame, star.fibre)
    calibrated = apply_curve(one, curve, options)
    flux, good = calibrated.flux[0], calibrated.good[0] & np.isfinite(star.model)
    model = star.model / FLUX_SCALE
    offset = np.full(len(filters), np.nan)
    magnitude = catalogue.magnitude[star.catalogue_row]
    slope = float("nan")
    if good.sum() > 20:
        use = good & ~options.masked(wave, frame.medium)
        ratio = _level(flux, model, calibrated.variance[0], use)
        # Bad pixels and cosmic rays take the model at the star's own level; they are a few per cent of a band.
        clean = good & ~stray(flux, model * ratio, calibrated.variance[0])
        filled = np.where(clean, flux, model * ratio)
        slope = chromatic_slope(wave, flux, model, calibrated.variance[0], use & clean)
        for b, band in enumerate(filters):
            if np.isfinite(magnitude[b]) and band.coverage(wave[0], wave[-1]) >= options.coverage:
                offset[b] = synthetic_offset(band, wave, filled, float(magnitude[b]))
    return HeldOut.of(star.fibre, star.name, star.snr, offset, slope)


def stray(flux: NDArray[np.float64], expected: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels that no error explains (cosmic rays): 8 standard deviations away, with 10 per cent for the expectation."""
    with np.errstate(invalid="ignore"):
        return np.abs(flux - expected) > 8 * np.sqrt(variance + (0.1 * expected) ** 2)


def single(frame: Frame, fibre: int) -> Frame:
    """The frame of one fibre (the grid of the frame is not needed once a curve exists)."""
    from dataclasses import replace

    from crosscal.fluxcal.types import Fibres

    table = frame.fibres
    row = slice(fibre, fibre + 1)
    own = Fibres(*(getattr(table, key)[row] for key in ("name", "ra", "dec", "x", "y", "type")))
    return replace(
        frame,
        flux=frame.flux[row],
        variance=frame.variance[row],
        wavelength=frame.wavelength[row],
        fibres=own,
        extras={},
        header=None,
    )


def _level(
    flux: NDArray[np.float64], model: NDArray[np.float64], variance: NDArray[np.float64], use: NDArray[np.bool_]
) -> float:
    weight = np.where(use, 1 / (np.where(use, variance, 1.0) + (0.03 * model) ** 2), 0.0)
    bottom = float(np.sum(weight * model**2, where=use))
    return float(np.sum(weight * model * flux, where=use)) / bottom if bottom > 0 else float("nan")


def chromatic_slope(
    wave: NDArray[np.float64],
    flux: NDArray[np.float64],
    model: NDArray[np.float64],
    variance: NDArray[np.float64],
    use: NDArray[np.bool_],
) -> float:
    """Trend b of flux = a model 10^(-0.4 b x), x in 1000 A: Gauss-Newton with residuals linear in the flux."""
    x = (wave - 0.5 * (wave[0] + wave[-1])) / 1000.0
    m, f, x = model[use], flux[use], x[use]
    weight = 1 / (variance[use] + (0.03 * m) ** 2)
    a, b = _level(flux, model, variance, use), 0.0
    if not a > 0:
        return float("nan")
    for _ in range(10):
        predicted = a * m * np.exp(b * x)
        design = np.stack([predicted, predicted * x])
        normal = (design * weight) @ design.T
        step = np.linalg.solve(normal, design @ (weight * (f - predicted)))
        a, b = a * np.exp(np.clip(step[0], -1, 1)), b + np.clip(step[1], -1, 1)
        if abs(step[1]) < 1e-8:
            break
    return float(-b / (0.4 * np.log(10)))
