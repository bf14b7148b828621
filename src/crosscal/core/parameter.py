"""What a named number is: used by spectral models, modifiers and noise models alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import SCALES


@dataclass(frozen=True)
class Parameter:
    """A named parameter with its validity range.

    Parameters
    ----------
    name : str
    default : float
    low, high : float
        Values outside are refused; they may be infinite.
    unit : str
        As astropy spells it.
    scale : "linear" or "log"
        In which coordinate the parameter is best gridded and sampled.
    free : bool
        Whether a fit varies it unless told otherwise.
    """

    name: str
    default: float
    low: float = float("-inf")
    high: float = float("inf")
    unit: str = ""
    description: str = ""
    scale: str = "linear"
    free: bool = False

    def __post_init__(self) -> None:
        where = f"parameter {self.name!r}"
        if self.scale not in SCALES:
            raise UnknownNameError("parameter scale", self.scale, SCALES, where=where)
        if not self.low <= self.default <= self.high:
            raise InputError(
                f"value {self.default:g} is out of range",
                where=where,
                expected=f"{self.low:g} to {self.high:g} {self.unit}".strip(),
            )

    def with_value(self, value: float) -> Parameter:
        """Return a copy whose default is ``value`` (checked against the range)."""
        return replace(self, default=float(value))

    def check(self, value: float, *, where: str | None = None) -> float:
        """Return ``value`` as a float if it is finite and in range.

        Raises
        ------
        InputError
            Naming the parameter and its range.
        """
        number = float(value)
        if not self.low <= number <= self.high:
            raise InputError(
                f"{self.name} = {number:g} is out of range",
                where=where,
                expected=f"{self.low:g} to {self.high:g} {self.unit}".strip(),
            )
        return number
