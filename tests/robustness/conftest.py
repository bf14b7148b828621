"""The corpus of all readers, and the size of the sweep."""

import pytest

from .registry import READERS


@pytest.fixture(scope="session", params=[pytest.param(reader, id=reader.id) for reader in READERS])
def reader(request):
    """Each reader with its corpus."""
    return request.param
