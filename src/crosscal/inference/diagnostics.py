"""What to trust: R-hat, effective sample size, simulation-based calibration, predictive checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.check import Check
from crosscal.core.progress import SILENT, Progress
from crosscal.inference.chains import bulk_size, rank_rhat, tail_size
from crosscal.inference.groups import Groups

if TYPE_CHECKING:
    from crosscal.inference.posterior import Posterior

#: Vehtari et al. 2021 (Bayesian Analysis 16, 667): R-hat below 1.01 and a bulk ESS of at least 400.
RHAT_LIMIT = 1.01
ESS_LIMIT = 400.0


def effective_sizes(draws: Any, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
    """Return rank-normalised split R-hat and bulk and tail ESS per flattened element, in `Posterior.matrix` order.

    Constant elements get NaN: they carry no sampling error. Reference: Vehtari et al. 2021.

    Parameters
    ----------
    draws : Posterior or xarray.DataTree
        A posterior, or its tree: group ``posterior`` with dimensions (chain, draw, ...).
    names : sequence of str, optional
        Parameters; all by default.
    """
    groups = Groups.of_tree(draws) if hasattr(draws, "children") else draws.groups
    columns: dict[str, list[float]] = {"rhat": [], "ess_bulk": [], "ess_tail": []}
    # Draws resampled from weights repeat; their number says nothing, the weights' effective size does.
    ceiling = np.inf
    if "effective_size" in groups.arrays.get("sample_stats", {}):
        ceiling = float(groups.arrays["sample_stats"]["effective_size"].flat[0])
    for name in names or list(groups.arrays["posterior"]):
        values = groups.arrays["posterior"][name]
        flat = values.reshape(*values.shape[:2], -1)
        for k in range(flat.shape[-1]):
            element = flat[..., k]
            if np.ptp(element) == 0 or element.shape[1] < 4:
                rhat = bulk = tail = np.nan
            else:
                rhat = rank_rhat(element)
                bulk, tail = min(ceiling, bulk_size(element)), min(ceiling, tail_size(element))
            for key, number in (("rhat", rhat), ("ess_bulk", bulk), ("ess_tail", tail)):
                columns[key].append(number)
    return {key: np.array(column) for key, column in columns.items()}


def convergence(posterior: Posterior, names: Sequence[str] | None = None) -> tuple[bool, tuple[str, ...]]:
    """Judge chains by R-hat < 1.01 and bulk ESS > 400; return the verdict and the sentences that explain it."""
    sizes = effective_sizes(posterior, names)
    labels, _ = posterior.matrix(names)
    messages = []
    rhat, ess = sizes["rhat"], sizes["ess_bulk"]
    if np.any(rhat > RHAT_LIMIT):
        worst = int(np.nanargmax(rhat))
        messages.append(
            f"{int(np.sum(rhat > RHAT_LIMIT))} of {len(rhat)} parameters have R-hat above {RHAT_LIMIT} "
            f"(worst: {labels[worst]} {rhat[worst]:.3f}): run longer chains."
        )
    if np.any(ess < ESS_LIMIT):
        worst = int(np.nanargmin(ess))
        messages.append(
            f"{int(np.sum(ess < ESS_LIMIT))} of {len(ess)} parameters have a bulk ESS below {ESS_LIMIT:.0f} "
            f"(worst: {labels[worst]} {ess[worst]:.0f}): draw more samples."
        )
    return not messages, tuple(messages)


def sampling_check(converged: bool, messages: Sequence[str] = (), posterior: Posterior | None = None) -> Check:
    """Return the check of a sampler: its figures of convergence, or the messages that say why it failed."""
    figures = "" if posterior is None else convergence_figures(posterior)
    met = f"converged: {figures}" if figures else "converged"
    return Check("sampling", bool(converged), met if converged else " ".join(messages) or "not converged")


def convergence_figures(posterior: Posterior) -> str:
    """Return the largest R-hat, the smallest bulk ESS and k-hat, those that the draws have: "R-hat 1.003, ESS 3500"."""
    scalars = [name for name in posterior.names if posterior.draws(name).ndim == 1]
    sizes = effective_sizes(posterior, scalars)
    found = []
    if posterior.n_chains > 1 and np.isfinite(sizes["rhat"]).any():
        found.append(f"R-hat {np.nanmax(sizes['rhat']):.3f}")
    if np.isfinite(sizes["ess_bulk"]).any():
        found.append(f"ESS {np.nanmin(sizes['ess_bulk']):.0f}")
    if posterior.khat is not None:
        found.append(f"k-hat {posterior.khat:.2f}")
    return ", ".join(found)


@dataclass(frozen=True)
class Calibration:
    """Ranks from simulation-based calibration (Talts et al. 2018, arXiv:1804.06788).

    Attributes
    ----------
    labels : list of str
    ranks : int array, shape (n_replicates, n_labels)
        Number of thinned posterior draws below the truth, 0..n_draws.
    n_draws : int
    failures : int
        Replicates whose sampler raised a FitError or did not converge; they are counted, not hidden.
    """

    labels: list[str]
    ranks: NDArray[np.int64]
    n_draws: int
    failures: int = 0

    def p_values(self, bins: int = 10) -> NDArray[np.float64]:
        """Chi-square p-value of flat rank histograms, per label."""
        from scipy.stats import chisquare

        # Ranks take n_draws + 1 values; equal bins need (n_draws + 1) % bins == 0, else expected counts differ.
        edges = np.floor(np.linspace(0, self.n_draws + 1, bins + 1)).astype(int)
        expected = np.diff(edges) / (self.n_draws + 1) * len(self.ranks)
        values = []
        for column in self.ranks.T:
            observed = np.histogram(column, bins=edges - 0.5)[0]
            values.append(chisquare(observed, expected).pvalue)
        return np.array(values)


def simulation_based_calibration(
    draw: Callable[[np.random.Generator], tuple[dict[str, ArrayLike], Any]],
    fit: Callable[[Any, int], Posterior],
    *,
    replicates: int,
    seed: int,
    n_draws: int = 99,
    progress: Progress = SILENT,
) -> Calibration:
    """Run simulation-based calibration.

    Parameters
    ----------
    draw : callable
        ``draw(generator) -> (truth, data)`` with truth drawn from the prior.
    fit : callable
        ``fit(data, seed) -> Posterior``.
    replicates : int
    n_draws : int
        Draws kept per replicate, evenly thinned, so that autocorrelation does not bend the ranks.
    """
    from crosscal.core.errors import FitError
    from crosscal.core.random import generator, integer_seed

    ranks: list[Any] = []
    labels: list[str] = []
    failures = 0
    with progress.stage("Simulation-based calibration", total=replicates) as advance:
        for k in range(replicates):
            truth, data = draw(generator(seed, "sbc-truth", k))
            try:
                posterior = fit(data, integer_seed(seed, "sbc-fit", k))
            except FitError:
                failures += 1
                continue
            finally:
                advance(1)
            names = [name for name in posterior.names if name in truth]
            labels, values = posterior.matrix(names)
            keep = np.linspace(0, len(values) - 1, n_draws).round().astype(int)
            reference = np.concatenate([np.ravel(np.asarray(truth[name], dtype=float)) for name in names])
            ranks.append((values[keep] < reference).sum(axis=0))
    return Calibration(labels, np.array(ranks), n_draws, failures)


def predictive_p_value(observed: ArrayLike, simulated: ArrayLike) -> NDArray[np.float64]:
    """Return the posterior predictive p-value P(simulated >= observed) of discrepancies.

    Parameters
    ----------
    observed : array, shape (n_draws, ...)
        Discrepancy of the data at each draw (or one value, broadcast).
    simulated : array, shape (n_draws, ...)
        Discrepancy of data simulated from each draw. Reference: Gelman, Meng & Stern 1996.
    """
    return np.mean(np.asarray(simulated) >= np.asarray(observed), axis=0)
