"""A survey's table as a small table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Keep:
    """A rule by which rows are used: ``key`` compared with ``value``; a table without the column passes.

    ``test`` is one of ==, <, <=, > for numbers and "is" for words, of which ``value`` lists the allowed ones.
    """

    key: str
    test: str
    value: float | Keys

    def holds(self, table: RawTable) -> NDArray[np.bool_]:
        """Whether the rows of a table pass."""
        if self.key not in table:
            return np.ones(len(table), dtype=bool)
        if isinstance(self.value, tuple):
            return np.isin(np.char.lower(table.words(self.key)), [word.lower() for word in self.value])
        column, value = table.numbers(self.key), float(self.value)  # type: ignore[arg-type]
        if self.test == "==":
            return column == value
        if self.test == "<":
            return column < value
        if self.test == "<=":
            return column <= value
        return column > value

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            return f"with {self.key} other than {self.value[0]}"
        turned = {"==": "is not", "<": ">=", "<=": ">", ">": "<="}[self.test]
        return f"with {self.key} {turned.replace('is not', 'other than')} {self.value:g}"


@dataclass(frozen=True)
class Layout:
    """How the tables of a survey are recognised and read.

    Attributes
    ----------
    name : str
        Begins the names of telescopes ("ztf" gives "ztf_zg").
    source : str
        The public description that is meant.
    needs : tuple of tuple of str
        Columns by which it is recognised; one of each tuple must be there.
    lacks : tuple of str
        Columns that must not be there.
    time : tuple of str
        Column of times (the first that is there).
    system : TimeSystem
    magnitude, magnitude_error, flux, flux_error : tuple of str
    flux_unit : str
    prefer : "magnitude" or "flux"
        Which is read where both are there.
    band : tuple of str
    bands : mapping of str to str
        Names of filters by what the band column holds; others stay.
    apart : tuple of str
        Columns whose values are kept apart within one filter (object ids, fields, observers), unless they are merged
        on request.
    camera : tuple of str
        Column that tells cameras apart on request.
    keep : tuple of Keep
    errlimit : float or None
        Largest error in magnitudes by default.
    own_zeropoint : bool
        Whether magnitudes of a filter without a zero point are refused; else they are assumed to be AB magnitudes.
    difference : bool
        Fluxes are differences to a reference image.
    prepare : callable, optional
        ``prepare(table) -> table`` computes columns that the survey gives in parts.
    notes : tuple of str
        What is assumed about such tables.
    """

    name: str
    source: str
    needs: tuple[Keys, ...]
    time: Keys
    system: TimeSystem
    lacks: Keys = ()
    magnitude: Keys = ()
    magnitude_error: Keys = ()
    flux: Keys = ()
    flux_error: Keys = ()
    flux_unit: str = ""
    prefer: str = "magnitude"
    band: Keys = ()
    bands: Mapping[str, str] = field(default_factory=dict)
    apart: Keys = ()
    camera: Keys = ()
    keep: tuple[Keep, ...] = ()
    errlimit: float | None = None
    own_zeropoint: bool = False
    difference: bool = False
    prepare: Callable[[RawTable], RawTable] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # What `crosscal list layouts` shows.
        object.__setattr__(self, "__doc__", self.source)

    def fits(self, table: RawTable) -> bool:
        """Whether a table has this layout."""
        return all(table.first(keys) is not None for keys in self.needs) and not any(k in table for k in self.lacks)

    def missing(self, table: RawTable) -> str | None:
        """Return the first needed column that a table lacks."""
        return next((keys[0] for keys in self.needs if table.first(keys) is None), None)
