"""Signs that plain text spells out, for places that can show them: reports, notebooks, terminals of UTF-8."""

from __future__ import annotations

import re

#: Signs that plain text spells out, and what the field writes.
_SIGNS = (
    (r"\+/?-", "\u00b1"),
    # A zero has no sign.
    (r"(?<![\w.])[+-](?=0(?:\.0+)?(?![\d.]))", ""),
    (r"(?<![\w.])-(?=\d)", "\u2212"),
    (r">=", "\u2265"),
    (r"<=", "\u2264"),
    (r"\bdelta chi2\b", "\u0394\u03c7\u00b2"),
    (r"\bchi2\b(?!-)", "\u03c7\u00b2"),
    (r"\bphi\(E\)", "\u03c6(E)"),
    # A number and its per cent, or what stands in brackets, stay on one line.
    (r"(?<=\d) ?%", "\u00a0%"),
    (r"(?<=[\w\u00b2]) ([=<\u00b1\u2264\u2265]) (?=[\d\u2212+])", "\u00a0\\1\u00a0"),
)


def typeset(text: str) -> str:
    """Return a sentence with the signs that plain text spells out."""
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    return text
