"""Catalogues as archives and people give them: units, sexagesimal positions, fluxes, missing values, names by case."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from crosscal.core.errors import DataFileError
from crosscal.fluxcal.stars.catalogue import guess_bands, guess_errors, read_catalogue

MAG = np.array([17.0, 17.5, 18.0])
RA, DEC = np.array([150.0, 150.1, 150.2]), np.array([-30.0, -30.1, -30.2])
BANDS = {"sdss-g": "g", "sdss-r": "r"}


def table(**columns):
    return Table({"ra": RA, "dec": DEC, "g": MAG, "r": MAG - 0.4} | columns)


def found(catalogue, *filters, **options):
    bands = guess_bands(catalogue, list(filters or BANDS), some=True)
    return read_catalogue(catalogue, bands=bands, errors=guess_errors(catalogue, bands), **options)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (RA / 15 * u.hourangle, DEC * u.deg), (RA / 15 * u.hour, DEC * u.deg),
        (np.radians(RA) * u.rad, np.radians(DEC) * u.rad),
        (RA * 3600 * u.arcsec, DEC), (["10:00:00", "10:00:24", "10:00:48"], ["-30:00:00", "-30:06:00", "-30:12:00"]),
        (["10 00 00.0", "10 00 24.0", "10 00 48.0"], ["-30 00 00", "-30 06 00", "-30 12 00"]),
        (["10h00m00s", "10h00m24s", "10h00m48s"], ["-30d00m00s", "-30d06m00s", "-30d12m00s"]),
        ([str(x) for x in RA], [str(x) for x in DEC]),
    ],
)  # fmt: skip
def test_positions_in_any_unit(ra, dec):
    catalogue = found(table(ra=ra, dec=dec))
    np.testing.assert_allclose(catalogue.ra, RA, atol=1e-9)
    np.testing.assert_allclose(catalogue.dec, DEC, atol=1e-9)


def test_positions_that_are_no_angles():
    with pytest.raises(DataFileError, match="values in 'kg'"):
        found(table(ra=RA * u.kg))
    with pytest.raises(DataFileError, match="positions that are not angles"):
        found(table(ra=["10:00:00", "10:99:99", "x"]))


@pytest.mark.parametrize(
    ("unit", "size"),
    [("nJy", 3631e9), ("uJy", 3631e6), ("mJy", 3631e3), ("Jy", 3631.0), ("nmgy", 1e9), ("nanomaggies", 1e9)],
)
@pytest.mark.parametrize("kind", ["error", "ivar", "snr", "none"])
def test_fluxes_become_magnitudes(unit, size, kind):
    flux = size * 10 ** (-0.4 * MAG)
    given = table(g=flux, r=flux)
    given["g"].unit = given["r"].unit = u.Unit(unit, parse_strict="silent")
    errors = {
        "error": ("g_err", 0.01 * flux),
        "ivar": ("g_ivar", (0.01 * flux) ** -2),
        "snr": ("g_snr", 100.0 + 0 * flux),
    }
    named = {}
    if kind != "none":
        name, values = errors[kind]
        given[name] = values
        named = {"sdss-g": name}
    catalogue = read_catalogue(given, bands=BANDS, errors=named)
    np.testing.assert_allclose(catalogue.magnitude, np.stack([MAG, MAG], axis=1), atol=1e-9)
    np.testing.assert_allclose(catalogue.error[:, 0], 0.02 if kind == "none" else 0.01 * 2.5 / np.log(10), rtol=1e-9)
    assert any("turned into AB magnitudes" in note for note in catalogue.notes)


@pytest.mark.parametrize("name", ["psfFlux_g", "FLUX_G", "g_psfFlux", "gFlux"])
def test_fluxes_without_a_unit_are_no_magnitudes(name):
    given = table()
    given[name] = [12.0, 14.0, 20.0]
    with pytest.raises(DataFileError, match="fluxes in an unknown unit"):
        read_catalogue(given, bands={"sdss-g": name})


def test_errors_in_other_units():
    given = table(g=MAG * u.mag, g_err=[10.0, 20.0, 3.0] * u.mmag)
    np.testing.assert_allclose(found(given).error[:, 0], [0.01, 0.02, 0.003])
    with pytest.raises(DataFileError, match="errors in mJy of magnitudes"):
        found(table(g_err=[0.1, 0.1, 0.1] * u.mJy))
    given = table(g_ivar=[1e4, 1e4, 0.0])
    catalogue = read_catalogue(given, bands=BANDS, errors={"sdss-g": "g_ivar"})
    np.testing.assert_allclose(catalogue.error[:, 0], [0.01, 0.01, 0.02])
    assert any("1 of 3 errors in sdss-g are missing" in note for note in catalogue.notes)


def test_capitals_are_other_bands():
    # Gaia's G beside g of another survey, in either order.
    for columns in ({"gmag": MAG, "Gmag": MAG - 0.2}, {"Gmag": MAG - 0.2, "gmag": MAG}):
        given = Table({"ra": RA, "dec": DEC, **columns, "e_Gmag": [0.5] * 3, "e_gmag": [0.01] * 3})
        assert guess_bands(given, ["sdss-g"]) == {"sdss-g": "gmag"}
        assert guess_errors(given, {"sdss-g": "gmag"}) == {"sdss-g": "e_gmag"}
    johnson = Table({"ra": RA, "dec": DEC, "B": MAG, "V": MAG, "R": MAG, "I": MAG})
    with pytest.raises(DataFileError, match="no column of magnitudes was recognised"):
        guess_bands(johnson, ["sdss-r", "sdss-i"], some=True)
    with pytest.raises(DataFileError, match="no column for filter 'sdss-g'"):
        guess_bands(Table({"ra": RA, "dec": DEC, "G": MAG}), ["sdss-g"])
    capitals = Table({"RA": RA, "DEC": DEC, "G": MAG, "R": MAG, "MAG_I": MAG})
    assert guess_bands(capitals, ["sdss-g", "sdss-r", "sdss-i"]) == {"sdss-g": "G", "sdss-r": "R", "sdss-i": "MAG_I"}


def test_redshifts_are_no_magnitudes():
    given = table(z=[0.01, 0.02, 0.03])
    with pytest.raises(DataFileError, match=r"values of sdss-z \(median 0.02\) are 17 mag"):
        found(given, "sdss-g", "sdss-r", "sdss-z")
    with pytest.raises(DataFileError, match="values of sdss-z"):
        found(given, "sdss-g", "sdss-z")
    catalogue = found(table(z=[16.0, -1.0, 17.0]), "sdss-g", "sdss-r", "sdss-z")
    assert np.isnan(catalogue.magnitude[1, 2])
    assert any("treated as missing (-1)" in note for note in catalogue.notes)


def test_missing_reddening_and_motion():
    catalogue = found(table(ebv=[-999.0, 0.02, 99.0], pmra=[-999.0, 5.0, 20000.0], pmdec=[-9999.0, 3.0, 1.0]))
    np.testing.assert_array_equal(catalogue.ebv, [np.nan, 0.02, np.nan])
    np.testing.assert_array_equal(catalogue.pm_ra, [0.0, 5.0, 0.0])
    np.testing.assert_array_equal(catalogue.pm_dec, [0.0, 3.0, 1.0])
    assert sum("are missing (" in note for note in catalogue.notes) == 3
    motion = found(table(pmra=[0.005, 0.1, 0.0] * u.arcsec / u.yr, pmdec=[0.0, 0.0, 0.0]))
    np.testing.assert_allclose(motion.pm_ra, [5.0, 100.0, 0.0])


def test_epochs_in_columns():
    gaia = table(phot_g_mean_mag=MAG, phot_bp_mean_mag=MAG, ref_epoch=[2015.5] * 3, pmra=[5.0] * 3, pmdec=[1.0] * 3)
    catalogue = read_catalogue(gaia, bands={"gaiadr3-G": "phot_g_mean_mag"})
    assert catalogue.epoch == 2015.5
    assert any("Gaia DR2" in note for note in catalogue.notes)
    several = table(epoch=[2012.1, 2012.2, 2014.0], pmra=[500.0, 3.0, 1.0], pmdec=[1.0] * 3)
    with pytest.raises(DataFileError, match=r"epochs of positions from 2012.1 to 2014"):
        found(several)
    assert found(table(epoch=[2012.1, 2012.2, 2014.0])).epoch == 2000.0


def test_magnitudes_without_extinction_are_told():
    catalogue = read_catalogue(table(dered_g=MAG), bands={"sdss-g": "dered_g"})
    assert any("corrected for extinction" in note for note in catalogue.notes)


@pytest.mark.parametrize("word", ["null", "--", "N/A", "", "nan", "...", ">21"])
def test_words_for_missing_values(tmp_path, word):
    path = tmp_path / "c.csv"
    path.write_text(f"ra,dec,g,r\n150.0,-30.0,17.0,{word}\n150.1,-30.1,17.5,17.1\n")
    np.testing.assert_array_equal(found(path).magnitude, [[17.0, np.nan], [17.5, 17.1]])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffra,dec,g,r\n150.0,-30.0,17.0,16.6\n150.1,-30.1,17.5,17.1\n",
        "ra;dec;g;r\n150,0;-30,0;17,0;16,6\n150,1;-30,1;17,5;17,1\n",
        "# my stars\nra,dec,g,r\n150.0,-30.0,17.0,16.6\n150.1,-30.1,17.5,17.1\n",
        "ra\tdec\tg\tr\n150.0\t-30.0\t17.0\t16.6\n150.1\t-30.1\t17.5\t17.1\n",
    ],
)
def test_text_in_any_layout(tmp_path, text):
    path = tmp_path / "c.csv"
    path.write_text(text)
    catalogue = found(path)
    np.testing.assert_allclose(catalogue.magnitude, [[17.0, 16.6], [17.5, 17.1]])
    np.testing.assert_allclose(catalogue.ra, [150.0, 150.1])


def test_words_are_no_magnitudes(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("ra,dec,g\ndeg,deg,mag\n150.0,-30.0,17.0\n")
    with pytest.raises(DataFileError, match="column g, row 1: 'mag' is not a number"):
        found(path)
