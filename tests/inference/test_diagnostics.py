import re

import numpy as np
import pytest

from crosscal.core.errors import FitError
from crosscal.inference.diagnostics import (
    convergence,
    effective_sizes,
    predictive_p_value,
    simulation_based_calibration,
)
from crosscal.inference.posterior import Posterior


def test_independent_draws_are_fully_effective_and_constants_have_no_error(rng):
    posterior = Posterior.from_draws({"x": rng.normal(size=(4, 1000)), "c": np.ones((4, 1000))}, method="x")
    sizes = effective_sizes(posterior.tree)
    assert 3000 < sizes["ess_bulk"][0] < 5000
    assert np.isnan(sizes["rhat"][1])
    assert convergence(posterior) == (True, ())


def test_chains_apart_are_reported(rng):
    draws = rng.normal(size=(4, 500)) + np.array([0, 0, 0, 3.0])[:, None]
    good, messages = convergence(Posterior.from_draws({"x": draws}, method="x"))
    assert not good
    assert "R-hat above 1.01 (worst: x" in messages[0]


def conjugate(bias: float):
    """Mean of a normal with known unit variance, prior N(0, 1), 5 data; the fit is shifted by ``bias`` sd."""

    def draw(rng):
        mu = rng.normal()
        return {"mu": mu}, mu + rng.normal(size=5)

    def fit(data, seed):
        rng = np.random.default_rng(seed)
        mean, sd = data.sum() / 6, 6**-0.5
        return Posterior.from_draws({"mu": (mean + bias * sd + sd * rng.normal(size=(1, 400)))}, method="exact")

    return draw, fit


@pytest.mark.thorough
def test_calibration_accepts_the_exact_posterior_and_rejects_a_shifted_one():
    exact = simulation_based_calibration(*conjugate(0.0), replicates=400, seed=1)
    assert exact.labels == ["mu"]
    assert exact.p_values()[0] > 0.001
    shifted = simulation_based_calibration(*conjugate(0.5), replicates=400, seed=1)
    assert shifted.p_values()[0] < 1e-6


def test_calibration_counts_failures():
    draw, fit = conjugate(0.0)

    def sometimes(data, seed):
        if data[0] > 0:
            raise FitError("no")
        return fit(data, seed)

    found = simulation_based_calibration(draw, sometimes, replicates=40, seed=1)
    assert found.failures + len(found.ranks) == 40
    assert 5 < found.failures < 35


def test_predictive_p_value():
    np.testing.assert_allclose(predictive_p_value([1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 2.0, 0.1]), 0.5)


def test_the_check_of_a_sampler_gives_the_samplers_reasons():
    from crosscal.core.check import Check
    from crosscal.inference.diagnostics import sampling_check

    rng = np.random.default_rng(3)
    draws = Posterior.from_draws({"a": rng.normal(size=(2, 500))}, method="nuts", sample_stats={"khat": [[0.27]]})
    assert sampling_check(True, ("a remark.",)).why == "converged"
    assert re.fullmatch(r"converged: R-hat [01]\.\d{3}, ESS \d{3,4}, k-hat 0\.27", sampling_check(True, (), draws).why)
    failed = sampling_check(False, ("R-hat of A is 1.2.", "too few draws."))
    assert failed == Check("sampling", False, "R-hat of A is 1.2. too few draws.")
    assert sampling_check(False).why == "not converged"
