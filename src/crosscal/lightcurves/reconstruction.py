"""The light curve of the source itself: conditional mean, spread and sample paths of the process, in O(N)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError
from crosscal.lightcurves.file_model import FileModel
from crosscal.lightcurves.kalman import Workspace, simulate
from crosscal.lightcurves.model import Model


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Posterior of the true light curve of one file, in physical units and the gauge of the reference.

    Attributes
    ----------
    name : str
    time, mean, sd : array (n,)
        ``sd`` includes the uncertainty of the mean level and of all parameters.

    Examples
    --------
    >>> model = result.reconstruct(times=[58000.0, 58001.0])  # doctest: +SKIP
    >>> model.mean, model.sd  # doctest: +SKIP
    """

    name: str
    time: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    __repr__ = brief
    _repr_html_ = brief_html


def default_times(model: Model, i: int) -> NDArray[np.float64]:
    """max(2 N, 100) uniform times reaching 5 % of the span beyond both ends."""
    curve = model.curves.files[i]
    margin = 0.05 * curve.span
    return np.linspace(curve.time[0] - margin, curve.time[-1] + margin, max(2 * len(curve), 100))


def reconstruct(
    model: Model,
    vectors: NDArray[np.float64],
    i: int = 0,
    times: NDArray[np.float64] | None = None,
    *,
    gauge: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    inflation: NDArray[np.float64] | None = None,
) -> Reconstruction:
    """Average the conditional mean and variance over posterior draws (total variance), in physical units.

    Parameters
    ----------
    model : Model
        Any model of the data; its marginalised shifts are taken from the draws.
    vectors : array (n_draws, n)
        Normalised full vectors, shifts included; some 50 draws are enough.
    i : int
        The file: 0 is the continuum.
    times : array, optional
        Sorted internally; `default_times` if not given.
    gauge : two arrays (n_draws,), optional
        Scale and shift (physical) of another reference telescope at each draw: F -> (F + G_r) / phi_r.
    inflation : array (N of all files,), optional
        Factor on each point's variance, as found with Student-t errors.

    Raises
    ------
    InputError
        If a time is not finite.
    """
    explicit = Model(model.curves, model.settings, normalisation=model.norm, marginal=np.zeros(0, dtype=np.int64))
    wanted = default_times(model, i) if times is None else np.sort(np.atleast_1d(np.asarray(times, dtype=float)))
    if not np.all(np.isfinite(wanted)):
        raise InputError("a time is not finite", where="reconstruction", expected="finite times")
    first, second, spread = (np.zeros(len(wanted)) for _ in range(3))
    if inflation is not None:
        ends = np.cumsum([len(curve) for curve in model.curves.files])[:-1]
        explicit.files[i].with_inflation(np.split(inflation, ends)[i])
    level = model.norm.factors[i, 0]
    phi, G = (np.ones(len(vectors)), np.zeros(len(vectors))) if gauge is None else gauge
    for s, x in enumerate(vectors):
        mean, variance = explicit.files[i].predict(explicit.parts(x, i), wanted)
        mean = (mean * level + G[s]) / phi[s]
        first += mean
        second += mean**2
        spread += variance * (level / phi[s]) ** 2
    n = len(vectors)
    mean = first / n
    total = spread / n + np.maximum(second / n - mean**2, 0.0)
    return Reconstruction(model.curves.files[i].name, wanted, mean, np.sqrt(total))


def sample_path(
    one: FileModel, parts: tuple[NDArray[np.float64], ...], level: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the process at the observed times given all parameters and the mean ``level`` (normalised units).

    A path and data are simulated and the smoothed difference to the observed data is added
    (Durbin & Koopman 2002, Biometrika 89, 603).
    """
    theta, phi, G, eps, b = parts
    A, P0 = one.set_up(theta, phi, G, eps, b)
    n, h = len(one.dt), one.kernel.observation
    path = np.empty(n)
    simulate(h, A, P0, rng.standard_normal((n, len(h))), path)
    noisy = path + np.sqrt(one.R) * rng.standard_normal(n)
    work = Workspace(n, len(h), 1)
    work.forward(h, A, P0, one.R, np.ascontiguousarray(one.W[:, :1] - level - noisy[:, None]), True)
    return path + work.smooth(h, A)[0][:, 0]
