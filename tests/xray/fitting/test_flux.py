"""Flux and luminosity of a fitted model in a band."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM, Planck18

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.simulate import fakeit

BAND = (0.7, 7.0)
ERG = 1.602176634e-9


@pytest.fixture(scope="module")
def powerlaw(telescope):
    model = Model("TBabs*powerlaw", nH=0.2, PhoIndex=1.8, norm=1e-3, free=("nH", "PhoIndex", "norm"))
    return fit(fakeit(telescope, model, counts=5e3, band=BAND, seed=4), telescope, model, band=BAND)


@pytest.fixture(scope="module")
def cluster(telescope):
    model = Model("TBabs*apec", nH=0.05, kT=4.0, Abundanc=0.3, Redshift=0.1, norm=1e-3, free=("kT", "norm"))
    return fit(fakeit(telescope, model, counts=2e4, band=BAND, seed=3), telescope, model, band=BAND)


def analytic(gamma, norm, low, high):
    """Energy flux of norm E^-gamma, erg / cm2 / s."""
    return ERG * norm * (high ** (2 - gamma) - low ** (2 - gamma)) / (2 - gamma)


def test_the_flux_of_a_power_law_is_its_integral(powerlaw):
    found = powerlaw.flux((2.0, 10.0), absorbed=False)
    exact = analytic(powerlaw.values["PhoIndex"], powerlaw.values["norm"], 2.0, 10.0)
    # Bins of 1e-3 put the energy at their middle: an error of second order.
    assert found.value == pytest.approx(exact, rel=1e-6)
    assert found.low < found.value < found.high
    assert found.quantity.to(u.W / u.m**2).value == pytest.approx(1e-3 * exact, rel=1e-6)
    gamma, norm = powerlaw.values["PhoIndex"], powerlaw.values["norm"]
    photons = powerlaw.flux((2.0, 10.0) * u.keV, absorbed=False, photons=True)
    assert photons.value == pytest.approx(norm * (2 ** (1 - gamma) - 10 ** (1 - gamma)) / (gamma - 1), rel=1e-6)
    assert str(photons).startswith("unabsorbed photon flux, 2 to 10 keV: ")
    assert "photon / (s cm2) (68.3 %)" in str(photons)


def test_absorption_lowers_the_flux(powerlaw):
    seen, emitted = powerlaw.flux((0.5, 2.0)), powerlaw.flux((0.5, 2.0), absorbed=False)
    edges = np.geomspace(0.5, 2.0, 20001)
    photons = powerlaw.model.spectrum(edges)
    assert seen.value == pytest.approx(ERG * photons @ (0.5 * (edges[1:] + edges[:-1])), rel=1e-4)
    assert seen.value < 0.8 * emitted.value
    assert seen.what == "flux"
    assert emitted.what == "unabsorbed flux"
    # What is behind the absorber is known less well than what is seen.
    assert (seen.high - seen.low) / seen.value < 0.8 * (emitted.high - emitted.low) / emitted.value


def test_the_error_is_that_of_the_covariance(powerlaw):
    """Linear propagation: the gradient of the flux by finite differences, at 5 % of Monte Carlo noise."""
    found = powerlaw.flux((1.0, 5.0), draws=4000)
    gradient = []
    for name in powerlaw.names:
        step = 1e-3 * powerlaw.errors[name]
        ends = [powerlaw.model.replace(**{name: powerlaw.values[name] + s * step}) for s in (1, -1)]
        edges = np.geomspace(1.0, 5.0, 2001)
        weight = ERG * 0.5 * (edges[1:] + edges[:-1])
        plus, minus = (m.spectrum(edges) @ weight for m in ends)
        gradient.append((plus - minus) / (2 * step))
    sd = np.sqrt(np.array(gradient) @ powerlaw.covariance @ np.array(gradient))
    assert 0.5 * (found.high - found.low) == pytest.approx(sd, rel=0.05)
    wide = powerlaw.flux((1.0, 5.0), draws=4000, level=0.9)
    assert 0.5 * (wide.high - wide.low) == pytest.approx(1.645 * sd, rel=0.06)
    assert np.array_equal(wide.draws, found.draws)


def test_luminosity_is_that_of_the_rest_frame_band(cluster):
    found = cluster.luminosity((0.5, 2.0))
    flux = cluster.flux((0.5 / 1.1, 2.0 / 1.1), absorbed=False)
    distance = Planck18.luminosity_distance(0.1)
    assert found.quantity.to_value("erg/s") == pytest.approx(
        (4 * np.pi * distance**2 * flux.quantity).to_value("erg/s")
    )
    assert found.what == "unabsorbed luminosity"
    assert found.band == (0.5, 2.0)
    assert cluster.luminosity((0.5, 2.0), absorbed=True).value < found.value
    other = FlatLambdaCDM(H0=35.0, Om0=Planck18.Om0, Tcmb0=Planck18.Tcmb0)
    nearer = cluster.luminosity((0.5, 2.0), cosmology="WMAP9")
    assert cluster.luminosity((0.5, 2.0), cosmology=other).value > 3 * found.value
    assert nearer.value == pytest.approx(found.value, rel=0.05)
    # A power law's spectrum has no scale: the band's shift is (1 + z)^(2 - gamma) of flux.
    assert cluster.luminosity((0.5, 2.0), redshift=0.2).value > 4 * found.value


def test_a_power_law_needs_a_redshift(powerlaw):
    with pytest.raises(InputError, match="the model has no redshift; expected the source's, given as redshift="):
        powerlaw.luminosity((2.0, 10.0))
    gamma, norm = powerlaw.values["PhoIndex"], powerlaw.values["norm"]
    area = 4 * np.pi * Planck18.luminosity_distance(0.5).to_value("cm") ** 2
    exact = area * 1.5 ** (gamma - 2) * analytic(gamma, norm, 2.0, 10.0)
    assert powerlaw.luminosity((2.0, 10.0), redshift=0.5).value == pytest.approx(exact, rel=1e-6)


def test_bad_arguments(powerlaw):
    for band in ((2.0, 1.0), (0.0, 1.0)):
        with pytest.raises(InputError, match=r"a band of .*expected 0 < low < high"):
            powerlaw.flux(band)
    with pytest.raises(InputError, match=r"a level of 68.*such as 0.68"):
        powerlaw.flux(BAND, level=68)
    with pytest.raises(InputError, match=r"1 draws.*at least 2"):
        powerlaw.flux(BAND, draws=1)
    with pytest.raises(InputError, match=r"a redshift of 0"):
        powerlaw.luminosity(BAND, redshift=0.0)
    with pytest.raises(UnknownNameError, match="cosmology 'Plank18'"):
        powerlaw.luminosity(BAND, redshift=0.1, cosmology="Plank18")
    broken = replace(powerlaw, covariance=np.full((3, 3), np.nan))
    with pytest.raises(FitError, match="the fit has no covariance, so a flux has no error"):
        broken.flux(BAND)
