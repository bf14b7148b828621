"""What ties a telescope to the others: shares of information against what simulations say."""

import numpy as np
import pytest

from crosscal.lightcurves.model import Model
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.ties import ties


def measured(windows, seed=1, tau=80.0, **settings):
    codes = "ABC"[: 2 if windows is not None and len(windows) == 2 else 3]
    sigma = 0.15 / np.sqrt(tau)
    curves, truth = simulate(seed=seed, codes=codes, points=60, windows=windows, tau=tau, sigma=sigma)
    model = Model(curves, Settings(**settings))
    x = model.layout.fixed.copy()
    level = model.norm.factors[0] / model.norm.factors[0, 0]
    x[model.layout.kernel[0]] = np.log([sigma, tau]) - [np.log(model.norm.factors[0, 0]), 0.0]
    x[model.layout.scale] = np.log(truth.scale * level)
    x[model.layout.scale[0]] = 0.0
    return ties(model, x)


@pytest.mark.parametrize("tau", [80.0, 600.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_telescopes_that_observe_together_are_tied_whatever_tau(tau, seed):
    found = measured(None, seed, tau)
    assert np.isnan(found.scale[0])
    assert np.isnan(found.shift[0])
    assert np.all(found.scale[1:] > 0.6)
    assert np.all(found.shift[1:] > 0.9)
    assert found.loose() == ()
    assert found.sentences() == []


@pytest.mark.parametrize("tau", [80.0, 600.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_gap_is_told_whatever_tau(tau, seed):
    # 150 d apart: well inside tau in one case, beyond it in the other.
    found = measured([(0.0, 0.45), (0.6, 1.0)], seed, tau)
    assert found.scale[1] < 0.1
    assert found.loose() == ("B",)
    (sentence,) = found.sentences()
    assert sentence.startswith("B: only")
    assert "from the stationarity of the source" in sentence
    # Nothing else tells the scale: it moves with the assumed process.
    assert found.change[1] > 0.1


def test_held_factors_are_not_judged():
    found = measured([(0.0, 0.45), (0.6, 1.0)], fixed_scale=True)
    assert np.isnan(found.scale).all()
    assert found.loose() == ("B",)
    assert "its shift" in found.sentences()[0]
    assert measured([(0.0, 0.45), (0.6, 1.0)], fixed_codes=("B",)).loose() == ()
