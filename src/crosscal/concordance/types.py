"""What is compared: cells of instruments x sources, as they come, in any pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import brief
from crosscal.core.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Counts or fluxes of M columns in N channels, stored cell by cell.

    A *channel* is an instrument in one energy band: it has one area factor B_i. A *column* is a source in one band
    (and, for variable sources, at one epoch): it has one log flux G_j. Cells are sorted by column.

    Attributes
    ----------
    channels : tuple of (instrument, band)
        Length N; the band is "" where there are no bands.
    columns : tuple of (source, band)
        Length M.
    row, column : int32 arrays, shape (n_cells,)
        Channel and column of each cell.
    log_rate : array, shape (n_cells,)
        y = ln c - ln T, natural logarithm of flux or of counts per exposure factor. For Poisson data with zero counts
        it is -inf and the log-normal models refuse it.
    variance : array, shape (n_cells,), optional
        Quoted variance of y.
    counts, exposure : arrays, shape (n_cells,), optional
        Counts and exposure factor T, for the Poisson models.
    time : array, shape (n_cells,), optional
        Time of each cell (any unit, see ``time_unit``), for drift.
    campaign : array of str, shape (M,), optional
        Columns of one campaign are one source in time order, for source variability.
    """

    channels: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    row: Integers
    column: Integers
    log_rate: Floats
    variance: Floats | None = None
    counts: Floats | None = None
    exposure: Floats | None = None
    time: Floats | None = None
    campaign: NDArray[np.str_] | None = None
    time_unit: str = ""
    flux_unit: str = ""
    label: str = "the comparison"

    __repr__ = brief

    @classmethod
    def from_cells(
        cls,
        instrument: Sequence[str] | NDArray,
        source: Sequence[str] | NDArray,
        *,
        log_rate: ArrayLike | None = None,
        flux: ArrayLike | None = None,
        counts: ArrayLike | None = None,
        error: ArrayLike | None = None,
        log_error: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        band: Sequence[str] | NDArray | None = None,
        time: ArrayLike | None = None,
        campaign: Sequence[str] | NDArray | None = None,
        where: str = "the comparison",
        **facts: str,
    ) -> Comparison:
        """Build from one entry per cell; exactly one of ``log_rate``, ``flux`` and ``counts`` is given.

        Parameters
        ----------
        error : array, optional
            Standard error of the flux or counts; the variance of y is ln(1 + (error / flux)^2), that of a log-normal
            with this relative error.
        log_error : array, optional
            Standard error of y itself.

        Raises
        ------
        InputError
            Naming the first row that is wrong: empty names, numbers that are not finite, fluxes that are not
            positive, negative counts, fractional counts, exposures or errors that are not positive, duplicated cells.
        """
        from crosscal.concordance.assembly import assemble

        return assemble(
            instrument,
            source,
            values={"log_rate": log_rate, "flux": flux, "counts": counts},
            errors={"error": error, "log_error": log_error},
            exposure=exposure,
            band=band,
            time=time,
            campaign=campaign,
            where=where,
            facts=facts,
        )

    @classmethod
    def from_matrix(
        cls,
        log_rate: ArrayLike,
        *,
        instruments: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        variance: ArrayLike | None = None,
        label: str = "the matrix",
    ) -> Comparison:
        """Build from y with shape (M, N): rows are sources, columns are instruments, NaN is a missing cell.

        Raises
        ------
        InputError
            If the shape does not fit the names, a source or instrument has no data, or a value is infinite.
        """
        from crosscal.concordance.assembly import from_matrix

        return from_matrix(log_rate, instruments, sources, variance, label)

    @property
    def n_channels(self) -> int:
        """N."""
        return len(self.channels)

    @property
    def n_columns(self) -> int:
        """M."""
        return len(self.columns)

    @property
    def n_cells(self) -> int:
        """Number of measurements."""
        return len(self.row)

    @cached_property
    def instruments(self) -> tuple[str, ...]:
        """Names of the instruments, in order of first appearance among the channels."""
        return tuple(dict.fromkeys(instrument for instrument, _ in self.channels))

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in order of first appearance."""
        return tuple(dict.fromkeys(band for _, band in self.channels))

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """One readable name per channel: the instrument, followed by its band where there are several."""
        if len(self.bands) == 1:
            return tuple(instrument for instrument, _ in self.channels)
        return tuple(f"{instrument} [{band}]" for instrument, band in self.channels)

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """Cells of column j are ``indptr[j]:indptr[j + 1]``."""
        return np.searchsorted(self.column, np.arange(self.n_columns + 1)).astype(np.int64)

    @cached_property
    def by_channel(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order and starts of the cells grouped by channel: cells of i are ``order[start[i]:start[i + 1]]``."""
        order = np.argsort(self.row, kind="stable").astype(np.int64)
        return order, np.searchsorted(self.row[order], np.arange(self.n_channels + 1)).astype(np.int64)

    @cached_property
    def per_channel(self) -> NDArray[np.int64]:
        """Number of cells of each channel."""
        return np.bincount(self.row, minlength=self.n_channels)

    @cached_property
    def complete(self) -> bool:
        """Whether every channel sees every column."""
        return self.n_cells == self.n_channels * self.n_columns

    def matrix(self, values: ArrayLike | None = None) -> Floats:
        """Return cell values (y by default) as a matrix (M, N) with NaN where there is no cell."""
        full = np.full((self.n_columns, self.n_channels), np.nan)
        full[self.column, self.row] = self.log_rate if values is None else values
        return full

    def without_channel(self, index: int) -> Comparison:
        """Return the comparison without one channel and without the columns that only this channel sees."""
        keep = self.row != index
        used, column = np.unique(self.column[keep], return_inverse=True)

        def cut(values: NDArray | None) -> NDArray | None:
            return None if values is None else values[keep]

        row = self.row[keep]
        return replace(
            self,
            channels=self.channels[:index] + self.channels[index + 1 :],
            columns=tuple(self.columns[j] for j in used),
            row=(row - (row > index)).astype(np.int32),
            column=column.astype(np.int32),
            log_rate=self.log_rate[keep],
            variance=cut(self.variance),
            counts=cut(self.counts),
            exposure=cut(self.exposure),
            time=cut(self.time),
            campaign=None if self.campaign is None else self.campaign[used],
        )

    def require_logarithms(self) -> None:
        """Check that log models can use the data.

        Raises
        ------
        InputError
            Naming the first cell whose counts are zero.
        """
        bad = np.flatnonzero(~np.isfinite(self.log_rate))
        if len(bad):
            k = int(bad[0])
            source, instrument = self.columns[self.column[k]][0], self.channel_names[self.row[k]]
            raise InputError(
                f"the counts of source {source!r} in {instrument!r} are zero, whose logarithm does not exist",
                where=self.label,
                expected="positive counts, or noise = 'poisson'",
            )
