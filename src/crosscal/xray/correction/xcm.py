"""What an XSPEC save file (.xcm) holds: files, channels and a model with its values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import read_text
from crosscal.xray.emission.expression import Model

_FILES = {"data": "pha", "response": "rmf", "arf": "arf", "backgrnd": "background"}


@dataclass(frozen=True)
class Xcm:
    """A session of XSPEC or Sherpa with one spectrum.

    Attributes
    ----------
    model : Model
        With the values of the file; what is not frozen is free.
    files : mapping of "pha", "arf", "rmf", "background" to Path
        Relative to the directory of the save file.
    ignored : str
        Arguments of ``ignore``, as :func:`crosscal.xray.group` takes them.
    statistic : str or None
    notes : commands that are not used
    """

    model: Model
    files: dict[str, Path]
    ignored: str
    statistic: str | None
    notes: tuple[str, ...]

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
    files: dict[str, Path] = {}
    ignored, unused = [], []
    abundances, statistic, model = "angr", None, None
    at = 0
    while at < len(lines):
        command, _, rest = lines[at].partition(" ")
        rest = rest.strip()
        at += 1
        if command in _FILES:
            name = re.sub(r"^\d+:\d+\s+|^\d+\s+", "", rest)
            if " " in name or _FILES[command] in files:
                raise DataFileError("several spectra", where=f"{where}, {command}", expected="a session of one")
            files[_FILES[command]] = source.parent / name
        elif command == "ignore":
            ignored.append(re.sub(r"^\d+:", "", rest))
        elif command == "statistic":
            statistic = {"chi": "chi2", "cstat": None}.get(rest, rest)
        elif command == "abund":
            abundances = rest.split()[0]
        elif command == "model":
            expression = re.sub(r"^\d+:\S+\s+", "", rest)
            if model is not None:
                raise DataFileError("several models", where=where, expected="one")
            model, at = _model(expression, abundances, lines, at, where)
        elif command and not command.startswith("#"):
            unused.append(command)
    if model is None:
        raise DataFileError("no model", where=where, expected="a save file of XSPEC with the command model")
    notes = [] if statistic is None else [statistic_note(path, statistic)]
    if unused:
        notes.append(f"{where}: commands that are not used: {', '.join(dict.fromkeys(unused))}")
    if ignored:
        notes.append(f"{where}: channels are those of the band, not of ignore {' '.join(ignored)}")
    return Xcm(model, files, " ".join(ignored), statistic, tuple(notes))


def statistic_note(path: str | os.PathLike[str], statistic: str) -> str:
    """Say that a session's statistic is not used."""
    return f"{path}: the statistic {statistic} is not used; spectra are fitted with the likelihood of their counts"


def _model(expression: str, abundances: str, lines: list[str], at: int, where: str) -> tuple[Model, int]:
    """Return the model with the values of the lines after it, one a parameter, and where they end."""
    bare = Model(expression, abundances=abundances, absorption_abundances=abundances)
    values: dict[str, float] = {}
    free = []
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
        except (ValueError, IndexError):
            raise DataFileError(
                f"{text!r:.60} is no value and step", where=place, expected="as XSPEC saves it"
            ) from None
        at += 1
    return bare.replace(free=tuple(free), **values), at
