"""The built-in example telescopes (synthetic; made by ``tools/make_example_telescopes.py``)."""

from __future__ import annotations

from crosscal.core.errors import UnknownNameError
from crosscal.datasets import builtin_directory
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.response import Response

EXAMPLES = ("a", "b")


def example_telescope(name: str = "a") -> Response:
    """Return a built-in telescope: "a" (small, sharp, trusted in the demos) or "b" (large, thick detector).

    Raises
    ------
    UnknownNameError
        For any other name.

    Examples
    --------
    >>> telescope = xray.example_telescope("b")  # doctest: +SKIP
    """
    if name not in EXAMPLES:
        raise UnknownNameError("example telescope", name, EXAMPLES)
    stem = builtin_directory() / "xray" / f"example_{name}"
    return read_response(stem.with_suffix(".arf"), stem.with_suffix(".rmf.gz"))
