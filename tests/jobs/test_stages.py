"""Finished stages are loaded; what an interruption leaves is used; another key starts afresh."""

import json

import numpy as np
import pytest

from crosscal.core.errors import DataFileError
from crosscal.core.files import write_text
from crosscal.jobs.stages import Stages


class Ear:
    """Hears what stages say."""

    def __init__(self):
        self.heard = []

    def message(self, text):
        self.heard.append(text)


class Run:
    """Two stages, the second after the first; the first keeps a file, the second a value."""

    def __init__(self, directory, previous=None):
        self.directory, self.previous, self.count, self.ear = directory, previous, [], Ear()
        directory.mkdir(exist_ok=True)

    def go(self, key_a=1, key_b=1):
        stages = Stages(self.directory, self.previous, self.ear)

        def made(name, value):
            self.count.append(name)
            return value

        path = self.directory / "a.txt"
        a = stages.run(
            "a", key=key_a, files=["a.txt"], work=lambda: made("a", f"a{key_a}"),
            save=lambda text: write_text(path, text), load=path.read_text,
        )  # fmt: skip
        b = stages.run("b", key=key_b, after=["a"], work=lambda: made("b", {"x": np.arange(3) * key_b, "t": (a, 1.5)}))
        return a, b["t"], b["x"].tolist()


def test_finished_stages_are_skipped_and_told(tmp_path):
    run = Run(tmp_path)
    assert run.go() == run.go() == ("a1", ("a1", 1.5), [0, 1, 2])
    assert run.count == ["a", "b"]
    assert run.ear.heard == ["a: already complete, skipped", "b: already complete, skipped"]


def test_a_changed_key_repeats_the_stage_and_those_after_it(tmp_path):
    run = Run(tmp_path)
    run.go()
    run.go(key_b=2)
    assert run.count == ["a", "b", "b"]
    run.go(key_a=2, key_b=2)
    assert run.count == ["a", "b", "b", "a", "b"]
    assert "a: repeated, because its inputs have changed" in run.ear.heard


def test_a_damaged_product_or_memory_repeats_the_stage(tmp_path):
    run = Run(tmp_path)
    run.go()
    write_text(tmp_path / "stages" / "b.npz", "tampered")
    assert run.go()[0] == "a1"
    write_text(tmp_path / "stages.json", "{not json")
    assert run.go()[0] == "a1"
    assert run.count == ["a", "b", "b", "a", "b"]


def test_products_of_the_finished_run_are_taken_over_and_it_stays_whole(tmp_path):
    former = Run(tmp_path / "run")
    former.go()
    later = Run(tmp_path / "pending", tmp_path / "run")
    later.go(key_b=3)
    assert later.count == ["b"]
    assert (tmp_path / "run" / "a.txt").read_text() == "a1"
    assert former.go() == ("a1", ("a1", 1.5), [0, 1, 2])
    assert former.count == ["a", "b"]
    later.go(key_a=5)
    assert (tmp_path / "run" / "a.txt").read_text() == "a1"


@pytest.mark.parametrize("same", [True, False])
def test_what_an_interruption_leaves_is_used_by_the_same_stage_only(tmp_path, same):
    def work(stop):
        path = tmp_path / "store.zarr" / "chunk"
        path.parent.mkdir(exist_ok=True)
        found = path.exists()
        path.write_text("one")
        if stop:
            raise KeyboardInterrupt
        return found

    def go(key, stop):
        return Stages(tmp_path).run("Library", key=key, files=["store.zarr"], work=lambda: work(stop), resumes=True)

    with pytest.raises(KeyboardInterrupt):
        go(1, stop=True)
    record = json.loads((tmp_path / "stages.json").read_text())
    assert not record["Library"]["finished"]
    assert record["Library"]["seconds"] > 0
    assert go(1 if same else 2, stop=False) is same


def test_times_of_earlier_tries_count(tmp_path):
    Run(tmp_path).go()
    record = json.loads((tmp_path / "stages.json").read_text())
    for entry in record.values():
        entry["seconds"] = 100.0
    write_text(tmp_path / "stages.json", json.dumps(record))
    stages = Stages(tmp_path)
    stages.run("a", key=1, files=["a.txt"], work=lambda: "", load=lambda: "a1")
    assert stages.seconds_before == 100.0


def test_unused_stages_are_forgotten(tmp_path):
    Run(tmp_path).go()
    stages = Stages(tmp_path)
    stages.run("a", key=1, files=["a.txt"], work=lambda: "", load=lambda: "a1")
    stages.forget_unused()
    assert json.loads((tmp_path / "stages.json").read_text()).keys() == {"a"}
    assert not (tmp_path / "stages" / "b.npz").exists()


def test_a_finished_run_is_only_loaded(tmp_path):
    Run(tmp_path).go()
    with pytest.raises(DataFileError, match="files of the stage c are missing or changed"):
        Stages(tmp_path, complete=True).run("c", key=1, work=lambda: 1)
