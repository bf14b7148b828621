"""Shared fixtures: double precision for JAX, the real-data directory, seeded randomness."""

import os
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest


def pytest_addoption(parser):
    """Add the option with which CI makes sure that real-data tests do run."""
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as a failure")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn skips into failures under ``--no-skips``."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but --no-skips is given: {report.longrepr}"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of real data; skips the test where CROSSCAL_DATA is unset."""
    value = os.environ.get("CROSSCAL_DATA")
    if not value:
        pytest.skip("CROSSCAL_DATA is not set: this test reads real data")
    path = Path(value)
    if not path.is_dir():
        pytest.fail(f"CROSSCAL_DATA={value} is not a directory")
    return path


@pytest.fixture(scope="session")
def slow_scale() -> float:
    """Size of the long checks: 1 is the full size; CI runs a fraction (CROSSCAL_SLOW_SCALE)."""
    return float(os.environ.get("CROSSCAL_SLOW_SCALE", "1"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20190)
