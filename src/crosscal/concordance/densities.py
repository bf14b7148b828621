"""The concordance posterior as `Problem`s that any sampler takes (JAX).

Collapsed over B and G (variances remain), over G (counts: the exact multinomial), or in full with all G.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscal.concordance.model import Model
from crosscal.core.errors import InputError
from crosscal.inference.problem import Problem

#: Prior width of flat parameters in a full problem; the likelihood divides it out again, so it has no influence.
WIDE = 10.0
#: Largest dense arrays built for a JAX density, in numbers.
DENSE_LIMIT = 20_000_000


def collapsed_problem(model: Model) -> Problem:
    """Return the posterior of the channel variances s (N,), with areas and fluxes integrated out.

    Raises
    ------
    InputError
        If the model has no closed collapsed form, or would need too large arrays (block Gibbs does not).
    """
    import numpyro.distributions as dist

    plain = model.noise == "log-normal" and model.variance.unknown and not model.prior.latent
    if not plain or model.varying or model.drift_sd is not None:
        raise InputError(
            "this model has no collapsed density of its variances",
            where="route",
            expected="log-normal noise of unknown variance without drift and variability, or route = 'gibbs'",
        )
    likelihood = _pattern_likelihood(model) if model.compressible else _dense_likelihood(model)
    return Problem(
        priors={"s": dist.InverseGamma(model.variance.df, model.variance.beta)},
        log_likelihood=lambda params: likelihood(params["s"]) + _half_t(model, params["s"]),
        dims={"s": ["channel"]},
        coords={"channel": list(model.data.channel_names)},
    )


def _half_t(model: Model, s: Any) -> Any:
    """Log ratio of the half-t prior of sqrt(s) to the InverseGamma that stands for it in a `Problem`."""
    import jax.numpy as jnp

    v = model.variance
    used = v.scale > 0
    if not np.any(used):
        return 0.0
    s, df, beta, scale = s[used], v.df[used], v.beta[used], v.scale[used]
    wanted = 0.5 * jnp.log(s) - (df + 0.5) * jnp.log1p(s / (2 * df * scale**2))
    return (wanted + df * jnp.log(s) + beta / s).sum()


def _area_terms(model: Model) -> tuple[Any, Any]:
    precision = model.prior.precision
    return precision, precision @ np.where(model.prior.flat, 0.0, model.prior.mean)


def _pattern_likelihood(model: Model) -> Any:
    import jax.numpy as jnp

    pattern, n, half = model.patterns, model.data.n_channels, model.data.half
    if model.data.repeated:
        raise InputError("repeated measurements have no such density", where="route", expected="route = 'gibbs'")
    if pattern.size * n * n > DENSE_LIMIT:
        raise InputError(
            f"{pattern.size} missing patterns", where="route", expected="route = 'gibbs' for data as ragged as these"
        )
    mask, mean = np.zeros((pattern.size, n)), np.zeros((pattern.size, n))
    scatter = np.zeros((pattern.size, n, n))
    for k in range(pattern.size):
        inside = pattern.index[pattern.offset[k] : pattern.offset[k + 1]]
        mask[k, inside], mean[k, inside] = 1.0, pattern.mean[pattern.offset[k] : pattern.offset[k + 1]]
        if pattern.count[k] > 1:
            block = pattern.scatter[pattern.square[k] : pattern.square[k + 1]].reshape(len(inside), -1)
            scatter[k][np.ix_(inside, inside)] = block
    count, cells = pattern.count.astype(float), pattern.per_channel().astype(float)
    precision, information = _area_terms(model)
    diagonal = np.einsum("kii->ki", scatter)

    def likelihood(s: Any) -> Any:
        p = mask / s
        total = p.sum(axis=1)
        z = mean + half * s
        average = (p * z).sum(axis=1) / total
        a = precision + jnp.diag(count @ p) - jnp.einsum("k,ki,kj->ij", count / total, p, p)
        h = information + (count[:, None] * p * (z - average[:, None])).sum(axis=0)
        inner = (p * diagonal).sum() - (jnp.einsum("ki,kij,kj->k", p, scatter, p) / total).sum()
        inner += (count * ((p * z * z).sum(axis=1) - average**2 * total)).sum()
        inner += cells @ jnp.log(s) + count @ jnp.log(total)
        return _gaussian(a, h) - 0.5 * inner

    return likelihood


def _gaussian(a: Any, h: Any) -> Any:
    """h' A^-1 h / 2 - log |A| / 2."""
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    root = jnp.linalg.cholesky(a)
    x = solve_triangular(root, h, lower=True)
    return 0.5 * x @ x - jnp.log(jnp.diagonal(root)).sum()


def _dense_likelihood(model: Model) -> Any:
    import jax.numpy as jnp

    data, half = model.data, model.data.half
    if data.repeated:
        raise InputError("repeated measurements have no such density", where="route", expected="route = 'gibbs'")
    if data.n_channels * data.n_columns > DENSE_LIMIT:
        raise InputError(f"{data.n_cells} cells of different variance", where="route", expected="route = 'gibbs'")
    y = data.matrix()
    seen = np.isfinite(y)
    y = np.nan_to_num(y)
    v = np.nan_to_num(data.matrix(data.variance), nan=1.0)
    precision, information = _area_terms(model)

    def likelihood(s: Any) -> Any:
        variance = v + s
        p = jnp.where(seen, 1.0 / variance, 0.0)
        z = y + half * variance
        total = p.sum(axis=1)
        average = (p * z).sum(axis=1) / total
        a = precision + jnp.diag(p.sum(axis=0)) - p.T @ (p / total[:, None])
        h = information + (p * (z - average[:, None])).sum(axis=0)
        inner = (p * (z - average[:, None]) ** 2).sum()
        inner += jnp.where(seen, jnp.log(variance), 0.0).sum() + jnp.log(total).sum()
        return _gaussian(a, h) - 0.5 * inner

    return likelihood


def area_distribution(model: Model) -> Any:
    """Prior of B as a numpyro distribution; flat channels get the width `WIDE` and are corrected in the density."""
    import numpyro.distributions as dist

    covariance = model.prior.covariance.copy()
    flat = model.prior.flat
    covariance[flat, flat] = WIDE**2
    return dist.MultivariateNormal(np.where(flat, 0.0, model.prior.mean), covariance_matrix=covariance)


def _flat_areas(model: Model, b: Any) -> Any:
    """Log of what makes the wide prior of flat channels flat."""
    return 0.5 * ((b[model.prior.flat] / WIDE) ** 2).sum() if np.any(model.prior.flat) else 0.0


def multinomial_problem(model: Model) -> Problem:
    """Return the posterior of B for Poisson counts, with fluxes integrated out exactly.

    With flat G_j, n_j | B ~ Multinomial(sum n_j; T_ij A_i / sum_i T_ij A_i).
    """
    import jax.numpy as jnp
    from jax.ops import segment_sum

    data = model.data
    assert data.counts is not None
    assert data.exposure is not None
    total = np.bincount(data.column, data.counts, data.n_columns)
    row, column, counts, exposure = data.row, data.column, data.counts, data.exposure

    def likelihood(params: Any) -> Any:
        b = params["B"]
        rates = segment_sum(exposure * jnp.exp(b)[row], column, data.n_columns, indices_are_sorted=True)
        return (counts * b[row]).sum() - (total * jnp.log(rates)).sum() + _flat_areas(model, b)

    return Problem(
        priors={"B": area_distribution(model)},
        log_likelihood=likelihood,
        dims={"B": ["channel"]},
        coords={"channel": list(data.channel_names)},
    )


def full_problem(model: Model, *, shifted: bool = True) -> Problem:
    """Return the posterior of areas, all log fluxes and the noise, nothing integrated out.

    Parameters
    ----------
    shifted : bool
        Sample G' = G + mean(B), which data inform, instead of G, which trades with the common mode of B. The plain
        parametrisation is kept as the reference that published codes use.

    Raises
    ------
    InputError
        If the model has drift or source variability (block Gibbs has them).
    """
    import jax.numpy as jnp
    import numpyro.distributions as dist

    if model.varying or model.drift_sd is not None or model.in_flux or model.prior.latent:
        raise InputError(
            "the full density has no drift, variability, Gaussian flux errors or latent tau",
            where="route",
            expected="route = 'gibbs'",
        )
    data = model.data
    level = _starting_fluxes(model)
    priors: dict[str, Any] = {"B": area_distribution(model), "G_": dist.Normal(level, WIDE).to_event(1)}
    if model.variance.unknown and model.noise != "poisson":
        priors["s"] = dist.InverseGamma(model.variance.df, model.variance.beta)
    if model.noise == "log-t":
        priors["xi"] = dist.Chi2(np.full(data.n_cells, model.nu))
    cells = _count_likelihood(model) if model.poisson else _log_likelihood(model)

    def fluxes(params: Any) -> Any:
        return params["G_"] - (params["B"].mean() if shifted else 0.0)

    def likelihood(params: Any) -> Any:
        mean = params["B"][data.row] + fluxes(params)[data.column]
        flat = 0.5 * (((params["G_"] - level) / WIDE) ** 2).sum() + _flat_areas(model, params["B"])
        if "s" in params:
            flat = flat + _half_t(model, params["s"])
        return cells(mean, params).sum() + flat

    def derived(params: Any) -> dict[str, Any]:
        found = {"G": fluxes(params)}
        if "s" in params:
            found["sigma"] = jnp.sqrt(params["s"])
        return found

    return Problem(priors=priors, log_likelihood=likelihood, derived=derived)


def _starting_fluxes(model: Model) -> Any:
    data = model.data
    if model.poisson:
        assert data.counts is not None
        assert data.exposure is not None
        return np.log(
            np.bincount(data.column, data.counts, data.n_columns)
            / np.bincount(data.column, data.exposure, data.n_columns)
        )
    return np.bincount(data.column, data.log_rate, data.n_columns) / np.diff(data.indptr)


def _log_likelihood(model: Model) -> Any:
    import jax.numpy as jnp

    data, kind, stretch, half = model.data, model.variance.kind, model.stretch, model.data.half
    quoted = np.zeros(data.n_cells) if data.variance is None else data.variance

    def cells(mean: Any, params: Any) -> Any:
        if kind == "quoted":
            variance = quoted * stretch
        else:
            own = params["s"][data.row]
            variance = own if kind == "unknown" else (quoted + own) * stretch
        if model.noise == "log-t":
            variance = variance / params["xi"]
        return -0.5 * (jnp.log(variance) + (data.log_rate + half * variance - mean) ** 2 / variance)

    return cells


def _count_likelihood(model: Model) -> Any:
    import jax.numpy as jnp
    from jax.scipy.special import gammaln

    data = model.data
    assert data.exposure is not None
    counts, log_exposure = data.counts, np.log(data.exposure)

    def poisson(mean: Any, params: Any) -> Any:
        return counts * mean - jnp.exp(mean + log_exposure)

    def gamma_poisson(mean: Any, params: Any) -> Any:
        # Each cell's rate carries a gamma factor of mean 1 and variance s_i.
        shape = 1.0 / params["s"][data.row]
        rate = jnp.exp(mean + log_exposure)
        log_ratio = jnp.log1p(rate / shape)
        return (
            gammaln(counts + shape) - gammaln(shape) + counts * (mean - jnp.log(shape) - log_ratio) - shape * log_ratio
        )

    return poisson if model.noise == "poisson" else gamma_poisson
