import json

import pytest

from crosscal.core.errors import DataFileError
from crosscal.core.files import write_text
from crosscal.core.provenance import fingerprint, record
from crosscal.core.stages import Stages


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


class Run:
    def __init__(self, directory):
        self.directory, self.count = directory, []

    def go(self, key_a=1, key_b=1):
        stages = Stages(self.directory)

        def stage(name, key, after=()):
            return stages.run(
                name,
                key=key,
                files=[f"{name}.txt"],
                after=after,
                work=lambda: self.count.append(name) or f"{name}{key}",
                save=lambda text: write_text(self.directory / f"{name}.txt", text),
                load=lambda: (self.directory / f"{name}.txt").read_text(),
            )

        return stage("a", key_a), stage("b", key_b, after=["a"])


def test_finished_stages_are_skipped(tmp_path):
    run = Run(tmp_path)
    assert run.go() == run.go() == ("a1", "b1")
    assert run.count == ["a", "b"]


def test_a_changed_key_repeats_the_stage_and_those_after_it(tmp_path):
    run = Run(tmp_path)
    run.go()
    run.go(key_b=2)
    assert run.count == ["a", "b", "b"]
    run.go(key_a=2, key_b=2)
    assert run.count == ["a", "b", "b", "a", "b"]


def test_a_damaged_product_or_memory_repeats_the_stage(tmp_path):
    run = Run(tmp_path)
    run.go()
    write_text(tmp_path / "b.txt", "tampered")
    assert run.go() == ("a1", "b1")
    write_text(tmp_path / "stages.json", "{not json")
    assert run.go() == ("a1", "b1")
    assert run.count == ["a", "b", "b", "a", "b"]
