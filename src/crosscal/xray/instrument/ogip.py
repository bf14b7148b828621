"""Reading OGIP responses: ARF, RMF, and both in one file.

References
----------
George et al. 1992, CAL/GEN/92-002 and its addendum 92-002a (ARF, RMF).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from crosscal.core.errors import DataFileError
from crosscal.xray.instrument.ogip_table import Table, find_table, opened
from crosscal.xray.instrument.response import Response

PathLike = str | os.PathLike[str]
Floats = NDArray[np.float64]

# Sherpa's replacement of a lower energy of exactly zero, where power laws diverge.
LOWEST_ENERGY = 1e-10
# A redistribution records each photon at most about once; larger sums can only be areas in cm2.
_LARGEST_PROBABILITY = 1.5
MATRIX_NAMES = ("MATRIX", "SPECRESP MATRIX")


@dataclass(frozen=True, eq=False)
class Arf:
    """An effective area as a file holds it: energies in keV, area in cm2, each of shape (n_energy,)."""

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    path: str = ""
    notes: tuple[str, ...] = ()
    mission: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Rmf:
    """A redistribution matrix as a file holds it.

    ``matrix`` has shape (n_channel, n_energy); ``has_area`` says that it is in cm2 (a SPECRESP MATRIX).
    """

    energy_lo: Floats
    energy_hi: Floats
    matrix: csr_array
    channel_lo: Floats
    channel_hi: Floats
    first_channel: int
    has_area: bool
    path: str = ""
    notes: tuple[str, ...] = ()
    mission: Mapping[str, str] = field(default_factory=dict)


def mission_of(*headers: Mapping[str, Any]) -> dict[str, str]:
    """Return TELESCOP, INSTRUME, FILTER and DETNAM as the first header that has them says."""
    found = {}
    for key in ("TELESCOP", "INSTRUME", "FILTER", "DETNAM"):
        texts = [str(header.get(key) or "").strip() for header in headers]
        if any(texts):
            found[key] = next(text for text in texts if text)
    return found


def read_arf(path: PathLike) -> Arf:
    """Read an ARF.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.
    """
    with opened(path, "ARF") as hdus:
        hint = ""
        if any(hdu.name.upper() in MATRIX_NAMES for hdu in hdus):
            hint = " (it looks like an RMF)"
        table = find_table(hdus, str(path), names=("SPECRESP",), hduclas1="RESPONSE", hduclas2=("SPECRESP",), hint=hint)
        lo, hi, backwards = energies(table)
        area = table.values("SPECRESP", unit="cm2", low=0.0)
        mission = mission_of(table.header, hdus[0].header)
        return Arf(lo, hi, area[::-1] if backwards else area, str(path), tuple(table.notes), mission)


def energies(table: Table) -> tuple[Floats, Floats, bool]:
    """Return energy bins in increasing order and whether the file has them backwards (gratings do)."""
    lo = table.values("ENERG_LO", unit="keV", low=0.0)
    hi = table.values("ENERG_HI", unit="keV", low=0.0)
    if np.any(hi <= lo):
        row = int(np.flatnonzero(hi <= lo)[0])
        raise table.error(
            f"ENERG_HI is {hi[row]:g} and ENERG_LO {lo[row]:g}", column="ENERG_HI", row=row,
            expected="ENERG_HI > ENERG_LO",
        )  # fmt: skip
    backwards = lo.size > 1 and lo[-1] < lo[0]
    if backwards:
        lo, hi = lo[::-1].copy(), hi[::-1].copy()
    # Files hold float32 edges: allow its rounding and a thousandth of a bin.
    apart = np.abs(lo[1:] - hi[:-1]) > 1e-3 * (hi - lo)[1:] + 1e-6 * hi[:-1]
    if apart.any():
        row = int(np.flatnonzero(apart)[0]) + 1
        raise table.error(
            f"the bin starts at {lo[row]:g} keV and the one before ends at {hi[row - 1]:g} keV",
            column="ENERG_LO", row=lo.size - 1 - row if backwards else row,
            expected="bins in order, without gaps or overlap",
        )  # fmt: skip
    if lo[0] == 0:
        lo[0] = LOWEST_ENERGY
        table.note(f"the lowest energy is 0; {LOWEST_ENERGY:g} keV is used")
    return lo, hi, bool(backwards)


def read_rmf(path: PathLike) -> Rmf:
    """Read an RMF or RSP: MATRIX or SPECRESP MATRIX, and EBOUNDS.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.
    """
    with opened(path, "RMF") as hdus:
        hint = " (it looks like an ARF)" if any(hdu.name.upper() == "SPECRESP" for hdu in hdus) else ""
        table = find_table(
            hdus, str(path), names=MATRIX_NAMES, hduclas1="RESPONSE", hduclas2=("RSP_MATRIX",), hint=hint
        )
        bounds = find_table(hdus, str(path), names=("EBOUNDS",), hduclas1="RESPONSE", hduclas2=("EBOUNDS",))
        channel_lo, channel_hi, first = _ebounds(bounds)
        lo, hi, backwards = energies(table)
        matrix = _matrix(table, channel_lo.size, first)
        if backwards:
            matrix = matrix[:, ::-1]
        largest = float(matrix.sum(axis=0).max()) if matrix.nnz else 0.0
        if largest == 0:
            raise table.error("all elements are zero", column="MATRIX", expected="a response")
        declared = table.hdu.name.upper() == "SPECRESP MATRIX" or _says_full(table)
        notes = tuple(table.notes + bounds.notes)
        has_area = largest > _LARGEST_PROBABILITY or declared
        mission = mission_of(table.header, hdus[0].header)
        return Rmf(
            lo, hi, csr_array(matrix), channel_lo, channel_hi, first, has_area, str(path), notes, mission
        )  # fmt: skip


def _says_full(table: Table) -> bool:
    return str(table.header.get("HDUCLAS3") or "").strip().upper() in ("FULL", "SPECRESP MATRIX")


def _ebounds(table: Table) -> tuple[Floats, Floats, int]:
    lo, hi = table.values("E_MIN", unit="keV"), table.values("E_MAX", unit="keV")
    if np.any(hi <= lo):
        row = int(np.flatnonzero(hi <= lo)[0])
        raise table.error(
            f"E_MAX is {hi[row]:g} and E_MIN {lo[row]:g}", column="E_MAX", row=row, expected="E_MAX > E_MIN"
        )
    step = np.diff(lo)
    if step.size and not (np.all(step > 0) or np.all(step < 0)):
        usual = np.sign(np.median(step)) or 1.0
        row = int(np.flatnonzero(step * usual <= 0)[0]) + 1
        raise table.error(
            f"the channel energies are out of order at {lo[row]:g} keV", column="E_MIN", row=row,
            expected="energies that rise (or fall) with channel number",
        )  # fmt: skip
    table.check_channels(lo.size, "rows")
    return lo, hi, _first_channel(table, lo.size)


def _first_channel(table: Table, n: int) -> int:
    channels = table.integers("CHANNEL")
    if np.all(np.diff(channels) == 1):
        return int(channels[0])
    low, high = table.limit("TLMIN", "CHANNEL"), table.limit("TLMAX", "CHANNEL")
    if low is not None and high is not None and high - low + 1 == n:
        # Some archived files hold a scrambled CHANNEL column; the limits still define it.
        table.note(f"column CHANNEL is not consecutive; channels {low} to {high} follow from TLMIN and TLMAX")
        return low
    row = int(np.flatnonzero(np.diff(channels) != 1)[0]) + 1
    raise table.error(
        f"channel {channels[row]} follows {channels[row - 1]}", column="CHANNEL", row=row,
        expected="consecutive channels",
    )  # fmt: skip


def _matrix(table: Table, n_channel: int, first_channel: int) -> csc_array:
    groups = table.integers("N_GRP")
    first, count, values = (table.raw(name) for name in ("F_CHAN", "N_CHAN", "MATRIX"))
    origin = table.limit("TLMIN", "F_CHAN")
    if origin is None:
        origin = first_channel
        table.note(f"F_CHAN has no TLMIN; the first channel of EBOUNDS, {origin}, is used")
    indices: list[NDArray[np.int64]] = []
    data: list[Floats] = []
    sizes = np.zeros(table.rows + 1, dtype=np.int64)
    for row in range(table.rows):
        index = _row_channels(table, row, int(groups[row]), first[row], count[row], origin, n_channel)
        elements = np.atleast_1d(np.asarray(values[row], dtype=float))
        variable = np.asarray(values).dtype == object
        if elements.size < index.size or (variable and elements.size != index.size):
            raise table.error(
                f"there are {elements.size} elements", column="MATRIX", row=row,
                expected=f"{index.size}, the sum of N_CHAN",
            )  # fmt: skip
        indices.append(index)
        data.append(elements[: index.size])
        sizes[row + 1] = index.size
    flat = np.concatenate(data)
    pointers = np.cumsum(sizes)
    bad = ~(np.isfinite(flat) & (flat >= 0))
    if bad.any():
        element = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(pointers, element, side="right")) - 1
        raise table.error(f"an element is {flat[element]:g}", column="MATRIX", row=row, expected="finite numbers >= 0")
    matrix = csc_array((flat, np.concatenate(indices), pointers), shape=(n_channel, table.rows))
    matrix.sum_duplicates()
    return matrix


def _row_channels(
    table: Table, row: int, n_group: int, first: Any, count: Any, origin: int, n_channel: int
) -> NDArray[np.int64]:
    """Return the channel indices (from 0) of the elements of one row of the matrix."""
    first = np.atleast_1d(np.asarray(first)).astype(np.int64)
    count = np.atleast_1d(np.asarray(count)).astype(np.int64)
    if n_group < 0 or n_group > min(first.size, count.size):
        raise table.error(
            f"{n_group} groups are announced", column="N_GRP", row=row,
            expected=f"0 to {min(first.size, count.size)}, the length of F_CHAN and N_CHAN",
        )  # fmt: skip
    first, count = first[:n_group] - origin, count[:n_group]
    if np.any(count <= 0):
        raise table.error(
            f"group {int(np.flatnonzero(count <= 0)[0]) + 1} is empty", column="N_CHAN", row=row,
            expected="at least one channel a group",
        )  # fmt: skip
    if np.any(first < 0) or np.any(first + count > n_channel):
        group = int(np.flatnonzero((first < 0) | (first + count > n_channel))[0])
        start = int(first[group]) + origin
        raise table.error(
            f"group {group + 1} covers channels {start} to {start + int(count[group]) - 1}",
            column="F_CHAN", row=row, expected=f"channels {origin} to {origin + n_channel - 1}",
        )  # fmt: skip
    return np.concatenate([np.arange(f, f + c) for f, c in zip(first, count, strict=True)] or [np.zeros(0, int)])


def read_response(arf: PathLike, rmf: PathLike | None = None, *, name: str | None = None) -> Response:
    """Read a telescope's response from an ARF and an RMF, or from one file that holds both.

    Parameters
    ----------
    arf : path
        The ARF; or, if ``rmf`` is None, an RSP or RMF whose matrix includes the effective area.
    rmf : path, optional
    name : str, optional
        By default the name of the first file without its suffixes.

    Notes
    -----
    The energy grid is the RMF's; the ARF's must be the same, except that the lower edge of its first bin
    may differ (EPIC-pn files do). ``notes`` of the result tells what was mended.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.
    """
    label = name or Path(arf).name.split(".")[0]
    if rmf is None:
        matrix = read_rmf(arf)
        if not matrix.has_area:
            raise DataFileError(
                "the matrix does not include the effective area", where=str(arf), expected="an ARF beside it"
            )
        area, redistribution = _split(matrix.matrix)
        files, notes, mission = {"rmf": str(arf)}, matrix.notes, matrix.mission
    else:
        ancillary, matrix = read_arf(arf), read_rmf(rmf)
        largest = float(matrix.matrix.sum(axis=0).max())
        if largest > _LARGEST_PROBABILITY:
            raise DataFileError(
                f"the matrix includes the effective area already (a row sums to {largest:g})",
                where=str(rmf), expected="this file alone, without the ARF",
            )  # fmt: skip
        notes = ancillary.notes + matrix.notes + _same_grid(ancillary, matrix)
        area, redistribution = ancillary.area, matrix.matrix
        mission = {**matrix.mission, **ancillary.mission}
        files = {"arf": str(arf), "rmf": str(rmf)}
    return Response(
        matrix.energy_lo, matrix.energy_hi, area, redistribution, matrix.channel_lo, matrix.channel_hi,
        first_channel=matrix.first_channel, name=label, files=files, notes=notes, mission=mission,
    )  # fmt: skip


def _split(matrix: csr_array) -> tuple[Floats, csr_array]:
    """Split a matrix in cm2 into area (its sum over channels) and probabilities."""
    area = np.asarray(matrix.sum(axis=0)).ravel()
    inverse = np.divide(1.0, area, out=np.zeros_like(area), where=area > 0)
    return area, csr_array(matrix.multiply(inverse[None, :]))


def _same_grid(arf: Arf, rmf: Rmf) -> tuple[str, ...]:
    where = f"{arf.path}[SPECRESP]"
    if arf.energy_lo.size != rmf.energy_lo.size:
        raise DataFileError(
            f"the ARF has {arf.energy_lo.size} energy bins", where=where,
            expected=f"{rmf.energy_lo.size}, as {rmf.path}",
        )  # fmt: skip
    # A hundredth of a bin: far below what folding resolves, far above the rounding of float32 edges.
    slack = 1e-2 * (rmf.energy_hi - rmf.energy_lo) + 1e-6 * rmf.energy_hi
    for column, ours, theirs in (
        ("ENERG_LO", arf.energy_lo, rmf.energy_lo),
        ("ENERG_HI", arf.energy_hi, rmf.energy_hi),
    ):
        apart = np.abs(ours - theirs) > slack
        if column == "ENERG_LO":
            apart[0] = False
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            raise DataFileError(
                f"the energy is {ours[row]:g} keV", where=f"{where}, column {column}, row {row + 1}",
                expected=f"{theirs[row]:g} keV, as in {rmf.path}",
            )  # fmt: skip
    if abs(arf.energy_lo[0] - rmf.energy_lo[0]) > slack[0]:
        starts = f"{arf.energy_lo[0]:g} keV, that of {rmf.path} at {rmf.energy_lo[0]:g} keV"
        return (f"{where}: the first bin starts at {starts}; the latter is used",)
    return ()
