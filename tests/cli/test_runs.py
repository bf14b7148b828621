"""``crosscal.run``: the same run from Python as from the command line, and a directory that tells the truth."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crosscal
from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.report import write_report

from .conftest import DONE

JOB = {"job": "toy", "output": "out", "count": 12}


def written(directory="out"):
    return {p.relative_to(directory): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}


def test_a_run_from_python_gives_what_the_command_line_leaves(crosscal_toml):
    run = crosscal.run(crosscal_toml, output="elsewhere", seed=5)
    assert run.directory == Path("elsewhere")
    assert run.answer == "Counted to 12."
    assert [c.name for c in run.checks] == ["positive"]
    assert run.passed
    assert run.warnings == ()
    assert run.correction.factor[-1] == 12
    assert run.posterior["posterior"].sizes["draw"] > 100
    assert run.summary()["n"][0] == 1.5
    assert set(run.figures()) == {"line", "again"}
    assert run.captions["line"] == "A line."
    assert run.citations == ("nuts",)
    assert run.provenance["seed"] == 5
    assert run.report.is_file()
    assert (run.write("copy") / "summary.ecsv").is_file()


@pytest.fixture
def crosscal_toml():
    Path("job.toml").write_text('job = "toy"\noutput = "out"\ncount = 12\n')
    return "job.toml"


def test_a_mapping_is_a_job_too_and_a_second_run_only_loads():
    first = crosscal.run(JOB)
    assert DONE == ["count"]
    second = crosscal.run(JOB)
    assert second.repeated
    assert not first.repeated
    assert second.result.answer == first.answer
    np.testing.assert_array_equal(second.correction.factor, first.correction.factor)
    assert DONE == ["count"]
    with pytest.raises(ConfigError, match="unknown key 'cuont'; expected 'count'"):
        crosscal.run({**JOB, "cuont": 1})


@pytest.mark.thorough
def test_only_what_depends_on_a_change_is_done_again():
    crosscal.run(JOB)
    crosscal.run(JOB, seed=3)
    assert DONE == ["count"]
    crosscal.run({**JOB, "count": 13})
    assert DONE == ["count", "count"]
    Path("table.txt").write_text("one")
    crosscal.run({**JOB, "table": "table.txt"})
    Path("table.txt").write_text("two")
    crosscal.run({**JOB, "table": "table.txt"})
    assert DONE == ["count"] * 4


def test_a_run_that_is_refused_leaves_the_former_one_whole():
    crosscal.run(JOB)
    before = written()
    with pytest.raises(InputError, match="a negative count"):
        crosscal.run({**JOB, "count": -1})
    after = {k: v for k, v in written().items() if k.parts[0] != ".pending"}
    assert after == before
    report = write_report("out")
    assert "Counted to 12." in report.read_text()
    assert "count = 12" in report.read_text()
    assert crosscal.run(JOB).repeated


def test_a_report_of_mixed_files_is_refused():
    crosscal.run(JOB)
    text = Path("out/job.toml").read_text()
    Path("out/job.toml").write_text(text.replace("count = 12", "count = 13"))
    with pytest.raises(DataFileError, match=r"job\.toml missing or changed since the run finished"):
        write_report("out")
    # The run itself notices, too, and works again.
    again = crosscal.run(JOB)
    assert not again.repeated
    assert Path("out/job.toml").read_text() == text


def test_leftovers_of_killed_writers_are_removed_and_never_read():
    crosscal.run(JOB)
    Path("out/.partial-abcdefgh-summary.ecsv").write_text("# %ECSV 1.0\n# half")
    assert "partial" not in write_report("out").read_text()
    crosscal.run(JOB)
    assert not list(Path("out").rglob(".partial*"))


def test_the_job_file_of_a_run_reproduces_it_beside_its_inputs(crosscal, tmp_path):
    assert crosscal("demo", "toy", "-q", "-o", "one")[0] == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy("one/job.toml", empty)
    shutil.copy("one/data/table.txt", empty)
    shutil.move("one/data", "gone")
    code, _, err = crosscal("run", str(empty / "job.toml"), "-q", "-o", "two")
    assert (code, err) == (0, "")
    names = {"summary.ecsv", "correction.ecsv", "figures/line.svg", "outcome.json"}
    for name in names - {"outcome.json"}:
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()
    one, two = (json.loads(Path(d, "outcome.json").read_text()) for d in ("one", "two"))
    assert one["identity"] == two["identity"]


def test_a_job_loads_no_other_part(tmp_path):
    """A finished run says so within three seconds; the parts' compiled code takes one to load."""
    job = tmp_path / "job.toml"
    job.write_text('job = "concordance"\noutput = "out"\n[data]\npath = "fluxes.csv"\n[prior]\ntau = 0.05\n')
    code = (
        "import sys; from crosscal.jobs.parts import load_job; load_job(sys.argv[1]);"
        "print([m for m in ('jax', 'crosscal.lightcurves.job', 'crosscal.xray', 'crosscal.fluxcal')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(job)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
