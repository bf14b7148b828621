"""Files that the header of a spectrum names: RESPFILE, ANCRFILE, BACKFILE."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from crosscal.core.errors import DataFileError
from crosscal.xray.instrument.spectrum import Spectrum

#: Role of a linked file and the keyword that names it.
LINKS = {"rmf": "RESPFILE", "arf": "ANCRFILE", "background": "BACKFILE"}
#: What XSPEC's "%match%" stands for: a file called as the spectrum is, with one of these suffixes.
MATCH = "%match%"
SUFFIXES = {"rmf": (".rsp", ".rmf"), "arf": (".arf",), "background": (".bck",)}
_USUAL = ("SPECTRUM", "MATRIX", "SPECRESP MATRIX", "SPECRESP")


@dataclass(frozen=True)
class Linked:
    """A file that a header names and that was found.

    Attributes
    ----------
    path : Path
    row : int or None
        Number in braces, from 1: the spectrum or matrix of a file with several.
    note : str
        Which keyword named it.
    extension : str
        "[2]" or "[NAME]", where the link has one.
    """

    path: Path
    row: int | None
    note: str
    extension: str = ""

    @property
    def source(self) -> str:
        """The file with its extension in brackets, as it is opened."""
        return f"{self.path}{self.extension}"


def linked(spectrum: Spectrum, role: str) -> Linked | None:
    """Return the file that the header links to as ``role`` ("arf", "rmf", "background"), if it is there.

    As in XSPEC and Sherpa a name is relative to the directory of the spectrum, with or without ``.gz``; ``{3}`` names
    a row and ``[...]`` an extension. A path of another machine is also looked for beside the spectrum by its last
    part. ``%match%`` stands, as in XSPEC, for the spectrum's own name with another suffix.
    """
    link = spectrum.links.get(role)
    if link is None or "pha" not in spectrum.files:
        return None
    pha = Path(spectrum.files["pha"])
    braces = re.search(r"\{(\d+)\}", link)
    name = re.sub(r"\[.*|\{.*", "", link).strip()
    bracket = re.search(r"\[([^\[\]]+)\]", link)
    # A name that every such file has chooses nothing.
    extension = "" if bracket is None or bracket.group(1).strip().upper() in _USUAL else bracket.group()
    if not name:
        return None
    names = [pha.parent / name, pha.parent / Path(name).name]
    if name.lower() == MATCH:
        own = pha.with_suffix("") if pha.suffix.lower() == ".gz" else pha
        names = [own.with_suffix(suffix) for suffix in SUFFIXES[role]]
    for candidate in names:
        spellings = [candidate, candidate.with_name(candidate.name + ".gz")]
        if candidate.suffix == ".gz":
            spellings.append(candidate.with_suffix(""))
        for path in spellings:
            if _is_file(path):
                note = f"{pha}: the {role} is {path}, which {LINKS[role]} names"
                row = int(braces.group(1)) if braces else None
                return Linked(path, row, note, extension)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def unlinked(spectrum: Spectrum, role: str) -> DataFileError:
    """Make the error that says that a linked file is not there, or that the header names none."""
    link, key = spectrum.links.get(role), LINKS[role]
    what = f"{key} names no file" if link is None else f"{key} names {link!r}, which is not there"
    expected = f"the {role} given explicitly"
    if link is not None:
        expected = f"that file beside the spectrum, or another one given as {role}"
    if role == "background":
        expected += ', or background = "none"'
    return DataFileError(what, where=spectrum.files.get("pha", spectrum.name), expected=expected)
