"""Columns of published catalogues, magnitude systems, missing values, tables in memory."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from crosscal.core.errors import ConfigError, DataFileError
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.catalogue import guess_bands, guess_errors, read_catalogue
from crosscal.fluxcal.stars.systems import identify, recognise, surveys, vega_offsets


@pytest.mark.parametrize(
    ("name", "family", "letter", "system"),
    [
        ("gaiadr3-G", "gaiadr3", "G", "Vega"), ("GAIA/GAIA3.Gbp", "gaiadr3", "BP", "Vega"),
        ("gaia_rp", "gaiadr2", "RP", "Vega"), ("2mass_k", "twomass", "Ks", "Vega"),
        ("2MASS/2MASS.Ks", "twomass", "Ks", "Vega"), ("bessell-V", "bessell", "V", "Vega"),
        ("ps1_g", "panstarrs", "g", "AB"), ("PAN-STARRS/PS1.y", "panstarrs", "y", "AB"), ("DES_i", "des", "i", "AB"),
        ("SLOAN/SDSS.z", "sdss", "z", "AB"), ("lsst2023-u", "other", "u", "AB"), ("r", "other", "r", "AB"),
    ],
)  # fmt: skip
def test_filters_are_known_by_their_names(name, family, letter, system):
    band = identify(name)
    assert (band.family, band.letter, band.system) == (family, letter, system)
    assert (band.offset != 0) == (system == "Vega")
    assert bool(band.source) == (system == "Vega")


@pytest.mark.parametrize("name", ["my-g", "R", "V", "gaiadr3-X", "", "2mass_y", "-"])
def test_other_filters_are_not(name):
    assert identify(name) is None


def test_known_filters_are_in_speclite():
    pytest.importorskip("speclite")
    from crosscal.fluxcal.stars.filters import load_filter

    for name in vega_offsets():
        assert load_filter(name).pivot > 3000
    assert load_filter("GAIA/GAIA3.G").pivot == load_filter("gaiadr3-G").pivot


@pytest.fixture
def refcat2():
    return Table(
        {
            "objid": [1, 2, 3], "RA": [10.0, 11.0, 12.0], "Dec": [1.0, 2.0, 3.0], "pmra": [5.0, 0.0, 0.0],
            "pmdec": [1.0, 0.0, 0.0], "Gaia": [17.0, 17.5, 99.9], "dGaia": [0.01, 0.01, 9.9],
            "BP": [17.3, 17.8, 18.0], "dBP": [0.02, 0.02, 0.02], "RP": [16.6, 17.0, 17.2], "dRP": [0.01, 9.9, 0.01],
            "g": [17.2, 99.9, 18.0], "dg": [0.01, 9.9, 0.01], "z": [16.9, 17.2, -42.0], "dz": [0.01, 0.0, 0.01],
        }
    )  # fmt: skip


def test_refcat2(refcat2, tmp_path):
    refcat2.write(tmp_path / "refcat2.csv")
    for source in (refcat2, tmp_path / "refcat2.csv"):
        bands = guess_bands(source, ["ps1_g", "ps1_z", "gaia_g", "gaia_bp", "gaia_rp", "2mass_j"], some=True)
        assert bands == {"ps1_g": "g", "ps1_z": "z", "gaia_g": "Gaia", "gaia_bp": "BP", "gaia_rp": "RP"}
        errors = guess_errors(source, bands)
        assert errors == {"ps1_g": "dg", "ps1_z": "dz", "gaia_g": "dGaia", "gaia_bp": "dBP", "gaia_rp": "dRP"}
        found = read_catalogue(source, bands=bands, errors=errors)
        expected = [
            [17.2, 16.9, 17.105, 17.3292, 16.9542], [np.nan, 17.2, 17.605, 17.8292, np.nan],
            [18.0, np.nan, np.nan, 18.0292, 17.5542],
        ]  # fmt: skip
        np.testing.assert_allclose(found.magnitude, expected, atol=1e-9)
        assert found.error[1, 1] == 0.02, "no error quoted: the default"
        assert found.epoch == 2015.5
        assert found.pm_ra[0] == 5.0
        assert "1 of 3 magnitudes in ps1_g are missing (99.9)" in found.notes
        assert "1 of 3 magnitudes in gaia_rp are missing (17)" in found.notes
        assert any("gaia_g: Vega magnitudes, AB = Vega +0.105 (Evans" in n for n in found.notes)
        assert any("epoch 2015.5" in n for n in found.notes)


def test_the_letter_of_a_vega_filter_is_no_column(refcat2, tmp_path):
    plain = Table({"ra": [1.0], "dec": [2.0], "g": [17.0]})
    with pytest.raises(DataFileError, match="no column for filter 'gaia_g'"):
        guess_bands(plain, ["gaia_g"])
    with pytest.raises(DataFileError, match="no column of magnitudes was recognised"):
        guess_bands(plain, ["gaia_g", "2mass_j"], some=True)


def test_every_survey_is_recognised_and_read():
    for survey in surveys():
        pairs = {f"{family}-{letter}": c for (family, letter), c in survey.bands.items()}
        names = {*survey.signature, *survey.columns.values(), *(c for pair in pairs.values() for c in pair)}
        table = Table({c: [15.0, 16.0] for c in names})
        assert recognise(table.colnames) == survey
        bands = guess_bands(table, list(pairs))
        assert bands == {band: pair[0] for band, pair in pairs.items()}
        found = read_catalogue(table, bands=bands, errors=guess_errors(table, bands), system="AB")
        assert found.magnitude.shape == (2, len(pairs))


def test_flux_over_error_is_no_error():
    table = Table({"source_id": [1], "ra": [1.0], "dec": [1.0], "phot_g_mean_mag": [17.0], "phot_bp_mean_mag": [17.2]})
    table["phot_g_mean_flux_over_error"] = [500.0]
    bands = {"gaiadr3-G": "phot_g_mean_mag"}
    found = read_catalogue(table, bands=bands, errors=guess_errors(table, bands))
    assert found.error[0, 0] == pytest.approx(1.0857 / 500, rel=1e-4)
    assert found.epoch == 2016.0


def test_unknown_system_is_refused_unless_it_is_stated():
    table = Table({"ra": [1.0], "dec": [2.0], "m": [17.0]})
    with pytest.raises(ConfigError, match=r"magnitude system of filter 'my-band' is not known.*CALIBFLUX_SYSTEM"):
        read_catalogue(table, bands={"my-band": "m"})
    assert read_catalogue(table, bands={"my-band": "m"}, system="AB").magnitude[0, 0] == 17.0
    assert read_catalogue(table, bands={"my-band": "m"}, system={"my-band": "AB"}).magnitude[0, 0] == 17.0
    assert read_catalogue(table, bands={"gaiadr3-G": "m"}, system="AB").magnitude[0, 0] == 17.0


def test_tables_in_memory_with_sky_coordinates():
    sky = SkyCoord([150.0, 151.0] * u.deg, [-30.0, -31.0] * u.deg)
    table = Table({"position": sky, "r": MaskedColumn([17.0, 18.0], mask=[False, True])})
    found = read_catalogue(table, bands={"sdss-r": "r"})
    np.testing.assert_allclose(found.ra, [150.0, 151.0])
    np.testing.assert_allclose(found.dec, [-30.0, -31.0])
    assert np.isnan(found.magnitude[1, 0])


def test_what_was_assumed_is_told(truth, library, filters):
    from dataclasses import replace

    catalogue = replace(truth.catalogue, ebv=np.full(len(truth.catalogue), np.nan), notes=("a note",))
    options = Options(fwhm=5.0, reddening="map")
    result = Calibrator(catalogue, library, filters, options).calibrate(truth.frame, loo=False)
    assert "a note" in result.warnings
    assert any("no E(B-V): 0 is assumed" in w for w in result.warnings)
    notes = Calibrator(catalogue, library, filters, Options(fwhm=5.0)).notes
    assert any("no E(B-V): it is fitted to the stars alone" in w for w in notes)
