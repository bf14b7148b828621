"""Reading OGIP redistribution matrices: one block or several, of one response or of several times.

References
----------
George et al. 1992, CAL/GEN/92-002 and its addendum 92-002a; OGIP/92-002 in the form of 2020, where the matrix of one
response may be split into several MATRIX extensions that add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from crosscal.xray.instrument.checks import LARGEST_PROBABILITY, Floats
from crosscal.xray.instrument.ogip_arf import MATRIX_NAMES, Headers, PathLike, energies, kept_cards, mission_of
from crosscal.xray.instrument.ogip_table import ROUNDING, Table, find_table, find_tables, opened

# Sum of the blocks of one redistribution above which they must be alternatives: real files overshoot 1 by 1e-3.
_LARGEST_SUM = 1.05
# Offsets of the matrix' ridge from EBOUNDS, in channels, must differ by this much to tell the origin of F_CHAN.
_CLEAR = 0.1


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
    headers: Headers = field(default_factory=dict)


def read_rmf(path: PathLike, *, time: float | None = None, block: int | None = None) -> Rmf:
    """Read an RMF or RSP: MATRIX or SPECRESP MATRIX, and EBOUNDS.

    Several matrices of one response are added (OGIP 2020, XRISM); of several matrices with times of their own
    (Fermi GBM's rsp2) one is chosen. ``notes`` of the result says which.

    Parameters
    ----------
    path : path
    time : float, optional
        Chooses the matrix whose TSTART and TSTOP enclose it, in their seconds.
    block : int, optional
        Chooses a matrix by its number in the file, from 1.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong; or if matrices differ in time and none is chosen.

    Examples
    --------
    >>> rmf = xray.read_rmf("acis.rmf")  # doctest: +SKIP
    """
    with opened(path, "RMF") as hdus:
        hint = " (it looks like an ARF)" if any(hdu.name.upper() == "SPECRESP" for hdu in hdus) else ""
        tables = find_tables(
            hdus, str(path), names=MATRIX_NAMES, hduclas1="RESPONSE", hduclas2=("RSP_MATRIX",), hint=hint
        )
        bounds = find_table(
            hdus, str(path), names=("EBOUNDS",), hduclas1="RESPONSE", hduclas2=("EBOUNDS", "PI_EBOUNDS")
        )
        channel_lo, channel_hi, first = _ebounds(bounds, tables[0])
        chosen = _chosen(tables, time, block)
        parts = [_block(table, channel_lo, channel_hi, first) for table in chosen]
        lo, hi, matrix = _added(chosen, parts)
        largest = float(matrix.sum(axis=0).max()) if matrix.nnz else 0.0
        if largest == 0:
            raise chosen[0].error("all elements are zero", column="MATRIX", expected="a response")
        declared = any(table.hdu.name.upper() == "SPECRESP MATRIX" or _says_full(table) for table in chosen)
        notes = tuple(note for table in (*chosen, bounds) for note in table.notes)
        has_area = declared or any(part.sum(axis=0).max() > LARGEST_PROBABILITY for *_, part in parts)
        if len(chosen) > 1 and not has_area and largest > _LARGEST_SUM:
            raise chosen[1].error(
                f"the {len(chosen)} matrices add up to a probability of {largest:.3g}", column="MATRIX",
                expected="parts of one response, or block = N for one of them",
            )  # fmt: skip
        mission = mission_of(chosen[0].header, hdus[0].header)
        headers = {"PRIMARY": kept_cards(hdus[0].header), "MATRIX": kept_cards(chosen[0].header)}
        return Rmf(lo, hi, matrix, channel_lo, channel_hi, first, has_area, str(path), notes, mission, headers)


def _says_full(table: Table) -> bool:
    return str(table.header.get("HDUCLAS3") or "").strip().upper() in ("FULL", "SPECRESP MATRIX")


def _chosen(tables: list[Table], time: float | None, block: int | None) -> list[Table]:
    """Return the matrices to be added: all parts of one response, or the one of a time or number."""
    n = len(tables)
    if block is not None and not 1 <= block <= n:
        raise tables[0].error(f"block {block} is asked for", expected=f"block = 1 to {n}")
    if n == 1:
        return tables
    if block is not None:
        tables[block - 1].note(f"matrix {block} of {n} is used, as asked for")
        return [tables[block - 1]]
    spans = [_span(table) for table in tables]
    if any(span is None for span in spans) or len(set(spans)) == 1:
        tables[0].note(f"the file's {n} matrices are parts of one response; their sum is used")
        return tables
    text = ", ".join(f"{a:.10g} to {b:.10g}" for a, b in (span for span in spans if span is not None))
    if time is None:
        raise tables[0].error(
            f"the file holds {n} matrices of different times ({text}) and none is chosen",
            expected=f"a time, or block = 1 to {n}",
        )
    inside = [k for k, span in enumerate(spans) if span is not None and span[0] <= time <= span[1]]
    if not inside:
        raise tables[0].error(f"no matrix is of the time {time:.10g}", expected=f"one within {text}")
    tables[inside[0]].note(f"matrix {inside[0] + 1} of {n} is used, that of the time {time:.10g}")
    return [tables[inside[0]]]


def _span(table: Table) -> tuple[float, float] | None:
    try:
        return float(table.header["TSTART"]), float(table.header["TSTOP"])
    except (KeyError, TypeError, ValueError):
        return None


def _added(tables: Sequence[Table], parts: Sequence[tuple[Floats, Floats, csc_array]]) -> tuple[Floats, Floats, Any]:
    """Add blocks on the finest of their energy grids; a bin of a coarse block is constant over those it holds."""
    if len(parts) == 1:
        lo, hi, matrix = parts[0]
        return lo, hi, csr_array(matrix)
    finest = max(range(len(parts)), key=lambda k: parts[k][0].size)
    lo, hi, _ = parts[finest]
    total = csc_array((parts[0][2].shape[0], lo.size), dtype=float)
    for table, (low, high, matrix) in zip(tables, parts, strict=True):
        if low.size == lo.size and np.allclose(low, lo, rtol=1e-6) and np.allclose(high, hi, rtol=1e-6):
            total = total + matrix
            continue
        edges, fine = np.append(low, high[-1]), np.append(lo, hi[-1])
        # Each edge of the coarse grid must be one of the fine grid, else photons would be counted twice or not.
        nearest = fine[np.clip(np.searchsorted(fine, edges * (1 - 1e-6)), 0, fine.size - 1)]
        inside = (edges > fine[0] * (1 - 1e-6)) & (edges < fine[-1] * (1 + 1e-6))
        if np.any(np.abs(nearest - edges)[inside] > 1e-5 * edges[inside]):
            raise table.error(
                "the energy bins do not fit into those of the file's other matrix", column="ENERG_LO",
                expected="grids of which one divides the other",
            )  # fmt: skip
        member = np.searchsorted(edges, 0.5 * (lo + hi), side="right") - 1
        used = np.flatnonzero((member >= 0) & (member < low.size))
        spread = csc_array((np.ones(used.size), (member[used], used)), shape=(low.size, lo.size))
        total = total + matrix @ spread
        table.note(f"its {low.size} energy bins are divided as the {lo.size} of the file's other matrix")
    return lo, hi, csr_array(total)


def _ebounds(table: Table, matrix: Table) -> tuple[Floats, Floats, int]:
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
    table.check_channels(lo.size, "rows", matrix)
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


def _block(
    table: Table, channel_lo: Floats, channel_hi: Floats, first_channel: int
) -> tuple[Floats, Floats, csc_array]:
    """Return the energies of one matrix and its elements, (n_channel, n_energy), in order of energy."""
    lo, hi, rows = energies(table)
    n_channel = channel_lo.size
    numbers, elements, sizes = _elements(table)
    origin = table.limit("TLMIN", "F_CHAN")
    if origin is None:
        ridge = _ridge(table, numbers, elements, sizes)
        origin = _origin(table, numbers, ridge, channel_lo, channel_hi, first_channel)
    index = numbers - origin
    row_of = np.repeat(np.arange(table.rows), sizes)
    outside = (index < 0) | (index >= n_channel)
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise table.error(
            f"a group reaches channel {numbers[k]}", column="F_CHAN", row=int(row_of[k]),
            expected=f"channels {origin} to {origin + n_channel - 1}",
        )  # fmt: skip
    elements = _positive(table, elements, row_of)
    matrix = csc_array((elements, index, np.append(0, np.cumsum(sizes))), shape=(n_channel, table.rows))
    matrix.sum_duplicates()
    return lo, hi, matrix[:, rows]


def _elements(table: Table) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return the channel numbers and values of all elements, row after row, and how many each row has."""
    groups = table.integers("N_GRP")
    first, count, values = (table.raw(name) for name in ("F_CHAN", "N_CHAN", "MATRIX"))
    variable = np.asarray(values).dtype == object
    numbers: list[NDArray[np.int64]] = []
    data: list[Floats] = []
    surplus = 0
    for row in range(table.rows):
        index = _row_channels(table, row, int(groups[row]), first[row], count[row])
        elements = np.atleast_1d(np.asarray(values[row], dtype=float))
        extra = elements[index.size :]
        # Padding by zeros carries nothing; anything else means that the groups are not those of the elements.
        if elements.size < index.size or (variable and np.any(extra != 0)):
            raise table.error(
                f"there are {elements.size} elements", column="MATRIX", row=row,
                expected=f"{index.size}, the sum of N_CHAN",
            )  # fmt: skip
        surplus += bool(variable and extra.size)
        numbers.append(index)
        data.append(elements[: index.size])
    if surplus:
        table.note(f"column MATRIX is padded with zeros in {surplus} rows")
    return np.concatenate(numbers), np.concatenate(data), np.array([index.size for index in numbers])


def _row_channels(table: Table, row: int, n_group: int, first: Any, count: Any) -> NDArray[np.int64]:
    """Return the channel numbers of the elements of one row of the matrix."""
    first = np.atleast_1d(np.asarray(first)).astype(np.int64)
    count = np.atleast_1d(np.asarray(count)).astype(np.int64)
    if n_group < 0 or n_group > min(first.size, count.size):
        raise table.error(
            f"{n_group} groups are announced", column="N_GRP", row=row,
            expected=f"0 to {min(first.size, count.size)}, the length of F_CHAN and N_CHAN",
        )  # fmt: skip
    first, count = first[:n_group], count[:n_group]
    if np.any(count < 0):
        raise table.error(
            f"group {int(np.flatnonzero(count < 0)[0]) + 1} has {count.min()} channels", column="N_CHAN", row=row,
            expected="at least 0",
        )  # fmt: skip
    # A group of no channels is how some files write an energy that no channel records.
    return np.concatenate([np.arange(f, f + c) for f, c in zip(first, count, strict=True)] or [np.zeros(0, int)])


def _positive(table: Table, elements: Floats, row_of: NDArray[np.int64]) -> Floats:
    """Return the elements, tiny negative ones as zero.

    Raises
    ------
    DataFileError
        If one is not finite, or negative beyond rounding.
    """
    bad = ~np.isfinite(elements)
    if not bad.any():
        bad = elements < -ROUNDING * elements.max(initial=0.0)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise table.error(
            f"an element is {elements[k]:g}", column="MATRIX", row=int(row_of[k]), expected="finite numbers >= 0"
        )
    if np.any(elements < 0):
        table.note(f"{np.sum(elements < 0)} elements of {elements.min():.2g} or more are negative; 0 is used")
    return np.maximum(elements, 0.0)


def _ridge(
    table: Table, numbers: NDArray[np.int64], elements: Floats, sizes: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the mid-energy and the channel number of the largest element of each row that has one."""
    energy = 0.5 * (table.values("ENERG_LO", unit="keV") + table.values("ENERG_HI", unit="keV"))
    starts = np.append(0, np.cumsum(sizes))
    peaks = [
        (energy[row], numbers[a + int(np.argmax(elements[a:b]))])
        for row, (a, b) in enumerate(pairwise(starts))
        if b > a and elements[a:b].max() > 0
    ]
    return np.array([p[0] for p in peaks]), np.array([p[1] for p in peaks], dtype=np.int64)


def _origin(
    table: Table,
    numbers: NDArray[np.int64],
    ridge: tuple[Floats, NDArray[np.int64]],
    channel_lo: Floats,
    channel_hi: Floats,
    first_channel: int,
) -> int:
    """Decide from the data which number F_CHAN gives to the first row of EBOUNDS, where TLMIN is missing.

    The channels must lie within EBOUNDS; if 0 and 1 are both possible, the origin counts for which the matrix peaks
    at the photons' own energy.
    """
    n = channel_lo.size
    candidates = [first_channel, *(k for k in (1, 0) if k != first_channel)]
    possible = [k for k in candidates if numbers.size == 0 or (numbers.min() >= k and numbers.max() <= k + n - 1)]
    if not possible:
        return first_channel  # the caller says which element lies outside
    origin, why = possible[0], "the only number that fits EBOUNDS"
    if len(possible) > 1:
        offset = {k: _offset(ridge, k, channel_lo, channel_hi) for k in possible}
        best = min(possible, key=lambda k: offset[k])
        others = min(offset[k] for k in possible if k != best)
        origin, why = (
            (best, "for which the matrix peaks at the photons' energies")
            if others - offset[best] > _CLEAR
            else (first_channel, "the first channel of EBOUNDS")
        )
    table.note(f"F_CHAN has no TLMIN; its channels are counted from {origin}, {why}")
    return origin


def _offset(ridge: tuple[Floats, NDArray[np.int64]], origin: int, channel_lo: Floats, channel_hi: Floats) -> float:
    """Median distance of the matrix' ridge from the photons' energies, in channels."""
    energy, number = ridge
    inside = (energy > channel_lo.min()) & (energy < channel_hi.max())
    channel = np.clip(number - origin, 0, channel_lo.size - 1)[inside]
    if channel.size == 0:
        return np.inf
    centre, width = 0.5 * (channel_lo + channel_hi)[channel], (channel_hi - channel_lo)[channel]
    return abs(float(np.median((centre - energy[inside]) / width)))
