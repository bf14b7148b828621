"""Quantities at the public edge: plain numbers inside, astropy units outside."""

from __future__ import annotations

from typing import Any

import numpy as np

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
