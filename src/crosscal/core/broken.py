"""What parsers of others raise on content that they cannot read."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

#: What the standard library and NumPy raise on truncated or scrambled content. NotImplementedError: methods of
#: compression that zip files might have.
BROKEN: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, ArithmeticError,
    MemoryError, NotImplementedError, SyntaxError, RecursionError, RuntimeError, StopIteration, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
#: Packages that have exceptions of their own, derived from Exception alone, for content that they cannot parse.
_PARSERS = {"astropy", "csv", "_csv", "pyarrow", "yaml", "xml", "pyexpat", "h5py", "zarr", "numcodecs", "lzma", "_lzma"}


def is_broken_content(error: BaseException) -> bool:
    """Whether an exception is one with which parsers answer content that they cannot read."""
    return isinstance(error, BROKEN) or type(error).__module__.split(".")[0] in _PARSERS
