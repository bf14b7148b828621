"""Quantities at the public edge: plain numbers inside, astropy units outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError


def energies(value: Any, *, where: str) -> Any:
    """Return energies in keV as an array; a Quantity may be of energy, wavelength or frequency.

    Raises
    ------
    InputError
        If a Quantity is none of them.
    """
    return np.asarray(plain(value, "keV", where=where, spectral=True), dtype=float)


def plain(value: Any, unit: str, *, where: str | None = None, spectral: bool = False) -> Any:
    """Return ``value`` as plain numbers in ``unit``; anything without a unit is taken to be in it.

    astropy is not imported here: only a value that is a Quantity already brings it along.

    Parameters
    ----------
    value : number, array or astropy Quantity
    unit : str
        As astropy spells it; empty for dimensionless.
    where : str, optional
        For the message.
    spectral : bool
        Whether wavelengths and frequencies may stand for energies.

    Raises
    ------
    InputError
        If a Quantity does not convert.
    """
    if not hasattr(value, "to_value"):
        return value
    from astropy import units

    try:
        return value.to_value(unit, units.spectral() if spectral else [])
    except units.UnitConversionError:
        raise InputError(f"a quantity in {value.unit}", where=where, expected=f"one in {unit or '1'}") from None


def floats(value: Any, unit: str = "", *, where: str | None = None, contiguous: bool = True) -> NDArray[np.float64]:
    """Return ``value`` as float64 in native byte order, for code that reads raw memory (compiled loops, keys of bytes).

    Arrays of any dtype and byte order (FITS is big-endian), strided or masked arrays, lists and Quantities are taken;
    masked elements become NaN. An array that is right already is returned without a copy.

    Parameters
    ----------
    value : array-like or astropy Quantity
    unit : str
        Of the result; empty: a Quantity must be dimensionless.
    where : str, optional
        For the message.
    contiguous : bool
        Whether the result must be C-contiguous; false leaves broadcast arrays broadcast.

    Raises
    ------
    InputError
        If a Quantity does not convert, or values are not numbers.
    """
    inner = plain(value, unit, where=where)
    mask = np.ma.getmaskarray(inner) if isinstance(inner, np.ma.MaskedArray) else getattr(value, "mask", None)
    inner = getattr(inner, "unmasked", np.ma.getdata(inner) if isinstance(inner, np.ma.MaskedArray) else inner)
    try:
        given = np.asarray(inner)
        # numpy would drop the imaginary part with a warning, and read numbers in strings.
        if given.dtype.kind not in "biuf" and not (given.dtype.kind == "O" and given.size):
            raise TypeError(given.dtype)
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("values that are not numbers", where=where, expected="an array of real numbers") from None
    if mask is not None and np.shape(mask) == numbers.shape and np.any(mask):
        numbers = np.where(mask, np.nan, numbers)
    return np.ascontiguousarray(numbers).reshape(numbers.shape) if contiguous else numbers
