"""Plasma tables and models: equality with XSPEC, the compact table's error, speed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.record import Record, cpu_seconds
from crosscal.xray.emission.atomdb import read_atomdb
from crosscal.xray.emission.expression import Model
from crosscal.xray.emission.tablefile import BUILT_IN, built_in_table

PART = "xray"
RESPONSES = {
    "ACIS-I cycle 18": ("acisi_aimpt_cy18.arf", "acisi_aimpt_cy18.rmf.gz"),
    "EPIC-pn": ("pn_circinus.arf", "pn_circinus.rmf.gz"),
}
LOAD = """
import time
from crosscal.xray.emission.tablefile import built_in_table
start = time.process_time()
built_in_table()
print(time.process_time() - start)
"""


def record(name: str, value: float, unit: str, limit: float, **more) -> Record:
    """A figure that must not exceed ``limit``."""
    return Record(name, PART, float(value), unit, goal=f"<= {limit:g}", passed=bool(value <= limit), **more)


def records(quick: bool) -> list[Record]:
    """Measure; without CROSSCAL_DATA only speed."""
    found = speed(quick)
    value = os.environ.get("CROSSCAL_DATA")
    if not value:
        note = "skipped: CROSSCAL_DATA is not set"
        return [*found, Record("apec and TBabs against XSPEC", PART, None, "", note=note)]
    folder = Path(value) / "xray"
    atomdb = read_atomdb(folder)
    return [*found, *exactness(folder, atomdb), *compact(folder, atomdb, quick), *peer(folder, quick)]


def speed(quick: bool) -> list[Record]:
    """Load time of the built-in table in a fresh process, and time of node spectra."""
    load = min(float(subprocess.check_output([sys.executable, "-c", LOAD], text=True)) for _ in range(3))
    table = built_in_table()
    kT = np.geomspace(table.kT[0], table.kT[-1], 50)
    redshifts = np.linspace(0.01, 0.1, 10 if quick else 40)  # a new one each time: nothing comes from the cache
    model = Model("TBabs*apec", nH=0.05, Abundanc=0.3)
    edges = np.geomspace(0.3, 10.0, 1025)
    model.spectrum(edges, kT=kT)
    total, _ = cpu_seconds(lambda: [model.spectrum(edges, kT=kT, Redshift=float(z)) for z in redshifts])
    size = Path(sys.modules["crosscal.xray.emission.tablefile"].__file__).parent / BUILT_IN
    return [
        record("built-in plasma table, load", load, "CPU-s", 0.2),
        record("built-in plasma table, size", size.stat().st_size / 1e6, "MB", 0.65),
        record("TBabs*apec, 50 temperatures x 1024 bins", total / redshifts.size, "CPU-s", 1.0),
    ]


def exactness(folder: Path, atomdb) -> list[Record]:
    """Largest relative difference from XSPEC's numbers."""
    with np.load(folder / "reference_apec_tbabs_xspec.npz") as archive:
        reference = {name: archive[name] for name in archive.files}
    edges, out = reference["edges"], []
    for table in ("angr", "aspl"):
        model = Model("apec", table=atomdb, abundances=table, interp="xspec", Abundanc=0.3, Redshift=0.05)
        ratio = model.spectrum(edges, kT=reference["kT"]) / reference[f"apec_{table}"]
        out.append(
            record(f"apec ({table}) from AtomDB, relative", np.abs(ratio - 1).max(), "", 1e-6, peer="XSPEC 6.35.1")
        )
    found = Model("TBabs*powerlaw", nH=0.05).spectrum(edges) / Model("powerlaw").spectrum(edges)
    worst = np.abs(found - reference["tbabs_wilm_nH0.05"]).max()
    return [*out, record("TBabs transmission, absolute", worst, "", 1e-4, peer="XSPEC 6.35.1")]


def compact(folder: Path, atomdb, quick: bool) -> list[Record]:
    """Folded error of the compact table in 0.5-10 keV, where a channel holds 1e-3 of the brightest."""
    from crosscal.xray.instrument.ogip import read_response

    out = []
    kT = np.geomspace(0.3, 20.0, 8 if quick else 20)
    for name, files in RESPONSES.items():
        response = read_response(*(folder / file for file in files))
        middle = 0.5 * (response.channel_lo + response.channel_hi)
        band = (middle > 0.5) & (middle < 10.0)
        errors = []
        for redshift in (0.0, 0.05, 0.2, 0.4):
            exact, approximate = (
                response.fold(
                    Model("apec", table=table, interp="xspec", Abundanc=0.3, Redshift=redshift).spectrum(
                        response.energy_edges, kT=kT
                    )
                )[:, band]
                for table in (atomdb, None)
            )
            seen = exact > 1e-3 * exact.max(axis=1, keepdims=True)
            errors.append(np.abs(approximate / exact - 1)[seen])
        error = np.concatenate(errors)
        out.append(record(f"compact table folded, {name}, largest error", error.max(), "", 3e-3))
        out.append(record(f"compact table folded, {name}, median error", np.median(error), "", 1e-4))
    return out


def peer(folder: Path, quick: bool) -> list[Record]:
    """Time of one apec spectrum against the XSPEC library's."""
    try:
        from crosscal.xray.emission.xspec_library import library

        xspec = library()
    except ImportError:
        return [Record("apec spectrum, time", PART, None, "CPU-s", peer="XSPEC", note="skipped: no xspectrampoline")]
    edges = np.geomspace(0.3, 10.0, 1025)
    temperatures = np.geomspace(1.0, 15.0, 50 if quick else 400)
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.glob("apec_v3.0.8_*.fits.gz"):
            (Path(scratch) / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        xspec.set_string("APECROOT", f"{scratch}/apec_v3.0.8")
        xspec.set_abundances("angr")

        def theirs() -> None:
            for kT in temperatures:
                xspec.call("C_apec", edges, [float(kT), 0.3, 0.05], np.zeros(1024))

        theirs()  # reads the files
        slow, _ = cpu_seconds(theirs)
    model = Model("apec", Abundanc=0.3, Redshift=0.05)
    model.spectrum(edges)
    many = np.geomspace(1.0, 15.0, 2000)
    single, _ = cpu_seconds(lambda: [model.spectrum(edges, kT=kT) for kT in many])
    batch, _ = cpu_seconds(lambda: [model.spectrum(edges, kT=many) for _ in range(5)])
    reference = slow / temperatures.size
    return [
        Record(
            f"apec spectrum, 1024 bins, {how} (ratio: times faster)",
            PART,
            each,
            "CPU-s",
            "XSPEC library",
            reference,
            reference / each,
        )
        for how, each in (("one at a time", single / many.size), ("in a batch", batch / (5 * many.size)))
    ]
