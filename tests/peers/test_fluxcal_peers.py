"""Others' software: spectres and specutils resampling, dust_extinction, speclite magnitudes."""

from __future__ import annotations

import numpy as np
import pytest

from crosscal.fluxcal.demo import demo_spectrum
from crosscal.fluxcal.stars.extinction import fitzpatrick99, odonnell94
from crosscal.fluxcal.stars.filters import load_filter
from crosscal.fluxcal.stars.photometry import ab_magnitude
from crosscal.fluxcal.stars.resample import resample

pytestmark = pytest.mark.peers

WAVE = np.linspace(4000.0, 7000.0, 6001)
FLUX = demo_spectrum(WAVE, 6200.0, 4.2, -1.0) * 1e24
NEW = np.arange(4100.3, 6900.0, 1.7)


def test_resampling_as_spectres():
    spectres = pytest.importorskip("spectres")
    theirs = spectres.spectres(NEW, WAVE, FLUX)
    # the same integral over the same pixel edges
    np.testing.assert_allclose(resample(WAVE, FLUX, NEW), theirs, rtol=1e-9)


def test_resampling_as_specutils():
    specutils = pytest.importorskip("specutils")
    import astropy.units as u
    from specutils.manipulation import FluxConservingResampler

    spectrum = specutils.Spectrum(flux=FLUX * u.Jy, spectral_axis=WAVE * u.AA)
    theirs = FluxConservingResampler()(spectrum, NEW * u.AA).flux.value
    np.testing.assert_allclose(resample(WAVE, FLUX, NEW)[2:-2], theirs[2:-2], rtol=1e-9)


def test_extinction_as_dust_extinction():
    parameters = pytest.importorskip("dust_extinction.parameter_averages")
    wave = np.linspace(3500.0, 9900.0, 200)
    theirs = parameters.F99(Rv=3.1)(1e4 / wave) * 3.1
    # both are splines through the table's anchors; end conditions differ
    np.testing.assert_allclose(fitzpatrick99(wave), theirs, rtol=0.01)
    wave = np.linspace(2500.0, 20000.0, 300)
    theirs = parameters.O94(Rv=3.1)(1e4 / wave) * 3.1
    np.testing.assert_allclose(odonnell94(wave), theirs, rtol=1e-6)


def test_magnitudes_as_speclite():
    filters = pytest.importorskip("speclite.filters")
    import astropy.units as u

    band = filters.load_filter("decam2014-r")
    fine = np.linspace(3000.0, 11000.0, 16001)
    shape = demo_spectrum(fine, 6200.0, 4.2, -1.0)
    shape *= 1e-16 / shape.mean()
    theirs = band.get_ab_magnitude(shape * u.erg / u.s / u.cm**2 / u.AA, fine * u.AA)
    # 3631 Jy against 10^(-0.4 48.6): 0.1 mmag; quadratures 0.5 mmag
    assert float(ab_magnitude(load_filter("decam2014-r"), fine, shape)) == pytest.approx(theirs, abs=1e-3)
