"""What the data say about phi(E) and what only the prior says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import words_html
from crosscal.core.errors import InputError
from crosscal.xray.correction.edges import WIDER, limit_sentences

Floats = NDArray[np.float64]

#: A direction counts as constrained where its prior sd is more than twice its measurement error.
CONSTRAINED = 2.0
#: Delta chi2 up to which another solution fits as well (95 % for 3 parameters).
ALIAS_DELTA = 7.8
#: Step of the search for aliases' derivatives, in units of the domain.
DIFFERENCE = 1e-5
#: A parameter whose posterior sd exceeds this fraction of its prior sd was not measured.
PRIOR_DOMINATED = 0.8


@dataclass(frozen=True, eq=False)
class Modes:
    """Independent directions of ln phi(E), best measured first.

    Attributes
    ----------
    signal_to_noise : array (k,)
        Prior sd over measurement error of each direction.
    shapes : array (k, n)
        Change of ln phi(E) of one prior standard deviation along each direction.
    """

    signal_to_noise: Floats
    shapes: Floats

    @property
    def n_constrained(self) -> int:
        """Number of directions with S/N above 2."""
        return int(np.sum(self.signal_to_noise > CONSTRAINED))


def modes_of_fisher(fisher: ArrayLike, prior_covariance: ArrayLike) -> Modes:
    """Solve for the directions in which data with information F beat a prior of covariance C.

    With C = L L', the eigenvectors v of L' F L have S/N = sqrt(eigenvalue) and shape L v. F and C are on the same
    energy grid, for ln phi.

    Raises
    ------
    InputError
        If the shapes disagree.
    """
    f, c = np.asarray(fisher, dtype=float), np.asarray(prior_covariance, dtype=float)
    if f.ndim != 2 or f.shape != c.shape or f.shape[0] != f.shape[1]:
        raise InputError(f"shapes {f.shape}, {c.shape}", where="identifiability", expected="two (n, n) matrices")
    values, vectors = np.linalg.eigh(c)
    keep = values > 1e-12 * values[-1]
    root = vectors[:, keep] * np.sqrt(values[keep])
    eigen, directions = np.linalg.eigh(root.T @ f @ root)
    order = np.argsort(eigen)[::-1]
    return Modes(np.sqrt(np.clip(eigen[order], 0, None)), _signed((root @ directions[:, order]).T))


def modes_of_draws(prior_draws: ArrayLike, posterior_draws: ArrayLike, n_parameters: int) -> Modes:
    """Compare prior and posterior draws of ln phi(E), (m, n) each: S/N = sqrt(prior variance / posterior variance - 1).

    Directions are combinations of the prior draws' leading principal components: those with 99.9 % of the variance,
    at most ``n_parameters`` of them, since a family of d parameters cannot tell more than d directions apart.
    """
    prior, posterior = np.asarray(prior_draws, dtype=float), np.asarray(posterior_draws, dtype=float)
    if prior.ndim != 2 or posterior.ndim != 2 or prior.shape[1] != posterior.shape[1]:
        raise InputError(f"shapes {prior.shape}, {posterior.shape}", where="identifiability", expected="(m, n) each")
    centred = prior - prior.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(prior) - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    k = min(int(np.searchsorted(np.cumsum(values) / values.sum(), 0.999)) + 1, n_parameters)
    root = vectors[:, :k] * np.sqrt(values[:k])
    white = (posterior - posterior.mean(axis=0)) @ (vectors[:, :k] / np.sqrt(values[:k]))
    spread, directions = np.linalg.eigh(white.T @ white / (len(white) - 1))
    ratio = np.sqrt(np.clip(1.0 / np.maximum(spread, 1e-300) - 1.0, 0.0, None))
    return Modes(ratio, _signed((root @ directions).T))


def _signed(shapes: Floats) -> Floats:
    """Let the largest excursion of each shape be positive, so that results repeat."""
    top = np.take_along_axis(shapes, np.argmax(np.abs(shapes), axis=1)[:, None], axis=1)
    return shapes * np.where(top < 0, -1.0, 1.0)


@dataclass(frozen=True)
class Alias:
    """Another solution that fits the pairs as well but is a different phi(E).

    theta : mapping; delta_chi2 : float, relative to the best fit; difference : float, rms of ln phi against the best.
    """

    theta: Mapping[str, float]
    delta_chi2: float
    difference: float

    def __str__(self) -> str:
        values = ", ".join(f"{k} = {v:+.3g}" for k, v in self.theta.items())
        return f"{values}: delta chi2 {self.delta_chi2:.1f}, rms difference of phi {100 * self.difference:.1f} %"


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """What to trust and what not; print it.

    Attributes
    ----------
    modes : Modes
    best : mapping
        theta of the best fit by likelihood alone.
    aliases : tuple of Alias
    prior_dominated : mapping of name to posterior sd / prior sd
    converged : bool
        Of the sampler.
    messages : tuple of str
        Of the sampler.
    p_value : float
        Posterior predictive p-value of the pairs (or spectra) after correction.
    chi2, n_data : float, int
        Mean discrepancy over the posterior, and the number it should be near.
    figures : mapping of str to float
        Further named numbers.
    limits : mapping of name to (limit, share of the draws)
        Parameters that a limit decides (`edges.pressed`).
    no_answer : str
        Why no number should be quoted; empty where one can be.
    edges : tuple of str
        What else is at an edge: priors and sources that disagree, sources beyond the library.
    conflicts : tuple of str
        Parameters on which data and prior disagree.
    """

    modes: Modes
    best: Mapping[str, float] = field(default_factory=dict)
    aliases: tuple[Alias, ...] = ()
    prior_dominated: Mapping[str, float] = field(default_factory=dict)
    converged: bool = True
    messages: tuple[str, ...] = ()
    p_value: float = float("nan")
    chi2: float = float("nan")
    n_data: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    edges: tuple[str, ...] = ()
    no_answer: str = ""
    conflicts: tuple[str, ...] = ()

    @property
    def identified(self) -> bool:
        """Whether the parameters are constrained by the data, and not only phi where it is constrained."""
        open_ones = self.aliases or self.prior_dominated or self.limits
        return not open_ones and self.modes.n_constrained > 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what the data do not constrain, or what is unreliable."""
        found = []
        if self.modes.n_constrained == 0 and not self.conflicts:
            found.append("The data constrain no direction of phi(E): the result is the prior.")
        if self.aliases:
            many = len(self.aliases)
            others = f"{many} degenerate solution{'' if many == 1 else 's'}"
            found.append(
                f"theta is not identified: {others} with delta chi2 < {ALIAS_DELTA}; use the posterior band of phi(E), "
                "not the parameters."
            )
        if self.prior_dominated:
            names = ", ".join(f"{n} ({r:.2f})" for n, r in self.prior_dominated.items())
            found.append(f"Constrained by the prior only (posterior sd / prior sd): {names}.")
        if self.p_value < 0.01:
            found.append(
                f"The sources do not agree after the correction (p = {self.p_value:.2g}): the family of phi may be "
                "wrong, or the errors too small."
            )
        return (*found, *limit_sentences(self.limits), *self.edges, *self.messages)

    _repr_html_ = words_html

    def __str__(self) -> str:
        shown = ", ".join(f"{s:.1f}" for s in self.modes.signal_to_noise[:8])
        more = ", ..." if len(self.modes.signal_to_noise) > 8 else ""
        lines = [
            f"constrained modes of phi(E): {self.modes.n_constrained} (S/N {shown}{more}; threshold {CONSTRAINED:g})"
        ]
        if self.best:
            lines.append("best fit by likelihood: " + ", ".join(f"{k} = {v:.4g}" for k, v in self.best.items()))
        lines += [f"alias: {alias}" for alias in self.aliases]
        if np.isfinite(self.p_value):
            lines.append(f"predictive check: chi2 {self.chi2:.1f} for {self.n_data} numbers, p = {self.p_value:.3f}")
        lines += [f"{name}: {value:.4g}" for name, value in self.figures.items()]
        lines.append(f"sampler: {'converged' if self.converged else 'NOT converged'}")
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)


def prior_dominated(prior_sd: Mapping[str, float], posterior_sd: Mapping[str, float]) -> dict[str, float]:
    """Return posterior sd / prior sd of the parameters that the data hardly changed.

    A posterior wider than its prior is another matter: see `edges.disagreements`.
    """
    ratios = {name: float(posterior_sd[name] / prior_sd[name]) for name in prior_sd}
    return {name: ratio for name, ratio in ratios.items() if PRIOR_DOMINATED < ratio <= WIDER}


def find_aliases(
    chi2: Any,
    bounds: Mapping[str, tuple[float, float]],
    log_factor: Any,
    *,
    starts: int = 48,
    least_difference: float = 0.01,
    coarse: Any = None,
    seed: int = 0,
) -> tuple[dict[str, float], float, tuple[Alias, ...]]:
    """Search the whole domain for minima of chi2 that are different corrections.

    Parameters
    ----------
    chi2 : callable
        theta (d,) -> -2 ln likelihood with JAX, without the prior of theta.
    log_factor : callable
        theta (d,) -> ln phi on a grid of energies (NumPy).
    least_difference : float
        Root mean square of the difference of ln phi, after the best common grey factor is allowed for, from which two
        solutions count as different.
    coarse : callable, optional
        chi2 of a part of the data: minima are looked for there, and only the different ones of these with all data.

    Returns
    -------
    best : theta by name; its chi2; aliases with delta chi2 below 7.8, best first
    """
    from crosscal.xray.correction.point import _spread

    names = list(bounds)
    low, high = np.array([bounds[n] for n in names]).T
    points = _spread(len(names), starts, seed)
    if coarse is not None:
        minima = _minima(coarse, low, high, points)
        points = np.array(
            [(theta - low) / (high - low) for _, theta, _ in _different(minima, log_factor, least_difference)]
        )
    best_value, best, first = (found := _different(_minima(chi2, low, high, points), log_factor, least_difference))[0]
    aliases = [
        Alias(
            dict(zip(names, theta.tolist(), strict=True)), value - best_value, float(np.sqrt(np.mean((f - first) ** 2)))
        )
        for value, theta, f in found[1:]
        if value - best_value <= ALIAS_DELTA
    ]
    return dict(zip(names, best.tolist(), strict=True)), best_value, tuple(aliases)


def _minima(chi2: Any, low: Floats, high: Floats, points: Floats) -> list[tuple[float, Floats]]:
    """Return the minima (value, theta) that L-BFGS-B reaches from points of the unit cube, the lowest first."""
    import jax
    from scipy.optimize import minimize

    d = len(low)
    many = jax.jit(jax.vmap(lambda u: chi2(low + u * (high - low))))
    steps = DIFFERENCE * np.concatenate([np.zeros((1, d)), np.eye(d), -np.eye(d)])

    def both(unit: Floats) -> tuple[float, Floats]:
        # Differences of one batch, inwards at the limits: a derivative of the clipped map would hold the search there,
        # and compiling it would take longer than the whole search.
        points = np.clip(unit + steps, 0.0, 1.0)
        values = np.asarray(many(points))
        if not np.isfinite(values[0]):
            return 1e300, np.zeros(d)
        up, down = np.split(values[1:], 2)
        width = np.diagonal(points[1 : d + 1]) - np.diagonal(points[d + 1 :])
        return float(values[0]), np.nan_to_num((up - down) / width)

    found = []
    for point in points:
        result = minimize(both, point, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * d, options={"ftol": 1e-7})
        if result.fun < 1e299:
            found.append((float(result.fun), low + result.x * (high - low)))
    if not found:
        raise InputError("the likelihood is nowhere finite", where="search for aliases", expected="possible data")
    return sorted(found, key=lambda f: f[0])


def _different(
    minima: list[tuple[float, Floats]], log_factor: Any, least_difference: float
) -> list[tuple[float, Floats, Floats]]:
    """Return (value, theta, ln phi) of the minima whose ln phi differs from that of all lower ones."""
    kept: list[tuple[float, Floats, Floats]] = []
    for value, theta in minima:
        shape = np.asarray(log_factor(theta))
        if all(np.std(shape - other) > least_difference for _, _, other in kept):
            kept.append((value, theta, shape))
    return kept


def predicted_modes(
    trusted: Any,
    other: Any,
    *,
    names: tuple[str, ...] | None = ("kT",),
    sd: float = 0.05,
    length: float = 0.2,
    scatter: float = 0.03,
    band: tuple[float, float] | None = None,
) -> tuple[Floats, Modes]:
    """Predict, before any inference, how many modes of ln area(E) a set of sources can constrain.

    Parameters
    ----------
    trusted, other : LinearKernel
        Of the same sources in both telescopes (``linear_kernel``), without a basis.
    names : tuple of str, or None
        Quantities compared; None for the full spectra.
    sd, length : float
        Gaussian-process prior of ln area: standard deviation and correlation length in ln E.
    scatter : float
        Fractional intrinsic scatter of the compared kT and norm.
    band : (low, high), keV
        Energies to consider; all of the kernel by default.

    Returns
    -------
    energy (n,) and Modes

    Raises
    ------
    InputError
        If the kernels are for different sources or lack a quantity.
    """
    if len(trusted.covariance) != len(other.covariance) or trusted.names != other.names:
        raise InputError("kernels of different sources", where="identifiability", expected="the same sources and names")
    low, high = band or (other.energy[0], other.energy[-1])
    use = (other.energy >= low) & (other.energy <= high)
    if names is None:
        # Full spectra: what the other telescope's spectrum says with its parameters free, and its fitted parameters
        # against the trusted ones.
        information = other.information.sum(axis=0)
        chosen = list(range(len(other.names)))
    else:
        unknown = [n for n in names if n not in other.names]
        if unknown:
            raise InputError(f"no {unknown[0]} in the kernel", where="identifiability", expected=", ".join(other.names))
        information = np.zeros((other.energy.size,) * 2)
        chosen = [other.names.index(n) for n in names]
    total = (trusted.covariance + other.covariance)[:, chosen][:, :, chosen]
    if scatter and names is not None:
        if other.values is None:
            raise InputError("a kernel without values", where="identifiability", expected="one of linear_kernel")
        floor = np.where([n == "kT" or n.startswith("norm") for n in names], scatter, 0.0) * other.values[:, chosen]
        total = total + floor[:, :, None] ** 2 * np.eye(len(chosen))
    kernel = other.kernel[:, chosen]
    information = information + np.einsum("nqk,nql->kl", kernel, np.linalg.solve(total, kernel))
    x = np.log(other.energy[use])
    prior = sd**2 * np.exp(-0.5 * ((x[:, None] - x) / length) ** 2)
    return other.energy[use], modes_of_fisher(information[np.ix_(use, use)], prior)
