"""Makes ``sweep_cases`` importable here and in worker processes, which inherit the module search path."""

import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

import sweep_cases  # noqa: E402


@pytest.fixture
def store(tmp_path):
    """An empty store of 37 points in chunks of 5."""
    return sweep_cases.new_store(tmp_path / "case.zarr")
