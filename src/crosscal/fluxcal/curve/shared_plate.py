"""Losses over the plate that many frames share: one Gaussian process over all plate configurations of an arm.

The corrector's chromatic distortion is part of the instrument, and so is a part of what fibres lose by it: at one
place of the plate stars of different configurations (fields, nights, fibres) lose alike. With s the star and q its
configuration,

    c_sq = m_q + h(r_sq) + g_q . r_sq + f_q(r_sq) + e_sq,    h ~ GP(0, A^2 exp(-d^2 / 2 L^2)),
    f_q ~ GP(0, a^2 exp(-d^2 / 2 l^2)),    g_q ~ N(mean, (a tan z)^2),

where h is common to all configurations and f_q belongs to one, r in units of the plate's half size, and e follows
Student's t. A, a, L, l and the scatter of e are chosen by a bound of the marginal likelihood of all configurations
together, which know them better than the dozen stars of a frame (Rasmussen & Williams 2006, Gaussian Processes for
Machine Learning, ch. 5; :mod:`crosscal.fluxcal.curve.variational`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.robust import huber_weights, mad_sd
from crosscal.fluxcal.curve.position import PLATE_RADIUS, Field, PlatePrior, PlateTerm, helps
from crosscal.fluxcal.curve.variational import variational_process

#: Fewest configurations: two cannot tell what they share from what belongs to one.
FEWEST_CONFIGURATIONS = 3
#: Choices of the bound: A, a and scatter in units of the prior's sd, L and l in units of its scale.
CHOICES: dict[str, tuple[float, ...]] = {
    "scatter": (0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
    "common": (0.0, 0.25, 0.5, 1.0),
    "own": (0.0, 0.25, 0.5, 1.0),
    "own_scale": (1.0, 1.7),
    "common_scale": (1.0, 1.5),
}
#: Where the search begins: fields with little scatter of single fibres, and mostly scatter.
STARTS: tuple[dict[str, float], ...] = (
    {"scatter": 0.25, "common": 0.5, "own": 0.5, "own_scale": 1.0, "common_scale": 1.0},
    {"scatter": 1.0, "common": 0.5, "own": 0.0, "own_scale": 1.0, "common_scale": 1.0},
)
#: Bound of the evidence, weights alpha (n,) and inverse covariance (n, n).
Solution = tuple[float, NDArray[np.float64], NDArray[np.float64]]
#: ln evidence that a common field must bring: chance finds one of four choices of A that helps a little.
ODDS = 3.0


@dataclass(frozen=True, eq=False)
class SharedField(Field):
    """A field of one configuration, conditioned on the stars of all; ``own`` (n,) marks those of this configuration."""

    common_sd: float = 0.0
    common_scale: float = 1.0
    own: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def prior_sd(self) -> float:
        """Standard deviation where no position is known."""
        return float(np.hypot(self.sd, self.common_sd))

    def between(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Prior covariance (n_place, n) of the field at places with the stars' fields."""
        square = np.sum((r[:, None, :] - self.place[None, :, :]) ** 2, axis=-1)
        common = self.common_sd**2 * np.exp(-0.5 * square / self.common_scale**2)
        return np.asarray(common + self.kernel(r, self.place) * self.own)

    def variance(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Prior variance (n_place,)."""
        return np.asarray(super().variance(r) + self.common_sd**2)

    @property
    def gradient(self) -> NDArray[np.float64]:
        """The linear part (2,), per unit of :data:`PLATE_RADIUS`."""
        return self.gradient_mean + self.gradient_sd**2 * (self.alpha * self.own) @ (self.place - self.centre)


@dataclass(frozen=True, eq=False)
class Placements:
    """Coefficients of stars at their places, one row for each star and configuration.

    ``star`` (n,), ``configuration`` (n,) numbers, ``place`` (n, 2) in :data:`PLATE_RADIUS`, ``value`` and ``error``
    (n, n_orders) in ln units, relative to an unknown constant of each configuration; ``tangent`` (n_configurations,) is
    the mean tan z; ``frame`` (n_frames,) the configuration of each frame, -1 where it has no star with a position.
    """

    star: NDArray[np.str_]
    configuration: NDArray[np.int64]
    place: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    tangent: NDArray[np.float64]
    frame: NDArray[np.int64]


@dataclass(frozen=True)
class FrameStars:
    """Of one frame: names (n,), positions (n, 2) in micrometre, coefficients and errors (n, n_orders) in ln, tan z."""

    names: tuple[str, ...]
    position: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    tangent: float


def gather(frames: Sequence[FrameStars]) -> Placements:
    """Average the frames of each configuration.

    Frames are of one configuration when a star sits at the same micrometre in both. Exposures of a configuration repeat
    the losses of its fibres, so they are one measurement: the least-squares solution of c_sf = a_s + b_f, without b_f.
    """
    label = _configurations(frames)
    numbers = {name: k for k, name in enumerate(dict.fromkeys(v for v in label if v >= 0))}
    frame = np.array([numbers.get(v, -1) for v in label], dtype=np.int64)
    rows: list[tuple[str, int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    tangents = []
    for q in range(len(numbers)):
        members = [f for f, number in zip(frames, frame, strict=True) if number == q]
        tangents.append(float(np.mean([m.tangent for m in members])))
        rows += [(name, q, place, value, error) for name, place, value, error in _average(members)]
    n_orders = frames[0].value.shape[1] if frames else 1
    return Placements(
        np.array([r[0] for r in rows], dtype=str),
        np.array([r[1] for r in rows], dtype=np.int64),
        np.array([r[2] for r in rows], dtype=float).reshape(-1, 2) / PLATE_RADIUS,
        np.array([r[3] for r in rows], dtype=float).reshape(-1, n_orders),
        np.array([r[4] for r in rows], dtype=float).reshape(-1, n_orders),
        np.array(tangents),
        frame,
    )


def _configurations(frames: Sequence[FrameStars]) -> list[int]:
    """The first frame of each frame's configuration (-1: no star with a position)."""
    seen: dict[tuple[str, int, int], int] = {}
    label: list[int] = []
    for number, frame in enumerate(frames):
        known = np.all(np.isfinite(frame.position), axis=1)
        keys = [(n, round(x), round(y)) for n, (x, y), ok in zip(frame.names, frame.position, known, strict=True) if ok]
        found = {label[seen[key]] for key in keys if key in seen}
        label.append(min(found, default=number) if keys else -1)
        # A frame may join two groups that had no star in common.
        label = [label[-1] if v in found else v for v in label]
        for key in keys:
            seen[key] = number
    return label


def _average(
    frames: Sequence[FrameStars],
) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """(name, position, value, error) of each star of a configuration."""
    names = list(dict.fromkeys(n for f in frames for n in f.names))
    place = {n: p for f in frames for n, p in zip(f.names, f.position, strict=True)}
    row = np.array([names.index(n) for f in frames for n in f.names])
    column = np.concatenate([np.full(len(f.names), k) for k, f in enumerate(frames)])
    value, error = (np.concatenate([getattr(f, key) for f in frames]) for key in ("value", "error"))
    design = np.zeros((row.size, len(names) + len(frames)))
    design[np.arange(row.size), row] = 1.0
    design[np.arange(row.size), len(names) + column] = 1.0
    # The least-norm solution fixes the constant that a and b could exchange.
    solution = np.linalg.lstsq(design, value, rcond=None)[0][: len(names)]
    count = np.bincount(row, minlength=len(names))[:, None]
    spread = np.zeros((len(names), value.shape[1]))
    np.add.at(spread, row, error)
    good = [k for k, n in enumerate(names) if np.all(np.isfinite(place[n]))]
    return [(names[k], place[names[k]], solution[k], (spread / count)[k]) for k in good]


@dataclass(frozen=True, eq=False)
class _Order:
    """Solution of one order: choices, weights, inverse covariance of all placements."""

    choice: dict[str, float]
    alpha: NDArray[np.float64]
    inverse: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SharedPlate:
    """Fields of all configurations, fitted together."""

    data: Placements
    prior: PlatePrior
    orders: tuple[_Order | None, ...]
    tilt: float = 0.0

    def term(self, frame: int, without: Set[str] = frozenset()) -> PlateTerm | None:
        """The field of a frame (by its number), as if the stars ``without`` had not been seen in any frame.

        Leaving rows o out of a Gaussian process with fixed hyperparameters: alpha - P_io P_oo^-1 alpha_o and
        P_ii - P_io P_oo^-1 P_oi, with P the inverse covariance.
        """
        q = int(self.data.frame[frame])
        if q < 0:
            return None
        out = np.isin(self.data.star, list(without)) if without else np.zeros(self.data.star.size, dtype=bool)
        fields = tuple(self._field(k, order, q, out) for k, order in enumerate(self.orders))
        return PlateTerm(fields, self.prior, self.tilt) if any(f is not None for f in fields) else None

    def _field(self, k: int, order: _Order | None, q: int, out: NDArray[np.bool_]) -> SharedField | None:
        if order is None:
            return None
        alpha, inverse = order.alpha, order.inverse
        if out.any():
            part = inverse[np.ix_(~out, out)] @ np.linalg.inv(inverse[np.ix_(out, out)])
            alpha, inverse = (
                alpha[~out] - part @ alpha[out],
                inverse[np.ix_(~out, ~out)] - part @ inverse[np.ix_(out, ~out)],
            )
        sd, scale, own = self.prior.sd[k], self.prior.scale, self.data.configuration[~out] == q
        choice = order.choice
        gradient = choice["own"] * self.prior.gradient_sd * self.data.tangent[q] if k == 1 else 0.0
        return SharedField(
            self.data.place[~out], np.zeros(2), alpha, inverse, choice["own"] * sd, choice["own_scale"] * scale,
            gradient, _mean(self.prior, k), choice["common"] * sd, choice["common_scale"] * scale, own,
        )  # fmt: skip


def fit_shared(data: Placements, prior: PlatePrior) -> SharedPlate | None:
    """Fit the fields of all configurations together.

    ``prior.gradient_sd`` is that at tan z = 1. None where there are fewer than three configurations, or no order has a
    field that is better than none.
    """
    if data.tangent.size < FEWEST_CONFIGURATIONS:
        return None
    tilt = _tilt(data)
    if tilt:
        value = data.value.copy()
        value[:, 1] += tilt * value[:, 2]
        data = replace(data, value=value)
    orders = tuple(
        _fit_order(data, prior, k) if own > 0 and k < data.value.shape[1] else None for k, own in enumerate(prior.sd)
    )
    return SharedPlate(data, prior, orders, tilt) if any(order is not None for order in orders) else None


def _tilt(data: Placements) -> float:
    """The t that makes c_1 + t c_2 and c_2 independent: minus the slope of c_1 against c_2, by Huber's weights.

    Slope and curvature of one star err together where one end of the spectrum strays, and the sum that does not hold
    that error shows a field that c_1 hides.
    """
    if data.value.shape[1] < 3:
        return 0.0
    value = data.value.copy()
    for q in range(data.tangent.size):
        value[data.configuration == q] -= np.median(value[data.configuration == q], axis=0)
    x, y = value[:, 2], value[:, 1]
    weight, slope = np.ones(x.size), 0.0
    for _ in range(20):
        slope = float(np.sum(weight * x * y) / max(np.sum(weight * x * x), 1e-300))
        residual = y - slope * x
        weight = huber_weights(residual / max(float(mad_sd(residual)), 1e-12))
    return -slope


def _mean(prior: PlatePrior, k: int) -> NDArray[np.float64]:
    return np.array(prior.gradient_mean if k == 1 else (0.0, 0.0), dtype=float)


def _search(
    solve: Callable[[dict[str, float]], Solution], choice: dict[str, float]
) -> tuple[Solution, dict[str, float]]:
    """Coordinate search over :data:`CHOICES` for the largest evidence."""
    best = solve(choice)
    for _ in range(3):
        before = dict(choice)
        for key, values in CHOICES.items():
            if key.endswith("scale") and choice[key.removesuffix("_scale")] == 0:
                continue
            for trial in ({**choice, key: v} for v in values if v != choice[key]):
                made = solve(trial)
                if made[0] > best[0] + 1e-9:
                    best, choice = made, trial
        if choice == before:
            break
    return best, choice


def _fit_order(data: Placements, prior: PlatePrior, k: int) -> _Order | None:
    """The best choices of one order by coordinate search, or None where no field is best."""
    sd, mean = prior.sd[k], _mean(prior, k)
    value = data.value[:, k] - data.place @ mean
    for q in range(data.tangent.size):
        inside = data.configuration == q
        value[inside] -= np.median(value[inside])
    square = np.sum((data.place[:, None, :] - data.place[None, :, :]) ** 2, axis=-1)
    same = data.configuration[:, None] == data.configuration[None, :]
    tangent = data.tangent[data.configuration]
    gradient = prior.gradient_sd**2 * (data.place @ data.place.T) * np.outer(tangent, tangent) if k == 1 else 0.0
    constant = same * (10 * sd + np.ptp(value)) ** 2

    def solve(choice: dict[str, float]) -> Solution:
        own, common = choice["own"], choice["common"]
        local = sd**2 * np.exp(-0.5 * square / (choice["own_scale"] * prior.scale) ** 2) + gradient
        wide = sd**2 * np.exp(-0.5 * square / (choice["common_scale"] * prior.scale) ** 2)
        covariance = constant + own**2 * same * local + common**2 * wide
        noise = data.error[:, k] ** 2 + (choice["scatter"] * sd) ** 2
        evidence, alpha, inverse = variational_process(covariance, value, noise)
        return evidence - ODDS * (common > 0), alpha, inverse

    best, choice = max((_search(solve, dict(start)) for start in STARTS), key=lambda found: found[0][0])
    if choice["own"] == 0 and choice["common"] == 0 and not mean.any():
        return None
    if prior.judged and not helps(_left_out(data, best[1], best[2]), _from_others(data, value)):
        return None
    return _Order(choice, best[1], best[2])


def _left_out(data: Placements, alpha: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each star departs by from a field that saw it in no configuration: P_oo^-1 alpha_o of its rows o."""
    residual = np.empty(alpha.size)
    for star in np.unique(data.star):
        rows = np.flatnonzero(data.star == star)
        residual[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], alpha[rows])
    return residual


def _from_others(data: Placements, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each star departs by from the mean of the other stars of its configuration."""
    count = np.bincount(data.configuration)[data.configuration]
    total = np.bincount(data.configuration, weights=value)[data.configuration]
    return np.where(count > 1, (value * count - total) / np.maximum(count - 1, 1), 0.0)
