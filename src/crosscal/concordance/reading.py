"""Reading long tables of measurements: a row per measurement."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from crosscal.concordance.error_columns import refuse_unused_units
from crosscal.concordance.parquet import columns_of_long, long_parquet, parquet_batches
from crosscal.concordance.reading_cells import Missing, Request
from crosscal.concordance.table_columns import Column, load_columns
from crosscal.concordance.types import Comparison
from crosscal.core.keywords import keywords


@keywords
def read_table(
    path: str | os.PathLike[str] | Any,
    *,
    instrument: Column = "instrument",
    source: Column = "source",
    flux: str | None = None,
    counts: str | None = None,
    log_flux: str | None = None,
    error: str | Sequence[str] | None = None,
    log_error: str | None = None,
    scale: str | None = None,
    confidence: float | None = None,
    limit: str | None = None,
    limit_confidence: float | None = None,
    missing: Missing | None = None,
    repeats: bool = False,
    exposure: str | None = None,
    band: Column | None = None,
    time: str | None = None,
    campaign: Column | None = None,
    select: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    flux_unit: str = "",
    time_unit: str = "",
    to: Column | None = None,
    bounds: bool | None = None,
) -> Comparison:
    """Read a long table: one row per measurement.

    Parameters
    ----------
    path : path or table
        A file (CSV, text, ECSV, FITS, Parquet, LaTeX, machine-readable), or a table in
        memory: astropy, pandas, polars, xarray, a structured array, or a mapping of columns.
    instrument, source, band, campaign : str or list of str
        Columns that name things; several columns are joined by a blank.
    flux, counts, log_flux : str
        The measured column, exactly one; by default whichever of these names the table has. Cells may hold errors and
        limits (``1.05 +/- 0.02``, ``1.05(2)``, ``<0.3``); rows without a measurement are left out, and counted.
    error, log_error : str, optional
        Standard error of flux or counts, or of the natural logarithm; two columns for errors below and above. Errors in
        another unit than the fluxes, or in percent, are converted.
    scale : str, optional
        What ``flux`` and its errors are: "linear", "ln", "log10", "magnitude" or "additive" (see
        `Comparison.from_cells`). Required if the name or unit of the column suggests magnitudes or decimal
        logarithms.
    confidence : float, optional
        Level of the intervals that errors stand for, such as 0.9; standard errors by default.
    limit : str, optional
        Column of flags: 1 or "<" for an upper limit, -1 or ">" for a lower one, 0 or nothing for a measurement; by
        default a column ``l_X`` beside X, as CDS writes it.
    limit_confidence : float, optional
        One-sided level of limits without errors.
    missing : sequence, optional
        Numbers or words that mark a missing cell besides the usual words. Numbers such as -99 are refused until they
        are named, or ``missing=[]`` says that they are measurements.
    repeats : bool
        Admit several measurements of one source by one instrument.
    exposure : str, optional
        Column of the exposure factor T: c / T is compared.
    time : str, optional
        Column of times, for drift and variability.
    select : mapping, optional
        Rows to keep: column to a value, a list of values, or {"min": x, "max": y} (inclusive).
    rename : mapping, optional
        Instrument names as read to names as wished; equal names are merged.
    unit : str, optional
        Column with the unit of each row; all are converted to ``flux_unit``, or to that of the first row.
    flux_unit, time_unit : str, optional
        As astropy spells them; the table's own units are used where it has some. A flux unit different from the
        table's is converted to.
    to : str or list of str, optional
        Column of the instrument in the denominator: ``flux`` is the ratio of ``instrument`` to it (``log_flux`` its
        natural logarithm), and no sources are named.
    bounds : bool, optional
        Whether two error columns hold the ends of the interval about the value; it must be stated where they may.

    Raises
    ------
    InputError
        Naming file, row and column of what is wrong.

    Examples
    --------
    >>> data = concordance.read_table("fluxes.csv", flux="flux", error="flux_err")  # doctest: +SKIP
    >>> data = concordance.read_table(frame)  # doctest: +SKIP
    """
    request = Request(
        instrument, source, flux, counts, log_flux, error, log_error, scale, confidence, limit, limit_confidence,
        missing, repeats, exposure, band, time, campaign, select, rename, unit, flux_unit, time_unit, to,
        bounds,
    )  # fmt: skip
    if long_parquet(path):
        names = columns_of_long(path, request.columns, unit)
        return request.assembled(parquet_batches(path, request.columns), str(path), columns=names)
    table, where, told = load_columns(path)
    refuse_unused_units(table, request.columns, where)
    return request.assembled([table], where, told, table.colnames)
