"""Stacked residual ratios: the injected error, its bootstrap errors, and clusters of two temperatures."""

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import InputError
from crosscal.xray.correction.clusters import simulate_clusters
from crosscal.xray.correction.observations import Observation, observations_of
from crosscal.xray.correction.stacked import StackedRatio, stacked_ratio

pytestmark = pytest.mark.thorough

INJECTED = {"A": 0.15, "mu": 1.8, "sigma": 0.8}
BAND = (0.7, 7.0)


@pytest.fixture(scope="module")
def observations():
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    return observations_of(
        simulate_clusters(a, b, model, xray.Gaussian(), INJECTED, np.geomspace(3, 9, 10), counts=4e4, seed=2)
    )


@pytest.fixture(scope="module")
def found(observations):
    return stacked_ratio(observations, trusted=observations[0].telescope, bins=16, bootstrap=200, seed=1)


def test_both_ways_find_the_injected_error(found):
    middle = np.sqrt(found.energy_lo * found.energy_hi)
    injected = 1 + INJECTED["A"] * np.exp(-(((middle - INJECTED["mu"]) / INJECTED["sigma"]) ** 2) / 2)
    # Redistribution smooths the ratio after folding by less than a bin; 16 bins with errors of half a per cent.
    assert np.all(np.abs(found.ratio - injected) < 4 * found.sd + 0.01)
    inside = (found.energy > 0.9) & (found.energy < 6.0)
    phi = 1 + INJECTED["A"] * np.exp(-(((found.energy - INJECTED["mu"]) / INJECTED["sigma"]) ** 2) / 2)
    assert np.max(np.abs(found.phi - phi)[inside]) < 0.03
    chi2, p = found.consistent_with_one()
    assert chi2 > 100
    assert p < 1e-6
    assert found.correction.at([1.8]).factor[0] == pytest.approx(1.15, abs=0.03)
    assert found.correction.target == "effective area of example_b"


def test_errors_are_those_of_counting_and_of_the_trusted_fits(found, observations):
    """Ten sources of 4e4 counts: at least Poisson errors of the bin, and not several times them."""
    counts = 4e5 / 16
    assert 0.3 / np.sqrt(counts) < np.median(found.sd) < 4 / np.sqrt(counts)
    again = stacked_ratio(observations, trusted=observations[0].telescope, bins=16, bootstrap=200, seed=1)
    np.testing.assert_array_equal(again.draws, found.draws)


def test_table_and_figure(found):
    from crosscal.xray.figures.correction import stacked

    table = found.table()
    assert len(table) == len(found.ratio) == 16
    assert table.meta["trusted"] == found.telescopes[0]
    assert str(table["energy_lo"].unit) == "keV"
    axes = stacked(found, found.correction).axes[0]
    assert axes.get_xlabel() == "Energy (keV)"


def test_bad_requests(observations):
    trusted = observations[0].telescope
    with pytest.raises(InputError, match="edges that do not increase"):
        stacked_ratio(observations, trusted=trusted, bins=[2.0, 1.0, 3.0])
    with pytest.raises(InputError, match=r"bootstrap = 1;.*two or more resampled sets"):
        stacked_ratio(observations, trusted=trusted, bootstrap=1)
    with pytest.raises(InputError, match="no bin has counts"):
        stacked_ratio(observations, trusted=trusted, bins=[20.0, 21.0, 22.0])
    two = [o for o in observations if o.source in (observations[0].source, observations[1].source)]
    few = stacked_ratio(two, trusted=trusted, bins=[0.1, 0.2, 1.0, 3.0, 7.0], bootstrap=20)
    assert any("few for a bootstrap" in note for note in few.notes)
    assert any("1 of 4 bins have no counts" in note for note in few.notes)


@pytest.mark.slow
def test_clusters_of_two_temperatures_do_not_pass_for_calibration_errors():
    """Without any calibration error: one temperature fitted to the trusted band invents one, two do not."""
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    truth = xray.Model("TBabs*(apec+apec)", nH=0.05, Abundanc=0.3, Redshift=0.05, Abundanc_2=0.3, Redshift_2=0.05)
    free = ("kT", "norm", "kT_2", "norm_2")
    two = truth.replace(free=free, kT=1.5, kT_2=8.0, norm=3e-3, norm_2=8e-3)
    one = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    p = {}
    for name, model in (("one", one), ("two", two)):
        observed = []
        for k, (cool, hot) in enumerate(zip(np.linspace(0.9, 1.4, 10), np.linspace(5, 9, 10), strict=True)):
            source = two.replace(kT=cool, kT_2=hot)
            for t, telescope in enumerate((a, b)):
                spectrum = xray.fakeit(telescope, source, counts=2e5, band=BAND, seed=100 * k + t)
                start = model if name == "one" else source
                observed.append(Observation(str(k), "ab"[t], spectrum, telescope, start, BAND))
        found = stacked_ratio(observed, trusted="a", bins=12, bootstrap=300, seed=3)
        assert isinstance(found, StackedRatio)
        p[name] = found.consistent_with_one()[1]
    assert p["one"] < 1e-4
    assert p["two"] > 1e-3
