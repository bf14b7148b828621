"""What parsers of others raise on damaged files, turned into one sentence that names the file."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from types import CodeType, FrameType

from crosscal.core.broken import is_broken_content
from crosscal.core.errors import CrossCalError, DataFileError, InputError
from crosscal.core.files import existing_file

#: Names of our modules begin so.
_OURS = "crosscal."
_LONGEST = 200
#: What mistakes in our own code raise; content may raise them too, but only where a parser handles it.
_MISTAKES = (TypeError, AttributeError)


def reason(error: BaseException) -> str:
    """Return what an exception says, on one line of bounded length and without a full stop."""
    text = " ".join(str(error).split()).rstrip(".;: ")
    if not text:
        return type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " ..."


def is_own_mistake(error: BaseException, blocks: Sequence[CodeType]) -> bool:
    """Whether an exception that left a block of `parsing` tells of a mistake in this package, not of the content.

    That is a TypeError or AttributeError which a function of this package raised itself that the block had called.
    Raised in the block it may be content: ``json.loads(text)["name"]`` of a list; raised below NumPy, astropy or the
    standard library it is theirs. A function of ours that a block gives unchecked content to checks it first, and
    raises ValueError.

    Parameters
    ----------
    error : exception
    blocks : sequence of code
        That of the functions in which the block stands. Comprehensions, lambdas and functions written in them count as
        the block, whether the interpreter gives them frames of their own or not.
    """
    if not isinstance(error, _MISTAKES) or error.__traceback__ is None:
        return False
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    ours = str(last.f_globals.get("__name__")).startswith(_OURS)
    return ours and not any(_holds(block, last.f_code) for block in blocks)


def _holds(code: CodeType, other: CodeType) -> bool:
    """Whether code is the other, or the other is written inside it."""
    return code is other or any(isinstance(c, CodeType) and _holds(c, other) for c in code.co_consts)


def _blocks(frame: FrameType) -> list[CodeType]:
    """Return the code around the ``with`` statement that runs a generator-based context manager, innermost first.

    Where that code is a context manager of this kind itself, what raises may stand in the ``with`` statement around it.
    """
    found = []
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__") == contextlib.__name__:
        while caller is not None and caller.f_globals.get("__name__") == contextlib.__name__:
            caller = caller.f_back
        if caller is not None:
            found.append(caller.f_code)
            caller = caller.f_back
    return found


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
    blocks = _blocks(sys._getframe())
    try:
        yield
    except CrossCalError:
        raise
    except Exception as problem:
        if not is_broken_content(problem) or (is_own_mistake(problem, blocks) and not unchecked):
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
