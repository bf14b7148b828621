"""The XSPEC library as shared objects: calling conventions, global settings and the table of parameters."""

from __future__ import annotations

import ctypes
import math
import shlex
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import MissingDependencyError
from crosscal.core.parameter import Parameter
from crosscal.core.reading import parsing, read_text
from crosscal.xray.emission.component import Array

_HUGE = 1e30
# XSPEC's spelling of units to astropy's; where it writes something else, the parameter's description has it.
_UNITS = {"keV": "keV", "km/s": "km/s", "10^22": "1e22 / cm2", "A": "Angstrom", "Mpc": "Mpc", "kpc": "kpc", "eV": "eV"}


@lru_cache(maxsize=1)
def library() -> Library:
    """Load the XSPEC library once.

    Raises
    ------
    MissingDependencyError
        If it is not installed or cannot be loaded.
    """
    missing = MissingDependencyError("xspectrampoline", extra="xspec", purpose="XSPEC models other than CrossCal's own")
    try:
        import xspectrampoline
    except ImportError as error:
        raise missing from error
    except Exception as error:
        # The package raises an error type of its own, defined in itself, where the shared library does not load.
        if type(error).__name__ != "NoLibXSPEC":
            raise
        raise missing from error
    return Library(xspectrampoline.get_libraries(), Path(xspectrampoline.get_HEADAS()))


class Library:
    """XSPEC's functions and the table of their parameters."""

    def __init__(self, libraries: Any, root: Path) -> None:
        self._functions = libraries.lib_xs_functions
        self._state: dict[str, str] = {}
        self.definitions_path = root / "spectral/manager/model.dat"

    @cached_property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The models with their functions, types and parameters."""
        return read_definitions(read_text(self.definitions_path))

    def use_data(self, directory: str) -> None:
        """Take the model data (mekal's, MEKAL's ionisation, ...) from a directory; "" keeps the library's own."""
        if directory and self._state.get("data") != directory:
            text = directory.encode()
            self._functions.fpdatd_(ctypes.c_char_p(text), ctypes.c_long(len(text)))
            self._state["data"] = directory

    def set_abundances(self, table: str) -> None:
        """Select XSPEC's solar abundances, which are global to the library."""
        if self._state.get("abundances") != table:
            self._quiet()
            code, text = ctypes.c_int(0), table.encode()
            self._functions.fpsolr_(ctypes.c_char_p(text), ctypes.byref(code), ctypes.c_long(len(text)))
            self._state["abundances"] = table

    def set_string(self, key: str, value: str) -> None:
        """Set a model string, as XSPEC's command ``xset`` does (APECROOT: where AtomDB's files are)."""
        if self._state.get(key) != value:
            name, text = key.encode(), value.encode()
            self._functions.fpmstr_(
                ctypes.c_char_p(name), ctypes.c_char_p(text), ctypes.c_long(len(name)), ctypes.c_long(len(text))
            )
            self._state[key] = value

    def _quiet(self) -> None:
        if hasattr(self._functions, "fpchat_"):
            self._functions.fpchat_(ctypes.byref(ctypes.c_int(0)))

    def call(self, function: str, edges: Array, parameters: list[float], flux: Array) -> Array:
        """Run one model function; ``flux`` is the input of a convolution, else zeros."""
        style, _, name = function.partition("_")
        if style == "C":
            return self._call_c(getattr(self._functions, function), edges, parameters, flux)
        if style == "c" and name:
            return self._call_c(getattr(self._functions, name), edges, parameters, flux)
        if style == "F" and name:
            return self._call_fortran(getattr(self._functions, f"{name}_"), np.float64, edges, parameters, flux)
        return self._call_fortran(getattr(self._functions, f"{function}_"), np.float32, edges, parameters, flux)

    @staticmethod
    def _call_c(function: Any, edges: Array, parameters: list[float], flux: Array) -> Array:
        pointer = ctypes.POINTER(ctypes.c_double)
        function.argtypes = [pointer, ctypes.c_int, pointer, ctypes.c_int, pointer, pointer, ctypes.c_char_p]
        function.restype = None
        grid, values = np.ascontiguousarray(edges), np.array(parameters, dtype=float)
        out, error = np.array(flux, dtype=float), np.zeros(flux.size)
        addresses = [array.ctypes.data_as(pointer) for array in (grid, values, out, error)]
        function(addresses[0], flux.size, addresses[1], 1, addresses[2], addresses[3], b"")
        return out

    @staticmethod
    def _call_fortran(function: Any, kind: type, edges: Array, parameters: list[float], flux: Array) -> Array:
        pointer = ctypes.POINTER(ctypes.c_float if kind is np.float32 else ctypes.c_double)
        function.restype = None
        arrays: list[np.ndarray] = [
            np.array(a, dtype=kind) for a in (edges, parameters or [0.0], flux, np.zeros(flux.size))
        ]
        grid, values, out, error = (array.ctypes.data_as(pointer) for array in arrays)
        size, number = ctypes.c_int(flux.size), ctypes.c_int(1)
        function(grid, ctypes.byref(size), values, ctypes.byref(number), out, error)
        return arrays[2].astype(float)


def read_definitions(text: str) -> dict[str, dict[str, Any]]:
    """Parse XSPEC's ``model.dat``: name -> {"function", "type", "parameters"}, these in order.

    Raises
    ------
    DataFileError
        Naming the model whose lines are not such a definition.
    """
    models: dict[str, dict[str, Any]] = {}
    lines = [line for line in text.splitlines() if line.strip()]
    at = 0
    while at < len(lines):
        with parsing(
            "not a model definition", where=f"XSPEC's model.dat, {lines[at].split()[0]!r}", expected="XSPEC's format"
        ):
            name, count, _, _, function, kind = lines[at].split()[:6]
            end = at + 1 + int(count)
            if not at < end <= len(lines):
                raise ValueError(f"{count} parameters, {len(lines) - at - 1} lines left")
            parameters = [_parameter(line) for line in lines[at + 1 : end]]
        models[name] = {"function": function, "type": kind, "parameters": parameters}
        at = end
    return models


def _parameter(line: str) -> Parameter:
    """Turn one parameter line of ``model.dat`` into a Parameter; switches and scales have no range."""
    if line.startswith(("$", "*")):
        name, *fields = shlex.split(line[1:])
        value = next((float(f) for f in fields if _is_number(f)), 0.0)
        return Parameter(name, value, description="switch of the XSPEC model")
    name, unit, *numbers = shlex.split(line)
    if len(numbers) == 5:
        # Some lines leave the unit out.
        numbers, unit = [unit, *numbers], ""
    default, low, _, _, high, step = (float(n) for n in numbers[:6])
    low, high = min(low, default), max(high, default)
    return Parameter(
        name,
        default,
        -math.inf if low < -_HUGE else low,
        math.inf if high > _HUGE else high,
        _UNITS.get(unit.strip(), ""),
        f"XSPEC parameter, {unit.strip()}".rstrip(", "),
        free=step > 0,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
