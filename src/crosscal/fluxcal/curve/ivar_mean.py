"""The inverse-variance mean of vectors that older pipelines use; biased where the counts are noisy."""

from __future__ import annotations

import numpy as np

from crosscal.core.robust import mad_sd
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.smoothing import smooth_throughput
from crosscal.fluxcal.curve.stack import Stack


def ivar_mean(stack: Stack, smooth: str, scale: float, n_sigma: float) -> Curve:
    """Inverse-variance mean of C with clipping; kept for comparison and for old results."""
    with np.errstate(invalid="ignore"):
        use = stack.good & (stack.value > 0)
    value = np.where(use, stack.value, np.nan)
    weight = np.where(use, 1 / stack.variance, 0.0)
    for _ in range(5):
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.nansum(weight * value, axis=0) / np.sum(weight, axis=0)
        sd = np.nanstd(np.where(weight > 0, value, np.nan), axis=0) if len(value) > 1 else np.full(mean.size, np.inf)
        new = np.where(np.abs(value - mean) <= n_sigma * sd, np.where(use, 1 / stack.variance, 0.0), 0.0)
        if np.array_equal(new > 0, weight > 0):
            break
        weight = np.where(np.sum(new > 0, axis=0) > 0, new, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        throughput, variance = 1 / mean, 1 / np.sum(weight, axis=0) / mean**4
    done = smooth_throughput(stack.wavelength, throughput, variance, smooth, scale)
    relative = value * done.value - 1
    n = np.sum(weight > 0, axis=0)
    scatter = np.where(n >= 2, np.sqrt(np.nansum(relative**2, axis=0) / np.maximum(n - 1, 1)), np.nan)
    curve = 1 / done.value
    grey = np.array([[np.nanmedian(-2.5 * np.log10(np.clip(r + 1, 1e-3, None)))] for r in relative])
    return Curve(
        stack.wavelength,
        curve,
        curve**2 * done.variance,
        done.modes,
        np.isfinite(curve),
        np.isfinite(curve) & (n == 0),
        n,
        scatter,
        stack.names,
        grey,
        np.zeros_like(grey),
        rms=float(mad_sd(relative)),
        warnings=("the inverse-variance mean is biased low at low signal-to-noise ratio",),
    )
