"""Interpolation in temperature."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from crosscal.core.errors import UnknownNameError
from crosscal.xray.emission.interpolate import temperature_weights

NODES = np.geomspace(0.1, 50, 20)


@pytest.mark.parametrize("interp", ["spline", "xspec"])
def test_weights_sum_to_one_and_pick_nodes(interp):
    kT = np.geomspace(0.1, 50, 97).clip(NODES[0], NODES[-1])
    weights = temperature_weights(NODES, kT, interp)
    assert weights.shape == (97, 20)
    assert weights.sum(axis=1) == pytest.approx(np.ones(97), rel=1e-12)
    assert temperature_weights(NODES, NODES, interp) == pytest.approx(np.eye(20), abs=1e-12)


def test_shapes():
    assert temperature_weights(NODES, np.ones((3, 2)), "xspec").shape == (3, 2, 20)
    assert temperature_weights(NODES, 2.0, "spline").shape == (20,)


def test_xspec_is_linear_in_kT_between_neighbours():
    kT = np.array([0.5, 3.3, 41.0])
    weights = temperature_weights(NODES, kT, "xspec")
    assert np.all((weights > 0).sum(axis=1) == 2)
    assert weights @ NODES == pytest.approx(kT, rel=1e-13)


def test_spline_is_exact_for_cubics_in_log_kT_and_equals_scipy():
    kT = np.geomspace(0.11, 49, 50)
    values = 1 + np.log(NODES) - 0.2 * np.log(NODES) ** 3
    expected = 1 + np.log(kT) - 0.2 * np.log(kT) ** 3
    assert temperature_weights(NODES, kT, "spline") @ values == pytest.approx(expected, rel=1e-10)
    random = np.random.default_rng(1).normal(size=20)
    scipy = CubicSpline(np.log(NODES), random)(np.log(kT))
    assert temperature_weights(NODES, kT, "spline") @ random == pytest.approx(scipy, abs=1e-12)


def test_unknown_kind():
    with pytest.raises(UnknownNameError, match="unknown temperature interpolation 'linear'"):
        temperature_weights(NODES, 1.0, "linear")
