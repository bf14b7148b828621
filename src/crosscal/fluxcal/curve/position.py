"""Losses that depend smoothly on the position on the plate: a Gaussian process with an atmospheric-dispersion gradient.

Each star's throughput departs from the frame's by exp(sum_k c_sk P_k(lambda)), with P_0 = 1 (grey), P_1 the slope per
1000 A and P_2 the curvature. Fibres near one another lose alike, because errors of the field's distortion, rotation
and scale, and chromatic distortion of the corrector, are smooth over the plate. So

    c_sk = m_k + g_k . r_s + f_k(r_s) + e_sk,    f_k ~ GP(0, a_k^2 exp(-|r - r'|^2 / 2 l^2)),    g_k ~ N(mean, sd^2),

with positions r in units of the plate's half size and e_sk drawn from Student's t with 3 degrees of freedom, as single
fibres do stray. (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 2.25, 2.26 and 3.58.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

#: Positions are measured in units of the 2dF plate's half size.
PLATE_RADIUS = 2.0e5

#: Scatters of single fibres, in units of the field's prior, that marginal likelihood chooses from: with a field, and
#: without one.
SCATTERS = {1.0: (0.5, 1.0), 0.0: (0.1, 0.25, 0.5, 1.0)}
#: ln evidence that a frame must bring against the stated prior to be without a field: a dozen stars say little.
ODDS = 4.0
#: Degrees of freedom of that scatter.
FREEDOM = 3.0
#: Fewest stars with known positions.
FEWEST = 4


@dataclass(frozen=True)
class PlatePrior:
    """What is expected of the field before a frame is seen, in ln units.

    Attributes
    ----------
    sd : tuple of float
        Standard deviation of each coefficient's field (grey, slope, curvature); zero: no field.
    scale : float
        Length of its correlation, in units of :data:`PLATE_RADIUS`.
    gradient_sd : float
        Standard deviation of the slope's linear gradient: what atmospheric dispersion makes of errors of rotation and
        scale, so proportional to tan z.
    gradient_mean : (float, float)
        Its mean in x and y.
    judged : bool
        Keep a field only if it predicts stars that are left out better than none does (:func:`helps`).
    """

    sd: tuple[float, ...]
    scale: float = 0.3
    gradient_sd: float = 0.0
    gradient_mean: tuple[float, float] = (0.0, 0.0)
    judged: bool = False


@dataclass(frozen=True, eq=False)
class Field:
    """The field of one coefficient: conditioned on ``n`` stars at ``place`` (n, 2).

    f(r) = mean . (r - centre) + k(r, place) alpha; its variance is k(r, r) - k(r, place) inverse k(place, r).
    """

    place: NDArray[np.float64]
    centre: NDArray[np.float64]
    alpha: NDArray[np.float64]
    inverse: NDArray[np.float64]
    sd: float
    scale: float
    gradient_sd: float
    gradient_mean: NDArray[np.float64]

    def kernel(self, r: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Prior covariance (n, m) between places (n, 2) and (m, 2)."""
        square = np.sum((r[:, None, :] - s[None, :, :]) ** 2, axis=-1)
        linear = (r - self.centre) @ (s - self.centre).T
        return np.asarray(self.sd**2 * np.exp(-0.5 * square / self.scale**2) + self.gradient_sd**2 * linear)

    @property
    def prior_sd(self) -> float:
        """Standard deviation where no position is known."""
        return self.sd

    def between(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Prior covariance (n_place, n) of the field at places with the stars' fields."""
        return self.kernel(r, self.place)

    def variance(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Prior variance (n_place,)."""
        return np.asarray(self.sd**2 + self.gradient_sd**2 * np.sum((r - self.centre) ** 2, axis=1))

    def without(self, x: float, y: float) -> Field:
        """The field conditioned on all stars but the one at a place (micrometre); itself where there is none.

        With A the inverse covariance, alpha_i becomes alpha_i - A_ik alpha_k / A_kk, A_ij becomes A_ij - A_ik A_jk /
        A_kk (block inversion).
        """
        k = int(np.argmin(np.sum((self.place - np.array([x, y]) / PLATE_RADIUS) ** 2, axis=1)))
        if not np.allclose(self.place[k] * PLATE_RADIUS, (x, y), rtol=0, atol=1e-3):
            return self
        row = self.inverse[k] / self.inverse[k, k]
        alpha = self.alpha - row * self.alpha[k]
        return replace(self, alpha=alpha, inverse=self.inverse - np.outer(row, self.inverse[k]))

    def at(self, r: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation (n,) at places (n, 2)."""
        between = self.between(r)
        variance = self.variance(r) - np.sum((between @ self.inverse) * between, axis=1)
        return (r - self.centre) @ self.gradient_mean + between @ self.alpha, np.sqrt(np.clip(variance, 0, None))

    @property
    def gradient(self) -> NDArray[np.float64]:
        """The linear part (2,), per unit of :data:`PLATE_RADIUS`."""
        return self.gradient_mean + self.gradient_sd**2 * self.alpha @ (self.place - self.centre)


@dataclass(frozen=True, eq=False)
class PlateTerm:
    """Fields of the coefficients of a frame, one per order; None where there is none.

    With ``tilt`` t the field of order 1 is that of c_1 + t c_2, so that c_1 = field_1 - t field_2.
    """

    fields: tuple[Field | None, ...]
    prior: PlatePrior
    tilt: float = 0.0

    @property
    def gradient(self) -> NDArray[np.float64]:
        """Linear gradient (2,) of the slope, ln units per 1000 A and :data:`PLATE_RADIUS`."""
        slope = self.fields[1] if len(self.fields) > 1 else None
        return np.zeros(2) if slope is None else slope.gradient

    def at(self, x: ArrayLike, y: ArrayLike, n: int | None = None) -> NDArray[np.float64]:
        """Coefficients (n_place, n) at positions in micrometre; zero where a position is not known."""
        return self._evaluate(x, y, n)[0]

    def sd(self, x: ArrayLike, y: ArrayLike, n: int | None = None) -> NDArray[np.float64]:
        """Standard deviations of :meth:`at`; the prior's where a position is not known."""
        return self._evaluate(x, y, n)[1]

    def _evaluate(self, x: ArrayLike, y: ArrayLike, n: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        place = np.stack([np.atleast_1d(np.asarray(v, dtype=float)) for v in (x, y)], axis=-1) / PLATE_RADIUS
        known = np.all(np.isfinite(place), axis=1)
        n = len(self.fields) if n is None else n
        value, sd = np.zeros((len(place), n)), np.zeros((len(place), n))
        for k, field in enumerate(self.fields[:n]):
            if field is not None:
                sd[:, k] = field.prior_sd
                value[known, k], sd[known, k] = field.at(place[known])
        if self.tilt and n > 2:
            value[:, 1] -= self.tilt * value[:, 2]
            sd[:, 1] = np.hypot(sd[:, 1], self.tilt * sd[:, 2])
        return value, sd


def fit_plate(
    x: ArrayLike, y: ArrayLike, coefficients: ArrayLike, errors: ArrayLike, prior: PlatePrior
) -> PlateTerm | None:
    """Fit the fields of a frame to its stars' coefficients.

    Whether there is a field, and the scatter of single fibres, are decided by marginal likelihood: a plate that shows
    no field gets none.

    Parameters
    ----------
    x, y : arrays (n,), micrometre; NaN where unknown
    coefficients, errors : arrays (n, n_orders), ln units
    prior : PlatePrior

    Returns
    -------
    PlateTerm, or None where fewer than four positions are known or no field is better than none.
    """
    place = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1) / PLATE_RADIUS
    value, sd = np.asarray(coefficients, dtype=float), np.asarray(errors, dtype=float)
    ok = np.all(np.isfinite(place), axis=1) & np.all(np.isfinite(value) & np.isfinite(sd), axis=1)
    if ok.sum() < FEWEST:
        return None
    fields = tuple(
        _fit_field(place[ok], value[ok, k], sd[ok, k], own, prior, slope=k == 1) if own > 0 else None
        for k, own in enumerate(prior.sd[: value.shape[1]])
    )
    return PlateTerm(fields, prior) if any(f is not None for f in fields) else None


def _fit_field(
    place: NDArray[np.float64],
    value: NDArray[np.float64],
    error: NDArray[np.float64],
    sd: float,
    prior: PlatePrior,
    *,
    slope: bool,
) -> Field | None:
    """The field of one coefficient with the best scatter, or None."""
    centre = place.mean(axis=0)
    mean = np.array(prior.gradient_mean if slope else (0.0, 0.0), dtype=float)
    # The constant m_k has a vague prior; the median keeps its numbers small.
    residual = value - np.median(value) - (place - centre) @ mean
    best: tuple[float, Field] | None = None
    left_out: dict[float, tuple[float, NDArray[np.float64]]] = {}
    for strength, scatters in SCATTERS.items():
        gradient_sd = strength * prior.gradient_sd if slope else 0.0
        zero = np.zeros(len(place))
        field = Field(place, centre, zero, np.eye(len(place)), strength * sd, prior.scale, gradient_sd, mean)
        constant = (10 * sd + np.ptp(residual)) ** 2
        covariance = field.kernel(place, place) + constant
        for scatter in scatters:
            noise = error**2 + (scatter * sd) ** 2
            evidence, alpha, inverse = student_process(covariance, residual, noise)
            if strength not in left_out or evidence > left_out[strength][0]:
                # What a star departs by from the prediction of the others.
                left_out[strength] = (evidence, alpha / np.diag(inverse))
            evidence -= ODDS * (strength == 0)
            if best is None or evidence > best[0] + 1e-9:
                made = Field(place, centre, alpha, inverse, strength * sd, prior.scale, gradient_sd, mean)
                best = (evidence, made)
    assert best is not None
    if prior.judged and best[1].sd > 0 and not helps(left_out[1.0][1], left_out[0.0][1]):
        return None
    return best[1] if best[1].sd > 0 or mean.any() else None


def helps(with_field: NDArray[np.float64], without: NDArray[np.float64]) -> bool:
    """Whether a field predicts left-out stars better: by two standard errors of the mean gain in absolute residuals.

    Losses that vary from fibre to fibre by chance look like a field in every sixth frame to a single standard error.
    """
    gain = np.abs(without) - np.abs(with_field)
    return bool(gain.mean() > 2 * gain.std() / np.sqrt(gain.size))


@njit(cache=True)
def _student(covariance, value, noise, freedom):  # pragma: no cover (compiled)
    """:func:`student_process`; frames ask for it hundreds of times, with few stars."""
    variance = noise.copy()
    for _ in range(6):
        alpha = np.linalg.inv(covariance + np.diag(variance)) @ value
        variance = noise * (freedom + (alpha * variance) ** 2 / noise) / (freedom + 1)
    total = covariance + np.diag(variance)
    inverse = np.linalg.inv(total)
    alpha = inverse @ value
    residual = alpha * variance
    likelihood = np.sum(-0.5 * (freedom + 1) * np.log1p(residual**2 / noise / freedom) - 0.5 * np.log(noise))
    # ln det(1 + K W^-1) = ln det(K + W) - ln det W
    determinant = np.linalg.slogdet(total)[1] - np.sum(np.log(variance))
    return likelihood - 0.5 * np.dot(value - residual, alpha) - 0.5 * determinant, alpha, inverse


def student_process(
    covariance: NDArray[np.float64], value: NDArray[np.float64], noise: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Laplace evidence, weights alpha (n,) and inverse (n, n) of a process with Student's t noise.

    Iteratively reweighted: each star's variance is noise (nu + r^2 / noise) / (nu + 1) with its residual r.
    """
    evidence, alpha, inverse = _student(covariance, value, noise, float(FREEDOM))
    return float(evidence), alpha, inverse
