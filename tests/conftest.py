"""Shared fixtures: double precision for JAX, the real-data directory, seeded randomness."""

import os
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest


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


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20190)
