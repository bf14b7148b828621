"""The SPECTRUM table of a PHA file, type I or II.

References
----------
Arnaud, George & Tennant 2009, OGIP/92-007 and its addendum 92-007a.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.units import plain
from crosscal.xray.instrument.links import LINKS
from crosscal.xray.instrument.ogip_arf import mission_of
from crosscal.xray.instrument.ogip_rates import count_scale, seconds_of, tell_disagreement, tell_fractions
from crosscal.xray.instrument.ogip_table import Table
from crosscal.xray.instrument.spectrum import Spectrum, widened

Floats = NDArray[np.float64]
Flags = NDArray[np.int16]

#: Columns of background counts on both sides of a spectrum of Chandra's gratings, and their scales.
OWN_BACKGROUND = MappingProxyType({"BACKGROUND_UP": "BACKSCUP", "BACKGROUND_DOWN": "BACKSCDN"})
#: More channels than any detector has.
MOST_CHANNELS = 2**20
_FALSE = ("F", "FALSE", "N", "NO", "0", "0.0")


class SpectrumTable:
    """The SPECTRUM table of a file; ``exposure`` replaces that of the file."""

    def __init__(self, table: Table, hdus: fits.HDUList, exposure: float | None = None) -> None:
        self.table, self.hdus, self.primary = table, hdus, hdus[0].header
        self.exposure = None if exposure is None else float(plain(exposure, "s", where="exposure"))
        present = [column for column in ("COUNTS", "RATE") if table.has(column)]
        if not present:
            raise table.error("there is no column COUNTS", expected="COUNTS or RATE")
        self.column = present[0]
        self.columns: dict[str, Floats] = {}
        self.is_single = np.ndim(table.raw(self.column)) == 1
        if "kev" in str(table.hdu.columns[table.columns[self.column]].unit or "").lower():
            raise table.error("the values are per keV", column=self.column, expected="values per channel")

    def spectrum(self, row: int | None) -> tuple[Spectrum, bool]:
        """Build the spectrum of one row of type II (None: the whole table of type I).

        Returns
        -------
        Spectrum, bool
            The latter says whether BACKSCAL can be used, which only a background needs.
        """
        table = self.table
        shared = len(table.notes)
        exposure = self._exposure(row)
        unit = count_scale(table, self.column, exposure, rate=self.column == "RATE")
        n = table.rows if row is None else np.shape(table.raw(self.column))[1]
        quality = self._flags("QUALITY", row, n, low=-1, high=32767)
        good = quality == 0
        counts = self._vector(self.column, row, n, good) * unit
        errors = self._errors(row, n, good, exposure)
        if self.column == "COUNTS" and table.has("RATE"):
            rate = self._vector("RATE", row, n, good) * count_scale(table, "RATE", exposure, rate=True)
            tell_disagreement(table, counts[good], rate[good])
        if self.column == "COUNTS" and errors is None:
            tell_fractions(table, counts[good])
        if np.any(counts < 0) and errors is None:
            channel = int(np.argmin(counts))
            raise table.error(
                f"the value is {counts[channel] / unit:g}", column=self.column, row=channel if row is None else row,
                expected="at least 0, or errors in a column STAT_ERR (with POISSERR = F) for net counts",
            )  # fmt: skip
        backscale, scaled = self._scale("BACKSCAL", row, n, good)
        areascale, positive = self._scale("AREASCAL", row, n, good)
        if not positive:
            raise table.error("AREASCAL is 0", expected="a positive number")
        first, lowest, total = self._channels(row, n)
        own = self._own_background(row, n, exposure, areascale, first)
        self._tell_correction_file(row)
        if str(self._keyword("HDUCLAS2", None) or "").strip().upper() == "NET" and errors is None:
            table.note("HDUCLAS2 is NET: the background is already subtracted, so counts are not Poisson distributed")
        path = table.path
        tag = "" if row is None else f"#{row + 1}"
        spectrum = Spectrum(
            counts,
            exposure,
            backscale=backscale,
            areascale=areascale,
            quality=quality,
            grouping=self._flags("GROUPING", row, n, low=-1, high=1),
            first_channel=first,
            background=own,
            stat_error=errors,
            sys_error=self._systematic(row, n, good),
            name=Path(path).name.split(".")[0] + tag,
            files={"pha": path},
            links=self._links(row),
            notes=tuple(table.notes),
            mission=mission_of(table.header, self.primary),
            time=self._time(row),
        )
        # What belongs to this row only is not told of the next one.
        del table.notes[shared if row is not None else len(table.notes) :]
        return spectrum if total == n else widened(spectrum, lowest, total), scaled

    def _own_background(
        self, row: int | None, n: int, exposure: float, areascale: float | Floats, first: int
    ) -> Spectrum | None:
        """Return the sum of the background counts beside the spectrum, where columns and scales of both sides exist.

        A grating's background regions lie on both sides of the dispersed spectrum; BACKSCUP and BACKSCDN are their
        widths as BACKSCAL is the source's.
        """
        table = self.table
        if not all(table.has(column) for column in OWN_BACKGROUND):
            return None
        scales = [_number(self._keyword(key, row)) for key in OWN_BACKGROUND.values()]
        if not all(np.isfinite(scale) and scale > 0 for scale in scales):
            names = " and ".join(OWN_BACKGROUND.values())
            table.note(f"columns {' and '.join(OWN_BACKGROUND)} are not used: {names} are not positive numbers")
            return None
        counts = sum((self._vector(column, row, n) for column in OWN_BACKGROUND), np.zeros(n))
        return Spectrum(counts, exposure, backscale=sum(scales), areascale=areascale, first_channel=first)

    def _tell_correction_file(self, row: int | None) -> None:
        """Tell of XSPEC's correction file, which is not used."""
        name = str(self._keyword("CORRFILE", row) or "").strip()
        if name.lower() not in ("", "none", "null", "unknown"):
            self.table.note(f"the correction file {name} that CORRFILE names is not used")

    def _vector(self, column: str, row: int | None, n: int, good: NDArray[np.bool_] | None = None) -> Floats:
        """Return n values; where channels are not ``good`` they may be anything and become 0 if not finite."""
        if row is None:
            values = self.table.values(column, finite=good is None, boolean=True)
        else:
            # One number a row stands for all channels.
            ndim = min(np.ndim(self.table.raw(column)), 2) or 1
            if column not in self.columns:
                self.columns[column] = self.table.values(column, ndim=ndim, finite=False, boolean=True)
            values = self.columns[column][row]
            values = np.full(n, float(values)) if ndim == 1 else values.copy()
        if values.shape != (n,):
            raise self.table.error(
                f"a row holds {values.size} values", column=column, expected=f"{n}, as {self.column}"
            )
        bad = ~np.isfinite(values)
        used = bad if good is None else bad & good
        if used.any():
            k = int(np.flatnonzero(used)[0])
            raise self.table.error(
                f"the value is {values[k]}", column=column, row=k if row is None else row, expected="a finite number"
            )
        if bad.any():
            self.table.note(f"column {column} has {bad.sum()} values that are not finite, all of bad QUALITY")
            values[bad] = 0.0
        return values

    def _keyword(self, key: str, row: int | None) -> Any:
        """Return a value per spectrum: a column of type II, or the table's or the first HDU's keyword."""
        if row is not None and self.table.has(key):
            return np.asarray(self.table.raw(key)[row])
        return self.table.header.get(key, self.primary.get(key))

    def _exposure(self, row: int | None) -> float:
        if self.exposure is None:
            value = self._keyword("EXPOSURE", row)
            if value is None:
                raise self.table.error(
                    "there is no keyword EXPOSURE",
                    expected="a positive number of seconds, or exposure given explicitly",
                )
            header = self.table.header if "EXPOSURE" in self.table.header else self.primary
            return self._positive("EXPOSURE", value, row) * seconds_of(self.table, row, header)
        if not (np.isfinite(self.exposure) and self.exposure > 0):
            raise self.table.error(f"an exposure of {self.exposure:g} s is given", expected="a positive number")
        self.table.note(f"the exposure is {self.exposure:g} s, as given, instead of {self._keyword('EXPOSURE', row)}")
        return self.exposure

    def _positive(self, key: str, value: Any, row: int | None) -> float:
        number = _number(value)
        if not (np.isfinite(number) and number > 0):
            raise self.table.error(f"{key} is {value}", row=row, expected="a positive number")
        return number

    def _scale(self, key: str, row: int | None, n: int, good: NDArray[np.bool_]) -> tuple[float | Floats, bool]:
        """Return a scale, and whether it can be used: a keyword of 0 stands for one that was not filled in."""
        vector = self.table.has(key) and (row is None or np.ndim(self.table.raw(key)) == 2)
        if not vector:
            value = self._keyword(key, row)
            if value is None:
                self.table.note(f"there is no {key}; 1 is assumed")
                return 1.0, True
            if _number(value) == 0:
                self.table.note(f"{key} is 0; 1 is used")
                return 1.0, False
            return self._positive(key, value, row), True
        values = self._vector(key, row, n, good)
        wrong = values <= 0
        if np.any(wrong & good):
            k = int(np.flatnonzero(wrong & good)[0])
            raise self.table.error(
                f"the value is {values[k]:g}", column=key, row=k if row is None else row,
                expected="a positive number where QUALITY is good",
            )  # fmt: skip
        if wrong.any():
            self.table.note(f"column {key} has {wrong.sum()} values that are not positive, all of bad QUALITY")
            values = np.where(wrong, 1.0, values)
        return values, True

    def _errors(self, row: int | None, n: int, good: NDArray[np.bool_], exposure: float) -> Floats | None:
        """Return the errors of the counts where they are not Poisson."""
        table = self.table
        flag = self._keyword("POISSERR", row)
        poisson = flag is not None and str(flag).strip().upper() not in _FALSE
        if not table.has("STAT_ERR"):
            if flag is not None and not poisson:
                table.note("POISSERR is false and there is no column STAT_ERR; Poisson errors are used")
            return None
        errors = self._vector("STAT_ERR", row, n, good)
        if np.any(errors < 0):
            k = int(np.argmin(errors))
            raise table.error(
                f"the value is {errors[k]:g}", column="STAT_ERR", row=k if row is None else row, expected="at least 0"
            )
        if not errors.any():
            if not poisson:
                table.note("column STAT_ERR is zero; Poisson errors are used")
            return None
        if poisson:
            table.note("POISSERR is true; column STAT_ERR is not used")
            return None
        return errors * count_scale(table, "STAT_ERR", exposure, rate=self.column == "RATE")

    def _systematic(self, row: int | None, n: int, good: NDArray[np.bool_]) -> Floats | None:
        if self.table.has("SYS_ERR"):
            values = self._vector("SYS_ERR", row, n, good)
        else:
            value = self._keyword("SYS_ERR", row)
            number = 0.0 if value is None else _number(value)
            if not np.isfinite(number):
                raise self.table.error(f"SYS_ERR is {value}", expected="a number")
            values = np.full(n, number)
        if np.any(values < 0):
            raise self.table.error(f"a value is {values.min():g}", column="SYS_ERR", expected="at least 0")
        if np.any(values[good] >= 1):
            most = 100 * values[good].max()
            self.table.note(f"SYS_ERR is a fraction of the counts: its largest value means {most:.3g} %")
        return values if values.any() else None

    def _flags(self, key: str, row: int | None, n: int, *, low: int, high: int) -> Flags:
        if self.table.has(key):
            flags = self._vector(key, row, n)
        else:
            flags = np.full(n, _number(self._keyword(key, None) or 0))
        bad = ~((flags >= low) & (flags <= high) & (flags == np.rint(flags)))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise self.table.error(
                f"the flag is {flags[k]:g}",
                column=key,
                row=k if row is None else row,
                expected=f"a whole number from {low} to {high}",
            )
        return flags.astype(np.int16)

    def _channels(self, row: int | None, n: int) -> tuple[int, int, int]:
        """Return the number of the first channel, and the first and number of all channels of the detector.

        The latter are TLMIN and DETCHANS where a file holds a part of them only; without TLMIN, from 1, or from 0 where
        the part begins with 0.
        """
        table = self.table
        if not table.has("CHANNEL"):
            if row is None:
                raise table.error("there is no column CHANNEL", expected="channel numbers")
            table.check_channels(n, "channels")
            first = self._counted(n)
            return first, first, n
        first, total = self._first_channel(row, n), table.declared_channels or n
        low, high = table.limit("TLMIN", "CHANNEL"), table.limit("TLMAX", "CHANNEL")
        lowest = min(first, 1) if low is None else low
        ends = (lowest + total, lowest + total if high is None else high + 1)
        if not n < total <= MOST_CHANNELS or first < lowest or first + n > ends[0] or ends[0] != ends[1]:
            table.check_channels(n, "channels")
            return first, first, n
        table.note(
            f"the file holds channels {first} to {first + n - 1} of {lowest} to {lowest + total - 1}; "
            "the others are not used, as bad ones are not"
        )
        return first, lowest, total

    def _first_channel(self, row: int | None, n: int) -> int:
        table = self.table
        channels = self._vector("CHANNEL", row, n)
        wrong = np.flatnonzero(np.diff(channels) != 1)
        if wrong.size:
            k = int(wrong[0]) + 1
            raise table.error(
                f"channel {channels[k]:g} follows {channels[k - 1]:g}",
                column="CHANNEL",
                row=k if row is None else row,
                expected="consecutive channels",
            )
        return int(channels[0])

    def _counted(self, n: int) -> int:
        """Return the first channel of a file without CHANNEL: that of the file's own EBOUNDS, or 1."""
        for hdu in self.hdus:
            if hdu.name.upper() == "EBOUNDS" and isinstance(hdu, fits.BinTableHDU):
                bounds = Table(self.table.path, hdu)
                if bounds.rows == n and bounds.has("CHANNEL"):
                    return int(bounds.integers("CHANNEL")[0])
        self.table.note("there is no column CHANNEL; channels are counted from 1")
        return 1

    def _time(self, row: int | None) -> tuple[float, float] | None:
        """Return start and stop in seconds of the mission's clock, where the file has them."""
        for start, stop in (("TIME", "ENDTIME"), ("TSTART", "TSTOP")):
            values = [self._keyword(key, row) for key in (start, stop)]
            numbers = [np.nan if value is None else _number(value) for value in values]
            if np.all(np.isfinite(numbers)):
                return numbers[0], numbers[1]
        return None

    def _links(self, row: int | None) -> dict[str, str]:
        links = {}
        for role, key in LINKS.items():
            value = str(self._keyword(key, row) or "").strip()
            if value.lower() not in ("", "none", "null", "unknown"):
                links[role] = value
        return links


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
