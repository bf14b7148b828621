"""How values with many numbers present themselves: what they are and how large, not every number."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sized
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

from crosscal.core.errors import CrossCalError
from crosscal.core.signs import typeset

#: Longest text of one field, and of an answer.
LONGEST, LONGEST_ANSWER = 60, 240
#: Rows and columns of a result's table that a notebook shows.
ROWS, COLUMNS = 8, 8


def brief(value: Any) -> str:
    """Return the ``repr`` of a dataclass with arrays as shapes and long collections as numbers of items.

    A dataclass takes it by ``__repr__ = brief`` in its body.

    Examples
    --------
    >>> Curve(time=np.arange(3.0), name="a")            # doctest: +SKIP
    Curve(time=array(3,), name='a')
    """
    shown = ", ".join(f"{f.name}={_short(getattr(value, f.name))}" for f in fields(value) if f.repr)
    return f"{type(value).__name__}({shown})"


def by_answer(value: Any) -> str:
    """Return the ``repr`` of a result: its kind and its answer, shortened where it is long.

    A result takes it by ``__repr__ = by_answer`` in its body. What has no answer yet presents itself by `brief`.
    """
    try:
        text = str(value.answer)
    except CrossCalError:
        return brief(value)
    return f"<{type(value).__name__}: {text if len(text) <= LONGEST_ANSWER else text[: LONGEST_ANSWER - 3] + '...'}>"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and shape != ():
        return f"array{tuple(int(n) for n in shape)}"
    if hasattr(type(value), "__dataclass_fields__"):
        return f"<{type(value).__name__} of {len(value)}>" if isinstance(value, Sized) else f"<{type(value).__name__}>"
    text = repr(value)
    if len(text) <= LONGEST and "\n" not in text:
        return text
    if isinstance(value, Mapping):
        return f"<mapping of {len(value)}>"
    if isinstance(value, Sized) and not isinstance(value, str):
        return f"<{type(value).__name__} of {len(value)}>"
    return text[: LONGEST - 3].splitlines()[0] + "..."


class Words(str):
    """Text of several lines: a prompt and a notebook show it as it reads, not as one quoted line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return words_html(self)


def words_html(value: Any) -> str:
    """Return the text of a value for a notebook, line by line; a class takes it by ``_repr_html_ = words_html``."""
    return f'<pre style="white-space: pre-wrap">{escape(typeset(str(value)))}</pre>'


def brief_html(value: Any) -> str:
    """Return what a notebook shows of a dataclass with arrays: its fields in brief and, where it has one, its sketch.

    A dataclass takes it by ``_repr_html_ = brief_html``; its method ``_sketch_()`` returns a `Sketch`.
    """
    known = [(f.name.replace("_", " "), getattr(value, f.name)) for f in fields(value) if f.repr]
    return titled_html(value, [(name, _told(field)) for name, field in known if not _nothing(field)])


def _nothing(value: Any) -> bool:
    """Whether a field says nothing: None, False, an empty text or an empty collection."""
    return (
        value is None
        or value is False
        or (isinstance(value, Sized) and not hasattr(value, "shape") and len(value) == 0)
    )


def _told(value: Any) -> str:
    """Return a field for people: numbers by their count and range, texts without quotes, collections by their items."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[: LONGEST - 3] + "..."
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size > 1:
        known = value[np.isfinite(value)]
        count = " \u00d7 ".join(f"{n}" for n in value.shape)
        return f"{count} numbers" + (f", {known.min():.4g} to {known.max():.4g}" if known.size else "")
    if hasattr(value, "shape") and value.shape != ():
        return " \u00d7 ".join(f"{n}" for n in value.shape)
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        text = ", ".join(value)
        return text if len(text) <= LONGEST else f"{len(value)}: {text[: LONGEST - 10]}..."
    if isinstance(value, Mapping):
        text = ", ".join(str(key) for key in value)
        return text if len(text) <= LONGEST else f"{len(value)} entries"
    return _short(value)


def titled_html(value: Any, rows: list[tuple[str, str]]) -> str:
    """Return the name of a value's class, rows of a name and a text, and the value's sketch."""
    cells = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(text)}</td></tr>'
        for name, text in rows
    )
    drawn = value._sketch_().svg() if hasattr(value, "_sketch_") else ""
    return f"<div><b>{type(value).__name__}</b><table>{cells}</table>{drawn}</div>"


def answer_html(value: Any) -> str:
    """Return what a notebook shows of a result: answer, checks, warnings, the first rows of its table, one figure.

    A result takes it by ``_repr_html_ = answer_html``. What has no answer yet shows its fields.
    """
    try:
        answer = str(value.answer)
    except CrossCalError:
        return brief_html(value) if is_dataclass(value) else words_html(repr(value))
    lines = [f"{'passed' if c.passed else 'FAILED'}: {c.name}" + (f" ({c.why})" if c.why else "") for c in value.checks]
    lines += [f"warning: {text}" for text in value.warnings]
    items = "".join(f"<li>{escape(typeset(line))}</li>" for line in lines)
    return (
        f"<div><p><b>{escape(typeset(answer))}</b></p>{f'<ul>{items}</ul>' if items else ''}"
        f"{_table_html(value.summary())}{_figure_html(value)}</div>"
    )


def _table_html(table: Any) -> str:
    shown = table[table.colnames[:COLUMNS]][:ROWS]
    shown = shown._readable() if hasattr(shown, "_readable") else shown
    shown = shown.copy(copy_data=False)
    for name in shown.colnames:
        # Four digits are more than any error needs; dates and wavelengths keep theirs.
        if shown[name].dtype.kind == "f" and not shown[name].info.format and np.all(np.abs(_plain(shown[name])) < 1e4):
            shown[name].info.format = _four_digits
    lines = shown.pformat(html=True, max_lines=-1, max_width=-1, show_dtype=False)
    n, m = len(table), len(table.colnames)
    cut = f"{ROWS} of {n} rows" if n > ROWS else "", f"{COLUMNS} of {m} columns" if m > COLUMNS else ""
    more = " and ".join(part for part in cut if part)
    return "\n".join(lines) + (f"<p>{more} of summary()</p>" if more else "")


def _four_digits(value: Any) -> str:
    return "" if value is np.ma.masked or np.isnan(value) else f"{value:.4g}"


def _plain(column: Any) -> Any:
    """The numbers of a column, without masks and units; zero where none is known."""
    values = np.ma.filled(np.ma.asarray(getattr(column, "value", column)), 0.0)
    return np.nan_to_num(values)


def _figure_html(value: Any) -> str:
    """The first figure of a result; without one, nothing."""
    try:
        name, figure = next(iter(value.figures().items()), ("", None))
    except CrossCalError:
        return ""
    if figure is None:
        return ""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=80, facecolor="white")
    caption = escape(str(value.captions.get(name, name)))
    data = base64.b64encode(image.getvalue()).decode("ascii")
    return f'<img alt="{caption}" src="data:image/png;base64,{data}" style="max-width: 100%">'
