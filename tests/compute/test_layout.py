"""Chunks of a grid: every point in exactly one, in C order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosscal.compute import ChunkLayout
from crosscal.core.errors import InputError, UnknownNameError


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=3))
def test_each_point_is_in_exactly_one_chunk(shape):
    sizes = {f"d{k}": n for k, (n, _) in enumerate(shape)}
    layout = ChunkLayout.of(sizes, {f"d{k}": m for k, (_, m) in enumerate(shape)})
    flat = np.concatenate([layout.flat(k).ravel() for k in range(len(layout))])
    assert sorted(flat) == list(range(layout.points))


def test_slices_and_flat_numbers_agree():
    layout = ChunkLayout.of({"theta": 7, "kT": 5}, {"theta": 3, "kT": 2})
    numbers = np.arange(35).reshape(7, 5)
    for chunk in range(len(layout)):
        part = numbers[layout.slices(chunk)]
        assert part.shape == layout.shape(chunk)
        np.testing.assert_array_equal(part, layout.flat(chunk))


def test_a_bare_number_cuts_the_first_dimension():
    layout = ChunkLayout.of({"point": 10, "parameter": 2}, 4)
    assert (layout.dims, layout.sizes, layout.lengths, len(layout)) == (("point",), (10,), (4,), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), ()), "different names"),
        ((("a", "a"), (1, 1), (1, 1)), "different names"),
        ((("a",), (1, 2), (1,)), "equal numbers"),
        ((("a",), (0,), (1,)), "at least 1"),
        ((("a",), (3,), (0,)), "at least 1"),
    ],
)
def test_impossible_layouts_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ChunkLayout(*arguments)


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(UnknownNameError, match="'point'"):
        ChunkLayout.of({"point": 10}, {"points": 4})
    with pytest.raises(InputError, match="no dimensions"):
        ChunkLayout.of({}, 4)
    with pytest.raises(InputError, match=r"chunk 3.*0 to 2"):
        ChunkLayout.of({"point": 10}, 4).slices(3)
