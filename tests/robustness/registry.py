"""All fuzzed readers, and the finder of all public readers of the package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import crosscal

from . import corpus_concordance, corpus_fluxcal, corpus_lightcurves, corpus_shared, corpus_xray
from .harness import Reader

READERS: list[Reader] = [
    *corpus_xray.READERS,
    *corpus_concordance.READERS,
    *corpus_lightcurves.READERS,
    *corpus_fluxcal.READERS,
    *corpus_shared.READERS,
    *corpus_shared.MEMORIES,
]

#: How names of public readers begin or what they hold.
_NAMES = re.compile(
    r"^(read|load|open|opened|convert)(_|$)|^linked$|from_\w*file$|^guess_bands$|^find_atomdb$|^plasma_table$"
)

#: Names that look like readers, and why they are none.
NO_READERS = {
    "compute.store.Store.read": "reads an open store; fuzzed through Store.open",
    "compute.store.Store.read_chunk": "reads an open store; fuzzed through Store.open",
    "core.files.open_own": "opens what a run writes",
    "jobs.directory.RunDirectory.open_pending": "makes a place to work in",
    "core.cells.read_cell": "reads one cell; fuzzed through the tables",
    "concordance.options.Data.read": "fuzzed with the job files",
    "core.reading.read_text": "part of readers of text, which are fuzzed",
    **{
        f"fluxcal.frames.{layout}.read": "called by read_frame, which is fuzzed with files of this layout"
        for layout in ("red", "layouts.desi", "layouts.pfs", "layouts.pypeit", "layouts.sdss")
    },
    "fluxcal.frames.source.FrameFile.read": "calls read_frame, which is fuzzed",
    "fluxcal.job.read_stars": "calls read_catalogue and read_dust_map, which are fuzzed",
    "fluxcal.stars.resample.convert_medium": "converts wavelengths in memory",
}


def public_readers() -> set[str]:
    """Return the dotted names (below ``crosscal``) of all public functions and methods that read files."""
    root = Path(crosscal.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and _NAMES.search(node.name):
                found.add(f"{module}.{node.name}")
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found |= {
                    f"{module}.{node.name}.{item.name}"
                    for item in node.body
                    if isinstance(item, ast.FunctionDef) and _NAMES.search(item.name)
                }
    return found


def fuzzed() -> set[str]:
    """Return the names of the readers that some case goes through."""
    return {name for reader in READERS for name in (reader.name, *reader.covers)}
