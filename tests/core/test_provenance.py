import json

import pytest

from crosscal.core.errors import DataFileError
from crosscal.core.files import write_text
from crosscal.core.provenance import fingerprint, record


def test_fingerprint_ignores_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1}) != fingerprint({"a": 2})


def test_record_holds_hashes_versions_config_and_seed(tmp_path):
    path = write_text(tmp_path / "x.arf", "abc")
    entry = record(inputs={"arf": path}, config={"k": 1}, seed=5)
    assert entry["inputs"]["arf"]["sha256"].startswith("ba7816bf")
    assert {"python", "numpy", "crosscal"} <= set(entry["versions"])
    assert (entry["config"], entry["seed"]) == ({"k": 1}, 5)
    json.dumps(entry)


def test_record_of_a_missing_input(tmp_path):
    with pytest.raises(DataFileError):
        record(inputs={"arf": tmp_path / "none"})
