"""Integration over bins, against slow explicit sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from crosscal.xray.emission.rebin import integrate_linear, limited_slopes, overlap_matrices

increasing = st.lists(st.floats(0.05, 20.0), min_size=3, max_size=12, unique=True).map(
    lambda values: np.sort(np.array(values))
)


def test_integral_of_a_line_is_exact():
    energy, density = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 0.0])
    edges = np.array([0.5, 1.5, 2.0, 3.0, 5.0])
    # By hand: triangles and trapezoids.
    assert integrate_linear(energy, density, edges) == pytest.approx([0.75, 1.25, 2.25, 0.75], rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(increasing, increasing, st.integers(0, 10**6))
def test_integral_matches_quadrature(energy, edges, seed):
    if np.diff(energy).min() < 1e-3:
        return
    density = np.random.default_rng(seed).uniform(0, 1, energy.size)
    found = integrate_linear(energy, density, edges)
    for k in range(edges.size - 1):
        inner = energy[(energy > edges[k]) & (energy < edges[k + 1])]

        def curve(x):
            return np.interp(x, energy, density, left=0, right=0)

        slow = quad(curve, edges[k], edges[k + 1], points=inner if inner.size else None, limit=100)[0]
        assert found[k] == pytest.approx(slow, abs=1e-9)


def test_faint_tail_keeps_its_digits():
    # Sums from the bright end would leave nothing of a tail 1e-40 times fainter.
    energy = np.linspace(0.1, 10, 2000)
    density = np.exp(-energy / 0.1)
    edges = np.array([9.0, 9.5])
    assert integrate_linear(energy, density, edges)[0] == pytest.approx(0.1 * np.exp(-90), rel=0.01)


def test_step_of_two_equal_energies():
    energy, density = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 1.0, 5.0, 5.0])
    assert integrate_linear(energy, density, np.array([1.0, 2.0, 3.0])) == pytest.approx([1.0, 5.0])


@settings(max_examples=60, deadline=None)
@given(increasing, increasing, st.integers(0, 10**6))
def test_overlap_matrices_match_the_integral_of_the_density(source, target, seed):
    rng = np.random.default_rng(seed)
    if np.diff(source).min() < 1e-3:
        return
    content = rng.uniform(0, 1, source.size - 1)
    tilt = content * rng.uniform(-1, 1, content.size)
    mean, slope = overlap_matrices(source, target)
    found = mean @ content + slope @ tilt
    # The same density as nodes with a step at each bin boundary.
    width = np.diff(source)
    nodes = np.ravel(np.column_stack([source[:-1], source[1:]]))
    density = np.ravel(np.column_stack([(content - tilt) / width, (content + tilt) / width]))
    assert found == pytest.approx(integrate_linear(nodes, density, target), abs=1e-9)


def test_rebinning_conserves_photons():
    source, target = np.geomspace(0.1, 10, 300), np.linspace(0.05, 12, 77)
    content = np.random.default_rng(0).uniform(0, 1, 299)
    mean, slope = overlap_matrices(source, target)
    total = (mean @ content + slope @ limited_slopes(content, source)).sum()
    assert total == pytest.approx(content.sum(), rel=1e-13)


@settings(max_examples=60, deadline=None)
@given(increasing, st.integers(0, 10**6))
def test_limited_slopes_never_go_negative_or_beyond_the_neighbours(edges, seed):
    content = np.random.default_rng(seed).exponential(size=edges.size - 1)
    half = limited_slopes(content, edges)
    assert np.all(np.abs(half) <= content)
    width = np.diff(edges)
    density, left, right = content / width, (content - half) / width, (content + half) / width
    low = np.minimum(density[:-1], density[1:])
    high = np.maximum(density[:-1], density[1:])
    slack = 1e-12 * high
    assert np.all((right[:-1] >= low - slack) & (right[:-1] <= high + slack))
    assert np.all((left[1:] >= low - slack) & (left[1:] <= high + slack))


def test_slopes_are_exact_for_a_linear_density():
    edges = np.geomspace(1, 2, 20)
    content = 0.5 * np.diff(3 * edges**2)
    half = limited_slopes(content, edges)
    # b = slope * width^2 / 2 with slope 3; the first and last bin have no two neighbours and stay flat.
    assert half[1:-1] == pytest.approx(1.5 * np.diff(edges)[1:-1] ** 2, rel=1e-9)
    assert half[0] == half[-1] == 0
