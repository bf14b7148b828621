"""PyCALI's helper functions for data, under its names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file, write_text
from crosscal.core.reading import read_text
from crosscal.lightcurves.formats.pycali import read_block_file, write_pycali
from crosscal.lightcurves.outliers import remove_outliers as drop_outliers
from crosscal.lightcurves.reading import Selection, read_asassn, read_ztf, rebin
from crosscal.lightcurves.result import Intercalibration


def data_rebin(x: ArrayLike, y: ArrayLike, ye: ArrayLike, tb: float) -> tuple[NDArray, NDArray, NDArray]:
    """Average points in greedy bins [x_i, x_i + tb), weighted by inverse variance."""
    time, flux, error = rebin(np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(ye, dtype=float), tb)
    return time, flux, error


def format_blocks(
    fname: str | os.PathLike[str],
    data: Mapping[str, ArrayLike],
    trange: tuple[float, float] | None = None,
    unit: float = 1.0,
    time_start: float = 0.0,
) -> Path:
    """Write a mapping of code to (n, 3) arrays as blocks (PyCALI calls it ``format``); empty codes are skipped."""
    lines = []
    for key, table in data.items():
        rows = np.asarray(table, dtype=float).reshape(-1, 3)
        if trange is not None:
            rows = rows[(rows[:, 0] >= trange[0]) & (rows[:, 0] <= trange[1])]
        if len(rows):
            lines.append(f"# {key} {len(rows)}")
            lines += [f"{t - time_start:16.10e} {f / unit:e} {e / unit:e}" for t, f, e in rows]
    return write_text(fname, "\n".join(lines) + "\n")


def _cuts(
    zeropoint: Any, time_start: float, time_range: Any, rebin: float | None, errlimit: float | None, keylabel: str,
    **more: Any,
) -> Selection:  # fmt: skip
    zero = dict(zeropoint) if isinstance(zeropoint, Mapping) else zeropoint
    return Selection(
        zeropoint=zero, time_start=time_start, time_range=time_range, rebin=rebin, errlimit=errlimit, keylabel=keylabel,
        **more,
    )  # fmt: skip


def convert_asassn(
    path: str | os.PathLike[str],
    useflux: bool = False,
    zeropoint: float | Mapping[str, float] | None = 3.92e-9,
    time_start: float = 0.0,
    time_range: tuple[float, float] | None = None,
    rebin: float | None = None,
    errlimit: float | None = 0.1,
    diffcamera: bool = False,
    keylabel: str = "",
) -> dict[str, NDArray[np.float64]]:
    """Read an ASAS-SN table into (n, 3) arrays per code."""
    cuts = _cuts(zeropoint, time_start, time_range, rebin, errlimit, keylabel)
    found = read_asassn(path, cuts, use_flux=useflux, by_camera=diffcamera)
    return {code: np.stack(columns, axis=1) for code, columns in found.items()}


def convert_ztf(
    path: str | os.PathLike[str],
    zeropoint: float | Mapping[str, float] | None = 3.92e-9,
    time_start: float = 0.0,
    time_range: tuple[float, float] | None = None,
    rebin: float | None = None,
    errlimit: float | None = 0.1,
    keylabel: str = "",
) -> dict[str, NDArray[np.float64]]:
    """Read a ZTF table into (n, 3) arrays per code; all objects of a filter are one code."""
    cuts = _cuts(zeropoint, time_start, time_range, rebin, errlimit, keylabel, merge_objects=True)
    found = read_ztf(path, cuts)
    return {code: np.stack(columns, axis=1) for code, columns in found.items()}


def convert_mydata(fname: str | os.PathLike[str], keylabel: str) -> dict[str, NDArray[np.float64]]:
    """Read the first three columns of a plain file, whatever they are called, into an (n, 3) array, sorted by time.

    Raises
    ------
    DataFileError
        Naming the row that has no three numbers.
    """
    rows = []
    for number, line in enumerate(read_text(existing_file(fname), what="light-curve file").splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        where = f"{fname}, line {number}"
        if len(words) < 3:
            raise DataFileError(f"{len(words)} columns", where=where, expected="time flux error")
        try:
            rows.append([float(w) for w in words[:3]])
        except ValueError:
            raise DataFileError("not numbers", where=where, expected="time flux error") from None
    if not rows:
        raise DataFileError("no data points", where=str(fname), expected="rows time flux error")
    table = np.array(rows)
    table = table[np.isfinite(table).all(axis=1) & (table[:, 2] > 0)]
    return {keylabel: table[np.argsort(table[:, 0], kind="stable")]}


def load_pycali_data(fname: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Read a block file into (n, 3) arrays per code, in time order."""
    return {code: table[:, :3] for code, table in load_pycali_data_flag(fname).items()}


def load_pycali_data_flag(fname: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Read a block file into (n, 4) arrays per code, the last column being the flag."""
    curve = read_block_file(fname)
    found = {}
    for i, code in enumerate(curve.codes):
        mine = curve.code == i
        flags = np.array(curve.flag_labels[i], dtype=float)[curve.flag[mine]]
        found[code] = np.stack([curve.time[mine], curve.flux[mine], curve.error[mine], flags], axis=1)
    return found


def remove_outliers(result: Intercalibration, directory: str | os.PathLike[str], dev: float = 5.0) -> list[Path]:
    """Write each file without the points beyond ``dev`` sigma of leave-one-out, as ``<stem>_new.txt``, flags kept."""
    few = result.draws.vectors[:: max(1, len(result.draws.vectors) // 50)]
    kept, _ = drop_outliers(result.curves, result.model, few, dev)
    return [write_pycali(Path(directory) / f"{Path(curve.name).stem}_new.txt", curve) for curve in kept.files]


def generate_mock_data(directory: str | os.PathLike[str] = ".", seed: int = 0) -> list[Path]:
    """Write a simulated continuum and two lines of five telescopes as ``sim_cont.txt``, ``sim_line.txt``, ..."""
    from crosscal.lightcurves.synthetic import simulate

    curves, _ = simulate(seed=seed, codes=tuple("ABCDE"), points=100, lines=2, syserr=(0.01,) * 5)
    names = ("sim_cont.txt", "sim_line.txt", "sim_line2.txt")
    return [write_pycali(Path(directory) / name, curve) for name, curve in zip(names, curves.files, strict=True)]


#: PyCALI's own name of `format_blocks`.
format = format_blocks
