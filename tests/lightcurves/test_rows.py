"""What rows and names of columns say beside the numbers is used, refused, or told."""

import numpy as np
import pytest

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.reading import read

N = 8
TIME = 58000.0 + np.array([1.0, 2.5, 4.0, 7.25, 9.0, 12.5, 13.0, 20.0])
FLUX = np.array([1.0, 1.1, 0.9, 1.2, 1.05, 0.95, 1.0, 1.1])
ERROR = np.full(N, 0.02)
MAG = -2.5 * np.log10(FLUX / 3631e3)


@pytest.fixture
def reading(tmp_path):
    def read_columns(table, sep=",", head="", suffix="csv", **choices):
        rows = [sep.join(str(cell) for cell in row) for row in zip(*table.values(), strict=True)]
        path = tmp_path / f"t.{suffix}"
        path.write_text(head + "\n".join([sep.join(table), *rows]) + "\n")
        return read(path, **choices)

    return read_columns


def base(**more):
    return {"MJD": TIME, "flux": FLUX, "error": ERROR} | more


@pytest.mark.parametrize(
    "before",
    [
        {"MJD_err": 0.5}, {"t_err": 0.5}, {"e_RAJ2000": 0.3}, {"ra_err": 0.3, "dec_err": 0.3}, {"bkg_err": 0.5},
        {"background": 0.1, "background_error": 0.5}, {"sky": 9.0, "e_sky": 3.0}, {"fwhm_err": 0.2},
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", ["error", "e_flux", "flux_err", "dflux", "fluxerr", "sigma", "flux_uncertainty"])
def test_errors_of_other_quantities_are_none_of_the_fluxes(reading, before, own):
    first = {name: np.full(N, value) for name, value in before.items()}
    curves = reading({**first, "MJD": TIME, "flux": FLUX, own: ERROR})
    np.testing.assert_allclose(curves.continuum.error, 0.02)


@pytest.mark.parametrize(
    ("names", "sizes", "expected"),
    [
        (("stat_err", "sys_err"), (0.016, 0.012), 0.02),
        (("flux_err_sys", "flux_err_stat"), (0.012, 0.016), 0.02),
        (("err_stat", "err_syst"), (0.016, 0.012), 0.02),
        (("err_stat", "err_tot"), (0.016, 0.02), 0.02),
        (("error", "sys_err"), (0.02, 0.5), 0.02),
    ],
)
def test_random_and_systematic_errors(reading, names, sizes, expected):
    columns = {name: np.full(N, size) for name, size in zip(names, sizes, strict=True)}
    curves = reading({"MJD": TIME, "flux": FLUX, **columns})
    np.testing.assert_allclose(curves.continuum.error, expected, rtol=1e-12)
    assert any("added in quadrature" in note or "unused columns" in note for note in curves.notes)


LIMITS = np.array([0, 1, 0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("l_flux", ("", "<")), ("upper_limit", ("0", "1")), ("UL", ("0", "1")), ("uplim", ("False", "True")),
        ("is_limit", ("f", "t")), ("upperlimit", ("no", "yes")), ("nondetection", ("0", "1")), ("limit", ("", "<")),
        ("detected", ("1", "0")), ("detection", ("True", "False")),
    ],
)  # fmt: skip
def test_flags_of_limits_are_used(reading, name, words):
    flux = np.where(LIMITS == 1, 9.0, FLUX)
    curves = reading(base(flux=flux) | {name: [words[k] for k in LIMITS]})
    assert len(curves) == N - 2
    assert curves.continuum.flux.max() < 2
    assert any(f"column {name} flags limits" in note for note in curves.notes)


def test_limiting_magnitudes_are_no_flags(reading):
    assert len(reading(base(limit=np.full(N, 17.5)))) == N


@pytest.mark.parametrize("name", ["good", "mask", "use", "bad", "outlier", "is_good", "masked", "saturated"])
def test_columns_on_quality_are_told(reading, name):
    assert any(f"unused columns: {name}" in note for note in reading(base(**{name: LIMITS})).notes)


@pytest.mark.parametrize(
    "name", ["objid", "oid", "source_id", "ID", "object", "name", "target", "star_id", "source", "diaObjectId"]
)
@pytest.mark.parametrize("values", [(123, 456), ("Mrk 335", "Ark 120")])
def test_several_sources_in_one_file_are_refused(reading, name, values):
    several = {name: [values[k] for k in (0, 0, 0, 0, 1, 1, 1, 1)]}
    with pytest.raises(DataFileError, match=rf"column '{name}' holds several sources \({values[0]}, {values[1]}\)"):
        reading(base(**several))
    assert len(reading(base(**several), columns={"telescope": name}).codes) == 2
    assert len(reading(base(**several), merge_objects=True).codes) == 1
    # One source, or a number of each row.
    assert len(reading(base(**{name: [values[0]] * N})).codes) == 1
    assert len(reading(base(**{name: np.arange(N)})).codes) == 1


@pytest.mark.parametrize("name", ["ccd", "field", "wavelength", "sector", "fibre", "energy_band"])
def test_numbers_that_may_tell_light_curves_apart_are_told(reading, name):
    notes = reading(base(**{name: [1, 2, 1, 2, 1, 2, 1, 2]})).notes
    assert any(f"column '{name}' (1, 2) is not used" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "times", "sentence"),
    [
        ("year", 2018.1 + 0.1 * np.arange(N), "may be years"),
        ("date", 2018.1 + 0.1 * np.arange(N), "may be years"),
        ("epoch", 1998.0 + np.arange(N), "may be years"),
        ("date", 20180301 + np.arange(N), "times such as 20180301 may be calendar dates"),
        ("time", 20180301 + np.arange(N), "times such as 20180301 may be calendar dates"),
        ("time", 86400.0 * (TIME - 58000), "more than two centuries"),
        ("time", 86400.0 * (TIME - 40587), "more than two centuries"),
    ],
)
def test_times_that_count_no_days_are_refused(reading, name, times, sentence):
    with pytest.raises(DataFileError, match=sentence):
        reading({name: times, "flux": FLUX, "error": ERROR})


def test_times_of_the_size_of_years_are_told(reading):
    notes = reading({"time": 2018.1 + 0.1 * np.arange(N), "flux": FLUX, "error": ERROR}).notes
    assert any("if they are years, convert them" in note for note in notes)


@pytest.mark.parametrize(
    ("value", "error"), [(-999, -999), (-999, 0.02), (9999, 9999), (99, 99), (99.99, 9.99), (-99.9, -99.9)]
)
def test_marks_of_missing_fluxes(reading, value, error):
    flux, errors = FLUX.astype(object), ERROR.astype(object)
    flux[2], errors[2] = value, error
    curves = reading(base(flux=flux, error=errors))
    assert len(curves) == N - 1
    assert any("1 with" in note for note in curves.notes)


def test_large_fluxes_are_no_marks(reading):
    assert len(reading(base(flux=100 * FLUX - 1, error=100 * ERROR))) == N


def test_a_magnitude_of_zero_is_missing(reading):
    magnitudes = np.where(np.arange(N) == 3, 0.0, MAG)
    assert len(reading({"MJD": TIME, "mag": magnitudes, "mag_err": ERROR})) == N - 1


@pytest.mark.parametrize("name", ["zp", "zeropoint", "ZP", "zero_point"])
@pytest.mark.parametrize("system", ["ab", "AB"])
def test_zero_points_of_rows_are_used(reading, name, system):
    zero = 25.0 + np.arange(N) % 3
    counts = FLUX * 1e3 * 10 ** (0.4 * (zero - 23.9))
    curves = reading(base(flux=counts, error=0.02 * counts, **{name: zero, "zpsys": [system] * N}))
    np.testing.assert_allclose(curves.continuum.flux, FLUX * 1e3, rtol=1e-9)
    np.testing.assert_allclose(curves.continuum.error, 0.02 * FLUX * 1e3, rtol=1e-9)
    assert curves.continuum.unit == "uJy"
    assert any("uJy (AB)" in note for note in curves.notes)


def test_zero_points_of_an_unknown_system_are_brought_to_the_first(reading):
    zero = 25.0 + np.arange(N) % 3
    counts = FLUX * 10 ** (0.4 * (zero - 25.0))
    np.testing.assert_allclose(reading(base(flux=counts, error=0.02 * counts, zp=zero)).continuum.flux, FLUX)
    with pytest.raises(DataFileError, match=r"zero points of several systems \(ab, vega\)"):
        reading(base(zp=zero, zpsys=["ab", "vega"] * 4))
    np.testing.assert_allclose(reading(base(zp=np.full(N, 25.0))).continuum.flux, FLUX)


def test_units_of_rows_are_used(reading):
    unit = ["mJy", "uJy"] * 4
    size = np.array([1.0, 1e3] * 4)
    curves = reading(base(flux=FLUX * size, error=ERROR * size, unit=unit))
    np.testing.assert_allclose(curves.continuum.flux, FLUX)
    np.testing.assert_allclose(curves.continuum.error, ERROR)
    assert curves.continuum.unit == "mJy"
    assert reading(base(flux_unit=["mJy"] * N)).continuum.unit == "mJy"
    with pytest.raises(DataFileError, match="units that do not convert into each other"):
        reading(base(unit=["mJy", "ct/s"] * 4))
    with pytest.raises(DataFileError, match="rows without a unit"):
        reading(base(unit=["mJy", ""] * 4))


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("err_90", "", 1.6449), ("error_2sigma", "", 2.0), ("err_3sig", "", 3.0), ("flux_err_90pc", "", 1.6449),
        ("error", "# errors are at 90% confidence\n", 1.6449), ("error", "# 3-sigma uncertainties\n", 3.0),
    ],
)  # fmt: skip
def test_errors_of_a_stated_level_become_standard_errors(reading, name, head, size):
    curves = reading({"MJD": TIME, "flux": FLUX, name: ERROR * size}, head=head)
    np.testing.assert_allclose(curves.continuum.error, 0.02, rtol=1e-4)
    assert any("are divided by" in note for note in curves.notes)


@pytest.mark.parametrize(
    "head",
    ["# errors after 3-sigma clipping\n", "# limits are 3 sigma, errors 1 sigma\n", "# 99% of the night was clear\n"],
)
def test_levels_of_something_else_are_none_of_the_errors(reading, head):
    np.testing.assert_allclose(reading(base(), head=head).continuum.error, 0.02)


def test_signs_of_differences_and_exposures_are_not_overlooked(reading):
    with pytest.raises(DataFileError, match="magnitudes of differences, with signs in column 'isdiffpos'"):
        reading({"MJD": TIME, "mag": MAG, "mag_err": ERROR, "isdiffpos": ["t", "f"] * 4})
    counts = {"MJD": TIME, "counts": 1000 * FLUX, "error": 30 * ERROR}
    with pytest.raises(DataFileError, match="counts of different exposures"):
        reading({**counts, "exposure": [100, 200] * 4})
    assert len(reading({**counts, "exposure": [100] * N})) == N


def test_further_fluxes_and_magnitudes_are_told(reading):
    curves = reading(base(mag=MAG, mag_err=ERROR))
    np.testing.assert_allclose(curves.continuum.flux, FLUX)
    assert any("unused columns: mag, mag_err" in note for note in curves.notes)


@pytest.mark.parametrize(
    ("head", "sep"),
    [("sep=;\n", ";"), ("! ", " "), ("% ", "  "), ("READ TERR 1\n", ","), ("# a title\n\n", ",")],
)
def test_lines_that_frame_a_table(reading, head, sep):
    curves = reading(base(), sep=sep, head=head)
    np.testing.assert_allclose(curves.continuum.flux, FLUX)
    assert str(curves.system) == "MJD"


def test_tables_of_markdown(tmp_path):
    path = tmp_path / "t.md"
    rows = [f"| {t} | {f} | 0.02 |" for t, f in zip(TIME, FLUX, strict=True)]
    path.write_text("\n".join(["| MJD | flux | err |", "|---|:---:|---|", *rows]))
    np.testing.assert_allclose(read(path).continuum.flux, FLUX)


@pytest.mark.parametrize("sep", [" ", "   ", "\t"])
@pytest.mark.parametrize("headed", [True, False])
def test_decimal_commas_between_white_space(tmp_path, sep, headed):
    path = tmp_path / "t.dat"
    rows = [sep.join(f"{x:.3f}".replace(".", ",") for x in row) for row in zip(TIME, FLUX, ERROR, strict=True)]
    path.write_text("\n".join([sep.join(("MJD", "flux", "err"))] * headed + rows))
    curves = read(path)
    np.testing.assert_allclose(curves.continuum.flux, FLUX)
    assert any("decimal commas" in note for note in curves.notes)


@pytest.mark.parametrize("units", [("d", "mJy", "mJy"), ("(d)", "(mJy)", "(uJy)"), ("days", "1e-3 Jy", "mJy")])
def test_units_in_the_row_below_the_header(tmp_path, units):
    path = tmp_path / "t.csv"
    error = 20.0 if "u" in units[2] else 0.02
    rows = [f"{t},{f},{error}" for t, f in zip(TIME, FLUX, strict=True)]
    path.write_text("\n".join(["MJD,flux,err", ",".join(units), *rows]))
    curves = read(path)
    np.testing.assert_allclose(curves.continuum.error, 0.02)
    assert curves.continuum.unit == units[1].strip("()")


def test_magnitudes_without_a_header_are_told(tmp_path):
    path = tmp_path / "t.dat"
    path.write_text("".join(f"{t} {m} 0.02\n" for t, m in zip(TIME, MAG, strict=True)))
    assert any("may be magnitudes" in note for note in read(path).notes)
    np.testing.assert_allclose(read(path, columns={"magnitude": "flux"}).continuum.flux, FLUX)


@pytest.mark.parametrize("names", [("# A", "# B"), ("# telescope: A", "# telescope: B"), ("\n# A 2", "# B 2")])
def test_comments_that_may_begin_other_telescopes(tmp_path, names):
    path = tmp_path / "t.dat"
    path.write_text(f"{names[0]}\n58000 1 0.1\n58001 1.1 0.1\n{names[1]}\n58000 2 0.1\n58001 2.1 0.1\n")
    with pytest.raises(DataFileError, match="may begin other telescopes"):
        read(path)
    path.write_text("# mine\n58000 1 0.1\n# 58000.5 9 9\n58001 1.1 0.1\n# end of season 1, bad weather\n58002 1 0.1\n")
    assert len(read(path)) == 3


def test_blocks_below_a_blank_line_are_told(tmp_path):
    path = tmp_path / "t.dat"
    path.write_text("# A 2\n58000 1 0.1\n58001 1.1 0.1\n\n# B 2\n58000 2 0.1\n58001 2.1 0.1\n")
    curves = read(path)
    assert curves.codes == ("A",)
    assert any("# B 2 is not read" in note for note in curves.notes)


def test_compressed_tables_are_refused(tmp_path):
    import gzip

    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"MJD,flux,err\n58000,1,0.1\n"))
    with pytest.raises(DataFileError, match="the table is compressed"):
        read(path)


def test_errors_in_magnitudes_of_fluxes(reading):
    curves = reading({"MJD": TIME, "flux": FLUX, "mag": MAG, "mag_err": ERROR})
    np.testing.assert_allclose(curves.continuum.error, ERROR * FLUX * np.log(10) / 2.5)
    assert any("errors in magnitudes are converted" in note for note in curves.notes)
    with pytest.raises(DataFileError, match="errors of fluxes beside magnitudes"):
        reading({"MJD": TIME, "mag": MAG, "flux_err": ERROR})


@pytest.mark.parametrize("size", [1e-15, 1e12])
def test_errors_in_another_unit_than_the_fluxes_are_told(reading, size):
    assert any("are they in the same unit" in note for note in reading(base(flux=FLUX * size)).notes)
    assert not any("same unit" in note for note in reading(base(flux=FLUX * size, error=ERROR * size)).notes)


@pytest.mark.parametrize("names", [("LCO", "lco"), ("LCO 1m", "LCO_1m"), ("VIS", "vis")])
def test_telescopes_that_look_alike_are_told(reading, names):
    curves = reading(base(telescope=[names[k % 2] for k in range(N)]))
    assert any(f"{names[0]!r} and {names[1]!r} are treated as different telescopes" in note for note in curves.notes)


def test_a_year_beside_a_time_is_not_the_time(reading):
    curves = reading({"YEAR": np.full(N, 2018), "TIME": TIME, "F5100": FLUX, "ERROR": ERROR})
    np.testing.assert_allclose(curves.continuum.time, TIME)


@pytest.mark.parametrize(
    ("name", "zero", "system"),
    [
        ("JD - 2450000.0", 2450000.0, "JD - 2450000"), ("HJD-2450000", 2450000.0, "HJD - 2450000"),
        ("HJD (2450000+)", 2450000.0, "HJD - 2450000"), ("HJD+2450000", 2450000.0, "HJD - 2450000"),
        ("BJD_TDB-2457000", 2457000.0, "BJD (TDB) - 2457000"), ("MJD-50000", 50000.0, "MJD - 50000"),
        ("time (BJD-2457000)", 2457000.0, "BJD (TDB) - 2457000"), ("JD-2400000.5", 2400000.5, "JD - 2400000.5"),
    ],
)  # fmt: skip
def test_times_that_count_from_a_date(reading, name, zero, system):
    times = TIME - zero if "MJD" in name else TIME + 2400000.5 - zero
    curves = reading({name: times, "flux": FLUX, "error": ERROR})
    assert str(curves.system) == system
    np.testing.assert_allclose(curves.continuum.time, times)


@pytest.mark.parametrize(
    ("value", "error", "size"),
    [
        ("mag", "err_mmag", 1e3), ("mag", "mag_err [mmag]", 1e3), ("flux_1e-15", "err_1e-16", 10.0),
        ("flux (1e-15)", "err (1e-16)", 10.0), ("nanomaggies", "nanomaggies_err", 1.0),
        ("rel_flux_T1", "rel_flux_err_T1", 1.0),
    ],
)  # fmt: skip
def test_units_of_errors_in_names(reading, value, error, size):
    is_magnitude = value == "mag"
    curves = reading({"MJD": TIME, value: MAG if is_magnitude else FLUX, error: ERROR * size}).continuum
    own = ERROR * FLUX * np.log(10) / 2.5 if is_magnitude else ERROR
    np.testing.assert_allclose(curves.error / curves.flux, own / FLUX, rtol=1e-9)


@pytest.mark.parametrize("kind", ["datetime64[ns]", "datetime64[D]"])
def test_datetimes_of_numpy_and_pandas(kind):
    dates = np.array(["2018-03-01T12:00", "NaT", "2018-03-04"], dtype=kind)
    curves = read({"date": dates, "flux": FLUX[:3], "error": ERROR[:3]})
    assert str(curves.system) == "MJD (UTC)"
    np.testing.assert_allclose(curves.continuum.time, [58178.5 if "ns" in kind else 58178.0, 58181.0])


def test_errors_that_are_no_magnitudes_are_told(reading):
    assert any(
        "are they in magnitudes" in note for note in reading({"MJD": TIME, "mag": MAG, "err": 1e3 * ERROR}).notes
    )
    assert any("Vega magnitudes" in note for note in reading({"MJD": TIME, "vegamag": MAG, "err": ERROR}).notes)
    assert any("ST magnitudes" in note for note in reading({"MJD": TIME, "mag [mag(ST)]": MAG, "err": ERROR}).notes)


def test_rows_that_cannot_be_used_are_counted(reading):
    with pytest.raises(DataFileError, match=r"no points are left \(8 with an error that is not positive\)"):
        reading(base(error=-ERROR))
    with pytest.raises(DataFileError, match=r"no points are left \(2 limits, 6 without an error\)"):
        reading(base(error=["nan"] * 7 + ["0.1"], flux=["1"] * 6 + ["<1", "<2"]))


def test_counts_of_rows_between_rows(tmp_path):
    path = tmp_path / "javelin.dat"
    path.write_text("2\n2\n58000 1 0.1\n58001 1.1 0.1\n1\n58000 2 0.1\n")
    with pytest.raises(DataFileError, match="row 1: the row '2' holds one number and others hold more"):
        read(path)
