"""``infer_spectra``: one shared phi(E) from the spectra themselves, with every source's parameters free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.units import energies
from crosscal.inference.problem import Problem
from crosscal.xray.correction import small
from crosscal.xray.correction.external import ExternalCorrection
from crosscal.xray.correction.observations import Block, Prepared
from crosscal.xray.correction.priors import TAU_PERCENT, amplitude, priors_of

Floats = NDArray[np.float64]

#: Width of the prior of source parameters in pilot errors: flat for all that matters.
SOURCE_PRIOR = 20.0
SOURCES = ("sampled", "marginal")
#: Scoring steps towards the most probable source parameters at given theta; at no correction, from the trusted fit.
STEPS, FIRST_STEPS = 5, 30
#: Beyond the range of a parameter the prior falls like a Gaussian of this width, in errors of the trusted fit.
EDGE = 0.05


@dataclass(frozen=True, eq=False)
class SpectraModel:
    """Poisson likelihood of both telescopes' spectra with shared source parameters and one phi.

    ::

        theta ~ prior;  y_i = (ln kT_i, ln norm_i, Z_i, ...) flat
        counts_0i ~ Poisson(t R_0 A_0 S(y_i));   counts_1i ~ Poisson(t R_1 A_1 phi_theta S(y_i) r_i)
        ln r_i ~ Normal(0, norm_scatter)         (left out if norm_scatter is None: r_i = 1)

    Where phi is linear in theta, R_1 A_1 b_k(E) S is folded once for each basis function b_k.

    Parameters
    ----------
    data : Prepared
    modifier : Modifier
        Must act on the area.
    sources : "sampled" or "marginal"
        Whether y_i are sampled or integrated out by Laplace's method.
    norm_scatter : float or None
        Prior sd of ln of each source's relative normalisation (different regions, vignetting).
    tau, priors, prior_correction
        As for `HierarchicalModel`.
    """

    data: Prepared
    modifier: Any
    sources: str = "sampled"
    norm_scatter: float | None = None
    tau: str | float | None = None
    priors: Mapping[str, Any] | None = None
    prior_correction: Correction | None = None

    def __post_init__(self) -> None:
        if self.sources not in SOURCES:
            raise UnknownNameError("treatment of sources", self.sources, SOURCES)
        if self.modifier.acts_on != "area":
            raise InputError(
                f"the modifier {self.modifier.name!r} changes the matrix",
                where="infer_spectra",
                expected="a change of the effective area (or a library and infer)",
            )

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Parameters of the correction."""
        return tuple(self.modifier.names)

    @property
    def amplitude_sd(self) -> float:
        """Prior standard deviation of dimensionless parameters."""
        choice = self.tau
        if choice is None and self.data.telescopes[1].lower() in TAU_PERCENT:
            choice = self.data.telescopes[1]
        return amplitude(choice, *self.band)

    @cached_property
    def band(self) -> tuple[float, float]:
        """Energies that the corrected telescope's spectra cover, keV."""
        blocks = [b for b in self.data.blocks if b.corrected]
        return float(min(b.lo.min() for b in blocks)), float(max(b.hi.max() for b in blocks))

    @property
    def pairs(self) -> None:
        """Spectra were fitted, not pairs."""
        return None

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the log likelihoods."""
        return tuple(self.data.sources)

    @property
    def integrated(self) -> bool:
        """Whether the parameters of each source are integrated out, not sampled."""
        return self.sources == "marginal"

    @cached_property
    def domain(self) -> dict[str, tuple[float, float]]:
        """Range of each parameter; energies are kept inside the band."""
        found = {}
        for p in self.modifier.parameters:
            low, high = p.low, p.high
            if p.unit == "keV":
                low, high = max(low, 0.1), min(high, self.band[1])
            found[p.name] = (low, high)
        return found

    @cached_property
    def all_priors(self) -> dict[str, Any]:
        """Priors of theta and of the standardised source parameters ``v`` (N, p); ``ln_r`` (N,) in units of its sd."""
        import numpyro.distributions as dist

        found = priors_of(self.modifier, self.theta_names, self.domain, sd=self.amplitude_sd, given=self.priors)
        if self.sources == "sampled":
            shape = (len(self.data.sources), self._width)
            found["v"] = dist.Normal(np.zeros(shape), np.tile(self._prior_scale, (shape[0], 1))).to_event(2)
        return found

    @cached_property
    def _range(self) -> tuple[Floats, Floats]:
        """Ends of v (N, width); the relative norm has none."""
        low, high = self.data.pilot.low, self.data.pilot.high
        if self.norm_scatter is not None:
            free = np.full((len(low), 1), np.inf)
            low, high = np.hstack([low, -free]), np.hstack([high, free])
        return low, high

    def _beyond(self, v: Any) -> Any:
        """How far v (N, width) lies outside its range, signed."""
        import jax.numpy as jnp

        return v - jnp.clip(v, *self._range)

    @property
    def _prior_scale(self) -> Floats:
        """Prior sd of v (p,): wide, but one for the relative norm."""
        scale = np.full(self._width, SOURCE_PRIOR)
        if self.norm_scatter is not None:
            scale[-1] = 1.0
        return scale

    @property
    def _width(self) -> int:
        return len(self.data.pilot.names) + (self.norm_scatter is not None)

    def theta(self, params: Mapping[str, Any]) -> Any:
        """Return theta (d,) of named parameters."""
        import jax.numpy as jnp

        return jnp.stack([jnp.asarray(params[name]) for name in self.theta_names])

    @cached_property
    def _folded(self) -> list[Floats]:
        """Per block (n, r, k, g): folded rows, k = 1 where phi = 1, else 1 + d (offset and basis functions)."""
        found = []
        for block in self.data.blocks:
            if not block.corrected:
                functions = np.ones((1, block.energy.size))
            elif self.modifier.linear:
                functions = np.concatenate(
                    [self.modifier.offset(block.energy)[None], self.modifier.basis(block.energy)]
                )
            else:
                found.append(np.zeros(0))
                continue
            if block.fold.ndim == 2:
                weighted = block.fold[None] * functions[:, None, :]
                folded = np.einsum("kge,nre->nrkg", weighted, block.photons, optimize=True)
            else:
                weighted = block.photons[:, :, None, :] * functions
                folded = np.stack([w @ fold.T for w, fold in zip(weighted, block.fold, strict=True)])
            found.append(np.ascontiguousarray(folded))
        return found

    def rows(self, v: Any) -> Any:
        """Return the products of Chebyshev polynomials of sources (N, r) at v (N, p)."""
        import jax.numpy as jnp

        total, pilot = None, self.data.pilot
        position = pilot.position(v[:, : len(pilot.names)])
        # Outside its range a polynomial means nothing; the prior keeps sources away from there.
        position = jnp.where(np.isfinite(pilot.low), jnp.clip(position, -1.0, 1.0), position)
        for k, top in enumerate(self.data.degrees.max(axis=0)):
            if top == 0:
                continue
            x = position[:, k]
            values = [jnp.ones_like(x), x]
            for _ in range(2, top + 1):
                values.append(2 * x * values[-1] - values[-2])
            factor = jnp.stack(values, axis=1)[:, self.data.degrees[:, k]]
            total = factor if total is None else total * factor
        return jnp.ones((len(v), 1)) if total is None else total

    def expected(self, params: Mapping[str, Any], v: Any) -> list[Any]:
        """Return the expected source counts per block: arrays (n, g)."""
        import jax.numpy as jnp

        rows, found = self.rows(v), []
        m = self.data.multiplicative
        scale = jnp.ones(len(v)) if m is None else jnp.exp(self.data.pilot.scale[:, m] * v[:, m])
        for block, folded in zip(self.data.blocks, self._folded, strict=True):
            part, size = rows[block.index], scale[block.index]
            if not block.corrected:
                mean = jnp.einsum("nr,nrg->ng", part, folded[:, :, 0])
            elif self.modifier.linear:
                coefficients = jnp.concatenate([jnp.ones(1), self.theta(params)])
                outer = (part[:, :, None] * coefficients).reshape(len(part), -1)
                mean = jnp.einsum("nq,nqg->ng", outer, folded.reshape(len(part), -1, folded.shape[-1]))
            else:
                phi = self.modifier.factor(block.energy, self.theta(params), jnp)
                spectra = jnp.einsum("nr,nre->ne", part, jnp.asarray(block.photons))
                mean = jnp.einsum("ne,ge->ng" if block.fold.ndim == 2 else "ne,nge->ng", spectra * phi, block.fold)
            if block.corrected and self.norm_scatter is not None:
                size = size * jnp.exp(self.norm_scatter * v[block.index, -1])
            found.append(mean * size[:, None])
        return found

    def per_source(self, params: Mapping[str, Any], v: Any) -> Any:
        """Return the log likelihood of each source (N,), relative to a perfect fit of its counts."""
        import jax.numpy as jnp

        total = jnp.zeros(len(self.data.sources))
        for block, mean in zip(self.data.blocks, self.expected(params, v), strict=True):
            total = total.at[block.index].add(_log_poisson(block, mean).sum(axis=1))
        return total

    def pointwise(self, params: Mapping[str, Any]) -> Any:
        """Return the log likelihood of each source, integrated over its parameters if they are not sampled."""
        if self.sources != "sampled":
            return self.marginal(params)
        v = params["v"]
        return self.per_source(params, v) - 0.5 * ((self._beyond(v) / EDGE) ** 2).sum(axis=1)

    def log_likelihood(self, params: Mapping[str, Any]) -> Any:
        """Log likelihood of all spectra and, where there is one, of the correction known from elsewhere."""
        total = self.pointwise(params).sum()
        if self._external is not None:
            total = total + self._external.log_density(self.modifier.factor, self.theta(params))
        return total

    @cached_property
    def _external(self) -> ExternalCorrection | None:
        return None if self.prior_correction is None else ExternalCorrection.of(self.prior_correction)

    def problem(self) -> Problem:
        """Return the posterior for the samplers of `crosscal.inference`."""
        sampled = self.sources == "sampled"
        return Problem(
            self.all_priors,
            self.log_likelihood,
            derived=self._derived if sampled else None,
            pointwise=self.pointwise,
            dims={"v": ("source", "parameter")} | dict.fromkeys(self.data.pilot.names, ("source",)) if sampled else {},
            coords={"source": list(self.data.sources), "parameter": self._parameters} if sampled else {},
            units={p.name: p.unit for p in self.modifier.parameters if p.unit},
        )

    @property
    def _parameters(self) -> list[str]:
        """Names of the columns of v: the free parameters, and where it is sampled the norm between the telescopes."""
        names = list(self.data.pilot.names)
        return [*names, *["norm ratio"] * (self._width - len(names))]

    def _derived(self, params: Mapping[str, Any]) -> dict[str, Any]:
        import jax.numpy as jnp

        p = len(self.data.pilot.names)
        physical = self.data.pilot.physical(params["v"][:, :p], jnp)
        return {name: physical[:, k] for k, name in enumerate(self.data.pilot.names)}

    @cached_property
    def _first(self) -> Floats:
        """The most probable v (N, width) without a correction: where every search for another one starts."""
        import jax

        null = dict(zip(self.modifier.names, self.modifier.null, strict=True))
        inside = {n: float(np.clip(null[n], *self.domain[n])) for n in self.theta_names}
        # Once, with numbers, also where a caller is being traced.
        with jax.ensure_compile_time_eval():
            return np.asarray(jax.jit(lambda: self._scored(inside, np.zeros(self._range[0].shape), FIRST_STEPS))())

    def _scored(self, params: Mapping[str, Any], v: Any, steps: int) -> Any:
        """Take scoring steps from v; one that lowers a source's density is not taken but halved."""
        import jax
        import jax.numpy as jnp

        def density(v: Any) -> Any:
            return self.per_source(params, v) + self._log_prior(v)

        def step(_: int, state: Any) -> Any:
            v, value, size = state
            gradient, information = self._fisher(params, v)
            move = small.solve(small.cholesky(information), gradient)
            trial = jnp.clip(v + size[:, None] * jnp.clip(move, -3.0, 3.0), *self._range)
            reached = density(trial)
            better = reached >= value
            v = jnp.where(better[:, None], trial, v)
            return v, jnp.where(better, reached, value), jnp.where(better, jnp.minimum(1.0, 2.0 * size), 0.3 * size)

        v = jnp.asarray(v)
        return jax.lax.fori_loop(0, steps, step, (v, density(v), jnp.ones(len(v))))[0]

    def conditional_mode(self, params: Mapping[str, Any], steps: int = STEPS) -> tuple[Any, Any]:
        """Return the most probable v (N, p) at given theta and the Cholesky factor of the curvature there.

        Fisher scoring for all sources at once, since they are independent given theta; only the last step carries a
        derivative: it is that of the mode (implicit function theorem). The curvature is the expected one.
        """
        import jax
        import jax.numpy as jnp

        held = jax.lax.stop_gradient(dict(params))
        v = jax.lax.stop_gradient(self._scored(held, self._first, steps))
        gradient, information = self._fisher(params, v)
        move = small.solve(small.cholesky(information), gradient)
        v = jnp.clip(v + jnp.clip(move, -1.0, 1.0), *self._range)
        return v, small.cholesky(self._fisher(params, v)[1])

    def _fisher(self, params: Mapping[str, Any], v: Any) -> tuple[Any, Any]:
        """Return the gradient (N, p) and the expected information (N, p, p), which is never negative."""
        import jax
        import jax.numpy as jnp

        n, p = v.shape
        scale = self._prior_scale
        gradient = -v / scale**2
        information = jnp.zeros((n, p, p)) + jnp.diag(1.0 / scale**2)
        means = self.expected(params, v)
        tangents = [
            jax.jvp(lambda w: self.expected(params, w), (v,), (jnp.zeros((n, p)).at[:, k].set(1.0),))[1]
            for k in range(p)
        ]
        for b, (block, mean) in enumerate(zip(self.data.blocks, means, strict=True)):
            slope = jnp.stack([t[b] for t in tangents], axis=1)
            score = jax.grad(lambda m, block=block: _log_poisson(block, m).sum())(mean)
            extra = 0.0 if block.background is None else block.ratio * block.background
            weight = 1.0 / (jnp.maximum(mean, 1e-10) + extra)
            gradient = gradient.at[block.index].add(jnp.einsum("npg,ng->np", slope, score))
            information = information.at[block.index].add(jnp.einsum("npg,ng,nqg->npq", slope, weight, slope))
        return gradient, information

    def _log_prior(self, v: Any) -> Any:
        """Log of the (normal) prior of the source parameters, normalised, (N,)."""
        import jax.numpy as jnp

        scale = self._prior_scale
        return (-0.5 * (v / scale) ** 2 - jnp.log(scale * np.sqrt(2 * np.pi))).sum(axis=1)

    def marginal(self, params: Mapping[str, Any]) -> Any:
        """Return ln of the integral over v of likelihood times prior of each source (N,), by Laplace's method."""
        v, root = self.conditional_mode(params)
        volume = 0.5 * self._width * np.log(2 * np.pi) - 0.5 * small.log_det(root)
        return self.per_source(params, v) + self._log_prior(v) + volume


def _log_poisson(block: Block, mean: Any) -> Any:
    """Log likelihood of each group (n, g) relative to a perfect fit: Poisson, or with the background profiled.

    With background counts B and ratio r the most probable background b solves
    r (1 + r) b^2 + [(1 + r) m - r (N + B)] b - B m = 0 (the W statistic; Wachter, Leach & Kellogg 1979).
    """
    import jax.numpy as jnp
    from scipy.special import xlogy

    # A spectrum cannot be negative; the floor keeps the logarithm finite where a bad proposal makes it so.
    m = jnp.maximum(mean, 1e-10)
    # Without this constant of the data the sum is of the order of the counts, and optimisers stop too early.
    perfect = xlogy(block.counts, block.counts) - block.counts
    if block.background is None:
        return block.counts * jnp.log(m) - m - perfect
    n, b_off, r = block.counts, block.background, block.ratio
    half = 0.5 * ((1 + r) * m - r * (n + b_off))
    root = jnp.sqrt(half**2 + r * (1 + r) * b_off * m + 1e-30)
    # The stable branch of the quadratic for either sign of its linear term.
    b = jnp.where(half > 0, b_off * m / jnp.where(half > 0, half + root, 1.0), (root - half) / (r * (1 + r)))
    total = m + r * b
    off = jnp.where(b_off > 0, b_off * jnp.log(jnp.maximum(b, 1e-30)), 0.0)
    return n * jnp.log(total) - total + off - b - perfect - (xlogy(b_off, b_off) - b_off)


def checked_energy(energy: ArrayLike | None, band: tuple[float, float]) -> Floats:
    """Return the grid of the correction: the given one, or 160 energies over the band."""
    return np.geomspace(*band, 160) if energy is None else energies(energy, where="infer_spectra, energy")
