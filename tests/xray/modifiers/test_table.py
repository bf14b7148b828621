import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.modifiers.table import UserTable

FILES = {
    "plain.txt": "0.5 1.0\n1.0 0.9\n4.0 1.1\n",
    "comment.dat": "# energy factor\n0.5 1.0\n1.0 0.9\n4.0 1.1\n",
    "header.txt": "energy factor\n0.5 1.0\n1.0 0.9\n4.0 1.1\n",
    "named.csv": "factor,energy\n1.0,0.5\n0.9,1.0\n1.1,4.0\n",
    "bare.csv": "0.5,1.0\n1.0,0.9\n4.0,1.1\n",
    "units.ecsv": (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: energy, unit: eV, datatype: float64}\n"
        "# - {name: factor, datatype: float64}\nenergy factor\n500 1.0\n1000 0.9\n4000 1.1\n"
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_reads_the_usual_formats(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES[name])
    table = UserTable.read(path)
    assert_allclose(table.energy, [0.5, 1.0, 4.0])
    assert_array_equal(table.factors, [1.0, 0.9, 1.1])
    assert table.path == str(path)


def test_interpolates_in_log_energy():
    table = UserTable([0.5, 1.0, 4.0], [1.0, 0.9, 1.1])
    assert_allclose(table.factor([0.1, 0.5, np.sqrt(0.5), 2.0, 9.0]), [1.0, 1.0, 0.95, 1.0, 1.1])
    assert_allclose(table.factor([1.0], {"amplitude": 0.5}), 0.95)
    assert_array_equal(table.factor([1.0, 2.0], {"amplitude": 0.0}), 1.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0.5\n1.0\n", "there is one column"),
        ("0.5 1.0\n1.0 nan\n4.0 1.1\n", "column factor, row 2: the value is nan"),
        ("0.5 1.0\n1.0 -0.9\n4.0 1.1\n", "column factor, row 2: the value is -0.9"),
        ("0.5 1.0\n4.0 0.9\n1.0 1.1\n", "column energy, row 3: 1 keV follows 4 keV"),
        ("0.5 1.0\n", "two columns of the same length >= 2"),
        ("low high\na b\nc d\n", "the values are not numbers"),
        ("0.5 1.0\n1.0\n4.0 1.1\n", "cannot be read as a table"),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_tables(tmp_path, content, words):
    path = tmp_path / "bad.txt"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        UserTable.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_bad_unit_and_absent_file(tmp_path):
    path = tmp_path / "length.ecsv"
    path.write_text(FILES["units.ecsv"].replace("unit: eV", "unit: s"))
    with pytest.raises(DataFileError, match="column energy: the unit 's' cannot be used"):
        UserTable.read(path)
    with pytest.raises(DataFileError, match="no such table of factors"):
        UserTable.read(tmp_path / "none.csv")
