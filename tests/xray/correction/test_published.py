"""Sizes that are known of real telescopes: what a slope of the effective area does to hot clusters."""

import numpy as np
import pytest

from crosscal import xray
from crosscal.xray.correction.bias import fitted_bias

MODEL = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)


@pytest.mark.parametrize("telescope", ["a", "b"])
@pytest.mark.parametrize(("band", "expected"), [((0.7, 7.0), -8.9), ((0.5, 7.0), -10.1)])
def test_an_area_that_rises_by_five_per_cent_makes_hot_clusters_a_tenth_too_cool(telescope, band, expected):
    """phi rises as a power of E by 5 per cent from 1 to 5 keV and is not known: kT = 10 keV comes out lower.

    phi is the area that the fit assumes over the true one, so that the true one is divided by it.
    """
    power = np.log(1.05) / np.log(5.0)
    found = fitted_bias(xray.example_telescope(telescope), MODEL, lambda e: e[None] ** -power, [10.0], band)
    # Areas of telescopes differ: two to three per cent of the bias itself.
    assert 100 * (found.ratio[0, 0] - 1) == pytest.approx(expected, abs=0.3)
