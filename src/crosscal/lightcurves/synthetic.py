"""Simulated light curves with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.core.random import generator
from crosscal.lightcurves.kalman import simulate as simulate_path
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.kernels.registry import process as find_kernel
from crosscal.lightcurves.types import LightCurve, LightCurves


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulation knows.

    Attributes
    ----------
    scale, shift : array (k,)
        phi and G: true flux = phi f - G, relative to the first code.
    syserr : array (1 + m, k)
        eps in the unit of the measured fluxes.
    kernel : array (1 + m, n_kernel)
        Kernel parameters in physical units.
    mean : array (1 + m,)
    flux : tuple of arrays (N,)
        True fluxes at the observed times (time order).

    Examples
    --------
    >>> curves, truth = lightcurves.simulate(seed=1)  # doctest: +SKIP
    >>> truth.scale, truth.shift  # doctest: +SKIP
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    syserr: NDArray[np.float64]
    kernel: NDArray[np.float64]
    mean: NDArray[np.float64]
    flux: tuple[NDArray[np.float64], ...]


def draw_process(kernel: Kernel, theta: NDArray, time: NDArray[np.float64], rng: np.random.Generator) -> NDArray:
    """Draw a zero-mean path of a kernel at sorted times, with its white part."""
    path = np.empty(len(time))
    A = kernel.transition(theta, np.diff(time, prepend=time[0]))
    noise = rng.standard_normal((len(time), kernel.dimension))
    simulate_path(kernel.observation, A, kernel.stationary(theta), noise, path)
    return path + np.sqrt(np.real(kernel.white(theta))) * rng.standard_normal(len(time))


@keywords
def simulate(
    *,
    seed: int = 0,
    codes: Sequence[str] = ("A", "B", "C"),
    points: int | Sequence[int] = 100,
    lines: int = 0,
    span: float = 1000.0,
    scale: Sequence[float] | None = None,
    shift: Sequence[float] | None = None,
    syserr: Sequence[float] | None = None,
    sigma: float = 0.02,
    tau: float = 80.0,
    mean: float = 1.0,
    error: float = 0.02,
    kernel: str | Kernel = "drw",
    extra: Sequence[float] = (),
    student: float | None = None,
    windows: Sequence[tuple[float, float]] | None = None,
) -> tuple[LightCurves, Truth]:
    """Simulate one source seen by several telescopes.

    Parameters
    ----------
    codes : sequence of str
        Telescopes; the first is the reference.
    kernel : str or Kernel
    points : int or sequence of int
        Points per telescope and file.
    scale, shift, syserr : sequences of length k, optional
        Truth; drawn from the seed if not given (the first code is the reference).
    sigma, tau, mean : float
        Process of the continuum; lines vary with the same sigma and tau and have half the mean.
    error : float
        Relative measurement error, scattered by 30 %.
    extra : sequence of float
        Kernel parameters beyond the first two.
    student : float, optional
        Degrees of freedom of Student-t noise; Gaussian if not given.
    windows : sequence of (start, stop), optional
        Observing window of each telescope, in fractions of the span.

    Raises
    ------
    InputError
        If the lengths differ, or the kernel is not a Gaussian process.

    Examples
    --------
    >>> curves, truth = lightcurves.simulate(seed=1, codes=("A", "B"), points=(60, 40), lines=1)  # doctest: +SKIP
    """
    k, rng = len(codes), generator(seed, "light-curves")
    counts = [points] * k if isinstance(points, int) else list(points)
    free = np.arange(k) > 0
    phi = np.where(free, rng.uniform(0.8, 1.25, k), 1.0) if scale is None else np.asarray(scale, dtype=float)
    G = np.where(free, rng.uniform(-0.2, 0.2, k) * mean, 0.0) if shift is None else np.asarray(shift, dtype=float)
    eps = np.zeros(k) if syserr is None else np.asarray(syserr, dtype=float)
    inside = [(0.0, 1.0)] * k if windows is None else list(windows)
    if not len(counts) == len(phi) == len(G) == len(eps) == len(inside) == k:
        raise InputError("lengths differ", where="simulate", expected=f"{k} values, one per code")
    process = find_kernel(kernel, where="simulate, kernel")
    theta = np.array([np.log(sigma), np.log(tau), *extra])
    files, fluxes, means = [], [], []
    for i in range(1 + lines):
        level = mean if i == 0 else 0.5 * mean
        code = np.repeat(np.arange(k), counts)
        time = np.concatenate(
            [np.sort(rng.uniform(a * span, b * span, n)) for n, (a, b) in zip(counts, inside, strict=True)]
        )
        order = np.argsort(time, kind="stable")
        true = np.empty(len(time))
        true[order] = level + draw_process(process, theta, time[order], rng)
        sd = error * level / phi[code] * rng.uniform(0.7, 1.3, len(time))
        noise = rng.standard_normal(len(time)) if student is None else rng.standard_t(student, len(time))
        flux = (true + (G[code] if i == 0 else 0.0)) / phi[code] + np.hypot(sd, eps[code]) * noise
        files.append(LightCurve.build("continuum" if i == 0 else f"line{i}", codes, time, flux, sd, code))
        fluxes.append(true[order])
        means.append(level)
    truth = Truth(phi, G, np.tile(eps, (1 + lines, 1)), np.tile(theta, (1 + lines, 1)), np.array(means), tuple(fluxes))
    return LightCurves(files[0], tuple(files[1:])), truth
