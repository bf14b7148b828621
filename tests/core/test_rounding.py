"""Numbers rounded to their errors, in sentences and tables."""

import numpy as np
import pytest
from astropy.time import Time

from crosscal.core.rounding import decimals, error_formats, with_error
from crosscal.core.tables import ResultTable


@pytest.mark.parametrize(
    ("value", "error", "sign", "text"),
    [
        (1.22, 0.0163, False, "1.220 +/- 0.016"),
        (3.96, 0.19, True, "+3.96 +/- 0.19"),
        (-3.96, 0.96, True, "-3.96 +/- 0.96"),
        (-0.0001, 2.9, True, "0.0 +/- 2.9"),
        (1.0, 0.0996, False, "1.00 +/- 0.10"),
        (12345.6, 234.5, False, "12346 +/- 234"),
        (5.0, 0.0, False, "5 +/- 0"),
        (1e-12, 1e-13, False, "1e-12 +/- 1e-13"),
    ],
)
def test_values_have_the_digits_of_their_errors(value, error, sign, text):
    assert with_error(value, error, sign=sign) == text


def test_two_digits_of_every_error_are_kept():
    for error in np.geomspace(1e-7, 1e3, 301):
        shown = float(f"{error:.{decimals(error)}f}")
        assert abs(shown - error) <= max(0.05 * error, 0.5 * (error > 10))


def test_columns_take_the_digits_of_their_errors():
    table = ResultTable(
        {
            "name": ["A", "B"], "scale": [1.0, 1.2204321], "scale_sd": [0.0, 0.015531], "wide": [1.0, 2.0],
            "wide_err": [1e-4, 1.0], "factor": [1.04021, 0.96048], "q16": [1.0109, 0.93335], "q84": [1.0701, 0.98839],
            "q2.5": [0.98565, 0.90998], "quality": [0.123456, 0.2],
        }
    )  # fmt: skip
    forms = error_formats({name: table[name] for name in table.colnames[1:]})
    assert forms == dict.fromkeys(("scale", "scale_sd"), ".3f") | dict.fromkeys(("factor", "q16", "q84", "q2.5"), ".3f")
    assert "1.220" in str(table)
    assert "1.2204" not in str(table)
    assert table["scale"][1] == 1.2204321
    assert error_formats({"scale": [2e-16, 3e-16], "scale_error": [0.05, 0.04]}) == {}
    assert set(error_formats({"shift": [0.0, 0.0], "shift_sd": [0.05, 0.04]})) == {"shift", "shift_sd"}
    assert error_formats({"time": Time([58000.0], format="mjd"), "time_err": [0.1], "name": np.array(["a"])}) == {}
    moments = {"mean": [0.063892], "sd": [0.0085391], "q2.5": [0.04], "q16": [0.055], "median": [0.06], "q84": [0.072]}
    assert set(error_formats(moments).values()) == {".4f"}
    assert set(error_formats(moments)) == set(moments)
