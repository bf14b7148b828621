"""A user's own file of factors against energy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Build, Modifier, checked_options


@dataclass(frozen=True, eq=False)
class UserTable(Modifier):
    """A table of factors f(E), scaled in depth: phi = 1 + amplitude (f(E) - 1).

    Between its energies f is interpolated linearly in ln E; outside it keeps its value at the end.
    ``amplitude`` 1 (the default) is the table itself, 0 changes nothing.

    Parameters
    ----------
    energy : array, shape (n,), keV, increasing
    factors : array, shape (n,), positive
    path : str
        Where it was read from (:meth:`read`).
    """

    name: ClassVar[str] = "table"
    energy: np.ndarray
    factors: np.ndarray
    path: str = ""

    def __post_init__(self) -> None:
        where = self.path or "modifier 'table'"
        energy, factors = np.asarray(self.energy, dtype=float), np.asarray(self.factors, dtype=float)
        if energy.ndim != 1 or energy.size < 2 or energy.shape != factors.shape:
            raise InputError(
                f"energies of shape {energy.shape} and factors of shape {factors.shape}",
                where=where,
                expected="two columns of the same length >= 2",
            )
        for column, values in (("energy", energy), ("factor", factors)):
            bad = ~(np.isfinite(values) & (values > 0))
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise DataFileError(
                    f"the value is {values[row]:g}",
                    where=f"{where}, column {column}, row {row + 1}",
                    expected="a finite number > 0",
                )
        if np.any(np.diff(energy) <= 0):
            row = int(np.flatnonzero(np.diff(energy) <= 0)[0]) + 1
            raise DataFileError(
                f"{energy[row]:g} keV follows {energy[row - 1]:g} keV",
                where=f"{where}, column energy, row {row + 1}",
                expected="increasing energies",
            )
        object.__setattr__(self, "energy", energy)
        object.__setattr__(self, "factors", factors)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], build: Build) -> UserTable:
        """Build from ``path``, a file of factors against energy."""
        return cls.read(checked_options(cls.name, options, ("path",), required=("path",))["path"])

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> UserTable:
        """Read a table of factors from CSV, ECSV or plain text.

        The columns ``energy`` and ``factor`` are used where there are such names, else the first two. A unit
        of the energy column (ECSV) is converted to keV; without one it is keV.

        Raises
        ------
        DataFileError
            Naming file, column and row of whatever is wrong.
        """
        energy, factors = _read_columns(path)
        return cls(energy, factors, path=str(path))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``amplitude``: 1 is the table itself, 0 no change."""
        return (Parameter("amplitude", 1.0, -10.0, 10.0, description="depth of the table's deviation from 1"),)

    @property
    def null(self) -> tuple[float, ...]:
        """(0,)."""
        return (0.0,)

    @property
    def linear(self) -> bool:
        """True."""
        return True

    def basis(self, energy: ArrayLike) -> np.ndarray:
        """Return f(E) - 1, shape (1, n)."""
        f = np.interp(np.log(np.asarray(energy, dtype=float)), np.log(self.energy), self.factors)
        return (f - 1.0)[None, :]

    def _factor(self, energy, theta, xp):
        return 1.0 + theta @ xp.asarray(self.basis(energy))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_columns(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    from astropy import units
    from astropy.table import Table

    target = existing_file(path, what="table of factors")
    suffix = target.suffix.lower()
    kinds = {".ecsv": ("ascii.ecsv",), ".csv": ("ascii.csv", "ascii.no_header")}
    table, reason = None, ""
    for kind in kinds.get(suffix, ("ascii.commented_header", "ascii.no_header", "ascii.basic")):
        options = {"delimiter": ","} if suffix == ".csv" and kind == "ascii.no_header" else {}
        try:
            table = Table.read(target, format=kind, guess=False, **options)
        except (ValueError, TypeError, IndexError, KeyError, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:120]
            continue
        headless = all(_is_number(name) for name in table.colnames)
        if len(table.columns) >= 2 and not headless and all(c.dtype.kind in "fiu" for c in table.columns.values()):
            break
    if table is None:
        raise DataFileError(
            f"this cannot be read as a table ({reason})", where=str(target), expected="CSV, ECSV or columns of text"
        )
    if len(table.columns) < 2:
        raise DataFileError("there is one column", where=str(target), expected="columns energy and factor")
    lowered = {name.lower(): name for name in table.colnames}
    named = "energy" in lowered and "factor" in lowered
    names = [lowered["energy"], lowered["factor"]] if named else table.colnames[:2]
    values = []
    for name in names:
        column = table[name]
        if column.dtype.kind not in "fiu":
            raise DataFileError(
                f"the values are not numbers ({column[0]!r})", where=f"{target}, column {name}", expected="numbers"
            )
        filled: Any = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
        values.append(np.asarray(filled, dtype=float))
    unit = table[names[0]].unit
    if unit is not None:
        try:
            values[0] = values[0] * units.Unit(unit).to("keV")
        except (units.UnitConversionError, ValueError, TypeError):
            raise DataFileError(
                f"the unit {str(unit)!r} cannot be used", where=f"{target}, column {names[0]}", expected="an energy"
            ) from None
    return values[0], values[1]
