"""Leave-one-source-out: which sources carry the answer, and do the others predict them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from crosscal.core.errors import InputError
from crosscal.inference.pareto import pareto_smoothed

Floats = NDArray[np.float64]

#: What the columns of the table mean.
COLUMNS = {
    "source": "the source that is left out",
    "influence": "largest change of the correction without it, in posterior standard deviations",
    "log_predictive": "ln probability of its data given all others",
    "khat": "reliability of the weights; above 0.7 the influence is a hint only",
}


#: Vehtari et al. 2024 (JMLR 25, 72): above this the weights of a left-out source are unreliable; fit again without it.
KHAT_LIMIT = 0.7


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What leaving out each source would change, by Pareto-smoothed importance sampling (Vehtari et al. 2017).

    Attributes
    ----------
    names : tuple of str
    log_predictive : array (N,)
        ln p(source i | all others).
    influence : array (N,)
        Largest change of ln phi(E) over the grid, in posterior standard deviations, if source i is left out.
    khat : array (N,)
        Reliability of the weights; above 0.7 the number is only a hint.
    """

    names: tuple[str, ...]
    log_predictive: Floats
    influence: Floats
    khat: Floats

    def table(self) -> Any:
        """Return an astropy QTable, most influential source first."""
        from astropy.table import QTable

        from crosscal.core.tables import describe

        order = np.argsort(self.influence)[::-1]
        table = QTable({"source": np.array(self.names)[order]})
        table["influence"], table["log_predictive"] = self.influence[order], self.log_predictive[order]
        table["khat"] = self.khat[order]
        return describe(table, COLUMNS)


def leave_one_out(result: Any) -> LeaveOneOut:
    """Leave out each source of a result in turn, without sampling again.

    Raises
    ------
    InputError
        If the posterior holds no log likelihood of each source with its truth integrated out.
    """
    log = result.posterior_draws.array("data", "log_likelihood")
    model = result.model
    if log is None or not model.integrated:
        raise InputError(
            "no integrated log likelihood of each source",
            where="leave-one-source-out",
            expected="a result with latent='marginal' of a sampler that keeps it (nuts, importance, laplace)",
        )
    log = log.reshape(-1, log.shape[-1])
    theta = np.stack([result.posterior_draws.draws(n) for n in result.theta_names], axis=1)
    # At most 2000 draws: weights of one source among many are nearly equal.
    keep = np.linspace(0, len(theta) - 1, min(2000, len(theta))).round().astype(int)
    log, shapes = log[keep], np.log(np.maximum(result.factor(result.energy, theta[keep]), 1e-3))
    mean, sd = shapes.mean(axis=0), np.maximum(shapes.std(axis=0), 1e-9)
    predictive, influence, khats = [], [], []
    for column in log.T:
        weights, khat = pareto_smoothed(-column)  # without the source its likelihood is divided out
        predictive.append(logsumexp(column, b=weights))
        influence.append(np.max(np.abs(weights @ shapes - mean) / sd))
        khats.append(khat)
    return LeaveOneOut(model.source_names, np.array(predictive), np.array(influence), np.array(khats))
