"""Columns whose content contradicts their name are converted and told, or refused in one sentence."""

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError
from crosscal.lightcurves.reading import read

TIMES = 58000.0 + np.array([1.0, 2.5, 4.0, 7.25])
FLUX = np.array([1.0, 1.1, 0.9, 1.2])


@pytest.fixture
def table(tmp_path):
    def make(header, *columns, delimiter=","):
        path = tmp_path / "table.csv"
        rows = [delimiter.join(str(cell) for cell in row) for row in zip(*columns, strict=True)]
        path.write_text("\n".join([delimiter.join(header), *rows]) + "\n")
        return path

    return make


def errors(size=0.02):
    return np.full(4, size)


def test_julian_dates_called_modified_ones_are_julian_dates(table):
    curves = read(table(("MJD", "flux", "error"), TIMES + 2400000.5, FLUX, errors()))
    assert str(curves.system) == "JD"
    assert any("read as Julian Dates" in note for note in curves.notes)


def test_short_julian_dates_have_their_zero(table):
    curves = read(table(("HJD", "flux", "error"), TIMES, FLUX, errors()))
    assert str(curves.system) == "HJD - 2400000"
    assert any("JD - 2400000" in note for note in curves.notes)


def test_dates_of_no_age_are_told(table):
    curves = read(table(("MJD", "flux", "error"), TIMES - 57990, FLUX, errors()))
    assert any("outside 1900 to 2100" in note for note in curves.notes)


@pytest.mark.parametrize("name", ["MJD", "JD", "time"])
def test_two_kinds_of_dates_in_one_column_are_refused(table, name):
    mixed = TIMES + np.array([0, 0, 2400000.5, 2400000.5])
    with pytest.raises(DataFileError, match="2 times are Julian Dates and 2 are modified"):
        read(table((name, "flux", "error"), mixed, FLUX, errors()))


@pytest.mark.parametrize("name", ["date_obs", "Date", "UTC"])
def test_calendar_dates_are_read(table, name):
    dates = ["2018-03-01T12:00:00", "2018-03-02 06:00:00.5", "2018-03-04", "2018-03-05T00:00:00Z"]
    curves = read(table((name, "flux", "error"), dates, FLUX, errors()))
    assert str(curves.system) == "MJD (UTC)"
    assert any("calendar dates" in note and "UTC" in note for note in curves.notes)
    np.testing.assert_allclose(curves.continuum.time[[0, 2]], [58178.5, 58181.0], atol=1e-9)
    for wrong in ("2018-02-31", "01/03/2018", "58178.5"):
        with pytest.raises(
            DataFileError, match=rf"row 2, column '{name}': '{wrong}' is not a date; expected dates in UTC such"
        ):
            read(table((name, "flux", "error"), [wrong, *dates[1:]], FLUX, errors()))
    with pytest.raises(
        DataFileError, match="times such as 20180301 may be calendar dates; expected dates such as 2018-"
    ):
        read(table((name, "flux", "error"), ["20180301", "20180302", "20180304", "20180305"], FLUX, errors()))
    with pytest.raises(InputError, match=r"time_format 'mjd'.*none: the column holds calendar dates"):
        read(table((name, "flux", "error"), dates, FLUX, errors()), time_format="mjd")


@pytest.mark.parametrize(
    ("name", "size"),
    [("err_percent", 2.0), ("flux_err_pct", 2.0), ("error [%]", 2.0), ("rel_err", 0.02), ("fractional_error", 0.02)],
)
def test_relative_errors_are_multiplied_by_the_flux(table, name, size):
    curves = read(table(("mjd", "flux", name), TIMES, FLUX, errors(size)))
    np.testing.assert_allclose(curves.continuum.error, 0.02 * FLUX, rtol=1e-12)
    assert any("relative" in note for note in curves.notes)


def test_errors_of_relative_fluxes_are_absolute(table):
    curves = read(table(("mjd", "rel_flux", "rel_flux_err"), TIMES, FLUX, errors()))
    np.testing.assert_allclose(curves.continuum.error, 0.02)
    assert curves.continuum.unit == ""


def test_relative_errors_of_magnitudes(table):
    curves = read(table(("mjd", "mag", "err_percent"), TIMES, 16 + FLUX, errors(2.0)))
    np.testing.assert_allclose(curves.continuum.error / curves.continuum.flux, 0.02, rtol=1e-9)


@pytest.mark.parametrize("name", ["log_flux", "log10_flux", "flux_log10", "flux [dex]"])
def test_logarithms_of_fluxes_are_refused(table, name):
    with pytest.raises(DataFileError, match="holds logarithms"):
        read(table(("mjd", name, "error"), TIMES, np.log10(FLUX), errors()))


def test_decimal_commas_between_semicolons(table):
    def comma(values):
        return [f"{v:.3f}".replace(".", ",") for v in values]

    curves = read(table(("MJD", "flux", "error"), comma(TIMES), comma(FLUX), comma(errors()), delimiter=";"))
    np.testing.assert_allclose(curves.continuum.flux, FLUX)
    np.testing.assert_allclose(curves.continuum.time, TIMES)
    assert any("decimal commas are read as points" in note for note in curves.notes)
    thousands = ["10,123", "11,456", "12,000", "9,800"]
    with pytest.raises(DataFileError, match=r"'10,123' may be 10.123 or 10123"):
        read(table(("MJD", "flux", "error"), TIMES.astype(int), thousands, np.full(4, 2), delimiter=";"))


def test_columns_of_words_that_may_name_telescopes_are_told(table):
    sites = ["Calar Alto", "La Palma", "Calar Alto", "La Palma"]
    curves = read(table(("mjd", "flux", "error", "Standort"), TIMES, FLUX, errors(), sites))
    assert any("Standort" in note and "Calar Alto" in note for note in curves.notes)
    apart = read(table(("mjd", "flux", "error", "Standort"), TIMES, FLUX, errors(), sites),
                 columns={"telescope": "Standort"})  # fmt: skip
    assert set(apart.codes) == {"Calar Alto", "La Palma"}
    assert not any("Standort" in note for note in apart.notes)


@pytest.mark.parametrize("name", ["ivar", "flux_ivar", "FLUX_IVAR", "flux_invvar", "inverse_variance"])
def test_inverse_variances_are_turned_into_errors(table, name):
    curves = read(table(("mjd", "flux", name), TIMES, FLUX, [2500.0, 2500.0, 0.0, 400.0]))
    # Without weight a point is no measurement.
    np.testing.assert_allclose(curves.continuum.error, [0.02, 0.02, 0.05])
    assert any(f"{name} holds inverse variances" in note for note in curves.notes)
    assert any("without an error" in note for note in curves.notes)


def test_errors_go_before_inverse_variances(table):
    curves = read(table(("mjd", "flux", "flux_err", "flux_ivar"), TIMES, FLUX, errors(), errors(4.0)))
    np.testing.assert_allclose(curves.continuum.error, 0.02)
    assert any("'flux_ivar' is not used" in note for note in curves.notes)
    path = table(("mjd", "flux", "noise", "weight_ivar"), TIMES, FLUX, errors(9.0), errors(2500.0))
    curves = read(path, columns={"error": "weight_ivar"})
    np.testing.assert_allclose(curves.continuum.error, 0.02)


@pytest.mark.parametrize(
    ("flux", "error"),
    [
        ("flux_nmgy", "ivar"), ("flux [nmgy]", "ivar"), ("flux [nanomaggies]", "flux_ivar [1/nanomaggies^2]"),
        ("psfFlux [nanomaggy]", "psfFluxIvar"), ("nanomaggies", "ivar"),
    ],
)  # fmt: skip
def test_nanomaggies_are_turned_into_microjansky(table, flux, error):
    curves = read(table(("mjd", flux, error), TIMES, FLUX, errors(2500.0)))
    np.testing.assert_allclose(curves.continuum.flux, 3.631 * FLUX)
    np.testing.assert_allclose(curves.continuum.error, 3.631 * 0.02)
    assert curves.continuum.unit == "uJy"
    assert any("from nanomaggies to uJy" in note for note in curves.notes)


def test_units_of_inverse_variances(table):
    curves = read(table(("mjd", "flux [mJy]", "ivar [uJy-2]"), TIMES, FLUX, errors(2500e-6)))
    np.testing.assert_allclose(curves.continuum.error, 0.02)
    with pytest.raises(DataFileError, match="inverse variances in 'furlong'"):
        read(table(("mjd", "flux [mJy]", "ivar [furlong]"), TIMES, FLUX, errors()))
