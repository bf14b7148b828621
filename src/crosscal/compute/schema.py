"""What a store holds: variables, coordinates, and the fingerprint that tells one job from another."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core import provenance
from crosscal.core.errors import InputError

# Longer arrays enter a job's record as a checksum: the record is metadata, not data.
_LISTED = 64


@dataclass(frozen=True)
class Variable:
    """A result array of a sweep.

    Parameters
    ----------
    dims : tuple of str
        Dimension names; the swept ones come first.
    dtype : str
        NumPy name of the type: a number or a boolean.
    unit, description : str
        Written as attributes ``units`` and ``long_name``, as xarray shows them.
    fill : scalar, optional
        What points that are not computed yet show. NaN for floats, -1 for signed integers, 0 otherwise.
    """

    dims: tuple[str, ...]
    dtype: str = "float64"
    unit: str = ""
    description: str = ""
    fill: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(self.dims))
        try:
            kind = np.dtype(self.dtype)
        except TypeError:
            raise InputError(f"type {self.dtype!r}", where="variable", expected="a NumPy type") from None
        if kind.kind not in "biufc":
            raise InputError(f"type {self.dtype!r}", where="variable", expected="numbers or booleans (no objects)")
        object.__setattr__(self, "dtype", kind.name)
        if self.fill is None:
            object.__setattr__(self, "fill", {"f": math.nan, "c": math.nan, "i": -1}.get(kind.kind, 0))


@dataclass(frozen=True)
class Coordinate:
    """Values along one or more dimensions, written once at the store's creation (numbers or text)."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind not in "biufU":
            raise InputError(f"values of type {values.dtype}", where="coordinate", expected="numbers, booleans or text")
        if values.ndim != len(self.dims):
            raise InputError(
                f"values of {values.ndim} dimensions for {self.dims}",
                where="coordinate",
                expected="one name a dimension",
            )
        object.__setattr__(self, "dims", tuple(self.dims))
        object.__setattr__(self, "values", values)


def as_coordinate(name: str, given: Coordinate | ArrayLike | tuple[Any, ...]) -> Coordinate:
    """Accept a :class:`Coordinate`, an array along the dimension ``name``, or ``(dims, values[, unit])``."""
    if isinstance(given, Coordinate):
        return given
    if isinstance(given, tuple) and len(given) in (2, 3):
        dims, values, *unit = given
        if isinstance(dims, str) or (isinstance(dims, Sequence) and dims and all(isinstance(d, str) for d in dims)):
            names = (dims,) if isinstance(dims, str) else tuple(dims)
            return Coordinate(names, np.asarray(values), *unit)
    return Coordinate((name,), np.asarray(given))


def jsonable(value: Any, where: str = "job") -> Any:
    """Turn a description of a job into plain JSON: exact numbers, arrays listed (or hashed where long).

    Raises
    ------
    InputError
        For an object that has no such form (a function, an open file, ...).
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if not math.isfinite(number):
            return repr(number)
        # 5e4 and 50000 describe the same job.
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray):
        return _array_json(value, where)
    if isinstance(value, Mapping):
        return {str(k): jsonable(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, Set):
        return sorted((jsonable(v, where) for v in value), key=str)
    if isinstance(value, (list, tuple, range)):
        return [jsonable(v, f"{where}[{k}]") for k, v in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **jsonable(fields, where)}
    raise InputError(
        f"an object of type {type(value).__name__}",
        where=where,
        expected="numbers, text, arrays, lists, mappings or dataclasses of these",
    )


def _array_json(array: NDArray[Any], where: str) -> Any:
    if array.dtype.kind not in "biufU":
        raise InputError(f"an array of type {array.dtype}", where=where, expected="numbers or text")
    if array.size <= _LISTED:
        return jsonable(array.tolist(), where)
    return {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": array_digest(array)}


def array_digest(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's type, shape and little-endian values."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.kind == "U":
        content = "\0".join(plain.ravel().tolist()).encode()
    else:
        content = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    kind = "text" if plain.dtype.kind == "U" else plain.dtype.name
    return hashlib.sha256(f"{kind}{plain.shape}".encode() + content).hexdigest()


def fingerprint(job: Any) -> str:
    """Return the SHA-256 of a job's description: equal jobs, and only they, have equal fingerprints."""
    return provenance.fingerprint(jsonable(job))


def first_difference(old: Any, new: Any, path: str = "job") -> str | None:
    """Name the first entry in which two JSON descriptions differ, None where they agree."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            if key not in old or key not in new:
                side = "the store" if key in old else "this job"
                return f"{path}.{key} is only in {side}"
            if found := first_difference(old[key], new[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for k, (a, b) in enumerate(zip(old, new, strict=True)):
            if found := first_difference(a, b, f"{path}[{k}]"):
                return found
        return None
    if type(old) is type(new) and old == new:
        return None
    return f"{path} is {_short(old)} in the store and {_short(new)} in this job"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
