"""Tables of paired sources: ECSV, CSV and FITS through astropy.

Columns, for telescopes called ``chandra`` and ``xmm``: ``source``; ``kT_chandra``, ``kT_err_chandra`` and the same for
``xmm``; optionally ``norm_*``, ``norm_err_*``, ``Abundanc_*``, ``Abundanc_err_*`` and the correlations
``kT_norm_corr_*``, ``kT_Abundanc_corr_*``, ``norm_Abundanc_corr_*``. Errors are 1 sigma; columns with a unit are
converted. Where errors differ below and above, ``kT_err_lo_*`` and ``kT_err_hi_*`` stand for ``kT_err_*``; their mean
is used. A column ``kT_samples_*`` (one array a row, with the same for the other quantities) replaces value and error.
"""

from __future__ import annotations

import json
import os
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError, InputError, closest
from crosscal.core.files import atomic_path, check_path_first, existing_file, sha256
from crosscal.core.reading import parsing
from crosscal.xray.correction.pairs import QUANTITIES, Floats, PairedSources
from crosscal.xray.correction.roles import BY_ORDER, roles

FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".fit": "fits"}


def read_pairs(
    path: str | os.PathLike[str],
    *,
    trusted: str = "",
    corrected: str = "",
    telescopes: tuple[str, str] | None = None,
) -> PairedSources:
    """Read a table of sources seen by two telescopes or more, of which two are used.

    Columns: ``source``, and ``kT_A``, ``kT_err_A``, ``kT_B``, ``kT_err_B`` of telescopes called A and B (keV, 1 sigma);
    optionally the same of ``norm`` and ``Abundanc``, and correlations such as ``kT_norm_corr_A``. Errors below and
    above in ``kT_err_lo_A`` and ``kT_err_hi_A`` are averaged. ``kT_samples_A``, an array in each row, replaces value
    and error.
    Units of columns are converted.

    Parameters
    ----------
    path : path
        ECSV, CSV or FITS.
    trusted, corrected : str, optional
        Names of the two telescopes, as the columns have them; in a table of two, one of them is enough. Without both,
        the table's metadata ``telescopes`` are (trusted, corrected); where there are none either, `infer` asks who is
        trusted.
    telescopes : (trusted, corrected), optional
        Both at once.

    Raises
    ------
    DataFileError
        Naming the file, the column and the row, or the telescope that is not in the table.
    """
    from astropy.table import Table

    source = existing_file(path, what="table of pairs")
    where = str(path)
    suffix = source.suffix.lower()
    if suffix not in FORMATS:
        raise DataFileError(f"a table with suffix {suffix!r}", where=where, expected=" or ".join(FORMATS))
    with parsing("cannot be read as a table", where=where, expected=suffix[1:]):
        table = Table.read(source, format=FORMATS[suffix])
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="one row a source")
    if "source" not in table.colnames:
        raise DataFileError("no column 'source'", where=where, expected=closest("source", table.colnames))
    if telescopes is not None:
        trusted, corrected = telescopes
    known, stated = _telescopes(table, where)
    for name in (trusted, corrected):
        if name and name not in known:
            raise DataFileError(f"no column 'kT_{name}'", where=where, expected=f"a telescope of {', '.join(known)}")
    by_order = not (trusted or corrected or stated) and len(known) == 2
    chosen = (known[0], known[1]) if by_order else stated or ("", "")
    if trusted or corrected or not (by_order or stated):
        chosen = roles(known, trusted=trusted, corrected=corrected, where=where)
    notes = []
    if unused := [name for name in known if name not in chosen]:
        notes.append(
            f"Of {', '.join(known)} in the table, {chosen[0]} is trusted and {chosen[1]} corrected; "
            f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used."
        )
    if stated and stated != chosen:
        notes.append(f"The table itself calls {stated[0]} trusted; the names that were given make it {chosen[0]}.")
    notes += _unused(table, known)
    quantities = tuple(q for q in QUANTITIES if _has(table, q, chosen[0]) and _has(table, q, chosen[1]))
    for telescope in chosen:
        if not _has(table, "kT", telescope):
            raise DataFileError(
                f"no column 'kT_{telescope}'", where=where, expected=closest(f"kT_{telescope}", table.colnames)
            )
    names = [str(name) for name in table["source"]]
    provenance = {"file": where, "sha256": sha256(source), "roles": BY_ORDER if by_order else "names", "notes": notes}
    try:
        if all(f"kT_samples_{t}" in table.colnames for t in chosen):
            samples = np.stack([_samples(table, quantities, t, where) for t in chosen])
            pairs = PairedSources.from_samples(names, chosen, quantities, samples)
        else:
            parts = [_moments(table, quantities, t, where) for t in chosen]
            values, covariance = (np.stack(p) for p in zip(*parts, strict=True))
            pairs = PairedSources(tuple(names), chosen, quantities, values, covariance)
    except DataFileError:
        raise
    except InputError as error:
        raise DataFileError(error.what, where=f"{where}, {error.where}", expected=error.expected) from error
    return _with_provenance(pairs, provenance)


def _with_provenance(pairs: PairedSources, provenance: dict[str, Any]) -> PairedSources:
    from dataclasses import replace

    return replace(pairs, provenance=provenance)


def _has(table: Any, quantity: str, telescope: str) -> bool:
    return f"{quantity}_{telescope}" in table.colnames or f"{quantity}_samples_{telescope}" in table.colnames


def _telescopes(table: Any, where: str) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """Return the telescopes with a temperature, and (trusted, corrected) where the table's metadata say so."""
    found = (re.fullmatch(r"kT_(?:err_(?:lo_|hi_)?|samples_)(.+)", c) for c in table.colnames)
    known = tuple(dict.fromkeys(m.group(1) for m in found if m))
    stated = table.meta.get("telescopes", table.meta.get("TELESCOP"))
    if isinstance(stated, str):
        stated = json.loads(stated) if stated.startswith("[") else stated.split(",")
    if stated is not None:
        stated = tuple(str(k).strip() for k in stated)
        known = (*stated, *(name for name in known if name not in stated))
    if len(known) < 2:
        raise DataFileError(
            f"{len(known)} telescopes with a temperature",
            where=where,
            expected="columns kT_A, kT_err_A, kT_B, kT_err_B for two telescopes A and B",
        )
    return known, stated if stated is not None and len(stated) == 2 else None


def _unused(table: Any, known: tuple[str, ...]) -> list[str]:
    """Say which columns of the table are not used: above all absorption and redshift of each source."""
    stems = "|".join(map(re.escape, known))
    used = re.compile(rf"source|({'|'.join(QUANTITIES)})(_\w+)?_({stems})|\w+_corr_({stems})")
    others = [name for name in table.colnames if not used.fullmatch(name)]
    own = [name for name in others if name.split("_")[0].lower() in ("nh", "z", "redshift")]
    notes = []
    if own:
        notes.append(
            f"{', '.join(own)} of each source {'is' if len(own) == 1 else 'are'} not used: the library has one "
            "absorption and one redshift for all sources, and the bias of temperatures changes with both."
        )
    if rest := [name for name in others if name not in own]:
        notes.append(f"Columns that are not used: {', '.join(rest)}.")
    return notes


def _column(table: Any, name: str, unit: str, where: str, *, ndim: int = 1) -> Floats:
    """Return a column as numbers in ``unit``; say which row is not one."""
    from astropy.units import UnitConversionError, UnitTypeError

    if name not in table.colnames:
        raise DataFileError(f"no column {name!r}", where=where, expected=closest(name, table.colnames))
    column = table[name]
    if column.ndim != ndim:
        what = "not one array a row" if ndim == 2 else "an array in each row"
        expected = "arrays of one length" if ndim == 2 else "one number a row"
        raise DataFileError(what, where=f"{where}, column {name}", expected=expected)
    mask = np.atleast_1d(np.any(np.ma.getmaskarray(np.ma.asarray(column)).reshape(len(table), -1), axis=1))
    if mask.any():
        row = int(np.argmax(mask))
        raise DataFileError("no value", where=f"{where}, column {name}, row {row + 1}", expected="a number")
    given = getattr(column, "unit", None)
    try:
        if given is not None and unit:
            return np.asarray(column.quantity.to_value(unit) if hasattr(column, "quantity") else column.to_value(unit))
        return np.asarray(column, dtype=float)
    except (UnitConversionError, UnitTypeError) as error:
        raise DataFileError(f"unit {given}", where=f"{where}, column {name}", expected=unit) from error
    except (ValueError, TypeError) as error:
        for row, value in enumerate(column):
            try:
                float(value)
            except (ValueError, TypeError):
                place = f"{where}, column {name}, row {row + 1}"
                raise DataFileError(f"{str(value)!r} is not a number", where=place, expected="a number") from error
        raise DataFileError("not a column of numbers", where=f"{where}, column {name}") from error


def _error(table: Any, quantity: str, telescope: str, where: str) -> Floats:
    """Return 1-sigma errors: the column of them, or the mean of those below and above."""
    names = [f"{quantity}_err_{telescope}"]
    sides = [f"{quantity}_err_{side}_{telescope}" for side in ("lo", "hi")]
    if names[0] not in table.colnames and any(side in table.colnames for side in sides):
        names = sides
    parts = []
    for name in names:
        sd = _column(table, name, QUANTITIES[quantity], where)
        if np.any(~(sd > 0)):
            row = int(np.argmax(~(sd > 0)))
            place = f"{where}, column {name}, row {row + 1}"
            raise DataFileError(f"error {sd[row]:g}", where=place, expected="a positive 1-sigma error")
        parts.append(sd)
    return np.mean(parts, axis=0)


def _moments(table: Any, quantities: tuple[str, ...], telescope: str, where: str) -> tuple[Floats, Floats]:
    values, sds = [], []
    for quantity in quantities:
        unit = QUANTITIES[quantity]
        values.append(_column(table, f"{quantity}_{telescope}", unit, where))
        sds.append(_error(table, quantity, telescope, where))
    q = len(quantities)
    correlation = np.tile(np.eye(q), (len(table), 1, 1))
    for a, b in combinations(range(q), 2):
        name = f"{quantities[a]}_{quantities[b]}_corr_{telescope}"
        if name in table.colnames:
            column = _column(table, name, "", where)
            if np.any(~(np.abs(column) < 1)):
                row = int(np.argmax(~(np.abs(column) < 1)))
                place = f"{where}, column {name}, row {row + 1}"
                raise DataFileError(f"correlation {column[row]:g}", where=place, expected="between -1 and 1")
            correlation[:, a, b] = correlation[:, b, a] = column
    sd = np.stack(sds, axis=1)
    return np.stack(values, axis=1), correlation * sd[:, :, None] * sd[:, None, :]


def _samples(table: Any, quantities: tuple[str, ...], telescope: str, where: str) -> Floats:
    columns = [_column(table, f"{q}_samples_{telescope}", QUANTITIES[q], where, ndim=2) for q in quantities]
    if len({c.shape for c in columns}) > 1:
        raise DataFileError("the quantities have different numbers of samples", where=where, expected="one number")
    return np.stack(columns, axis=-1)


def write_pairs(path: str | os.PathLike[str], pairs: PairedSources) -> Path:
    """Write a table that `read_pairs` reads back; the format follows the suffix (.ecsv, .csv, .fits).

    Samples are written where there are any, except to CSV, which holds numbers only.

    Raises
    ------
    DataFileError
        For another suffix, or if the file cannot be written.
    InputError
        If the arguments are swapped.
    """
    check_path_first(path, pairs, PairedSources, where="write_pairs")
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DataFileError(f"a table with suffix {suffix!r}", where=str(path), expected=" or ".join(FORMATS))
    table = as_table(pairs, samples=suffix != ".csv")
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
    table.meta["telescopes"] = json.dumps(list(pairs.telescopes))
    return table
