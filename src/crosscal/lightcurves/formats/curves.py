"""What a reader of tables gives: the light curves of one file by telescope, with all that is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from crosscal.lightcurves.timesystem import TimeSystem

#: Time, flux, error, and a flag where there is one.
Columns = tuple[NDArray[Any], ...]


class Curves(dict[str, Columns]):
    """Code to (time, flux, error), shown by numbers of points.

    Attributes
    ----------
    source : str
        File name.
    system : TimeSystem
        What the times count.
    units, bands : dict of str to str
        Unit of the fluxes and filter of each code, where they are known.
    position : (ra, dec) or None
        Of the source, degrees.
    notes : list of str
        What was left out and what was assumed.
    difference : bool
        Whether the fluxes are differences to a reference image.

    Examples
    --------
    >>> curves = lightcurves.Curves({"A": (time, flux, error)}, source="mine.dat")  # doctest: +SKIP
    """

    def __init__(
        self,
        columns: Mapping[str, Columns] | None = None,
        *,
        source: str = "",
        system: TimeSystem | None = None,
        position: tuple[float, float] | None = None,
        difference: bool = False,
    ) -> None:
        super().__init__(columns or {})
        self.source, self.system = source, system or TimeSystem()
        self.position, self.difference = position, difference
        self.units: dict[str, str] = {}
        self.bands: dict[str, str] = {}
        self.notes: list[str] = []

    def like(self, system: TimeSystem) -> Curves:
        """Return empty curves of the same file, with other times."""
        other = Curves(source=self.source, system=system, position=self.position, difference=self.difference)
        other.notes = list(self.notes)
        return other

    def put(self, code: str, columns: Columns, unit: str, band: str) -> None:
        """Add the light curve of one telescope."""
        self[code] = columns
        self.units[code], self.bands[code] = unit, band

    def __repr__(self) -> str:
        shown = ", ".join(f"{code}: {len(columns[0])} points" for code, columns in self.items())
        return f"<Curves {shown}>"
