"""Student-t measurement errors by Gibbs sampling of their latent scales.

Error j is normal with variance phi^2 (b^2 e_j^2 + eps^2) / w_j, w_j ~ Gamma(nu/2, nu/2), which makes it Student-t with
nu degrees of freedom (Geweke 1993, J. Appl. Econometrics 8, S19). Given the w_j the model is Gaussian: parameters move
by Metropolis steps on the marginal likelihood, then shifts, means and the light curve are drawn exactly, then the w_j.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import integer_seed
from crosscal.inference.diagnostics import convergence
from crosscal.inference.gibbs import gibbs
from crosscal.inference.laplace import collect, find_mode
from crosscal.inference.posterior import Posterior
from crosscal.lightcurves.file_model import FileModel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.problem import blocks, make_problem
from crosscal.lightcurves.reconstruction import sample_path
from crosscal.lightcurves.sampling import Draws, default_draws, of_equal_chains, starting_point

State = dict[str, Any]

#: Metropolis steps per sweep: they cost less than drawing the light curve.
_STEPS = 6

#: Chains that have not converged are run again, so many times as long, at most so often.
LONGER, ATTEMPTS = 3, 3


class Sampler:
    """The conditional updates of the Gibbs sampler; each state carries ``inflation`` = 1 / w per file.

    Parameters
    ----------
    model : Model
    root : array (d, d)
        Root of the covariance of the Metropolis proposals in the coordinates of ``model.sampled``.
    degrees : float
    """

    def __init__(self, model: Model, root: NDArray[np.float64], degrees: float) -> None:
        self.model, self.root, self.degrees = model.copy(), root, degrees
        none = np.zeros(0, dtype=np.int64)
        self.explicit = Model(model.curves, model.settings, normalisation=model.norm, marginal=none)
        self.blocks = blocks(model)
        order = np.concatenate(list(self.blocks.values()))
        self._rank = {name: np.searchsorted(model.sampled, places) for name, places in self.blocks.items()}
        assert len(order) == len(model.sampled)

    def vector(self, state: State) -> NDArray[np.float64]:
        """Return the sampled elements of a state."""
        v = np.empty(len(self.model.sampled))
        for name, rank in self._rank.items():
            v[rank] = state[name]
        return v

    def log_density(self, v: NDArray[np.float64]) -> float:
        """Log posterior of the sampled elements at the current latent scales."""
        lay, places = self.model.layout, self.model.sampled
        if np.any((v < lay.low[places]) | (v > lay.high[places])):
            return -np.inf
        half = lay.half_normal[places]
        prior = -0.5 * float(np.sum(((v - lay.low[places]) / half) ** 2))
        return prior + self.model.log_likelihood(self.model.full(v))

    def move(self, rng: np.random.Generator, state: State) -> State:
        """Metropolis steps of the parameters, with steps of several sizes."""
        for one, inflation in zip(self.model.files, self._inflation(state), strict=True):
            one.with_inflation(inflation)
        v = self.vector(state)
        current = self.log_density(v)
        for k in range(_STEPS):
            size = 2.4 / np.sqrt(len(v)) * (1.0, 0.5, 1.5)[k % 3]
            trial = v + size * self.root @ rng.standard_normal(len(v))
            value = self.log_density(trial)
            if np.log(rng.random()) < value - current:
                v, current = trial, value
        return {name: v[rank] for name, rank in self._rank.items()}

    def linear(self, rng: np.random.Generator, state: State) -> State:
        """Draw the marginalised shifts and the means."""
        x = self.model.full(self.vector(state))
        means = []
        for i, found in enumerate(self.model.linear(x)):
            value = found.mean + np.linalg.cholesky(found.covariance) @ rng.standard_normal(len(found.mean))
            means.append(value[0])
            if i == 0:
                x[self.model.layout.shift[self.model.marginal]] = value[1:]
        return {"full": x, "means": np.array(means)}

    def scales(self, rng: np.random.Generator, state: State) -> State:
        """Draw the light curve and then the latent scales, w | r ~ Gamma((nu + 1)/2, (nu + r^2)/2)."""
        inflation = []
        for i, (one, before) in enumerate(zip(_processes(self.explicit), self._inflation(state), strict=True)):
            one.with_inflation(before)
            parts = self.explicit.parts(state["full"], i)
            path = sample_path(one, parts, state["means"][i], rng)
            residual = one.W[:, 0] - state["means"][i] - path
            white = float(np.real(one.kernel.white(parts[0])))
            noise = one.R - white
            if white > 0:
                # Split the residual between the source's own white part and the measurement.
                share = noise / one.R
                residual = share * residual + np.sqrt(white * share) * rng.standard_normal(len(residual))
            square = residual**2 / (noise / before)
            w = rng.gamma(0.5 * (self.degrees + 1), 2.0 / (self.degrees + square))
            inflation.append(1.0 / w)
        return {"inflation": np.concatenate(inflation)}

    def _inflation(self, state: State) -> list[NDArray[np.float64]]:
        lengths = [len(curve) for curve in self.model.curves.files]
        ends = np.cumsum(lengths)[:-1]
        if "inflation" not in state:
            return [np.ones(n) for n in lengths]
        return np.split(state["inflation"], ends)


def _processes(model: Model) -> list[FileModel]:
    return [one for one in model.files if isinstance(one, FileModel)]


def draw_student(
    model: Model,
    *,
    draws: int | None = None,
    seed: int = 0,
    chains: int = 4,
    warmup: int = 500,
    progress: Progress = SILENT,
) -> Draws:
    """Sample the posterior with Student-t errors of ``settings.degrees`` degrees of freedom.

    Chains that have not converged (R-hat, effective size) are run again, three and nine times as long, so that there
    may be more draws than asked for. The ``inflation`` of the errors, averaged over draws, is kept in the posterior;
    there is no evidence.

    Raises
    ------
    InputError
        If the settings do not ask for Student-t errors.
    FitError
        If no draw has its shifts inside their prior limits.
    """
    if model.settings.errors != "student-t":
        raise InputError("the errors are Gaussian", where="settings", expected="errors = 'student-t'")
    draws = draws or default_draws(model)
    problem = make_problem(model)
    start = starting_point(model)
    mode = find_mode(problem, seed=seed, starts=2, start=start)
    near = np.random.default_rng(integer_seed(seed, "student")).standard_normal((400, problem.size))
    around = collect(problem, (mode.vector + near @ np.linalg.cholesky(mode.covariance).T)[None])
    sampler = Sampler(model, np.eye(len(model.sampled)), model.settings.degrees)
    cloud = np.stack([sampler.vector({n: around[n][0, k] for n in problem.names}) for k in range(len(near))])
    covariance = np.atleast_2d(np.cov(cloud, rowvar=False))
    sampler.root = np.linalg.cholesky(covariance + 1e-12 * np.trace(covariance) * np.eye(len(covariance)))
    conditionals = {"move": sampler.move, "linear": sampler.linear, "scales": sampler.scales}
    problem = replace(problem, conditionals=conditionals)
    for attempt in range(ATTEMPTS):
        posterior = gibbs(
            problem,
            seed=seed,
            draws=-(-draws // chains) * LONGER**attempt,
            warmup=warmup,
            chains=chains,
            start={n: around[n][0].mean(axis=0) for n in problem.names},
            keep=(*problem.names, "full", "means", "inflation"),
            progress=progress,
        )
        kept = {name: posterior.groups.arrays["posterior"][name] for name in problem.names}
        small = Posterior.from_draws(kept, method="gibbs", dims=problem.dims)
        good, messages = convergence(small)
        if good or attempt == ATTEMPTS - 1:
            break
        progress.message(f"{messages[0]} Longer chains follow.")
    vectors, means = posterior.draws("full"), posterior.draws("means")
    lay = model.layout
    places = lay.shift[model.marginal]
    inside = np.all((vectors[:, places] >= lay.low[places]) & (vectors[:, places] <= lay.high[places]), axis=1)
    if not inside.any():
        raise FitError("No posterior draw has its shifts inside their prior limits.")
    inflation = posterior.draws("inflation").mean(axis=0)
    small = replace(small, converged=good, messages=messages)
    kept_draws, chains = of_equal_chains(inside, small)
    share = float(inside.mean())
    return Draws(model, vectors[kept_draws], means[kept_draws], small, share, inflation, chains)
