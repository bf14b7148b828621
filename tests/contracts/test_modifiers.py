"""What every modifier must do: a new line in the registry is tested here without any edit."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.modifiers.base import BasisModifier, Modifier
from crosscal.xray.modifiers.examples import example
from crosscal.xray.modifiers.registry import MODIFIERS

ENERGY = np.geomspace(0.35, 7.5, 23)
PHOTONS = 1e-3


@pytest.fixture(scope="module")
def response():
    return example_telescope("a")


@pytest.fixture(params=MODIFIERS.names())
def modifier(request) -> Modifier:
    return example(request.param)


def inner_points(modifier, n, seed=0, spread=0.05):
    """Points around null, well inside every parameter's range."""
    rng = np.random.default_rng(seed)
    null = np.array(modifier.null)
    points = null + spread * rng.uniform(-1, 1, (n, null.size)) * np.maximum(np.abs(null), 1.0)
    low = np.array([max(p.low, -1e3) for p in modifier.parameters])
    high = np.array([min(p.high, 1e3) for p in modifier.parameters])
    return np.clip(points, low + 1e-3, high - 1e-3)


def test_is_described(modifier):
    family = type(modifier)
    assert family.name in MODIFIERS
    assert MODIFIERS.get(family.name) is family
    assert inspect.getdoc(family)
    assert not family.__doc__.startswith(family.__name__ + "(")  # a dataclass's automatic docstring
    assert modifier.parameters
    assert len(set(modifier.names)) == len(modifier.names)
    for p in modifier.parameters:
        assert isinstance(p, Parameter)
        assert p.name.isidentifier()  # names are keywords of grid()
        assert p.description
    assert modifier.acts_on in ("area", "matrix")
    assert len(modifier.null) == len(modifier.names)


def test_factor_is_one_at_null(modifier):
    # Rounding of exp and of sums that cancel.
    assert_allclose(modifier.factor(ENERGY, modifier.null), 1.0, rtol=1e-14)


def test_shapes_broadcast(modifier):
    points = inner_points(modifier, 6)
    d = len(modifier.names)
    one = modifier.factor(ENERGY, points[0])
    assert one.shape == (23,)
    assert np.all(np.isfinite(one))
    many = modifier.factor(ENERGY, points.reshape(3, 2, d))
    assert many.shape == (3, 2, 23)
    assert_allclose(many[0, 0], one, rtol=1e-14)
    assert modifier.factor(ENERGY[:1], points).shape == (6, 1)
    assert modifier.factor(ENERGY).shape == (23,)


def test_mapping_equals_array(modifier):
    point = inner_points(modifier, 1)[0]
    named = dict(zip(modifier.names, point, strict=True))
    assert_array_equal(modifier.factor(ENERGY, named), modifier.factor(ENERGY, point))
    first = modifier.names[0]
    column = modifier.factor(ENERGY, {first: np.array([point[0], point[0]])})
    assert column.shape == (2, 23)


def test_wrong_parameters_are_refused(modifier):
    with pytest.raises(UnknownNameError, match="parameter 'nonsense'"):
        modifier.factor(ENERGY, {"nonsense": 1.0})
    with pytest.raises(UnknownNameError, match="parameter 'nonsense'"):
        modifier.parameter("nonsense")
    with pytest.raises(InputError, match=f"a last axis of {len(modifier.names)}"):
        modifier.factor(ENERGY, np.zeros(len(modifier.names) + 1))
    with pytest.raises(InputError, match="one dimension"):
        modifier.factor(ENERGY[None, :])


def test_numpy_equals_jax(modifier):
    points = inner_points(modifier, 4)
    compiled = jax.jit(lambda theta: modifier.factor(ENERGY, theta, jnp))
    # The same float64 formula; libraries differ in the last bits of exp and pow.
    assert_allclose(np.asarray(compiled(jnp.asarray(points))), modifier.factor(ENERGY, points), rtol=1e-13)


@pytest.mark.thorough
def test_gradient_is_that_of_differences(modifier):
    point = inner_points(modifier, 1, seed=3)[0]

    def total(theta):
        return jnp.sum(modifier.factor(ENERGY, theta, jnp))

    gradient = np.asarray(jax.grad(total)(jnp.asarray(point)))
    assert np.all(np.isfinite(gradient))
    for k in range(point.size):
        step = np.zeros(point.size)
        step[k] = 1e-5
        up, down = modifier.factor(ENERGY, point + step).sum(), modifier.factor(ENERGY, point - step).sum()
        # Central differences: rounding 1e-16 x 23 / 1e-5 and curvature x 1e-10.
        assert_allclose(gradient[k], (up - down) / 2e-5, rtol=1e-5, atol=1e-6)


def test_basis_is_the_derivative(modifier):
    if not modifier.linear:
        with pytest.raises(InputError, match="not linear"):
            modifier.basis(ENERGY)
        with pytest.raises(InputError, match="not linear"):
            Modifier.offset(modifier, ENERGY)
        return
    points = inner_points(modifier, 5)
    basis, offset = modifier.basis(ENERGY), modifier.offset(ENERGY)
    assert basis.shape == (len(modifier.names), 23)
    assert offset.shape == (23,)
    assert_allclose(modifier.factor(ENERGY, points), offset + points @ basis, rtol=1e-13, atol=1e-15)
    # The explicit basis against the one that follows from phi itself.
    assert_allclose(basis, Modifier.basis(modifier, ENERGY), rtol=1e-10, atol=1e-12)


def test_apply_is_the_fold_of_the_product(modifier, response):
    point = inner_points(modifier, 1, seed=1, spread=0.02)[0]
    changed = modifier.apply(response, point)
    assert_array_equal(changed.energy_edges, response.energy_edges)
    assert_array_equal(changed.channel_lo, response.channel_lo)
    photons = PHOTONS * response.energy**-1.5
    if modifier.acts_on == "area":
        factor = modifier.factor(response.energy, point)
        assert_array_equal(changed.redistribution.toarray(), response.redistribution.toarray())
        expected = response.redistribution.toarray() @ (response.area * factor * photons)
        assert_allclose(changed.fold(photons), expected, rtol=1e-12)
    else:
        assert_array_equal(changed.area, response.area)
        difference = changed.redistribution - response.redistribution
        assert np.abs(difference).max() > 0


def test_apply_at_null_changes_nothing(modifier, response):
    changed = modifier.apply(response, modifier.null)
    photons = PHOTONS * response.energy**-1.5
    assert_allclose(changed.fold(photons), response.fold(photons), rtol=1e-12, atol=1e-20)


def test_apply_takes_one_point_in_range(modifier, response):
    with pytest.raises(InputError, match="one set of"):
        modifier.apply(response, inner_points(modifier, 2))
    for p in modifier.parameters:
        if np.isfinite(p.high):
            with pytest.raises(InputError, match=f"{p.name} = .* is out of range"):
                modifier.apply(response, {p.name: p.high + 1.0})
    with pytest.raises(InputError, match="out of range"):
        modifier.check(np.full(len(modifier.names), np.nan))


def test_grid_round_trip(modifier):
    p = modifier.parameters[-1]
    width = 0.1 * max(abs(p.default), 1.0)
    low, high = max(p.low, p.default - width), min(p.high, p.default + width)
    grid = modifier.grid(**{p.name: (low, high, 3)})
    assert grid.modifier is modifier
    assert grid.names == modifier.names
    assert grid.points.shape == (3, len(modifier.names))
    assert_allclose(grid.axis(p.name).values[[0, -1]], [low, high])
    assert modifier.factor(ENERGY, grid.points).shape == (3, 23)
    with pytest.raises(UnknownNameError, match="parameter 'nonsense'"):
        modifier.grid(nonsense=(0, 1, 2))


def test_scatter_round_trip(modifier):
    p = modifier.parameters[0]
    width = 0.1 * max(abs(p.default), 1.0)
    box = {p.name: (max(p.low, p.default - width), min(p.high, p.default + width))}
    design = modifier.scatter(8, seed=2, **box)
    assert design.modifier is modifier
    assert design.points.shape == (8, len(modifier.names))
    assert_array_equal(design.points[:, 1:], np.tile(modifier.defaults[1:], (8, 1)))
    assert_array_equal(design.points, modifier.scatter(8, seed=2, **box).points)


def test_survives_pickling(modifier):
    again = pickle.loads(pickle.dumps(modifier))
    assert_array_equal(again.factor(ENERGY), modifier.factor(ENERGY))
    assert again.names == modifier.names


def test_products_and_sums_with_others(modifier, response):
    other = MODIFIERS.get("grey")()
    product = modifier * other
    assert len(product.names) == len(modifier.names) + 1
    assert len(set(product.names)) == len(product.names)
    assert_allclose(
        product.factor(ENERGY, (*modifier.null, 1.2)), 1.2 * modifier.factor(ENERGY, modifier.null), rtol=1e-14
    )
    if modifier.acts_on == "matrix":
        with pytest.raises(InputError, match="changes the matrix, not the area"):
            _ = modifier + other
        assert product.acts_on == "matrix"
        assert_allclose(product.apply(response, (*modifier.null, 1.2)).area, 1.2 * response.area)
    else:
        total = modifier + other
        assert_allclose(total.factor(ENERGY, (*modifier.null, 1.2)), 1.2, rtol=1e-14)
        assert total.linear == modifier.linear


def test_prior_covariance_has_the_right_shape(modifier):
    if isinstance(modifier, BasisModifier) and modifier.prior_covariance is not None:
        d = len(modifier.names)
        assert modifier.prior_covariance.shape == (d, d)
        assert np.all(np.linalg.eigvalsh(modifier.prior_covariance) > 0)


def test_registry_lists_all_families():
    lines = MODIFIERS.describe()
    assert set(lines) == set(MODIFIERS.names())
    assert all(lines.values())
    with pytest.raises(UnknownNameError, match="'gaussian'"):
        MODIFIERS.get("gausian")
