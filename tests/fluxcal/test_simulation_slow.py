"""Monte Carlo coverage of calibrated variances and bias of the combination."""

from __future__ import annotations

import numpy as np
import pytest

from crosscal.fluxcal.montecarlo import combination_bias, coverage

pytestmark = pytest.mark.slow


def test_coverage_with_a_common_grey_and_slope_error(slow_scale):
    n = max(30, round(200 * slow_scale))
    share = coverage(n)
    # binomial error of 200 frames: 0.033; pixels of a frame share the correlated error, so the same number counts
    error = 2.5 * np.sqrt(0.683 * 0.317 / n)
    assert abs(share["pixel"] - 0.683) < error
    assert abs(share["band"] - 0.683) < error
    # correlated errors taken as noise of pixels flatter the band
    assert share["naive"] < 0.3
    assert share["ratio"] > 5


@pytest.mark.parametrize("snr", [3.0, 5.0, 10.0, 20.0])
def test_combination_bias_below_one_per_cent(snr, slow_scale):
    ours, old = combination_bias(snr, 2, max(10, round(40 * slow_scale)))
    assert abs(ours) < 0.01
    assert old < -0.003
