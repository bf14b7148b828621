"""Which channels are used, and how they are summed.

References
----------
Kaastra & Bleeker 2016, A&A 587, A151 (optimal bins); OGIP/92-007 section 3.1 (flags).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.instrument.checks import Floats
from crosscal.xray.instrument.ignored import ignored_by
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

Mask = NDArray[np.bool_]

METHODS = ("auto", "none", "file", "counts", "optimal")
TAILS = ("drop", "merge", "keep")
# Set on channels that a grouping leaves over, as grppha and Sherpa do.
QUALITY_LEFT_OVER = 2


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the used channels into groups.

    Parameters
    ----------
    index : array of int, shape (n_channel,)
        Number of the group each channel belongs to, counted from 0 upwards along the channels; -1 is unused.
    note : str
        What a user should know of how they were chosen.
    """

    index: NDArray[np.int64]
    note: str = ""

    def __post_init__(self) -> None:
        index = np.array(self.index, dtype=np.int64, copy=True)
        used = index[index >= 0]
        if index.ndim != 1 or used.size == 0:
            raise InputError("no channel is used", where="groups", expected="at least one group")
        if used[0] != 0 or np.any((np.diff(used) != 0) & (np.diff(used) != 1)):
            raise InputError("the groups are out of order", where="groups", expected="0, 1, 2, ... upwards")
        index.setflags(write=False)
        object.__setattr__(self, "index", index)

    @classmethod
    def from_mask(cls, mask: ArrayLike) -> Groups:
        """Make every channel of ``mask`` a group of its own."""
        mask = np.asarray(mask, dtype=bool)
        return cls(np.where(mask, np.cumsum(mask) - 1, -1))

    @property
    def n_group(self) -> int:
        """Number of groups."""
        return int(self.index.max()) + 1

    @property
    def n_channel(self) -> int:
        """Number of channels, used or not."""
        return self.index.size

    @property
    def mask(self) -> Mask:
        """Channels that are used, shape (n_channel,)."""
        return self.index >= 0

    @cached_property
    def matrix(self) -> csr_array:
        """Sparse ones, shape (n_group, n_channel): ``matrix @ counts`` sums groups."""
        used = np.flatnonzero(self.mask)
        return csr_array((np.ones(used.size), (self.index[used], used)), shape=(self.n_group, self.n_channel))

    def sum(self, values: ArrayLike) -> Floats:
        """Sum values (..., n_channel) over each group, shape (..., n_group)."""
        values = np.asarray(values, dtype=float)
        if values.shape[-1:] != (self.n_channel,):
            raise InputError(
                f"values of shape {values.shape}", where="groups", expected=f"a last axis of {self.n_channel}"
            )
        flat = (self.matrix @ values.reshape(-1, self.n_channel).T).T
        return np.ascontiguousarray(flat).reshape(*values.shape[:-1], self.n_group)

    def energies(self, response: Response) -> tuple[Floats, Floats]:
        """Return the nominal energy range (lower, upper) of each group, shape (n_group,), keV."""
        low, high = np.full(self.n_group, np.inf), np.full(self.n_group, -np.inf)
        np.minimum.at(low, self.index[self.mask], response.channel_lo[self.mask])
        np.maximum.at(high, self.index[self.mask], response.channel_hi[self.mask])
        return low, high

    @property
    def flags(self) -> NDArray[np.int16]:
        """OGIP grouping flags: 1 at the first channel of a group, -1 at the others, 0 where unused."""
        first = np.diff(self.index, prepend=-2) != 0
        return np.where(self.mask, np.where(first, 1, -1), 0).astype(np.int16)


def notice(response: Response, *ranges: tuple[float, float], rule: str = "overlap") -> Mask:
    """Return the channels of any of the energy ``ranges`` (low, high) in keV; all channels without ranges."""
    if not ranges:
        return np.ones(response.n_channel, dtype=bool)
    return np.any([response.band(low, high, rule=rule) for low, high in ranges], axis=0)


def ignore(response: Response, *ranges: tuple[float, float], rule: str = "overlap") -> Mask:
    """Return the channels outside all of the energy ``ranges`` (low, high) in keV."""
    if not ranges:
        return notice(response)
    return ~notice(response, *ranges, rule=rule)


def from_flags(spectrum: Spectrum, mask: ArrayLike | None = None, ignored: ArrayLike | None = None) -> Groups:
    """Apply the grouping flags of a file.

    A group is used as a whole if it holds a channel of ``mask`` (default: all), none of ``ignored`` (default: none) and
    no channel of bad quality; so do XSPEC and Sherpa, whose ``ignore`` drops the groups that it touches.
    """
    mask = np.ones(spectrum.n_channel, dtype=bool) if mask is None else _mask(mask, spectrum.n_channel)
    out = np.zeros(spectrum.n_channel, dtype=bool) if ignored is None else _mask(ignored, spectrum.n_channel)
    label = np.cumsum((spectrum.grouping >= 0).astype(np.int64))
    label -= label[0]
    n = int(label[-1]) + 1
    touched = np.bincount(label, weights=mask, minlength=n) > 0
    spoiled = np.bincount(label, weights=~spectrum.good | out, minlength=n) > 0
    return _renumbered(np.where((touched & ~spoiled)[label], label, -1))


def min_counts(counts: ArrayLike, minimum: float, mask: ArrayLike | None = None, *, tail: str = "drop") -> Groups:
    """Group neighbouring channels until each group holds at least ``minimum`` counts.

    Groups do not reach across unused channels.

    Parameters
    ----------
    counts : array, shape (n_channel,)
    minimum : float
    mask : array of bool, optional
        Used channels, all by default.
    tail : str
        What is left at the end of a run of used channels is dropped ("drop": as grppha and Sherpa, which flag it),
        merged into the group before it ("merge"), or kept as a group with fewer counts ("keep").

    Raises
    ------
    InputError, UnknownNameError
        For another tail, a minimum <= 0, or if no group reaches it.
    """
    counts = np.asarray(counts, dtype=float)
    mask = np.ones(counts.size, dtype=bool) if mask is None else _mask(mask, counts.size)
    if tail not in TAILS:
        raise UnknownNameError("tail", tail, TAILS)
    if not minimum > 0:
        raise InputError(f"a minimum of {minimum:g} counts", where="grouping", expected="a positive number")
    index = np.full(counts.size, -1, dtype=np.int64)
    group = 0
    for start, stop in _runs(mask):
        begin, total = start, 0.0
        first_of_run = group
        for channel in range(start, stop):
            total += counts[channel]
            if total >= minimum:
                index[begin : channel + 1] = group
                begin, total, group = channel + 1, 0.0, group + 1
        if begin == stop or tail == "drop":
            continue
        if tail == "merge" and group > first_of_run:
            index[begin:stop] = group - 1
        elif tail == "keep":
            index[begin:stop] = group
            group += 1
    if group == 0:
        raise InputError(
            f"no group reaches {minimum:g} counts", where="grouping", expected="a smaller minimum or more counts"
        )
    return Groups(index)


def resolution(response: Response) -> Floats:
    """Return the full width at half maximum of the redistribution at each channel, in channels (>= 1).

    The width is that of the response to photons of the channel's nominal energy, between the points where it
    falls to half of its peak (linear interpolation between channels).
    """
    energy = response.energy
    centre = 0.5 * (response.channel_lo + response.channel_hi)
    columns = np.clip(np.searchsorted(energy, centre), 0, energy.size - 1)
    matrix = response.redistribution.tocsc()
    # In density per keV, so that channels of uneven width do not fake structure.
    width = response.channel_hi - response.channel_lo
    found = {int(j): _fwhm(matrix[:, [int(j)]].toarray().ravel() / width) for j in np.unique(columns)}
    return np.array([found[int(j)] for j in columns])


def _fwhm(profile: Floats) -> float:
    peak = int(np.argmax(profile))
    half = 0.5 * profile[peak]
    if half == 0:
        return 1.0
    below = profile < half
    left = np.flatnonzero(below[:peak])
    right = np.flatnonzero(below[peak:])
    low, high = 0.0, float(profile.size - 1)
    if left.size:
        k = int(left[-1])
        low = k + (half - profile[k]) / (profile[k + 1] - profile[k])
    if right.size:
        k = peak + int(right[0])
        high = k - (half - profile[k]) / (profile[k - 1] - profile[k])
    return max(1.0, high - low)


def optimal_width(counts_per_element: ArrayLike, n_elements: float) -> Floats:
    """Return the optimal bin width in units of the FWHM.

    With x = ln(N_r (1 + 0.20 ln R)): 1 for x <= 2.119, else (0.08 + 7.0/x + 1.8/x^2) / (1 + 5.9/x).

    Parameters
    ----------
    counts_per_element : array
        N_r, counts within one resolution element (a FWHM).
    n_elements : float
        R, number of resolution elements in the spectrum.

    References
    ----------
    Kaastra & Bleeker 2016, Eqs. 36 and 37.
    """
    events = np.asarray(counts_per_element, dtype=float) * (1 + 0.20 * np.log(max(n_elements, 1.0)))
    x = np.log(np.maximum(events, 1.0))
    safe = np.maximum(x, 2.119)
    return np.where(x <= 2.119, 1.0, (0.08 + 7.0 / safe + 1.8 / safe**2) / (1 + 5.9 / safe))


def optimal(
    response: Response,
    counts: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    minimum: float = 0.0,
    tail: str = "keep",
) -> Groups:
    """Group channels to the bin width that loses no information (Kaastra & Bleeker 2016).

    Parameters
    ----------
    response : Response
        For the resolution.
    counts : array, shape (n_channel,)
    mask : array of bool, optional
    minimum : float
        Counts that each group must hold in addition; groups are joined until they do (``tail`` as in
        :func:`min_counts`).
    """
    counts = np.asarray(counts, dtype=float)
    mask = np.ones(counts.size, dtype=bool) if mask is None else _mask(mask, counts.size)
    if counts.size != response.n_channel:
        raise InputError(f"{counts.size} counts", where=f"response {response.name!r}", expected=f"{response.n_channel}")
    fwhm = resolution(response)
    cumulative = np.concatenate([[0.0], np.cumsum(np.where(mask, counts, 0.0))])
    edges = np.arange(counts.size + 1)
    centre = np.arange(counts.size) + 0.5
    inside = [np.interp(centre + side * fwhm / 2, edges, cumulative) for side in (-1, 1)]
    n_elements = float(np.sum(1 / fwhm[mask]))
    width = np.maximum(1, np.floor(optimal_width(inside[1] - inside[0], n_elements) * fwhm)).astype(int)
    index = np.full(counts.size, -1, dtype=np.int64)
    group = 0
    for start, stop in _runs(mask):
        while start < stop:
            end = min(start + int(width[start]), stop)
            index[start:end] = group
            start, group = end, group + 1
    groups = Groups(index)
    if minimum > 0:
        joined = _joined_runs(groups, counts, minimum, tail)
        return _renumbered(np.where(groups.mask, joined[groups.index], -1))
    return groups


def _joined_runs(groups: Groups, counts: Floats, minimum: float, tail: str) -> NDArray[np.int64]:
    """Group the groups of each run of used channels by counts; return the new number of each old group."""
    ends = [groups.index[stop - 1] + 1 for _, stop in _runs(groups.mask)]
    totals = groups.sum(counts)
    # A zero-width gap between runs: one unused entry keeps min_counts from joining across it.
    spaced = np.insert(totals, ends[:-1], 0.0)
    used = np.insert(np.ones(totals.size, dtype=bool), ends[:-1], False)
    return min_counts(spaced, minimum, used, tail=tail).index[used]


def group(
    spectrum: Spectrum,
    response: Response,
    band: tuple[float, float] | None = None,
    *,
    method: str = "auto",
    minimum: float = 20.0,
    ignored: Sequence[tuple[float, float]] | str = (),
) -> Groups:
    """Choose channels and groups of a spectrum: the band, good quality, and one of the methods.

    Parameters
    ----------
    band : (low, high), keV or quantities, optional
        All channels by default. Every channel that has a part in the band is kept, as ``notice`` of XSPEC and Sherpa
        does; XSPEC's ``ignore **-low high-**`` leaves out the channels that contain ``low`` and ``high`` (see
        ``ignored``).
    method : str
        "auto" (the groups of the file if it has any, else channels), "none" (channels), "file" (the flags of the
        file), "counts" (at least ``minimum`` counts) or "optimal" (Kaastra & Bleeker). A group of the file is used as
        a whole if a part of it lies in the band and none in an ignored range.
    minimum : float
    ignored : sequence of (low, high), keV or quantities; or str
        Ranges that are left out with every channel that has a part in them; or the arguments of XSPEC's ``ignore``:
        ``"**-0.5 7.0-**"`` (energies in keV have a decimal point, whole numbers are channels).

    Raises
    ------
    InputError, UnknownNameError
        If spectrum and response do not fit together, for an unknown method, or if nothing is left.

    Examples
    --------
    >>> groups = xray.group(spectrum, telescope, (0.7, 7.0), method="optimal")  # doctest: +SKIP
    """
    spectrum.check_response(response)
    mask = np.ones(spectrum.n_channel, dtype=bool) if band is None else response.band(*band)
    kept = ignored_by(response, ignored) if isinstance(ignored, str) else ignore(response, *ignored)
    good = mask & kept & spectrum.good
    if method == "auto" and np.any(spectrum.grouping < 0):
        groups = from_flags(spectrum, mask, ~kept)
        note = f"the file's own grouping is applied ({groups.n_group} groups of {groups.mask.sum()} channels)"
        return replace(groups, note=f"{spectrum.name}: {note}" if spectrum.name else note)
    if method in ("auto", "none"):
        return Groups.from_mask(good)
    if method == "file":
        return from_flags(spectrum, mask, ~kept)
    if method == "counts":
        return min_counts(spectrum.counts, minimum, good)
    if method == "optimal":
        return optimal(response, spectrum.counts, good)
    raise UnknownNameError("grouping method", method, METHODS)


def grouped(spectrum: Spectrum, groups: Groups) -> Spectrum:
    """Return the spectrum with the flags of ``groups``; good channels outside them get quality 2."""
    left_over = (spectrum.quality == 0) & ~groups.mask
    quality = np.where(left_over, QUALITY_LEFT_OVER, spectrum.quality).astype(np.int16)
    return replace(spectrum, grouping=groups.flags, quality=quality)


def _mask(mask: ArrayLike, n: int) -> Mask:
    array = np.asarray(mask)
    if array.dtype != bool or array.shape != (n,):
        raise InputError(
            f"a mask of type {array.dtype} and shape {array.shape}", where="grouping", expected=f"{n} booleans"
        )
    return array


def _runs(mask: Mask) -> Sequence[tuple[int, int]]:
    """Return (start, stop) of each run of true values."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(change[::2], change[1::2], strict=True)]


def _renumbered(label: NDArray[np.int64]) -> Groups:
    """Count the labels >= 0 from 0 without gaps."""
    used = label >= 0
    index = np.full(label.size, -1, dtype=np.int64)
    if used.any():
        index[used] = np.unique(label[used], return_inverse=True)[1]
    return Groups(index)
