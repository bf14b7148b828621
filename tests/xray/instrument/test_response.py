import dataclasses
import pickle

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, random_array

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.instrument.response import Response
from crosscal.xray.modifiers.grey import Grey


def wide(rng, density, n_energy=60, n_channel=40):
    edges = np.linspace(0.3, 9.3, n_energy + 1)
    channels = np.linspace(0.2, 9.6, n_channel + 1)
    matrix = random_array((n_channel, n_energy), density=density, rng=rng)
    area = rng.uniform(10, 500, n_energy)
    return Response(edges[:-1], edges[1:], area, csr_array(matrix), channels[:-1], channels[1:])


def explicit_fold(response, photons):
    """Fold by the formula, one element at a time."""
    matrix = response.redistribution.toarray()
    rates = np.zeros(response.n_channel)
    for c in range(response.n_channel):
        for j in range(response.n_energy):
            rates[c] += matrix[c, j] * response.area[j] * photons[j]
    return rates


@pytest.mark.parametrize("density", [0.02, 0.4])
def test_fold_equals_the_explicit_sum(rng, density):
    response = wide(rng, density)
    photons = rng.uniform(0, 1, (2, 3, response.n_energy))
    folded = response.fold(photons)
    assert folded.shape == (2, 3, response.n_channel)
    for i in range(2):
        for k in range(3):
            # The same sum in another order: rounding only.
            assert_allclose(folded[i, k], explicit_fold(response, photons[i, k]), rtol=1e-12, atol=1e-12)
    assert_allclose(response.fold(photons[0, 0]), folded[0, 0], rtol=1e-12, atol=1e-12)
    assert (response.dense is None) == (density < 0.05)


@pytest.mark.parametrize("density", [0.02, 0.4])
def test_restricted_is_exact_in_the_band(rng, density):
    response = wide(rng, density)
    mask = response.band(1.0, 4.0)
    part = response.restricted(mask)
    inside = response.energy_slice(mask)
    photons = rng.uniform(0, 1, (7, response.n_energy))
    assert_allclose(part.fold(photons[:, inside]), response.fold(photons)[:, mask], rtol=1e-12, atol=1e-12)
    assert part.n_channel == mask.sum()
    assert part.first_channel == response.first_channel + np.flatnonzero(mask)[0]
    assert_array_equal(part.energy_edges, response.energy_edges[inside.start : inside.stop + 1])


def test_restricted_drops_energies_that_cannot_reach_the_band(small):
    part = small.restricted(np.array([True, False, False, False]))
    assert part.n_energy == 2


def test_band_rules(small):
    assert_array_equal(small.band(1.5, 2.5), [False, True, False, False])
    assert_array_equal(small.band(1.4, 2.6), [True, True, True, False])
    assert_array_equal(small.band(1.4, 2.6, rule="inside"), [False, True, False, False])
    assert_array_equal(small.band(1.9, 3.1, rule="centre"), [False, True, True, False])
    with pytest.raises(UnknownNameError, match="overlap"):
        small.band(1, 2, rule="overlaps")
    with pytest.raises(InputError, match=r"no channel lies in 8 to 9 keV; expected a band within 0\.5 to 6 keV"):
        small.band(8, 9)
    with pytest.raises(InputError, match="the lower one first"):
        small.band(2, 1)
    with pytest.raises(InputError, match="finite limits"):
        small.band(np.nan, 1)


def test_energies(small):
    assert_array_equal(small.energy_edges, [0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
    assert_array_equal(small.energy, [0.75, 1.5, 2.5, 3.5, 5.0])
    assert_array_equal(small.channels, [1, 2, 3, 4])


def test_with_area_and_modified(small):
    assert_array_equal(small.with_area(np.ones(5)).area, np.ones(5))
    assert_allclose(small.modified(Grey(), {"scale": 1.1}).area, 1.1 * small.area)
    assert small.modified(Grey()).name == small.name


def test_corrected_interpolates_ln_factor(small):
    correction = Correction(np.array([1.0, 4.0]), np.array([1.0, 1.21]), np.diag([1e-4, 1e-4]), "energy", "keV")
    factor = small.corrected(correction).area / small.area
    # Constant below 1 keV and above 4 keV; ln factor linear in E between, so 1.1 in the middle.
    assert_allclose(factor, [1.0, 1.21 ** (0.5 / 3), 1.1, 1.21 ** (2.5 / 3), 1.21])
    other = Correction(np.array([1.0, 4.0]), np.ones(2), np.eye(2), "wavelength", "Angstrom")
    with pytest.raises(InputError, match=r"against wavelength \[Angstrom\]; expected one against energy \[keV\]"):
        small.corrected(other)


def test_arrays_are_frozen_and_copied():
    lo, hi = np.array([1.0, 2.0]), np.array([2.0, 3.0])
    area = np.array([5.0, 6.0])
    response = Response(lo, hi, area, np.eye(2), lo, hi)
    area[0] = 99.0
    assert response.area[0] == 5.0
    with pytest.raises(ValueError, match="read-only"):
        response.area[0] = 1.0


def test_survives_pickling(small):
    again = pickle.loads(pickle.dumps(small))
    photons = np.arange(5.0)
    assert_array_equal(again.fold(photons), small.fold(photons))


BASE = {
    "energy_lo": [1.0, 2.0],
    "energy_hi": [2.0, 3.0],
    "area": [5.0, 6.0],
    "redistribution": np.eye(2),
    "channel_lo": [1.0, 2.0],
    "channel_hi": [2.0, 3.0],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy_lo": [[1.0, 2.0]]}, "energy_lo has shape (1, 2)"),
        ({"energy_lo": []}, "energy_lo has shape (0,)"),
        ({"area": [1.0]}, "area has 1 values"),
        ({"area": [1.0, np.nan]}, "area is not finite at index 1"),
        ({"area": [1.0, -2.0]}, "negative effective area"),
        ({"energy_hi": [1.0, 3.0]}, "an energy bin is empty"),
        ({"energy_lo": [-1.0, 2.0]}, "an energy bin is empty or negative"),
        ({"energy_lo": [1.0, 2.5]}, "gaps or overlap"),
        ({"redistribution": np.ones((3, 2))}, "the redistribution has shape (3, 2)"),
        ({"redistribution": -np.eye(2)}, "a negative or not finite probability"),
        ({"redistribution": np.eye(2) * np.nan}, "a negative or not finite probability"),
    ],
)
def test_construction_is_checked(change, words):
    with pytest.raises(InputError) as caught:
        Response(**(BASE | change), name="cam")
    assert words in str(caught.value)
    assert "response 'cam'" in str(caught.value)


def test_use_is_checked(small):
    with pytest.raises(InputError, match="a last axis of 5 energy bins"):
        small.fold(np.ones(4))
    with pytest.raises(InputError, match="4 booleans, at least one true"):
        small.restricted(np.array([1, 0, 0, 0]))
    with pytest.raises(InputError, match="4 booleans"):
        small.energy_slice(np.zeros(4, dtype=bool))
    deaf = Response(small.energy_lo, small.energy_hi, small.area, np.zeros((4, 5)), small.channel_lo, small.channel_hi)
    with pytest.raises(InputError, match="no photon reaches these channels"):
        deaf.restricted(np.ones(4, dtype=bool))


def test_quantities_are_accepted(small):
    from astropy import units as u

    assert_array_equal(small.band(1500 * u.eV, 2.5 * u.keV), small.band(1.5, 2.5))
    assert_allclose(small.with_area(small.area * 1e-4 * u.m**2).area, small.area)
    with pytest.raises(InputError, match="band: a quantity in cm; expected one in keV"):
        small.band(1 * u.cm, 2 * u.cm)


class TestFromArrays:
    def test_an_area_alone_has_perfect_resolution(self, rng):
        edges = np.geomspace(0.3, 10, 31)
        response = Response.from_arrays(edges, np.full(30, 2.0), name="ideal")
        photons = rng.uniform(0, 1, 30)
        assert_allclose(response.fold(photons), 2 * photons)
        assert_array_equal(response.channel_lo, edges[:-1])
        assert response.band(1.0, 2.0).sum() > 0

    def test_a_matrix_folds_as_it_is(self, rng):
        plain = wide(rng, 0.4)
        plain = dataclasses.replace(plain, redistribution=plain.redistribution / plain.redistribution.sum(axis=0).max())
        channels = np.append(plain.channel_lo, plain.channel_hi[-1])
        for matrix in (plain.redistribution, plain.redistribution.toarray()):
            made = Response.from_arrays(
                plain.energy_edges * 1e3 * u.eV, plain.area * 1e-4 * u.m**2, matrix, channel_edges=channels,
                first_channel=0, mission={"TELESCOP": "TEST"},
            )  # fmt: skip
            photons = rng.uniform(0, 1, plain.n_energy)
            assert_allclose(made.fold(photons), plain.fold(photons), rtol=1e-12)
            assert made.first_channel == 0
            assert made.mission == {"TELESCOP": "TEST"}

    def test_wavelengths_fall_in_energy(self, rng):
        """A grating's bins in wavelength: energies are sorted, channels keep their order."""
        waves = np.linspace(5.0, 10.0, 11) * u.AA
        area = np.arange(10.0) + 1
        response = Response.from_arrays(waves, area)
        assert np.all(np.diff(response.energy) > 0)
        assert_allclose(response.area, area[::-1])
        photons = rng.uniform(0, 1, 10)
        assert_allclose(response.fold(photons), (photons * area[::-1])[::-1])
        assert_allclose(response.channel_hi[0], (5.0 * u.AA).to_value("keV", u.spectral()))
        matrix = rng.uniform(0, 0.1, (4, 10))
        with_matrix = Response.from_arrays(waves, area, matrix, channel_edges=[1.0, 1.5, 2.0, 2.5, 3.0])
        assert_allclose(with_matrix.fold(photons), matrix[:, ::-1] @ (photons * area[::-1]), rtol=1e-12)

    def test_bad_arrays(self):
        edges, area = [1.0, 2.0, 3.0], [1.0, 1.0]
        with pytest.raises(InputError, match=r"edges of shape \(3,\) neither rise nor fall; expected n \+ 1 edges"):
            Response.from_arrays([1.0, 3.0, 2.0], area)
        with pytest.raises(InputError, match="area has 3 values; expected 2"):
            Response.from_arrays(edges, [1.0, 1.0, 1.0])
        with pytest.raises(InputError, match="no channel_edges; expected the energies between the channels"):
            Response.from_arrays(edges, area, np.eye(2))
        with pytest.raises(InputError, match="channel_edges without a redistribution"):
            Response.from_arrays(edges, area, channel_edges=edges)
        with pytest.raises(InputError, match=r"a column of the redistribution sums to 300; expected probabilities"):
            Response.from_arrays(edges, area, 300 * np.eye(2), channel_edges=edges)
        with pytest.raises(InputError, match=r"the redistribution has shape \(3, 3\)"):
            Response.from_arrays(edges, area, np.eye(3), channel_edges=[1.0, 2.0, 3.0, 4.0])
        with pytest.raises(InputError, match="a quantity in s; expected one in cm2"):
            Response.from_arrays(edges, [1.0, 1.0] * u.s)
