"""Reading tables in all formats, and errors that name file, row and column."""

import numpy as np
import pytest
from astropy.table import Table

from crosscal.concordance import iachec_tau, read_area_draws, read_matrix, read_table, read_tau_matrix
from crosscal.core.cells import read_cell
from crosscal.core.errors import ConfigError, DataFileError, InputError, UnknownNameError


def long_table():
    return Table(
        {
            "inst": ["pn", "pn", "MOS1", "MOS1", "pn"],
            "order": ["+1", "+1", "-1", "-1", "+1"],
            "src": ["007", "b", "007", "b", "c"],
            "flux": [1.0, 2.0, 1.1, 2.2, 3.0],
            "err": [0.1, 0.1, 0.1, 0.1, 0.1],
            "quality": [0, 0, 0, 0, 3],
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "parquet", "txt"])
def test_formats_agree(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        arrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        table = long_table()
        parquet.write_table(arrow.table({c: list(table[c]) for c in table.colnames}), path)
    else:
        kind = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits", "txt": "ascii.commented_header"}[suffix]
        long_table().write(path, format=kind)
    data = read_table(path, instrument=["inst", "order"], source="src", error="err", select={"quality": {"max": 1}})
    assert data.instruments == ("pn +1", "MOS1 -1")
    assert [name for name, _ in data.columns] == ["007", "b"]
    assert np.allclose(np.exp(data.log_rate), [1.0, 1.1, 2.0, 2.2])


@pytest.mark.parametrize("wanted", [3, 3.0, [3.0, 7]])
def test_whole_numbers_are_selected_however_they_are_spelt(tmp_path, wanted):
    for column in ([0, 0, 0, 0, 3], [0.0, 0.0, 0.0, 0.0, 3.0]):
        table = long_table()
        table["quality"] = column
        table.write(tmp_path / "t.ecsv", overwrite=True)
        data = read_table(tmp_path / "t.ecsv", instrument="inst", source="src", error="err", select={"quality": wanted})
        assert [name for name, _ in data.columns] == ["c"]


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_units_are_converted(tmp_path):
    table = long_table()
    table["flux"].unit = "erg / (s m2)"
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    data = read_table(tmp_path / "t.ecsv", instrument="inst", source="src", flux_unit="erg / (s cm2)")
    assert np.exp(data.log_rate[0]) == pytest.approx(1e-4)
    assert data.flux_unit == "erg / (s cm2)"
    with pytest.raises(DataFileError, match="flux unit 'erg"):
        read_table(tmp_path / "t.ecsv", instrument="inst", source="src", flux_unit="keV")


HEAD = "instrument,source,flux\n"


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (HEAD + "a,s,1\nb,s,x\n", {}, r"t.csv, row 2, column 'flux': 'x' is not a number"),
        (HEAD + "a,s,1\nb,s,-2\n", {}, r"t.csv, row 2, column 'flux': flux is -2"),
        (HEAD + "a,s,1\nb,s,inf\n", {}, r"flux is inf"),
        (HEAD + "a,s,1\na,s,2\n", {}, r"t.csv: rows 1 and 2 both give source 's'"),
        (HEAD + "z,z,1\na,s,1\na,s,2\n", {"select": {"source": "s"}}, r"t.csv: rows 2 and 3 both give source 's'"),
        (HEAD + "a,s,1\n", {"source": "sorce"}, r"unknown column 'sorce'; expected 'source'"),
        (HEAD + "a,s,1\n", {"select": {"source": "t"}}, "no row is selected"),
        (HEAD + "a,s,1\n", {"select": {"flux": {"mini": 1}}}, r"select.flux: unknown selection key 'mini'"),
        (HEAD + "a,s,1\n", {"rename": {"b": "c"}}, "unknown instrument 'b'"),
        (HEAD + "a,s,1\n", {"instrument": []}, "no column is named"),
        (HEAD, {}, "the table has no rows"),
        ("instrument,source,y\na,s,1\n", {}, "0 of flux, counts and log_flux are given"),
    ],
)
def test_sentences_name_the_place(tmp_path, text, options, sentence):
    with pytest.raises(InputError, match=sentence):
        read_table(write(tmp_path, text), **options)


def test_unreadable_tables(tmp_path):
    with pytest.raises(DataFileError, match="no such table"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataFileError, match="unknown kind of table"):
        read_table(write(tmp_path, "x", "t.xyz"))
    with pytest.raises(DataFileError, match="cannot be read"):
        read_table(write(tmp_path, "no fits", "t.fits"))
    assert ConfigError is not DataFileError


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    import sys

    from crosscal.core.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match="Parquet tables need the optional package 'pyarrow'"):
        read_table(write(tmp_path, "x", "t.parquet"))


def test_matrices(tmp_path):
    path = write(tmp_path, "src,pn,MOS1\na,1.0,2.0\nb,,4.0\n")
    data = read_matrix(path, names="src", logarithmic=False, error=0.1)
    assert data.instruments == ("pn", "MOS1")
    assert data.n_cells == 3
    assert np.allclose(np.exp(data.log_rate), [1.0, 2.0, 4.0])
    turned = read_matrix(path, names="src", orientation="instruments", logarithmic=False)
    assert turned.instruments == ("a", "b")
    assert [name for name, _ in turned.columns] == ["pn", "MOS1"]
    with pytest.raises(InputError, match=r"row 1, column 'pn'"):
        read_matrix(write(tmp_path, "pn,MOS1\n-1,2\n", "n.csv"), logarithmic=False)
    with pytest.raises(UnknownNameError, match="orientation"):
        read_matrix(path, orientation="rows")


def test_tau_matrix(tmp_path, monkeypatch):
    text = "instrument,0.5-2.0,2.0-10,parse_note\nXMM pn,2,3,ok\nNuSTAR,,4,ambiguous\n"
    table = read_tau_matrix(write(tmp_path, text))
    assert table.entries == {"XMM pn": [(0.5, 2.0, 0.02), (2.0, 10.0, 0.03)]}
    assert "NuSTAR" in read_tau_matrix(write(tmp_path, text), keep_ambiguous=True).entries
    with pytest.raises(DataFileError, match=r"line 2, column '0.5-2.0': 'two' is not a number|line 2"):
        read_tau_matrix(write(tmp_path, "instrument,0.5-2.0\nXMM pn,two\n"))
    with pytest.raises(DataFileError, match="no column is an energy range"):
        read_tau_matrix(write(tmp_path, "a,b\n1,2\n"))
    (tmp_path / "concordance").mkdir()
    (tmp_path / "concordance" / "iachec_tau_matrix.csv").write_text(text)
    monkeypatch.setenv("CROSSCAL_DATA", str(tmp_path))
    found = iachec_tau({"pn1": "XMM pn"}, {"hard": (2.0, 8.0)})
    assert found.tau("pn1", "hard") == pytest.approx(0.03)


def test_area_draws(tmp_path):
    text = "instrument,soft,hard\npn,100,50\npn,101,51\nMOS1,30,\nMOS1,31,\n"
    draws = read_area_draws(write(tmp_path, text))
    assert draws["pn"].shape == (2, 2)
    assert draws["MOS1"].shape == (2, 1)


def test_sentences_tell_the_way_out(tmp_path):
    text = "instrument,order,source,flux,err\na,neg,s,1,0.1\na,pos,s,2,nan\nb,pos,s,3,0.1\n"
    path = write(tmp_path, text)
    with pytest.raises(
        InputError, match=r"row 2, column 'err'.*select = \{'err': \{'min': 1e-300, 'max': 1e300\}\} leaves"
    ):
        read_table(path, error="err")
    chosen = read_table(path, error="err", select={"err": {"min": 1e-300}})
    assert chosen.n_cells == 2
    message = r"rows 1 and 2 .*keep one by select = \{COLUMN: VALUE\}, .* as in instrument = \['instrument', COLUMN\]"
    with pytest.raises(InputError, match=message):
        read_table(path)
    assert read_table(path, instrument=["instrument", "order"]).instruments == ("a neg", "a pos", "b pos")
    assert read_table(path, select={"order": "pos"}).n_cells == 2
    gaps = write(tmp_path, "instrument,source,flux,t\na,s,1,nan\nb,s,1,2\n", "gaps.csv")
    with pytest.raises(InputError, match=r"a finite number; select = \{'t': \{'min': -1e300, 'max': 1e300\}\}"):
        read_table(gaps, time="t")


LONG = ["instrument,source,flux,flux_err", "pn,A,1.05,0.02", "MOS1,A,1.10,0.03", "pn,B,2.05,0.02", "MOS1,B,2.10,0.03"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", "\ufeff" + "\r\n".join(LONG)),
        ("semicolon.csv", "\n".join(LONG).replace(",", ";").replace(".", ",")),
        ("point.csv", "\n".join(LONG).replace(",", ";")),
        ("tab.tsv", "\n".join(LONG).replace(",", "\t")),
        ("comment.csv", "# a table\n# of fluxes\n" + "\n".join(LONG)),
        ("blank.txt", "\n".join(LONG).replace(",", "  ")),
        ("header.txt", "# " + "\n".join(LONG).replace(",", " ")),
        ("bar.txt", "\n".join(LONG).replace(",", " | ")),
        ("paper.tex", "\\begin{tabular}{llll}\n" + " \\\\\n".join(r.replace(",", " & ") for r in LONG)
         + " \\\\\n\\end{tabular}\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_of_any_layout_is_one_table(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    data = read_table(tmp_path / name, error="flux_err")
    assert data.instruments == ("pn", "MOS1")
    assert np.allclose(data.flux, [1.05, 1.10, 2.05, 2.10])
    assert np.allclose(data.flux_low, [0.02, 0.03, 0.02, 0.03])


def test_tables_in_memory():
    columns = {"instrument": ["a", "b"], "source": ["s", "s"], "flux": [1.0, 2.0], "flux_err": [0.1, 0.1]}
    pandas = pytest.importorskip("pandas")
    for table in (columns, Table(columns), pandas.DataFrame(columns), pandas.DataFrame(columns).to_xarray()):
        assert np.allclose(read_table(table, error="flux_err").flux, [1.0, 2.0])
    with pytest.raises(DataFileError, match="of type int; expected the path of a file"):
        read_table(3)


@pytest.mark.parametrize("word", ["", "nan", "NA", "N/A", "-", "--", "...", "\\nodata", "NULL", "$\\nodata$"])
def test_empty_cells_are_no_measurements_and_are_counted(tmp_path, word):
    path = write(tmp_path, "\n".join([*LONG, f"pn,C,{word},{word}", "MOS1,C,3.0,0.1"]))
    data = read_table(path, error="flux_err")
    assert data.n_cells == 5
    assert "Rows without a measurement are excluded (1 of 6)." in data.assumed
    wide = read_matrix(write(tmp_path, f"source,pn,MOS1\nA,1.0,1.1\nB,2.0,{word}\n", "w.csv"), logarithmic=False)
    assert wide.n_cells == 3
    assert "1 of 4 cells are empty." in wide.assumed


def test_markers_of_missing_values_must_be_named(tmp_path):
    path = write(tmp_path, "\n".join([*LONG, "pn,C,-99,0.1", "MOS1,C,3.0,0.1"]))
    with pytest.raises(
        DataFileError, match=r"row 5, column 'flux': -99 may be a measurement or a marker of a missing value"
    ):
        read_table(path, error="flux_err")
    assert read_table(path, error="flux_err", missing=[-99]).n_cells == 5
    assert read_table(path, error="flux_err", missing=[]).n_cells == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.05 +/- 0.02", (1.05, 0.02, 0.02, 0)),
        ("$1.05 \\pm 0.02$", (1.05, 0.02, 0.02, 0)),
        ("1.05±0.02", (1.05, 0.02, 0.02, 0)),
        ("(1.05 ± 0.02)e-12", (1.05e-12, 0.02e-12, 0.02e-12, 0)),
        ("1.05(2)", (1.05, 0.02, 0.02, 0)),
        ("105(12)", (105.0, 12.0, 12.0, 0)),
        ("1.05(2)e-12", (1.05e-12, 0.02e-12, 0.02e-12, 0)),
        ("1.05 +0.03 -0.02", (1.05, 0.02, 0.03, 0)),
        ("$1.05^{+0.03}_{-0.02}$", (1.05, 0.02, 0.03, 0)),
        ("$1.05_{-0.02}^{+0.03}$", (1.05, 0.02, 0.03, 0)),
        ("<0.3", (0.3, np.nan, np.nan, 1)),
        ("$> 3e-13$", (3e-13, np.nan, np.nan, -1)),
        ("\u22121.5", (-1.5, np.nan, np.nan, 0)),
    ],
)
def test_cells(text, expected):
    assert np.allclose(read_cell(text), expected, equal_nan=True)


@pytest.mark.parametrize("text", ["1.05 0.02", "1,05", "a", "1.05(x)", "<", "+/- 2"])
def test_what_is_no_cell(text):
    assert read_cell(text) is None


def test_wide_tables_place_every_column_or_refuse_it(tmp_path):
    head = "SRCID,PN_FLUX,PN_FLUX_ERR,M1_FLUX,M1_FLUX_ERR"
    path = write(tmp_path, head + "\n1,1.05,0.02,1.10,0.03\n2,2.1,0.03,,\n")
    for options in ({}, {"value": "{inst}_FLUX", "error": "{inst}_FLUX_ERR"}, {"value": {"PN": "PN_FLUX",
                    "M1": "M1_FLUX"}, "error": {"PN": "PN_FLUX_ERR", "M1": "M1_FLUX_ERR"}}):  # fmt: skip
        data = read_matrix(path, names="SRCID", **options)
        assert data.instruments == ("PN", "M1")
        assert np.allclose(data.flux_low, [0.02, 0.03, 0.03])
    assert "PN_FLUX with PN_FLUX_ERR" in read_matrix(path, names="SRCID").assumed[0]
    more = write(tmp_path, f"{head},RA,DEC\n1,1.05,0.02,1.10,0.03,10,-5\n", "more.csv")
    with pytest.raises(DataFileError, match=r"columns 'RA', 'DEC' may not be measurements; expected ignore"):
        read_matrix(more, names="SRCID")
    assert read_matrix(more, names="SRCID", ignore=["RA", "DEC"]).n_cells == 2
    plain = write(tmp_path, "src,pn,MOS1,RA\nA,1.0,1.1,10\n", "plain.csv")
    with pytest.raises(DataFileError, match="'RA' may not be measurements"):
        read_matrix(plain, logarithmic=False)
    limits = write(tmp_path, "src,pn,MOS1\nA,1.0 +/- 0.1,1.1 +/- 0.1\nB,<0.3,0.2 +/- 0.1\n", "limits.csv")
    assert read_matrix(limits).limit.tolist() == [0, 0, 1, 0]
    with pytest.raises(DataFileError, match=r"expected \{inst\} in its place"):
        read_matrix(path, names="SRCID", value="FLUX")


def test_a_matrix_says_whether_it_holds_logarithms(tmp_path):
    path = write(tmp_path, "src,pn,MOS1\nA,1.0,1.1\nB,2.0,2.1\n")
    with pytest.raises(DataFileError, match="fluxes or their natural logarithms; expected logarithmic = false"):
        read_matrix(path)
    assert np.allclose(read_matrix(path, logarithmic=True).log_rate, [1.0, 1.1, 2.0, 2.1])
    magnitudes = read_matrix(path, scale="magnitude").log_rate
    assert np.allclose(magnitudes, -0.4 * np.log(10) * np.array([1.0, 1.1, 2.0, 2.1]))
    signed = write(tmp_path, "src,pn,MOS1\nA,-1.0,1.1\nB,2.0,2.1\n", "s.csv")
    assert "natural logarithms, because some are negative" in read_matrix(signed).assumed[-1]


def test_scales_are_said_where_names_tell_of_them(tmp_path):
    text = "survey,star,mag,mag_err\nPS1,s1,15.02,0.01\nSDSS,s1,15.05,0.01\n"
    path, named = write(tmp_path, text), {"instrument": "survey", "source": "star", "flux": "mag", "error": "mag_err"}
    with pytest.raises(DataFileError, match="column 'mag': the values may be magnitudes"):
        read_table(path, **named)
    data = read_table(path, scale="magnitude", **named)
    assert data.log_rate[1] - data.log_rate[0] == pytest.approx(-0.4 * np.log(10) * 0.03)
    assert np.sqrt(data.variance) == pytest.approx(0.4 * np.log(10) * 0.01)
    decimal = write(tmp_path, "instrument,source,log10_flux\na,s,1.0\nb,s,2.0\n", "d.csv")
    with pytest.raises(DataFileError, match="decimal logarithms"):
        read_table(decimal, log_flux="log10_flux")
    assert np.allclose(read_table(decimal, flux="log10_flux", scale="log10").log_rate, np.log([10.0, 100.0]))


def test_errors_limits_units_and_repeats(tmp_path):
    sides = write(tmp_path, "instrument,source,flux,lo,hi\na,s,1.0,-0.05,0.07\nb,s,2.0,-0.05,0.07\n")
    data = read_table(sides, error=["lo", "hi"], confidence=0.9)
    assert np.allclose(data.flux_low, 0.05 / 1.6448536)
    assert np.allclose(data.flux_high, 0.07 / 1.6448536)
    flagged = write(tmp_path, "instrument,source,flux,e,limit\na,s,0.3,-99,1\nb,s,0.2,0.05,0\n", "l.csv")
    data = read_table(flagged, error="e", limit="limit", limit_confidence=0.95)
    assert data.limit.tolist() == [1, 0]
    assert data.flux_low[0] == pytest.approx(0.3 / 1.6448536)
    units = write(tmp_path, "instrument,source,flux,e,u\na,s,1.0,0.1,erg/(s cm2)\nb,s,1.0,0.1,erg/(s m2)\n", "u.csv")
    assert np.allclose(read_table(units, error="e", unit="u").flux, [1.0, 1e-4])
    twice = write(tmp_path, "\n".join([*LONG, "pn,A,1.07,0.02"]), "r.csv")
    with pytest.raises(InputError, match=r"rows 1 and 5 both give source 'A'.*repeats = true"):
        read_table(twice, error="flux_err")
    assert read_table(twice, error="flux_err", repeats=True).repeated
    (told,) = read_table(write(tmp_path, "\n".join(LONG))).assumed
    assert "'flux_err' looks like errors but is not used" in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("instrument,source,flux\nPN,A,1\npn,A,2\n", r"instruments 'PN', 'pn' differ by case or blanks only"),
        ("instrument;source;flux\na;s;1,050\nb;s;2,100\n", r"'1,050' may be 1.050 or 1050"),
        ("instrument,source,flux\na,s,1,2\n", r"4 fields in row 1"),
        ("instrument,source,source\na,s,1\n", r"column 'source' twice"),
        ("# nothing\n", r"the table is empty"),
        ("instrument,source,flux\na,s,-\n", r"no row has a measurement"),
    ],
)
def test_ambiguous_text_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read_table(write(tmp_path, text))
    assert read_table(write(tmp_path, "instrument,source,flux\nPN,A,1\npn,B,2\n"), rename={"PN": "pn"}).instruments == (
        "pn",
    )
