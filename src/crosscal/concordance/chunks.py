"""Sums over the sources of a Parquet table that no memory holds, chunk by chunk, on any executor.

A chunk is some row groups. Sources are sorted, so that each belongs to one chunk: that of its first row. The sums of
chunks are added in their order, so that the result has the same bits for every executor and number of workers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.compute import Store, Variable, sweep
from crosscal.concordance.coding import refuse_look_alikes
from crosscal.concordance.expansion_sums import column_sums
from crosscal.concordance.model import BRIGHT, signal_to_noise
from crosscal.concordance.parquet import column_names, distinct_rows, open_parquet, parquet_batches
from crosscal.concordance.reading_cells import Request
from crosscal.concordance.table_columns import joined, selected
from crosscal.concordance.types import Comparison
from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.reading import parsing

Floats = NDArray[np.float64]
#: Row groups are joined to chunks of at least so many rows.
LEAST_ROWS = 200_000
#: What is counted in each chunk, beside measurements by channel.
COUNTED = ("cells", "sources", "lonely", "faint", "left_out")


@dataclass(frozen=True)
class Chunk:
    """Row groups of a chunk.

    ``skip`` is a source that belongs to the chunk before, ``more`` the row group in which source ``last`` ends.
    """

    groups: tuple[int, ...]
    skip: Any = None
    more: int | None = None
    last: Any = None


@dataclass(frozen=True)
class ChunkedTable:
    """A Parquet table sorted by source.

    Attributes
    ----------
    path : Path
    request : Request
        Its columns.
    channels : tuple of (instrument, band)
    chunks : tuple of Chunk
    """

    path: Path
    request: Request
    channels: tuple[tuple[str, str], ...]
    chunks: tuple[Chunk, ...]

    @classmethod
    def open(cls, path: Path, request: Request) -> ChunkedTable:
        """Find channels and chunks.

        Raises
        ------
        InputError
            If a source is named by several columns, or no row is selected.
        DataFileError
            If the table is not sorted by source.
        """
        if not isinstance(request.source, str):
            raise InputError("several columns name the sources", where=str(path), expected="one column of sources")
        file = open_parquet(path)
        source = column_names(file, [request.source], str(path))[-1]
        with parsing("the table cannot be read", where=str(path), expected="columns of names in a Parquet table"):
            chunks = _chunks(file, source, str(path))
        return cls(path, request, _channels(path, request), chunks)

    def read(self, number: int) -> Comparison | None:
        """Return the comparison of one chunk; None if no row of it is selected.

        Raises
        ------
        DataFileError
            If a source comes twice, with others between, or the chunk is empty.
        """
        chunk = self.chunks[number]
        wanted = self.request.columns
        tables = []
        for table in parquet_batches(self.path, wanted, chunk.groups):
            source = np.asarray(table[str(self.request.source)])
            tables.append(table if chunk.skip is None else table[source != chunk.skip])
        if chunk.more is not None:
            ends = parquet_batches(self.path, wanted, [chunk.more])
            tables += [table[np.asarray(table[str(self.request.source)]) == chunk.last] for table in ends]
        where = f"{self.path}, chunk {number}"
        if not sum(map(len, tables)):
            raise DataFileError("no rows", where=where, expected="one row a measurement")
        with parsing("the column of sources cannot be used", where=where, expected="names or numbers"):
            names = np.concatenate([np.asarray(t[str(self.request.source)]) for t in tables])
            changes, distinct = int(np.sum(names[1:] != names[:-1])), len(np.unique(names))
        if 1 + changes != distinct:
            raise _unsorted(where)
        if self.request.select and not any(np.any(selected(t, self.request.select, where)) for t in tables):
            return None
        return self.request.assembled(tables, where, part=True)


def _channels(path: Path, request: Request) -> tuple[tuple[str, str], ...]:
    """Instruments and bands of the selected rows, in the order in which they appear.

    Raises
    ------
    InputError
        If there is none, names differ by case or blanks only, or ``rename`` names an instrument that there is not.
    """
    found: dict[tuple[str, str], None] = {}
    where, rename = str(path), request.rename or {}
    listed = ([x] if isinstance(x, str) else list(x or ()) for x in (request.instrument, request.band, request.select))
    for batch in distinct_rows(path, list(dict.fromkeys(name for names in listed for name in names))):
        table = batch[selected(batch, request.select, where)] if request.select else batch
        names = joined(table, request.instrument, where).tolist()
        bands = [""] * len(names) if request.band is None else joined(table, request.band, where).tolist()
        found |= dict.fromkeys(zip(names, bands, strict=True))
    if not found:
        raise DataFileError("no row is selected", where=where, expected="a selection that keeps rows")
    known = {name for name, _ in found}
    for old in rename:
        if old not in known:
            raise UnknownNameError("instrument", old, known, where=where)
    channels = tuple(dict.fromkeys((rename.get(name, name), band) for name, band in found))
    for what, names in (("instruments", [c[0] for c in channels]), ("bands", [c[1] for c in channels])):
        refuse_look_alikes(np.array(names), where, what)
    return channels


def _unsorted(where: str) -> DataFileError:
    return DataFileError("the table is not sorted by source", where=where, expected="rows sorted by source")


def _chunks(file: Any, source: str, where: str) -> tuple[Chunk, ...]:
    """Cut the row groups into chunks by the smallest and largest source of each, which the file's metadata hold."""
    place = file.schema_arrow.names.index(source)
    groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
    limits = [g.column(place).statistics for g in groups]
    if any(one is None or not one.has_min_max for one in limits):
        raise DataFileError(
            "the file does not say which sources its row groups hold", where=where,
            expected="a Parquet file with statistics of the source column",
        )  # fmt: skip
    bounds = [(one.min, one.max) for one in limits]
    if any(before[1] > after[0] for before, after in pairwise(bounds)):
        raise _unsorted(where)
    cut: list[list[int]] = [[]]
    rows = 0
    for k, group in enumerate(groups):
        if rows >= LEAST_ROWS:
            cut.append([])
            rows = 0
        cut[-1].append(k)
        rows += group.num_rows
    chunks = []
    for members in cut:
        before, after = members[0] - 1, members[-1] + 1
        skip = bounds[before][1] if before >= 0 and bounds[before][1] == bounds[members[0]][0] else None
        last = bounds[members[-1]][1]
        more = after if after < len(bounds) and bounds[after][0] == last else None
        if more is not None and bounds[after][1] == last:
            raise DataFileError(
                f"source {last!r} fills whole row groups", where=where, expected="row groups of many sources"
            )
        chunks.append(Chunk(tuple(members), skip, more, last))
    return tuple(chunks)


@dataclass(frozen=True)
class SumTask:
    """Sums of a chunk at given areas and variances: what is sent to workers.

    Attributes
    ----------
    table : ChunkedTable
    kind : str
        Of the variance model.
    points : array (K, 2, N)
        Areas and variances.
    slopes : bool
    """

    table: ChunkedTable
    kind: str
    points: Floats
    slopes: bool

    @property
    def size(self) -> int:
        """Numbers of one chunk: K likelihoods, what is counted, and with ``slopes`` gradient and second derivatives."""
        n = len(self.table.channels)
        return len(self.points) + len(COUNTED) + n + n * n + (2 * n + 4 * n * n if self.slopes else 0)

    def __call__(self, chunk: int) -> Mapping[str, ArrayLike]:
        """Return the sums of one chunk."""
        data = self.table.read(chunk)
        if data is None:
            return {"sums": np.zeros((1, self.size))}
        data.require_logarithms()
        n = len(self.table.channels)
        number = {name: k for k, name in enumerate(self.table.channels)}
        row = np.array([number[name] for name in data.channels], dtype=np.int32)[data.row]
        if self.kind != "unknown" and data.variance is None:
            raise InputError(
                f"variance = {self.kind!r} needs quoted errors", where=data.label, expected="an error column"
            )
        v = np.zeros(data.n_cells) if self.kind == "unknown" else data.variance
        gradient, curvature = np.zeros(2 * n), np.zeros((2 * n, 2 * n))
        values = [
            column_sums(  # type: ignore[call-arg]
                data.indptr, row, data.log_rate, v, data.half, self.kind != "quoted", b, s, self.slopes, gradient,
                curvature,
            )
            for b, s in self.points
        ]  # fmt: skip
        per_column = np.diff(data.indptr)
        left_out = sum(int(text.split()[0]) for text in data.assumed if "without a measurement" in text)
        counted = [
            data.n_cells, data.n_columns, np.sum(per_column == 1), np.sum(signal_to_noise(data) < BRIGHT), left_out,
        ]  # fmt: skip
        parts = [values, counted, np.bincount(row, minlength=n), _shared(data.indptr, row, n).ravel()]
        if self.slopes:
            parts += [gradient, curvature.ravel()]
        return {"sums": np.concatenate([np.asarray(p, dtype=float) for p in parts])[None, :]}


def _shared(indptr: NDArray[np.int64], row: NDArray, n: int) -> Floats:
    """Whether two channels see a source in common, for consecutive cells: enough to connect them, (N, N)."""
    together = np.ones(len(row), bool)
    together[indptr[:-1]] = False
    pairs = np.flatnonzero(together)
    return np.bincount(row[pairs - 1].astype(np.int64) * n + row[pairs], minlength=n * n).reshape(n, n).astype(float)


class ChunkSums:
    """The sums over all chunks as a function of areas and variances, computed by an executor.

    ``counted`` and ``per_channel`` hold what was counted once a sum was made.
    """

    def __init__(
        self, table: ChunkedTable, kind: str, executor: Any, options: Mapping[str, Any], progress: Progress = SILENT
    ) -> None:
        self.table, self.kind, self.executor, self.options = table, kind, executor, dict(options)
        self.progress = progress
        self.counted: dict[str, int] = {}
        self.per_channel = np.zeros(len(table.channels), np.int64)
        self.shared = np.zeros((len(table.channels),) * 2)

    def __call__(self, b: Floats, s: Floats, slopes: bool) -> tuple[float, Floats, Floats]:
        """Return log likelihood, gradient and second derivatives (see `expansion.Sums`)."""
        n = len(b)
        sums = self._sums(np.array([[b, s]]), slopes)
        rest = sums[-(2 * n + 4 * n * n) :] if slopes else np.zeros(2 * n + 4 * n * n)
        return float(sums[0]), rest[: 2 * n].copy(), rest[2 * n :].reshape(2 * n, 2 * n).copy()

    def values(self, points: Sequence[tuple[Floats, Floats]]) -> list[float]:
        """Return the log likelihoods at several areas and variances, in one pass over the table."""
        return [float(v) for v in self._sums(np.array(points), False)[: len(points)]]

    def _sums(self, points: Floats, slopes: bool) -> Floats:
        task = SumTask(self.table, self.kind, points, slopes)
        number, n = len(self.table.chunks), len(self.table.channels)
        with tempfile.TemporaryDirectory(prefix="crosscal-sums-") as directory:
            store = Store.create(
                Path(directory) / "sums.zarr", {"sums": Variable(("part", "entry"))}, {}, {"part": 1},
                sizes={"part": number, "entry": task.size},
            )  # fmt: skip
            sweep(task, store, self.executor, progress=self.progress, name="Passing over the table", **self.options)
            total = np.zeros(task.size)
            for k in range(number):
                total += store.read_chunk(k, ["sums"])["sums"][0]
        first = len(points) + len(COUNTED)
        self.counted = dict(zip(COUNTED, total[len(points) : first].astype(int).tolist(), strict=True))
        self.per_channel = total[first : first + n].astype(np.int64)
        self.shared = total[first + n : first + n + n * n].reshape(n, n)
        return np.delete(total, np.arange(len(points), first + n + n * n))
