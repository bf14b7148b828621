"""The example that combines two modules: both orders of the same two experiments recover the injected error."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_both_orders_agree(tmp_path):
    path = Path(__file__).parents[2] / "examples" / "joined.py"
    spec = importlib.util.spec_from_file_location("joined", path)
    joined = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(joined)
    first, second, truth = joined.main(tmp_path)
    sd = 0.5 * (first.sd + second.sd)
    # The same information in another order; the ensemble of 400 draws knows a mean to 1/20 of its sd, and bands are
    # averages in one order and points in the other.
    assert np.all(np.abs(np.log(first.factor / second.factor)) < 0.3 * sd)
    np.testing.assert_allclose(first.sd, second.sd, rtol=0.2)
    for found in (first, second):
        assert np.all(np.abs(np.log(found.factor / truth)) < 3 * found.sd)
