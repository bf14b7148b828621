"""More points for a store: old results stay, only new ones are computed, a killed call is completed."""

import numpy as np
import pytest
import sweep_cases
from sweep_cases import Noise, same

from crosscal.compute import Store, Variable, grow, sweep
from crosscal.core.errors import InputError, StoreError

LONG = np.linspace(-0.2, 0.2, 37).tolist() + [0.3, 0.4, 0.5, 0.6] * 4  # 53 points
JOB = {"task": "noise", "seed": 1, "points": 53}


@pytest.fixture
def full(store):
    sweep(Noise(store.layout), store, "serial")
    return store


def test_grown_store_equals_one_made_at_once(full, tmp_path):
    xarray = pytest.importorskip("xarray")
    grown = grow(full.path, {"A": ("point", LONG)}, job=JOB)
    assert grown.pending().tolist() == [7, 8, 9, 10]  # the last chunk held 2 of 5 points
    sweep(Noise(grown.layout), grown, "serial")
    contents = sweep_cases.contents(53)
    contents["coords"]["A"] = ("point", LONG)
    contents["job"] = JOB
    whole = Store.create(tmp_path / "whole.zarr", **contents)
    sweep(Noise(whole.layout), whole, "serial")
    assert same(grown, whole)
    assert grown.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(grown.read("A"), LONG)
    assert dict(xarray.open_zarr(grown.path, chunks=None).sizes) == {"point": 53, "parameter": 2, "chunk": 11}
    assert Store.open_or_create(grown.path, **contents).complete


@pytest.mark.parametrize("step", range(6))
def test_an_interrupted_growth_is_completed_by_the_same_call(full, monkeypatch, step):
    import zarr

    from crosscal.compute import growth

    original, calls = zarr.Array.resize, []

    def resize(self, shape):
        if len(calls) == step:
            raise OSError(28, "No space left on device")
        calls.append(shape)
        return original(self, shape)

    def fail(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "resize", resize)
        if step == 5:  # after the last of five resizes
            patch.setattr(growth, "consolidate", fail)
        with pytest.raises(StoreError, match="cannot be grown"):
            grow(full.path, {"A": ("point", LONG)}, job=JOB)
    if 0 < step < 5:
        with pytest.raises(StoreError, match=r"grow\(\) again"):
            Store.open(full.path)
    grown = grow(full.path, {"A": ("point", LONG)}, job=JOB)
    assert grown.pending().tolist() == [7, 8, 9, 10]
    again = grow(full.path, {"A": ("point", LONG)}, job=JOB)
    assert again.pending().tolist() == [7, 8, 9, 10]


def test_full_last_chunks_stay_done(tmp_path):
    store = sweep_cases.new_store(tmp_path / "a.zarr", 10, 5)
    sweep(Noise(store.layout), store, "serial")
    longer = np.append(np.linspace(-0.2, 0.2, 10), 1.0)
    assert grow(store.path, {"A": ("point", longer)}, job=None).pending().tolist() == [2]


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({}, "coordinates none; expected all along 'point': A"),
        ({"B": ("point", LONG)}, "coordinates B"),
        ({"A": ("point", LONG[:36])}, "the first values changed"),
        ({"A": ("point", np.add(LONG, 1))}, "the first values changed"),
        ({"A": ("other", LONG)}, "dimensions"),
    ],
)
def test_wrong_coordinates_are_refused(full, coords, message):
    with pytest.raises(InputError, match=message):
        grow(full.path, coords, job=JOB)
    assert Store.open(full.path).complete


def test_lengths_must_agree_and_something_must_grow(tmp_path):
    x = np.arange(4.0)
    variables = {"v": Variable(("point",))}
    two = Store.create(tmp_path / "two", variables, {"A": ("point", x), "B": ("point", x)}, 2)
    with pytest.raises(InputError, match=r"lengths \[5, 6\]"):
        grow(two.path, {"A": ("point", np.arange(5.0)), "B": ("point", np.arange(6.0))}, job=None)
    bare = Store.create(tmp_path / "bare", variables, {}, 2, sizes={"point": 4})
    with pytest.raises(InputError, match="no coordinate lies along"):
        grow(bare.path, {}, job=None)


def test_several_swept_dimensions_are_refused(tmp_path):
    store = Store.create(
        tmp_path / "a.zarr",
        {"x": Variable(("a", "b"))},
        {"a": np.arange(3.0), "b": np.arange(3.0)},
        {"a": 2, "b": 2},
    )
    with pytest.raises(StoreError, match="expected one, to grow along it"):
        grow(store.path, {"a": np.arange(4.0)}, job=None)
