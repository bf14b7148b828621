"""PyCALI's block format: ``# CODE N`` followed by N rows ``time flux error [flag]``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import write_text
from crosscal.core.reading import read_text
from crosscal.lightcurves.types import LightCurve, LightCurves


def read_pycali(
    continuum: str | os.PathLike[str],
    lines: Sequence[str | os.PathLike[str]] = (),
    *,
    unit: str = "",
    time_unit: str = "d",
) -> LightCurves:
    """Read a continuum file and any number of line files.

    Parameters
    ----------
    continuum : path
    lines : sequence of paths
        Emission lines: the same codes in the same order.
    unit, time_unit : str
        Of fluxes and times, for labels.

    Raises
    ------
    DataFileError
        Naming file and row, if a header or row is wrong, a value is not finite or an error is not positive.
    InputError
        If a line file lists other codes than the continuum.

    Examples
    --------
    >>> curves = lightcurves.read_pycali("continuum.txt", ["line.txt"])  # doctest: +SKIP
    """
    first = read_block_file(continuum, unit=unit)
    others = tuple(read_block_file(path) for path in lines)
    notes = tuple(note for path in (continuum, *lines) for note in blocks_after_the_end(path))
    return LightCurves(first, others, time_unit=time_unit, notes=notes)


def blocks_after_the_end(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Tell blocks below the blank line that ends a file, which PyCALI does not read either."""
    lines = read_text(path, what="light-curve file", expected="blocks '# CODE N'").splitlines()
    position = 0
    while position < len(lines) and lines[position].strip():
        position += 1 + _header(lines[position], str(path), position + 1)[1]
    below = [line.strip() for line in lines[position:] if re.fullmatch(r"#\s*\S+\s+\+?\d+\s*", line)]
    if not below:
        return ()
    return (f"{Path(path).name}: the blank line {position + 1} ends the file; {', '.join(below[:3])} is not read",)


def read_block_file(path: str | os.PathLike[str], *, unit: str = "") -> LightCurve:
    """Read one file of blocks; a blank header line ends it, N = 0 is allowed.

    The first data row decides whether there is a flag column; all rows must then agree. ``unit`` is that of the fluxes.

    Raises
    ------
    DataFileError
        Naming file and row.

    Examples
    --------
    >>> curve = lightcurves.read_block_file("continuum.txt")  # doctest: +SKIP
    """
    text = read_text(path, what="light-curve file", expected="blocks '# CODE N'").splitlines()
    codes: list[str] = []
    values: list[list[float]] = []
    code: list[int] = []
    rows: list[str] = []
    width = 0
    position = 0
    while position < len(text) and text[position].strip():
        label, n = _header(text[position], str(path), position + 1)
        if label in codes:
            raise DataFileError(
                f"the code {label!r} repeats", where=f"{path}, line {position + 1}", expected="new code"
            )
        codes.append(label)
        for k in range(n):
            number = position + 2 + k
            place = f"{path}, line {number}"
            if number > len(text) or not text[number - 1].strip() or text[number - 1].startswith("#"):
                raise DataFileError(f"code {label!r} has {k} rows", where=place, expected=f"{n}, as its header says")
            numbers = _row(text[number - 1], place, width)
            width = width or len(numbers)
            values.append(numbers)
            code.append(len(codes) - 1)
            rows.append(place)
        position += 1 + n
    if not values:
        raise DataFileError("no data points", where=str(path), expected="blocks '# CODE N' with N rows")
    table = np.array(values)
    flag = table[:, 3].astype(np.int64) if width == 4 else None
    try:
        return LightCurve.build(
            Path(path).name, codes, table[:, 0], table[:, 1], table[:, 2], code, flag, unit=unit, rows=rows
        )
    except InputError as error:
        raise DataFileError(error.what, where=error.where, expected=error.expected) from None


def _header(line: str, path: str, number: int) -> tuple[str, int]:
    where = f"{path}, line {number}"
    expected = "a header '# CODE N'"
    if not line.startswith("#"):
        raise DataFileError(f"not a header: {line.strip()[:40]!r}", where=where, expected=expected)
    words = line[1:].split()
    if len(words) != 2 or not words[1].lstrip("+").isdigit():
        raise DataFileError(f"wrong header {line.strip()[:40]!r}", where=where, expected=expected)
    return words[0], int(words[1])


def _row(line: str, place: str, width: int) -> list[float]:
    words = line.split()
    if len(words) not in (3, 4) or (width and len(words) != width):
        expected = f"{width} columns, as in the first row" if width else "time flux error [flag]"
        raise DataFileError(f"{len(words)} columns", where=place, expected=expected)
    try:
        numbers = [float(w) for w in words]
    except ValueError:
        raise DataFileError(f"not numbers: {line.strip()[:40]!r}", where=place, expected="numbers") from None
    if len(words) == 4 and not float(words[3]).is_integer():
        raise DataFileError(f"the flag is {words[3]}", where=place, expected="an integer")
    return numbers


def write_pycali(path: str | os.PathLike[str], curve: LightCurve, *, flags: bool | None = None) -> Path:
    """Write one light curve as blocks, in time order per code; flags where any code has more than one.

    Examples
    --------
    >>> lightcurves.write_pycali("continuum.txt", curves.continuum)  # doctest: +SKIP
    """
    with_flags = any(len(labels) > 1 for labels in curve.flag_labels) if flags is None else flags
    lines = []
    for i, label in enumerate(curve.codes):
        mine = np.flatnonzero(curve.code == i)
        lines.append(f"# {label} {len(mine)}")
        for j in mine:
            row = f"{curve.time[j]:.10e} {curve.flux[j]:.10e} {curve.error[j]:.10e}"
            lines.append(row + (f" {curve.flag_labels[i][curve.flag[j]]}" if with_flags else ""))
    return write_text(path, "\n".join(lines) + "\n")
