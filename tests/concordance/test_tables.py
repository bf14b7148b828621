"""Reading tables in all formats, and errors that name file, row and column."""

import numpy as np
import pytest
from astropy.table import Table

from crosscal.concordance import iachec_tau, read_area_draws, read_matrix, read_table, read_tau_matrix
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
        (HEAD + "a,s,1\nb,s,\n", {}, r"t.csv, row 2, column 'flux': flux is nan"),
        (HEAD + "a,s,1\na,s,2\n", {}, r"t.csv: rows 1 and 2 both give source 's'"),
        (HEAD + "z,z,1\na,s,1\na,s,2\n", {"select": {"source": "s"}}, r"t.csv: rows 2 and 3 both give source 's'"),
        (HEAD + "a,s,1\n", {"source": "sorce"}, r"unknown column 'sorce'; expected 'source'"),
        (HEAD + "a,s,1\n", {"select": {"source": "t"}}, "no row is selected"),
        (HEAD + "a,s,1\n", {"select": {"flux": {"mini": 1}}}, r"select.flux: unknown selection key 'mini'"),
        (HEAD + "a,s,1\n", {"rename": {"b": "c"}}, "unknown instrument 'b'"),
        (HEAD + "a,s,1\n", {"instrument": []}, "no column is named"),
        (HEAD, {}, "the table has no rows"),
        ("instrument,source,y\na,s,1\n", {}, "0 of flux, counts and log_rate are given"),
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
    turned = read_matrix(path, names="src", orientation="instruments")
    assert turned.instruments == ("a", "b")
    assert [name for name, _ in turned.columns] == ["pn", "MOS1"]
    with pytest.raises(DataFileError, match=r"row 1, column 'pn'"):
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
