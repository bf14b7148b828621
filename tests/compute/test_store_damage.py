"""Foreign, damaged and half-made stores, and a full disk: one sentence each, and nothing is lost."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import sweep_cases
from sweep_cases import Noise

from crosscal.compute import Store, sweep
from crosscal.core.errors import StoreError


@pytest.fixture
def full(store):
    sweep(Noise(store.layout), store, "serial")
    return store


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_nothing_there(tmp_path):
    with pytest.raises(StoreError, match="there is no store") as error:
        Store.open(tmp_path / "none.zarr")
    one_sentence(error)


def test_a_file(tmp_path):
    (tmp_path / "a.zarr").write_text("x")
    with pytest.raises(StoreError, match="this is a file"):
        Store.open(tmp_path / "a.zarr")


def test_an_empty_directory(tmp_path):
    with pytest.raises(StoreError, match=r"zarr\.json is missing"):
        Store.open(tmp_path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_foreign_zarr_store(tmp_path, version):
    import zarr

    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    group.create_array("x", shape=(3,), dtype="f8")
    with pytest.raises(StoreError, match="not written by CrossCal" if version == 3 else "missing"):
        Store.open(tmp_path / "a.zarr")


def test_a_single_zarr_array(tmp_path):
    import zarr

    zarr.create_array(tmp_path / "a.zarr", shape=(3,), dtype="f8")
    with pytest.raises(StoreError, match="not written by CrossCal"):
        Store.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00\xff"])
def test_broken_metadata(store, content):
    (store.path / "zarr.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=r"zarr\.json") as error:
        Store.open(store.path)
    one_sentence(error)


def test_a_later_format(store):
    edit(store.path / "zarr.json", lambda c: c["attributes"]["crosscal_store"].update(format=99))
    with pytest.raises(StoreError, match="store format 99"):
        Store.open(store.path)


@pytest.mark.parametrize("key", ["layout", "variables", "coords", "sizes", "job", "provenance", "fingerprint"])
def test_a_damaged_description(store, key):
    edit(store.path / "zarr.json", lambda c: c["attributes"]["crosscal_store"].pop(key))
    with pytest.raises(StoreError, match=f"damaged.*{key}"):
        Store.open(store.path)


def test_a_half_created_store(store):
    shutil.rmtree(store.path / "kT")
    with pytest.raises(StoreError, match=r"kT.*missing"):
        Store.open(store.path)


def test_an_array_of_another_shape(store):
    edit(store.path / "kT" / "zarr.json", lambda c: c.update(shape=[36, 2]))
    with pytest.raises(StoreError, match=r"kT: shape \[36, 2\]; expected \[37, 2\]"):
        Store.open(store.path)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_chunk_is_named_and_repaired(full, damage):
    expected = full.read("kT")
    file = full.path / "kT" / "c" / "2" / "0"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0x10
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    reader = Store.open(full.path)
    for read in (lambda: reader.read("kT"), lambda: reader.read_chunk(2), lambda: list(reader.chunks())):
        with pytest.raises(StoreError, match="chunk 2 of 'kT'") as error:
            read()
        one_sentence(error)
    assert [chunk for chunk, _ in full.verify()] == [2]
    assert full.complete
    assert [chunk for chunk, _ in full.verify(repair=True)] == [2]
    assert full.pending().tolist() == [2]
    sweep(Noise(full.layout), full, "serial")
    assert full.verify() == []
    assert full.read("kT").tobytes() == expected.tobytes()


def test_a_damaged_coordinate(full):
    file = full.path / "A" / "c" / "0"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="coordinate 'A' is damaged"):
        Store.open(full.path).read("A")


def test_a_flag_that_was_cut_short_counts_as_not_done(full):
    (full.path / "done" / "c" / "4").write_bytes(b"")
    assert full.pending().tolist() == [4]


def test_remains_of_a_killed_write_are_not_data(store):
    task = Noise(store.layout)
    store.write_chunk(0, task(0))
    broken = store.path / "kT" / "c" / "1" / "0"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"half")
    part = store.read("kT", partial=True)
    np.testing.assert_array_equal(part[:5], task(0)["kT"])
    assert np.isnan(part[5:]).all()


def test_a_full_disk_is_an_error_and_the_store_resumes(tmp_path):
    """A real file system of 1 MiB where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        store = sweep_cases.new_store(disk / "a.zarr", 4000, 100)
        ballast = disk / "ballast"
        space = shutil.disk_usage(disk).free
        ballast.write_bytes(b"x" * (space - 30_000))
        with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\)") as error:
            sweep(Noise(store.layout), store, "local", workers=2)
        one_sentence(error)
        done = store.done()
        assert 0 < done.sum() < len(done)
        ballast.unlink()
        assert Store.open(store.path).verify() == []
        sweep(Noise(store.layout), store, "serial")
        whole = sweep_cases.new_store(tmp_path / "b.zarr", 4000, 100)
        sweep(Noise(whole.layout), whole, "serial")
        assert sweep_cases.same(store, whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {here!r})
import sweep_cases
from crosscal.compute import sweep
from crosscal.core.errors import StoreError
store = sweep_cases.new_store({path!r}, 4000, 1000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    sweep(sweep_cases.Noise(store.layout), store, "serial")
except StoreError as error:
    sys.exit(0 if "chunk 0 cannot be written (File too large)" in str(error) else str(error))
sys.exit("no error")
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs POSIX limits")
def test_a_write_that_fails_half_way_is_an_error_and_the_store_resumes(tmp_path):
    here = os.path.dirname(sweep_cases.__file__)
    path = str(tmp_path / "a.zarr")
    subprocess.run([sys.executable, "-c", LIMITED.format(here=here, path=path)], check=True)
    store = Store.open(path, writable=True)
    assert not store.done().any()
    sweep(Noise(store.layout), store, "serial")
    assert store.verify() == []
    assert hasattr(signal, "SIGXFSZ")


def test_flags_that_cannot_be_written_are_an_error(full, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", deny)
    with pytest.raises(StoreError, match=r"flags of completed chunks cannot be written \(Permission denied\)"):
        full.forget([0])
    monkeypatch.undo()
    assert full.complete
    assert list(full.path.glob("**/*.partial")) == []
