"""What a spectrum is: counts per channel and the scales to compare them with a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError
from crosscal.core.units import plain
from crosscal.xray.instrument.checks import Floats, frozen_vector
from crosscal.xray.instrument.response import Response

QUALITY_GOOD = 0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Counts per channel of one observation, with what is needed to compare them with a model.

    Parameters
    ----------
    counts : array, shape (n_channel,)
        Counts (a rate column is multiplied by the exposure by the reader). Net counts with ``stat_error`` may be
        negative; only chi2 can use them.
    exposure : float, s
    backscale, areascale : float or array of shape (n_channel,)
        OGIP BACKSCAL and AREASCAL. The background expected in the source spectrum is
        ``background.counts * (exposure backscale areascale) / (the same of the background)``.
    quality : array of int, shape (n_channel,)
        0 is good; anything else is not used (see ``good``).
    grouping : array of int, shape (n_channel,)
        OGIP flags: 1 starts a group, -1 continues it, 0 is a channel by itself.
    first_channel : int
    background : Spectrum, optional
    stat_error : array, shape (n_channel,), optional
        Errors of the counts where the file has them (STAT_ERR with POISSERR = F); None means Poisson.
    sys_error : array, shape (n_channel,), optional
        Fractional systematic errors.
    links : mapping of str to str
        Header links that name a file: "arf", "rmf", "background".
    time : (start, stop), optional
        Seconds of the mission's clock; chooses among the matrices of a response that changes in time.

    Raises
    ------
    InputError
        On wrong shapes, values that are not finite, negative counts, or scales that are not positive.

    References
    ----------
    Arnaud, George & Tennant 2009, OGIP memo OGIP/92-007.

    Examples
    --------
    >>> spectrum = xray.read_spectrum("cluster.pha")  # doctest: +SKIP
    >>> spectrum.counts, spectrum.exposure, spectrum.links  # doctest: +SKIP
    """

    counts: Floats
    exposure: float
    backscale: float | Floats = 1.0
    areascale: float | Floats = 1.0
    quality: NDArray[np.int16] = None  # type: ignore[assignment]  # zeros once constructed
    grouping: NDArray[np.int16] = None  # type: ignore[assignment]
    first_channel: int = 1
    background: Spectrum | None = None
    stat_error: Floats | None = None
    sys_error: Floats | None = None
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    mission: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    time: tuple[float, float] | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        where = f"spectrum {self.name!r}" if self.name else "spectrum"
        counts = frozen_vector(self.counts, "counts", where)
        if np.any(counts < 0) and self.stat_error is None:
            raise InputError(
                f"negative counts at index {int(np.argmin(counts))}",
                where=where,
                expected="values >= 0, or stat_error",
            )
        exposure = float(plain(self.exposure, "s", where=where))
        if not (np.isfinite(exposure) and exposure > 0):
            raise InputError(f"exposure {exposure:g} s", where=where, expected="a positive number")
        values: dict[str, Any] = {
            "counts": counts, "exposure": exposure, "first_channel": int(self.first_channel),
            "files": dict(self.files), "links": dict(self.links), "notes": tuple(self.notes),
            "mission": dict(self.mission),
        }  # fmt: skip
        for key in ("backscale", "areascale"):
            values[key] = _scale(getattr(self, key), key, where, counts.shape)
        for key in ("quality", "grouping"):
            values[key] = _flags(getattr(self, key), key, where, counts.shape)
        for key in ("stat_error", "sys_error"):
            error = getattr(self, key)
            values[key] = None if error is None else frozen_vector(error, key, where, counts.shape)
            if error is not None and np.any(values[key] < 0):
                raise InputError(f"negative {key}", where=where, expected="values >= 0")
        if self.background is not None and self.background.counts.shape != counts.shape:
            raise InputError(
                f"the background has {self.background.counts.size} channels",
                where=where,
                expected=f"{counts.size}, as the source",
            )
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def n_channel(self) -> int:
        """Number of channels."""
        return self.counts.size

    @property
    def channels(self) -> NDArray[np.int64]:
        """Channel numbers, shape (n_channel,)."""
        return np.arange(self.first_channel, self.first_channel + self.n_channel)

    @property
    def is_poisson(self) -> bool:
        """Whether the errors are those of counting: none in the file, or sqrt(n) or Gehrels' 1 + sqrt(n + 3/4)."""
        if self.stat_error is None:
            return True
        used = (self.quality == QUALITY_GOOD) & (self.counts > 0)
        if np.any(self.counts < 0) or not used.any():
            return False
        n, error = self.counts[used], self.stat_error[used]
        # 1 %: files hold float32, and some round their errors to a few digits.
        return any(np.allclose(error, rule, rtol=1e-2) for rule in (np.sqrt(n), 1 + np.sqrt(n + 0.75)))

    @property
    def good(self) -> NDArray[np.bool_]:
        """Channels whose quality flag is 0, shape (n_channel,); those of a bad background do not count either."""
        good = self.quality == QUALITY_GOOD
        if self.background is not None:
            good = good & (self.background.quality == QUALITY_GOOD)
        return good

    @property
    def background_ratio(self) -> Floats:
        """Factor from background counts to background expected in the source spectrum, shape (n_channel,)."""
        if self.background is None:
            raise InputError("no background", where=f"spectrum {self.name!r}", expected="a background spectrum")
        own = self.exposure * np.asarray(self.backscale) * np.asarray(self.areascale)
        other = self.background.exposure * np.asarray(self.background.backscale)
        return np.broadcast_to(own / (other * np.asarray(self.background.areascale)), self.counts.shape)

    def check_response(self, response: Response) -> None:
        """Check that ``response`` has the channels of this spectrum.

        Raises
        ------
        InputError
            If the number of channels or the number of the first one differs.
        """
        ours = (self.n_channel, self.first_channel)
        theirs = (response.n_channel, response.first_channel)
        if ours != theirs:
            raise InputError(
                f"{ours[0]} channels from {ours[1]} do not fit the response {response.name!r}",
                where=f"spectrum {self.name!r}",
                expected=f"{theirs[0]} channels from {theirs[1]}",
            )

    def band(self, response: Response, low: float, high: float, *, rule: str = "overlap") -> NDArray[np.bool_]:
        """Return the good channels of the band ``low`` to ``high`` keV, shape (n_channel,)."""
        self.check_response(response)
        mask = response.band(low, high, rule=rule) & self.good
        if not mask.any():
            raise InputError(
                f"no good channel in {low:g} to {high:g} keV",
                where=f"spectrum {self.name!r}",
                expected="at least one channel of quality 0",
            )
        return mask


def widened(spectrum: Spectrum, first: int, n: int) -> Spectrum:
    """Return the spectrum, and its background, on ``n`` channels from ``first``; those that it lacks have QUALITY 1."""
    at = spectrum.first_channel - first

    def put(values: Any, fill: float) -> Any:
        if values is None or np.ndim(values) == 0:
            return values
        wide = np.full(n, fill, dtype=values.dtype)
        wide[at : at + spectrum.n_channel] = values
        return wide

    background = None if spectrum.background is None else widened(spectrum.background, first, n)
    return replace(
        spectrum,
        counts=put(spectrum.counts, 0),
        backscale=put(spectrum.backscale, 1),
        areascale=put(spectrum.areascale, 1),
        quality=put(spectrum.quality, 1),
        grouping=put(spectrum.grouping, 0),
        stat_error=put(spectrum.stat_error, 0),
        sys_error=put(spectrum.sys_error, 0),
        first_channel=first,
        background=background,
    )


def _scale(value: ArrayLike, key: str, where: str, shape: tuple[int, ...]) -> float | Floats:
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        if not (np.isfinite(array) and array > 0):
            raise InputError(f"{key} {float(array):g}", where=where, expected="a positive number")
        return float(array)
    array = frozen_vector(array, key, where, shape)
    if np.any(array <= 0):
        raise InputError(
            f"{key} is not positive at index {int(np.argmin(array))}", where=where, expected="positive numbers"
        )
    return array


def _flags(value: ArrayLike | None, key: str, where: str, shape: tuple[int, ...]) -> NDArray[np.int16]:
    flags = np.zeros(shape, dtype=np.int16) if value is None else np.array(value, copy=True)
    if flags.shape != shape or not np.issubdtype(flags.dtype, np.integer):
        raise InputError(
            f"{key} of type {flags.dtype} and shape {flags.shape}", where=where, expected=f"{shape[0]} integers"
        )
    flags = flags.astype(np.int16)
    flags.setflags(write=False)
    return flags
