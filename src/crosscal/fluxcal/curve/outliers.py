"""Stars that a frame's scale must not rest on: far from the others in grey level, slope, template or velocity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosscal.core.robust import MAD_TO_SD, mad_sd
from crosscal.fluxcal.curve.curve import MAG
from crosscal.fluxcal.types import StarFit, StarStatus

#: What single fibres scatter by before a frame is seen: mag, and mag per 1000 A; it counts as so many stars.
USUAL_GREY, USUAL_SLOPE, PRIOR_STARS = 0.15, 0.04, 4.0
#: Velocities of halo stars scatter by at least so much, km/s, and good standards are halo stars: a velocity is odd only
#: where hardly a star of the Galaxy has it.
USUAL_VELOCITY = 150.0
#: Least excess of a star's reduced chi-square over the frame's median, as a factor, and its least value.
CHI2_FACTOR, LEAST_CHI2 = 4.0, 3.0
#: Excess of a star whose velocity is odd too: right standards of the halo are fast and fit as well as the others.
ODD_FACTOR = 1.5


def others_of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of all other values for each of three or more, shapes (n,)."""
    centre = _medians_without(values)
    own = np.empty(values.size)
    # The median of the others takes three values at the most.
    for middle in np.unique(centre):
        chosen = centre == middle
        own[chosen] = MAD_TO_SD * _medians_without(np.abs(values - middle))[chosen]
    return centre, own


def _medians_without(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of all other values for each of n, shape (n,): they are sorted once."""
    order = np.argsort(values, kind="stable")
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = np.arange(values.size)
    ordered = values[order]

    def place(m: int) -> NDArray[np.float64]:
        return np.where(rank > m, ordered[m], ordered[m + 1])

    half = (values.size - 1) // 2
    return place(half) if values.size % 2 == 0 else 0.5 * (place(half - 1) + place(half))


def far_away(
    values: NDArray[np.float64], error: NDArray[np.float64], usual: float, limit: float, keep: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which values are farther than ``limit`` standard deviations from the median of the others.

    The farthest goes first, and the scatter is estimated anew without it: so one of three and two of five are found.
    The robust scatter of the others is drawn towards what is usual: s^2 = (4 usual^2 + n mad^2) / (4 + n).
    More than half of the values are always kept.

    Parameters
    ----------
    values, error : arrays (n,)
    usual : float
        Scatter that is expected of so few values.
    limit : float
    keep : array of bool (n,)
        Those that are looked at.
    """
    out = np.zeros(values.size, dtype=bool)
    usual_square = PRIOR_STARS * usual**2
    most = (int(keep.sum()) - 1) // 2
    while out.sum() < most:
        index = np.flatnonzero(keep & ~out)
        inside = values[index]
        others, own = others_of(inside)
        scatter = np.sqrt((usual_square + (inside.size - 1) * own**2) / (PRIOR_STARS + inside.size - 1))
        score = np.abs(inside - others) / np.hypot(scatter, error[index])
        worst = int(np.argmax(score))
        if not score[worst] > limit:
            break
        out[index[worst]] = True
    return out


def outliers(
    c: NDArray[np.float64],
    error: NDArray[np.float64],
    keep: NDArray[np.bool_],
    limits: Sequence[float],
    field_sd: Sequence[float] = (),
) -> tuple[NDArray[np.bool_], list[str]]:
    """Stars whose coefficients (n, n_orders) in ln throughput are far from the others, and in what: "grey", "slope".

    Where losses are expected to vary over the plate, by ``field_sd`` (ln) in each order, stars may differ by more.
    """
    found, why = np.zeros(len(c), dtype=bool), [""] * len(c)
    kinds = (("grey", USUAL_GREY), ("slope", USUAL_SLOPE))
    for k, ((name, usual), limit) in enumerate(zip(kinds, limits, strict=True)):
        if k >= c.shape[1]:
            break
        total = np.hypot(error[:, k], field_sd[k] if k < len(field_sd) else 0.0)
        out = far_away(c[:, k], total, usual * MAG, limit, keep & ~found)
        # More than half of all stars stay, whatever they are far away in.
        room = (int(keep.sum()) - 1) // 2 - int(found.sum())
        for s in np.flatnonzero(out)[: max(room, 0)]:
            found[s], why[s] = True, name
    return found, why


def odd_stars(stars: Sequence[StarFit], limit: float) -> dict[int, StarStatus]:
    """Numbers of used stars whose template or velocity does not fit the frame, with the status that says so.

    A reduced chi-square four times the frame's median, or, among eight stars or more, a velocity ``limit`` standard
    deviations from the median, with a standard deviation of at least :data:`USUAL_VELOCITY`, of a star whose
    chi-square is also 1.5 times the median (right standards of the halo move at 400 km/s).
    """
    used = np.array([s.status == StarStatus.USED for s in stars], dtype=bool)
    chi2 = np.array([s.chi2 / s.dof if s.dof > 0 else np.nan for s in stars])
    rv = np.array([s.rv if np.isfinite(s.rv_error) else np.nan for s in stars])
    found: dict[int, StarStatus] = {}
    judged = used & np.isfinite(chi2)
    if judged.sum() >= 3:
        worst = max(CHI2_FACTOR * float(np.median(chi2[judged])), LEAST_CHI2)
        found |= {int(k): StarStatus.TEMPLATE_OUTLIER for k in np.flatnonzero(judged & (chi2 > worst))}
    moving = used & np.isfinite(rv)
    error = np.nan_to_num([s.rv_error for s in stars])
    if moving.sum() >= 8:
        scatter = max(float(mad_sd(rv[moving])), USUAL_VELOCITY)
        out = moving & (np.abs(np.nan_to_num(rv) - np.median(rv[moving])) > limit * np.hypot(scatter, error))
        if judged.any():
            out &= np.nan_to_num(chi2) > ODD_FACTOR * float(np.median(chi2[judged]))
        found |= {int(k): StarStatus.VELOCITY_OUTLIER for k in np.flatnonzero(out) if int(k) not in found}
    return found if len(found) <= (int(used.sum()) - 1) // 2 else {}


def disagreement(coefficients: NDArray[np.float64], names: Sequence[str], limit: float) -> str:
    """Why two stars cannot both be right, in words; empty where they agree or are not two (coefficients in mag)."""
    if len(names) != 2:
        return ""
    apart = abs(float(coefficients[0, 0] - coefficients[1, 0]))
    if apart <= limit * np.sqrt(2) * USUAL_GREY:
        return ""
    return f"stars {names[0]} and {names[1]} differ by {apart:.2f} mag, and no third star shows which one is wrong"
