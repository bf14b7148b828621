"""What every spectral component must do: a new line in the registry is tested here without any edit."""

import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import Additive, Component, Convolution, Multiplicative, Settings
from crosscal.xray.emission.expression import Model
from crosscal.xray.emission.registry import MODELS
from crosscal.xray.emission.tablefile import plasma_table

EDGES = np.geomspace(0.3, 9.0, 61)
KINDS = {"additive": Additive, "multiplicative": Multiplicative, "convolution": Convolution}


@pytest.fixture(params=MODELS.names())
def component(request) -> Component:
    return MODELS.get(request.param)(Settings(load_table=plasma_table))


@pytest.fixture
def model(component) -> Model:
    """The component in the smallest expression that emits."""
    return Model(component.name if component.kind == "additive" else f"{component.name}*powerlaw")


def inner_values(parameter: Parameter, n: int, seed: int) -> np.ndarray:
    """Values around the default, inside the range."""
    spread = np.random.default_rng(seed).uniform(0.8, 1.2, n)
    values = parameter.default * spread + (0.02 * spread if parameter.default == 0 else 0)
    return np.clip(values, parameter.low, parameter.high)


def test_is_described(component):
    family = type(component)
    assert MODELS.get(component.name) is family
    assert inspect.getdoc(family).splitlines()[0]
    assert isinstance(component, KINDS[component.kind])
    names = [p.name for p in component.parameters]
    assert len(set(names)) == len(names) > 0
    for parameter in component.parameters:
        assert parameter.description
        assert parameter.low < parameter.high
    assert set(component.linear) <= set(names)


def test_additive_components_end_with_norm(component):
    if component.kind == "additive":
        assert component.parameters[-1].name == "norm"
        assert component.parameters[-1].free
        assert "norm" in component.linear


@pytest.mark.thorough
def test_spectrum_is_finite_and_not_negative(model):
    spectrum = model.spectrum(EDGES)
    assert spectrum.shape == (60,)
    assert np.all(np.isfinite(spectrum))
    assert np.all(spectrum >= 0)
    assert spectrum.sum() > 0


def test_batch_equals_loop(model):
    for seed, parameter in enumerate(model.parameters):
        values = inner_values(parameter, 3, seed)
        batch = model.spectrum(EDGES, **{parameter.name: values})
        loop = [model.spectrum(EDGES, **{parameter.name: float(v)}) for v in values]
        # Sums in another order.
        assert_allclose(batch, loop, rtol=1e-10, atol=1e-14 * np.max(loop))


def test_every_parameter_matters_only_through_itself(model):
    """A parameter set to its own default changes nothing."""
    expected = model.spectrum(EDGES)
    for parameter in model.parameters:
        assert_array_equal(model.spectrum(EDGES, **{parameter.name: parameter.default}), expected)


def test_linear_parameters_are_linear(model):
    for name in model.linear:
        zero, one, two, three = model.spectrum(EDGES, **{name: [0.0, 1.0, 2.0, 3.0]})
        assert_allclose(one - zero, two - one, rtol=1e-9, atol=1e-12 * one.max())
        assert_allclose(three - zero, 3 * (one - zero), rtol=1e-9, atol=1e-12 * one.max())


def test_nodes_come_with_an_interpolation(model):
    for name in model.names:
        nodes, interpolation = model.nodes(name), model.interpolation(name)
        assert (nodes is None) == (interpolation is None)
        if nodes is not None:
            assert np.all(np.diff(nodes) > 0)
            assert interpolation in ("linear", "log-cubic")


def test_split_bins_hold_the_same_photons(component):
    """Photons of a bin are those of its halves; absorption and bremss use XSPEC's rule of the edges instead."""
    if component.kind != "additive" or component.name == "bremss":
        return
    model = Model(component.name)
    fine = np.sort(np.concatenate([EDGES, np.sqrt(EDGES[1:] * EDGES[:-1])]))
    halves = model.spectrum(fine).reshape(60, 2).sum(axis=1)
    assert_allclose(model.spectrum(EDGES), halves, rtol=1e-9, atol=1e-13 * halves.max())


def test_out_of_range_is_refused(model):
    for parameter in model.parameters:
        if np.isfinite(parameter.high):
            with pytest.raises(InputError, match="out of range"):
                model.spectrum(EDGES, **{parameter.name: parameter.high * 1.01 + 1})


def test_survives_pickling(model):
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.spectrum(EDGES), model.spectrum(EDGES))
