"""Descriptions of jobs: exact, JSON, and told apart."""

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosscal.compute import Coordinate, Variable, fingerprint
from crosscal.compute.schema import array_digest, as_coordinate, first_difference, jsonable
from crosscal.core.errors import InputError


class Kind(enum.Enum):
    ONE = 1


@dataclass(frozen=True)
class Band:
    low: float
    high: float


def test_a_job_becomes_plain_json():
    job = {
        "band": Band(0.7, 7.0),
        "kind": Kind.ONE,
        "path": Path("acis.arf"),
        "free": ("kT", "norm"),
        "names": {"b", "a"},
        "n": np.int64(3),
        "yes": np.bool_(True),
        "limit": np.inf,
        "counts": 5e4,
        "few": np.array([1.5, 2.0]),
        "many": np.zeros(100),
        "nothing": None,
    }
    plain = jsonable(job)
    assert plain["band"] == {"type": "Band", "low": 0.7, "high": 7}
    assert (plain["kind"], plain["path"], plain["free"], plain["names"]) == (
        "ONE",
        "acis.arf",
        ["kT", "norm"],
        ["a", "b"],
    )
    assert plain["limit"] == "inf"
    assert isinstance(plain["counts"], int)
    assert plain["few"] == [1.5, 2]
    assert plain["many"] == {"shape": [100], "dtype": "float64", "sha256": array_digest(np.zeros(100))}


@given(st.lists(st.floats(-10, 10), min_size=70, max_size=80), st.integers(0, 69))
def test_one_changed_bit_of_a_long_array_changes_the_fingerprint(values, position):
    array = np.array(values)
    other = array.copy()
    other[position] = np.nextafter(other[position], 100)
    assert fingerprint({"x": array}) == fingerprint({"x": array.copy()})
    assert fingerprint({"x": array}) != fingerprint({"x": other})


def test_digest_tells_type_and_shape_but_not_byte_order():
    x = np.arange(6.0)
    assert array_digest(x) == array_digest(x.astype(">f8"))
    assert len({array_digest(x), array_digest(x.reshape(2, 3)), array_digest(x.astype(int))}) == 3
    assert array_digest(np.array(["kT", "norm"])) != array_digest(np.array(["kTn", "orm"]))


def test_equal_numbers_are_equal_jobs():
    assert fingerprint({"counts": 5e4}) == fingerprint({"counts": 50000})
    assert fingerprint({"counts": 5e4}) != fingerprint({"counts": np.nextafter(5e4, 0)})


@pytest.mark.parametrize("bad", [lambda: 0, object(), np.array([object()]), 1j])
def test_objects_without_a_description_are_refused(bad):
    with pytest.raises(InputError, match=r"job\.inner\[0\]"):
        jsonable({"inner": [bad]})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, "job.a is 1 in the store and 2 in this job"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, r"job.a.b\[1\] is 2"),
        ({"a": 1, "b": 2}, {"a": 1}, "job.b is only in the store"),
        ({"a": 1}, {"a": 1, "c": 2}, "job.c is only in this job"),
        ({"a": "x" * 99}, {"a": "y"}, r"xxx\.\.\. in the store"),
        ([1], [1, 2], r"job is \[1\]"),
        (True, 1, "job is true"),
    ],
)
def test_the_first_difference_is_named(old, new, message):
    found = first_difference(old, new)
    if message is None:
        assert found is None
    else:
        import re

        assert re.search(message, found)


def test_variables_are_numbers_with_a_telling_fill():
    assert np.isnan(Variable(("point",)).fill)
    assert Variable(("point",), "int8").fill == -1
    assert Variable(("point",), "uint8").fill == 0
    for kind in ("object", "U5", "nonsense"):
        with pytest.raises(InputError, match="type"):
            Variable(("point",), kind)


def test_coordinates_come_in_three_forms():
    values = np.arange(3.0)
    for given_ in (values, ("A", values, "keV"), (("A",), values), Coordinate(("A",), values)):
        coordinate = as_coordinate("A", given_)
        assert coordinate.dims == ("A",)
        np.testing.assert_array_equal(coordinate.values, values)
    assert as_coordinate("A", (1.0, 2.0)).values.shape == (2,)
    with pytest.raises(InputError, match="one name a dimension"):
        Coordinate(("a", "b"), values)
    with pytest.raises(InputError, match="numbers, booleans or text"):
        Coordinate(("a",), np.array([{}]))
