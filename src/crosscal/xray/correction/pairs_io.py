"""Tables of paired sources: written as ECSV, CSV and FITS, read in the forms in which people publish them.

Columns, for telescopes called ``chandra`` and ``xmm``: ``source``; ``kT_chandra``, ``kT_err_chandra`` and the same for
``xmm``; optionally ``norm_*``, ``norm_err_*``, ``Abundanc_*``, ``Abundanc_err_*`` and the correlations
``kT_norm_corr_*``, ``kT_Abundanc_corr_*``, ``norm_Abundanc_corr_*``. Errors are 1 sigma; columns with a unit are
converted. Where errors differ below and above, ``kT_err_lo_*`` and ``kT_err_hi_*`` stand for ``kT_err_*``; their mean
is used. A column ``kT_samples_*`` (one array a row, with the same for the other quantities) replaces value and error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.core.errors import ConfigError, DataFileError, InputError, closest
from crosscal.core.files import atomic_path, check_path_first, existing_file, sha256
from crosscal.core.keywords import keywords
from crosscal.core.memory import is_path
from crosscal.xray.correction.pairs import QUANTITIES, Floats, PairedSources
from crosscal.xray.correction.pairs_cells import Cells, assembled, beside_samples, cells_of
from crosscal.xray.correction.pairs_columns import source_column
from crosscal.xray.correction.pairs_responses import file_columns, responses_of
from crosscal.xray.correction.pairs_table import Sheet, read_sheet
from crosscal.xray.correction.roles import BY_ORDER, roles
from crosscal.xray.instrument.checks import told_once

if TYPE_CHECKING:
    from crosscal.xray.instrument.response import Response

#: Higher temperatures than those of plasma tables, keV.
HOTTEST = 200.0
FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".fit": "fits"}


@keywords
def read_pairs(
    path: str | os.PathLike[str] | Any,
    *,
    trusted: str = "",
    corrected: str = "",
    telescopes: tuple[str, str] | None = None,
    confidence: float | None = None,
    response: Response | None = None,
) -> PairedSources:
    """Read a table of sources seen by two telescopes or more, of which two are used.

    Columns: ``source``, and ``kT_A``, ``kT_err_A``, ``kT_B``, ``kT_err_B`` of telescopes called A and B (keV, 1 sigma);
    optionally the same of ``norm`` and ``Abundanc``, and correlations such as ``kT_norm_corr_A``. Errors below and
    above in ``kT_err_lo_A`` and ``kT_err_hi_A`` are averaged. ``kT_samples_A``, an array in each row, replaces value
    and error. ``nH`` and ``z`` are kept for each source, and so are the responses that ``arf_A`` and ``rmf_A`` name (in
    long tables ``arf`` and ``rmf``; paths are relative to the table): exact fits use them.

    Other spellings are understood as well: VizieR's ``e_kT_A`` and ``E_kT_A``, XGA's ``Tx_500_A-`` and ``Tx_500_A+``,
    bounds ``kT_min_A`` and ``kT_max_A``, units in names (``kT_A (eV)``), kelvin; and tables with a row for each source
    and ``telescope``, where a column ``log`` may name logs of XSPEC or Sherpa instead of values. A source with an empty
    cell or a limit is left out. ``notes`` of the result tell all this.

    Parameters
    ----------
    path : path or table
        ECSV, CSV, TSV (VizieR's with lines of units and dashes), VOTable or FITS; or a table in memory: astropy,
        pandas, polars, xarray, a structured array, or a mapping of columns.
    trusted, corrected : str, optional
        Names of the two telescopes, as the columns have them; in a table of two, one of them is enough. Without both,
        the table's metadata ``telescopes`` are (trusted, corrected); where there are none either, `infer` asks who is
        trusted.
    telescopes : (trusted, corrected), optional
        Both at once.
    confidence : float, optional
        Level of the errors, such as 0.9; by default what names (``kT_err90_A``), metadata (``confidence``) or comments
        of the table say, else 1 sigma.
    response : Response, optional
        Of the telescope that is corrected. Its RMF completes an ARF of a source that the table names without one, its
        ARF an RMF.

    Raises
    ------
    DataFileError
        Naming the file, the column and the row, or the telescope that is not in the table.
    ConfigError
        If ``confidence`` is not a probability.

    Examples
    --------
    >>> pairs = xray.read_pairs("clusters.csv", trusted="pn", corrected="acis")  # doctest: +SKIP
    >>> pairs = xray.read_pairs(table, confidence=0.9)  # doctest: +SKIP
    """
    if confidence is not None and not 0 < confidence < 1:
        raise ConfigError(f"a confidence of {confidence:g}", where="read_pairs", expected="a share such as 0.9")
    source = existing_file(path, what="table of pairs") if is_path(path) else None
    sheet = read_sheet(path if source is None else source)
    where, table = sheet.where, sheet.table
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="one row a source")
    name = "source" if "source" in table.colnames else source_column(table.colnames)
    if name is None:
        raise DataFileError("no column 'source'", where=where, expected=closest("source", table.colnames))
    names = [str(value).strip() for value in table[name]]
    asked = (trusted, corrected) if telescopes is None else telescopes
    try:
        if any("_samples_" in column for column in table.colnames):
            found = [c.split("_samples_", 1)[1] for c in table.colnames if c.startswith("kT_samples_")]
            chosen, facts = _chosen(tuple(dict.fromkeys(found)), table, asked, where)
            pairs = _of_samples(table, names, chosen, where)
            cells = beside_samples(sheet, names, name, tuple(dict.fromkeys(found)))
            notes = tuple(f"{where}: {note}" for note in sheet.notes)
            pairs = replace(pairs, constants=cells.constants, notes=(*pairs.notes, *notes))
        else:
            cells = cells_of(sheet, names, name, Path() if source is None else source.parent, confidence)
            chosen, facts = _chosen(cells.telescopes, table, asked, where)
            pairs = _of_cells(sheet, cells, chosen)
        pairs = _with_responses(pairs, cells, Path() if source is None else source.parent, where, facts, response)
    except DataFileError:
        raise
    except InputError as error:
        raise DataFileError(error.what, where=f"{where}, {error.where}", expected=error.expected) from error
    content = {} if source is None else {"sha256": sha256(source)}
    return replace(pairs, provenance={"file": where, **content, **facts})


def _named(table: Any) -> tuple[str, ...] | None:
    """Return the telescopes that the table's metadata name."""
    known = table.meta.get("telescopes", table.meta.get("TELESCOP"))
    if isinstance(known, str):
        known = json.loads(known) if known.startswith("[") else known.split(",")
    return None if known is None else tuple(str(k).strip() for k in known)


def _chosen(
    known: tuple[str, ...], table: Any, asked: tuple[str, str], where: str
) -> tuple[tuple[str, str], dict[str, Any]]:
    """Return (trusted, corrected) among the telescopes with a temperature, and what provenance says of the choice."""
    (trusted, corrected), named = asked, _named(table)
    stated = (named[0], named[1]) if named is not None and len(named) == 2 else None
    if named is not None:
        known = (*named, *(name for name in known if name not in named))
    if len(known) < 2:
        raise DataFileError(
            f"{len(known)} telescopes with a temperature",
            where=where,
            expected="columns kT_A, kT_err_A, kT_B, kT_err_B for two telescopes A and B",
        )
    for name in asked:
        if name and name not in known:
            raise DataFileError(f"no column 'kT_{name}'", where=where, expected=f"a telescope of {', '.join(known)}")
    by_order = not (trusted or corrected or stated) and len(known) == 2
    chosen = (known[0], known[1]) if by_order else stated or ("", "")
    if trusted or corrected or not (by_order or stated):
        chosen = roles(known, trusted=trusted, corrected=corrected, where=where)
    notes = []
    if unused := [name for name in known if name not in chosen]:
        notes.append(
            f"Of {', '.join(known)} in the table, {chosen[0]} is the reference and {chosen[1]} is corrected; "
            f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used."
        )
    if stated and stated != chosen:
        notes.append(f"The table names {stated[0]} as the reference; the arguments name {chosen[0]}, which is used.")
    return chosen, {"roles": BY_ORDER if by_order else "names", "notes": notes}


def _of_cells(sheet: Sheet, cells: Cells, telescopes: tuple[str, str]) -> PairedSources:
    """Put values and errors of two telescopes together; sources with a gap are left out."""
    for telescope in telescopes:
        if (telescope, "kT") not in cells.values:
            raise DataFileError(
                f"no column 'kT_{telescope}'",
                where=sheet.where,
                expected=closest(f"kT_{telescope}", sheet.table.colnames),
            )
    quantities = tuple(q for q in QUANTITIES if all((t, q) in cells.values for t in telescopes))
    values, sd, complete, notes = assembled(cells, telescopes, quantities)
    _check_scale(values[..., quantities.index("kT")], cells.names, telescopes, sheet.where)
    correlation = np.stack([_correlations(sheet, cells, quantities, t) for t in telescopes])
    covariance = correlation * sd[..., :, None] * sd[..., None, :]
    kept = np.flatnonzero(complete)
    if kept.size == 0:
        raise DataFileError(
            "no source has all values", where=sheet.where, expected="values and errors of two telescopes"
        )
    return PairedSources(
        tuple(cells.names[i] for i in kept),
        telescopes,
        quantities,
        values[:, kept],
        covariance[:, kept],
        constants={name: constant[kept] for name, constant in cells.constants.items()},
        notes=tuple(f"{sheet.where}: {note}" for note in [*sheet.notes, *notes]),
    )


def _with_responses(
    pairs: PairedSources,
    cells: Cells,
    directory: Path,
    where: str,
    facts: Mapping[str, Any],
    response: Response | None,
) -> PairedSources:
    """Read the responses of the corrected telescope, or of both where only the order of columns gives the roles."""
    needed = pairs.telescopes if facts["roles"] == BY_ORDER else pairs.telescopes[1:]
    others = {pairs.telescopes[1]: response}
    found = {
        t: responses_of(cells.files[t], pairs.names, directory, where, others.get(t))
        for t in needed
        if t in cells.files
    }
    notes = [
        f"{where}: the responses of {t} are not needed: only those of the telescope that is corrected are"
        for t in cells.files
        if t not in needed
    ]
    notes += told_once(note for own in found.values() for one in own if one is not None for note in one.notes)
    return replace(pairs, responses=found, notes=(*pairs.notes, *notes))


def _check_scale(kT: Floats, names: list[str], telescopes: tuple[str, str], where: str) -> None:
    """Refuse temperatures (2, N) that no plasma table holds: they are in another unit."""
    wrong = np.argwhere(kT > HOTTEST)
    if len(wrong):
        t, i = wrong[0]
        raise DataFileError(
            f"kT of {names[i]!r} in {telescopes[t]} is {kT[t, i]:g} keV", where=where,
            expected="temperatures in keV, or columns with their unit, such as 'kT_pn (eV)'",
        )  # fmt: skip


def _correlations(sheet: Sheet, cells: Cells, quantities: tuple[str, ...], telescope: str) -> Floats:
    q = len(quantities)
    found = np.tile(np.eye(q), (len(cells.names), 1, 1))
    for a, b in combinations(range(q), 2):
        name = f"{quantities[a]}_{quantities[b]}_corr_{telescope}"
        if name in sheet.table.colnames:
            column, _ = sheet.numbers(name)
            wrong = np.isfinite(column) & ~(np.abs(column) < 1)
            if np.any(wrong):
                row = int(np.argmax(wrong))
                place = f"{sheet.where}, column {name}, row {row + 1}"
                raise DataFileError(f"correlation {column[row]:g}", where=place, expected="between -1 and 1")
            found[:, a, b] = found[:, b, a] = np.where(np.isfinite(column), column, 0.0)
    return found


def _of_samples(table: Any, names: list[str], telescopes: tuple[str, str], where: str) -> PairedSources:
    """Take posterior samples from columns of arrays."""
    quantities = tuple(q for q in QUANTITIES if all(f"{q}_samples_{t}" in table.colnames for t in telescopes))
    samples = np.stack([_samples(table, quantities or ("kT",), t, where) for t in telescopes])
    return PairedSources.from_samples(names, telescopes, quantities, samples)


def _samples(table: Any, quantities: tuple[str, ...], telescope: str, where: str) -> Floats:
    columns = []
    for quantity in quantities:
        name = f"{quantity}_samples_{telescope}"
        if name not in table.colnames:
            raise DataFileError(f"no column {name!r}", where=where, expected=closest(name, table.colnames))
        if table[name].ndim != 2:
            raise DataFileError("not one array a row", where=f"{where}, column {name}", expected="arrays of one length")
        columns.append(_array(table[name], QUANTITIES[quantity], f"{where}, column {name}"))
    if len({c.shape for c in columns}) > 1:
        raise DataFileError("the quantities have different numbers of samples", where=where, expected="one number")
    return np.stack(columns, axis=-1)


def _array(column: Any, unit: str, where: str) -> Floats:
    from astropy.units import Quantity, UnitConversionError, UnitTypeError, temperature_energy

    mask = np.ma.getmaskarray(np.ma.asarray(column))
    if mask.any():
        row = int(np.argmax(mask.any(axis=1)))
        raise DataFileError("no value", where=f"{where}, row {row + 1}", expected="a number")
    given = getattr(column, "unit", None)
    try:
        values = np.asarray(getattr(column, "value", column), dtype=float)
        return np.asarray(Quantity(values, given).to_value(unit, temperature_energy())) if given and unit else values
    except (UnitConversionError, UnitTypeError) as error:
        raise DataFileError(f"unit {given}", where=where, expected=unit) from error
    except (ValueError, TypeError) as error:
        raise DataFileError("not a column of numbers", where=where) from error


def write_pairs(path: str | os.PathLike[str], pairs: PairedSources) -> Path:
    """Write a table that `read_pairs` reads back; the format follows the suffix (.ecsv, .csv, .fits).

    Samples are written where there are any, except to CSV, which holds numbers only; responses as their files.

    Raises
    ------
    DataFileError
        For another suffix, or if the file cannot be written.
    InputError
        If the arguments are swapped.

    Examples
    --------
    >>> xray.write_pairs("clusters.ecsv", pairs)  # doctest: +SKIP
    """
    check_path_first(path, pairs, PairedSources, where="write_pairs")
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DataFileError(f"a table with suffix {suffix!r}", where=str(path), expected=" or ".join(FORMATS))
    table = as_table(pairs, samples=suffix != ".csv")
    for name, files in file_columns(pairs.responses, Path(path).parent).items():
        table[name] = files
    if FORMATS[suffix] == "fits":
        # Keywords of FITS have eight letters at most.
        table.meta["TELESCOP"] = ",".join(json.loads(table.meta.pop("telescopes")))
    with atomic_path(path) as temporary:
        table.write(temporary, format=FORMATS[suffix], overwrite=True)
    return Path(path)


def as_table(pairs: PairedSources, *, samples: bool = False) -> Any:
    """Return the pairs as an astropy Table with units."""
    from astropy.table import Table

    table = Table({"source": list(pairs.names)})
    for t, telescope in enumerate(pairs.telescopes):
        for k, quantity in enumerate(pairs.quantities):
            unit = QUANTITIES[quantity] or None
            table[f"{quantity}_{telescope}"] = pairs.values[t, :, k]
            table[f"{quantity}_err_{telescope}"] = pairs.sd[t, :, k]
            for name in (f"{quantity}_{telescope}", f"{quantity}_err_{telescope}"):
                table[name].unit = unit
            if samples and pairs.samples is not None:
                table[f"{quantity}_samples_{telescope}"] = pairs.samples[t, ..., k]
                table[f"{quantity}_samples_{telescope}"].unit = unit
        for a, b in combinations(range(len(pairs.quantities)), 2):
            name = f"{pairs.quantities[a]}_{pairs.quantities[b]}_corr_{telescope}"
            table[name] = pairs.covariance[t, :, a, b] / (pairs.sd[t, :, a] * pairs.sd[t, :, b])
    for name, values in pairs.constants.items():
        table[name] = values
    table.meta["telescopes"] = json.dumps(list(pairs.telescopes))
    return table
