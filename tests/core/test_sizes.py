"""Small files that unpack to more than a computer holds are one sentence, with a limit that a user can raise."""

import bz2
import gzip
import lzma
import os
import zipfile

import h5py
import numpy as np
import pytest

from crosscal.core.errors import ConfigError, DataFileError
from crosscal.core.files import existing_file, sha256
from crosscal.core.seal import seal
from crosscal.core.sizes import largest_file

MiB = 1 << 20


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    """8 MiB, so that bombs are quick to make."""
    monkeypatch.setenv("CROSSCAL_LARGEST_FILE", "8M")


def laughs(levels, width=9):
    """A table whose header repeats itself: ``width ** levels`` values."""
    lines = ["# %ECSV 1.0", "# ---", "# datatype: [{name: x, datatype: float64}]", "# meta: !!omap"]
    lines.append(f"# - {{a0: &a0 [{', '.join(['lol'] * width)}]}}")
    lines += [f"# - {{a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]}}" for k in range(1, levels)]
    return "\n".join([*lines, "# schema: astropy-2.0", "x", "1.0", ""])


def parquet(path, rows):
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"flux": pa.array(np.zeros(rows))}), path, compression="zstd")


def hdf5(path, n):
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/values", shape=(n, MiB // 8), chunks=(1, 1024), dtype=float, compression="gzip")


def npz(path, n):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(n * MiB))


KINDS = {
    "gzip": lambda path, n: path.write_bytes(gzip.compress(bytes(n * MiB))),
    "bzip2": lambda path, n: path.write_bytes(bz2.compress(bytes(n * MiB))),
    "xz": lambda path, n: path.write_bytes(lzma.compress(bytes(n * MiB))),
    "npz": npz,
    "hdf5": hdf5,
    "sealed hdf5": lambda path, n: (hdf5(path, n), seal(path)),
    "parquet": lambda path, n: parquet(path, n * MiB // 8),
    "ecsv": lambda path, n: path.write_text(laughs(n - 2)),
    "sparse": lambda path, n: (path.touch(), os.truncate(path, n * MiB)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_one_sentence_and_what_fits_is_read(kind, tmp_path, monkeypatch):
    small, large = tmp_path / "small", tmp_path / "large"
    KINDS[kind](small, 5)
    KINDS[kind](large, 9)
    assert kind == "sparse" or large.stat().st_size < MiB
    assert existing_file(small) == small
    expected = r"large: the content is of [\d.]+ GiB or more, unpacked; expected at most 0\.00781 GiB; the environment "
    expected += r"variable CROSSCAL_LARGEST_FILE \(now 8M\) raises the limit"
    for _ in range(2):  # also when asked again
        with pytest.raises(DataFileError, match=expected):
            existing_file(large)
    assert len(sha256(large)) == 64  # block by block
    monkeypatch.setenv("CROSSCAL_LARGEST_FILE", "64 GiB")
    assert existing_file(large) == large


def test_a_header_that_holds_itself_has_no_end(tmp_path):
    (tmp_path / "t").write_text(laughs(1).replace("&a0 [lol", "&a0 [*a0"))
    with pytest.raises(DataFileError, match="the content is without end, unpacked"):
        existing_file(tmp_path / "t")


def test_what_astropy_shares_in_a_header_is_read(tmp_path):
    from astropy.table import Table

    shared = {"origin": ["a", "b"]}
    table = Table({f"c{k}": [1.0] for k in range(30)}, meta={"first": shared, "second": shared})
    for column in table.itercols():
        column.meta = {"shared": shared}
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    assert "*id" in (tmp_path / "t.ecsv").read_text()
    assert existing_file(tmp_path / "t.ecsv")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sparse"])
def test_damage_is_left_to_the_reader(kind, tmp_path):
    path = tmp_path / "f"
    KINDS[kind](path, 2 if kind != "ecsv" else 4)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:12], whole[:8] + b"\xff" * 40 + whole[48:]):
        path.write_bytes(content)
        assert existing_file(path) == path


def test_the_limit_is_a_size(monkeypatch):
    for text, size in (("100", 100), ("2k", 2048), ("1.5 GB", 3 << 29), ("", 2 << 30)):
        monkeypatch.setenv("CROSSCAL_LARGEST_FILE", text)
        assert largest_file() == size
    for text in ("much", "-1", "1e9", "5X", "nan"):
        monkeypatch.setenv("CROSSCAL_LARGEST_FILE", text)
        with pytest.raises(ConfigError, match=r"CROSSCAL_LARGEST_FILE: .* is not a size; expected a number of bytes"):
            largest_file()


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(DataFileError, match="the table is a pipe or a device; expected a regular file"):
            existing_file(path, what="table")
    with pytest.raises(DataFileError, match=r"cannot be read \(File name too long\)"):
        existing_file(tmp_path / ("d" * 300))
    with pytest.raises(DataFileError, match="no such file"):
        existing_file("a\0b")
