"""Spectra of plasma tables against slow explicit sums."""

import pickle

import numpy as np
import pytest
from scipy.stats import norm

from crosscal.core.errors import InputError
from crosscal.xray.emission import elements
from crosscal.xray.emission.atomdb import read_atomdb
from crosscal.xray.emission.build import compress
from crosscal.xray.emission.lines import ATOMIC_MASS_KEV, SPEED_OF_LIGHT, Lines

EDGES = np.linspace(0.3, 6.0, 58)


@pytest.fixture(scope="module")
def plasma(tiny):
    return read_atomdb(tiny.line, tiny.coco)


def weights_of(**abundance):
    weights = np.zeros(30)
    for symbol, value in abundance.items():
        weights[elements.Z[symbol] - 1] = value
    return weights


def slow(tiny, k, edges, weights, redshift, sigma=None):
    """One node, line by line and on a fine grid of the continuum."""
    out = np.zeros(edges.size - 1)
    for energy, emissivity, z, *_ in tiny.lines[k]:
        # AtomDB holds wavelengths in single precision.
        energy = 12.39841974 / float(np.float32(12.39841974 / energy)) / (1 + redshift)
        amount = weights[z - 1] * float(np.float32(emissivity))
        if sigma is None:
            out += amount * ((edges[:-1] <= energy) & (energy < edges[1:]))
        else:
            out += amount * np.diff(norm.cdf(edges, energy, sigma(energy, z)))
    for z, (energy, density) in tiny.continua[k].items():
        for i in range(out.size):
            inner = energy[(energy > edges[i] * (1 + redshift)) & (energy < edges[i + 1] * (1 + redshift))]
            x = np.concatenate([[edges[i] * (1 + redshift)], inner, [edges[i + 1] * (1 + redshift)]])
            out[i] += weights[z - 1] * np.trapezoid(np.interp(x, energy, density), x)
    return out


@pytest.mark.parametrize("redshift", [0.0, 0.3])
def test_every_node_matches_the_explicit_sum(plasma, tiny, redshift):
    weights = weights_of(H=1, O=0.4, Fe=1.7, Cr=2.0)
    found = plasma.spectra(EDGES, weights, redshift=redshift)
    assert found.shape == (6, 1, 57)
    for k in range(6):
        # Rounding of sums in another order.
        assert found[k, 0] == pytest.approx(slow(tiny, k, EDGES, weights, redshift), rel=1e-9)


@pytest.mark.parametrize(("velocity", "thermal"), [(500.0, False), (0.0, True), (800.0, True)])
def test_broadened_lines_match_the_normal_distribution(plasma, tiny, velocity, thermal):
    weights = weights_of(H=0.01, O=1, Fe=1)
    k = 3

    def sigma(energy, z):
        heat = tiny.kT[k] / (elements.MASSES[z - 1] * ATOMIC_MASS_KEV) if thermal else 0.0
        return energy * np.sqrt((velocity / SPEED_OF_LIGHT) ** 2 + heat)

    fine = np.linspace(1.0, 1.3, 400)
    found = plasma.spectra(fine, weights, redshift=0.1, velocity=velocity, thermal=thermal)[k, 0]
    expected = slow(tiny, k, fine, weights, 0.1, sigma)
    # Profiles are cut at 6.2 sigma, where less than 1e-9 of the photons are left.
    assert found == pytest.approx(expected, abs=3e-9 * expected.sum())


def test_rows_of_weights_are_independent_and_linear(plasma):
    rows = np.stack([weights_of(H=1), weights_of(O=1), weights_of(Fe=1)])
    parts = plasma.spectra(EDGES, rows)
    whole = plasma.spectra(EDGES, weights_of(H=1, O=0.3, Fe=0.5))
    assert parts[:, 0] + 0.3 * parts[:, 1] + 0.5 * parts[:, 2] == pytest.approx(whole[:, 0], rel=1e-12)


def test_result_is_cached_and_read_only(plasma):
    first = plasma.spectra(EDGES, weights_of(H=1))
    assert plasma.spectra(EDGES.copy(), weights_of(H=1)) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    assert plasma.spectra(EDGES, weights_of(H=1), redshift=0.1) is not first
    for z in np.linspace(0.2, 0.9, 10):
        plasma.spectra(EDGES, weights_of(H=1), redshift=z)
    assert plasma.spectra(EDGES, weights_of(H=1)) is not first  # the cache is bounded


def test_pickle_leaves_the_cache_behind(plasma):
    plasma.spectra(EDGES, weights_of(H=1))
    copy = pickle.loads(pickle.dumps(plasma))
    assert not copy._cache
    assert np.array_equal(copy.spectra(EDGES, weights_of(H=1)), plasma.spectra(EDGES, weights_of(H=1)))


@pytest.mark.parametrize("bad", [0.1, 30.0, np.nan])
def test_temperature_outside(plasma, bad):
    with pytest.raises(InputError, match=r"outside the plasma table; expected 0\.2 to 20 keV"):
        plasma.check_temperature(np.array([1.0, bad]))
    plasma.check_temperature(plasma.kT)


def test_compact_with_all_lines_is_the_detailed_one(plasma):
    """With every line kept, only the continuum is binned."""
    edges = np.geomspace(0.1, 17, 1001)
    compact = compress(plasma, edges, lines=None)
    weights = weights_of(H=1, O=0.4, Fe=1.7, Cr=2.0)
    for redshift in (0.0, 0.25):
        a = compact.spectra(EDGES, weights, redshift=redshift)
        b = plasma.spectra(EDGES, weights, redshift=redshift)
        # Piecewise-linear reconstruction of a smooth continuum in 0.5 % bins.
        assert a == pytest.approx(b, rel=3e-4)


def test_compact_trace_elements_follow_their_shares(plasma):
    edges = np.geomspace(0.1, 17, 101)
    compact = compress(plasma, edges, lines=0)
    assert compact.trace_share[elements.TRACE.index("Cr")] == pytest.approx(1.0)
    assert compact.group_weights(weights_of(Cr=3.0)[None])[0, -1] == pytest.approx(3.0)
    whole = compact.spectra(edges, weights_of(Cr=1.0)).sum(axis=2)[:, 0]
    assert whole == pytest.approx(plasma.spectra(edges, weights_of(Cr=1.0)).sum(axis=2)[:, 0], rel=1e-12)


def test_nothing_is_emitted_outside_the_table(plasma):
    compact = compress(plasma, np.geomspace(0.1, 17, 101))
    assert compact.energy_range == pytest.approx((0.1, 17))
    assert plasma.energy_range == (0.01, 100.0)
    assert not compact.spectra(np.array([0.01, 0.05, 0.099]), weights_of(H=1)).any()
    assert not compact.spectra(np.array([18.0, 20.0]), weights_of(H=1)).any()


@pytest.mark.parametrize("kind", ["detailed", "compact"])
@pytest.mark.parametrize(("velocity", "thermal"), [(0.0, False), (400.0, True)])
def test_a_mix_of_nodes_is_the_sum_of_their_spectra(plasma, kind, velocity, thermal):
    table = plasma if kind == "detailed" else compress(plasma, np.geomspace(0.1, 10, 300), lines=30)
    rows = np.stack([weights_of(H=1), weights_of(O=0.3, Fe=0.5, Cr=1)])
    mix = np.array([0.0, -0.1, 0.5, 0.7, 0.0, -0.1])
    grid = {"redshift": 0.07, "velocity": velocity, "thermal": thermal}
    nodes = table.spectra(EDGES, rows, **grid)
    whole = np.tensordot(mix, nodes, axes=1)
    # Rounding of sums in another order.
    scale = np.abs(nodes).max()
    np.testing.assert_allclose(table.mixed(EDGES, rows, mix, Lines(**grid)), whole, rtol=1e-10, atol=1e-12 * scale)
    one = table.mixed(EDGES, rows, np.eye(6)[2], Lines(kT=float(table.kT[2]), **grid))
    np.testing.assert_allclose(one, nodes[2], rtol=1e-10, atol=1e-12 * scale)
    sharp = table.mixed(EDGES, rows, mix, Lines(redshift=0.07, kT=1.0))
    expected = np.tensordot(mix, table.spectra(EDGES, rows, redshift=0.07), axes=1)
    np.testing.assert_allclose(sharp, expected, rtol=1e-10, atol=1e-12 * scale)


def test_lines_of_a_mix_have_the_width_of_its_own_temperature(plasma):
    """One iron line between two nodes: second moments."""
    fine = np.linspace(1.0, 1.3, 3001)
    rows, mix = weights_of(Fe=1), np.array([0.0, 0.0, 0.4, 0.6, 0.0, 0.0])
    kT = 1.7
    energy, _, emissivity = plasma._mixed_lines(mix, 1.0, 1.3)
    spectrum = plasma.mixed(fine, rows, mix, Lines(thermal=True, kT=kT))[0]
    continuum = np.zeros((1, fine.size - 1))
    plasma._add_continuum(mix, np.atleast_2d(rows), fine, continuum)
    k = int(np.argmax(emissivity * (np.abs(energy - 1.15) < 0.1)))
    sigma = energy[k] * np.sqrt(kT / (elements.MASSES[25] * ATOMIC_MASS_KEV))
    middle = 0.5 * (fine[1:] + fine[:-1])
    near = np.abs(middle - energy[k]) < 6 * sigma
    assert np.all(np.abs(np.delete(energy, k) - energy[k]) > 12 * sigma)
    line = (spectrum - continuum[0])[near]
    # The width of a bin of 0.1 eV adds to the variance.
    measured = np.sqrt(np.sum(line * (middle[near] - energy[k]) ** 2) / line.sum() - 1e-4**2 / 12)
    assert measured == pytest.approx(sigma, rel=2e-3)


def test_smooth_lines_keep_photons_and_places_whatever_the_redshift(plasma):
    """Bins of 10 eV: the mean energy of one line follows the redshift, where a sharp one jumps from bin to bin."""
    edges, mix = np.arange(0.9, 1.3, 0.01), np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    rows = weights_of(Fe=1)
    middle, means = 0.5 * (edges[1:] + edges[:-1]), {True: [], False: []}
    energy, _, emissivity = plasma._mixed_lines(mix, 1.1, 1.2)
    line, redshifts = energy[int(np.argmax(emissivity))], np.linspace(0.0, 0.02, 21)
    for z in redshifts:
        continuum = np.zeros((1, edges.size - 1))
        plasma._add_continuum(mix, np.atleast_2d(rows), edges * (1 + z), continuum)
        near = np.abs(middle - line / (1 + z)) < 0.04
        for smooth, found in means.items():
            only = (plasma.mixed(edges, rows, mix, Lines(redshift=z, smooth=smooth)) - continuum)[0]
            found.append([only.sum(), np.sum((only * middle)[near]) / only[near].sum() - line / (1 + z)])
    assert np.ptp(np.array(means[True])[:, 1]) < 0.1 * np.ptp(np.array(means[False])[:, 1])
