"""Signals, closed and full streams, odd backends and odd names: one sentence or a normal end, in real processes."""

import os
import signal
import subprocess
import sys

import pytest

from crosscal.cli.edges import ended_by_signals, output_problem
from crosscal.core.errors import DataFileError, encodable
from crosscal.core.files import require_utf8, write_text

WAITER = """
import os, sys, time
from pathlib import Path
import click
from crosscal.core.files import atomic_path, write_text

@click.command("wait")
@click.argument("what")
def command(what):
    if what == "say":
        click.echo("said")
        click.echo("news", err=True)
        click.echo("more news", err=True)
        Path("finished").write_text("")
    elif what == "name":
        click.echo(f"here: {Path.cwd()}")
        write_text("job.toml", f"output = '{Path.cwd()}'")
    elif what == "system":
        (Path("d" * 300) / "x").stat()
    elif what == "figure":
        from crosscal.plot import figure, save_figures
        save_figures({"f": figure()}, Path("."), formats=("png",))
    elif what == "fork":
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, b".")
            time.sleep(30)
        os.read(reading, 1)
        os.kill(child, 15)
        click.echo(f"child: {os.waitpid(child, 0)[1]}")
    else:
        try:
            with atomic_path("target") as path:
                path.write_text("half")
                print("ready", flush=True)
                for _ in range(300):
                    time.sleep(0.1)
        finally:
            time.sleep(0.3)
            print("cleaned", flush=True)
"""
START = "import sys; from crosscal.cli import main; main.COMMANDS['wait'] = ('waiter', ''); main.main(sys.argv[1:])"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start ``crosscal wait WHAT`` in a directory of its own, signals as a shell in a terminal sets them."""
    (tmp_path / "waiter.py").write_text(WAITER)
    work = tmp_path / "work"
    work.mkdir()

    def begin(what, *, ignored=(), cwd=work, before=None, environment=None, **options):
        def prepare():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
            if before:
                before()

        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        surroundings = os.environ | {"PYTHONPATH": path} | (environment or {})
        return subprocess.Popen(
            [sys.executable, "-c", START, "wait", what],
            cwd=cwd, text=True, preexec_fn=prepare, env=surroundings, **pipes,
        )  # fmt: skip

    begin.work = work
    return begin


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_signals_end_with_a_sentence_and_clean_up(start, number, code, words):
    process = start("block")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    if number != signal.SIGINT:
        process.send_signal(number)  # impatience does not cut the clean-up short
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.strip() == f"crosscal: error: {words}; the same command resumes the run."
    assert out == "cleaned\n"
    assert not list(start.work.iterdir())


@pytest.mark.thorough
def test_what_the_parent_ignores_stays_ignored(start):
    """``nohup``, and background jobs of scripts, whose shell ignores SIGINT for them."""
    process = start("block", ignored=(signal.SIGINT, signal.SIGHUP))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_forked_workers_end_without_the_clean_up_of_their_parent(start):
    out, err = start("fork").communicate(timeout=20)
    assert out == f"child: {int(signal.SIGTERM)}\n"
    assert not err


def test_handlers_are_left_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals():
        pass
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("closed", [(2,), (1,), (0, 1, 2)])
def test_closed_streams_do_not_matter(start, closed):
    process = start("say", before=lambda: [os.close(n) for n in closed])
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert (start.work / "finished").exists()
    assert out == ("" if 1 in closed else "said\n")
    assert err == ("" if 2 in closed else "news\nmore news\n")


def test_a_full_disk_under_standard_output_is_one_sentence(start):
    with open("/dev/full", "w") as full:
        _, err = (process := start("say", stdout=full)).communicate(timeout=20)
    assert process.returncode == 1
    assert err == "crosscal: error: cannot write to standard output (No space left on device).\n"


def test_a_full_disk_under_standard_error_stops_no_run(start):
    with open("/dev/full", "w") as full:
        out, _ = (process := start("say", stderr=full)).communicate(timeout=20)
    assert (process.returncode, out) == (0, "said\n")
    assert (start.work / "finished").exists()


def test_a_reader_that_went_away_is_no_error(start):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        _, err = (process := start("say", stdout=stream)).communicate(timeout=20)
    assert (process.returncode, err) == (1, "")


@pytest.mark.thorough
def test_any_name_of_a_backend_draws_figures(start):
    process = start("figure", environment={"MPLBACKEND": "nonsense"})
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert (start.work / "f.png").stat().st_size > 1000


def test_what_the_system_refuses_is_one_sentence(start):
    process = start("system")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == f"crosscal: error: {'d' * 300}/x: File name too long.\n"


def test_a_directory_whose_name_is_not_utf8_is_one_sentence(start):
    odd = os.path.join(os.fsencode(start.work), b"d\xff")
    os.mkdir(odd)
    out, err = (process := start("name", cwd=odd)).communicate(timeout=20)
    assert process.returncode == 1
    assert out.startswith(f"here: {start.work}/d")
    assert err.startswith("crosscal: error: job.toml: the name of a file or directory is not UTF-8 (output = '")
    assert "d\\xff'); expected names in UTF-8." in err
    assert os.listdir(odd) == []


def test_names_that_are_not_utf8_are_refused_where_they_would_be_written(tmp_path):
    name = os.fsdecode(b"a\xff")
    with pytest.raises(DataFileError, match=r"not UTF-8 \(b = 'a\\xff'\); expected names in UTF-8\.$"):
        write_text(tmp_path / "x", f"a = 1\nb = '{name}'\nc = 2\n")
    assert not list(tmp_path.iterdir())
    assert require_utf8(tmp_path, where="x") == str(tmp_path)
    assert encodable(f"{name} \ud800") == "a\\xff \\ud800"


def test_output_that_can_be_written_has_no_problem(capsys):
    assert output_problem() is None
