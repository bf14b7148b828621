"""What a telescope and one of its spectra are: plain arrays with checked shapes, in stated units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from crosscal.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from crosscal.xray.modifiers.base import Modifier

Floats = NDArray[np.float64]

BAND_RULES = ("overlap", "inside", "centre")
# A matrix with more than this share of non-zero elements is multiplied faster by BLAS than as a sparse one.
_DENSE_FILL = 0.05
_DENSE_BYTES = 256 * 2**20


def band_mask(channel_lo: ArrayLike, channel_hi: ArrayLike, low: float, high: float, rule: str) -> NDArray[np.bool_]:
    """Return which channels belong to the band ``low`` to ``high`` keV.

    ``rule`` is "overlap" (any part of the channel lies in the band: Sherpa's and XSPEC's ``notice``),
    "inside" (the whole channel does) or "centre" (its mid-point does).
    """
    if rule not in BAND_RULES:
        raise UnknownNameError("band rule", rule, BAND_RULES)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"band {low:g} to {high:g} keV", expected="finite limits, the lower one first")
    lo, hi = np.asarray(channel_lo, dtype=float), np.asarray(channel_hi, dtype=float)
    if rule == "overlap":
        mask = (lo < high) & (hi > low)
    elif rule == "inside":
        mask = (lo >= low) & (hi <= high)
    else:
        centre = 0.5 * (lo + hi)
        mask = (centre >= low) & (centre <= high)
    if not mask.any():
        raise InputError(
            f"no channel lies in {low:g} to {high:g} keV",
            expected=f"a band within {lo.min():g} to {hi.max():g} keV",
        )
    return mask


def _frozen(values: ArrayLike, name: str, where: str, shape: tuple[int, ...] | None = None) -> Floats:
    array = np.array(values, dtype=float, copy=True)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}", where=where, expected="one non-empty dimension")
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} has {array.size} values", where=where, expected=f"{shape[0]}")
    if not np.all(np.isfinite(array)):
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{name} is not finite at index {row}", where=where, expected="finite numbers")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Response:
    """A telescope: effective area and redistribution of photon energies into channels.

    The expected count rate in channel c of a photon spectrum s(E), in photons / cm2 / s per energy bin j, is

        rate_c = sum_j P(c | j) area_j s_j                                                   [count / s]

    Parameters
    ----------
    energy_lo, energy_hi : array, shape (n_energy,), keV
        Photon energy bins, increasing and without gaps.
    area : array, shape (n_energy,), cm2
    redistribution : sparse array, shape (n_channel, n_energy)
        P(channel | photon energy bin); a column sums to the share of photons that is recorded.
    channel_lo, channel_hi : array, shape (n_channel,), keV
        Nominal energies of the channels (EBOUNDS).
    first_channel : int
        Number of the first channel in files.
    name : str
    files : mapping of str to str
        Role ("arf", "rmf") to path, for provenance.
    notes : tuple of str
        What a reader had to mend in the files.

    Raises
    ------
    InputError
        On wrong shapes, values that are not finite, negative area or probability, energy bins with gaps.

    References
    ----------
    George et al. 1992, OGIP memo CAL/GEN/92-002 (files); Davis 2001, ApJ 548, 1010, Eq. 1 (folding).
    """

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    redistribution: csr_array
    channel_lo: Floats
    channel_hi: Floats
    first_channel: int = 1
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"response {self.name!r}" if self.name else "response"
        lo = _frozen(self.energy_lo, "energy_lo", where)
        hi = _frozen(self.energy_hi, "energy_hi", where, lo.shape)
        area = _frozen(self.area, "area", where, lo.shape)
        channel_lo = _frozen(self.channel_lo, "channel_lo", where)
        channel_hi = _frozen(self.channel_hi, "channel_hi", where, channel_lo.shape)
        if np.any(lo >= hi) or np.any(lo < 0):
            raise InputError("an energy bin is empty or negative", where=where, expected="0 <= lower < upper")
        if lo.size > 1 and np.any(np.abs(lo[1:] - hi[:-1]) > 1e-3 * (hi - lo)[1:] + 1e-6 * hi[:-1]):
            raise InputError("the energy bins have gaps or overlap", where=where, expected="contiguous bins")
        if np.any(area < 0):
            raise InputError("negative effective area", where=where, expected="values >= 0 cm2")
        matrix = self.redistribution
        matrix = csr_array(matrix if issparse(matrix) else np.asarray(matrix, dtype=float), dtype=float)
        if matrix.shape != (channel_lo.size, lo.size):
            raise InputError(
                f"the redistribution has shape {matrix.shape}",
                where=where,
                expected=f"(n_channel, n_energy) = ({channel_lo.size}, {lo.size})",
            )
        if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
            raise InputError("a negative or not finite probability", where=where, expected="values >= 0")
        values: dict[str, Any] = {
            "energy_lo": lo, "energy_hi": hi, "area": area, "redistribution": matrix,
            "channel_lo": channel_lo, "channel_hi": channel_hi, "first_channel": int(self.first_channel),
            "files": dict(self.files), "notes": tuple(self.notes),
        }  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def n_energy(self) -> int:
        """Number of photon energy bins."""
        return self.energy_lo.size

    @property
    def n_channel(self) -> int:
        """Number of channels."""
        return self.channel_lo.size

    @cached_property
    def energy(self) -> Floats:
        """Mid-points of the photon energy bins, shape (n_energy,), keV."""
        return 0.5 * (self.energy_lo + self.energy_hi)

    @cached_property
    def energy_edges(self) -> Floats:
        """Edges of the photon energy bins, shape (n_energy + 1,), keV."""
        return np.append(self.energy_lo, self.energy_hi[-1])

    @property
    def channels(self) -> NDArray[np.int64]:
        """Channel numbers, shape (n_channel,)."""
        return np.arange(self.first_channel, self.first_channel + self.n_channel)

    @cached_property
    def dense(self) -> Floats | None:
        """The redistribution as a full (n_channel, n_energy) array, or None where it is sparse or too big."""
        n = self.n_channel * self.n_energy
        if self.redistribution.nnz < _DENSE_FILL * n or 8 * n > _DENSE_BYTES:
            return None
        return self.redistribution.toarray()

    def fold(self, photons: ArrayLike) -> Floats:
        """Turn photon spectra into count rates.

        Parameters
        ----------
        photons : array, shape (..., n_energy), photon / cm2 / s per energy bin

        Returns
        -------
        array, shape (..., n_channel), count / s per channel
        """
        photons = np.asarray(photons, dtype=float)
        if photons.shape[-1:] != (self.n_energy,):
            raise InputError(
                f"a photon spectrum of shape {photons.shape}",
                where=f"response {self.name!r}",
                expected=f"a last axis of {self.n_energy} energy bins",
            )
        rows = (photons * self.area).reshape(-1, self.n_energy)
        if rows.shape[0] > 4 and self.dense is not None:
            folded = rows @ self.dense.T
        else:
            folded = (self.redistribution @ rows.T).T
        return np.ascontiguousarray(folded).reshape(*photons.shape[:-1], self.n_channel)

    def with_area(self, area: ArrayLike) -> Response:
        """Return the same response with another effective area, shape (n_energy,), cm2."""
        return replace(self, area=np.asarray(area, dtype=float))

    def modified(self, modifier: Modifier, theta: ArrayLike | Mapping[str, float] | None = None) -> Response:
        """Return the response that ``modifier`` makes with the parameters ``theta`` (defaults where None)."""
        return modifier.apply(self, theta)

    def corrected(self, correction: Any) -> Response:
        """Return the response whose area is multiplied by a :class:`~crosscal.core.correction.Correction`.

        The correction is interpolated at the mid-points of the energy bins; outside its range it is 1.
        """
        factor = np.asarray(correction.evaluate(self.energy), dtype=float)
        return replace(self, area=self.area * factor)

    def band(self, low: float, high: float, *, rule: str = "overlap") -> NDArray[np.bool_]:
        """Return the channels of the band ``low`` to ``high`` keV, shape (n_channel,).

        ``rule`` "overlap" (default) keeps every channel that has a part in the band, as ``notice`` of
        Sherpa and XSPEC does; "inside" keeps whole channels, "centre" goes by mid-points.
        """
        return band_mask(self.channel_lo, self.channel_hi, low, high, rule)

    def restricted(self, mask: ArrayLike) -> Response:
        """Keep the channels in ``mask`` and the energy bins that can reach them.

        The result folds to exactly the same rates in these channels, from fewer elements. Its energy bins
        are a contiguous piece of the original ones: ``energy_slice`` says which.
        """
        mask = self._channel_mask(mask)
        part = self.energy_slice(mask)
        index = np.flatnonzero(mask)
        return replace(
            self,
            energy_lo=self.energy_lo[part],
            energy_hi=self.energy_hi[part],
            area=self.area[part],
            redistribution=self.redistribution[index][:, part],
            channel_lo=self.channel_lo[index],
            channel_hi=self.channel_hi[index],
            first_channel=self.first_channel + int(index[0]),
        )

    def energy_slice(self, mask: ArrayLike) -> slice:
        """Return the smallest slice of energy bins outside which no photon reaches the channels in ``mask``."""
        mask = self._channel_mask(mask)
        reached = np.zeros(self.n_energy, dtype=bool)
        rows = self.redistribution[np.flatnonzero(mask)]
        reached[rows.indices[rows.data > 0]] = True
        if not reached.any():
            raise InputError(
                "no photon reaches these channels", where=f"response {self.name!r}", expected="another band"
            )
        index = np.flatnonzero(reached)
        return slice(int(index[0]), int(index[-1]) + 1)

    def _channel_mask(self, mask: ArrayLike) -> NDArray[np.bool_]:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.n_channel,) or not mask.any():
            raise InputError(
                f"a channel mask of type {mask.dtype} and shape {mask.shape}",
                where=f"response {self.name!r}",
                expected=f"{self.n_channel} booleans, at least one true",
            )
        return mask


QUALITY_GOOD = 0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Counts per channel of one observation, with what is needed to compare them with a model.

    Parameters
    ----------
    counts : array, shape (n_channel,)
        Counts (a rate column is multiplied by the exposure by the reader).
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
        Errors of the counts where the file has them; None means Poisson.
    sys_error : array, shape (n_channel,), optional
        Fractional systematic errors.
    links : mapping of str to str
        Header links that name a file: "arf", "rmf", "background".

    Raises
    ------
    InputError
        On wrong shapes, values that are not finite, negative counts, or scales that are not positive.

    References
    ----------
    Arnaud, George & Tennant 2009, OGIP memo OGIP/92-007.
    """

    counts: Floats
    exposure: float
    backscale: float | Floats = 1.0
    areascale: float | Floats = 1.0
    quality: NDArray[np.int16] | None = None
    grouping: NDArray[np.int16] | None = None
    first_channel: int = 1
    background: Spectrum | None = None
    stat_error: Floats | None = None
    sys_error: Floats | None = None
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"spectrum {self.name!r}" if self.name else "spectrum"
        counts = _frozen(self.counts, "counts", where)
        if np.any(counts < 0):
            raise InputError(f"negative counts at index {int(np.argmin(counts))}", where=where, expected="values >= 0")
        exposure = float(self.exposure)
        if not (np.isfinite(exposure) and exposure > 0):
            raise InputError(f"exposure {exposure:g} s", where=where, expected="a positive number")
        values: dict[str, Any] = {
            "counts": counts, "exposure": exposure, "first_channel": int(self.first_channel),
            "files": dict(self.files), "links": dict(self.links), "notes": tuple(self.notes),
        }  # fmt: skip
        for key in ("backscale", "areascale"):
            values[key] = _scale(getattr(self, key), key, where, counts.shape)
        for key in ("quality", "grouping"):
            values[key] = _flags(getattr(self, key), key, where, counts.shape)
        for key in ("stat_error", "sys_error"):
            error = getattr(self, key)
            values[key] = None if error is None else _frozen(error, key, where, counts.shape)
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


def _scale(value: ArrayLike, key: str, where: str, shape: tuple[int, ...]) -> float | Floats:
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        if not (np.isfinite(array) and array > 0):
            raise InputError(f"{key} {float(array):g}", where=where, expected="a positive number")
        return float(array)
    array = _frozen(array, key, where, shape)
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
