"""The hierarchical model of paired sources: latent truths, one correction, scatter and relative normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.inference.problem import Problem
from crosscal.xray.correction import small
from crosscal.xray.correction.emulate import CalibrationEmulator, matched
from crosscal.xray.correction.external import ExternalCorrection
from crosscal.xray.correction.pair_sums import PairSums
from crosscal.xray.correction.pairs import MOST_POINTWISE, PairedSources
from crosscal.xray.correction.priors import CROSS_NORM_SD, SCATTER_SCALE, amplitude, priors_of
from crosscal.xray.correction.source_fits import of_sources, usable

LATENT = ("marginal", "sampled")
#: Gauss-Newton steps towards the most probable truth of a source; the map is nearly linear over its errors.
STEPS = 3
#: Sources whose truths are integrated out at a time: what a batch of draws needs of memory does not grow with them.
ROWS = 256


@dataclass(frozen=True)
class _Rows:
    """Some of the pairs, as arrays of JAX."""

    values: Any
    covariance: Any
    quantities: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HierarchicalModel:
    """Sources of true x_i = (kT, norm, Z), measured by a reference telescope 0 and by telescope 1 of unknown area.

    ::

        theta ~ prior;  scatter ~ HalfNormal(s);  ln cross_norm ~ Normal(0, c)
        p(x_i) proportional to 1 / (kT_i norm_i)
        x_0i ~ Normal(x_i, C_0i)
        x_1i ~ Normal(F(theta, x_i), C_1i + diag((scatter F_kT)^2, (scatter F_norm)^2, 0) + E_i)
        E_i = diag((e_T F_kT)^2, (e_N F_norm)^2, e_Z^2),   e = rms error of the emulator
        F = (kT e^{f_T}, cross_norm norm e^{f_N}, Z + f_Z),   f = emulator(theta, kT)

    Parameters
    ----------
    pairs : PairedSources
    emulator : CalibrationEmulator
        Of telescope 1; its quantities must include those of the pairs.
    latent : "marginal" or "sampled"
        Whether x_i is integrated out (Laplace's method about the most probable x_i, exact for linear F) or sampled.
    scatter : float or None
        Scale of the half-normal prior of the fractional intrinsic scatter; None leaves it out.
    cross_norm : float or None
        Prior sd of ln of the relative normalisation (used where the pairs hold norms); None leaves it out.
    tau : str, float or None
        Prior sd of amplitudes: a telescope of ``priors.TAU_PERCENT``, a number, or None for the emulator's telescope.
    priors : mapping, optional
        numpyro distributions that replace the defaults, by parameter name.
    prior_correction : Correction, optional
        What another method found for phi(E), independent of these sources; see `ExternalCorrection`.
    trusted : str, optional
        Telescope of the pairs that is telescope 0; see `with_roles`.

    References
    ----------
    Kelly 2007, ApJ 665, 1489, sect. 4.1 (errors in both variables and intrinsic scatter).
    """

    pairs: PairedSources
    emulator: CalibrationEmulator
    latent: str = "marginal"
    scatter: float | None = SCATTER_SCALE
    cross_norm: float | None = CROSS_NORM_SD
    tau: str | float | None = None
    priors: Mapping[str, Any] | None = None
    prior_correction: Correction | None = None
    trusted: str | None = None

    def __post_init__(self) -> None:
        if self.latent not in LATENT:
            raise UnknownNameError("treatment of latent truths", self.latent, LATENT)
        if self._external is not None and self.emulator.modifier is None:
            raise InputError(
                "the emulator does not say what its parameters change",
                where="prior_correction",
                expected="an emulator with its modifier",
            )
        emulator, pairs = matched(self.emulator, self.pairs, self.trusted)
        object.__setattr__(self, "emulator", emulator)
        object.__setattr__(self, "pairs", pairs)

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Parameters of the correction."""
        return self.emulator.names

    @property
    def band(self) -> None:
        """Emulators do not know the band of the spectra behind the pairs."""
        return None

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the log likelihoods."""
        return self.pairs.names

    @property
    def integrated(self) -> bool:
        """Whether the true values of each source are integrated out, not sampled."""
        return self.latent == "marginal"

    @cached_property
    def all_priors(self) -> dict[str, Any]:
        """The prior of each parameter, in order; ``u`` are standardised latent truths where they are sampled."""
        import numpyro.distributions as dist

        given = dict(self.priors or {})
        extra = {k: given.pop(k) for k in ("scatter", "ln_cross_norm") if k in given}
        found = priors_of(
            self.emulator.modifier, self.theta_names, self.emulator.domain, sd=self.amplitude_sd, given=given
        )
        if self.scatter is not None:
            found["scatter"] = extra.get("scatter", dist.HalfNormal(self.scatter))
        if self.cross_norm is not None and "norm" in self.pairs.quantities:
            found["ln_cross_norm"] = extra.get("ln_cross_norm", dist.Normal(0.0, self.cross_norm))
        if self.latent == "sampled":
            shape = (len(self.pairs), len(self.pairs.quantities))
            found["u"] = dist.Normal(np.zeros(shape), 1.0).to_event(2)
        return found

    @property
    def amplitude_sd(self) -> float:
        """Prior standard deviation of dimensionless parameters."""
        from crosscal.xray.correction.priors import TAU_PERCENT

        choice = self.tau
        if choice is None and self.emulator.telescope.lower() in TAU_PERCENT:
            choice = self.emulator.telescope
        return amplitude(choice, 0.5, 8.0)

    def problem(self, *, derivatives: bool = True) -> Problem:
        """Return the posterior for the samplers of `crosscal.inference`.

        Without derivatives its likelihood is that of `PairSums` where there is one, the same but much faster.
        """
        sampled = self.latent == "sampled"
        sums = None if derivatives else self.sums
        pointwise = self.pointwise if sums is None else partial(sums, each=True)
        dims = {"u": ("source", "quantity"), "truth": ("source", "quantity")} if sampled else {}
        coords = {"source": list(self.pairs.names), "quantity": list(self.pairs.quantities)} if sampled else {}
        units = {i.name: i.unit for i in self.emulator.emulator.inputs if i.unit}
        return Problem(
            self.all_priors,
            self.log_likelihood if sums is None else lambda p: self._with_external(sums(p), p),
            derived=(lambda p: {"truth": self.truth(p)}) if sampled else None,
            pointwise=pointwise if len(self.pairs.names) <= MOST_POINTWISE else None,
            dims=dims,
            coords=coords,
            units=units,
        )

    def log_likelihood(self, params: Mapping[str, Any]) -> Any:
        """Log likelihood of all sources and, where there is one, of the correction known from elsewhere."""
        return self._with_external(self.pointwise(params).sum(), params)

    def _with_external(self, total: Any, params: Mapping[str, Any]) -> Any:
        if self._external is None:
            return total
        return total + self._external.log_density(self.emulator.factor, self.theta(params))

    @cached_property
    def sums(self) -> PairSums | None:
        """The likelihood in compiled code, where truths are integrated out and one map stands for all sources."""
        return None if self.latent == "sampled" or self.own_constants else PairSums(self, STEPS)

    @cached_property
    def _external(self) -> ExternalCorrection | None:
        return None if self.prior_correction is None else ExternalCorrection.of(self.prior_correction)

    @cached_property
    def own_constants(self) -> tuple[str, ...]:
        """What gives each source a map of its own (nH, Redshift, "response"): with exact fits only."""
        return tuple(usable(self.emulator, self.pairs))

    @cached_property
    def own_map(self) -> CalibrationEmulator:
        """The emulator, or the exact fits of each source with its own absorption, redshift and response."""
        return of_sources(self.emulator, self.pairs) if self.own_constants else self.emulator

    @property
    def _roots(self) -> Any:
        import jax.numpy as jnp

        # With JAX, so that the data may be arguments of a compiled function (simulation-based calibration).
        return small.cholesky(jnp.asarray(self.pairs.covariance[0]))

    def theta(self, params: Mapping[str, Any]) -> Any:
        """Return theta (d,) of named parameters."""
        import jax.numpy as jnp

        return jnp.stack([jnp.asarray(params[name]) for name in self.theta_names])

    def truth(self, params: Mapping[str, Any]) -> Any:
        """Return the latent truths (N, q) of sampled parameters."""
        import jax.numpy as jnp

        return self._physical(jnp.asarray(params["u"]))[0]

    def _physical(self, u: Any) -> tuple[Any, Any]:
        """Turn standardised truths into physical ones, kept positive, and return ln of the prior density p(x)."""
        import jax.numpy as jnp

        x = self.pairs.values[0] + jnp.einsum("nab,nb->na", self._roots, u)
        positive = [k for k, q in enumerate(self.pairs.quantities) if q != "Abundanc"]
        # Far out in the tail of a poor measurement x may cross zero, where the prior vanishes.
        floor = 1e-3 * self.pairs.values[0][:, positive]
        safe = x.at[:, jnp.array(positive)].set(jnp.maximum(x[:, jnp.array(positive)], floor))
        crossed = jnp.any(x[:, jnp.array(positive)] < floor, axis=1)
        log_prior = -jnp.sum(jnp.log(safe[:, jnp.array(positive)] / self.pairs.values[0][:, positive]), axis=1)
        return safe, jnp.where(crossed, -1e6 * (1 + jnp.sum(u**2, axis=1)), log_prior)

    def expected(self, params: Mapping[str, Any], truth: Any) -> Any:
        """Return F(theta, x): what telescope 1 measures on average with its nominal calibration, (N, q)."""
        import jax.numpy as jnp

        measured = self.own_map.measure(self.theta(params), truth)
        if "norm" in self.pairs.quantities and "ln_cross_norm" in params:
            k = self.pairs.quantities.index("norm")
            measured = measured.at[:, k].multiply(jnp.exp(params["ln_cross_norm"]))
        return measured

    def noise(self, params: Mapping[str, Any], expected: Any) -> Any:
        """Return the covariance of x_1 about F, with intrinsic scatter and the emulator's own error: (N, q, q)."""
        import jax.numpy as jnp

        covariance = jnp.asarray(self.pairs.covariance[1])
        mask = np.array([q != "Abundanc" for q in self.pairs.quantities], dtype=float)
        own = self.emulator.error_sd
        extra = (own * (expected * mask + (1.0 - mask))) ** 2 + (params.get("scatter", 0.0) * expected * mask) ** 2
        return covariance + extra[:, :, None] * np.eye(len(mask))

    def pointwise(self, params: Mapping[str, Any]) -> Any:
        """Log likelihood of each source (N,): of x_1 given the sampled x, or of (x_0, x_1) with x integrated out."""
        if self.latent == "sampled":
            truth, log_prior = self._physical(params["u"])
            residual, log_det, _ = self._whitened(params, self.expected(params, truth))
            return log_prior - 0.5 * (residual**2).sum(axis=1) - 0.5 * log_det
        if self.pairs.values.shape[1] <= 2 * ROWS or self.own_constants:
            return self._marginal(params)
        return self._in_rows(params)

    def _in_rows(self, params: Mapping[str, Any]) -> Any:
        """Return `_marginal` of all sources, `ROWS` at a time: the same numbers from a fraction of the memory."""
        from copy import copy

        import jax
        import jax.numpy as jnp

        n = self.pairs.values.shape[1]
        index = np.minimum(np.arange(-(-n // ROWS) * ROWS), n - 1).reshape(-1, ROWS)
        data = [jnp.moveaxis(jnp.asarray(a)[:, index], 1, 0) for a in (self.pairs.values, self.pairs.covariance)]

        def some(rows: Any) -> Any:
            part = copy(self)
            object.__setattr__(part, "pairs", _Rows(rows[0], rows[1], self.pairs.quantities))
            return part._marginal(params)

        return jax.lax.map(some, data).reshape(-1)[:n]

    def _whitened(self, params: Mapping[str, Any], expected: Any) -> tuple[Any, Any, Any]:
        """Return L^-1 (x_1 - F) (N, q), ln det(2 pi C) (N,), and the Cholesky factor L."""
        root = small.cholesky(self.noise(params, expected))
        residual = small.solve_lower(root, (self.pairs.values[1] - expected)[..., None])[..., 0]
        q = expected.shape[1]
        log_det = small.log_det(root) + q * np.log(2 * np.pi)
        return residual, log_det, root

    def expected_with_slope(self, params: Mapping[str, Any], truth: Any) -> tuple[Any, Any]:
        """Return `expected` (N, q) and dF/dx (N, q, q)."""
        import jax.numpy as jnp

        measured, slope = self.own_map.measure_with_slope(self.theta(params), truth)
        if "norm" in self.pairs.quantities and "ln_cross_norm" in params:
            k = self.pairs.quantities.index("norm")
            factor = jnp.exp(params["ln_cross_norm"])
            measured, slope = measured.at[:, k].multiply(factor), slope.at[:, k].multiply(factor)
        return measured, slope

    def _about(self, params: Mapping[str, Any], u: Any) -> tuple[Any, Any]:
        """Return the log of the integral over x by Laplace's method about u (N,), and the next Gauss-Newton u (N, q).

        With u = L_0^-1 (x - x_0), the integral of N(x_0; x, C_0) N(x_1; F(x), C_1) p(x) over x is (2 pi)^(q/2)
        |H|^(-1/2) times the integrand at its mode; here dx = |L_0| du and N(x_0; x, C_0) dx = (2 pi)^(-q/2)
        exp(-u'u / 2) du, so that constants cancel.
        """
        import jax.numpy as jnp

        truth, log_prior = self._physical(u)
        expected, slope = self.expected_with_slope(params, truth)
        residual, log_det, root = self._whitened(params, expected)
        slope = small.solve_lower(root, slope @ self._roots)
        factor = small.cholesky(jnp.eye(u.shape[1]) + jnp.einsum("nab,nac->nbc", slope, slope))
        fit = -0.5 * (u**2).sum(axis=1) - 0.5 * (residual**2).sum(axis=1) - 0.5 * log_det
        right = jnp.einsum("nab,na->nb", slope, residual + jnp.einsum("nab,nb->na", slope, u))
        return log_prior + fit - 0.5 * small.log_det(factor), small.solve(factor, right)

    def _marginal(self, params: Mapping[str, Any]) -> Any:
        """Log likelihood of each pair with its truth integrated out (N,), about the truth found by `STEPS` steps.

        One loop holds the only copy of `_about`: compiling it takes longer than all the calls of a short run.
        """
        import jax
        import jax.numpy as jnp

        start = jnp.zeros(self.pairs.values[0].shape)

        def step(u: Any, _: Any) -> tuple[Any, Any]:
            value, following = self._about(params, u)
            return following, value

        return jax.lax.scan(step, start, None, length=STEPS + 1)[1][-1]

    def simulate(self, generator: np.random.Generator, params: Mapping[str, Any], truth: Any) -> PairedSources:
        """Draw pairs: x_0 and x_1 about ``truth`` (N, q) with this model's covariances."""
        from dataclasses import replace

        import jax.numpy as jnp

        expected = np.asarray(self.expected(params, jnp.asarray(truth)))
        roots = np.linalg.cholesky(np.asarray(self.noise(params, jnp.asarray(expected))))
        shape = np.shape(truth)
        first = np.asarray(truth) + np.einsum("nab,nb->na", np.asarray(self._roots), generator.standard_normal(shape))
        second = expected + np.einsum("nab,nb->na", roots, generator.standard_normal(shape))
        return replace(self.pairs, values=np.stack([first, second]), samples=None)
