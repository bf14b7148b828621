"""What the terminal offers: changes of a job, plans, JSON, how much is told, and the first line."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from crosscal.cli.main import group
from crosscal.core.errors import ConfigError
from crosscal.jobs.changes import changed, parse_change, workers_change
from crosscal.jobs.parts import PARTS

from .conftest import DONE, ToyJob

JOB = '# mine\njob = "toy"\noutput = "out"\ncount = 12\n'


@pytest.fixture(autouse=True)
def job_file():
    Path("job.toml").write_text(JOB)


def test_set_changes_the_job_that_runs_and_that_is_written(crosscal):
    code, out, _ = crosscal("run", "job.toml", "-q", "--set", "count=5", "--set", "seed = 3", "--set", "output=other")
    assert code == 0
    assert "Counted to 5." in out
    written = Path("other/job.toml").read_text()
    assert "count = 5" in written
    assert "seed = 3" in written
    assert Path("job.toml").read_text() == JOB


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuont=5", "job.toml with --set: key cuont: unknown key 'cuont'; expected 'count'"),
        ("tabel.x=5", "--set tabel.x: unknown table 'tabel'; expected 'table'"),
        ("count.x=5", "--set count.x: count is not a table; expected SECTION.KEY=VALUE."),
        ("count", "--set count; expected SECTION.KEY=VALUE, such as --set sampling.draws=500."),
        ("count=", "--set count=: not a TOML value"),
        ("count=[1", "--set count=[1: not a TOML value"),
        ("count=two", "job.toml with --set: key count: input should be a valid integer"),
        ("count=1\nseed=2", "--set count: more than one value; expected one TOML value in one line."),
    ],
)
def test_set_refuses_in_one_sentence(crosscal, text, message):
    code, out, err = crosscal("run", "job.toml", "-q", "--set", text)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_values_are_toml_and_bare_words_are_texts():
    values = {"a=1": 1, "a=1.5": 1.5, 'a="x"': "x", "a=x/y.csv": "x/y.csv", "a=[1, 2]": [1, 2], "a=true": True}
    assert {text: parse_change(text)[1] for text in values} == values
    assert parse_change("a.b={ c = 1 }") == ("a.b", {"c": 1})


def test_a_number_in_a_key_is_an_item_of_a_list():
    content = {"table": [{"x": 1}, {"x": 2}], "count": [1, 2]}
    assert changed(ToyJob, content, [("table.1.x", 7)])["table"] == [{"x": 1}, {"x": 7}]
    assert changed(ToyJob, content, [("count.0", 7)])["count"] == [7, 2]
    assert content["table"][1]["x"] == 2
    for key in ("table.2.x", "count.x"):
        with pytest.raises(ConfigError, match="is not an item of the list; expected a number below 2"):
            changed(ToyJob, content, [(key, 7)])


def test_workers_are_a_key_of_parts_that_have_them(crosscal):
    assert workers_change(PARTS.get("xray").model, 3) == ("compute.workers", 3)
    with pytest.raises(ConfigError, match="expected a number >= 1"):
        workers_change(PARTS.get("xray").model, 0)
    code, _, err = crosscal("run", "job.toml", "-q", "--workers", "2")
    assert code == 1
    assert "--workers 2: this kind of job uses one process, so a number of workers has no meaning" in err


def test_json_is_all_of_standard_output(crosscal):
    code, out, _ = crosscal("run", "job.toml", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["answer"] == "Counted to 12."
    assert told["passed"] is True
    assert told["checks"] == [{"name": "positive", "passed": True, "why": "counts are"}]
    assert Path(told["report"]).is_file()
    assert json.loads(crosscal("run", "job.toml", "--json")[1])["repeated"] is True
    code, out, _ = crosscal("run", "job.toml", "--json", "-q", "-o", "bad", "--set", "count=0")
    assert code == 3
    assert json.loads(out)["passed"] is False
    assert json.loads(crosscal("run", "job.toml", "--json", "--check")[1]) == {
        "part": "toy",
        "output": "out",
        "valid": True,
    }


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(crosscal):
    code, out, _ = crosscal("run", "job.toml", "--dry-run")
    assert code == 0
    assert "Counting: would run" in out
    assert not Path("out").exists()
    assert DONE == []
    crosscal("run", "job.toml", "-q")
    before = {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()}
    assert "The run in out is already complete: nothing would be done" in crosscal("run", "job.toml", "--dry-run")[1]
    out = crosscal("run", "job.toml", "--dry-run", "--seed", "7")[1]
    assert "Counting: already complete, would be skipped" in out
    assert "Seed: would run" in out
    told = json.loads(crosscal("run", "job.toml", "--dry-run", "--json", "--set", "count=13")[1])
    assert told["stages"] == [{"name": "Counting", "planned": "run"}]
    assert told["follows"] == ["Seed"]
    assert "Counting: would run" in crosscal("run", "job.toml", "--dry-run", "--overwrite")[1]
    Path("other.toml").write_text(JOB.replace("12", "5"))
    code, _, err = crosscal("run", "other.toml", "--dry-run")
    assert code == 1
    assert "the directory holds the finished run of another job" in err
    assert {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()} == before
    assert DONE == ["count"]


@pytest.mark.thorough
def test_quiet_and_verbose_set_the_level_of_the_logger(crosscal):
    _, _, quiet = crosscal("run", "job.toml", "-q", "-o", "a")
    assert quiet == ""
    _, _, plain = crosscal("run", "job.toml", "-o", "b")
    assert plain.startswith("Running job.toml.\n")
    assert "counted\n" in plain
    assert logging.getLogger("crosscal").level == logging.INFO
    _, _, verbose = crosscal("run", "job.toml", "-v", "-o", "c")
    assert "crosscal.run: Counting: 0.0 s" in verbose
    code, _, err = crosscal("run", "job.toml", "-v", "-q")
    assert code == 1
    assert "--quiet and --verbose; expected one of them" in err


def test_completion_offers_commands():
    result = CliRunner().invoke(
        group, [], prog_name="crosscal", env={"_CROSSCAL_COMPLETE": "bash_source", "COMP_WORDS": "crosscal "}
    )
    assert "complete -o nosort -F _crosscal_completion crosscal" in result.output


def test_the_first_line_of_a_demonstration_comes_before_heavy_imports():
    script = (
        "import sys\nimport crosscal.cli.tell as tell\n"
        "def first(quiet, text):\n    print(text)\n    print(sorted(sys.modules))\n    sys.exit(0)\n"
        "tell.announce = first\n"
        "from crosscal.cli.main import main\nmain(['demo', 'concordance'])\n"
    )
    text, modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert text.startswith("Demonstration of concordance on built-in data; the results will be in crosscal-demo-con")
    assert not {"numpy", "jax", "scipy", "astropy", "xarray", "pydantic", "matplotlib"} & set(eval(modules))
