"""Equations as MathML, made when the site is built: they need no script no network, and a wrong one is a warning."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)
#: TeX reads one token for each argument, so that frac12 is a half; the translator would read the number 12.
SHORT_FRACTION = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
#: What remains of short arguments would be misread too.
MISREAD = re.compile(r"\\[dt]?frac\s*\w|[_^]\d\d")


def markup(node: nodes.Element, block: bool) -> str:
    """Return the MathML of a node; what cannot be translated is reported and shown as it is written."""
    source = SHORT_FRACTION.sub(r"\1{\2}{\3}", node.astext().strip())
    if found := MISREAD.search(source):
        LOG.warning("equation %r: put %r into braces", source, found[0], location=node, type="mathml")
    try:
        return tex2mathml(source, as_block=block)
    except (MathError, IndexError) as error:
        LOG.warning("equation %r: %s", source, error, location=node, type="mathml")
        return f"<code>{nodes.unescape(source)}</code>"


def inline(writer: Any, node: nodes.math) -> None:
    """Write an equation inside a line."""
    writer.body.append(markup(node, block=False))
    raise nodes.SkipNode


def displayed(writer: Any, node: nodes.math_block) -> None:
    """Write an equation of its own, with room to scroll on narrow screens."""
    writer.body.append(f'<div class="equation">{markup(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer as ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
