"""The builder of plasma tables and its files."""

import io
import json
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.xray.emission import tablefile
from crosscal.xray.emission.atomdb import read_atomdb
from crosscal.xray.emission.build import build_plasma, compact_edges, compress
from crosscal.xray.emission.tablefile import built_in_table, plasma_table, read_table, write_table

EDGES = np.geomspace(0.3, 8, 120)


@pytest.fixture(scope="module")
def plasma(tiny):
    return read_atomdb(tiny.line, tiny.coco)


@pytest.fixture(scope="module")
def table_file(tiny, tmp_path_factory):
    return build_plasma(tiny.line, tiny.coco, tmp_path_factory.mktemp("table") / "tiny.npz", bins=200, lines=20)


def rewrite(path, target, **changes):
    """Copy a table file with some arrays replaced (None drops one)."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(target, **{name: array for name, array in arrays.items() if array is not None})
    return target


def about(path, **changes):
    with np.load(path) as archive:
        return np.array(json.dumps(json.loads(str(archive["about"])) | changes))


def test_edges_cover_the_promised_range():
    edges = compact_edges(1000)
    assert edges[0] <= 0.1
    assert edges[-1] >= 17
    assert np.sum((edges >= 0.0999999) & (edges <= 17.0001)) == 1001
    assert np.all(np.diff(edges) > 0)
    with pytest.raises(InputError, match="at least 10"):
        compact_edges(3)


def test_photons_are_conserved(plasma):
    edges = compact_edges(100)
    weights = np.ones(30)
    exact = plasma.spectra(edges[[0, -1]], weights)[:, 0, 0]
    for lines in (0, 20, None):
        compact = compress(plasma, edges, lines=lines)
        assert compact.line_energy.size == (95 if lines is None else lines)
        assert compact.spectra(edges[[0, -1]], weights)[:, 0, 0] == pytest.approx(exact, rel=1e-12)


def test_strongest_lines_are_kept(plasma):
    """A line that outshines its neighbourhood is kept before one that does not."""
    compact = compress(plasma, compact_edges(100), lines=10)
    kept = compact.line_energy
    assert np.all(np.diff(kept) > 0)
    # In the file each element's lines differ by a factor up to 7; the faintest must not be among ten of 95.
    k = int(np.searchsorted(plasma.kT, 1.0))
    share = compact.line_emissivity[k] / np.exp(-kept / plasma.kT[k])
    assert share.min() > 3e-18


def test_file_round_trip(plasma, tmp_path):
    compact = compress(plasma, compact_edges(200), lines=20)
    for precision, tolerance in (("half", 6e-4), ("single", 1e-6)):
        # Half precision has 11 bits, single 24.
        again = read_table(write_table(tmp_path / f"{precision}.npz", compact, precision=precision))
        assert again.kT == pytest.approx(compact.kT)
        assert again.line_energy == pytest.approx(compact.line_energy, rel=1e-12)
        assert np.array_equal(again.line_element, compact.line_element)
        assert (again.version, again.citation) == (compact.version, compact.citation)
        bright = compact.content > 1e-6 * compact.content.max(axis=2, keepdims=True)
        assert again.content[bright] == pytest.approx(compact.content[bright], rel=tolerance)
        assert again.line_emissivity == pytest.approx(compact.line_emissivity, rel=tolerance)


def test_file_states_source_and_holds_no_pickle(table_file):
    with zipfile.ZipFile(table_file) as archive:
        for name in archive.namelist():
            assert b"'O'" not in archive.read(name)[:128]  # dtype object would need pickle
        text = str(np.load(io.BytesIO(archive.read("about.npy")), allow_pickle=False))
    assert "AtomDB 9.9.9" in text
    assert "Foster" in text


def test_same_input_gives_the_same_bytes(tiny, table_file, tmp_path):
    again = build_plasma(tiny.directory, None, tmp_path / "again.npz", bins=200, lines=20)
    assert again.read_bytes() == table_file.read_bytes()


def test_broadening_is_built_in(plasma, tmp_path):
    """Weak lines are broadened in the bins, strong ones on evaluation; together as if the detailed plasma did both."""
    edges = np.geomspace(0.5, 3, 4001)
    broad = compress(plasma, edges, lines=30, velocity=1500.0, thermal=True)
    again = read_table(write_table(tmp_path / "broad.npz", broad, precision="single"))
    assert (again.velocity, again.thermal) == (1500.0, True)
    inside = np.geomspace(0.6, 2.5, 200)
    weights = np.ones(30)
    found = again.spectra(inside, weights)
    expected = plasma.spectra(inside, weights, velocity=1500.0, thermal=True)
    # Bins of 0.04 % against a line width of 0.5 %.
    assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lines": -1}, "-1 lines"),
        ({"velocity": -5.0}, "velocity -5 km/s"),
        ({"velocity": np.nan}, "velocity nan km/s"),
        ({"bins": 2}, "2 bins"),
        ({"precision": "double"}, "unknown precision 'double'"),
    ],
)
def test_bad_options(tiny, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        build_plasma(tiny.line, tiny.coco, tmp_path / "x.npz", **options)
    assert not list(tmp_path.iterdir())


def test_bad_output_name_and_overwriting(tiny, tmp_path, table_file):
    with pytest.raises(InputError, match=r"expected a name ending in \.npz"):
        build_plasma(tiny.line, tiny.coco, tmp_path / "x.fits")
    with pytest.raises(DataFileError, match="already exists"):
        build_plasma(tiny.line, tiny.coco, table_file, overwrite=False)


def test_unknown_precision_is_named(plasma, tmp_path):
    compact = compress(plasma, compact_edges(50), lines=5)
    with pytest.raises(UnknownNameError):
        write_table(tmp_path / "x.npz", compact, precision="quarter")


def test_finding_the_table(tiny, table_file, tmp_path):
    assert plasma_table() is built_in_table()
    compact = plasma_table(table_file)
    assert plasma_table(table_file) is compact
    assert plasma_table(compact) is compact
    assert plasma_table(str(tiny.directory)).version == "AtomDB 9.9.9"
    with pytest.raises(DataFileError, match="no such plasma table"):
        plasma_table(tmp_path / "absent.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"words"])
def test_corrupt_file(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"broken\.npz: not a plasma table, or damaged; expected a file written by"):
        read_table(path)


def test_truncated_and_flipped_file(table_file, tmp_path):
    content = bytearray(table_file.read_bytes())
    path = tmp_path / "damaged.npz"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataFileError, match=r"damaged\.npz"):
        read_table(path)
    with zipfile.ZipFile(table_file) as archive:
        middle = archive.getinfo("content.npy").header_offset + 2000
    content[middle] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"damaged\.npz"):
        read_table(path)


def test_pickled_array_is_refused(table_file, tmp_path):
    path = rewrite(table_file, tmp_path / "pickled.npz", kT=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataFileError, match=r"pickled\.npz"):
        read_table(path)


def test_foreign_and_future_files(table_file, tmp_path):
    other = rewrite(table_file, tmp_path / "other.npz", about=about(table_file, format="something"))
    with pytest.raises(DataFileError, match=r"other\.npz: not a plasma table"):
        read_table(other)
    future = rewrite(table_file, tmp_path / "future.npz", about=about(table_file, format_version=99))
    with pytest.raises(DataFileError, match="format version 99"):
        read_table(future)
    groups = rewrite(table_file, tmp_path / "groups.npz", about=about(table_file, groups=[["H"], ["He"]]))
    with pytest.raises(DataFileError, match=r"groups\.npz: the arrays do not fit together"):
        read_table(groups)
    bare = rewrite(table_file, tmp_path / "bare.npz", about=None)
    with pytest.raises(DataFileError, match=r"bare\.npz: not a plasma table"):
        read_table(bare)
    absent = rewrite(table_file, tmp_path / "absent.npz", kT=None)
    with pytest.raises(DataFileError, match=r"absent\.npz"):
        read_table(absent)


@pytest.mark.parametrize(
    "changes",
    [
        {"kT": np.array([3.0, 2.0, 1.0])},
        {"edges": np.array([1.0, 2.0])},
        {"trace_share": np.ones(3)},
        {"content_scale": np.full((6, 15), np.nan)},
        {"content_scale": np.full((6, 15), -1.0)},
        {"line_element": np.full(20, 99, dtype=np.uint8)},
        {"lines": np.zeros((2, 3, 6), dtype=np.uint8)},
    ],
)
def test_arrays_that_do_not_fit(table_file, tmp_path, changes):
    path = rewrite(table_file, tmp_path / "misfit.npz", **changes)
    with pytest.raises(DataFileError, match=r"misfit\.npz: the arrays do not fit together"):
        read_table(path)


def test_built_in_table_is_what_the_documents_say():
    table = built_in_table()
    assert table.version == "AtomDB 3.0.8"
    assert "Foster" in table.citation
    assert table.kT[0] <= 0.0863
    assert table.kT[-1] >= 86
    assert table.energy_range[0] <= 0.1
    assert table.energy_range[1] >= 17
    assert table.line_energy.size == 1900
    assert (table.velocity, table.thermal) == (0.0, False)
    assert tablefile.BUILT_IN.endswith("plasma.npz")


def test_files_damaged_at_random_are_read_or_refused(table_file, tmp_path):
    rng = np.random.default_rng(3)
    whole = table_file.read_bytes()
    path = tmp_path / "random.npz"
    read = 0
    for k in range(80):
        content = bytearray(whole)
        if k % 4 == 0:
            content = content[: rng.integers(len(content))]
        for _ in range(3):
            # The directory at the end and the first header are where formats go wrong.
            ranges = ((0, 600), (len(content) - 900, len(content)), (0, len(content)))
            low, high = ranges[k % 3]
            content[rng.integers(max(low, 0), max(high, 1))] = rng.integers(256)
        path.write_bytes(content)
        with suppress(DataFileError):
            read_table(path)
            read += 1
    # A quarter are truncated and lose the archive's directory, so they must be refused.
    assert read <= 60
