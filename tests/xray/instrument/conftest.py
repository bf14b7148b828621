"""Small OGIP files written with astropy alone, so that reader and writer are tested apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

N_ENERGY, N_CHANNEL, FIRST = 5, 4, 1

# P(channel | energy) of the small telescope, one row per energy as files have it. Row 1 has two groups.
MATRIX = np.array(
    [[0.7, 0.2, 0.0, 0.0], [0.2, 0.0, 0.5, 0.1], [0.0, 0.3, 0.6, 0.1], [0.0, 0.0, 0.4, 0.6], [0.0, 0.0, 0.0, 0.9]]
)
EDGES = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
AREA = np.array([10.0, 200.0, 300.0, 250.0, 80.0])
CHANNEL_EDGES = np.array([0.5, 1.5, 2.5, 3.5, 6.0])


def ragged(rows, dtype):
    array = np.empty(len(rows), dtype=object)
    array[:] = [np.asarray(row, dtype=dtype) for row in rows]
    return array


def arf_spec():
    """Describe the ARF: HDU name -> columns (name -> format, unit, values) and header cards."""
    return {
        "SPECRESP": {
            "columns": {
                "ENERG_LO": ["E", "keV", EDGES[:-1].copy()],
                "ENERG_HI": ["E", "keV", EDGES[1:].copy()],
                "SPECRESP": ["E", "cm**2", AREA.copy()],
            },
            "cards": {
                "HDUCLASS": "OGIP",
                "HDUCLAS1": "RESPONSE",
                "HDUCLAS2": "SPECRESP",
                "TELESCOP": "TEST",
                "INSTRUME": "CAM",
            },
        }
    }


def rmf_spec():
    """Describe the RMF with variable-length groups and TLMIN."""
    first, count, values = [], [], []
    for row in MATRIX:
        used = np.flatnonzero(row)
        starts = used[np.diff(used, prepend=-2) != 1]
        stops = used[np.diff(used, append=99) != 1] + 1
        first.append(starts + FIRST)
        count.append(stops - starts)
        values.append(row[used])
    return {
        "MATRIX": {
            "columns": {
                "ENERG_LO": ["E", "keV", EDGES[:-1].copy()],
                "ENERG_HI": ["E", "keV", EDGES[1:].copy()],
                "N_GRP": ["I", None, np.array([len(f) for f in first])],
                "F_CHAN": ["PI()", None, ragged(first, np.int16)],
                "N_CHAN": ["PI()", None, ragged(count, np.int16)],
                "MATRIX": ["PD()", None, ragged(values, float)],
            },
            "cards": {
                "HDUCLASS": "OGIP",
                "HDUCLAS1": "RESPONSE",
                "HDUCLAS2": "RSP_MATRIX",
                "HDUCLAS3": "REDIST",
                "DETCHANS": N_CHANNEL,
                "TLMIN4": FIRST,
            },
        },
        "EBOUNDS": {
            "columns": {
                "CHANNEL": ["J", None, np.arange(FIRST, FIRST + N_CHANNEL)],
                "E_MIN": ["E", "keV", CHANNEL_EDGES[:-1].copy()],
                "E_MAX": ["E", "keV", CHANNEL_EDGES[1:].copy()],
            },
            "cards": {
                "HDUCLASS": "OGIP",
                "HDUCLAS1": "RESPONSE",
                "HDUCLAS2": "EBOUNDS",
                "DETCHANS": N_CHANNEL,
            },
        },
    }


def pha_spec():
    """Describe a type I spectrum."""
    return {
        "SPECTRUM": {
            "columns": {
                "CHANNEL": ["J", None, np.arange(FIRST, FIRST + N_CHANNEL)],
                "COUNTS": ["J", "count", np.array([3, 10, 7, 2])],
                "QUALITY": ["I", None, np.array([0, 0, 0, 1])],
                "GROUPING": ["I", None, np.array([1, -1, 1, 1])],
            },
            "cards": {
                "HDUCLASS": "OGIP",
                "HDUCLAS1": "SPECTRUM",
                "DETCHANS": N_CHANNEL,
                "EXPOSURE": 1000.0,
                "BACKSCAL": 0.5,
                "AREASCAL": 1.0,
                "POISSERR": True,
                "RESPFILE": "test.rmf",
                "ANCRFILE": "test.arf",
                "BACKFILE": "none",
            },
        }
    }


def pha2_spec():
    """Describe a type II file with three spectra."""
    counts = np.arange(12).reshape(3, 4)
    return {
        "SPECTRUM": {
            "columns": {
                "SPEC_NUM": ["I", None, np.array([1, 2, 3])],
                "CHANNEL": ["4J", None, np.tile(np.arange(1, 5), (3, 1))],
                "COUNTS": ["4J", "count", counts],
                "QUALITY": ["4I", None, np.zeros((3, 4))],
                "GROUPING": ["4I", None, np.zeros((3, 4))],
                "EXPOSURE": ["D", "s", np.array([10.0, 20.0, 30.0])],
                "BACKSCAL": ["D", None, np.array([1.0, 2.0, 3.0])],
                "AREASCAL": ["4D", None, np.full((3, 4), 0.5)],
                "BACKFILE": ["16A", None, np.array(["none", "bkg2.pha", "none"])],
            },
            "cards": {
                "HDUCLASS": "OGIP",
                "HDUCLAS1": "SPECTRUM",
                "HDUCLAS4": "TYPE:II",
                "DETCHANS": 4,
                "POISSERR": True,
            },
        }
    }


def write_spec(spec, path: Path) -> Path:
    """Write a described file."""
    hdus = [fits.PrimaryHDU()]
    for name, table in spec.items():
        columns = [
            fits.Column(column, kind, unit=unit, array=values)
            for column, (kind, unit, values) in table["columns"].items()
        ]
        hdu = fits.BinTableHDU.from_columns(columns, name=name)
        hdu.header.update(table["cards"])
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


SPECS = {"arf": arf_spec, "rmf": rmf_spec, "pha": pha_spec, "pha2": pha2_spec}


class Maker:
    """Writes files of the small telescope into a directory, changed or not."""

    matrix, area, edges = MATRIX, AREA, EDGES

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, kind: str, change=None, name: str | None = None) -> Path:
        spec = SPECS[kind]()
        if change is not None:
            change(spec)
        return write_spec(spec, self.directory / (name or f"test.{kind}"))


@pytest.fixture
def make(tmp_path) -> Maker:
    """Writer of small OGIP files."""
    return Maker(tmp_path)


@pytest.fixture
def small() -> Response:
    """The small telescope in memory."""
    return Response(
        EDGES[:-1], EDGES[1:], AREA, MATRIX.T, CHANNEL_EDGES[:-1], CHANNEL_EDGES[1:], name="small",
        mission={"TELESCOP": "TEST", "INSTRUME": "CAM"},
    )  # fmt: skip


@pytest.fixture
def spectrum() -> Spectrum:
    """A spectrum of the small telescope with a background."""
    background = Spectrum(np.array([1, 2, 0, 1]), 2000.0, backscale=1.0)
    return Spectrum(
        np.array([3, 10, 7, 2]), 1000.0, backscale=0.5, quality=np.array([0, 0, 0, 1]), background=background,
        grouping=np.array([1, -1, 1, 1]),
    )  # fmt: skip
