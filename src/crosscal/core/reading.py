"""What parsers of others raise on damaged files, turned into one sentence that names the file."""

from __future__ import annotations

import struct
import tokenize
import traceback
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from crosscal.core.errors import CrossCalError, DataFileError, InputError
from crosscal.core.files import existing_file

#: What the standard library and NumPy raise on truncated or scrambled content. NotImplementedError: methods of
#: compression that zip files might have.
BROKEN: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, ArithmeticError,
    MemoryError, NotImplementedError, SyntaxError, RecursionError, RuntimeError, StopIteration, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
#: Names of our modules begin so.
_OURS = "crosscal."
#: Packages that have exceptions of their own, derived from Exception alone, for content that they cannot parse.
_PARSERS = {"astropy", "csv", "_csv", "pyarrow", "yaml", "xml", "pyexpat", "h5py", "zarr", "numcodecs", "lzma", "_lzma"}
_LONGEST = 200
#: What mistakes in our own code raise; content may raise them too, but only where a parser handles it.
_MISTAKES = (TypeError, AttributeError)
#: Frames that belong to the function around them.
_INNER = {"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<lambda>"}


def reason(error: BaseException) -> str:
    """Return what an exception says, on one line of bounded length and without a full stop."""
    text = " ".join(str(error).split()).rstrip(".;: ")
    if not text:
        return type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " ..."


def is_broken_content(error: BaseException) -> bool:
    """Whether an exception is one with which parsers answer content that they cannot read."""
    return isinstance(error, BROKEN) or type(error).__module__.split(".")[0] in _PARSERS


def is_own_mistake(error: BaseException) -> bool:
    """Whether an exception that left a block of `parsing` tells of a mistake in this package, not of the content.

    That is a TypeError or AttributeError which a function of this package raised itself that the block had called.
    Raised in the block it may be content: ``json.loads(text)["name"]`` of a list; raised below NumPy, astropy or the
    standard library it is theirs. A function of ours that a block gives unchecked content to checks it first, and
    raises ValueError.
    """
    if not isinstance(error, _MISTAKES) or error.__traceback__ is None:
        return False
    # The first frame is that of `parsing`, the second holds the block, the last raised.
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    block, last = frames[min(1, len(frames) - 1)], frames[-1]
    inside = last.f_code.co_filename == block.f_code.co_filename and last.f_code.co_name in _INNER
    return last is not block and not inside and str(last.f_globals.get("__name__")).startswith(_OURS)


@contextmanager
def parsing(
    what: str,
    *,
    where: object,
    expected: str | None = None,
    told: bool = True,
    error: type[InputError] = DataFileError,
    unchecked: bool = False,
) -> Iterator[None]:
    """Read foreign content inside the block; what the parser raises becomes one error of the project.

    Parameters
    ----------
    what : str
        The problem in the project's words ("not a readable table").
    where : path or str
    expected : str, optional
    told : bool
        Add the parser's own reason in brackets.
    error : type of InputError
        Which error to raise.
    unchecked : bool
        The block gives content as it is to functions of this package: a wrong type there is the content's fault.

    Raises
    ------
    DataFileError
        (or ``error``) instead of the parser's exception, which stays its cause.
    TypeError, AttributeError
        Unchanged, where our own code is at fault: see `is_own_mistake`.
    """
    try:
        yield
    except CrossCalError:
        raise
    except Exception as problem:
        if not is_broken_content(problem) or (is_own_mistake(problem) and not unchecked):
            raise
        text = f"{what} ({reason(problem)})" if told else what
        raise error(text, where=str(where), expected=expected) from problem


def read_text(path: str | PathLike[str], *, what: str = "file", expected: str = "text in UTF-8") -> str:
    """Return the content of a text file.

    Raises
    ------
    DataFileError
        If it is absent, or is not text in UTF-8.
    """
    source = existing_file(path, what=what)
    with parsing(f"the {what} is not text", where=source, expected=expected, told=False):
        # A byte-order mark, as some editors write, belongs to no line.
        return source.read_text(encoding="utf-8-sig")
