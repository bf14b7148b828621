"""Tables of pairs: round trips, and one clear sentence for each thing that can be wrong."""

import numpy as np
import pytest
from astropy.table import Table

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.correction.pairs_io import as_table, read_pairs, write_pairs


def make(n=4, q=3, samples=False):
    rng = np.random.default_rng(5)
    values = rng.uniform(1, 8, (2, n, q))
    root = rng.normal(size=(2, n, q, q)) * 0.05
    covariance = root @ np.swapaxes(root, 2, 3) + 0.01 * np.eye(q)
    names = tuple(f"A{i}" for i in range(n))
    quantities = ("kT", "norm", "Abundanc")[:q]
    if samples:
        draws = values[:, :, None] + 0.1 * rng.normal(size=(2, n, 50, q))
        return PairedSources.from_samples(names, ("acis", "pn"), quantities, draws)
    return PairedSources(names, ("acis", "pn"), quantities, values, covariance)


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".fits"])
@pytest.mark.parametrize("q", [1, 2, 3])
def test_round_trip(tmp_path, suffix, q):
    pairs = make(q=q)
    again = read_pairs(write_pairs(tmp_path / f"pairs{suffix}", pairs))
    assert (again.names, again.telescopes, again.quantities) == (pairs.names, pairs.telescopes, pairs.quantities)
    np.testing.assert_allclose(again.values, pairs.values, rtol=1e-12)
    np.testing.assert_allclose(again.covariance, pairs.covariance, rtol=1e-10, atol=1e-14)
    assert len(again.provenance["sha256"]) == 64


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_samples_round_trip(tmp_path, suffix):
    pairs = make(samples=True)
    again = read_pairs(write_pairs(tmp_path / f"pairs{suffix}", pairs))
    np.testing.assert_allclose(again.samples, pairs.samples, rtol=1e-12)
    np.testing.assert_allclose(again.covariance, pairs.covariance, rtol=1e-9)


def test_moments_of_samples():
    pairs = make(samples=True)
    np.testing.assert_allclose(pairs.values, pairs.samples.mean(axis=2))
    np.testing.assert_allclose(pairs.covariance[1, 2], np.cov(pairs.samples[1, 2], rowvar=False))


def test_units_are_converted_and_telescopes_may_be_chosen(tmp_path):
    table = as_table(make(q=1))
    for name in list(table.colnames[1:]):
        table[name] = table[name] * 1000
        table[name].unit = "eV"
    del table.meta["telescopes"]
    table.write(tmp_path / "p.ecsv")
    pairs = read_pairs(tmp_path / "p.ecsv", telescopes=("pn", "acis"))
    assert pairs.telescopes == ("pn", "acis")
    np.testing.assert_allclose(pairs.values[1], make(q=1).values[0], rtol=1e-9)
    assert read_pairs(tmp_path / "p.ecsv").telescopes == ("acis", "pn")


def test_errors_below_and_above_are_averaged(tmp_path):
    head = "source,kT_acis,kT_err_acis,kT_pn,kT_err_lo_pn,kT_err_hi_pn\n"
    (tmp_path / "p.csv").write_text(head + "a,5.0,0.2,4.8,0.1,0.3\nb,6.0,0.3,5.9,0.4,0.4\n")
    pairs = read_pairs(tmp_path / "p.csv")
    assert pairs.telescopes == ("acis", "pn")
    np.testing.assert_allclose(pairs.sd[1, :, 0], [0.2, 0.4])
    (tmp_path / "p.csv").write_text(head + "a,5.0,0.2,4.8,-0.1,0.3\nb,6.0,0.3,5.9,0.4,0.4\n")
    with pytest.raises(DataFileError, match=r"column kT_err_lo_pn, row 1: error -0.1; expected a positive"):
        read_pairs(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("source,kT_acis,kT_err_acis,kT_pn,kT_err_lo_pn\na,5.0,0.2,4.8,0.1\n")
    with pytest.raises(DataFileError, match="no column 'kT_err_hi_pn'"):
        read_pairs(tmp_path / "p.csv")


def test_selection():
    pairs = make(samples=True)
    small = pairs.only("kT", "Abundanc").take([0, 2])
    assert small.names == ("A0", "A2")
    np.testing.assert_array_equal(small.covariance[1, 1], pairs.covariance[1, 2][np.ix_([0, 2], [0, 2])])
    assert small.samples.shape == (2, 2, 50, 2)
    with pytest.raises(UnknownNameError, match="norm"):
        make(q=1).only("norm")


def broken(table, what):
    if what == "no source":
        table.remove_column("source")
    elif what == "no error":
        table.remove_column("kT_err_pn")
    elif what == "negative error":
        table["kT_err_pn"][1] = -1
    elif what == "text":
        table["kT_pn"] = ["1", "2", "hot", "4"]
    elif what == "masked":
        table = Table(table, masked=True)
        table["kT_pn"].mask[2] = True
    elif what == "unit":
        table["kT_pn"].unit = "cm"
    elif what == "correlation":
        table["kT_norm_corr_pn"][0] = 1.5
    elif what == "negative":
        table["kT_acis"][3] = -2.0
    elif what == "twice":
        table["source"][1] = "A0"
    elif what == "empty":
        table = table[:0]
    elif what == "one telescope":
        table.remove_columns([c for c in table.colnames if c.endswith("_pn")])
        del table.meta["telescopes"]
    return table


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("no source", "no column 'source'"),
        ("no error", "no column 'kT_err_pn'"),
        ("negative error", "column kT_err_pn, row 2"),
        ("text", "column kT_pn, row 3: 'hot' is not a number"),
        ("unit", "column kT_pn: unit cm; expected keV"),
        ("correlation", "column kT_norm_corr_pn, row 1: correlation 1.5"),
        ("negative", "source 'A3', acis: kT = -2"),
        ("twice", "'A0' appears twice"),
        ("empty", "no rows"),
        ("one telescope", "1 telescopes"),
    ],
)
def test_bad_tables_name_the_place(tmp_path, what, match):
    table = broken(as_table(make()), what)
    table.write(tmp_path / "bad.ecsv", format="ascii.ecsv")
    with pytest.raises(DataFileError, match=match) as caught:
        read_pairs(tmp_path / "bad.ecsv")
    assert "bad.ecsv" in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_bad_files(tmp_path):
    with pytest.raises(DataFileError, match="no such table of pairs"):
        read_pairs(tmp_path / "absent.ecsv")
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(DataFileError, match=r"suffix '\.doc'"):
        read_pairs(tmp_path / "a.doc")
    with pytest.raises(DataFileError, match=r"suffix '\.xlsx'"):
        write_pairs(tmp_path / "a.xlsx", make())
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_pairs(tmp_path / "a.fits")
    write_pairs(tmp_path / "a.csv", make())
    with pytest.raises(DataFileError, match="no column 'kT_xrism'"):
        read_pairs(tmp_path / "a.csv", telescopes=("acis", "xrism"))
    table = as_table(make(samples=True), samples=True)
    table["norm_samples_pn"] = table["norm_samples_pn"][:, :20]
    table.write(tmp_path / "b.ecsv", format="ascii.ecsv")
    with pytest.raises(DataFileError, match="different numbers of samples"):
        read_pairs(tmp_path / "b.ecsv")
    table["kT_samples_pn"] = np.ones(4)
    table.write(tmp_path / "c.ecsv", format="ascii.ecsv")
    with pytest.raises(DataFileError, match="column kT_samples_pn: not one array a row"):
        read_pairs(tmp_path / "c.ecsv")


def test_bad_arrays():
    good = make(q=1)
    with pytest.raises(UnknownNameError, match="kT"):
        PairedSources(good.names, good.telescopes, ("kt",), good.values, good.covariance)
    with pytest.raises(InputError, match="kT, then norm"):
        PairedSources(good.names, good.telescopes, ("norm",), good.values, good.covariance)
    with pytest.raises(InputError, match="shapes"):
        PairedSources(good.names, good.telescopes, ("kT",), good.values[:, :2], good.covariance)
    with pytest.raises(InputError, match="two different names"):
        PairedSources(good.names, ("pn", "pn"), ("kT",), good.values, good.covariance)
    with pytest.raises(InputError, match="not positive definite"):
        PairedSources(good.names, good.telescopes, ("kT",), good.values, 0 * good.covariance)
    with pytest.raises(InputError, match="not symmetric and finite"):
        PairedSources(good.names, good.telescopes, ("kT",), good.values, np.nan * good.covariance)
    with pytest.raises(InputError, match="samples of shape"):
        PairedSources(good.names, good.telescopes, ("kT",), good.values, good.covariance, np.zeros((2, 4, 3)))
    with pytest.raises(InputError, match="n_samples >= 2"):
        PairedSources.from_samples(good.names, good.telescopes, ("kT",), np.ones((2, 4, 1, 1)))
