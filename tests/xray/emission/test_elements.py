"""Elements and abundance tables."""

from pathlib import Path

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, UnknownNameError
from crosscal.xray.emission import elements


def test_every_element_is_in_exactly_one_group():
    listed = [symbol for group in elements.GROUPS for symbol in group]
    assert sorted(listed) == sorted(elements.SYMBOLS)
    assert len(elements.GROUPS) == 15
    assert elements.MASSES.size == len(elements.SYMBOLS) == 30


def test_known_abundances():
    # Anders & Grevesse (1989) and Wilms et al. (2000), iron and oxygen.
    assert elements.abundances("angr")[elements.Z["Fe"] - 1] == pytest.approx(4.68e-5)
    assert elements.abundances("wilm")[elements.Z["O"] - 1] == pytest.approx(4.90e-4)
    assert elements.abundance_ratio("angr") == pytest.approx(np.ones(30))
    assert elements.abundance_ratio("aspl")[elements.Z["Fe"] - 1] == pytest.approx(3.16 / 4.68)


def test_every_table_has_a_reference_and_starts_with_hydrogen():
    tables = elements._tables()
    assert {"angr", "aspl", "wilm", "lodd", "grsa"} <= set(tables)
    for name, table in tables.items():
        assert len(table["reference"]) > 10
        assert elements.abundances(name)[0] == 1.0


def test_unknown_table_offers_the_closest():
    with pytest.raises(UnknownNameError, match="'wilm'"):
        elements.abundances("wilms")


@pytest.mark.parametrize("text", ["", "[]", '{"a": {"values": [1]}}', '{"a": 3}'])
def test_bad_file(tmp_path: Path, text):
    path = tmp_path / "abundances.json"
    path.write_text(text)
    with pytest.raises(DataFileError, match=r"abundances\.json: not an abundance table"):
        elements.read_abundances(path)
