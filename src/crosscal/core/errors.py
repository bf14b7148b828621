"""The error types that reach a user.

Every message is one sentence that says where the problem is, what it is, and what was expected.
Anything else that escapes (KeyError, ValueError of a library, ...) is a bug of this project.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class CrossCalError(Exception):
    """Base of all errors that CrossCal raises on purpose; the command line prints it and exits with 1."""


#: What would break a line, or the terminal, where a name or a foreign message is quoted.
_BREAKS = re.compile(r" *[\x00-\x1f\x7f\x85\u2028\u2029]+ *")
#: How Python writes bytes of a file name that are not UTF-8, and other characters that no file or terminal takes.
_UNENCODABLE = re.compile(r"[\ud800-\udfff]")
_LONGEST = 600


def encodable(text: str) -> str:
    """Return text that any file takes: bytes of a file name that are not UTF-8 as ``\\xff``."""

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return _UNENCODABLE.sub(escaped, text)


def _sentence(what: str, where: str | None, expected: str | None) -> str:
    text = f"{where}: {what}" if where else what
    if expected:
        text += f"; expected {expected}"
    text = encodable(_BREAKS.sub(" ", text).strip())
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + " ..."
    return text if text.endswith((".", "?", "!")) else text + "."


class InputError(CrossCalError, ValueError):
    """Input that cannot be used.

    Parameters
    ----------
    what : str
        The problem, without a trailing full stop ("negative effective area -3.1 cm2").
    where : str, optional
        File, HDU, column, row or key ("acis.arf[SPECRESP], column SPECRESP, row 12").
    expected : str, optional
        What would have been right ("a finite value >= 0").
    """

    def __init__(self, what: str, *, where: str | None = None, expected: str | None = None) -> None:
        self.what, self.where, self.expected = what, where, expected
        super().__init__(_sentence(what, where, expected))

    def __reduce__(self):
        # Keyword-only arguments would be lost when a worker process pickles the exception.
        return _rebuild, (type(self), self.what, self.where, self.expected)


def _rebuild(kind: type[InputError], what: str, where: str | None, expected: str | None) -> InputError:
    error = kind.__new__(kind)
    InputError.__init__(error, what, where=where, expected=expected)
    return error


class ConfigError(InputError):
    """A job file or an argument that does not describe a possible job."""


class DataFileError(InputError):
    """A file that is absent, unreadable, or not in the format it claims."""


class StoreError(InputError):
    """A results store that is foreign, corrupted, or belongs to another job."""


class FitError(CrossCalError):
    """A single requested fit or sampling run that could not produce an answer."""


class MissingDependencyError(CrossCalError, ImportError):
    """An optional package is not installed.

    >>> raise MissingDependencyError("xspectrampoline", extra="xspec", purpose="XSPEC models")
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(f"{purpose} need the optional package '{package}': pip install 'crosscal[{extra}]'.")

    def __reduce__(self):
        return _rebuild_missing, (self.package, self.extra, self.purpose)


def _rebuild_missing(package: str, extra: str, purpose: str) -> MissingDependencyError:
    return MissingDependencyError(package, extra=extra, purpose=purpose)


class UnknownNameError(InputError):
    """A name that no registry, table or key list holds; the message offers the closest known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}", where=where, expected=closest(name, self.known))


#: What other packages call an argument that all parts of CrossCal spell alike.
SYNONYMS = {
    **dict.fromkeys(("n_chains", "nchains", "num_chains", "walkers", "n_walkers", "nwalkers"), "chains"),
    **dict.fromkeys(("burn", "burnin", "burn_in", "n_burn", "nburn", "tune", "num_warmup", "warm_up"), "warmup"),
    **dict.fromkeys(("samples", "n_samples", "num_samples", "nsamples", "n_draws", "ndraws", "nsteps"), "draws"),
    **dict.fromkeys(("random_state", "random_seed", "rng"), "seed"),
}
#: As many names are told in full; of longer lists only the nearest ones.
FEW_NAMES = 8


def closest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Describe the known names, the nearest to ``name`` first, as the 'expected' part of a sentence.

    Where there are many, only the nearest ``n`` are told, or the first 12 if none is near.
    """
    known = sorted(known)
    if not known:
        return "a registered name, but none is registered"
    if (same := SYNONYMS.get(str(name).lower())) in known:
        return repr(same)
    lowered = {k.lower(): k for k in known}
    near = [lowered[k] for k in difflib.get_close_matches(str(name).lower(), lowered, n=n, cutoff=0.5)]
    if not near:
        return f"one of {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")
    shown = near + [k for k in known if k not in near] if len(known) <= FEW_NAMES else near
    quoted = [repr(k) for k in shown]
    return " or ".join(quoted) if len(quoted) < 3 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


class SweepError(CrossCalError):
    """A sweep over chunks that cannot go on: its task raised, or kept killing the workers."""
