"""What a statistic compares with a model: counts, background and errors of each group of channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray.fitting import statistics
from crosscal.xray.fitting.statistics import Data, Kind

if TYPE_CHECKING:
    from crosscal.xray.instrument.grouping import Groups
    from crosscal.xray.instrument.spectrum import Spectrum

Array = NDArray[np.float64]

_RULES = {"chi2": "data", "chi2-gehrels": "gehrels", "chi2-model": "model"}


def default_statistic(spectrum: Spectrum, groups: Groups) -> str:
    """Return the statistic that suits a spectrum: chi2 for net counts below 0, wstat with a background, else cstat."""
    if np.any(spectrum.counts[groups.mask] < 0):
        return "chi2"
    return "cstat" if spectrum.background is None else "wstat"


def data_of(
    spectrum: Spectrum, groups: Groups, name: str, background_sd: ArrayLike | None = None
) -> tuple[Data, Array]:
    """Return the data of the statistic ``name`` and the background expected in the source spectrum, per group.

    chi2 takes the errors of the file where it has them: those of a group add in quadrature, as in XSPEC and Sherpa.
    Systematic errors are fractions of the counts (SYS_ERR; OGIP 92-007), not of the model (XSPEC's command
    "systematic"), and add linearly within a group, so that 2 % of each channel are 2 % of the group; Sherpa adds them
    in quadrature, and takes SYS_ERR of a file for counts. pgstat takes the errors of the background.

    Raises
    ------
    InputError
        If spectrum and statistic do not fit together: a background that cstat cannot use or that wstat and pgstat
        lack, negative counts with a Poisson statistic, errors of zero with chi2.
    """
    kind, where = statistics.kind_of(name), f"spectrum {spectrum.name!r}"
    counts, empty = groups.sum(spectrum.counts), np.zeros(groups.n_group)
    _check_signs(spectrum, groups, kind, name)
    if spectrum.background is None:
        if kind in (Kind.WSTAT, Kind.PGSTAT):
            raise InputError(f"{name} without a background", where=where, expected="cstat or chi2")
        off, ratio, expected = empty, np.ones(groups.n_group), empty
    else:
        if kind == Kind.CSTAT:
            raise InputError("cstat with a background spectrum", where=where, expected="wstat, or no background")
        off = groups.sum(spectrum.background.counts)
        expected = groups.sum(spectrum.background.counts * spectrum.background_ratio)
        # One ratio a group: that of its background counts, or the mean where there are none.
        mean = groups.sum(spectrum.background_ratio) / groups.sum(np.ones(groups.n_channel))
        ratio = 1.0 / np.where(off > 0, expected / np.where(off > 0, off, 1.0), mean)
    if kind == Kind.PGSTAT:
        return Data(int(kind), counts, off, ratio, _background_variance(spectrum, groups, off, background_sd)), expected
    if kind in (Kind.CHI2, Kind.CHI2_MODEL):
        variance = _variance(spectrum, groups, counts, off, ratio, _RULES[name.lower().replace("_", "-")])
        return Data(int(kind), counts - expected, off, ratio, variance), expected
    return Data(int(kind), counts, off, ratio, empty), expected


def _check_signs(spectrum: Spectrum, groups: Groups, kind: Kind, name: str) -> None:
    """Refuse negative net counts where counts are needed."""
    background = spectrum.background
    checked = [] if kind >= Kind.CHI2 else [("counts", spectrum)]
    if background is not None and kind == Kind.WSTAT:
        checked.append(("background counts", background))
    for what, one in checked:
        if np.any(one.counts[groups.mask] < 0):
            raise InputError(
                f"negative {what} with {name}", where=f"spectrum {spectrum.name!r}",
                expected="the statistic chi2, which takes the errors of the file",
            )  # fmt: skip


def _background_variance(spectrum: Spectrum, groups: Groups, off: Array, given: ArrayLike | None) -> Array:
    """Variance of the background counts: of the errors given, or those of its file, or the counts themselves."""
    assert spectrum.background is not None
    errors = spectrum.background.stat_error if given is None else np.asarray(given, dtype=float)
    variance = off if errors is None else groups.sum(errors**2)
    if spectrum.background.sys_error is not None:
        variance = variance + groups.sum(spectrum.background.sys_error * spectrum.background.counts) ** 2
    return variance


def _variance(spectrum: Spectrum, groups: Groups, counts: Array, off: Array, ratio: Array, rule: str) -> Array:
    """Variance of the net counts of each group, systematic errors included; see :func:`data_of`."""
    background = spectrum.background
    scale = np.zeros(groups.n_channel) if background is None else spectrum.background_ratio
    files = spectrum.stat_error is not None or (background is not None and background.stat_error is not None)
    if rule == "data" and files:
        variance: Array = counts if spectrum.stat_error is None else groups.sum(spectrum.stat_error**2)
        if background is not None:
            errors2 = background.counts if background.stat_error is None else background.stat_error**2
            variance = variance + groups.sum(errors2 * scale**2)
        # Files of Poisson errors give an empty channel an error of 0; chi2 then takes 1, as without the column.
        if spectrum.is_poisson:
            variance = np.where((variance > 0) | (counts != 0), variance, 1.0)
        if np.any(variance <= 0):
            first = int(np.flatnonzero(variance <= 0)[0])
            channel = spectrum.channels[groups.index == first][0]
            raise InputError(
                f"the error of the group from channel {channel} is 0", where=f"spectrum {spectrum.name!r}",
                expected="errors above 0 (STAT_ERR), or larger groups",
            )  # fmt: skip
    else:
        variance = statistics.chi2_variance(counts, off, ratio, rule)
    if spectrum.sys_error is not None:
        variance = variance + groups.sum(spectrum.sys_error * np.abs(spectrum.counts)) ** 2
    if background is not None and background.sys_error is not None:
        variance = variance + groups.sum(background.sys_error * np.abs(background.counts) * scale) ** 2
    return variance


def error_notes(spectrum: Spectrum, kind: Kind, name: str) -> Iterator[str]:
    """Say which errors of the file the statistic does not use, though they are not those of counting."""
    background = spectrum.background
    if not spectrum.is_poisson and kind < Kind.CHI2:
        what = f"the file's errors (STAT_ERR) are not those of Poisson counts, which {name} assumes"
        yield f"{what}: a fit with chi2 uses them"
    elif not spectrum.is_poisson and name.lower() != "chi2":
        yield f"{name} does not use the file's errors (STAT_ERR): chi2 does"
    if spectrum.sys_error is not None and kind < Kind.CHI2:
        yield f"the file's systematic errors (SYS_ERR) are not used by {name}: a fit with chi2 uses them"
    elif spectrum.sys_error is not None:
        what = "the file's systematic errors (SYS_ERR) are added in quadrature as fractions of the counts"
        yield f"{what}; a fraction of the model, as XSPEC's command systematic sets, is not added"
    if background is not None and not background.is_poisson and kind == Kind.WSTAT:
        what = "the background's errors (STAT_ERR) are not those of Poisson counts, which wstat assumes"
        yield f"{what}: a fit with pgstat uses them"
