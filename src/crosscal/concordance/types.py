"""What is compared: cells of instruments x sources, as they come, in any pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.assembly import assemble, matrix_fields, standard_errors
from crosscal.concordance.pairs import checked_ratios, known_cells, ratio_cells
from crosscal.core.display import brief, brief_html
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
        y = ln c - ln T, natural logarithm of flux or of counts per exposure factor; for ``additive`` data the value.
        Where there is no logarithm (zero counts, fluxes at or below zero, limits) it is -inf and the log models refuse
        it.
    variance : array, shape (n_cells,), optional
        Quoted variance of y; NaN where there is no logarithm.
    flux, flux_low, flux_high : arrays, shape (n_cells,), optional
        Flux over exposure factor and its errors below and above, where errors are quoted in flux.
    limit : int8 array, shape (n_cells,), optional
        1 where ``flux`` is an upper limit, -1 where it is a lower one, else 0.
    counts, exposure : arrays, shape (n_cells,), optional
        Counts and exposure factor T, for the Poisson models.
    time : array, shape (n_cells,), optional
        Time of each cell (any unit, see ``time_unit``), for drift.
    campaign : array of str, shape (M,), optional
        Columns of one campaign are one source in time order, for source variability.
    additive : bool
        Values add to the sources' (clock offsets, zero points): B is a shift in their unit, not ln of a factor.
    assumed : tuple of str
        What was taken for granted in reading, one sentence each.
    references : tuple of str
        Instruments whose area is exact, whatever the prior of the others.
    ratios : bool
        Each column stands for the ratio of two instruments.

    Examples
    --------
    >>> data = concordance.read_table("fluxes.csv")  # doctest: +SKIP
    >>> data = concordance.Comparison.from_matrix(log_rates, instruments=["pn", "MOS1"])  # doctest: +SKIP
    >>> data.channel_names, data.n_columns  # doctest: +SKIP
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
    flux: Floats | None = None
    flux_low: Floats | None = None
    flux_high: Floats | None = None
    limit: NDArray[np.int8] | None = None
    additive: bool = False
    assumed: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    ratios: bool = False

    __repr__ = brief
    _repr_html_ = brief_html

    @classmethod
    def from_cells(
        cls,
        instrument: Sequence[str] | NDArray,
        source: Sequence[str] | NDArray,
        *,
        flux: ArrayLike | None = None,
        counts: ArrayLike | None = None,
        log_rate: ArrayLike | None = None,
        scale: str = "linear",
        error: ArrayLike | None = None,
        log_error: ArrayLike | None = None,
        confidence: float | None = None,
        limit: ArrayLike | None = None,
        limit_confidence: float | None = None,
        exposure: ArrayLike | None = None,
        band: Sequence[str] | NDArray | None = None,
        time: ArrayLike | None = None,
        campaign: Sequence[str] | NDArray | None = None,
        repeats: bool = False,
        where: str = "the comparison",
        flux_unit: str = "",
        time_unit: str = "",
        assumed: tuple[str, ...] = (),
    ) -> Comparison:
        """Build from one entry per cell; exactly one of ``flux``, ``counts`` and ``log_rate`` is given.

        Parameters
        ----------
        flux : array
            The measured values on ``scale``. Fluxes at or below zero are measurements like others where errors are
            given.
        scale : "linear", "ln", "log10", "magnitude" or "additive"
            What ``flux`` and ``error`` are: fluxes; natural or decimal logarithms of fluxes; magnitudes; or values to
            which an instrument adds (clock offsets, zero points).
        error : array (n,) or (2, n), optional
            Standard error of the flux or counts, or the errors below and above. The variance of y is
            ln(1 + (error / flux)^2), that of a log-normal with this relative error, where log models are used.
        log_error : array, optional
            Standard error of ln flux, beside ``log_rate``.
        confidence : float, optional
            Level of the two-sided interval that errors stand for; by default they are standard errors (0.683).
        limit : int array, optional
            1 for an upper limit, -1 for a lower one, 0 for a measurement. The error of a limit may be missing (NaN or
            not positive).
        limit_confidence : float, optional
            One-sided level of the limits: a limit without an error is so many standard errors. By default 0.99865 (3
            sd).
        repeats : bool
            Admit several measurements of one source by one instrument, independent ones of the same flux.

        Raises
        ------
        InputError
            Naming the first row that is wrong: empty names, numbers that are not finite, fluxes that are not positive
            and have no errors, negative counts, exposures or errors that are not positive, repeated cells, instruments
            whose names differ by case or blanks only.
        """
        return cls(
            **assemble(
                instrument,
                source,
                values={"flux": flux, "counts": counts, "log_rate": log_rate},
                scale=scale,
                errors={"error": error, "log_error": log_error},
                confidence=confidence,
                limits=(limit, limit_confidence),
                exposure=exposure,
                band=band,
                time=time,
                campaign=campaign,
                repeats=repeats,
                where=where,
                units={"flux_unit": flux_unit, "time_unit": time_unit},
                assumed=assumed,
            )
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
        return cls(**matrix_fields(log_rate, instruments, sources, variance, label))

    @classmethod
    def from_ratios(
        cls,
        instrument: Sequence[str] | NDArray,
        to: Sequence[str] | NDArray,
        ratio: ArrayLike,
        *,
        error: ArrayLike | None = None,
        log_error: ArrayLike | None = None,
        confidence: float | None = None,
        where: str = "the ratios",
        assumed: tuple[str, ...] = (),
    ) -> Comparison:
        """Build from published ratios of pairs of instruments, ``ratio`` = flux of ``instrument`` over flux of ``to``.

        Parameters
        ----------
        ratio : array (n,)
        error, log_error : array (n,), optional
            Standard errors of the ratios, or of their natural logarithms.
        confidence : float, optional
            Level of the intervals that errors stand for; by default they are standard errors.

        Raises
        ------
        InputError
            If a ratio or an error is not positive, or both instruments are one.
        """
        size = standard_errors(confidence, where)
        log_ratio, variance = checked_ratios(instrument, to, ratio, error, log_error, size, where)
        cells = ratio_cells(instrument, to, log_ratio, variance)
        return replace(cls.from_cells(**cells, where=where, assumed=assumed), ratios=True)

    def with_known(self, known: Mapping[str, Sequence[float]]) -> Comparison:
        """Return the comparison with sources whose flux is known: they fix what all areas have in common.

        Parameters
        ----------
        known : mapping of source to (flux, standard error)

        Raises
        ------
        InputError
            If a source was not measured, the measurements have no errors, or a number is not positive.
        """
        return replace(self, **known_cells(self, known))

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

    @property
    def half(self) -> float:
        """Factor of -s in the mean of y: 1/2, so that E[c] = A F; 0 for additive data."""
        return 0.0 if self.additive else 0.5

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
        """Whether every channel sees every column once."""
        return self.n_cells == self.n_channels * self.n_columns and not self.repeated

    @cached_property
    def repeated(self) -> bool:
        """Whether a channel measures a column more than once."""
        return bool(np.any((np.diff(self.row) == 0) & (np.diff(self.column) == 0)))

    def matrix(self, values: ArrayLike | None = None) -> Floats:
        """Return cell values (y by default) as a matrix (M, N) with NaN where there is no cell.

        Raises
        ------
        InputError
            If a channel measures a column more than once.
        """
        if self.repeated:
            raise InputError("repeated measurements do not fit into a matrix", where=self.label, expected="one each")
        full = np.full((self.n_columns, self.n_channels), np.nan)
        full[self.column, self.row] = self.log_rate if values is None else values
        return full

    def take(self, cells: NDArray) -> Comparison:
        """Return the comparison with some cells (a mask or positions), and the channels and columns that remain.

        Channels and columns keep their order; the cells must be in the order of the columns.
        """
        rows, row = np.unique(self.row[cells], return_inverse=True)
        used, column = np.unique(self.column[cells], return_inverse=True)
        chosen = {
            name: None if (values := getattr(self, name)) is None else np.ascontiguousarray(values[cells])
            for name in CELL_FIELDS
        }
        return replace(
            self,
            channels=tuple(self.channels[i] for i in rows),
            columns=tuple(self.columns[j] for j in used),
            row=row.ravel().astype(np.int32),
            column=column.ravel().astype(np.int32),
            campaign=None if self.campaign is None else self.campaign[used],
            **chosen,  # type: ignore[arg-type]
        )

    def without_channel(self, index: int) -> Comparison:
        """Return the comparison without one channel and without the columns that only this channel sees."""
        return self.take(self.row != index)

    def require_logarithms(self) -> None:
        """Check that log models can use the data.

        Raises
        ------
        InputError
            Naming the first cell whose counts are zero, whose flux is not positive, or which is a limit.
        """
        bad = np.flatnonzero(~np.isfinite(self.log_rate))
        if not len(bad):
            return
        k = int(bad[0])
        source, instrument = self.columns[self.column[k]][0], self.channel_names[self.row[k]]
        cell = f"source {source!r} in {instrument!r}"
        if self.counts is not None:
            raise InputError(
                f"the counts of {cell} are zero, whose logarithm does not exist",
                where=self.label,
                expected="positive counts, or noise = 'poisson'",
            )
        assert self.flux is not None
        limited = self.limit is not None and self.limit[k] != 0
        raise InputError(
            f"the flux of {cell} is a limit" if limited else f"the flux of {cell} is {self.flux[k]:g}, not positive",
            where=self.label,
            expected="positive fluxes for this model, or noise = 'gaussian-flux', which takes them as they are",
        )


#: Fields with one entry a cell, beside row and column.
CELL_FIELDS = (
    "log_rate", "variance", "counts", "exposure", "time", "flux", "flux_low", "flux_high", "limit",
)  # fmt: skip
