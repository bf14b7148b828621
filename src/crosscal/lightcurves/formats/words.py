"""Cells and lines of tables of text: names, numbers, missing values, delimiters, headers in comments."""

from __future__ import annotations

import csv
import io
import re
import warnings
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.vocabulary import role_of

#: Cells that stand for a missing value.
MISSING = frozenset({"", "-", "--", "---", "...", "na", "n/a", "nan", "null", "none", "masked", "nodata", "untrusted"})
#: A name with its unit in brackets.
UNIT = re.compile(r"^(?P<name>.*?)\s*[\[(]\s*(?P<unit>[^\[\]()]*(?:\([^()]*\)[^\[\]()]*)*)\s*[\])]\s*$")
#: A number between semicolons with a comma for its point.
_DECIMAL_COMMA = re.compile(r"(?<![^;\s\"])([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)(?![^;\s\"])")
#: A number with a comma for its point, alone in its cell.
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
#: Marks with which lines of comments begin: those of Python, of QDP and of LaTeX.
MARKS = ("#", "!", "%")
_FORTRAN = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)$")


def key_of(name: str) -> str:
    """Return how a column is looked up: lower case, words joined by underscores."""
    return re.sub(r"[\s_\-./]+", "_", name.strip().lower()).strip("_")


def number(word: Any) -> float:
    """Return a cell as a number: NaN where it is missing, Fortran exponents too; ValueError where it is none."""
    if not isinstance(word, str):
        return float(word)
    text = word.strip()
    if text.lower() in MISSING:
        return np.nan
    found = _FORTRAN.match(text)
    return float(f"{found[1]}e{found[2]}") if found else float(text)


def is_number(word: str) -> bool:
    """Whether a cell is a number (a missing value is none)."""
    try:
        return bool(np.isfinite(number(word)))
    except (ValueError, TypeError):
        return False


def distinct(names: list[str]) -> list[str]:
    """Give columns without a name one by their number."""
    return [name if name.strip() else f"column{k}" for k, name in enumerate(names, start=1)]


def delimiter_of(lines: list[str]) -> str | None:
    """The delimiter that gives most rows the same number of cells; None is white space.

    Semicolons that are alike in all rows come first: commas may then be those of decimals. A blank is white space
    between numbers whose commas are those of decimals.
    """
    if _commas_are_points(lines):
        return "\t" if all("\t" in line for line in lines) else " "
    counts = {line.count(";") for line in lines}
    if len(counts) == 1 and counts != {0}:
        return ";"
    for one in (",", ";", "\t", "|"):
        counts = [line.count(one) for line in lines]
        if counts[-1] and counts.count(counts[-1]) > 0.5 * len(counts):
            return one
    return None


def _commas_are_points(lines: list[str]) -> bool:
    """Whether white space stands between numbers with decimal commas; the first line may be the header."""
    rows = [line.split() for line in lines if not line.lstrip().startswith(MARKS)]
    rows = rows[1:] if rows and not any(_WITH_COMMA.fullmatch(word) for word in rows[0]) else rows
    words = [word for row in rows for word in row if is_number(word) is False or "," in word or word.isdigit()]
    return (
        len({len(row) for row in rows}) == 1 < len(rows[0])
        and any("," in word for word in words)
        and all(_WITH_COMMA.fullmatch(word) or word.lower() in MISSING for row in rows for word in row)
    )


def units_below(names: list[str], row: list[str]) -> list[str] | None:
    """Return the names with the units of a row of units below them ("d, mJy, mJy"), or None if it is none."""
    from astropy import units

    words = [word.strip().strip("()[]") for word in row]
    if len(words) != len(names) or any(is_number(word) for word in words) or not any(words):
        return None
    for word in words:
        plain = re.sub(r"10\^?\{?([+-]?\d+)\}?", r"1e\1", word)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", units.UnitsWarning)
                units.Unit(plain)
        except (ValueError, TypeError):
            if plain.lower() not in ("", "days", "mjd", "jd", "hjd", "bjd", "%", "mags", "magnitude", "-", "--"):
                return None
    return [f"{name} [{word}]" if word.strip("-") else name for name, word in zip(names, words, strict=True)]


def cells_of(line: str, delimiter: str | None) -> list[str]:
    """Split a line into cells; None is white space and commas, a blank is white space alone."""
    if delimiter == " ":
        return line.split()
    if delimiter is None:
        return line.replace(",", " ").split()
    try:
        return [word.strip() for word in next(csv.reader(io.StringIO(line), delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return [word.strip() for word in line.split(delimiter)]


def with_points(lines: list[str], where: str) -> tuple[list[str], tuple[str, ...]]:
    """Read the decimal commas of lines with semicolons or white space between cells as points, and tell it.

    Raises
    ------
    DataFileError
        If all of them may as well stand between thousands.
    """
    numbers = [found for line in lines for found in _DECIMAL_COMMA.findall(line)]
    if not numbers:
        return lines, ()
    whole, rest = numbers[0]
    if all(len(a.lstrip("+-")) <= 3 and len(b) == 3 and a.lstrip("+-") != "0" for a, b in numbers):
        raise DataFileError(
            f"'{whole},{rest}' may be {whole}.{rest} or {whole}{rest}", where=where,
            expected="decimal points, and no commas between thousands",
        )  # fmt: skip
    return [_DECIMAL_COMMA.sub(r"\1.\2", line) for line in lines], (
        f"decimal commas are read as points ({whole},{rest})",
    )


def table_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a table with their numbers: no empty ones, nothing that only frames a Markdown table, and without
    the commands of a spreadsheet ("sep=;") or of QDP ("READ TERR 1")."""
    lines = [(k, line) for k, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(k, line) for k, line in lines if not re.match(r"(?i)\s*(sep=.\s*$|read\s+[st]err\s)", line)]
    if len(lines) > 1 and all(line.strip().startswith("|") for _, line in lines):
        lines = [(k, line.strip().strip("|")) for k, line in lines if not re.fullmatch(r"[|:\-\s]+", line)]
    return lines


def refuse_blocks(lines: list[tuple[int, str]], source: str) -> None:
    """Refuse comments of a few words between rows without a header: each may begin another telescope.

    Raises
    ------
    DataFileError
        Naming the first comments.
    """
    is_comment = [line.lstrip().startswith(MARKS) for _, line in lines]
    rows = [k for k, (_, line) in enumerate(lines) if is_number(cells_of(line, None)[0])]
    first = rows[0] if rows else len(lines)
    between = [
        line.strip() for (_, line), comment in zip(lines[first:], is_comment[first:], strict=True)
        if comment and not is_number(line.lstrip(" #!%").split(" ")[0].strip(","))
    ]  # fmt: skip
    if between and all(len(text.lstrip("#!% ").split()) in (1, 2, 3) for text in between):
        shown = ", ".join(repr(text) for text in between[:3])
        raise DataFileError(
            f"comments between the rows ({shown}) may begin other telescopes", where=source,
            expected="one telescope a file, or PyCALI's blocks '# CODE N' with the number of rows",
        )  # fmt: skip


def is_ruler(row: list[str]) -> bool:
    """Whether a row below the header only underlines it, or gives types ('S', '10N'), as RDB tables do."""
    words = [word for word in row if word]
    return bool(words) and all(re.fullmatch(r"[=\-]+|\d*[NSM]", word) for word in words)


def commented_header(comments: list[str], width: int) -> list[str] | None:
    """The names of the columns in the last comment that has as many words as there are columns, if any does."""
    for line in reversed(comments):
        text = line.lstrip().lstrip("#!%").strip()
        for delimiter in (None, ",", ";", "\t", "|"):
            words = text.split(delimiter) if delimiter else text.split()
            words = [word.strip() for word in words]
            if len(words) == width and not any(is_number(word) for word in words) and _telling(words):
                return words
    return None


def _telling(words: list[str]) -> bool:
    return sum(role_of(key_of(UNIT.sub(r"\g<name>", word))) is not None for word in words) >= 2 and len(
        {key_of(word) for word in words}
    ) == len(words)


def keywords_of(comments: list[str]) -> dict[str, Any]:
    """``# key = value`` and ``# key: value`` lines, and the raw comments under ``comments``."""
    found: dict[str, Any] = {"comments": "\n".join(comments)}
    for line in comments:
        split = re.match(r"^\s*[#!%]+\s*([A-Za-z_][\w .]{0,30}?)\s*[=:]\s*(\S.*)$", line)
        if split:
            found.setdefault(key_of(split[1]), split[2].strip())
    return found
