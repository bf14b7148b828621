"""What the times of a light curve count, and how times of one system become times of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError

#: Days from JD 0 to the zero of each format.
_ZERO = {"jd": 0.0, "mjd": 2400000.5}
#: Scales known here, as astropy spells them.
SCALES = ("utc", "tai", "tt", "tdb", "tcb")
FRAMES = ("geocentric", "heliocentric", "barycentric")
#: Light crosses the astronomical unit in this time (days): the most by which two frames differ.
LIGHT_TIME = 499.004784 / 86400.0
#: What numbers look like that count Julian Dates or modified ones of the years 1900 to 2100.
JD_RANGE, MJD_RANGE = (2415020.0, 2488070.0), (15020.0, 88070.0)


@dataclass(frozen=True)
class TimeSystem:
    """A system of times: t + zero is a (modified) Julian Date of a scale, seen from a place.

    Attributes
    ----------
    format : "jd", "mjd" or ""
        Empty where it is not known.
    zero : float
        Subtracted from the date (2450000, say).
    scale : str
        "utc", "tdb", ...; empty where it is not known.
    frame : "geocentric", "heliocentric", "barycentric" or ""
        Where the light was when the clock was read; empty where it is not known.

    Examples
    --------
    >>> curves.system  # doctest: +SKIP
    """

    format: str = ""
    zero: float = 0.0
    scale: str = ""
    frame: str = ""

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.format, ("", *_ZERO), "time format"),
            (self.scale, ("", *SCALES), "time scale"),
            (self.frame, ("", *FRAMES), "time frame"),
        ):
            if value not in known:
                raise InputError(f"{what} {value!r}", where="time system", expected=", ".join(map(repr, known[1:])))

    def __str__(self) -> str:
        if not self.format:
            return "times of an unknown system"
        kind = {"heliocentric": "H", "barycentric": "B"}.get(self.frame, "") + self.format.upper()
        kind = kind.replace("HMJD", "heliocentric MJD").replace("BMJD", "barycentric MJD")
        scale = f" ({self.scale.upper()})" if self.scale else ""
        return f"{kind}{scale}{f' - {self.zero:.10g}' if self.zero else ''}"

    def guessed(self, time: NDArray[np.float64]) -> TimeSystem:
        """Return the system with a format read off the size of the numbers, if it has none; MJD or JD only."""
        if self.format or not len(time):
            return self
        low, high = float(np.min(time)) + self.zero, float(np.max(time)) + self.zero
        for name, (start, stop) in (("jd", JD_RANGE), ("mjd", MJD_RANGE)):
            if start < low and high < stop:
                return TimeSystem(name, self.zero, self.scale, self.frame)
        return self


def moved(
    time: NDArray[np.float64], source: TimeSystem, target: TimeSystem, position: tuple[float, float] | None, where: str
) -> NDArray[np.float64]:
    """Convert times between two systems of known formats.

    An unknown scale or frame is taken to be that of the other side.

    Parameters
    ----------
    time : array (n,)
        Days.
    position : (ra, dec) or None
        Of the source, ICRS degrees; needed between frames.
    where : str
        For messages.

    Raises
    ------
    InputError
        If a format is unknown, or the frames differ and there is no position.
    """
    if source == target:
        return time
    if not source.format or not target.format:
        raise InputError(
            "it is not known what the times count", where=where, expected="time_format = 'jd' or 'mjd' for the file"
        )
    shift = _ZERO[source.format] + source.zero - _ZERO[target.format] - target.zero
    scales = (source.scale or target.scale, target.scale or source.scale)
    frames = (source.frame or target.frame, target.frame or source.frame)
    if frames[0] != frames[1] and position is None:
        raise InputError(
            f"{source} is to be joined with {target}, which differ by up to 8.3 min of light travel time",
            where=where,
            expected="position = [ra, dec] of the source in degrees",
        )
    correction = np.zeros(len(time))
    if scales[0] != scales[1] or frames[0] != frames[1]:
        correction = _corrections(time + source.zero, source.format, scales, frames, position)
    return time + shift + correction


def _corrections(
    dates: NDArray[np.float64],
    kind: str,
    scales: tuple[str, str],
    frames: tuple[str, str],
    position: tuple[float, float] | None,
) -> NDArray[np.float64]:
    """Days to add to dates of one scale and frame for another."""
    from astropy.time import Time

    first = Time(dates, format=kind, scale=scales[0] or "utc")
    moved = first.tdb
    if frames[0] != frames[1]:
        assert position is not None
        begin = moved
        for _ in range(3):  # from a frame to geocentric: the delay is that of the geocentric time
            delay = light_delay(moved, position, frames[0])
            moved = begin - delay
        moved = moved + light_delay(moved, position, frames[1])
    last = getattr(moved, scales[1] or "utc")
    whole = (last.jd1 - first.jd1) + (last.jd2 - first.jd2)
    return np.asarray(whole, dtype=float)


def light_delay(time: Any, position: tuple[float, float], frame: str) -> Any:
    """Light travel time from the Earth's centre to the Sun or the barycentre: r_Earth . n / c, an astropy TimeDelta."""
    from astropy import constants, units
    from astropy.coordinates import get_body_barycentric
    from astropy.time import TimeDelta

    if frame in ("", "geocentric"):
        return TimeDelta(np.zeros(time.shape), format="jd")
    ra, dec = np.radians(position)
    towards = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    earth = get_body_barycentric("earth", time, ephemeris="builtin").xyz
    if frame == "heliocentric":
        earth = earth - get_body_barycentric("sun", time, ephemeris="builtin").xyz
    days = (towards @ earth.reshape(3, -1) / constants.c).to_value(units.d).reshape(time.shape)
    return TimeDelta(days, format="jd", scale="tdb")
