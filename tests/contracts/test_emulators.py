"""Every registered kind of emulator learns, predicts, selects outputs, and survives a file."""

import numpy as np
import pytest

from crosscal.core.grid import Axis, Grid
from crosscal.emulator import CLASSES, EMULATORS, TrainingTable, load, save, train


@pytest.fixture(scope="module", params=list(EMULATORS))
def trained(request):
    grid = Grid(
        (Axis.from_range("x", -1, 1, 9), Axis.from_range("y", 0, 1, 8), Axis.from_range("z", 1, 9, 7, scale="log"))
    )
    x, y, z = grid.points.T
    values = np.stack([x * y + np.log(z), np.cos(x) - y], axis=1)
    return train(TrainingTable.from_grid(grid, ["a", "b"], values), request.param)


@pytest.mark.thorough
def test_every_kind(trained, tmp_path):
    assert trained.kind in CLASSES
    points = np.array([[0.1, 0.2, 3.0], [-0.4, 0.9, 7.0]])
    truth = np.stack([points[:, 0] * points[:, 1] + np.log(points[:, 2]), np.cos(points[:, 0]) - points[:, 1]], axis=1)
    np.testing.assert_allclose(trained.predict(points), truth, atol=0.02)
    again = load(save(trained, tmp_path / "e.npz"))
    np.testing.assert_array_equal(again.predict(points), trained.predict(points))
    assert EMULATORS.describe()[trained.kind]


@pytest.mark.thorough
def test_selected_outputs_and_the_last_input(trained):
    points = np.array([[0.1, 0.2, 3.0], [0.1, 0.2, 7.0]])
    one = trained.select([1])
    assert one.outputs == ("b",)
    np.testing.assert_allclose(one.predict(points)[:, 0], trained.predict(points)[:, 1], rtol=1e-12)
    np.testing.assert_allclose(trained.at(points[0, :2], points[:, 2]), trained.predict(points), rtol=1e-10, atol=1e-12)
