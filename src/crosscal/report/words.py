"""Sentences, numbers and tables as a reader of the report sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np


def counted(number: int, word: str) -> str:
    """Return ``number word``, with an s unless there is one."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def moment(iso: str) -> str:
    """Return the time of ISO 8601 as people write it; other text as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?(?:\+00:00|Z)", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso


def cell(value: Any, form: str = "") -> str:
    """Return a value of a table as text: in the format ``form``, else five digits; nothing where nothing is known."""
    if getattr(value, "mask", None) is not None and bool(np.all(value.mask)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
        try:
            number = float(value)
        except TypeError:
            return str(value)
        if np.isnan(number):
            return ""
        if form:
            return f"{number:{form}}"
        # Dates and wavelengths keep their fraction.
        return f"{number:.3f}".rstrip("0").rstrip(".") if 1e4 <= abs(number) < 1e9 else f"{number:.5g}"
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, name: str, caption: str) -> str:
    """Return a sortable table; columns of numbers are set to the right, their figures below each other."""
    numeric = [_numbers([row[k] for row in rows]) for k in range(len(header))]
    style = [" class='num'" if flag else "" for flag in numeric]
    head = "".join(
        f"<th scope='col'{s}><button type='button'>{escape(str(h))}</button></th>"
        for h, s in zip(header, style, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{s}>{escape(str(c))}</td>" for c, s in zip(row, style, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable" id="table-{escape(name)}"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _numbers(texts: Sequence[str]) -> bool:
    """Whether a column holds numbers, besides empty cells."""
    found = [text for text in texts if text]
    try:
        return bool(found) and all(float(text) is not None for text in found)
    except ValueError:
        return False
