"""What a table states by names, units, comments and descriptions, or leaves unsaid, does not pass silently."""

import datetime

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from crosscal.concordance import read_matrix, read_table
from crosscal.concordance.options import Data
from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.core.memory import as_table

ROWS = "pn,A,1.0,0.05\nMOS1,A,1.1,0.05\n"


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def pair(**columns):
    return Table({"instrument": ["pn", "MOS1"], "source": ["A", "A"], **columns})


DAYS = [53371.0, 53736.25]


@pytest.mark.parametrize(
    "dates",
    [
        ["2005-01-01", "2006-01-01T06:00:00"],
        ["2005-01-01 00:00", "2006-01-01T06:00:00.0Z"],
        Time(DAYS, format="mjd"),
        np.array(["2005-01-01T00:00", "2006-01-01T06:00"], "datetime64[ns]"),
        [datetime.datetime(2005, 1, 1), datetime.datetime(2006, 1, 1, 6)],
    ],
)
def test_dates_become_days(dates):
    data = read_table(pair(flux=[1.0, 1.1], t=dates), time="t")
    assert np.allclose(data.time, DAYS, rtol=0, atol=1e-9)
    assert data.time_unit == "d"
    assert "modified Julian dates" in data.assumed[0]
    years = read_table(pair(flux=[1.0, 1.1], t=dates), time="t", time_unit="yr")
    assert np.allclose(years.time, np.array(DAYS) / 365.25)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("2005-01-01", "53736", "row 2, column 't': '53736' is not a date"),
        ("2005-02-30", "2006-01-01", "'2005-02-30' is not a date; expected dates in UTC such as"),
        ("01/02/2005", "03/02/2006", "'01/02/2005' is not a date"),
        ("2005-01-01T00:00+02:00", "2006-01-01", "in UTC"),
        ("20050101", "20060101", "20050101 may be calendar dates; expected dates such as 2005-01-01"),
        ("2005.5", "53736", r"2005\.5 may be years, while others are modified Julian dates"),
    ],
)
def test_times_of_two_readings_are_refused(tmp_path, first, second, sentence):
    path = write(tmp_path, f"instrument,source,flux,t\npn,A,1,{first}\nMOS1,A,1.1,{second}\n")
    with pytest.raises(InputError, match=sentence):
        read_table(path, time="t")


def test_times_are_converted_and_differences_have_no_date():
    assert np.allclose(read_table(pair(flux=[1, 1.1], t=[0, 365.25] * u.d), time="t", time_unit="yr").time, [0, 1])
    waits = np.array([1, 36], "timedelta64[h]")
    data = read_table(pair(flux=[1, 1.1], t=waits), time="t")
    assert np.allclose(data.time, [1 / 24, 1.5])
    assert data.assumed == ("Differences of times in column 't' are read as days.",)
    with pytest.raises(DataFileError, match="column 'flux': objects of type Time"):
        read_table(pair(flux=Time(DAYS, format="mjd")), scale="additive")


@pytest.mark.parametrize(
    ("column", "values", "options", "sentence"),
    [
        ("band", "hard soft", {}, r'several bands \(hard, soft\) and is not used; expected band = "band"'),
        ("energy", "2-10 0.5-2", {}, "column 'energy' holds several bands"),
        ("is_ul", "False True", {}, 'flags limits and is not used; expected limit = "is_ul"'),
        ("upper_limit", "0 1", {}, "column 'upper_limit' flags limits"),
        ("exposure", "1000 10000", {"counts": "flux"}, "exposures differ"),
    ],
)
def test_columns_that_change_the_meaning_are_not_overlooked(tmp_path, column, values, options, sentence):
    first, second = values.split()
    rows = f"pn,A,10,0.5,{first}\nMOS1,A,11,0.5,{second}\n"
    path = write(tmp_path, f"instrument,source,flux,err,{column}\n{rows}")
    with pytest.raises(DataFileError, match=sentence):
        read_table(path, error="err", **options)
    assert read_table(path, error="err", select={column: first}, **options).n_cells == 1
    # One value for all rows changes nothing.
    same = write(tmp_path, path.read_text().replace(second, first))
    assert read_table(same, error="err", **options).n_cells == 2


def test_backgrounds_and_zero_points_are_told(tmp_path):
    counts = write(tmp_path, "instrument,source,counts,bkg\npn,A,100,50\nMOS1,A,100,2\n")
    assert "The background in column 'bkg' is not subtracted" in read_table(counts).assumed[0]
    stars = write(tmp_path, "instrument,source,m,zp\npn,A,15.0,25\nMOS1,A,16.0,26\n")
    told = read_table(stars, flux="m", scale="magnitude").assumed
    assert told == ("The zero points in column 'zp' are not added to the magnitudes.",)


@pytest.mark.parametrize(
    ("name", "level"),
    [("err_90", 0.9), ("flux_err_90pct", 0.9), ("err_2sigma", 0.9545), ("e3sig", 0.9973), ("err_cl95", 0.95),
     ("fwhm", 0.9815)],
)  # fmt: skip
def test_names_of_errors_that_state_a_level(tmp_path, name, level):
    path = write(tmp_path, f"instrument,source,flux,{name}\n{ROWS}")
    with pytest.raises(
        DataFileError, match=rf"calls the errors .*; expected confidence = {level}, or confidence = 0.6827"
    ):
        read_table(path, error=name)
    assert read_table(path, error=name, confidence=0.6827).flux_low[0] == pytest.approx(0.05, rel=1e-4)
    assert read_table(path, error=name, confidence=level).flux_low[0] < 0.04
    wide = write(tmp_path, f"source,pn,pn_{name},MOS1,MOS1_{name}\nA,1.0,0.05,1.1,0.05\n", "w.csv")
    with pytest.raises(DataFileError, match=r"may not be measurements|calls the errors"):
        read_matrix(wide, logarithmic=False)
    with pytest.raises(DataFileError, match="calls the errors"):
        read_matrix(wide, value={"pn": "pn", "MOS1": "MOS1"}, error={"pn": f"pn_{name}", "MOS1": f"MOS1_{name}"})


def test_a_wavelength_in_a_name_is_no_level(tmp_path):
    path = write(tmp_path, f"instrument,source,F90,e_F90\n{ROWS}")
    assert read_table(path, flux="F90", error="e_F90").flux_low[0] == 0.05


def test_comments_and_descriptions_that_state_a_level_or_a_scale(tmp_path):
    head = "instrument,source,flux,err\n"
    with pytest.raises(DataFileError, match=r"a comment of the table \(Errors are at 90 % confidence\)"):
        read_table(write(tmp_path, f"# Errors are at 90 % confidence\n{head}{ROWS}"), error="err")
    limits = write(tmp_path, f"# 3-sigma upper limits are flagged\n{head}{ROWS}")
    assert read_table(limits, error="err").n_cells == 2
    table = pair(flux=[1.0, 1.1], err=[0.05, 0.05])
    table["err"].description = "90% confidence uncertainty"
    table.write(tmp_path / "t.ecsv")
    with pytest.raises(DataFileError, match="column 'err': the column's name or description calls the errors '90%'"):
        read_table(tmp_path / "t.ecsv", error="err")
    table["flux"].description = "Logarithm (base 10) of the flux"
    with pytest.raises(DataFileError, match=r"may be logarithms or magnitudes \(its description: Logarithm"):
        read_table(table, error="err", confidence=0.9)
    assert read_table(table, error="err", confidence=0.9, scale="log10").n_cells == 2


def test_fluxes_far_below_zero_are_no_fluxes(tmp_path):
    path = write(tmp_path, "instrument,source,flux,err\npn,A,-12.0,0.05\nMOS1,A,-12.1,0.05\n")
    with pytest.raises(DataFileError, match="since all are far below zero; expected scale = 'log10'"):
        read_table(path, error="err")
    noise = write(tmp_path, "instrument,source,flux,err\npn,A,-1.0,0.5\nMOS1,A,-0.1,0.5\n")
    assert read_table(noise, error="err").n_cells == 2
    logs = write(tmp_path, "instrument,source,log_flux\npn,A,-12.0\nMOS1,A,-12.1\n")
    assert read_table(logs).assumed == ("Column 'log_flux' is read as natural logarithms.",)


@pytest.mark.parametrize(
    ("names", "values", "sd"),
    [
        (("m [mag]", "e [mmag]"), "15,10 15.1,10", 0.01),
        (("m [mmag]", "e [mmag]"), "15000,10 15100,10", 0.01),
        (("m [mmag]", "e"), "15000,10 15100,10", 0.01),
        (("m", "e [dex]"), "15,0.4 15.1,0.4", 1.0),
        (("m", "e [%]"), "15,1 15.1,1", 0.01 / (0.4 * np.log(10))),
        (("m", "snr"), "15,100 15.1,100", 0.01 / (0.4 * np.log(10))),
        (("m", "ivar"), "15,10000 15.1,10000", 0.01),
    ],
)
def test_errors_of_magnitudes_in_any_unit(tmp_path, names, values, sd):
    first, second = values.split()
    path = write(tmp_path, f"instrument,source,{','.join(names)}\npn,A,{first}\nMOS1,A,{second}\n")
    data = read_table(path, flux=names[0], error=names[1], scale="magnitude")
    assert np.allclose(data.log_rate, -0.4 * np.log(10) * np.array([15.0, 15.1]))
    assert np.allclose(np.sqrt(data.variance), 0.4 * np.log(10) * sd)


def test_errors_of_magnitudes_in_a_unit_of_fluxes():
    with pytest.raises(DataFileError, match="errors in mJy of logarithms or magnitudes"):
        read_table(pair(m=[15.0, 15.1], e=[1.0, 1.0] * u.mJy), flux="m", error="e", scale="magnitude")


def test_averages_are_no_measurements(tmp_path):
    head = "instrument,source,flux,err\n"
    with pytest.raises(DataFileError, match="source 'Mean' may be an average of the others"):
        read_table(write(tmp_path, f"{head}{ROWS}pn,Mean,1.0,0.05\n"), error="err")
    with pytest.raises(DataFileError, match="instrument 'weighted mean' may be"):
        read_table(write(tmp_path, f"{head}{ROWS}weighted mean,A,1.0,0.05\n"), error="err")
    with pytest.raises(DataFileError, match="row or column 'Median' may be"):
        read_matrix(write(tmp_path, "source,pn,MOS1\nA,1.0,1.1\nMedian,1.0,1.1\n"), logarithmic=False)


def test_copies_are_told(tmp_path):
    path = write(tmp_path, f"instrument,source,flux,err\n{ROWS}pn,A,1.0,0.05\npn,A,1.02,0.05\n")
    told = read_table(path, error="err", repeats=True).assumed
    assert told == ("Measurements that repeat another exactly (1) are treated as independent: remove any copies.",)


def test_names_that_look_alike_in_unicode(tmp_path):
    head = "instrument,source,flux,err\n"
    for name in ("XMM\u2013pn", "XMM-pn\u200b", "XMM-\uff50n"):
        rows = f"XMM-pn,A,1,0.1\n{name},B,1,0.1\n"
        with pytest.raises(InputError, match="differ by case or blanks only"):
            read_table(write(tmp_path, head + rows), error="err")
    minus = f"{head}pn,PKS 2155-304,1,0.1\nMOS1,PKS 2155\u2212304,1,0.1\npn,1,1,0.1\nMOS1,1.0,1,0.1\n"
    told = read_table(write(tmp_path, minus), error="err").assumed
    assert any("are treated as different sources" in line for line in told)


def test_nothing_is_no_name(tmp_path):
    masked = Table({"instrument": ["a", "b"], "source": MaskedColumn([1, 2], mask=[False, True]), "flux": [1.0, 2.0]})
    none = {"instrument": ["pn", None], "source": ["A", "A"], "flux": [1.0, 1.1]}
    words = write(tmp_path, "instrument,source,flux\npn,A,1.0\nN/A,A,1.1\n")
    for source in (masked, none, words):
        with pytest.raises(InputError, match=r"row 2, column '(instrument|source)': an empty name"):
            read_table(source)


def test_rows_that_begin_with_a_mark_are_told(tmp_path):
    text = "source,instrument,flux\n#1,pn,1.0\n#1,MOS1,1.1\n2,pn,2.0\n2,MOS1,2.1\n# a word\n"
    told = read_table(write(tmp_path, text)).assumed
    assert told == ("Rows that begin with # are skipped as comments (2; the first: #1, pn, 1.0).",)


def test_exponents_of_fortran(tmp_path):
    plain = write(tmp_path, "instrument,source,flux,err\npn,A,1.0D-12,1D-13\nMOS1,A,1.1d-12,1.D-13\n")
    assert np.allclose(read_table(plain, error="err").flux, [1e-12, 1.1e-12])


def test_ratios_in_percent_differences_and_reciprocals(tmp_path):
    path = write(tmp_path, "instrument,to,ratio_percent,e\npn,MOS1,95,2\nMOS1,pn,105.26,2.2\n")
    data = read_table(path, to="to", flux="ratio_percent", error="e")
    assert np.allclose(data.log_rate[data.log_rate != 0], np.log([0.95, 1.0526]))
    assert "read as ratios in percent" in data.assumed[0]
    assert "of the same value (1)" in data.assumed[1]
    unit = Table({"instrument": ["pn"], "to": ["MOS1"], "flux": [95.0] * u.percent, "e": [2.0] * u.percent})
    assert np.allclose(read_table(unit, to="to", error="e").variance * 2, np.log1p((2 / 95) ** 2))
    with pytest.raises(DataFileError, match=r"may be differences; expected ratios: 1 \+ the difference"):
        read_table(write(tmp_path, "instrument,to,diff\npn,MOS1,0.05\n"), to="to", flux="diff")


def test_rows_without_a_unit_and_units_that_differ(tmp_path):
    blank = write(tmp_path, "instrument,source,flux,unit\npn,A,1,mJy\nMOS1,A,1.1,\n")
    assert "Rows without a unit (1) are assumed to be in mJy." in read_table(blank, unit="unit").assumed
    rows = "pn,A,1,50,mJy,uJy\nMOS1,A,1,50,mJy,uJy\n"
    both = write(tmp_path, f"instrument,source,flux,err,flux_unit,err_unit\n{rows}")
    for options in ({}, {"unit": "flux_unit"}):
        with pytest.raises(DataFileError, match="columns 'flux_unit' and 'err_unit' differ"):
            read_table(both, error="err", **options)


def test_one_side_of_errors_beside_the_other(tmp_path):
    path = write(tmp_path, "instrument,source,flux,err_lo,err_hi\npn,A,1,.1,.2\nMOS1,A,1,.1,.2\n")
    with pytest.raises(
        DataFileError, match=r"but there is a column 'err_lo' too; expected error = \['err_lo', 'err_hi'\]"
    ):
        read_table(path, error="err_hi")
    assert np.allclose(read_table(path, error=["err_lo", "err_hi"]).flux_high, 0.2)


@pytest.mark.parametrize(
    "head",
    ["PN_CTS,PN_EXP,M1_CTS,M1_EXP", "PN_SOFT,PN_HARD,M1_SOFT,M1_HARD", "PN_0.5-2,PN_2-10,M1_0.5-2,M1_2-10"],
)
def test_wide_tables_of_several_quantities(tmp_path, head):
    path = write(tmp_path, f"source,{head}\nA,100,10,50,10\nB,200,11,95,10\n")
    with pytest.raises(DataFileError, match=r"may not be measurements|hold several bands"):
        read_matrix(path, logarithmic=False)
    errors = ",".join(f"{name},{name}_ERR" for name in head.split(","))
    if "EXP" not in head:
        with pytest.raises(DataFileError, match="hold several bands"):
            read_matrix(write(tmp_path, f"source,{errors}\nA,9,1,9,1,9,1,9,1\n", "e.csv"))
    rest = [name for name in head.split(",") if name.split("_")[1] != head.split(",")[0].split("_")[1]]
    value = "{inst}_" + head.split(",")[0].split("_")[1]
    assert read_matrix(path, value=value, ignore=rest, logarithmic=False).instruments == ("PN", "M1")


def test_instruments_with_parts_and_ratios_in_wide_tables(tmp_path):
    parts = write(tmp_path, "source,ACIS_S,ACIS_I,HRC_S\nA,1.0,1.1,1.2\n")
    assert read_matrix(parts, logarithmic=False).n_channels == 3
    ratios = write(tmp_path, "source,pn/MOS1,pn/MOS2\nA,1.0,1.1\nB,1.0,1.1\n")
    assert "'pn/MOS1' are treated as instruments, not as ratios" in read_matrix(ratios, logarithmic=False).assumed[0]
    alike = write(tmp_path, "source,pn,PN\nA,1.0,1.1\n")
    with pytest.raises(InputError, match="columns 'PN', 'pn' differ by case or blanks only; expected one spelling, or"):
        read_matrix(alike, logarithmic=False)
    turned = write(tmp_path, "instrument,A,C\npn,1.0,1.1\nMOS1,1.0,1.1\n")
    with pytest.raises(DataFileError, match="rows are named by column 'instrument', as instruments"):
        read_matrix(turned, logarithmic=False)
    assert read_matrix(turned, orientation="instruments", logarithmic=False).instruments == ("pn", "MOS1")


def test_frames_and_arrays_keep_their_names():
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    frame = pandas.DataFrame({"pn": [1.0, 2.0], "MOS1": [1.1, 2.1]}, index=["A", "B"])
    levels = pandas.MultiIndex.from_product([["pn", "MOS1"], ["flux", "flux_err"]])
    assert as_table(pandas.DataFrame([[1.0, 0.1, 1.1, 0.1]], columns=levels)).colnames[1] == "pn_flux_err"
    array = xarray.DataArray(
        frame.to_numpy(), dims=("source", "instrument"), coords={"source": ["A", "B"], "instrument": ["pn", "MOS1"]},
        attrs={"units": "mJy"},
    )  # fmt: skip
    for table in (frame, array, array.T):
        data = read_matrix(table, logarithmic=False)
        assert data.instruments == ("pn", "MOS1")
        assert [name for name, _ in data.columns] == ["A", "B"]
        assert np.allclose(data.flux if data.flux is not None else np.exp(data.log_rate), [1.0, 1.1, 2.0, 2.1])
    assert read_matrix(array.T, orientation="instruments", logarithmic=False).flux_unit == "mJy"


def test_keys_of_the_other_kind_of_file_are_refused():
    with pytest.raises(ConfigError, match='repeats is given for a matrix; expected it only with kind = "table"'):
        Data(path="t.csv", kind="matrix", repeats=True)
    with pytest.raises(ConfigError, match='ignore is given for a table; expected it only with kind = "matrix"'):
        Data(path="t.csv", ignore=("RA",))
