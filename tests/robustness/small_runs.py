"""Jobs that finish, at a size that runs in seconds: real files, a tiny library, a quick sampler."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

#: What the hidden truth multiplies the temperatures of the corrected telescope by.
BIAS = 0.94


def telescopes(directory: Path) -> dict[str, Any]:
    """Copy the two example telescopes into the directory and return their tables of a job."""
    found = {}
    for role, name in (("telescope", "example_b"), ("trusted", "example_a")):
        for suffix in ("arf", "rmf.gz"):
            content = files("crosscal.datasets").joinpath(f"data/xray/{name}.{suffix}").read_bytes()
            (directory / f"{name}.{suffix}").write_bytes(content)
        found[role] = {"name": name, "arf": f"{name}.arf", "rmf": f"{name}.rmf.gz"}
    return found


def write_pairs(directory: Path) -> None:
    """Write a table of six sources whose second temperature is low by 6 %."""
    from crosscal.xray.correction.pairs import PairedSources
    from crosscal.xray.correction.pairs_io import write_pairs

    rng = np.random.default_rng(3)
    true = np.geomspace(2.5, 8.0, 6)
    values = np.stack([true, BIAS * true])[..., None] * rng.lognormal(0, 0.01, (2, 6, 1))
    covariance = np.full((2, 6, 1, 1), (0.02 * 5) ** 2)
    names = tuple(f"source {k}" for k in range(6))
    pairs = PairedSources(names, ("example_a", "example_b"), ("kT",), values, covariance)
    write_pairs(directory / "pairs.ecsv", pairs)


def xray(directory: Path) -> dict[str, Any]:
    """A job ``xray`` from a table of pairs."""
    write_pairs(directory)
    return {
        "job": "xray", "output": "run", "seed": 1, "ensemble": 3, **telescopes(directory),
        "model": {"expression": "TBabs*apec", "nH": 0.05, "Redshift": 0.05},
        "library": {
            "modifier": "gaussian", "A": [-0.2, -0.1, 0.1, 0.2], "mu": [1.5, 3.0], "sigma": [0.8],
            "kT": {"min": 1.5, "max": 12.0, "n": 5, "scale": "log"}, "free": ["kT", "norm"],
        },
        "emulator": {"kind": "spline", "validation": 0},
        "inference": {"pairs": "pairs.ecsv", "sampler": "laplace", "draws": 100, "scatter": 0.03, "cross_norm": 0.0},
        "compute": {"executor": "serial"},
    }  # fmt: skip


def spectra(directory: Path) -> dict[str, Any]:
    """A job ``xray-spectra`` of two sources seen by both telescopes."""
    from crosscal.xray import Model, fakeit, read_response, write_spectrum

    tables = telescopes(directory)
    rows = ["source,telescope,pha,arf,rmf,background,nH"]
    for k, kT in enumerate((3.0, 6.0)):
        for role in ("telescope", "trusted"):
            name = tables[role]["name"]
            response = read_response(directory / f"{name}.arf", directory / f"{name}.rmf.gz")
            model = Model("TBabs*apec", nH=0.05, Redshift=0.05, kT=kT)
            spectrum = fakeit(response, model, counts=2e4, band=(0.7, 7.0), seed=10 * k + (role == "trusted"))
            write_spectrum(directory / f"{name}_{k}.pha", spectrum)
            rows.append(f"s{k},{name},{name}_{k}.pha,{name}.arf,{name}.rmf.gz,none,0.05")
    (directory / "observations.csv").write_text("\n".join(rows) + "\n")
    return {
        "job": "xray-spectra", "output": "run", "seed": 1, "ensemble": 3, **tables,
        "model": {"expression": "TBabs*apec", "nH": 0.05, "Redshift": 0.05, "free": ["kT", "norm"]},
        "inference": {
            "observations": "observations.csv", "modifier": {"name": "spline", "knots": 4, "low": 0.7, "high": 7.0},
            "sampler": "laplace", "tau": 0.1, "draws": 100,
        },
    }  # fmt: skip


def fit(directory: Path) -> dict[str, Any]:
    """A job ``xray-fit`` of a simulated spectrum."""
    from crosscal.xray import Model, fakeit, read_response, write_spectrum

    telescope = telescopes(directory)["telescope"]
    response = read_response(directory / telescope["arf"], directory / telescope["rmf"])
    spectrum = fakeit(response, Model("TBabs*powerlaw", nH=0.05), counts=3000.0, band=(0.7, 7.0), seed=5)
    write_spectrum(directory / "source.pha", spectrum)
    return {
        "job": "xray-fit", "output": "run", "telescope": {**telescope, "band": [0.7, 7.0]},
        "spectrum": {"pha": "source.pha", "statistic": "cstat", "grouping": "counts", "min_counts": 5},
        "model": {"expression": "TBabs*powerlaw", "nH": 0.05, "free": ["PhoIndex", "norm"]}, "delta": 1.0,
    }  # fmt: skip


def lightcurves(directory: Path) -> dict[str, Any]:
    """A job ``lightcurves`` of three telescopes, a continuum and a line, at dates as long as Julian ones."""
    from dataclasses import replace

    from crosscal.lightcurves.formats.pycali import write_pycali
    from crosscal.lightcurves.synthetic import simulate

    curves, _ = simulate(seed=11, points=(30, 20, 15), lines=1, span=400.0)
    for curve in curves.files:
        write_pycali(directory / f"{curve.name}.txt", replace(curve, time=curve.time + 2458000.0))
    return {
        "job": "lightcurves", "output": "run", "seed": 3,
        "data": {"continuum": "continuum.txt", "lines": ["line1.txt"], "unit": "mJy", "season_gap": 60.0},
        "model": {"kernel": "drw", "reference": "A", "systematic_error": True},
        "prior": {"scale": [0.5, 2.0], "tau": [1.0, 1e4]},
        "sampling": {"sampler": "laplace", "draws": 200},
    }  # fmt: skip
