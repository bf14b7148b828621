"""Synthetic photometry, filters, catalogues, extinction, resampling, line-spread functions."""

from __future__ import annotations

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, DataFileError, InputError, UnknownNameError
from crosscal.fluxcal.stars.catalogue import guess_bands, guess_errors, read_catalogue
from crosscal.fluxcal.stars.extinction import (
    SiteExtinction,
    airmass,
    fitzpatrick99,
    galactic_law,
    redden,
    refraction,
)
from crosscal.fluxcal.stars.filters import load_filter, load_filters, read_filter
from crosscal.fluxcal.stars.lsf import convolve_lsf, gaussian_smooth
from crosscal.fluxcal.stars.photometry import AB_FLUX, C_ANGSTROM, Filter, ab_magnitude, vega_to_ab
from crosscal.fluxcal.stars.resample import air_to_vacuum, convert_medium, log_grid, resample, vacuum_to_air
from crosscal.fluxcal.stars.sites import read_site

BOX = Filter("box", np.array([5000.0, 5001.0, 6000.0, 6001.0]), np.array([0.0, 1.0, 1.0, 0.0]))


def test_a_flat_fnu_spectrum_of_3631_jy_has_magnitude_zero():
    wave = np.linspace(4000, 7000, 4000)
    flux = AB_FLUX * C_ANGSTROM / wave**2
    assert ab_magnitude(BOX, wave, flux) == pytest.approx(0.0, abs=2e-4)  # cells of 0.75 A
    assert ab_magnitude(BOX, wave, np.stack([flux, flux * 100])) == pytest.approx([0.0, -5.0], abs=2e-4)
    assert np.isnan(ab_magnitude(BOX, wave, -flux))


def test_coarse_and_fine_spectra_agree():
    fine, coarse = np.linspace(4000, 7000, 30001), np.linspace(4000, 7000, 301)

    def flux(w):
        return 1e-16 * (w / 5000) ** -1.5

    a, b = ab_magnitude(BOX, fine, flux(fine)), ab_magnitude(BOX, coarse, flux(coarse))
    assert a == pytest.approx(b, abs=1e-3)


def test_coverage_and_pivot():
    assert BOX.coverage(4000, 7000) == pytest.approx(1.0)
    assert BOX.coverage(5500.5, 7000) == pytest.approx(0.52, abs=0.01)  # photon weights favour the red half
    assert BOX.coverage(6500, 7000) == 0.0
    assert 5400 < BOX.pivot < 5520


def test_vega_offsets_have_the_right_sign():
    # AB - Vega of Gaia RP is positive (+0.36): a sign often wrong
    assert vega_to_ab(10.0, "gaiadr3-RP") == pytest.approx(10.356, abs=1e-3)
    assert vega_to_ab(10.0, "Bessell-B") == pytest.approx(9.91, abs=1e-3)
    with pytest.raises(UnknownNameError, match="Vega band"):
        vega_to_ab(10.0, "sdss-r")


@pytest.mark.parametrize(
    ("w", "r", "message"),
    [
        ([1.0, 2.0], [1.0, 1.0], "shapes"),
        ([1.0, 3.0, 2.0], [1.0, 1.0, 1.0], "do not increase"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], "no positive response"),
    ],
)
def test_filter_refuses(w, r, message):
    with pytest.raises(InputError, match=message):
        Filter("x", np.array(w), np.array(r))


def test_filter_files(tmp_path):
    path = tmp_path / "band.dat"
    np.savetxt(path, np.column_stack([np.arange(500, 600.0), np.ones(100)]))
    assert read_filter(path).wavelength[0] == 5000.0  # nm recognised
    assert read_filter(path, unit="angstrom").wavelength[0] == 500.0
    assert load_filter("band", directory=tmp_path).name == "band"
    with pytest.raises(UnknownNameError, match="wavelength unit"):
        read_filter(path, unit="inch")
    with pytest.raises(InputError, match="repeats"):
        load_filters(["band", "band"], directory=tmp_path)
    (tmp_path / "bad.dat").write_text("a b\n")
    with pytest.raises(DataFileError, match="not a filter curve"):
        read_filter(tmp_path / "bad.dat")
    (tmp_path / "empty.dat").write_text("# nothing\n")
    with pytest.raises(DataFileError), pytest.warns(UserWarning, match="no data"):
        read_filter(tmp_path / "empty.dat")


def test_speclite_names():
    pytest.importorskip("speclite")
    assert 6000 < load_filter("decam2014-r").pivot < 6700
    with pytest.raises(UnknownNameError, match=r"unknown filter .decam2014-q.; expected .decam2014-"):
        load_filter("decam2014-q")
    with pytest.raises(UnknownNameError, match=r"unknown filter 'panstarrz-g'; expected 'panstarrs-\*'"):
        load_filter("panstarrz-g")


def test_the_bands_that_are_used_without_a_word_exist():
    pytest.importorskip("speclite")
    from crosscal.fluxcal.kspecdr import USUAL_BANDS

    pivots = [band.pivot for band in load_filters(USUAL_BANDS)]
    # Tonry et al. 2012, table 4; Evans et al. 2018; Cohen et al. 2003.
    assert pivots == pytest.approx([4810, 6170, 7520, 8660, 6217, 5051, 7726, 12350, 16450, 21590], rel=0.015)


def test_missing_speclite_says_what_to_install(monkeypatch):
    import sys

    from crosscal.core.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "speclite", None)
    with pytest.raises(MissingDependencyError, match=r"crosscal\[optical\]"):
        load_filter("sdss2010-r")


def test_catalogue_reading(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ID,RA,DEC,mag_r,e_r,pmRA\na,10,-5,18.0,0.01,100\nb,11,-6,0,0.01,0\n")
    cat = read_catalogue(path, bands={"r": "mag_r"}, errors={"r": "e_r"})
    assert cat.name.tolist() == ["a", "b"]
    assert cat.magnitude[0, 0] == 18.0
    assert np.isnan(cat.magnitude[1, 0])
    assert cat.error[0, 0] == 0.01
    assert cat.pm_ra[0] == 100
    assert read_catalogue(path, bands={"gaiadr3-RP": "mag_r"}, system="Vega").magnitude[0, 0] > 18.3
    assert guess_bands(path, ["decam-r"]) == {"decam-r": "mag_r"}
    assert guess_errors(path, {"decam-r": "mag_r"}) == {"decam-r": "e_r"}
    assert guess_errors(path, {"decam-i": "mag_i"}) == {}
    with pytest.raises(DataFileError, match="no column for filter"):
        guess_bands(path, ["decam-z"])
    with pytest.raises(UnknownNameError, match="column 'mag_q'"):
        read_catalogue(path, bands={"r": "mag_q"})
    with pytest.raises(UnknownNameError, match="role"):
        read_catalogue(path, bands={"r": "mag_r"}, columns={"radius": "RA"})
    with pytest.raises(UnknownNameError, match="column 'RAX'"):
        read_catalogue(path, bands={"r": "mag_r"}, columns={"ra": "RAX"})
    with pytest.raises(UnknownNameError, match="magnitude system"):
        read_catalogue(path, bands={"r": "mag_r"}, system="Jansky")
    with pytest.raises(ConfigError, match="no bands"):
        read_catalogue(path, bands={})
    with pytest.raises(DataFileError, match="not a number"):
        read_catalogue(path, bands={"r": "ID"})
    (tmp_path / "b.csv").write_text("name,mag_r\na,18\n")
    with pytest.raises(DataFileError, match="no column for ra"):
        read_catalogue(tmp_path / "b.csv", bands={"r": "mag_r"})
    (tmp_path / "c.fits").write_text("nonsense")
    with pytest.raises(DataFileError, match="not a readable table"):
        read_catalogue(tmp_path / "c.fits", bands={"r": "mag_r"})


def test_extinction_curve_has_r_3_1():
    # A(B) - A(V) = E(B-V) at the effective wavelengths of B and V, to the 3 % that broad bands differ
    a = fitzpatrick99([4400.0, 5500.0])
    assert a[0] - a[1] == pytest.approx(1.0, abs=0.04)
    assert a[1] == pytest.approx(3.04, abs=0.05)
    assert redden(np.array([5500.0]), 0.1)[0] == pytest.approx(10 ** (-0.4 * 0.1 * a[1]))
    assert galactic_law("fitzpatrick99") is fitzpatrick99
    with pytest.raises(UnknownNameError, match="extinction law"):
        galactic_law("ccm")
    with pytest.raises(InputError, match="wavelength 1000"):
        fitzpatrick99([1000.0])


def test_site_and_airmass(tmp_path):
    path = tmp_path / "site.dat"
    path.write_text("# A mag\n4000 0.4\n5000 0.2\n6000 0.1\n")
    site = read_site(path)
    assert site.factor([5000.0], 2.0)[0] == pytest.approx(10 ** (-0.16))
    assert airmass(60.0) == pytest.approx(2.0, abs=0.01)
    with pytest.raises(InputError, match="airmass nan"):
        site.factor([5000.0], float("nan"))
    with pytest.raises(InputError, match="85 degrees"):
        airmass(89.0)
    with pytest.raises(InputError, match="shapes"):
        SiteExtinction("x", np.array([1.0]), np.array([1.0]))
    with pytest.raises(InputError, match="do not increase"):
        SiteExtinction("x", np.array([2.0, 1.0]), np.array([1.0, 1.0]))
    path.write_text("a b\n")
    with pytest.raises(DataFileError, match="not an extinction table"):
        read_site(path)
    path.write_text("4000 0.4\n")
    with pytest.raises(DataFileError, match="fewer than two rows"):
        read_site(path)


def test_refraction_is_an_arcminute_and_grows_to_the_blue():
    r = refraction(np.array([4000.0, 5500.0, 8000.0]), pressure=1013.25, temperature=15.0)
    assert r[1] == pytest.approx(57.3, abs=0.5)  # 206265 (n - 1) with n - 1 = 2.78e-4
    assert r[0] - r[2] == pytest.approx(1.5, abs=0.3)


def test_resampling_conserves_flux(rng):
    wave = np.cumsum(rng.uniform(0.5, 1.5, 500)) + 4000
    flux = rng.uniform(1, 2, (3, 500))
    new = np.arange(4050.3, 4400.0, 2.7)
    out = resample(wave, flux, new)
    assert np.isfinite(out).all()
    from crosscal.fluxcal.stars.resample import pixel_edges

    old_edges, new_edges = pixel_edges(wave), pixel_edges(new)
    low, high = new_edges[0], new_edges[-1]
    # explicit overlap sum
    overlap = np.clip(np.minimum(old_edges[1:], high) - np.maximum(old_edges[:-1], low), 0, None)
    np.testing.assert_allclose(out @ np.diff(new_edges), flux @ overlap, rtol=1e-12)
    assert np.isnan(resample(wave, flux, np.arange(3900.0, 4100.0))[:, 0]).all()
    np.testing.assert_allclose(resample(wave, flux, wave), flux, rtol=1e-10)


def test_air_and_vacuum():
    # H alpha: 6564.614 in vacuum, 6562.801 in air (NIST)
    assert vacuum_to_air(6564.614) == pytest.approx(6562.801, abs=0.002)
    w = np.linspace(3000, 10000, 50)
    np.testing.assert_allclose(air_to_vacuum(vacuum_to_air(w)), w, atol=1e-6)
    np.testing.assert_array_equal(convert_medium(w, "air", "air"), w)
    assert np.all(convert_medium(w, "vacuum", "air") < w)
    assert np.all(convert_medium(w, "air", "vacuum") > w)


def test_gaussian_smoothing_has_the_right_width_and_keeps_precision():
    spike = np.zeros(401, dtype=np.float32)
    spike[200] = 1
    out = gaussian_smooth(spike, 3.0)
    assert out.dtype == np.float32
    x = np.arange(401) - 200
    assert out.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.sum(out * x**2) == pytest.approx(9.0, rel=1e-3)
    np.testing.assert_allclose(gaussian_smooth(np.ones(50), 4.0), 1.0, atol=1e-12)
    np.testing.assert_array_equal(gaussian_smooth(spike, 0.0), spike)


@pytest.mark.parametrize("fwhm", [4.0, "changing"])
def test_lsf_width_in_angstrom(fwhm):
    wave = log_grid(4000.0, 8000.0, 5e-5)
    width = np.linspace(3.0, 7.0, wave.size) if fwhm == "changing" else np.full(wave.size, 4.0)
    for centre in (4700.0, 7300.0):
        k = int(np.searchsorted(wave, centre))
        spike = np.zeros(wave.size)
        spike[k] = 1.0
        out = convolve_lsf(wave, spike, width)
        sd = np.sqrt(np.sum(out * (wave - wave[k]) ** 2) / out.sum())
        # 1 %: the ladder of widths is exact in the second moment; the width changes inside the kernel
        assert sd * 2.3548 == pytest.approx(width[k], rel=0.01)
    np.testing.assert_array_equal(convolve_lsf(wave, spike, 3.0, native_fwhm=5.0), spike)


def test_quantities_keep_their_units():
    from astropy import units as u

    from crosscal.fluxcal.demo import demo_filters

    band = demo_filters()[0]
    wave = np.linspace(band.wavelength[0] - 50, band.wavelength[-1] + 50, 400)
    flux = np.full(400, 3e-16)
    plain = ab_magnitude(band, wave, flux)
    given = ab_magnitude(band, (wave / 10) * u.nm, (flux * 10) * u.Unit("erg / (s cm2 nm)"))
    assert given == pytest.approx(plain, abs=1e-12)
    with pytest.raises(InputError, match="ab_magnitude: a quantity in Jy"):
        ab_magnitude(band, wave, flux * u.Jy)
