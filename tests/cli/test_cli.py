import json
import subprocess
import sys
from pathlib import Path

import pytest

from crosscal.cli.list import FAMILIES
from crosscal.jobs.parts import PARTS


def test_help_names_every_command(crosscal):
    code, out, _ = crosscal("--help")
    assert code == 0
    for name in ("demo", "init", "run", "report", "compare", "list", "data"):
        assert f"  {name} " in out


@pytest.mark.parametrize("command", ["demo", "init", "run", "report", "compare", "list", "data", "data fetch"])
def test_every_command_has_help(crosscal, command):
    code, out, _ = crosscal(*command.split(), "--help")
    assert code == 0
    assert "Usage:" in out


def test_unknown_commands_families_parts_and_options_offer_the_closest(crosscal):
    assert crosscal("rum")[2].startswith("crosscal: error: crosscal: unknown command 'rum'; expected 'run', 'compare'")
    assert "unknown family 'modifers'; expected 'modifiers'" in crosscal("list", "modifers")[2]
    assert "unknown part 'xry'; expected 'xray'" in crosscal("init", "xry")[2]
    code, _, err = crosscal("run", "--seeed", "3", "x")
    assert code == 2
    assert "--seed" in err


def test_init_then_run_writes_a_whole_run_directory(crosscal):
    code, out, _ = crosscal("init", "toy")
    assert code == 0
    assert "toy.toml" in out
    code, out, _ = crosscal("run", "toy.toml", "-o", "out", "--quiet")
    assert code == 0
    assert out.strip().startswith("Counted to 4.\n  warning: counting is discrete.")
    directory = Path("out")
    names = {p.name for p in directory.iterdir()}
    assert {"job.toml", "provenance.json", "run.log", "outcome.json", "summary.ecsv", "figures", "report.html"} <= names
    assert "count = 4" in (directory / "job.toml").read_text()
    assert "seed = 0" in (directory / "job.toml").read_text()
    assert json.loads((directory / "provenance.json").read_text())["config"]["count"] == 4
    assert "Counting: " in (directory / "run.log").read_text()
    assert {p.name for p in (directory / "figures").iterdir()} == {"line.png", "line.svg", "again.png", "again.svg"}


def test_the_job_as_run_runs_again(crosscal):
    crosscal("init", "toy")
    crosscal("run", "toy.toml", "-o", "out", "-q")
    code, _, _ = crosscal("run", "out/job.toml", "-q", "-o", "second", "--seed", "7")
    assert code == 0
    assert "seed = 7" in Path("second/job.toml").read_text()


def test_every_template_is_a_valid_job(crosscal, tmp_path):
    for name in PARTS:
        code, out, err = crosscal("init", name, f"{name}.toml")
        assert code == 0, err
        code, out, err = crosscal("run", "--check", f"{name}.toml")
        # The names of files in it are examples: the sentence says which keys to fill in.
        assert f"valid {name} job" in out or f"{name}.toml: no such file: " in err
        assert code == (0 if out else 1)


def test_init_prints_and_protects(crosscal):
    assert crosscal("init", "toy", "-")[1].startswith("# Count to a number")
    crosscal("init", "toy")
    code, _, err = crosscal("init", "toy")
    assert code == 1
    assert "toy.toml: the file exists; expected a new file name, or --force." in err
    assert crosscal("init", "toy", "--force")[0] == 0


def test_demo(crosscal):
    code, out, _ = crosscal("demo", "toy", "-q")
    assert code == 0
    assert "Counted to 12." in out
    assert Path("crosscal-demo-toy/report.html").is_file()


BAD = {
    "unknown key": (
        'job = "toy"\noutput = "o"\ncuont = 2\n',
        "bad.toml: key cuont: unknown key 'cuont'; expected 'count', 'job', 'output', 'seed' or 'table'.",
    ),
    "unknown job": ('job = "tooy"\noutput = "o"\n', "bad.toml: key job: unknown part 'tooy'; expected 'toy'"),
    "no job": ('output = "o"\n', "bad.toml: key job: the key is missing or no text"),
    "broken": ("job = \n", "bad.toml: not valid TOML"),
    "missing input": ('job = "toy"\noutput = "o"\ntable = "none.ecsv"\n', "bad.toml: no such file: table = '"),
    "bad value": ('job = "toy"\noutput = "o"\ncount = -1\n', "key count: a negative count; expected a count >= 0."),
    "output is a file": ('job = "toy"\noutput = "bad.toml"\n', "bad.toml: the output is a file; expected a directory."),
    "output overwrites": (
        'job = "toy"\noutput = "o"\ntable = "o/job.toml"\n',
        "o/job.toml: this output would overwrite an input",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_jobs_end_with_one_sentence(crosscal, text, message):
    Path("o").mkdir()
    Path("o/job.toml").write_text("kept")
    Path("bad.toml").write_text(text)
    code, out, err = crosscal("run", "bad.toml", "-q")
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    if "count = -1" not in text:
        assert Path("o/job.toml").read_text() == "kept"


@pytest.mark.parametrize("link", [False, True])
def test_a_job_file_is_not_overwritten_by_its_run(crosscal, link):
    """Comments of the user would be lost: ``output = "."`` and a link from the run directory are refused."""
    text = '# mine\njob = "toy"\noutput = "%s"\n' % ("o" if link else ".")
    Path("job.toml").write_text(text)
    if link:
        Path("o").mkdir()
        Path("o/job.toml").symlink_to("../job.toml")
    code, _, err = crosscal("run", "job.toml", "-q")
    assert code == 1
    assert "job.toml: this output would overwrite an input" in err
    assert Path("job.toml").read_text() == text
    assert not list(Path("o" if link else ".").glob("*.ecsv"))


def test_a_finished_run_is_not_repeated(crosscal):
    crosscal("init", "toy")
    crosscal("run", "toy.toml", "-o", "out", "-q")
    before = {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()}
    code, out, _ = crosscal("run", "toy.toml", "-o", "out", "-q")
    assert code == 0
    assert out.startswith("Already complete")
    assert "Counted to 4." in out
    assert crosscal("run", "out/job.toml", "-q")[0] == 0
    assert {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()} == before


def test_a_log_that_cannot_be_written_is_one_sentence(crosscal):
    """As on a disk that is full between two stages."""
    crosscal("init", "toy")
    Path("out/.pending/run.log").mkdir(parents=True)
    Path("out/.pending/run.log/x").touch()
    Path("out/.pending/stages.json").write_text('{"a": {"files": {"run.log/x": ""}}}')
    code, _, err = crosscal("run", "toy.toml", "-o", "out", "-q")
    assert code == 1
    assert "run.log" in err
    assert err.count("\n") == 1


def test_a_check_that_failed_gives_exit_code_3(crosscal):
    Path("job.toml").write_text('job = "toy"\noutput = "out"\ncount = 0\n')
    code, out, _ = crosscal("run", "job.toml", "-q")
    assert code == 3
    assert "check failed: positive: counts are" in out
    code, out, _ = crosscal("run", "job.toml", "-q")
    assert code == 3
    assert "already complete" in out.lower()


@pytest.mark.thorough
def test_a_directory_that_holds_another_run_is_refused_or_overwritten(crosscal):
    crosscal("init", "toy")
    crosscal("run", "toy.toml", "-o", "out", "-q")
    before = Path("out/summary.ecsv").read_text()
    Path("other.toml").write_text(Path("toy.toml").read_text().replace("count = 4", "count = 5"))
    code, _, err = crosscal("run", "other.toml", "-o", "out", "-q")
    assert code == 1
    assert "toy.toml, toy); expected another output, or --overwrite to replace that run." in err
    assert Path("out/summary.ecsv").read_text() == before
    Path("out/mine.txt").write_text("kept")
    assert crosscal("run", "other.toml", "-o", "out", "-q", "--overwrite")[0] == 0
    assert "0.625" in Path("out/summary.ecsv").read_text()
    assert Path("out/mine.txt").read_text() == "kept"


def test_two_runs_do_not_share_a_directory(crosscal):
    import fcntl

    crosscal("init", "toy")
    Path("out").mkdir()
    with open("out/.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, err = crosscal("run", "toy.toml", "-o", "out", "-q")
    assert code == 1
    assert "another run is working in this directory" in err


def test_an_impossible_run_directory(crosscal):
    Path("file").write_text("")
    code, _, err = crosscal("demo", "toy", "-q", "-o", "file/deeper")
    assert code == 1
    assert "cannot make the run directory" in err


def test_report_is_written_again_and_foreign_directories_are_refused(crosscal):
    crosscal("demo", "toy", "-q")
    before = Path("crosscal-demo-toy/report.html").read_text()
    Path("crosscal-demo-toy/report.html").unlink()
    assert crosscal("report", "crosscal-demo-toy")[0] == 0
    assert Path("crosscal-demo-toy/report.html").read_text() == before
    assert "not a directory of a finished run" in crosscal("report", ".")[2]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_is_listed_with_a_line_for_each_member(crosscal, family):
    code, out, _ = crosscal("list", family)
    assert code == 0
    for name in FAMILIES.get(family):
        assert name in out
    described = [line for line in out.strip().splitlines() if line.split(" ")[0] in FAMILIES.get(family)]
    assert all(len(line.split(maxsplit=1)) == 2 for line in described)


def test_list_without_a_family_shows_the_families(crosscal):
    out = crosscal("list")[1]
    assert all(name in out for name in FAMILIES)


def test_data_commands(crosscal, monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSCAL_DATA", str(tmp_path))
    (tmp_path / "x.arf").write_text("x")
    assert str(tmp_path) in crosscal("data", "path")[1]
    assert "x.arf  [CROSSCAL_DATA]" in crosscal("data", "list")[1]
    assert crosscal("data", "find", "x.arf")[1].strip() == str(tmp_path / "x.arf")
    assert "unknown download" in crosscal("data", "fetch", "nothing")[2]


def test_interruption_says_how_to_go_on(crosscal, monkeypatch):
    from crosscal.cli import init

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(init.command, "callback", interrupt)
    code, _, err = crosscal("init", "toy")
    assert code == 130
    assert "the same command resumes" in err


def fresh(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    ).stderr


@pytest.mark.parametrize("arguments", [("-c", "import crosscal"), ("-m", "crosscal", "--help")])
def test_starting_is_light(arguments):
    loaded = {line.rsplit("|", 1)[-1].strip() for line in fresh(*arguments).splitlines() if "|" in line}
    # What is loaded decides the start-up time; the time itself depends on the machine.
    heavy = {"numpy", "jax", "numba", "scipy", "astropy", "matplotlib", "xarray", "zarr", "numpyro", "pydantic"}
    assert not loaded & heavy


@pytest.mark.thorough
def test_every_run_leaves_its_correction(crosscal):
    from crosscal.datasets import read_correction

    job = Path("job.toml")
    for count, there in ((3, True), (1, False), (3, True), (0, False)):
        job.write_text(f'job = "toy"\noutput = "out"\ncount = {count}\n')
        assert crosscal("run", str(job), "--quiet")[0] == (0 if count else 3)
        assert Path("out/correction.nc").exists() == there
        assert not there or list(read_correction("out").factor) == [1.0, 2.0, 3.0]


def test_a_demo_says_where_it_comes_from(crosscal):
    assert crosscal("demo", "toy", "-o", "there", "--quiet")[0] == 0
    record = json.loads(Path("there/provenance.json").read_text())
    assert record["config"]["count"] == 12
    assert Path("there/job.toml").is_file()
    assert "crosscal" in record["versions"]
