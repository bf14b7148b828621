"""The map from true to measured temperatures by fits instead of an emulator, and what that changes of a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.random import generator
from crosscal.emulator.base import Emulator, Floats
from crosscal.inference.posterior import Posterior
from crosscal.inference.weights import KHAT_LIMIT, evidence, in_batches, pareto_smoothed
from crosscal.xray.correction.pairs import MOST_POINTWISE

#: Temperatures (Chebyshev nodes in ln T) at which spectra are fitted for one theta; between them a polynomial.
NODES = 20
#: Draws by which a posterior is re-weighted.
MOST_DRAWS = 4000
#: What of the re-weighting stands in a posterior's provenance.
KHAT, SHARE = "k-hat of exact fits against the emulator", "effective share of the draws"
#: Effective share of the draws below which re-weighting keeps too few of them.
LEAST_SHARE = 0.1
#: From this share on the weights are nearly equal: means change by less than 0.1 standard deviations.
EQUAL = 0.99


def chebyshev_nodes(n: int) -> Floats:
    """Return the n zeros of the Chebyshev polynomial of degree n."""
    nodes: Floats = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return nodes


def to_coefficients(n: int) -> Floats:
    """Return the matrix (n, n) from values at `chebyshev_nodes` to coefficients of the polynomial through them."""
    matrix = np.array(2.0 / n * np.polynomial.chebyshev.chebvander(chebyshev_nodes(n), n - 1).T, dtype=float)
    matrix[0] *= 0.5
    return matrix


def polynomials(x: Any, n: int, xp: Any) -> list[Any]:
    """Return the first n Chebyshev polynomials of x."""
    rows = [xp.ones_like(x), x]
    for _ in range(2, n):
        rows.append(2 * x * rows[-1] - rows[-2])
    return rows


@dataclass(frozen=True, eq=False)
class ExactMap(Emulator):
    """Noiseless fits at each theta: y(theta, T) = sum_j c_j(theta) T_j(x), x = ln T scaled to [-1, 1].

    ``task`` folds the templates through phi_theta and solves the score equations of the nominal fit at `NODES`
    temperatures in compiled batches (Newton); c are the Chebyshev coefficients through them. Derivatives with respect
    to T are those of the polynomial; there are none with respect to theta, so that samplers without gradients take it.

    Attributes
    ----------
    task : object
        ``task.shifts(theta (d,), kT (n,)) -> (n, k)``: the outputs, NaN where a fit failed; ``task.only(columns)``:
        the task of some outputs.
    """

    task: Any = field(kw_only=True)

    kind = "exact"

    def table(self, theta: Floats) -> Floats:
        """Return Chebyshev coefficients (n, NODES, k) of thetas (n, d); the last ones asked for are remembered."""
        theta = np.ascontiguousarray(np.asarray(theta, dtype=float).reshape(-1, len(self.inputs) - 1))
        key = theta.tobytes()
        if key not in self._known:
            kT = self.inputs[-1].from_unit(chebyshev_nodes(NODES))
            values = np.stack([self.task.shifts(one, kT) for one in theta])
            self._known.clear()
            self._known[key] = np.einsum("jn,mnk->mjk", to_coefficients(NODES), values)
        return self._known[key]

    @property
    def _known(self) -> dict[bytes, Floats]:
        return self.__dict__.setdefault("_cache", {})

    def at(self, first: Any, last: Any) -> Any:
        """Evaluate with JAX at many temperatures of one theta: (d,), (n,) -> (n, k)."""
        import jax
        import jax.numpy as jnp

        shape = jax.ShapeDtypeStruct((NODES, len(self.outputs)), jnp.result_type(float))

        def fitted(theta: Any) -> Floats:
            theta = np.asarray(theta)
            return self.table(theta).reshape(*theta.shape[:-1], NODES, len(self.outputs))

        coefficients = jax.pure_callback(fitted, shape, first, vmap_method="expand_dims")
        x = jnp.clip(self.inputs[-1].to_unit(last, jnp), -1.0, 1.0)
        return jnp.stack(polynomials(x, NODES, jnp), axis=1) @ coefficients

    def _evaluate(self, unit: Any, xp: Any) -> Any:
        if xp is not np:
            raise InputError("an exact map of scattered points", where="exact", expected="predict, or at(theta, kT)")
        physical = np.stack([i.from_unit(c) for i, c in zip(self.inputs, np.asarray(unit).T, strict=True)], axis=1)
        return np.concatenate([self.task.shifts(p[:-1], p[-1:]) for p in physical])

    def _in_blocks(self, flat: Floats) -> Floats:
        return np.concatenate([self.task.shifts(p[:-1], p[-1:]) for p in flat])

    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the map of some outputs, by their numbers."""
        return self._selected(columns, task=self.task.only(columns))

    def arrays(self) -> dict[str, Floats]:
        """Refuse: the fits themselves are the map."""
        raise InputError("an exact map has no file", where="exact", expected="the library that it belongs to")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> ExactMap:
        """Refuse: see `arrays`."""
        raise InputError("an exact map has no file", where="exact", expected="the library that it belongs to")


def _trusted(khat: float, share: float) -> bool:
    # The tail of nearly equal weights has a shape, but it hardly changes an average.
    return (khat <= KHAT_LIMIT and share >= LEAST_SHARE) or share >= EQUAL


def was_reweighted(posterior: Posterior) -> bool:
    """Whether exact fits have replaced the emulator in these draws."""
    figures = posterior.provenance.get("exact", {})
    return KHAT in figures and _trusted(figures[KHAT], figures[SHARE])


def _terms(model: Any, names: Sequence[str], keep: bool) -> Any:
    """Return ``f(vectors (n, d)) -> log likelihoods (n, N)`` of a model's sources, or (n, 1) of their sum."""
    import jax

    def at(vector: Any) -> Any:
        params = dict(zip(names, vector, strict=True))
        if model.sums is not None:
            return model.sums(params, each=True) if keep else model.sums(params)[None]
        found = model.pointwise(params)
        return found if keep else found.sum(keepdims=True)

    return jax.jit(jax.vmap(at))


def reweighted(model: Any, posterior: Posterior, *, seed: int = 0) -> Posterior:
    """Replace the emulator in a posterior by exact fits, by the weights L_exact / L_emulated of its draws.

    Parameters
    ----------
    model : HierarchicalModel
        With ``emulator.exact``, its truths integrated out.

    Returns
    -------
    Posterior
        Resampled by Pareto-smoothed weights, or as it was, with a message, where they cannot be trusted. Its
        provenance holds k-hat and the effective share of the draws as "exact".
    """
    names = list(model.all_priors)
    some = np.linspace(0, posterior.n_draws - 1, min(MOST_DRAWS, posterior.n_draws)).round().astype(int)
    vectors = np.stack([posterior.draws(n)[some] for n in names], axis=1)
    exact = replace(model, emulator=model.emulator.exact)

    # The likelihood of each of very many sources at each draw would fill the memory.
    keep = len(model.pairs) <= MOST_POINTWISE

    each = in_batches(_terms(exact, names, keep), vectors)
    log_weights = each.sum(axis=1) - in_batches(_terms(model, names, keep), vectors).sum(axis=1)
    failed = ~np.isfinite(log_weights)
    log_weights[failed] = -np.inf
    if failed.all():
        text = "No draw could be fitted exactly, so that the emulator's error is not known."
        return replace(posterior, messages=(*posterior.messages, text))
    weights, khat = pareto_smoothed(log_weights)
    share = float(1.0 / np.sum(weights**2) / len(weights))
    facts = {**posterior.provenance, "exact": {KHAT: khat, SHARE: share}}
    if not _trusted(khat, share):
        text = (
            f"The emulator's error changes the posterior by more than re-weighting with exact fits can correct (k-hat "
            f"{khat:.2f}, {100 * share:.0f} % effective draws): use emulator kind 'exact', or more nodes."
        )
        return replace(posterior, messages=(*posterior.messages, text), provenance=facts)
    rng = generator(seed, "exact")
    n = len(vectors)
    picks = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(n)) / n).clip(max=n - 1)
    picks = rng.permutation(picks)
    size = share * n
    sizes = posterior.array("effective_size", "sample_stats")
    if sizes is not None:
        size = min(size, share * float(sizes.flat[0]))
    gain, error = evidence(log_weights, share * n)
    units = posterior.groups.units
    return Posterior.from_draws(
        {name: posterior.draws(name)[some[picks]][None] for name in posterior.names},
        method=posterior.method,
        units={n: u for n, u in units.items() if u},
        sample_stats={"effective_size": np.full((1, n), size), "khat": np.full((1, n), khat)},
        log_likelihood={"data": each[picks][None]} if keep else None,
        log_evidence=None if posterior.log_evidence is None else posterior.log_evidence + gain,
        log_evidence_error=None
        if posterior.log_evidence is None
        else float(np.hypot(posterior.log_evidence_error or 0.0, error)),
        converged=posterior.converged,
        messages=posterior.messages,
        provenance=facts,
    )
