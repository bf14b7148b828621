"""A small analytic calibration emulator: what a log-slope fit would do to an exponential spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from crosscal.core.grid import Axis, Grid
from crosscal.emulator import TrainingTable, train
from crosscal.xray.correction.emulate import OUTPUTS, CalibrationEmulator
from crosscal.xray.modifiers.gaussian import Gaussian

ENERGY = np.geomspace(0.5, 8.0, 40)


def shifts(theta, kT):
    """ln kT ratio, ln norm ratio, abundance shift for theta (n, 3) and kT (n,): smooth, with real aliases."""
    a, mu, sigma = np.asarray(theta, dtype=float).T[..., None]
    log = np.log1p(a * np.exp(-0.5 * ((ENERGY - mu) / sigma) ** 2))
    weight = np.exp(-ENERGY / np.asarray(kT)[:, None]) * ENERGY**-0.5
    weight /= weight.sum(axis=1, keepdims=True)
    x = np.log(ENERGY)
    centred = x - (weight * x).sum(axis=1, keepdims=True)
    slope = (weight * centred * log).sum(axis=1) / (weight * centred**2).sum(axis=1)
    level = (weight * log).sum(axis=1)
    return np.stack([0.5 * slope * np.log1p(kT), level - 0.2 * slope, 0.1 * slope], axis=1)


@pytest.fixture(scope="session")
def emulator() -> CalibrationEmulator:
    """An emulator of kT, norm and abundance over (A, mu, sigma, T_true)."""
    grid = Grid(
        (
            Axis.from_range("A", -0.3, 0.3, 7),
            Axis.from_range("mu", 0.7, 7.0, 11, unit="keV"),
            Axis.from_range("sigma", 0.4, 2.0, 7, unit="keV"),
            Axis.from_range("T_true", 1.0, 15.0, 10, unit="keV", scale="log"),
        )
    )
    points = grid.points
    table = TrainingTable.from_grid(grid, list(OUTPUTS.values()), shifts(points[:, :3], points[:, 3]))
    return CalibrationEmulator(
        train(table, "spline"), Gaussian(), {}, "pn", dict.fromkeys(OUTPUTS.values(), 0.01), shifts
    )


@pytest.fixture(scope="session")
def amplitude_only() -> CalibrationEmulator:
    """An emulator in which only the amplitude varies: one identified parameter."""
    grid = Grid(
        (
            Axis.from_range("A", -0.3, 0.3, 9),
            Axis("mu", [0.8], "keV"),
            Axis("sigma", [0.5], "keV"),
            Axis.from_range("T_true", 1.0, 15.0, 12, unit="keV", scale="log"),
        )
    )
    points = grid.points
    table = TrainingTable.from_grid(grid, list(OUTPUTS.values()), shifts(points[:, :3], points[:, 3]))
    return CalibrationEmulator(train(table, "spline"), Gaussian(), {"mu": 0.8, "sigma": 0.5}, "acis", {})
