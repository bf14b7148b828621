"""Atmospheric extinction tables of observatories, from files."""

from __future__ import annotations

import os

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.stars.extinction import SiteExtinction


def read_site(path: str | os.PathLike[str]) -> SiteExtinction:
    """Read two columns: wavelength (Angstrom; nm and um are recognised by range) and magnitudes per airmass.

    Raises
    ------
    DataFileError
        If the file is absent or not such a table.

    Examples
    --------
    >>> site = fluxcal.read_site("siding_spring.txt")  # doctest: +SKIP
    """
    target = existing_file(path, what="extinction table")
    with parsing("not an extinction table", where=target, expected="two columns of numbers"):
        table = np.loadtxt(target, usecols=(0, 1), ndmin=2)
    if len(table) < 2:
        raise DataFileError("fewer than two rows", where=str(target), expected="two columns of numbers")
    wavelength, magnitude = table[np.argsort(table[:, 0], kind="stable")].T
    factor = 1e4 if wavelength.max() < 50 else 10.0 if wavelength.max() < 2500 else 1.0
    unique = np.concatenate([[True], np.diff(wavelength) > 0])
    return SiteExtinction(target.stem, wavelength[unique] * factor, magnitude[unique])
