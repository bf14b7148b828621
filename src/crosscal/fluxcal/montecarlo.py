"""Monte Carlo checks on simulated frames: is the curve unbiased, do the errors cover?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crosscal.core.random import generator
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.curve.apply import apply_curve, band_error
from crosscal.fluxcal.curve.combine import combine
from crosscal.fluxcal.demo import demo_filters, demo_library, simulate
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.types import CalibrationVector


def combination_bias(snr: float, seed: int, n_frames: int, n_stars: int = 8) -> tuple[float, float]:
    """Mean fractional error of the curve for "throughput" and "ivar-mean" on simulated stars without losses."""

    rng = generator(seed, "combination", int(snr))
    wave = np.linspace(5000.0, 7000.0, 500)
    true = 0.02 * np.exp(-(((wave - 6000) / 1500) ** 2))
    ours, old = [], []
    for _ in range(n_frames):
        vectors = []
        for k in range(n_stars):
            model = 300.0 * rng.uniform(0.7, 1.4) * (6000 / wave)
            sd = model * true / snr
            rate = model * true + rng.normal(size=wave.size) * sd
            zero = np.zeros(wave.size)
            with np.errstate(divide="ignore"):
                value = model / rate
                variance = value**2 * (sd / rate) ** 2
            vectors.append(
                CalibrationVector(
                    wave, value, variance, np.ones(wave.size, dtype=bool), f"s{k}", rate, sd**2, model, zero, zero[None]
                )
            )
        ours.append(np.mean(combine(vectors, order=0).value * true) - 1)
        old.append(np.mean(combine(vectors, method="ivar-mean", smooth="none").value * true) - 1)
    return float(np.mean(ours)), float(np.mean(old))


def coverage(
    n_frames: int, *, common_grey: float = 0.03, common_slope: float = 0.01, seed: int = 100
) -> dict[str, float]:
    """Fraction of simulated frames whose calibrated fluxes hold the truth within 1 sigma, in pixels and 500-pixel
    bands.

    Each frame has its own common grey (mag) and slope (mag per 1000 A) error of the catalogue, drawn from the stated
    standard deviations; targets sit in fibres without losses of their own, which no calibration could know. "naive"
    takes
    the total variances as independent.
    """

    options = Options(
        fwhm=5.0,
        ebv=0.02,
        ebv_error=0.0,
        common_grey=common_grey,
        common_slope=common_slope,
        mag_floor=0.01,
        slope_order=1,
    )
    library, filters = demo_library(), demo_filters()
    rng = generator(seed, "common")
    pixel, band, naive, ratio = [], [], [], []
    for k in range(n_frames):
        grey, slope = rng.normal(0, common_grey), rng.normal(0, common_slope)
        truth = simulate(
            n_stars=10, n_targets=1, n_pixels=1000, seed=seed + k, snr=20.0, grey_sd=0.1, slope_sd=0.02,
            common_grey=grey, common_slope=slope, mag_error=0.01,
        )  # fmt: skip
        result = Calibrator(truth.catalogue, library, filters, options).calibrate(truth.frame, loo=False)
        frame, target = truth.frame, 10
        x = (frame.grid - 0.5 * (frame.grid[0] + frame.grid[-1])) / 1000.0
        undo = 10 ** (0.4 * (truth.grey[target] + truth.slope[target] * x))
        flux, variance = frame.flux.copy(), frame.variance.copy()
        flux[target] *= undo
        variance[target] *= undo**2

        clean = replace(frame, flux=flux, variance=variance)
        assert result.curve is not None
        total = apply_curve(clean, result.curve, options)
        own = apply_curve(clean, result.curve, options, variance="independent")
        good = clean.good[target] & np.isfinite(total.variance[target]) & ~options.masked(frame.grid)
        error = total.flux[target] - truth.flux[target]
        places = np.flatnonzero(good)
        pixel.append(np.mean(np.abs(error[places]) < np.sqrt(total.variance[target][places])))
        chosen = places[places.size // 2 - 250 : places.size // 2 + 250]
        weight = np.zeros(error.size)
        weight[chosen] = 1 / chosen.size
        sd = band_error(total.flux[target], own.variance[target], result.curve.modes, weight)
        blind = np.sqrt(np.sum(weight[chosen] ** 2 * total.variance[target][chosen]))
        band.append(abs(weight[chosen] @ error[chosen]) < sd)
        naive.append(abs(weight[chosen] @ error[chosen]) < blind)
        ratio.append(sd / blind)
    return {
        "pixel": float(np.mean(pixel)), "band": float(np.mean(band)), "naive": float(np.mean(naive)),
        "ratio": float(np.median(ratio)),
    }  # fmt: skip
