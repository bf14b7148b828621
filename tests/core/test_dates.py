"""Dates in columns of text against astropy's, and what is refused."""

import numpy as np
import pytest
from astropy.time import Time

from crosscal.core.dates import dates_as_mjd, refuse_packed_dates
from crosscal.core.errors import DataFileError


def days(*words):
    column = np.array(words)
    return dates_as_mjd(column, column != "", lambda k: f"t.csv, row {k + 2}")


def test_dates_are_those_of_astropy():
    words = [
        "1858-11-17",
        "1970-01-01T00:00",
        "2000-02-29 12:34:56.789",
        "2018-03-01T04:05:06Z",
        "2099-12-31T23:59:59.",
    ]
    plain = [word.rstrip("Z.").replace(" ", "T") for word in words]
    np.testing.assert_allclose(days(*words), Time(plain, scale="utc").mjd, rtol=0, atol=1e-10)


def test_empty_cells_and_other_columns():
    np.testing.assert_array_equal(days("2018-03-01", "", "2018-03-02"), [58178, np.nan, 58179])
    assert days("58178.5", "58179.5") is None
    assert days("", "") is None


@pytest.mark.parametrize("wrong", ["2018-02-30", "2018-13-01", "2018-03-01T24:30", "58178.5", "soon", "03/01/2018"])
def test_what_is_not_a_date_is_named(wrong):
    with pytest.raises(
        DataFileError, match=rf"row 3: '{wrong}' is not a date; expected dates in UTC such as 2018-03-01"
    ):
        days("2018-03-01", wrong)


def test_numbers_that_may_be_dates_are_refused():
    with pytest.raises(
        DataFileError, match=r"times such as 20180301 may be calendar dates; expected dates .* 2018-03-01"
    ):
        refuse_packed_dates(np.array([20180301.0, np.nan, 20181231.0]), "t.csv")
    for times in ([20180301.5], [20181301.0], [58000.0], [], [np.nan]):
        refuse_packed_dates(np.array(times), "t.csv")
