"""A reader, a corpus of valid input, and what must hold however the input is damaged.

Only errors of the project reach the user, each is one sentence, reading changes no file, ends, and stays within memory.
"""

from __future__ import annotations

import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crosscal.core.broken import is_broken_content
from crosscal.core.errors import CrossCalError

from .mutations import mutate

#: A reader that takes longer than this for a file of a few kB hangs.
SECONDS = 30
#: A reader of a file of a few kB that needs more than this believes a number in it.
MEMORY = 6 << 30


class Hang(BaseException):
    """A reader did not come back."""


@dataclass(frozen=True)
class Reader:
    """One reader with a valid input.

    Attributes
    ----------
    name : str
        Dotted name of the public reader below ``crosscal``.
    build : callable
        ``build(directory) -> path``: write a valid input and return what is read.
    read : callable
        ``read(path)``: read it and use what is read lazily.
    tag : str
        Which kind of input, where a reader has several.
    covers : tuple of str
        Further public readers that this case goes through.
    share : float
        Part of the usual number of cases; less than 1 for slow ones.
    writes : bool
        Mends what it reads, as memories of unfinished runs are.
    reseal : bool
        Half of the cases get a new seal, so that the content is looked at and not only its checksum.
    """

    name: str
    build: Callable[[Path], Path]
    read: Callable[[Path], object]
    tag: str = ""
    covers: tuple[str, ...] = ()
    share: float = 1.0
    writes: bool = False
    reseal: bool = False

    @property
    def id(self) -> str:
        """Name in test reports."""
        return f"{self.name}-{self.tag}" if self.tag else self.name


@dataclass
class Report:
    """What happened to the cases of a reader."""

    cases: int = 0
    refused: int = 0
    accepted: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def fail(self, kind: str, text: str) -> None:
        """Keep the first failure of each kind."""
        self.failures.setdefault(kind, text)

    def __str__(self) -> str:
        shown = "\n\n".join(f"### {kind}\n{text}" for kind, text in self.failures.items())
        return f"{len(self.failures)} kinds of failure in {self.cases} cases\n{shown}"


@contextmanager
def bounded() -> Iterator[None]:
    """Limit time and address space."""

    def stop(*_: object) -> None:
        raise Hang

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def sentence_problem(text: str) -> str | None:
    """Return what is wrong with a message as one sentence, or None."""
    if not text.strip():
        return "empty"
    if "\n" in text or "\r" in text:
        return "more than one line"
    if not text.endswith((".", "?", "!")):
        return "no full stop"
    return "longer than 700 characters" if len(text) > 700 else None


def attempt(report: Report, call: Callable[[], object], label: str) -> None:
    """Call a reader; record everything that is neither success nor a good error of the project."""
    report.cases += 1
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), bounded():
            warnings.simplefilter("ignore")
            call()
    except CrossCalError as error:
        report.refused += 1
        problem = sentence_problem(str(error))
        if problem:
            report.fail(f"sentence: {problem}", f"{label}: {error!s}")
    except Hang:
        report.fail("hang", label)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "crosscal" in f.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        tail = "".join(traceback.format_exception(error)[-6:])[-1500:]
        report.fail(f"{type(error).__name__} at {place}", f"{label}\n{tail}")
    else:
        report.accepted += 1


def _files(directory: Path) -> list[Path]:
    return sorted(p.relative_to(directory) for p in directory.rglob("*") if p.is_file())


def fuzz(reader: Reader, n: int, directory: Path, *, seed: int = 0) -> Report:
    """Damage the reader's input in ``n`` ways and read it each time."""
    pristine, case = directory / "pristine", directory / "case"
    pristine.mkdir(parents=True)
    target = reader.build(pristine).relative_to(pristine)
    reader.read(pristine / target)
    names = _files(pristine)
    contents = {name: (pristine / name).read_bytes() for name in names}
    shutil.copytree(pristine, case)
    report = Report()
    for k in range(n):
        rng = np.random.default_rng([seed, k])
        label = mutate(case, contents, rng)
        if reader.reseal and k % 2 and sealed_again(case, contents, rng):
            label = "content changed, sealed again"
        before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in map(case.joinpath, _files(case))}
        attempt(report, lambda: reader.read(case / target), f"case {k} (seed {seed}): {label}")
        for path, stamp in before.items():
            if reader.writes:
                break
            if not path.is_file() or (path.stat().st_mtime_ns, path.stat().st_size) != stamp:
                report.fail("input changed", f"case {k}: {label}: {path.name}")
        restore(case, contents)
    return report


def sealed_again(case: Path, contents: dict[Path, bytes], rng: np.random.Generator) -> bool:
    """Put valid HDF5 with other content, and a seal that fits, in the place of each sealed file."""
    from crosscal.core.seal import seal

    from .structured import damage_hdf5

    done = False
    restore(case, contents)
    for name, content in contents.items():
        if content.startswith(b"\x89HDF"):
            try:
                (case / name).write_bytes(damage_hdf5(content.rpartition(b"\nSHA-256")[0], rng))
            except Exception as error:
                if not is_broken_content(error):
                    raise
                continue
            seal(case / name)
            done = True
    return done


def restore(case: Path, contents: dict[Path, bytes]) -> None:
    """Bring a damaged directory back to its valid content."""
    present = {p.relative_to(case) for p in case.rglob("*") if not p.is_dir() or p.is_symlink()}
    for extra in present - set(contents):
        (case / extra).unlink()
    for name, content in contents.items():
        path = case / name
        if path.is_dir():
            shutil.rmtree(path)
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
                continue
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
