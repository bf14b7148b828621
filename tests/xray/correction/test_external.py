"""A correction known from elsewhere is an independent measurement of phi: it pulls and narrows as one."""

import numpy as np
import pytest

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.xray.correction.external import ExternalCorrection, described
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.infer import infer
from crosscal.xray.correction.simulate import simulate_pairs
from crosscal.xray.modifiers.grey import Grey

ENERGY = np.array([1.0, 3.0])


def known(factor, sd, correlation=0.0) -> Correction:
    covariance = sd**2 * np.array([[1.0, correlation], [correlation, 1.0]])
    return Correction(ENERGY, np.array(factor), covariance, "energy", unit="keV", target="area of t")


def test_density_is_the_normal_one():
    correction = known([1.02, 0.97], 0.02, 0.5)
    external = ExternalCorrection.of(correction)
    for scale in (0.9, 1.0, 1.1):
        residual = np.log(scale) - np.log(correction.factor)
        expected = -0.5 * residual @ np.linalg.solve(correction.covariance, residual)
        assert float(external.log_density(Grey().factor, np.array([scale]))) == pytest.approx(expected, rel=1e-9)


def test_directions_without_variance_are_left_out():
    external = ExternalCorrection.of(known([1.0, 1.0], 0.02, 1.0))
    # One direction: the mean of both, whose sd is that of each.
    assert external.whitening.shape == (1, 2)
    assert float(external.log_density(Grey().factor, np.array([np.exp(0.02)]))) == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.thorough
def test_the_likelihood_has_it_as_one_more_datum(amplitude_only):
    pairs = simulate_pairs(amplitude_only, {"A": 0.1}, np.geomspace(2, 12, 6)).only("kT")
    correction = known([1.02, 0.97], 0.02, 0.5)
    models = [HierarchicalModel(pairs, amplitude_only, prior_correction=c) for c in (None, correction)]
    for amplitude in (-0.05, 0.1):
        params = {"A": amplitude, "scatter": 0.01}
        without, with_it = (float(model.problem().log_likelihood(params)) for model in models)
        phi = amplitude_only.factor(ENERGY, np.array([amplitude]))
        residual = np.log(phi / correction.factor)
        expected = -0.5 * residual @ np.linalg.solve(correction.covariance, residual)
        assert with_it - without == pytest.approx(expected, abs=1e-8)


@pytest.mark.slow
def test_posterior_follows_a_precise_external_measurement(amplitude_only):
    """The bump is measured elsewhere far better than by six poor pairs: the posterior has that width."""
    pairs = simulate_pairs(amplitude_only, {"A": 0.1}, np.geomspace(2, 12, 6), relative_error=0.2, seed=3).only("kT")
    energy = np.array([amplitude_only.fixed["mu"]])
    injected = amplitude_only.factor(energy, np.array([[0.1]]))[0]
    measured = Correction(energy, injected, np.array([[0.004**2]]), "energy", unit="keV", target="area of t")
    alone, both = (
        infer(pairs, amplitude_only, sampler="importance", tau=0.1, seed=1, prior_correction=c)
        for c in (None, measured)
    )
    assert alone.correction.at(energy).sd[0] > 0.02
    # 1000 independent draws know a standard deviation to 2 %; the pairs add next to nothing.
    assert both.correction.at(energy).sd[0] == pytest.approx(0.004, rel=0.1)
    assert both.correction.at(energy).factor[0] == pytest.approx(injected[0], abs=0.002)
    assert both.provenance["config"]["prior_correction"] == described(measured)
    assert alone.provenance["config"]["prior_correction"] is None


def test_what_cannot_be_used(amplitude_only):
    from dataclasses import replace

    named = Correction(np.array(["a", "b"]), np.ones(2), np.eye(2), "instrument")
    with pytest.raises(InputError, match="it is against instrument"):
        ExternalCorrection.of(named)
    with pytest.raises(InputError, match="it has no uncertainty"):
        ExternalCorrection.of(known([1.0, 1.0], 0.0))
    pairs = simulate_pairs(amplitude_only, {"A": 0.1}, np.geomspace(2, 12, 6))
    with pytest.raises(InputError, match="does not say what its parameters change"):
        HierarchicalModel(pairs, replace(amplitude_only, modifier=None), prior_correction=known([1.0, 1.0], 0.1))
