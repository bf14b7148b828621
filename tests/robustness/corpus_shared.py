"""Readers of the floors below the parts: stores, emulators, corrections, posteriors, run directories, job files."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .corpus_xray import simple
from .harness import Reader


@lru_cache
def _store_files() -> dict[Path, bytes]:
    import tempfile

    from crosscal.compute import Store, Variable

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "case.zarr"
        store = Store.create(
            path,
            {
                "kT": Variable(("point", "parameter"), unit="keV"),
                "status": Variable(("point",), "int8"),
            },
            {"A": ("point", np.linspace(-0.2, 0.2, 7)), "parameter": np.array(["kT", "norm"])},
            {"point": 3},
            job={"task": "noise", "seed": 1},
        )
        for chunk in range(len(store.layout)):
            n = store.layout.shape(chunk)[0]
            store.write_chunk(chunk, {"kT": np.ones((n, 2)), "status": np.zeros(n, np.int8)})
        return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def _store(directory: Path) -> Path:
    for name, content in _store_files().items():
        path = directory / "case.zarr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory / "case.zarr"


def _use_store(path: Path) -> object:
    from crosscal.compute import Store

    store = Store.open(path)
    store.verify()
    return [store.read(name) for name in ("kT", "status", "A", "parameter")], list(store.chunks())


def _use_dataset(path: Path) -> object:
    from crosscal.compute import Store

    return Store.open(path).dataset().coords


def _resume(path: Path) -> object:
    from crosscal.compute import Store, Variable

    variables = {"kT": Variable(("point", "parameter"), unit="keV"), "status": Variable(("point",), "int8")}
    coords = {"A": ("point", np.linspace(-0.2, 0.2, 7)), "parameter": np.array(["kT", "norm"])}
    return Store.open_or_create(path, variables, coords, {"point": 3}, job={"task": "noise", "seed": 1}).pending()


def _emulator(kind: str) -> Any:
    @lru_cache
    def content() -> bytes:
        import tempfile

        from crosscal.core.grid import Axis, Grid
        from crosscal.emulator import TrainingTable, train
        from crosscal.emulator.storage import save

        grid = Grid((Axis.from_range("x", -1, 1, 6), Axis.from_range("y", 1, 10, 6, scale="log")))
        table = TrainingTable.from_grid(grid, ["f"], np.sin(grid.points).sum(axis=1, keepdims=True))
        options = {"epochs": 3} if kind == "mlp" else {}
        with tempfile.TemporaryDirectory() as place:
            return save(train(table, kind, **options), Path(place) / "e.npz").read_bytes()

    def build(directory: Path) -> Path:
        path = directory / "emulator.npz"
        path.write_bytes(content())
        return path

    return build


def _use_emulator(path: Path) -> object:
    from crosscal.emulator.storage import load

    return load(path)(np.array([[0.1, 2.0], [0.5, 3.0]]))


def _correction(names: bool) -> Any:
    def build(directory: Path) -> Path:
        from crosscal.core.correction import Correction
        from crosscal.datasets.corrections import CORRECTION_FILE, write_correction

        coordinate = np.array(["pn", "MOS1", "acis"]) if names else np.array([0.5, 1.0, 4.0])
        draws = np.exp(0.1 * np.random.default_rng(1).normal(size=(20, 3)))
        axis, unit = ("instrument", "") if names else ("energy", "keV")
        write_correction(
            directory / CORRECTION_FILE,
            Correction.from_draws(coordinate, draws, axis=axis, unit=unit, target="acis", provenance={"seed": 1}),
        )
        return directory

    return build


def _use_correction(path: Path) -> object:
    from crosscal.datasets.corrections import read_correction

    found = read_correction(path)
    return found.interval(), found.at(found.coordinate)


def _posterior(directory: Path) -> Path:
    from crosscal.inference.posterior import Posterior

    draws = {"a": np.random.default_rng(2).normal(size=(2, 8)), "b": np.ones((2, 8, 3))}
    return Posterior.from_draws(draws, method="nuts", units={"a": "keV"}).write(directory / "posterior.nc")


def _use_posterior(path: Path) -> object:
    from crosscal.inference.posterior import Posterior

    found = Posterior.read(path)
    return found.matrix(), found.n_draws, [found.mean(name) for name in found.names]


def _run_directory(directory: Path) -> Path:
    from astropy.table import QTable

    from crosscal.core.check import Check
    from crosscal.core.files import write_text
    from crosscal.plot import describe_axes, figure, save_figures
    from crosscal.report import RunRecord

    fig = figure(2, 1.5)
    fig.subplots().plot([1, 10], [0, 1])
    save_figures({"first": fig}, directory / "figures")
    QTable({"name": ["a", "c"], "value": [1.23456789, 2e-12]}).write(directory / "summary.ecsv")
    write_text(directory / "job.toml", 'job = "xray"\nseed = 1\n')
    provenance = {
        "created": "2026-01-01", "inputs": {"arf": {"path": "a.arf", "sha256": "ab" * 32}},
        "versions": {"crosscal": "9"}, "seed": 5,
    }  # fmt: skip
    write_text(directory / "provenance.json", json.dumps(provenance))
    write_text(directory / "run.log", "2026-01-01T00:00:00 done\n")
    entry = {"name": "first", "title": "First", "caption": "c", "axes_json": json.dumps(describe_axes(fig))}
    check = Check("stars", False, "too few")
    RunRecord(directory, "xray", "The area is off.", ("beware",), "one mode", [check], [entry], ("nuts",), 1.5).write()
    return directory


def _report(path: Path) -> object:
    from crosscal.report import RunRecord
    from crosscal.report.html import render

    return render(RunRecord.read(path))


def _stages(directory: Path) -> Path:
    from crosscal.core.files import write_text
    from crosscal.jobs.stages import Stages

    def save(product: str) -> None:
        write_text(directory / "product.txt", product)

    Stages(directory).run("one", key={"a": 1}, files=["product.txt"], work=lambda: "x", save=save, load=lambda: "x")
    return directory


def _use_stages(path: Path) -> object:
    """A damaged memory or product must lead to working again, not to an error."""
    from crosscal.jobs.stages import Stages

    done: list[str] = []
    product = Stages(path).run(
        "one", key={"a": 1}, files=["product.txt"], work=lambda: "x", save=done.append, load=lambda: "x"
    )
    assert product == "x"
    return product


def _value(directory: Path) -> Path:
    from crosscal.core.check import Check
    from crosscal.core.frozen import save_value
    from crosscal.core.grid import Axis

    product = {"axis": Axis.from_range("x", 1, 5, 4), "checks": (Check("a", True, "b"),), "numbers": [1.5, None, "x"]}
    return save_value(directory / "product.npz", product)


def _toml(directory: Path) -> Path:
    path = directory / "job.toml"
    path.write_text('# a job\njob = "lightcurves"\noutput = "o"\nseed = 3\n[data]\ncontinuum = "c.txt"\n')
    return path


def _load_job(path: Path) -> object:
    from crosscal.jobs.parts import load_job

    return load_job(path)


READERS = [
    Reader("compute.store.Store.open", _store, _use_store, covers=("compute.ondisk.read_header",)),
    Reader("compute.store.Store.open", _store, _use_dataset, "dataset", share=0.4),
    *(Reader("emulator.storage.load", _emulator(kind), _use_emulator, kind) for kind in ("spline", "chebyshev", "mlp")),
    Reader("datasets.corrections.read_correction", _correction(False), _use_correction, "energy", reseal=True),
    Reader("datasets.corrections.read_correction", _correction(True), _use_correction, "names", reseal=True),
    Reader("inference.posterior.Posterior.read", _posterior, _use_posterior, share=0.5, reseal=True),
    Reader("report.record.RunRecord.read", _run_directory, _report, covers=("report.html.write_report",), share=0.5),
    simple("jobs.options.read_toml", _toml),
    Reader("jobs.parts.load_job", _toml, _load_job),
    simple("core.frozen.load_value", _value),
]

#: Not readers of a format, but of what a run left behind.
MEMORIES = [
    Reader("jobs.stages.Stages", _stages, _use_stages, writes=True),
    Reader("compute.store.Store.open_or_create", _store, _resume, writes=True),
]
