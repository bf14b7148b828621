"""Values of frozen dataclasses go to disk and come back equal; foreign content is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.errors import DataFileError
from crosscal.core.frozen import load_value, save_value


def back(tmp_path, value):
    return load_value(save_value(tmp_path / "v.npz", value))


def test_values_come_back_as_they_were(tmp_path):
    value = {
        "check": Check("a", True, "why"), ("tuple", 1): [None, True, 2, 1.5, "text", Path("a/b")], "nothing": (),
        "numbers": (float("inf"), -0.0), "scalar": np.float64(2.5), "array": np.arange(6.0).reshape(2, 3),
        "names": np.array(["a", "bc"]),
    }  # fmt: skip
    found = back(tmp_path, value)
    assert list(found) == list(value)
    for key in value:
        assert type(found[key]) is type(value[key])
        if isinstance(value[key], np.ndarray):
            np.testing.assert_array_equal(found[key], value[key])
        else:
            assert found[key] == value[key]
    assert np.isnan(back(tmp_path, float("nan")))


def test_dataclasses_with_arrays(tmp_path):
    before = Correction(np.array(["a", "b"]), np.array([1.0, 1.1]), 0.01 * np.eye(2), "telescope", provenance={"k": 1})
    after = back(tmp_path, before)
    np.testing.assert_array_equal(after.factor, before.factor)
    assert after.coordinate.tolist() == ["a", "b"]
    assert after.provenance == {"k": 1}


@pytest.mark.parametrize("value", [object(), {"a": lambda: 1}, np.array([object()]), 1j])
def test_what_cannot_be_stored_is_a_mistake_of_the_caller(tmp_path, value):
    with pytest.raises(TypeError):
        save_value(tmp_path / "v.npz", value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tree",
    [
        {"class": "subprocess:Popen", "fields": {"args": "true"}},
        {"class": "crosscal.core.files:write_text", "fields": {"path": "x", "text": "y"}},
        {"class": "crosscal.core.check:Check", "fields": {"nme": "x"}},
        {"class": "crosscal.core.nothing:Check", "fields": {}},
        {"array": 7, "scalar": False},
        {"odd": 1},
    ],
)
def test_foreign_or_damaged_content_is_refused_and_not_executed(tmp_path, tree):
    path = tmp_path / "v.npz"
    np.savez(path, tree=np.array(json.dumps(tree)))
    with pytest.raises(DataFileError):
        load_value(path)


def test_shared_arrays_are_stored_once_and_shared_again(tmp_path):
    grid = np.arange(1000.0)
    value = {"a": grid, "b": (grid[:], grid.reshape(1000)), "part": grid[:500], "same": grid.copy()}
    path = save_value(tmp_path / "v.npz", value)
    with np.load(path) as content:
        assert len(content.files) == 1 + 3
    found = load_value(path)
    for array in (found["a"], *found["b"], found["same"]):
        np.testing.assert_array_equal(array, grid)
    np.testing.assert_array_equal(found["part"], grid[:500])
    assert np.shares_memory(found["a"], found["b"][1])
    assert not np.shares_memory(found["a"], found["same"])
