import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import Axis, Grid, Scatter, quasi_random


def test_grid_points_are_in_c_order():
    grid = Grid((Axis("a", [1.0, 2.0]), Axis("b", [10.0, 20.0, 30.0])))
    assert grid.shape == (2, 3)
    assert len(grid) == 6
    np.testing.assert_array_equal(grid.points[4], [2.0, 20.0])
    np.testing.assert_array_equal(grid.take([4, 0]), grid.points[[4, 0]])


def test_axes_join_and_are_found_by_name():
    grid = Grid((Axis("a", [1.0]),)) * Grid((Axis("b", [2.0, 3.0]),))
    assert grid.names == ("a", "b")
    assert grid.axis("b").values[1] == 3.0
    assert grid.bounds() == {"a": (1.0, 1.0), "b": (2.0, 3.0)}
    with pytest.raises(UnknownNameError):
        grid.axis("c")


def test_a_logarithmic_axis_is_even_in_logarithm():
    axis = Axis.from_range("T", 1.0, 16.0, 5, unit="keV", scale="log")
    np.testing.assert_allclose(np.diff(axis.coordinate), np.log(2.0))


@pytest.mark.parametrize(
    ("values", "scale", "message"),
    [
        ([], "linear", "no values"),
        ([1.0, np.nan], "linear", "not finite"),
        ([2.0, 1.0], "linear", "do not increase"),
        ([0.0, 1.0], "log", "logarithmic axis holds 0"),
        ([1.0, 2.0], "cubic", "unknown axis scale"),
    ],
)
def test_impossible_axes_are_refused(values, scale, message):
    with pytest.raises(InputError, match=message):
        Axis("a", values, scale=scale)


def test_impossible_ranges_are_refused():
    with pytest.raises(InputError, match="0 points"):
        Axis.from_range("a", 1, 2, 0)
    with pytest.raises(InputError, match="positive limits"):
        Axis.from_range("a", -1, 2, 3, scale="log")


def test_impossible_grids_are_refused():
    with pytest.raises(InputError, match="without axes"):
        Grid(())
    with pytest.raises(InputError, match="names repeat"):
        Grid((Axis("a", [1.0]), Axis("a", [2.0])))


@pytest.mark.parametrize("method", ["sobol", "latin-hypercube"])
def test_quasi_random_points_fill_the_box_and_repeat(method):
    box = {"A": (-0.2, 0.2), "sigma": (0.3, 3.0)}
    design = quasi_random(box, 256, method=method, seed=3, log=["sigma"])
    again = quasi_random(box, 256, method=method, seed=3, log=["sigma"])
    np.testing.assert_array_equal(design.points, again.points)
    assert design.bounds() == box
    # Half of a log-uniform axis lies below its geometric mean; a quasi-random set is even to a few points.
    assert abs(np.mean(design.points[:, 1] < np.sqrt(0.3 * 3.0)) - 0.5) < 0.02
    assert len(design) == 256
    np.testing.assert_array_equal(design.take([3]), design.points[[3]])


def test_impossible_designs_are_refused():
    with pytest.raises(UnknownNameError):
        quasi_random({"A": (0, 1)}, 4, method="spiral")
    with pytest.raises(InputError, match="low < high"):
        quasi_random({"A": (1, 1)}, 4)
    with pytest.raises(InputError, match="positive limits"):
        quasi_random({"A": (0, 1)}, 4, log=["A"])
    with pytest.raises(InputError, match="columns"):
        Scatter(("a", "b"), np.zeros((3, 1)))
    with pytest.raises(InputError, match="not finite"):
        Scatter(("a",), np.array([[np.nan]]))


def test_a_scatter_without_a_box_takes_its_extent():
    assert Scatter(("a",), np.array([[1.0], [4.0]])).bounds() == {"a": (1.0, 4.0)}
