"""At every moment a run directory holds one finished run, whatever was killed on the way."""

import json
import os
import shutil
from pathlib import Path

import pytest

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.jobs import directory as module
from crosscal.jobs.directory import RunDirectory
from crosscal.report.record import OUTCOME, RunRecord, changed_files, inventory


def fill(place: Path, text: str, names=("summary.ecsv", "figures/a.svg", "library.zarr/c/0")) -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    record = RunRecord(place, "toy", text, files=inventory(place))
    record.write()


def publish(path: Path, text: str, **options) -> None:
    run = RunDirectory(path)
    with run.locked():
        fill(run.open_pending(set()), text, **options)
        run.publish()


def whole(path: Path) -> str:
    """The run that the directory holds, checked to be of one piece."""
    record = RunRecord.read(path)
    record.require_whole()
    stores = [name for name, digest in record.files.items() if digest == "store"]
    texts = {(path / name).read_text() for name in record.files if name not in stores}
    texts |= {(path / name / "c/0").read_text() for name in stores}
    assert texts == {record.answer}
    return record.answer


def test_a_second_run_takes_the_place_of_the_first_and_leaves_the_users_files(tmp_path):
    publish(tmp_path, "one", names=("summary.ecsv", "old.ecsv", "figures/old.svg", "library.zarr/c/0"))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures" / "mine.png").write_text("mine")
    assert whole(tmp_path) == "one"
    publish(tmp_path, "two")
    assert whole(tmp_path) == "two"
    assert not (tmp_path / "old.ecsv").exists()
    assert not (tmp_path / "figures" / "old.svg").exists()
    assert (tmp_path / "notes.txt").read_text() == (tmp_path / "figures" / "mine.png").read_text() == "mine"
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} == {".lock"}


class Killed(BaseException):
    """Stands for a SIGKILL between two steps."""


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_step_of_the_publication_leaves_one_run(tmp_path, monkeypatch, step):
    publish(tmp_path, "one", names=("summary.ecsv", "old.ecsv", "library.zarr/c/0"))
    left = [step]

    def counted(real):
        def call(*arguments, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*arguments, **options)

        return call

    run = RunDirectory(tmp_path)
    with run.locked():
        fill(run.open_pending(set()), "two")
    monkeypatch.setattr(module.os, "replace", counted(os.replace))
    monkeypatch.setattr(module, "_remove", counted(module._remove))
    monkeypatch.setattr(module.shutil, "rmtree", counted(shutil.rmtree))
    try:
        with run.locked():
            run.publish()
        killed = False
    except Killed:
        killed = True
    monkeypatch.undo()
    # A reader who comes first sees the old run, the new run, or none: never a mixture.
    if (tmp_path / OUTCOME).exists():
        assert whole(tmp_path) in ("one", "two")
    else:
        with pytest.raises(DataFileError, match="not a directory of a finished run"):
            RunRecord.read(tmp_path)
    with run.locked():
        pass
    assert whole(tmp_path) == ("one" if killed and step == 0 else "two")
    if not killed:
        assert step > 5


def test_only_files_of_stages_stay_in_the_pending_place(tmp_path):
    run = RunDirectory(tmp_path)
    with run.locked():
        fill(run.open_pending(set()), "unfinished")
        place = run.open_pending({"library.zarr"})
        assert {p.name for p in place.rglob("*") if p.is_file()} == {"0"}


def test_changed_files_are_named(tmp_path):
    publish(tmp_path, "one")
    (tmp_path / "summary.ecsv").write_text("tampered")
    (tmp_path / "figures/a.svg").unlink()
    record = RunRecord.read(tmp_path)
    assert changed_files(tmp_path, record.files) == ["figures/a.svg", "summary.ecsv"]
    with pytest.raises(DataFileError, match=r"figures/a\.svg, summary\.ecsv missing or changed since the run finished"):
        record.require_whole()


def test_outcomes_that_lead_out_of_the_directory_remove_nothing(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("kept")
    path = tmp_path / "run"
    publish(path, "one")
    content = json.loads((path / OUTCOME).read_text())
    content["files"]["../outside.txt"] = "x"
    (path / OUTCOME).write_text(json.dumps(content))
    publish(path, "two")
    assert outside.read_text() == "kept"


def test_one_run_at_a_time_and_no_links(tmp_path):
    with (
        RunDirectory(tmp_path).locked(),
        pytest.raises(ConfigError, match="another run is working"),
        RunDirectory(tmp_path).locked(),
    ):
        pass
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(target)
    with pytest.raises(DataFileError), RunDirectory(tmp_path / "run").locked():
        pass
    assert target.read_text() == "kept"


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="the output is a file"), RunDirectory(tmp_path / "file").locked():
        pass
    with (
        pytest.raises(DataFileError, match="cannot make the run directory"),
        RunDirectory(tmp_path / "file/deeper").locked(),
    ):
        pass
