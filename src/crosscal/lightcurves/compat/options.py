"""PyCALI's options: the parameter file and the arguments of ``setup()``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.reading import read_text
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves


@dataclass(frozen=True)
class Options:
    """Options with the names of PyCALI's ``setup()`` and the defaults of its parameter file.

    ``nmcmc`` and ``ptol`` steer its nested sampler; here ``nmcmc`` is the number of draws asked for (at most 20000)
    and ``ptol`` is accepted and not used, because the samplers stop by their own diagnostics.
    """

    fcont: str = ""
    fline: tuple[str, ...] = ()
    nmcmc: int = 10000
    ptol: float = 0.1
    scale_range_low: float = 0.5
    scale_range_up: float = 1.5
    shift_range_low: float = -1.0
    shift_range_up: float = 1.0
    syserr_range_low: float = 0.0
    syserr_range_up: float = 0.1
    errscale_range_low: float = 0.1
    errscale_range_up: float = 2.0
    sigma_range_low: float = 1e-4
    sigma_range_up: float = 1.0
    tau_range_low: float = 1.0
    tau_range_up: float = 1e4
    fixed_scale: bool = False
    fixed_shift: bool = False
    fixed_syserr: bool = True
    fixed_error_scale: bool = True
    fixed_codes: tuple[int, ...] = ()
    fixed_scalecodes: tuple[int, ...] = ()
    flag_norm: bool = True

    @classmethod
    def setup(cls, **arguments: Any) -> Options:
        """Make options from the keyword arguments of PyCALI's Python ``setup()``.

        Raises
        ------
        UnknownNameError
            For an argument that does not exist.
        """
        known = [f.name for f in fields(cls)]
        for name in arguments:
            if name not in known:
                raise UnknownNameError("PyCALI option", name, known, where="setup()")
        tuples = ("fline", "fixed_codes", "fixed_scalecodes")
        values: dict[str, Any] = {k: tuple(v) if k in tuples else v for k, v in arguments.items()}
        return cls(**values)

    def codes(self, curves: LightCurves, indices: tuple[int, ...], option: str) -> tuple[str, ...]:
        """Return the telescopes with the given 0-based numbers."""
        for i in indices:
            if not 0 <= i < len(curves.codes):
                raise ConfigError(f"no code number {i}", where=option, expected=f"0 to {len(curves.codes) - 1}")
        return tuple(curves.codes[i] for i in indices)

    def settings(self, curves: LightCurves, **changes: Any) -> Settings:
        """Return the model settings for some data.

        Raises
        ------
        InputError
            If a range is not low < high or both scale and shift are fixed.
        """
        values: dict[str, Any] = {
            "scale": (self.scale_range_low, self.scale_range_up),
            "shift": (self.shift_range_low, self.shift_range_up),
            "syserr": (self.syserr_range_low, self.syserr_range_up),
            "errscale": (self.errscale_range_low, self.errscale_range_up),
            "sigma": (self.sigma_range_low, self.sigma_range_up),
            "tau": (self.tau_range_low, self.tau_range_up),
            "fixed_scale": bool(self.fixed_scale),
            "fixed_shift": bool(self.fixed_shift),
            "systematic_error": not self.fixed_syserr,
            "error_scale": not self.fixed_error_scale,
            "fixed_codes": self.codes(curves, self.fixed_codes, "FixedCodes"),
            "fixed_scale_codes": self.codes(curves, self.fixed_scalecodes, "FixedScaleCodes"),
            "normalisation": "mean" if self.flag_norm else "none",
        }
        return Settings(**{**values, **changes})


def _flag(text: str) -> bool:
    return bool(int(text))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


#: Tag of the parameter file: (option, reader of its value).
TAGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "FileCont": ("fcont", str),
    "FileLine": ("fline", _words),
    "NMcmc": ("nmcmc", lambda text: int(float(text))),
    "PTol": ("ptol", float),
    "ScaleRangeLow": ("scale_range_low", float),
    "ScaleRangeUp": ("scale_range_up", float),
    "ShiftRangeLow": ("shift_range_low", float),
    "ShiftRangeUp": ("shift_range_up", float),
    "SyserrRangeLow": ("syserr_range_low", float),
    "SyserrRangeUp": ("syserr_range_up", float),
    "ErrscaleRangeLow": ("errscale_range_low", float),
    "ErrscaleRangeUp": ("errscale_range_up", float),
    "SigmaRangeLow": ("sigma_range_low", float),
    "SigmaRangeUp": ("sigma_range_up", float),
    "TauRangeLow": ("tau_range_low", float),
    "TauRangeUp": ("tau_range_up", float),
    "FixedScale": ("fixed_scale", _flag),
    "FixedShift": ("fixed_shift", _flag),
    "FixedSyserr": ("fixed_syserr", _flag),
    "FixedErrorScale": ("fixed_error_scale", _flag),
    "FixedCodes": ("fixed_codes", _integers),
    "FixedScaleCodes": ("fixed_scalecodes", _integers),
    "FlagNorm": ("flag_norm", _flag),
}


#: Keys of the copy of its options that PyCALI leaves in ``data/param_input``; ``fname`` names the parameter file.
ECHOED: dict[str, tuple[str, Callable[[str], Any]]] = {option: (option, reader) for option, reader in TAGS.values()}
ECHO_NAME = "fname"


def is_param_line(line: str) -> bool:
    """Whether a line is of a PyCALI parameter file, ``Tag value``, or of its copy, ``key = value``; TOML is neither."""
    words = line.replace("=", " = ").split()
    if len(words) > 1 and words[1] == "=":
        return words[0] in (ECHO_NAME, *ECHOED)
    return bool(words) and words[0] in TAGS


def read_param_file(path: str | os.PathLike[str]) -> Options:
    """Read a PyCALI parameter file: ``Tag value`` lines, ``#`` at the start of a line is a comment.

    The copy ``data/param_input`` that PyCALI writes, with lines ``key = value``, is read too.

    Relative data paths are kept as written (PyCALI takes them from the working directory).

    Raises
    ------
    ConfigError
        For an unknown or repeated tag, a value that cannot be read, or a missing ``FileCont``.
    """
    found: dict[str, Any] = {}
    for number, line in enumerate(read_text(path, what="parameter file").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        tag, known, value = _parts(line.strip())
        if tag == ECHO_NAME:
            continue
        if tag not in known:
            raise UnknownNameError("tag", tag, known, where=where)
        option, reader = known[tag]
        if option in found:
            raise ConfigError(f"the tag {tag} repeats", where=where, expected="each tag once")
        if not value:
            if option in ("fline", "fixed_codes", "fixed_scalecodes"):
                continue
            raise ConfigError(f"the tag {tag} has no value", where=where, expected="Tag value")
        try:
            found[option] = reader(value)
        except (ValueError, OverflowError):
            raise ConfigError(f"{tag} = {value!r} cannot be read", where=where, expected="a number") from None
    if not found.get("fcont"):
        raise ConfigError("no FileCont", where=str(path), expected="a line 'FileCont path' (or 'fcont = path')")
    return Options(**found)


def _parts(line: str) -> tuple[str, Mapping[str, tuple[str, Callable[[str], Any]]], str]:
    """Return the tag of a line, the tags of its kind of file, and the value."""
    key, equals, rest = line.partition("=")
    if equals and len(key.split()) == 1:
        return key.strip(), ECHOED, rest.strip()
    tag, _, rest = line.partition("\t" if "\t" in line else " ")
    return tag, TAGS, rest.split("#")[0].strip()


def data_path(name: str, param_file: str | os.PathLike[str]) -> Path:
    """Find a data file named in a parameter file: from the working directory as PyCALI does, else beside the file.

    For the copy ``data/param_input`` also one folder above, which is where PyCALI was started.
    """
    given = Path(name)
    if given.is_absolute() or given.exists():
        return given
    folder = Path(param_file).resolve().parent
    return next((place / given for place in (folder, folder.parent) if (place / given).exists()), given)
