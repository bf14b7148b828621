"""Tables in text: separators, encodings, decimal commas, LaTeX and machine-readable tables; all columns stay text."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np

from crosscal.core.cells import read_cell
from crosscal.core.errors import DataFileError

_COMMA = re.compile(r"(?<![\d,.])(\d+),(\d+)(?![\d,])")
_MARK = re.compile(r"\s*\$?\^?\{?\\(?:tablenotemark|footnotemark|tablefootmark|tnote)\s*(?:\[[^\]]*\]|\{[^}]*\})\}?\$?")
_RULE = re.compile(r"^[|+\s:=-]*$")
#: A table and what was found in it, one sentence each.
Found = tuple[Any, tuple[str, ...]]


def decoded(content: bytes, where: str) -> str:
    """Return the text of a file in UTF-8 or UTF-16, with or without a byte-order mark.

    Raises
    ------
    DataFileError
        If it is neither.
    """
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in content[:100]:
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise DataFileError("the table is not text", where=where, expected="text in UTF-8 or UTF-16") from None


def from_text(text: str, where: str) -> Found:
    """Read a table in any of the usual layouts.

    Raises
    ------
    DataFileError
        Naming the row whose fields do not fit the header, or what is ambiguous.
    """
    from astropy.table import Table

    if _is_machine_readable(text):
        kind = "ascii.mrt" if text.lstrip().startswith("Title:") else "ascii.cds"
        return Table.read(text, format=kind), ("The table is read as a machine-readable table.",)
    if is_marked_up(text):
        kind = "ascii.aastex" if "deluxetable" in text or "\\startdata" in text else "ascii.latex"
        if kind == "ascii.aastex":
            text = _head_on_one_line(text)
        table = Table.read(text, format=kind, converters={"*": [str]})
        for name in table.colnames:
            # Marks of footnotes belong to no name.
            cells = np.ma.filled(np.ma.asarray(table[name]), "").astype(str)
            table[name] = np.array([_MARK.sub("", cell).replace("~", " ").strip() for cell in cells], dtype=str)
        table.meta["comments"] = captions(text)
        return table, ("The table is read as LaTeX.",)
    lines = [line for line in text.splitlines() if line.strip()]
    said = re.fullmatch(r"(?i)sep=(.)", lines[0].strip()) if lines else None
    lines = lines[bool(said) :]
    commented = {k: line.lstrip()[1:].strip() for k, line in enumerate(lines) if line.lstrip().startswith("#")}
    comments = list(commented.values())
    first = next((k for k in range(len(lines)) if k not in commented), 0)
    lines = [line for k, line in enumerate(lines) if k not in commented]
    if all(line.strip().startswith("|") and line.strip().endswith("|") for line in lines):
        lines = [line.strip()[1:-1] for line in lines if not _RULE.match(line)]
    if not lines:
        raise DataFileError("the table is empty", where=where, expected="a header and rows")
    separator = said[1] if said else max(";\t,|", key=lambda c: (lines[0].count(c), c == ","))
    separator = separator if separator in lines[0] else " "
    rows = _split(lines, separator)
    header = rows[0]
    if comments and any(_is_number(cell) for cell in header):
        above = _split(comments[-1:], separator)[0]
        if len(above) == len(header):
            header, rows = above, [above, *rows]
    table, told = _table(header, rows[1:], separator, where)
    table.meta["comments"] = comments
    below = _split([line for k, line in commented.items() if k > first], separator)
    return table, (*told, *_commented_rows(below, len(header)))


def _commented_rows(comments: list[list[str]], width: int) -> tuple[str, ...]:
    """What is said of commented lines below the header that have as many fields as it has."""
    rows = [cells for cells in comments if len(cells) == width > 1]
    if not rows:
        return ()
    return (f"Rows that begin with # are skipped as comments ({len(rows)}; the first: #{', '.join(rows[0])[:60]}).",)


def captions(text: str) -> list[str]:
    """Return captions, comments and notes of a LaTeX table, on one line each."""
    found = []
    for start in re.finditer(r"\\(?:table)?(?:caption|comments|notetext|foottext)\*?\s*(?:\[[^\]]*\])?\{", text):
        end, depth = start.end(), 1
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inside = text[start.end() : end - 1]
        if start[0].startswith("\\tablenotetext"):  # the mark comes first, the text second
            inside = text[end:].lstrip().partition("\n")[0]
        found.append(" ".join(inside.split()))
    return found


def _is_machine_readable(text: str) -> bool:
    return "\nByte-by-byte Description" in text[:20_000]


def is_marked_up(text: str) -> bool:
    """Whether a text is a machine-readable table of CDS or AAS, or LaTeX."""
    latex = re.search(r"\\begin\{(?:tabular|deluxetable|table|longtable|startdata)", text) or "\\startdata" in text
    return bool(latex) or _is_machine_readable(text)


def _head_on_one_line(text: str) -> str:
    """Join the lines of ``\\tablehead`` into one row of names, units in a second row after the names."""
    start = text.find("\\tablehead")
    end, depth = start, 0
    while start >= 0 and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
        if depth == 0 and text[end - 1] == "}":
            break
    if depth or start < 0:
        return text
    inside = " ".join(text[text.index("{", start) + 1 : end - 1].split())
    rows = [[_bare_head(cell) for cell in row.split("&")] for row in re.split(r"\\\\(?:\[[^\]]*\])?", inside)]
    rows = [row for row in rows if len(row) == len(rows[0]) and not all(re.fullmatch(r"(?:\(\d+\))?", c) for c in row)]
    names = [" ".join(part for part in column if part) for column in zip(*rows, strict=True)]
    heads = " & ".join(f"\\colhead{{{name}}}" for name in names)
    return f"{text[:start]}\\tablehead{{{heads}}}{text[end:]}"


def _bare_head(cell: str) -> str:
    """Return the content of ``\\colhead{...}``."""
    found = re.fullmatch(r"\s*\\colhead\s*\{(.*)\}\s*", cell)
    return (found[1] if found else cell).strip()


def _split(lines: list[str], separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in reader if row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(header: list[str], rows: list[list[str]], separator: str, where: str) -> Found:
    """Columns of text from the fields of each row."""
    from astropy.table import Table

    while len(header) > 1 and not header[-1] and all(len(row) < len(header) or not row[-1] for row in rows):
        header, rows = header[:-1], [row[: len(header) - 1] for row in rows]
    width = len(header)
    for number, row in enumerate(rows, start=1):
        # Blanks at the end of a line make one more, empty cell.
        if len(row) > width and not any(row[width:]):
            del row[width:]
        if len(row) != width:
            raise DataFileError(
                f"{len(row)} fields in row {number}", where=where, expected=f"{width}, as the header {header} has"
            )
    if len(set(header)) != width or "" in header:
        twice = next((name for name in header if header.count(name) > 1 or not name), "")
        what = f"the header names column {twice!r} twice" if twice else "the header has a column without a name"
        raise DataFileError(what, where=where, expected="a name for each column")
    names = {" ": "blanks", "\t": "tabs"}
    told = () if separator == "," else (f"Columns are separated by {names.get(separator, repr(separator))}.",)
    rows, more = with_points(rows, where)
    columns = list(zip(*rows, strict=True)) or [()] * width
    return Table({n: np.array(c, dtype=str) for n, c in zip(header, columns, strict=True)}), (*told, *more)


def with_points(rows: list[list[str]], where: str) -> tuple[list[list[str]], tuple[str, ...]]:
    """Read decimal commas, in numbers with errors and limits too; what may be thousands is refused."""
    found = {}
    for row in rows:
        for cell in row:
            if "," in cell and cell not in found and read_cell(cell) is None:
                pointed = _COMMA.sub(r"\1.\2", cell)
                if read_cell(pointed) is not None:
                    found[cell] = pointed
    if not found:
        return rows, ()
    numbers = [one for cell in found for one in _COMMA.findall(cell)]
    first = next(iter(found))
    if all(len(whole) <= 3 and len(rest) == 3 and whole != "0" for whole, rest in numbers):
        whole, rest = numbers[0]
        raise DataFileError(
            f"'{whole},{rest}' may be {whole}.{rest} or {whole}{rest}",
            where=where,
            expected="decimal points, and no commas between thousands",
        )
    return [[found.get(cell, cell) for cell in row] for row in rows], (f"Decimal commas are read as points ({first}).",)
