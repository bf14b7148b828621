"""A small part of its own, so that the command line is tested without the cost of a real one."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from crosscal.cli.parts import PARTS
from crosscal.config import JobModel, Part
from crosscal.core.correction import Correction
from crosscal.core.errors import FitError, InputError
from crosscal.core.files import write_text


class ToyJob(JobModel):
    """Count to a number."""

    job: Literal["toy"] = "toy"
    table: Path | None = None
    count: int = 3
    inputs: ClassVar[tuple[str, ...]] = ("table",)


class ToyResult:
    """What counting gives."""

    def __init__(self, count: int) -> None:
        self.answer = f"Counted to {count}."
        self.warnings = ("counting is discrete.",) if count < 10 else ()
        self.diagnostics = "nothing to diagnose"
        self.gates = [{"gate": "positive", "passed": count > 0, "why": "counts are"}]
        self.citations = ("nuts",)
        self.captions = {"line": "A line."}
        self.count = count

    @property
    def correction(self):
        """A number per count; counting to nothing gives none, to one fails."""
        if self.count == 0:
            return None
        if self.count == 1:
            raise FitError("one is no count.")
        n = np.arange(1.0, self.count + 1)
        return Correction(n, n, np.eye(len(n)), "energy")

    def figures(self):
        from crosscal.plot import figure

        fig = figure(4, 3)
        axes = fig.subplots()
        axes.plot(range(1, self.count + 1))
        axes.set_yscale("log")
        return {"line": fig, "again": fig}


def run(job: ToyJob, output: Path, progress) -> ToyResult:
    """Count, and write a table."""
    if job.count < 0:
        raise InputError("a negative count", where="key count", expected="a count >= 0")
    with progress.stage("Counting", total=job.count) as advance:
        advance(job.count)
    progress.message("counted")
    write_text(output / "summary.ecsv", "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: n, datatype: float64}\nn\n0.125\n")
    return ToyResult(job.count)


def demo(output: Path, progress) -> ToyResult:
    """Count to twelve."""
    return run(ToyJob(output=output, count=12), output, progress)


TEMPLATE = '# a toy job\njob = "toy"\noutput = "out"\ncount = 4  # how far\n'


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSCAL_CACHE", str(tmp_path / "cache"))
    PARTS.register("toy", Part("toy", ToyJob, run, demo, TEMPLATE))
    yield
    PARTS.unregister("toy")


@pytest.fixture
def crosscal(capsys):
    """Call the command line; return (exit code, standard output, standard error)."""
    from crosscal.cli.main import main

    def call(*arguments: str):
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call
