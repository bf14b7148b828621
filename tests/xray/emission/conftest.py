"""A small AtomDB release, written as FITS, whose spectra can be computed by hand."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

KEV_ANGSTROM = 12.39841974


@dataclass
class TinyAtomDB:
    """What the files hold: per node, lines (energy, emissivity, Z, ion, upper, lower) and continua {Z: (E, f)}."""

    directory: Path
    kT: np.ndarray
    lines: list[list[tuple]] = field(default_factory=list)
    continua: list[dict] = field(default_factory=list)

    @property
    def line(self) -> Path:
        return self.directory / "apec_v9.9.9_line.fits"

    @property
    def coco(self) -> Path:
        return self.directory / "apec_v9.9.9_coco.fits"


def make(directory: Path, n_kT: int = 6) -> TinyAtomDB:
    """Write a release of ``n_kT`` temperatures with H, O, Fe and the trace element Cr."""
    tiny = TinyAtomDB(directory, np.float32(np.geomspace(0.2, 20, n_kT)).astype(float))
    energy = np.float32(np.geomspace(0.02, 90.0, 160)).astype(float)
    for kT in tiny.kT:
        rows = []
        for z, n in ((8, 30), (26, 60), (24, 5)):
            for i in range(n):
                position = 0.15 + 6.85 * ((i * 0.618034 + z * 0.1) % 1.0)
                rows.append((position, 1e-18 * np.exp(-position / kT) * (1 + i % 7), z, 3, i + 2, 1))
        tiny.lines.append(rows)
        shape = 1e-16 * np.exp(-energy / kT) / energy / np.sqrt(kT)
        tiny.continua.append(
            {z: (energy, np.float32(shape * a).astype(float)) for z, a in ((1, 1.0), (8, 0.1), (26, 0.02))}
        )
    write(tiny)
    return tiny


def write(tiny: TinyAtomDB) -> None:
    """Write both files."""
    parameters = fits.BinTableHDU.from_columns([fits.Column("kT", "1E", array=tiny.kT)], name="PARAMETERS")
    line_hdus, coco_hdus = [], []
    for rows, continua in zip(tiny.lines, tiny.continua, strict=True):
        energy, emissivity, z, ion, upper, lower = (np.array(c) for c in zip(*rows, strict=True))
        columns = [
            fits.Column("Lambda", "1E", array=KEV_ANGSTROM / energy),
            fits.Column("Epsilon", "1E", array=emissivity),
            *(fits.Column(n, "1J", array=a) for n, a in
              (("Element", z), ("Ion", ion), ("UpperLev", upper), ("LowerLev", lower))),
        ]  # fmt: skip
        line_hdus.append(fits.BinTableHDU.from_columns(columns, name="EMISSIVITY"))
        n = max(e.size for e, _ in continua.values())
        padded = {k: np.array([np.pad(v[k], (0, n - v[k].size)) for v in continua.values()]) for k in (0, 1)}
        columns = [
            fits.Column("Z", "1J", array=list(continua)),
            fits.Column("N_Cont", "1J", array=[e.size for e, _ in continua.values()]),
            fits.Column("E_Cont", f"{n}E", array=padded[0]),
            fits.Column("Continuum", f"{n}E", array=padded[1]),
            fits.Column("N_Pseudo", "1J", array=[0] * len(continua)),
            fits.Column("E_Pseudo", "2E", array=np.zeros((len(continua), 2))),
            fits.Column("Pseudo", "2E", array=np.zeros((len(continua), 2))),
        ]
        coco_hdus.append(fits.BinTableHDU.from_columns(columns, name="EMISSIVITY"))
    for path, kind, hdus in ((tiny.line, "LINE MODEL", line_hdus), (tiny.coco, "COMP CONT MODEL", coco_hdus)):
        primary = fits.PrimaryHDU()
        primary.header["SFILEMAP"] = "$ATOMDB/filemap_v9.9.9"
        for hdu in (first := parameters.copy(), *hdus):
            hdu.header["HDUCLAS1"] = kind
        fits.HDUList([primary, first, *hdus]).writeto(path, overwrite=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> TinyAtomDB:
    """A release to read; do not change its files."""
    return make(tmp_path_factory.mktemp("atomdb"))


@pytest.fixture
def own_tiny(tmp_path) -> TinyAtomDB:
    """A release of this test alone, to damage."""
    return make(tmp_path)
