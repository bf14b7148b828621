"""A small part of its own, so that the command line is tested without the cost of a real one."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.errors import FitError, InputError
from crosscal.core.options import option, options
from crosscal.inference.gaussian import gaussian_posterior
from crosscal.jobs.options import Job, depends_on
from crosscal.jobs.parts import PARTS, Part
from crosscal.jobs.result import CAPTIONS, FIGURES, PRODUCTS, Presented


@options
class ToyJob(Job):
    """Count to a number.

    Attributes
    ----------
    table : Path
        Not used.
    count : int
        How far.
    """

    job: Literal["toy"] = "toy"
    table: Path | None = None
    count: int = option(default=3, example=4, shown=True)
    inputs: ClassVar[tuple[str, ...]] = ("table",)


class ToyResult(Presented):
    """What counting gives."""

    kind: ClassVar[str] = "toy"
    citations: ClassVar[tuple[str, ...]] = ("nuts",)
    diagnostics: ClassVar[str] = "nothing to diagnose"

    def __init__(self, count: int) -> None:
        self.count = count
        self.provenance = {"count": count}

    @property
    def answer(self):
        """How far."""
        return f"Counted to {self.count}."

    @property
    def warnings(self):
        """What to know."""
        return ("counting is discrete.",) if self.count < 10 else ()

    @property
    def checks(self):
        """Counting to nothing is a failure."""
        return (Check("positive", self.count > 0, "counts are"),)

    @property
    def correction(self):
        """A number per count; counting to nothing gives none, to one fails."""
        if self.count == 0:
            return None
        if self.count == 1:
            raise FitError("one is no count.")
        n = np.arange(1.0, self.count + 1)
        return Correction(n, n, np.eye(len(n)), "energy")

    @property
    def posterior_draws(self):
        """A Gaussian about the count."""
        return gaussian_posterior({"count": float(self.count)}, np.eye(1))

    def summary(self):
        """One number."""
        from astropy.table import QTable

        return QTable({"n": [0.125 * self.count]})


def figures(result):
    """A line, twice."""
    from crosscal.plot import figure

    fig = figure(4, 3)
    axes = fig.subplots()
    axes.plot(range(1, result.count + 1))
    axes.set_yscale("log")
    return {"line": fig, "again": fig}


#: What was done, by name of the stage.
DONE: list[str] = []


def run(job: ToyJob, stages) -> ToyResult:
    """Count in two stages."""
    if job.count < 0:
        raise InputError("a negative count", where="key count", expected="a count >= 0")

    def count():
        with stages.progress.stage("Counting", total=job.count) as advance:
            advance(job.count)
        DONE.append("count")
        return job.count

    counted = stages.run("Counting", key=depends_on(job, "count", "table"), work=count)
    stages.progress.message("counted")
    return ToyResult(stages.run("Seed", key={"seed": job.seed}, after=["Counting"], work=lambda: counted))


def demo(directory: Path):
    """Count to twelve."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.txt").write_text("a table")
    return {"count": 12, "table": str((directory / "table.txt").resolve())}


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSCAL_CACHE", str(tmp_path / "cache"))
    DONE.clear()
    mine = {PARTS: Part("toy", ToyJob, run, demo), FIGURES: figures, CAPTIONS: lambda r: {"line": "A line."}}
    mine[PRODUCTS] = lambda result, directory: None
    for registry, member in mine.items():
        registry.register("toy", member)
    yield
    for registry in mine:
        registry.unregister("toy")


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
