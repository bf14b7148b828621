"""A store: what goes in comes out, resumes, reads with xarray, and refuses what is not its own."""

import json
import os
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import sweep_cases
from sweep_cases import Noise

from crosscal.compute import Coordinate, Store, Variable
from crosscal.core.errors import InputError, StoreError, UnknownNameError


def filled(store, chunks=None):
    task = Noise(store.layout)
    for chunk in store.pending() if chunks is None else chunks:
        store.write_chunk(int(chunk), task(int(chunk)))
    return store


def test_what_is_written_is_read(store):
    assert not store.done().any()
    filled(store)
    assert store.complete
    whole = Store.open(store.path)
    task = Noise(store.layout)
    for name in whole.names:
        expected = np.concatenate([task(k)[name] for k in range(len(store.layout))])
        found = whole.read(name)
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
    for chunk, values in whole.chunks(["kT"]):
        np.testing.assert_array_equal(values["kT"], task(chunk)["kT"])
    np.testing.assert_array_equal(whole.read("A"), np.linspace(-0.2, 0.2, 37))
    assert whole.read("parameter").tolist() == ["kT", "norm"]
    assert "8 of 8 chunks" in repr(whole)


def test_xarray_reads_it_without_a_warning(store):
    xarray = pytest.importorskip("xarray")
    filled(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(store.path, chunks=None)
    assert dict(data.sizes) == {"point": 37, "parameter": 2, "chunk": 8}
    assert set(data.coords) == {"A", "parameter"}
    assert data.kT.attrs == {"units": "keV", "long_name": "fitted temperature"}
    assert data.attrs["title"] == "noise"
    assert data.status.dtype == np.int8
    np.testing.assert_array_equal(data.kT.values, store.read("kT"))
    np.testing.assert_array_equal(store.dataset().kT.values, store.read("kT"))


def test_reading_needs_zarr_and_numpy_only(store):
    filled(store)
    script = (
        "import sys; from crosscal.compute import Store; "
        f"Store.open({str(store.path)!r}).read('kT'); "
        "bad = {'jax', 'numba', 'distributed', 'xarray', 'astropy', 'matplotlib', 'crosscal.xray'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_several_swept_dimensions(tmp_path):
    store = Store.create(
        tmp_path / "grid.zarr",
        {"x": Variable(("theta", "kT", "moment"))},
        {"theta": np.arange(5.0), "kT": np.geomspace(1, 15, 7)},
        {"theta": 2, "kT": 3},
        sizes={"moment": 2},
    )
    full = np.arange(70.0).reshape(5, 7, 2)
    assert len(store.layout) == 9
    for chunk in store.pending():
        store.write_chunk(chunk, {"x": full[store.layout.slices(chunk)]})
    np.testing.assert_array_equal(store.read("x"), full)


def test_header_holds_job_and_provenance(store):
    header = Store.open(store.path).header
    assert header.job == {"task": "noise", "seed": 1}
    assert header.provenance["inputs"] == {"arf": "0" * 64}
    assert header.provenance["versions"]["numpy"] == np.__version__
    assert len(header.fingerprint) == 64


def test_values_that_are_all_fill_are_still_done(store):
    # Zarr skips chunks of fill values by default; here an absent file must always mean a loss.
    shape = store.layout.shape(0)
    store.write_chunk(
        0,
        {"kT": np.full((*shape, 2), np.nan), "statistic": np.full(shape, np.nan), "status": np.full(shape, -1)},
    )
    assert np.isnan(store.read_chunk(0)["kT"]).all()


def test_resumes_the_same_job(store):
    filled(store, [0, 3])
    again = sweep_cases.new_store(store.path)
    assert again.done().tolist() == [True, False, False, True] + [False] * 4
    assert again.fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"job": {"task": "noise", "seed": 2}}, "job.seed is 1 in the store and 2"),
        ({"chunk": {"point": 6}}, "layout.lengths"),
        ({"variables": {**sweep_cases.VARIABLES, "kT": Variable(("point", "parameter"), "f4")}}, "variables.kT"),
        ({"coords": {**sweep_cases.contents()["coords"], "A": ("point", np.linspace(0, 1, 37))}}, "coords.A"),
    ],
)
def test_refuses_the_store_of_another_job(store, change, message):
    with pytest.raises(StoreError, match=message):
        Store.open_or_create(store.path, **{**sweep_cases.contents(), **change})


def test_warns_when_resumed_with_other_versions(store):
    root = store.path / "zarr.json"
    text = root.read_text().replace(f'"numpy": "{np.__version__}"', '"numpy": "1.0"')
    root.write_text(text)
    with pytest.warns(UserWarning, match=r"numpy 1\.0 -> "):
        sweep_cases.new_store(store.path)
    filled(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep_cases.new_store(store.path)


# The filter of this warning is one of the process, which threads share.
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_processes_that_create_at_once_share_one_store(tmp_path):
    path, opened, errors = tmp_path / "race.zarr", [], []

    def make():
        try:
            opened.append(sweep_cases.new_store(path))
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(opened) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["race.zarr"]


def test_create_refuses_what_is_there(store, tmp_path):
    with pytest.raises(StoreError, match="a file of this name already exists"):
        Store.create(store.path, **sweep_cases.contents())
    plain = tmp_path / "notes.txt"
    plain.write_text("mine")
    for make in (Store.create, Store.open_or_create):
        with pytest.raises(StoreError):
            make(plain, **sweep_cases.contents())
    assert plain.read_text() == "mine"
    with pytest.raises(StoreError, match="cannot be created"):
        Store.create(plain / "below.zarr", **sweep_cases.contents())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_create_in_a_forbidden_place(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be created"):
        Store.create(tmp_path / "a.zarr", **sweep_cases.contents())


def test_a_failed_creation_leaves_nothing(tmp_path, monkeypatch):
    import zarr

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr, "consolidate_metadata", full)
    with pytest.raises(StoreError, match="No space left"):
        Store.create(tmp_path / "a.zarr", **sweep_cases.contents())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"variables": {}}, InputError, "no variables"),
        ({"variables": {"x": Variable(("other",))}}, InputError, "the swept ones"),
        ({"variables": {"x": Variable(("point", "other"))}}, InputError, "'other' has no size"),
        ({"variables": {"done": Variable(("point",))}}, InputError, "'done'"),
        ({"variables": {"A": Variable(("point",))}}, InputError, "'A'"),
        ({"variables": {"a/b": Variable(("point",))}}, InputError, "a/b"),
        ({"sizes": {"point": 36}}, InputError, "36"),
        ({"sizes": {"chunk": 36}}, InputError, "another name"),
        ({"chunk": {"points": 3}}, UnknownNameError, "'point'"),
        ({"job": {"f": len}}, InputError, "job.f"),
        ({"attrs": {"f": len}}, InputError, "attrs.f"),
        ({"provenance": {"f": len}}, InputError, "provenance.f"),
    ],
)
def test_inconsistent_contents_are_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        Store.create(tmp_path / "a.zarr", **{**sweep_cases.contents(), **change})
    assert list(tmp_path.iterdir()) == []


def test_write_checks_names_shapes_and_types(store):
    good = Noise(store.layout)(0)
    for change, message in [
        ({"extra": np.zeros(5)}, "variables extra"),
        ({"kT": np.zeros((5, 3))}, r"kT of shape \(5, 3\)"),
        ({"kT": np.zeros((5, 2), complex)}, "kT of type complex128"),
        ({"status": np.full(5, 0.5)}, "status of type float64"),
        ({"status": np.full(5, 300)}, "status of type int64"),
    ]:
        with pytest.raises(StoreError, match=message):
            store.write_chunk(0, {**good, **change})
    with pytest.raises(StoreError, match="variables none"):
        store.write_chunk(0, {})
    assert not store.is_done(0)
    store.write_chunk(0, {**good, "status": [0, 1, 2, 3, 4]})
    assert store.read_chunk(0)["status"].tolist() == [0, 1, 2, 3, 4]


def test_reading_only_refuses_writes(store):
    reader = Store.open(store.path)
    with pytest.raises(StoreError, match="open for reading"):
        reader.write_chunk(0, Noise(store.layout)(0))
    with pytest.raises(StoreError, match="open for reading"):
        reader.forget([0])


def test_missing_chunks_are_told(store):
    filled(store, [0, 2])
    with pytest.raises(StoreError, match="6 of 8 chunks are not computed"):
        store.read("kT")
    with pytest.raises(StoreError, match="chunk 1 is not computed"):
        store.read_chunk(1)
    with pytest.raises(UnknownNameError, match="'kT'"):
        store.read("kt")
    part = store.read("kT", partial=True)
    assert np.isfinite(part[:5]).all()
    assert np.isnan(part[5:10]).all()
    assert store.read("status", partial=True)[5] == -1


def test_forgotten_chunks_are_pending(store):
    filled(store)
    store.forget([2, 5])
    assert store.pending().tolist() == [2, 5]


def test_growing_coordinates_are_long(tmp_path):
    # Longer than one coordinate chunk (2**20): written and read in pieces.
    n = (1 << 20) + 3
    store = Store.create(
        tmp_path / "long.zarr",
        {"x": Variable(("point",), "int8")},
        {"A": Coordinate(("point",), np.arange(n), unit="keV")},
        n,
    )
    np.testing.assert_array_equal(store.read("A"), np.arange(n))


def test_there_is_no_pickle_and_foreign_codecs_are_refused(store):
    filled(store)
    for meta in store.path.glob("*/zarr.json"):
        names = {c["name"] for c in json.loads(meta.read_text())["codecs"]}
        assert names <= {"bytes", "zstd", "crc32c", "vlen-utf8"}
    meta = store.path / "kT" / "zarr.json"
    content = json.loads(meta.read_text())
    content["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})
    meta.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"numcodecs\.pickle"):
        Store.open(store.path)


def test_remains_of_killed_writers_are_removed(store):
    left = [store.path / "kT" / "c" / "0.abc.partial", store.path.parent / ".partial-case.zarr-abc"]
    left[0].parent.mkdir()
    left[0].write_bytes(b"x")
    left[1].mkdir()
    assert store.tidy() == 0  # too young: someone may be writing
    assert store.tidy(age=-1) == 2
    assert not any(p.exists() for p in left)


def test_an_open_store_travels_to_another_process(store):
    filled(store)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read("kT"), store.read("kT"))


def test_the_package_offers_its_names_lazily():
    import crosscal.compute

    assert "Store" in dir(crosscal.compute)
    assert all(getattr(crosscal.compute, name) is not None for name in crosscal.compute.__all__)
    with pytest.raises(AttributeError, match="Stor"):
        _ = crosscal.compute.Stor
