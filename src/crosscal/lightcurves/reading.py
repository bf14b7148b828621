"""Readers of survey tables and plain columns, by name or by looking into the file.

Every named reader returns `Curves`, a mapping of code to (time, flux, error); `read` and `merge` give `LightCurves`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.keywords import keywords
from crosscal.core.memory import as_table
from crosscal.lightcurves.formats.columns import curves_of
from crosscal.lightcurves.formats.curves import Columns, Curves
from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.formats.memory import raw_of_memory
from crosscal.lightcurves.formats.merging import merge
from crosscal.lightcurves.formats.pycali import blocks_after_the_end, read_block_file
from crosscal.lightcurves.formats.raw import raw_table
from crosscal.lightcurves.formats.registry import LAYOUTS, layout_of
from crosscal.lightcurves.formats.selection import WAVELENGTHS, ZEROPOINTS, Selection, rebin
from crosscal.lightcurves.types import LightCurves

__all__ = [
    "WAVELENGTHS", "ZEROPOINTS", "Columns", "Curves", "Selection", "from_timeseries", "merge", "read", "read_asassn",
    "read_atlas", "read_columns", "read_table", "read_ztf", "rebin",
]  # fmt: skip

Source = str | os.PathLike[str]


def read(
    *sources: Any, selection: Selection | None = None, name: str = "continuum", unit: str = "", **choices: Any
) -> LightCurves:
    """Read light curves of one source from any files or tables in memory; the format is found by looking into them.

    Parameters
    ----------
    *sources : paths, tables in memory, or mappings of telescope to one of them
        Files of any survey in ``crosscal list layouts``, PyCALI's blocks, or tables with named columns (text of any
        delimiter, IPAC, CDS, ECSV, RDB, VOTable, FITS, Parquet); astropy tables and time series, pandas and polars
        data frames, xarray Datasets, lightkurve light curves, mappings of column name to array. A telescope that a
        table does not name is called as the key of the mapping, or as the file.
    selection : Selection, optional
        Cuts, units and choices.
    name, unit : str
        Of the joined light curve and its fluxes.
    **choices
        Fields of `Selection`, such as ``position=(ra, dec)``.

    Raises
    ------
    DataFileError, InputError, UnknownNameError
        Naming the file and what it lacks.

    Examples
    --------
    >>> curves = read("ztf.csv", "atlas.txt")    # doctest: +SKIP
    >>> curves.notes                              # doctest: +SKIP
    """
    chosen = replace(selection or Selection(), **choices)
    groups: list[Any] = []
    taken: set[str] = set()
    for label, source in _labelled(sources):
        found = _one(source, chosen, label, len(groups))
        groups.append(_distinct(found, taken, label))
        taken |= set(groups[-1].codes if isinstance(found, LightCurves) else groups[-1])
    if not groups:
        raise InputError("nothing to read", where="read", expected="at least one file or table")
    if len(groups) == 1 and isinstance(groups[0], LightCurves):
        return groups[0]
    return merge(*groups, name=name, unit=unit, position=chosen.position)


def from_timeseries(series: Any, *, code: str = "telescope", flux: str = "flux", error: str = "error") -> LightCurves:
    """Read an astropy TimeSeries (or a table with a ``time`` column) with a column naming the telescope.

    Points with a masked or missing value are left out, and told in ``notes``.

    Parameters
    ----------
    series : TimeSeries, Table or lightkurve's LightCurve; any other table in memory with a column of times
    code, flux, error : str
        Column names; without a ``code`` column all points are of one telescope. Where there is no column of the
        default names, columns are found as `read` finds them (``flux_err``, say).

    Raises
    ------
    UnknownNameError
        If a column that is named is missing.
    DataFileError
        If there are no times, fluxes or errors, or no point is left.

    Examples
    --------
    >>> curve = lightcurves.from_timeseries(series, code="tess")  # doctest: +SKIP
    """
    series = as_table(series, where="time series")
    named = {"telescope": (code, "telescope"), "flux": (flux, "flux"), "error": (error, "error")}
    columns = {role: name for role, (name, usual) in named.items() if name in series.colnames or name != usual}
    if "telescope" in columns and columns["telescope"] not in series.colnames:
        del columns["telescope"]
    table = raw_of_memory(series, "time series")
    return merge(curves_of(table, None, Selection(columns=columns), label="telescope"), name="time series")


def _labelled(sources: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Every source with the name that a telescope gets where the table has none."""
    pairs: list[tuple[str, Any]] = []
    for source in sources:
        if isinstance(source, list | tuple):
            pairs += _labelled(tuple(source))
        elif isinstance(source, Mapping) and not isinstance(source, Curves) and _of_tables(source):
            pairs += [(str(label), table) for label, table in source.items()]
        else:
            pairs.append(("", source))
    return pairs


def _of_tables(source: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds one table or file per telescope, rather than columns."""
    return all(
        isinstance(v, str | os.PathLike | Mapping) or any(hasattr(v, a) for a in ("colnames", "columns", "data_vars"))
        for v in source.values()
    )


def _one(source: Any, selection: Selection, label: str, number: int) -> Curves | LightCurves:
    if isinstance(source, LightCurves | Curves):
        return source
    if isinstance(source, Mapping) and source and all(isinstance(v, tuple) for v in source.values()):
        return LightCurves.from_arrays(source)
    if isinstance(source, str | os.PathLike):
        return read_table(source, selection, telescope=label)
    table = raw_of_memory(source, label or f"table {number + 1}")
    return curves_of(table, layout_of(table), selection, label=label or "telescope")


def _distinct(found: Curves | LightCurves, taken: set[str], label: str) -> Curves | LightCurves:
    """Give codes that another file holds too the name of their file."""
    if isinstance(found, LightCurves) or not taken & set(found):
        return found
    stem = label or Path(found.source).stem or "table"
    renamed = found.like(found.system)
    for code, columns in found.items():
        new = f"{code}_{stem}" if code in taken else code
        while new in taken:
            new += "+"
        if new != code:
            renamed.notes.append(f"{Path(found.source).name}: {code} is called {new}, because another file has it too")
        renamed.put(new, columns, found.units.get(code, ""), found.bands.get(code, ""))
    return renamed


@keywords
def read_table(
    path: Source, selection: Selection | None = None, *, telescope: str = "", layout: str = "auto"
) -> Curves | LightCurves:
    """Read one file: PyCALI's blocks as LightCurves, a table of any survey or with named columns as Curves.

    Parameters
    ----------
    selection : Selection, optional
        Cuts, units and choices.
    telescope : str
        Name of the telescope, where the table does not name it; that of the file by default.
    layout : str
        Name of a layout of ``crosscal list layouts``, "columns" for named columns, or "auto".

    Raises
    ------
    DataFileError, InputError, UnknownNameError
        Naming the file, and the row or column.

    Examples
    --------
    >>> curves = lightcurves.read_table("mine.csv", telescope="site")  # doctest: +SKIP
    """
    chosen = selection or Selection()
    if layout == "auto" and _is_blocks(path):
        curve = read_block_file(path)
        return LightCurves(curve, notes=blocks_after_the_end(path))
    table = raw_table(path)
    found: Layout | None = layout_of(table) if layout == "auto" and not chosen.columns else None
    if layout not in ("auto", "columns"):
        found = LAYOUTS.get(layout)
    return curves_of(table, found, chosen, label=telescope)


def _is_blocks(path: Source) -> bool:
    """Whether a file begins with PyCALI's header '# CODE N' and has rows of numbers after it."""
    with open(existing_file(path, what="light-curve table"), "rb") as stream:
        head = stream.read(4096).decode("latin-1").splitlines()
    if not head or not re.fullmatch(r"#\s*\S+\s+\+?\d+\s*", head[0]):
        return False
    return len(head) > 1 and (head[1].startswith("#") or bool(re.match(r"\s*[-+]?[\d.]", head[1])))


def _named(path: Source, selection: Selection | None, names: tuple[str, ...]) -> Curves:
    """Read a table that must have one of some layouts; the first of them is asked for in messages."""
    table = raw_table(path)
    layouts = [LAYOUTS.get(name) for name in names]
    chosen = next((layout for layout in layouts if layout.fits(table)), layouts[0])
    return curves_of(table, chosen, selection or Selection())


def read_asassn(
    path: Source, selection: Selection | None = None, *, use_flux: bool = False, by_camera: bool = False
) -> Curves:
    """Read an ASAS-SN light curve: Sky Patrol v1 or v2 from the web, or a table of the Python client.

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.
    use_flux : bool
        Take the flux column (mJy) rather than magnitudes: F_lambda = F_nu c / lambda^2.
    by_camera : bool
        One code per camera and filter ("asas_bbV") rather than per filter ("asas_V").

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.

    Examples
    --------
    >>> curve = lightcurves.read_asassn("asassn.csv", by_camera=True)  # doctest: +SKIP
    """
    chosen = selection or Selection()
    chosen = replace(chosen, use_flux=use_flux or chosen.use_flux, by_camera=by_camera or chosen.by_camera)
    return _named(path, chosen, ("asassn", "asassn-v2", "asassn-client"))


def read_ztf(path: Source, selection: Selection | None = None) -> Curves:
    """Read a ZTF light curve of IRSA (CSV or IPAC table; only ``catflags == 0``), or forced photometry on demand.

    Object ids of one filter (fields and quadrants) are kept apart; ``merge_objects`` of the selection joins them.

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.

    Examples
    --------
    >>> curves = lightcurves.read_ztf("ztf.csv")  # doctest: +SKIP
    """
    return _named(path, selection, ("ztf", "ztf-forced", "ztf-alerts", "ztf-alerts-difference"))


def read_atlas(path: Source, selection: Selection | None = None, *, chi_limit: float = 10.0) -> Curves:
    """Read ATLAS forced photometry (``MJD m dm uJy duJy F err chi/N ...``): fluxes in uJy, ``err == 0`` only.

    Difference fluxes may be negative: use ``normalisation="spread"``.

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.
    chi_limit : float
        Largest reduced chi2 of the fit of the star's image.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.

    Examples
    --------
    >>> curve = lightcurves.read_atlas("atlas.txt")  # doctest: +SKIP
    """
    layout: Layout = LAYOUTS.get("atlas")
    if chi_limit != 10.0:
        rules = tuple(replace(rule, value=chi_limit) if rule.key == "chi_n" else rule for rule in layout.keep)
        layout = replace(layout, keep=rules)
    return curves_of(raw_table(path), layout, selection or Selection())


def read_columns(path: Source, code: str, selection: Selection | None = None) -> Curves:
    """Read the table of one telescope: columns by name, or time, flux, error where they have none.

    Parameters
    ----------
    code : str
        Name of the telescope.
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.

    Examples
    --------
    >>> curve = lightcurves.read_columns("mine.dat", "mine")  # doctest: +SKIP
    """
    found = curves_of(raw_table(path), None, selection or Selection(), label=code)
    if len(found) != 1 and not (selection and selection.keylabel):
        names = ", ".join(found)
        raise DataFileError(
            f"it holds several light curves ({names})",
            where=str(path),
            expected="one; lightcurves.read keeps them apart",
        )
    return found
