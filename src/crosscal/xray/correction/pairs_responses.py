"""Columns of a table of pairs that name the response with which each source was observed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.xray.correction.pairs_table import Sheet, read_sheet
from crosscal.xray.instrument.ogip_spectrum import ResponseFiles, holds_matrix

if TYPE_CHECKING:
    from crosscal.xray.instrument.response import Response

TELESCOPES = ("telescope", "instrument", "detector", "mission")
ROLES = ("arf", "rmf")
EXPOSURE = "exposure"
#: Files of a source in one telescope, and the row that names them.
Named = tuple[str, str, int]


def role_of(column: str) -> tuple[str, str] | None:
    """Return what a column names: ("arf", "pn") of ``arf_pn``, ("rmf", "") of ``rmf``; None where it is not a file."""
    role, _, telescope = column.partition("_")
    return (role.lower(), telescope) if role.lower() in (*ROLES, EXPOSURE) else None


def check_telescopes(sheet: Sheet, telescopes: Sequence[str]) -> None:
    """Refuse columns of files that belong to no telescope of the table.

    Raises
    ------
    DataFileError
        Naming the column.
    """
    by_row = telescope_column(sheet.table.colnames) is not None
    for name in sheet.table.colnames:
        role, telescope = role_of(name) or ("", "")
        if role not in ROLES or telescope in telescopes or (by_row and not telescope):
            continue
        known = " or ".join(f"{role}_{one}" for one in telescopes)
        raise DataFileError(
            f"column {name} names files that belong to none of the telescopes", where=sheet.where, expected=known
        )


def telescope_column(names: Sequence[str]) -> str | None:
    """Return the column that names the telescope of each row."""
    return next((n for n in names if n.lower() in TELESCOPES), None)


def named_files(sheet: Sheet, rows: Sequence[str]) -> dict[str, dict[str, Named]]:
    """Return the files (arf, rmf, row) of each telescope and source; ``rows`` are the sources of the rows.

    What is said of exposures is told in ``sheet.notes``: no fit to noiseless counts depends on it.
    """
    table, by_row = sheet.table, telescope_column(sheet.table.colnames)
    columns = [(name, role) for name in table.colnames if (role := role_of(name)) is not None]
    if exposures := [name for name, (role, _) in columns if role == EXPOSURE]:
        sheet.notes.append(
            f"{', '.join(exposures)} of each source is not needed: fits to noiseless counts are those of any exposure"
        )
    found: dict[str, dict[str, Named]] = {}
    for k, source in enumerate(rows):
        given: dict[str, dict[str, str]] = {}
        for name, (role, telescope) in columns:
            text = str(table[name][k]).strip()
            own = str(table[by_row][k]).strip() if by_row is not None and not telescope else telescope
            if role != EXPOSURE and own and text.lower() not in ("", "-", "--", "none", "nan", "..."):
                given.setdefault(own, {})[role] = text
        for telescope, files in given.items():
            found.setdefault(telescope, {})[source] = (files.get("arf", ""), files.get("rmf", ""), k + 1)
    return found


def responses_of(
    named: dict[str, Named], sources: Sequence[str], directory: Path, where: str, other: Response | None = None
) -> tuple[Response | None, ...]:
    """Read the response of each source in one telescope; sources of the same files share one.

    That of the telescope itself, ``other``, completes an ARF without RMF, and an RMF without ARF.

    Raises
    ------
    InputError
        Naming the row whose files cannot be used.
    """
    known: dict[tuple[str, str], Response] = {}
    found: list[Response | None] = []
    for source in sources:
        if source not in named:
            found.append(None)
            continue
        arf, rmf, row = named[source]
        if (arf, rmf) not in known:
            paths = [str(directory / name) for name in (arf, rmf) if name]
            files = ResponseFiles(paths[0], paths[1] if len(paths) > 1 else None, None, None)
            try:
                if not rmf and (other is None or "rmf" not in other.files) and not holds_matrix(paths[0]):
                    raise InputError(
                        "an ARF without an RMF", where=paths[0],
                        expected="a column of RMFs, or the response of the telescope, whose RMF completes it",
                    )  # fmt: skip
                known[arf, rmf] = files.response(other=other)
            except InputError as error:
                raise type(error)(
                    error.what, where=f"{where}, row {row}: {error.where}", expected=error.expected
                ) from error
        found.append(known[arf, rmf])
    return tuple(found)


def file_columns(responses: Mapping[str, Sequence[Any]], directory: Path) -> dict[str, list[str]]:
    """Return the columns arf_A and rmf_A of responses that were read from files, relative to ``directory``."""
    found: dict[str, list[str]] = {}
    for telescope, own in responses.items():
        for role in ROLES:
            files = [{} if r is None else {"arf": r.files.get("rsp", ""), **r.files} for r in own]
            names = [os.path.relpath(f[role], directory) if f.get(role) else "" for f in files]
            if any(names):
                found[f"{role}_{telescope}"] = names
    return found


def listed_responses(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the files of responses that a table of pairs names: "row 3, arf_pn" to path.

    Raises
    ------
    DataFileError
        If the table cannot be read.
    """
    source = existing_file(path, what="table of pairs")
    table: Any = read_sheet(source).table
    columns = [n for n in table.colnames if (found := role_of(n)) is not None and found[0] in ROLES]
    found = {f"row {k}, {n}": str(row[n]).strip() for k, row in enumerate(table, start=1) for n in columns}
    return {role: source.parent / text for role, text in found.items() if (source.parent / text).is_file() and text}
