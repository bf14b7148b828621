"""Light curves of one source from several telescopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.sketch import Sketch
from crosscal.core.units import plain
from crosscal.lightcurves.timesystem import SCALES, TimeSystem


@dataclass(frozen=True, eq=False)
class LightCurve:
    """One quantity (the continuum or a line) observed by all telescopes, sorted by time.

    Attributes
    ----------
    name : str
    codes : tuple of str, length k
        Telescopes, in order; a telescope may have no points.
    time : array (N,)
        Any unit, usually days; ties keep the order of input.
    flux, error : array (N,)
        Linear flux units; errors > 0.
    code : int array (N,)
        Index into ``codes``.
    flag : int array (N,)
        Number of the error group inside the code, 0 .. in order of first appearance in the input.
    flag_labels : tuple of tuple of int
        The labels as they were given, per code.
    order : int array (N,)
        Index of each point in the input order.
    unit : str
        Unit of the fluxes (for labels).

    Raises
    ------
    InputError
        If lengths differ, a value is not finite, an error is not positive, or there are no points.

    Examples
    --------
    >>> curves = lightcurves.read("telescope_A.csv", "telescope_B.csv")  # doctest: +SKIP
    >>> curve = curves.continuum  # doctest: +SKIP
    >>> curve.time, curve.flux, curve.error, curve.counts  # doctest: +SKIP
    """

    name: str
    codes: tuple[str, ...]
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    code: NDArray[np.int64]
    flag: NDArray[np.int64]
    flag_labels: tuple[tuple[int, ...], ...]
    order: NDArray[np.int64]
    unit: str = ""

    __repr__ = brief
    _repr_html_ = brief_html

    def _sketch_(self) -> Sketch:
        return Sketch(self.time, self.flux, "time", f"flux ({self.unit})" if self.unit else "flux", points=True)

    @classmethod
    def build(
        cls,
        name: str,
        codes: Sequence[str],
        time: ArrayLike,
        flux: ArrayLike,
        error: ArrayLike,
        code: ArrayLike,
        flag: ArrayLike | None = None,
        *,
        unit: str = "",
        rows: Sequence[str] | None = None,
    ) -> LightCurve:
        """Sort, number the flags and check. ``rows`` names each point's place in its file, for messages."""
        t, f, e = (np.asarray(x, dtype=float).ravel() for x in (time, flux, error))
        c = np.asarray(code, dtype=np.int64).ravel()
        labels = np.zeros(len(t), dtype=np.int64) if flag is None else np.asarray(flag, dtype=np.int64).ravel()
        if not len(t) == len(f) == len(e) == len(c) == len(labels):
            raise InputError("columns differ in length", where=f"light curve {name!r}", expected="equal lengths")
        if len(t) == 0:
            raise InputError("no points", where=f"light curve {name!r}", expected="at least one point")
        if len(set(codes)) != len(codes):
            raise InputError("a telescope name repeats", where=f"light curve {name!r}", expected="each code once")
        for values, what in ((t, "time"), (f, "flux"), (e, "error")):
            _check(np.isfinite(values), values, f"{what} is not finite", "a finite number", name, rows)
        _check(e > 0, e, "error is not positive", "an error > 0", name, rows)
        numbered = np.zeros_like(labels)
        found = []
        for i in range(len(codes)):
            mine = np.flatnonzero(c == i)
            values, first = np.unique(labels[mine], return_index=True)
            ordered = values[np.argsort(first)]
            found.append(tuple(int(v) for v in ordered) or (0,))
            for k, label in enumerate(ordered):
                numbered[mine[labels[mine] == label]] = k
        order = np.argsort(t, kind="stable")
        return cls(
            name, tuple(codes), t[order], f[order], e[order], c[order], numbered[order], tuple(found), order, unit
        )

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of points per code, shape (k,)."""
        return np.bincount(self.code, minlength=len(self.codes))

    @property
    def span(self) -> float:
        """Last minus first time."""
        return float(self.time[-1] - self.time[0])

    def __len__(self) -> int:
        return len(self.time)

    def take(self, keep: NDArray[np.bool_]) -> LightCurve:
        """Return the points where ``keep`` (in time order) is true."""
        back = np.argsort(self.order[keep], kind="stable")  # in input order, so that flags are numbered alike
        pick = np.flatnonzero(keep)[back]
        labels = np.array([self.flag_labels[c][k] for c, k in zip(self.code[pick], self.flag[pick], strict=True)])
        return LightCurve.build(
            self.name, self.codes, self.time[pick], self.flux[pick], self.error[pick], self.code[pick],
            labels.astype(np.int64), unit=self.unit,
        )  # fmt: skip

    def of_code(self, code: str) -> NDArray[np.int64]:
        """Return the indices of the points of one telescope."""
        if code not in self.codes:
            raise UnknownNameError("telescope", code, self.codes, where=f"light curve {self.name!r}")
        return np.flatnonzero(self.code == self.codes.index(code))


def _check(
    good: NDArray[np.bool_], values: NDArray, what: str, expected: str, name: str, rows: Sequence[str] | None
) -> None:
    if not np.all(good):
        k = int(np.flatnonzero(~good)[0])
        place = rows[k] if rows is not None else f"light curve {name!r}, point {k}"
        raise InputError(f"{what} ({values[k]:g})", where=place, expected=expected)


@dataclass(frozen=True, eq=False)
class LightCurves:
    """The continuum and any number of lines, observed by the same telescopes.

    The scale factor of a telescope is common to all of them; each has its own variability and mean. ``time_format``
    ("jd", "mjd") says what ``time + time_zero`` is, where it is known, ``time_scale`` and ``time_frame`` as in
    `TimeSystem`. ``notes`` tells what the reader left out, converted and assumed.

    Raises
    ------
    InputError
        If a line lists other codes than the continuum.

    Examples
    --------
    >>> curves = lightcurves.read("ztf.csv", "atlas.txt", "mine.dat")  # doctest: +SKIP
    >>> curves = lightcurves.LightCurves.of({"A": (time, flux, error), "B": (time2, flux2, error2)})  # doctest: +SKIP
    """

    continuum: LightCurve
    lines: tuple[LightCurve, ...] = ()
    time_unit: str = "d"
    time_format: str = ""
    time_zero: float = 0.0
    time_scale: str = ""
    time_frame: str = ""
    notes: tuple[str, ...] = ()

    __repr__ = brief
    _repr_html_ = brief_html

    def _sketch_(self) -> Sketch:
        return replace(self.continuum._sketch_(), x_label=f"time ({self.time_unit})")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(self.lines))
        for line in self.lines:
            if line.codes != self.continuum.codes:
                raise InputError(
                    f"the codes are {', '.join(line.codes)}",
                    where=f"line {line.name!r}",
                    expected=f"the codes of the continuum in the same order: {', '.join(self.continuum.codes)}",
                )

    @classmethod
    def of(cls, curves: LightCurves | Mapping[str, tuple[ArrayLike, ...]]) -> LightCurves:
        """Return light curves as they are, or build them from what a reader of survey tables gives.

        Raises
        ------
        InputError
            For anything else.
        """
        if isinstance(curves, cls):
            return curves
        if isinstance(curves, Mapping):
            return cls.from_arrays(curves)
        raise InputError(
            f"curves of type {type(curves).__name__}",
            where="light curves",
            expected="LightCurves, or a mapping of code to (time, flux, error); join several tables by merge",
        )

    @classmethod
    def from_arrays(
        cls,
        curves: Mapping[str, tuple[ArrayLike, ...]],
        *,
        name: str = "continuum",
        unit: str = "",
        time_unit: str = "d",
    ) -> LightCurves:
        """Build from a mapping of code to (time, flux, error[, flag]); the first code is the reference.

        Times may be astropy Times, which become MJD in the scale of the first. Points with a masked or missing value
        are left out, and told in ``notes``.

        Raises
        ------
        InputError
            If columns differ in length, some times are astropy Times and others are not, or nothing is left.
        """
        dated, system = _dated(curves)
        kept, notes = _without_missing(dated)
        return cls(
            curve_from_arrays(kept, name=name, unit=unit), time_unit=time_unit, time_format=system.format,
            time_scale=system.scale, notes=notes,
        )  # fmt: skip

    @property
    def system(self) -> TimeSystem:
        """What the times count."""
        return TimeSystem(self.time_format, self.time_zero, self.time_scale, self.time_frame)

    @property
    def codes(self) -> tuple[str, ...]:
        """Telescopes in order."""
        return self.continuum.codes

    @property
    def files(self) -> tuple[LightCurve, ...]:
        """The continuum followed by the lines."""
        return (self.continuum, *self.lines)

    @property
    def n_flags(self) -> int:
        """Largest number of flags of any code."""
        return max(len(labels) for curve in self.files for labels in curve.flag_labels)

    def __len__(self) -> int:
        return sum(len(curve) for curve in self.files)

    def between(self, start: float = -np.inf, stop: float = np.inf) -> LightCurves:
        """Return the points with start <= time <= stop."""
        return self._map(lambda curve: curve.take((curve.time >= start) & (curve.time <= stop)))

    def times(self, values: Any, *, where: str) -> NDArray[np.float64]:
        """Return times as these light curves count them, from numbers, quantities or astropy Times.

        Raises
        ------
        InputError
            For a quantity that is not a time, and for Times where it is not known what the light curves count.
        """
        if not hasattr(values, "jd"):
            return np.asarray(plain(values, self.time_unit, where=where), dtype=float)
        if not self.time_format:
            raise InputError(
                "astropy Times", where=where, expected="numbers: these light curves do not say what their times count"
            )
        return np.asarray(getattr(_in_scale(values, self.time_scale), self.time_format), dtype=float) - self.time_zero

    def reordered(self, reference: str) -> LightCurves:
        """Return the same data with ``reference`` as the first code.

        Raises
        ------
        UnknownNameError
            If there is no such code.
        """
        if reference not in self.codes:
            raise UnknownNameError("telescope", reference, self.codes, where="reference")
        if reference == self.codes[0]:
            return self
        order = [self.codes.index(reference), *(i for i, c in enumerate(self.codes) if c != reference)]
        new_index = np.argsort(order)

        def change(curve: LightCurve) -> LightCurve:
            return replace(
                curve,
                codes=tuple(curve.codes[i] for i in order),
                code=new_index[curve.code],
                flag_labels=tuple(curve.flag_labels[i] for i in order),
            )

        return self._map(change)

    def _map(self, change: Any) -> LightCurves:
        return replace(self, continuum=change(self.continuum), lines=tuple(change(line) for line in self.lines))


def _in_scale(times: Any, scale: str) -> Any:
    return getattr(times, scale or "utc")


def _dated(curves: Mapping[str, tuple[Any, ...]]) -> tuple[dict[str, tuple[Any, ...]], TimeSystem]:
    """Turn astropy Times into MJD of one scale."""
    times = {code: hasattr(parts[0], "jd1") for code, parts in curves.items() if len(parts)}
    if not any(times.values()):
        return dict(curves), TimeSystem()
    if not all(times.values()):
        plain_code = next(code for code, is_time in times.items() if not is_time)
        raise InputError(
            "plain numbers", where=f"code {plain_code!r}, times", expected="astropy Times, as other codes have"
        )
    first = next(iter(curves.values()))[0].scale
    scale = first if first in SCALES else "utc"
    return {
        code: (np.ma.asarray(_in_scale(parts[0], scale).mjd, dtype=float), *parts[1:]) for code, parts in curves.items()
    }, TimeSystem("mjd", scale=scale)


def _without_missing(curves: Mapping[str, tuple[Any, ...]]) -> tuple[dict[str, tuple[Any, ...]], tuple[str, ...]]:
    """Leave out points that are masked or NaN in some column; an infinite value stays, to be refused."""
    kept, notes = {}, []
    for code, parts in curves.items():
        columns = [getattr(part, "unmasked", part) if not np.ma.isMaskedArray(part) else part for part in parts]
        masks = [np.ravel(np.asarray(getattr(part, "mask", False))) for part in parts]
        sizes = {np.size(np.ma.getdata(getattr(c, "value", c))) for c in columns}
        if len(sizes) != 1:
            kept[code] = parts  # told by the check of lengths
            continue
        bad = np.zeros(sizes.pop(), dtype=bool)
        for part, mask in zip(columns, masks, strict=True):
            values = np.ravel(np.ma.getdata(getattr(part, "value", part)))
            bad |= (mask if mask.size == bad.size else False) | (
                np.isnan(values) if values.dtype.kind == "f" else False
            )
        if bad.any():
            columns = [np.ma.getdata(np.atleast_1d(c)) if np.ma.isMaskedArray(c) else np.atleast_1d(c) for c in columns]
            columns = [_ravelled(c)[~bad] for c in columns]
            notes.append(f"{code}: {int(bad.sum())} of {bad.size} points are masked or NaN and are not used")
        kept[code] = tuple(columns)
    return kept, tuple(notes)


def _ravelled(column: Any) -> Any:
    return column.ravel() if hasattr(column, "ravel") else np.ravel(column)


def curve_from_arrays(curves: Mapping[str, tuple[ArrayLike, ...]], *, name: str, unit: str = "") -> LightCurve:
    """Build one light curve from a mapping of code to (time, flux, error[, flag]) columns; plain times are in days."""
    columns: list[list[NDArray]] = [[], [], [], []]
    code = []
    rows: list[str] = []
    for i, (label, parts) in enumerate(curves.items()):
        if len(parts) not in (3, 4):
            raise InputError(
                f"{len(parts)} columns", where=f"code {label!r}", expected="time, flux, error and optionally a flag"
            )
        unit = unit or str(getattr(parts[1], "unit", None) or "")
        units = ("d", unit, unit, "")[: len(parts)]
        arrays = [
            np.atleast_1d(np.asarray(plain(p, u, where=f"code {label!r}"))).ravel()
            for p, u in zip(parts, units, strict=True)
        ]
        n = len(arrays[0])
        if len(arrays) == 3:
            arrays.append(np.zeros(n, dtype=int))
        if any(len(a) != n for a in arrays):
            raise InputError("columns differ in length", where=f"code {label!r}", expected="equal lengths")
        for column, a in zip(columns, arrays, strict=True):
            column.append(a)
        code.append(np.full(n, i))
        rows += [f"code {label!r}, point {k}" for k in range(n)]
    if not curves:
        raise InputError("no telescopes", where=f"light curve {name!r}", expected="at least one code")
    time, flux, error, flag = (np.concatenate(c) for c in columns)
    return LightCurve.build(name, tuple(curves), time, flux, error, np.concatenate(code), flag, unit=unit, rows=rows)
