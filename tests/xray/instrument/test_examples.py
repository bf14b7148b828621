import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosscal.core.errors import UnknownNameError
from crosscal.datasets import builtin_directory
from crosscal.xray.instrument.examples import EXAMPLES, example_telescope
from crosscal.xray.instrument.grouping import resolution

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "make_example_telescopes.py"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_plausible(name):
    response = example_telescope(name)
    assert response.notes == ()
    sums = response.redistribution.sum(axis=0)
    # Each photon is recorded at most once (elements are rounded to ten bits).
    assert sums.max() < 1.001
    assert sums.min() > 0.98
    width = resolution(response) * (response.channel_hi - response.channel_lo)
    at = np.searchsorted(response.channel_lo, [1.0, 6.0])
    assert 0.05 < width[at[0]] < 0.12  # FWHM in keV of today's CCDs
    assert 0.12 < width[at[1]] < 0.20
    assert 300 < response.area.max() < 2000


def test_areas_differ_in_shape():
    a, b = example_telescope("a"), example_telescope("b")
    ratio = np.interp([0.7, 1.5, 6.0], b.energy, b.area) / np.interp([0.7, 1.5, 6.0], a.energy, a.area)
    assert ratio.max() / ratio.min() > 1.3


def test_files_are_small():
    for file in (builtin_directory() / "xray").glob("example_*"):
        assert file.stat().st_size < 150_000


def test_unknown_example():
    with pytest.raises(UnknownNameError, match="example telescope 'c'"):
        example_telescope("c")


@pytest.mark.skipif(not SCRIPT.exists(), reason="the repository's tools are not installed with the package")
def test_script_makes_the_files_that_ship(tmp_path):
    spec = importlib.util.spec_from_file_location("make_example_telescopes", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = script
    try:
        spec.loader.exec_module(script)
        made = script.telescope(script.DESIGNS[0])
    finally:
        del sys.modules[spec.name]
    shipped = example_telescope("a")
    # The files hold float32, and ten bits of each matrix element.
    assert_allclose(made.area, shipped.area, rtol=1e-6)
    assert_allclose(made.redistribution.toarray(), shipped.redistribution.toarray(), rtol=2**-9, atol=2e-6)
