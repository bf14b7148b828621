"""Sentences as a terminal shows them: broken between words, with the signs that its encoding has."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from typing import Any

import click

from crosscal.core.signs import typeset

#: Narrower terminals are not catered for.
LEAST_WIDTH = 30
_CODE = re.compile(r"(`[^`]*`)")


def shown(text: str, stream: Any, *, signs: bool = True) -> str:
    """Return ``text`` as ``stream`` shows it; files and pipes get it unchanged, so that programs can read it.

    A terminal gets lines that end between words, with the indentation of the first line. If its encoding is UTF-8 and
    ``signs`` are wanted, ``+/-`` becomes a plus-minus sign and ``-`` before a number a minus sign (not in `code`).

    Examples
    --------
    >>> import io
    >>> shown("kT is biased by -9.5 +/- 0.5 %", io.StringIO())
    'kT is biased by -9.5 +/- 0.5 %'
    """
    if stream is None or not stream.isatty():
        return text
    if signs and (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8":
        text = "".join(part if part.startswith("`") else typeset(part) for part in _CODE.split(text))
    width = max(shutil.get_terminal_size().columns, LEAST_WIDTH)
    return "\n".join(_broken(line, width) for line in text.split("\n"))


def _broken(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    margin = line[: len(line) - len(line.lstrip())] + "  "
    # What has no space in it (a path, an address) stays whole, to be copied.
    return textwrap.fill(
        line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def say(text: str = "", *, err: bool = False, signs: bool = True) -> None:
    """Print a sentence on standard output, or on standard error."""
    click.echo(shown(text, sys.stderr if err else sys.stdout, signs=signs), err=err)
