"""Galactic dust: laws, and E(B-V) from maps of both hemispheres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.fluxcal.stars.dust import read_dust_map, with_dust
from crosscal.fluxcal.stars.extinction import fitzpatrick99, odonnell94

SIZE = 128


def sky(longitude, latitude):
    """A smooth invented E(B-V) in degrees of l and b, without symmetry."""
    l, b = np.deg2rad(longitude), np.deg2rad(latitude)
    return 0.1 + 0.03 * np.cos(b) * np.cos(l - 0.7) + 0.02 * np.sin(b) + 0.01 * np.cos(b) * np.sin(2 * l)


def write_map(path, north):
    """An image on the pixels of the published maps' projection, made by inverting it."""
    sign = 1 if north else -1
    y, x = np.indices((SIZE, SIZE), dtype=float)
    dx, dy = (x - (SIZE - 1) / 2) / (SIZE / 2), (y - (SIZE - 1) / 2) / (SIZE / 2)
    latitude = np.rad2deg(np.arcsin(np.clip(1 - dx**2 - dy**2, -1, 1))) * sign
    longitude = np.rad2deg(np.arctan2(-sign * dy, dx))
    hdu = fits.PrimaryHDU(sky(longitude, latitude).astype(np.float32))
    hdu.header["LAM_NSGP"], hdu.header["LAM_SCAL"] = sign, SIZE / 2
    hdu.header["CRPIX1"] = hdu.header["CRPIX2"] = (SIZE + 1) / 2
    hdu.writeto(path)
    return path


def test_both_hemispheres_are_read_at_positions(tmp_path, rng):
    from astropy.coordinates import SkyCoord

    paths = [write_map(tmp_path / "south.fits", False), write_map(tmp_path / "north.fits", True)]
    ra, dec = rng.uniform(0, 360, 200), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 200)))
    galactic = SkyCoord(ra, dec, unit="deg").galactic
    expected = sky(galactic.l.deg, galactic.b.deg)
    # a pixel is 0.9 degree: interpolation of the second derivative, and the rim of a hemisphere
    np.testing.assert_allclose(read_dust_map(paths, factor=1.0).ebv(ra, dec), expected, atol=5e-4)
    np.testing.assert_allclose(read_dust_map(paths).ebv(ra, dec), 0.86 * expected, atol=5e-4)
    half = read_dust_map(paths[1:]).ebv(ra, dec)
    assert np.all(np.isnan(half) == (galactic.b.deg < 0))


def test_a_catalogue_is_filled_where_it_has_none(tmp_path, truth):
    dust = read_dust_map([write_map(tmp_path / "n.fits", True), write_map(tmp_path / "s.fits", False)])
    ebv = truth.catalogue.ebv.copy()
    ebv[2:] = np.nan
    filled = with_dust(replace(truth.catalogue, ebv=ebv), dust)
    np.testing.assert_array_equal(filled.ebv[:2], truth.catalogue.ebv[:2])
    assert np.all((filled.ebv[2:] > 0.02) & (filled.ebv[2:] < 0.2))
    # the field at RA 150, Dec -30 lies at b = +20
    south = read_dust_map([tmp_path / "s.fits"])
    with pytest.raises(InputError, match="the map does not reach star"):
        with_dust(replace(truth.catalogue, ebv=ebv), south)


def test_maps_are_refused(tmp_path):
    good = write_map(tmp_path / "n.fits", True)
    with pytest.raises(ConfigError, match="no file"):
        read_dust_map([])
    with pytest.raises(ConfigError, match="factor = 0"):
        read_dust_map([good], factor=0)
    with pytest.raises(DataFileError, match="two images of one hemisphere"):
        read_dust_map([good, good])
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "bare.fits")
    with pytest.raises(DataFileError, match="not a dust map"):
        read_dust_map([tmp_path / "bare.fits"])
    with fits.open(good) as hdus:
        header = hdus[0].header
    fits.PrimaryHDU(np.zeros((2, 4, 4)), header).writeto(tmp_path / "cube.fits")
    with pytest.raises(DataFileError, match="two dimensions"):
        read_dust_map([tmp_path / "cube.fits"])


def test_laws_agree_in_the_optical_and_refuse_beyond():
    wave = np.linspace(4000.0, 9500.0, 50)
    # the two curves differ by a few per cent there, and are equal in V by definition
    np.testing.assert_allclose(odonnell94(wave), fitzpatrick99(wave), rtol=0.12)
    assert odonnell94(np.array([5494.5]))[0] == pytest.approx(3.1, abs=0.01)
    # continuous where one formula follows another: at 3030 A and 9091 A
    for joint in (1e4 / 3.3, 1e4 / 1.1):
        below, above = odonnell94(np.array([joint - 0.01, joint + 0.01]))
        assert below == pytest.approx(above, rel=0.01)
    with pytest.raises(InputError, match="1700 to 33000"):
        odonnell94(np.array([1000.0]))
