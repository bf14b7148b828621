"""Small runs of every part, made as a user makes them, for the tests that open their reports in a browser."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

#: Parts whose reports are opened; "made-up" holds what real runs rarely show: failures, PNG figures, long words.
KINDS = ("made-up", "xray", "xray-fit", "concordance", "lightcurves", "fluxcal")


def make(kind: str, directory: Path) -> Path:
    """Finish a run of a kind in a directory and return its report."""
    if kind == "made-up":
        made_up(directory)
        return directory / "report.html"
    if kind == "fluxcal":
        from crosscal.jobs.parts import PARTS
        from crosscal.jobs.run import demo

        demo(PARTS.get(kind), directory / "run")
    else:
        import tomli_w

        import crosscal

        small = _small_runs()
        jobs = {"xray": small.xray, "xray-fit": small.fit, "lightcurves": small.lightcurves, "concordance": concordance}
        content = jobs[kind](directory)
        (directory / "job.toml").write_text(tomli_w.dumps(content))
        crosscal.run(directory / "job.toml", output=directory / "run")
    return directory / "run" / "report.html"


def _small_runs() -> Any:
    """The jobs that the tests of robustness run."""
    path = Path(__file__).parents[1] / "robustness" / "small_runs.py"
    spec = importlib.util.spec_from_file_location("report_small_runs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def concordance(directory: Path) -> dict[str, Any]:
    """Three instruments and twelve sources, one instrument 8 % high."""
    rng = np.random.default_rng(4)
    lines = ["instrument,source,flux,error"]
    for k, flux in enumerate(rng.lognormal(0, 1, 12)):
        for name, factor in (("pn", 1.08), ("MOS1", 1.0), ("MOS2", 0.97)):
            value = flux * factor * rng.lognormal(0, 0.02)
            lines.append(f"{name},source {k},{value:.6g},{0.02 * value:.3g}")
    (directory / "fluxes.csv").write_text("\n".join(lines) + "\n")
    return {
        "job": "concordance", "output": "run", "seed": 2,
        "data": {
            "path": "fluxes.csv", "instrument": ["instrument"], "source": "source", "flux": "flux", "error": "error",
            "flux_unit": "erg / (s cm2)",
        },
        "prior": {"tau": {"pn": 0.05, "MOS1": 0.05, "MOS2": 0.05}},
        "noise": {"kind": "log-normal", "variance": "quoted"},
    }  # fmt: skip


def made_up(directory: Path) -> None:
    """A finished run with figures (one as SVG, one as PNG), wide tables, long words and every section."""
    from astropy.table import QTable

    from crosscal.core.files import write_text
    from crosscal.plot import describe_axes, figure, save_figures
    from crosscal.report import RunRecord, write_report

    fig = figure(7, 4)
    axes = fig.subplots()
    axes.loglog([1, 10, 100], [1, 3, 1000])
    axes.set(xlim=(1, 100), ylim=(1, 1000), xlabel="Energy (keV)", ylabel="Area")
    save_figures({"first": fig, "second": fig, "third": fig}, directory / "figures")
    (directory / "figures" / "third.svg").unlink()
    wide = {f"a_rather_long_name_{k}": np.arange(12.0) * (-1) ** k for k in range(15)}
    value = np.arange(12.0)[::-1] * 1e3
    value[[3, 7]] = np.nan
    QTable({"name": [f"source {k}" for k in range(12)], "value": value, **wide}).write(directory / "summary.ecsv")
    write_text(directory / "job.toml", 'job = "toy"\npath = "' + "long/" * 60 + '"\n')
    digest = {"path": "/some/where/a_telescope.arf", "sha256": "ab" * 32}
    provenance = {"inputs": {"telescope.arf": digest}, "versions": {"crosscal": "9"}, "seed": 5, "created": "2026"}
    write_text(directory / "provenance.json", json.dumps(provenance))
    write_text(directory / "run.log", "done\n")
    entries = [
        {"name": n, "title": n.title(), "caption": "What it shows.", "axes_json": json.dumps(describe_axes(fig))}
        for n in ("first", "second", "third")
    ]
    from crosscal.core.check import Check

    checks = [Check("stars", False, "too few")]
    answer = "The area is 5 +- 1 % off. More follows."
    RunRecord(directory, "xray", answer, ("beware",), "w" * 300, checks, entries, ("nuts",), 1.5).write()
    write_report(directory)
