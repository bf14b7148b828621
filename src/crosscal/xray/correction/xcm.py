"""What an XSPEC save file (.xcm) holds: files, channels and a model with its values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import read_text
from crosscal.xray.emission.expression import Model

_FILES = {"data": "pha", "response": "rmf", "arf": "arf", "backgrnd": "background"}
_LONGEST_PATH = 1000
#: XSPEC's weights of chi-squared, and the statistics that use them.
_WEIGHTS = {"standard": "chi2", "gehrels": "chi2-gehrels", "model": "chi2-model"}


@dataclass(frozen=True, eq=False)
class Xcm:
    """A session of XSPEC or Sherpa with one spectrum.

    Attributes
    ----------
    model : Model
        With the values of the file; what is not frozen is free.
    files : mapping of "pha", "arf", "rmf", "background" to Path
        Relative to the directory of the save file.
    ignored : str
        Arguments of XSPEC's ``ignore``; whole numbers are its own channels, which are groups where the file has them.
    statistic : str or None
        As the session calls it; None is a likelihood of counts.
    notes : what is not used of the session where only its files and values are
    row : int or None, of a type II file, from 1
    choice : str or None
        The statistic for `xray.fit`; None where that of the data is meant.
    background : str
        "none" where the session fits without its background, else "auto".
    noticed : tuple of (low, high), keV, or None
        Energies that Sherpa's ``notice`` keeps.
    flags : mapping of "grouping" and "quality" to int arrays, where the session sets them
    grouped : bool
        Whether the groups are applied.
    limits : mapping of free parameter to (low, high)
    commands : commands that a fit does not use, with their arguments
    barred : what a fit like the session's would need and this package cannot do, one phrase each
    """

    model: Model
    files: dict[str, Path]
    ignored: str
    statistic: str | None
    notes: tuple[str, ...]
    row: int | None = None
    choice: str | None = None
    background: str = "auto"
    noticed: tuple[tuple[float, float], ...] | None = None
    flags: dict[str, NDArray[np.int16]] = field(default_factory=dict)
    grouped: bool = True
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()

    @property
    def spectrum(self) -> Path:
        """The file of the spectrum.

        Raises
        ------
        DataFileError
            If the session has none.
        """
        if "pha" not in self.files:
            raise DataFileError("no spectrum", where="save file", expected="the command data or load_pha")
        return self.files["pha"]

    def held(self, model: Model) -> dict[str, float]:
        """Return the values that this session's model holds fixed and ``model`` too."""
        values = {p.name: p.default for p in self.model.parameters if p.name not in self.model.free}
        return {name: value for name, value in values.items() if name in model.fixed}


def read_xcm(path: str | os.PathLike[str]) -> Xcm:
    """Read an XSPEC save file of one spectrum; nothing in it is executed.

    Raises
    ------
    DataFileError
        If it has no model, several spectra, or parameters that are tied or out of order.
    """
    source = existing_file(path, what="XSPEC save file")
    lines = [line.strip() for line in read_text(source).splitlines()]
    where = str(path)
    said = _Said(source.parent)
    model: Model | None = None
    limits: dict[str, tuple[float, float]] = {}
    at = 0
    while at < len(lines):
        command, _, rest = lines[at].partition(" ")
        rest = rest.strip()
        at += 1
        if command in _FILES:
            _file(said, command, rest, where)
        elif command == "model":
            expression = re.sub(r"^\d+:\S+\s+", "", rest)
            if model is not None:
                raise DataFileError("several models", where=where, expected="one")
            model, limits, at = _model(expression, said.abundances, lines, at, where)
        elif command and not command.startswith("#"):
            _setting(said, command, rest)
    if model is None:
        raise DataFileError("no model", where=where, expected="a save file of XSPEC with the command model")
    statistic = said.statistic if said.statistic is None or said.statistic != "chi" else "chi2"
    notes = [] if statistic is None else [statistic_note(path, statistic)]
    names = [command.split()[0] for command in said.unused]
    if names:
        notes.append(f"{where}: commands that are not used: {', '.join(dict.fromkeys(names))}")
    if said.ignored:
        notes.append(f"{where}: channels are those of the band, not of ignore {' '.join(said.ignored)}")
    choice, barred = _choice(said)
    return Xcm(
        model, said.files, " ".join(said.ignored), statistic, tuple(notes), row=said.row, choice=choice,
        limits=limits, commands=tuple(said.unused), barred=tuple(barred),
    )  # fmt: skip


@dataclass
class _Said:
    """What the commands of a session said so far."""

    directory: Path
    files: dict[str, Path] = field(default_factory=dict)
    row: int | None = None
    ignored: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    abundances: str = "angr"
    statistic: str | None = None
    weight: str = "standard"


def _file(said: _Said, command: str, rest: str, where: str) -> None:
    """Take the file of ``data``, ``response``, ``arf`` or ``backgrnd``; {n} is a row of a type II file."""
    name = re.sub(r"^\d+:\d+\s+|^\d+\s+", "", rest)
    if name.lower() == "none" and command != "data":
        said.unused.append(f"{command} none")
        return
    if " " in name or _FILES[command] in said.files:
        raise DataFileError("several spectra", where=f"{where}, {command}", expected="a session of one")
    found = re.fullmatch(r"(.+)\{(\d+)\}", name)
    if found is not None and command == "data":
        name, said.row = found.group(1), int(found.group(2))
    said.files[_FILES[command]] = said.directory / name


def _setting(said: _Said, command: str, rest: str) -> None:
    """Take a command that is neither a file nor the model."""
    if command == "ignore":
        # Channels of bad quality are ignored here in any case.
        words = (re.sub(r"^[\d*-]+:", "", word) for word in rest.replace(",", " ").split())
        said.ignored += [word for word in words if word != "bad"]
    elif command == "statistic" and rest and not rest.startswith("test"):
        said.statistic = None if rest.split()[0] in ("cstat", "stat") else rest.split()[0]
    elif command == "weight":
        said.weight = rest
    elif command == "abund" and rest:
        said.abundances = rest.split()[0]
    elif command == "cd" and len(rest) < _LONGEST_PATH:
        given = said.directory / rest
        said.directory = given if given.is_dir() else said.directory
    else:
        said.unused.append(f"{command} {rest}".strip())


def _choice(said: _Said) -> tuple[str | None, list[str]]:
    """Return the statistic for a fit, and what such a fit cannot follow."""
    barred = [f"the command {c}" for c in said.unused if c.split()[0] in ("notice", "newpar", "untie", "exec")]
    if said.statistic == "chi":
        if said.weight not in _WEIGHTS:
            barred.append(f"weight {said.weight}")
        barred += [f"the command {c}" for c in said.unused if re.fullmatch(r"systematic\s+.*[1-9].*", c)]
        return _WEIGHTS.get(said.weight), barred
    if said.statistic not in (None, "pgstat"):
        barred.append(f"the statistic {said.statistic}")
    return said.statistic, barred


def statistic_note(path: str | os.PathLike[str], statistic: str) -> str:
    """Say that a session's statistic is not used."""
    return f"{path}: the statistic {statistic} is not used; the spectra are fitted with a Poisson likelihood"


def _model(
    expression: str, abundances: str, lines: list[str], at: int, where: str
) -> tuple[Model, dict[str, tuple[float, float]], int]:
    """Return the model with the values of the lines after it, one a parameter, limits, and where they end."""
    bare = Model(expression, abundances=abundances, absorption_abundances=abundances)
    values: dict[str, float] = {}
    free, limits = [], {}
    for parameter in bare.parameters:
        text = lines[at] if at < len(lines) else ""
        numbers = text.split()
        place = f"{where}, parameter {parameter.name}"
        if text.startswith(("=", "/")):
            raise DataFileError(f"the parameter is tied ({text!r})", where=place, expected="a value")
        try:
            values[parameter.name] = float(numbers[0])
            if float(numbers[1]) > 0:
                free.append(parameter.name)
                if len(numbers) >= 6:
                    limits[parameter.name] = (float(numbers[2]), float(numbers[5]))
        except (ValueError, IndexError):
            raise DataFileError(
                f"{text!r:.60} is not a value and a step", where=place, expected="as XSPEC saves it"
            ) from None
        at += 1
    return bare.replace(free=tuple(free), **values), limits, at
