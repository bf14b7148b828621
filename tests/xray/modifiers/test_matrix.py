"""Families that change the matrix, against an explicit rebinning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.instrument.response import Response
from crosscal.xray.modifiers.gain import Gain, MatrixScaling, channel_edges
from crosscal.xray.modifiers.gaussian import Gaussian
from crosscal.xray.modifiers.grey import Grey
from crosscal.xray.modifiers.polynomial import Polynomial


@pytest.fixture(scope="module")
def camera():
    return example_telescope("b")


@pytest.fixture(scope="module")
def counts(camera):
    return camera.fold(1e-3 * camera.energy**-1.5 * np.diff(camera.energy_edges))


def rebinned(counts, edges, slope, offset):
    """Move each channel's range and share its counts among the channels it overlaps, one pair at a time."""
    out = np.zeros(counts.size)
    for source in range(counts.size):
        low, high = slope * edges[source] + offset, slope * edges[source + 1] + offset
        for target in range(counts.size):
            overlap = min(high, edges[target + 1]) - max(low, edges[target])
            if overlap > 0:
                out[target] += counts[source] * overlap / (high - low)
    return out


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (1.02, 0.0), (1.0, 0.03), (0.97, -0.011), (1.5, 0.2)])
def test_gain_is_a_rebinning(camera, counts, slope, offset):
    theta = {"slope": slope, "offset": offset}
    expected = rebinned(counts, channel_edges(camera), slope, offset)
    gain = Gain()
    # Shares are ratios of differences of energies of order 10 keV over widths of 0.025 keV: 1e-13 at best.
    assert_allclose(gain.transfer(camera, theta) @ counts, expected, rtol=1e-10, atol=1e-14)
    assert_allclose(gain.counts(camera, counts, theta), expected, rtol=1e-10, atol=1e-14)
    photons = 1e-3 * camera.energy**-1.5 * np.diff(camera.energy_edges)
    assert_allclose(gain.apply(camera, theta).fold(photons), expected, rtol=1e-10, atol=1e-14)


def test_gain_moves_a_line_up(camera):
    line = np.zeros(camera.n_energy)
    line[np.searchsorted(camera.energy, 6.0)] = 1.0
    centre = 0.5 * (camera.channel_lo + camera.channel_hi)

    def mean(response):
        rates = response.fold(line)
        near = (centre > 5) & (centre < 7)
        return np.average(centre[near], weights=rates[near])

    shifted = mean(Gain().apply(camera, {"slope": 1.01, "offset": 0.02}))
    # Spreading over a channel keeps the mean to second order in its width.
    assert shifted == pytest.approx(1.01 * mean(camera) + 0.02, abs=2e-3)


def test_gain_against_the_relabelled_columns_of_xspec(camera):
    # gain s b of XSPEC: the column of nominal energy E answers photons of E / s - b.
    s, b = 1.01, 0.015
    nominal = int(np.searchsorted(camera.energy, 5.0))
    photon = camera.energy[nominal] / s - b
    centre = 0.5 * (camera.channel_lo + camera.channel_hi)
    near = (centre > 4) & (centre < 6)
    theirs = camera.redistribution[:, [nominal]].toarray().ravel()
    shifted = Gain().apply(camera, {"slope": s, "offset": s * b}).redistribution.toarray()
    column = int(np.argmin(np.abs(camera.energy - photon)))
    left_over = camera.energy[column] - photon  # the grid has no column at exactly this energy
    ours = np.average(centre[near], weights=shifted[near, column]) - s * left_over
    # The tail's share changes a little between the two columns: 2 eV.
    assert ours == pytest.approx(np.average(centre[near], weights=theirs[near]), abs=2e-3)


def test_gain_keeps_counts_inside(camera, counts):
    total = (Gain().transfer(camera, {"slope": 0.99}) @ counts).sum()
    assert total == pytest.approx(counts.sum(), rel=1e-12)
    # What leaves the last channel is lost.
    assert (Gain().transfer(camera, {"slope": 1.9}) @ counts).sum() < counts.sum()


@pytest.mark.thorough
def test_gain_is_differentiable(camera, counts):
    weights = np.linspace(-1, 1, counts.size)

    def total(theta):
        return jnp.sum(weights * Gain().counts(camera, counts, theta, jnp))

    theta = np.array([1.013, 0.0071])
    gradient = np.asarray(jax.grad(total)(jnp.asarray(theta)))
    for k, step in enumerate(1e-7 * np.eye(2)):
        numeric = (total(theta + step) - total(theta - step)) / 2e-7
        # The result is piecewise linear in the edges: a step of 1e-7 that crosses one leaves some 1e-5.
        assert_allclose(gradient[k], numeric, rtol=1e-4, atol=1e-8)
    batch = np.stack([counts, 2 * counts])
    assert_allclose(np.asarray(Gain().counts(camera, batch, theta, jnp))[1], 2 * Gain().counts(camera, counts, theta))


def test_gain_needs_contiguous_channels(camera):
    part = camera.restricted(camera.band(1, 2) | camera.band(4, 5))
    with pytest.raises(InputError, match="the channels have gaps"):
        Gain().apply(part, {"slope": 1.01})


def test_matrix_scaling_by_photon_energy_folds_like_a_factor(camera):
    theta = {"c0": 0.05, "c1": -0.1}
    photons = 1e-3 * camera.energy**-1.5
    scaled = MatrixScaling().apply(camera, theta)
    assert_allclose(scaled.fold(photons), Polynomial(degree=1).apply(camera, theta).fold(photons), rtol=1e-12)


def test_matrix_scaling_by_channel_energy(camera):
    scaling = MatrixScaling(Gaussian(), side="channel")
    theta = {"A": 0.2, "mu": 3.0, "sigma": 0.5}
    photons = 1e-3 * camera.energy**-1.5
    centre = 0.5 * (camera.channel_lo + camera.channel_hi)
    expected = camera.fold(photons) * Gaussian().factor(centre, theta)
    assert_allclose(scaling.apply(camera, theta).fold(photons), expected, rtol=1e-12)


def test_matrix_scaling_is_checked(camera):
    with pytest.raises(UnknownNameError, match="photon"):
        MatrixScaling(side="photons")
    with pytest.raises(InputError, match="changes the matrix itself"):
        MatrixScaling(Gain())
    with pytest.raises(InputError, match="the matrix is scaled by -"):
        MatrixScaling().apply(camera, {"c0": -5.0})


def test_products_apply_in_order(camera):
    both = Grey() * Gain()
    assert both.acts_on == "matrix"
    changed = both.apply(camera, {"scale": 1.1, "slope": 1.01})
    assert_allclose(changed.area, 1.1 * camera.area)
    assert isinstance(changed, Response)
    assert_allclose(changed.redistribution.toarray(), Gain().apply(camera, {"slope": 1.01}).redistribution.toarray())
