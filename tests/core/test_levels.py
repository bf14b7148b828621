"""Levels of errors that names and comments state, for tables of all parts."""

import pytest

from crosscal.core.levels import level_in_comments, level_in_name, level_in_text


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("err_90", "flux", 0.9),
        ("e95pct", "flux", 0.95),
        ("err_2sigma", "flux", 0.9545),
        ("flux_fwhm", "flux", 0.98153),
        ("err_493", "flux_493", None),
        ("err_493", "flux", None),  # 493 is not 93 %
        ("err_95", "flux_95", None),  # a wavelength
        ("flux_err", "flux", None),
    ],
)
def test_levels_in_names(name, value, level):
    found = level_in_name(name, value)
    assert (found and found[1]) == (level and pytest.approx(level, abs=1e-4))


@pytest.mark.parametrize(
    ("comment", "level"),
    [
        ("errors are 90% confidence limits", 0.9),
        ("Uncertainties: 2-sigma", 0.9545),
        ("errors are FWHM", 0.98153),
        ("limits are at 3 sigma; errors are standard errors", None),
        ("points with errors above 5 sigma were clipped", None),
        ("3 sigma detections only", None),
        ("90 % of the nights were clear", None),
    ],
)
def test_levels_in_comments(comment, level):
    found = level_in_comments(["a first line", comment])
    assert (found and found[1]) == (level and pytest.approx(level, abs=1e-4))
    assert found is None or found[2] == comment


def test_a_standard_error_is_no_level():
    assert level_in_text("1 sigma errors") is None
