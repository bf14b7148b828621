"""Reading tables of what is known of the areas before: tau by instrument and energy, and draws of areas."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.priors import TauTable
from crosscal.concordance.table_columns import joined, load_columns, numeric
from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing, read_text
from crosscal.datasets import find


def read_tau_matrix(path: str | os.PathLike[str], *, keep_ambiguous: bool = False) -> TauTable:
    """Read fractional uncertainties in percent: rows are instruments, columns are energy ranges "lo-hi" in keV.

    Rows whose last column ("parse_note") is not "ok" are left out unless ``keep_ambiguous``.

    Raises
    ------
    DataFileError
        If no column is an energy range or an entry is not a number.

    Examples
    --------
    >>> table = concordance.read_tau_matrix("tau.csv")  # doctest: +SKIP
    """
    source = existing_file(path, what="tau table")
    with parsing("the table cannot be read", where=source, expected="CSV in UTF-8"):
        rows = [row for row in csv.reader(read_text(source).splitlines()) if row]
    header = rows[0] if rows else []
    ranges = {k: tuple(float(x) for x in text.split("-")) for k, text in enumerate(header) if _is_range(text)}
    if not ranges:
        raise DataFileError("no column is an energy range", where=str(path), expected="columns such as '0.5-2.0' (keV)")
    note = header.index("parse_note") if "parse_note" in header else None
    entries: dict[str, list[tuple[float, float, float]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataFileError(f"{len(row)} fields", where=f"{path}, line {number}", expected=f"{len(header)}")
        if note is not None and row[note].strip() != "ok" and not keep_ambiguous:
            continue
        found = []
        for k, (low, high) in ranges.items():
            if row[k].strip():
                try:
                    found.append((low, high, float(row[k]) / 100))
                except ValueError:
                    raise DataFileError(
                        f"{row[k]!r} is not a number",
                        where=f"{path}, line {number}, column {header[k]!r}",
                        expected="percent",
                    ) from None
        entries[row[0]] = found
    return TauTable(entries)


def _is_range(text: str) -> bool:
    try:
        low, high = (float(x) for x in text.split("-"))
    except ValueError:
        return False
    return low < high


def iachec_tau(
    names: Mapping[str, str] | None = None,
    bands: Mapping[str, tuple[float, float]] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> TauTable:
    """Return the IACHEC default uncertainties by instrument and energy, from the data search path.

    Parameters
    ----------
    names : mapping, optional
        The data's instrument names to the matrix's ("pn" to "XMM pn"); similar names are found without.
    bands : mapping, optional
        The data's band names to (lo, hi) in keV.

    Raises
    ------
    DataFileError
        If the matrix is not found; the sentence says where it is looked for.

    Examples
    --------
    >>> tau = concordance.iachec_tau({"pn": "XMM pn"}, bands={"soft": (0.5, 2.0)})  # doctest: +SKIP
    """
    table = read_tau_matrix(path if path is not None else find("concordance/iachec_tau_matrix.csv"))
    return table.with_names(names, bands)


def read_area_draws(path: str | os.PathLike[str], instrument: str = "instrument") -> dict[str, NDArray[np.float64]]:
    """Read Monte Carlo draws of band-averaged areas: one row per draw, a column of instrument names, one per band.

    Raises
    ------
    DataFileError
        If an area is not a number.

    Examples
    --------
    >>> draws = concordance.read_area_draws("area_draws.ecsv")  # doctest: +SKIP
    """
    table, where, _ = load_columns(path)
    names = joined(table, instrument, where)
    numbers = np.arange(1, len(table) + 1)
    bands = [c for c in table.colnames if c != instrument]
    if not bands:
        raise DataFileError("no column of areas", where=where, expected="one column a band")
    areas = np.column_stack([numeric(table, c, where, numbers)[0] for c in bands])
    # A band that an instrument lacks is empty in all its rows.
    return {str(n): areas[names == n][:, ~np.isnan(areas[names == n]).all(axis=0)] for n in dict.fromkeys(names)}
