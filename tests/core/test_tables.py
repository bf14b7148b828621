"""Tables of results are readable and lose no digit."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from crosscal.core.tables import ResultTable, describe


@pytest.fixture
def table():
    made = ResultTable({"name": ["a", "b"], "x": [1 / 3, 2 / 3], "n": [1, 2]})
    made["y"] = np.array([np.pi, np.nan]) * u.keV
    made["z"] = [0.123456789, 1.0]
    made["z"].info.format = ".2f"
    return made


@pytest.mark.parametrize("show", [str, repr, lambda t: t._repr_html_()], ids=["str", "repr", "html"])
def test_five_digits_are_shown(table, show):
    text = show(table)
    assert "0.33333" in text
    assert "0.333333" not in text
    assert "3.1416" in text
    assert "0.12" in text
    assert "0.123" not in text  # a column's own format


def test_dates_are_told_apart():
    shown = str(ResultTable({"jd": [2458000.12345, 2458003.5, 2458900.25], "flux": [1.0, 1.1, np.inf]}))
    assert "2458000.1" in shown
    assert "2458003.5" in shown
    assert "1.1" in shown


def test_an_empty_and_a_constant_column():
    assert "0.33333" in str(ResultTable({"x": [1 / 3, 1 / 3]}))
    assert len(str(ResultTable({"x": np.zeros(0)})))


def test_columns_of_a_table_are_readable_too(table):
    assert isinstance(table["x", "y"], ResultTable)
    assert "0.33333 " in str(table["x", "y"])


def test_no_digit_is_lost(table, tmp_path):
    assert table["x"][0] == 1 / 3
    del table["z"]
    table.write(tmp_path / "t.ecsv")
    assert QTable.read(tmp_path / "t.ecsv")["x"][0] == 1 / 3


def test_meanings_go_by_name_then_by_pattern_and_stay_in_files(tmp_path):
    table = describe(ResultTable({"q16": [1.0], "q84": [2.0], "x": [3.0]}), {"q84": "upper", "q*": "quantile"})
    table.write(tmp_path / "t.ecsv")
    found = ResultTable.read(tmp_path / "t.ecsv")
    assert [found[c].info.description for c in found.colnames] == ["quantile", "upper", None]
