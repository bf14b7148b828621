"""Combination of per-star vectors into one curve with a low-rank covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.keywords import keywords
from crosscal.core.robust import mad_sd, median
from crosscal.core.threads import one_thread
from crosscal.fluxcal.curve.arms import parts, smooth_arms
from crosscal.fluxcal.curve.curve import MAG, Curve, compress, polynomials
from crosscal.fluxcal.curve.differences import difference_modes
from crosscal.fluxcal.curve.gauge import gauge
from crosscal.fluxcal.curve.ivar_mean import ivar_mean
from crosscal.fluxcal.curve.normal_equations import TEMPLATE_ERROR, star_sums
from crosscal.fluxcal.curve.outliers import outliers
from crosscal.fluxcal.curve.position import PlatePrior, PlateTerm, fit_plate
from crosscal.fluxcal.curve.stack import Stack
from crosscal.fluxcal.types import CalibrationVector

#: How stars are combined.
METHODS = ("throughput", "ivar-mean")


@keywords
@one_thread
def combine(
    vectors: Sequence[CalibrationVector],
    *,
    method: str = "throughput",
    order: int = 2,
    smooth: str = "spline",
    smooth_scale: float = 120.0,
    n_sigma: float = 4.0,
    common_grey: float = 0.01,
    common_slope: float = 0.003,
    grey_sigma: float = 3.5,
    slope_sigma: float = 4.0,
    plate: PlatePrior | PlateTerm | None = None,
    extrapolation: float = 0.0,
) -> Curve:
    """Combine vectors of several stars.

    ``method="throughput"``: the counts/s of star s are y_s = m_s T exp(sum_k c_sk P_k) + noise, with model flux m_s,
    the throughput T = 1/C and smooth differences c_s between stars (fibre losses, atmospheric dispersion). T is the
    weighted least-squares solution at each pixel, sum(w f m y) / sum(w f^2 m^2), linear in the counts and so
    unbiased at any signal-to-noise ratio. The gauge is that the robust mean of c_s over stars is zero: a bright star
    does not decide the colour of the curve alone.

    ``method="ivar-mean"``: the inverse-variance mean of C_s with clipping at ``n_sigma``, as older pipelines do; biased
    low where the counts are noisy, because a low count makes both C and its variance large.

    ``order`` (that of the polynomials P_k), ``smooth_scale``, ``common_grey``, ``common_slope``, ``grey_sigma``,
    ``slope_sigma`` and ``extrapolation`` are fields of `Options`. With ``plate``, the coefficients follow a smooth
    field over the plate, which the curve is relative to and which is applied to each fibre at its place: fitted to
    these stars under a prior, or known already (a PlateTerm).

    Raises
    ------
    InputError
        If there is no vector, or none has a good pixel.
    UnknownNameError
        If the method is unknown.

    Examples
    --------
    >>> curve = fluxcal.combine(result.vectors)  # doctest: +SKIP
    """
    if method not in METHODS:
        raise UnknownNameError("combination", method, METHODS)
    if not vectors:
        raise InputError("no calibration vector", where="combination", expected="at least one star")
    if not any(v.good.any() for v in vectors):
        raise InputError("no star has a good pixel", where="combination", expected="at least one good pixel")
    stack = Stack.of(vectors)
    if method == "ivar-mean":
        return ivar_mean(stack, smooth, smooth_scale, min(n_sigma, 3.0))
    order = order if len(vectors) > 1 else 0
    basis = polynomials(stack.wavelength, max(order, 1))[: order + 1]
    keep, why = np.ones(len(vectors), dtype=bool), [""] * len(vectors)
    field_sd = plate.sd if isinstance(plate, PlatePrior) else ()
    for _ in range(3):
        state = _solve(stack, keep, basis, n_sigma, smooth, smooth_scale)
        out, reasons = outliers(state.c, state.c_error, keep, (grey_sigma, slope_sigma), field_sd)
        if not out.any() or keep.sum() - out.sum() <= len(keep) / 2:
            break
        for s in np.flatnonzero(out):
            keep[s], why[s] = False, reasons[s]
    term = None
    if plate is not None and order >= 1:
        term = (
            plate
            if isinstance(plate, PlateTerm)
            else fit_plate(stack.x[keep], stack.y[keep], state.c[keep], state.c_error[keep], plate)
        )
        if term is not None:
            state = _solve(stack, keep, basis, n_sigma, smooth, smooth_scale, term, state)
    return _curve(stack, state, keep, why, basis, common_grey, common_slope, smooth, smooth_scale, term, extrapolation)


@dataclass(frozen=True, eq=False)
class State:
    """A solution: pixel throughput with variance, star coefficients (ln) with covariances, pixel weights."""

    throughput: NDArray[np.float64]
    variance: NDArray[np.float64]
    smooth: NDArray[np.float64]
    c: NDArray[np.float64]
    c_covariance: NDArray[np.float64]
    use: NDArray[np.bool_]
    share: NDArray[np.float64]

    @property
    def c_error(self) -> NDArray[np.float64]:
        """Errors (n_star, order + 1) of the coefficients."""
        return np.sqrt(np.clip(np.einsum("skk->sk", self.c_covariance), 0, None))


def _solve(
    stack: Stack,
    keep: NDArray[np.bool_],
    basis: NDArray[np.float64],
    n_sigma: float,
    smooth: str,
    scale: float,
    plate: PlateTerm | None = None,
    start: State | None = None,
) -> State:
    """Alternate between the throughput and the stars' coefficients; clip pixels as it settles.

    From ``start``, a solution with another gauge, a few steps suffice: its clipped pixels stay.
    """
    n_star = len(stack.names)
    use = stack.good & keep[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(use, stack.rate / stack.model, np.nan)
        level = np.array([median(r[~np.isnan(r)]) if np.isfinite(r).any() else np.nan for r in ratio])
    centre = np.nanmedian(np.where(level > 0, level, np.nan))
    c = np.zeros((n_star, len(basis)))
    c[:, 0] = np.log(np.clip(np.nan_to_num(level / centre, nan=1.0), 1e-3, 1e3))
    if start is not None:
        c, use = start.c.copy(), start.use
    covariance = np.zeros((n_star, len(basis), len(basis)))
    offset = np.zeros((n_star, len(basis))) if plate is None else plate.at(stack.x, stack.y, len(basis))
    share = np.full(n_star, 1.0)
    spline = "spline" if smooth == "none" else smooth
    for iteration in range(12):
        factor = np.exp(c @ basis)
        throughput, variance = _throughput(stack, factor, use, centre)
        curve = smooth_arms(stack.starts, stack.wavelength, throughput, variance, spline, scale, errors=False).value
        new, covariance = _coefficients(stack, curve, c, basis, factor, use | (stack.good & ~keep[:, None]), use)
        mean, share = gauge(new - offset, np.einsum("skk->sk", covariance), keep)
        moved = np.max(np.abs(new - mean - c)[keep], initial=0.0)
        c = new - mean
        if start is None and iteration in (1, 3):
            use = clip(stack, curve * np.exp(mean @ basis), c, basis, keep, n_sigma)
        if (start is not None or iteration > 3) and moved < 1e-4:
            break
    throughput, variance = _throughput(stack, np.exp(c @ basis), use, centre)
    curve = smooth_arms(stack.starts, stack.wavelength, throughput, variance, spline, scale, errors=False).value
    return State(throughput, variance, curve, c, covariance, use, share)


def _throughput(
    stack: Stack, factor: NDArray[np.float64], use: NDArray[np.bool_], centre: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel-by-pixel least squares of T and its variance; NaN where no star is good."""
    tops, bottoms = pixel_sums(stack, factor, use, centre)
    total = bottoms.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        throughput = np.where(total > 0, tops.sum(axis=0) / total, np.nan)
        return throughput, np.where(total > 0, 1 / total, np.nan)


def pixel_sums(
    stack: Stack, factor: NDArray[np.float64], use: NDArray[np.bool_], centre: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each star's w f m y and w f^2 m^2 (n_star, n_pix): T is the ratio of their sums, its variance 1 / sum w f^2 m^2.

    ``factor`` (n_star, n_pix) is f, ``centre`` a typical T, by which variances of models become those of rates.
    """
    predicted = stack.model * factor
    noise = stack.rate_variance + (centre * factor) ** 2 * stack.model_variance
    weight = np.where(use, 1 / noise, 0.0)
    # A floor of 1 % per star and pixel: beyond it, template errors dominate and bright stars must not rule.
    weight = weight / (1 + weight * (TEMPLATE_ERROR * centre * predicted) ** 2)
    weight *= predicted
    return weight * stack.rate, weight * predicted


def _coefficients(
    stack: Stack,
    curve: NDArray[np.float64],
    c: NDArray[np.float64],
    basis: NDArray[np.float64],
    factor: NDArray[np.float64],
    good: NDArray[np.bool_],
    use: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Newton step for every star's coefficients ``c`` of ln(throughput), with their covariances.

    ``factor`` is exp(c @ basis). Residuals stay linear in the counts; a weak prior (3 in ln) keeps stars without signal
    finite.
    """
    pixels: NDArray[np.bool_] = np.where(use.any(axis=1, keepdims=True), use, good)
    normal, gradient, cross = star_sums(
        stack.rate, stack.rate_variance, stack.model, curve, basis, factor, pixels, stack.modes
    )
    normal += np.eye(c.shape[1]) / 9.0
    inverse: Any = np.linalg.inv(normal)
    step = (inverse @ gradient[:, :, None])[:, :, 0]
    # Correlated errors of the model (scale, template colours) enter through their projection on the basis.
    projected = inverse @ cross
    return c + np.clip(step, -0.5, 0.5), inverse + projected @ projected.transpose(0, 2, 1)


def clip(
    stack: Stack,
    curve: NDArray[np.float64],
    c: NDArray[np.float64],
    basis: NDArray[np.float64],
    keep: NDArray[np.bool_],
    n_sigma: float,
) -> NDArray[np.bool_]:
    """Pixels kept after clipping residuals; where fewer than three stars would remain, nothing is clipped."""
    predicted = curve * stack.model * np.exp(c @ basis)
    good = stack.good & keep[:, None] & np.isfinite(predicted)
    noise = np.sqrt(stack.rate_variance + (0.02 * np.nan_to_num(predicted)) ** 2)
    residual = np.where(good, (stack.rate - predicted) / noise, np.nan)
    scale = np.ones(len(keep))
    for s in np.flatnonzero(good.any(axis=1)):
        scale[s] = max(float(mad_sd(residual[s])), 1.0)
    kept = good & (np.abs(np.nan_to_num(residual)) <= n_sigma * scale[:, None])
    enough = kept.sum(axis=0) >= np.minimum(3, good.sum(axis=0))
    return np.where(enough[None, :], kept, good)


def _curve(
    stack: Stack,
    state: State,
    keep: NDArray[np.bool_],
    why: list[str],
    basis: NDArray[np.float64],
    common_grey: float,
    common_slope: float,
    smooth: str,
    scale: float,
    plate: PlateTerm | None,
    reach: float,
) -> Curve:
    """Turn a solution into a curve with its covariance."""
    done = smooth_arms(stack.starts, stack.wavelength, state.throughput, state.variance, smooth, scale, reach=reach)
    good = np.isfinite(state.throughput)
    measured = np.concatenate([_inside(good[cut]) for cut in parts(stack.starts, good.size)])
    modes = [done.modes, mean_modes(state, keep, plate, stack) @ basis]
    linear = polynomials(stack.wavelength, 1)
    modes.append(difference_modes(stack, state.smooth, state.c, basis, state.use))
    modes.append(np.array([[common_grey * MAG], [common_slope * MAG]]) * linear)
    all_modes = compress(np.concatenate(modes))
    n_stars = np.sum(state.use, axis=0)
    scatter, rms = _scatter(stack, state, basis)
    value = 1 / done.value
    warnings = []
    if keep.sum() == 1:
        warnings.append("only one star: its vector is the curve, so the fibre loss of that star biases the flux scale")
    elif keep.sum() < 3:
        warnings.append("only 2 stars: a wrong one is found only if they disagree")
    rejected = tuple(int(k) for k in np.flatnonzero(~keep))
    return Curve(
        stack.wavelength,
        value,
        value**2 * done.variance,
        all_modes,
        np.isfinite(value),
        np.isfinite(value) & (n_stars == 0),
        n_stars,
        scatter,
        stack.names,
        state.c / MAG,
        state.c_error / MAG,
        rejected,
        tuple(why[k] for k in rejected),
        rms,
        plate,
        tuple(warnings),
        np.isfinite(value) & ~measured,
    )


def _inside(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels from the first to the last good one."""
    return np.logical_or.accumulate(good) & np.logical_or.accumulate(good[::-1])[::-1]


def mean_modes(state: State, keep: NDArray[np.bool_], plate: PlateTerm | None, stack: Stack) -> NDArray[np.float64]:
    """Square root (k, order + 1) of the covariance of the mean coefficients.

    From the spread between stars with each star's share of the mean; the factor of Student's t at n - 1 degrees of
    freedom
    makes 68 % intervals right for few stars. One or two stars: the stars' own errors and a spread of 0.25 mag in
    grey, 0.1 mag per 1000 A in slope, which single fibres have.
    """
    from scipy.special import stdtrit

    index = np.flatnonzero(keep)
    order = state.c.shape[1]
    usual = np.diag(np.array([0.25, 0.1, 0.1, 0.1])[:order] * MAG) ** 2
    if index.size < 3:
        total = np.mean(state.c_covariance[index], axis=0) / index.size + usual / index.size
    else:
        deviation = state.c[index].copy()
        if plate is not None:
            deviation -= plate.at(stack.x[index], stack.y[index], order)
        share = state.share[index]
        weighted = share * deviation
        correction = 1 / np.clip(1 - np.sum(share**2, axis=0), 0.2, 1)
        total = (weighted.T @ weighted) * np.sqrt(np.outer(correction, correction))
        total *= float(stdtrit(index.size - 1, 0.8413)) ** 2
    values, vectors = np.linalg.eigh(total)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _scatter(stack: Stack, state: State, basis: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """RMS fractional scatter of the stars about the curve per pixel, and its robust value over everything."""
    predicted = state.smooth * stack.model * np.exp(state.c @ basis)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(state.use, stack.rate / predicted - 1, np.nan)
    n = np.sum(np.isfinite(ratio), axis=0)
    scatter = np.full(n.size, np.nan)
    some = n >= 2
    scatter[some] = np.sqrt(np.nansum(ratio[:, some] ** 2, axis=0) / (n[some] - 1))
    return scatter, float(mad_sd(ratio)) if np.isfinite(ratio).any() else float("nan")
