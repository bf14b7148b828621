"""The parameter vector: which element is what, which are held, and the prior of the others.

Order (that of PyCALI's posterior samples for a damped random walk): kernel parameters of each file; ln phi of each
code; G of each code; then per file eps[code, flag] followed by ln b[code, flag].
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurve, LightCurves

#: Codes of at most this many points in a file get a half-normal prior of their systematic error there.
FEW_POINTS = 5
#: A running mean is at least the mean spacing over this number wide: points come closer to each other by chance.
NARROWEST = 20.0


@dataclass(frozen=True, eq=False)
class Layout:
    """Places, fixed values and priors of the full parameter vector.

    Attributes
    ----------
    kernel : int array (1 + m, n_kernel)
        Places of the kernel parameters of each file.
    scale, shift : int array (k,)
        Places of ln phi and G.
    syserr, errscale : int array (1 + m, k, n_flags)
        Places of eps and ln b.
    free : bool array (n,)
    fixed : array (n,)
        Values of the held elements (zero elsewhere).
    low, high : array (n,)
        Prior limits, uniform inside, in the coordinates of the vector.
    half_normal : array (n,)
        Standard deviation of the half-normal prior above ``low``; infinite where the prior is uniform.
    labels : tuple of str
    """

    kernel: NDArray[np.int64]
    scale: NDArray[np.int64]
    shift: NDArray[np.int64]
    syserr: NDArray[np.int64]
    errscale: NDArray[np.int64]
    free: NDArray[np.bool_]
    fixed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    half_normal: NDArray[np.float64]
    labels: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of elements, held ones included."""
        return len(self.fixed)

    @cached_property
    def free_shifts(self) -> NDArray[np.int64]:
        """Codes whose shift is free."""
        return np.flatnonzero(self.free[self.shift])

    def hold(self, places: NDArray[np.int64], values: NDArray[np.float64] | float) -> Layout:
        """Return a layout with further elements held."""
        free, fixed = self.free.copy(), self.fixed.copy()
        free[places], fixed[places] = False, values
        return replace(self, free=free, fixed=fixed)


def make_layout(curves: LightCurves, settings: Settings, norm: Normalisation) -> Layout:
    """Number the parameters, set priors, and apply the rules by which they are held.

    The first code is the reference: phi = 1, G = 0. Later rules win: a code without continuum has G = 0 (and phi = 1
    if it has no line points either); ``fixed_scale``; ``fixed_scale_codes``; ``fixed_codes`` (physical phi = 1, G = 0,
    eps = 0, b = 1); ``fixed_shift``; a code of at most 2 continuum points and no line points has G = 0 unless scales
    are held; eps = 0 and b = 1 unless asked for, and in unused flag slots.
    """
    k, nf, n_files = len(curves.codes), curves.n_flags, len(curves.files)
    process = settings.process
    nk = len(process.names)
    kernel = np.arange(n_files * nk).reshape(n_files, nk)
    start = n_files * nk
    scale, shift = start + np.arange(k), start + k + np.arange(k)
    blocks = (start + 2 * k + np.arange(n_files * 2 * k * nf)).reshape(n_files, 2, k, nf)
    n = start + 2 * k + blocks.size
    low, high = np.zeros(n), np.zeros(n)
    half = np.full(n, np.inf)
    for i, curve in enumerate(curves.files):
        low[kernel[i]], high[kernel[i]] = _kernel_ranges(curve, settings)
        counts = curve.counts[:, None] * np.ones(nf, dtype=int)
        few = blocks[i, 0][counts <= FEW_POINTS]
        half[few] = (settings.syserr[1] - settings.syserr[0]) / 3.0
    low[scale], high[scale] = np.log(settings.scale)
    low[shift], high[shift] = (norm.shift_centre + limit for limit in settings.shift)
    low[blocks[:, 0]], high[blocks[:, 0]] = settings.syserr
    low[blocks[:, 1]], high[blocks[:, 1]] = np.log(settings.errscale)
    free, fixed = np.ones(n, dtype=bool), np.zeros(n)
    layout = Layout(
        kernel, scale, shift, blocks[:, 0], blocks[:, 1], free, fixed, low, high, half, _labels(curves, process.names)
    )
    return _apply_rules(layout, curves, settings, norm)


def _kernel_ranges(curve: LightCurve, settings: Settings) -> tuple[NDArray, NDArray]:
    span, n = curve.span, len(curve)
    if not span > 0:
        raise InputError("all points have the same time", where=f"light curve {curve.name!r}", expected="a span > 0")
    tau_low, tau_high = max(settings.tau[0], span / n), min(settings.tau[1], span)
    if settings.tau[0] >= span:
        warnings.warn(
            f"light curve {curve.name!r}: the lower limit of tau {settings.tau[0]:g} is beyond the time span "
            f"{span:g}; {span / n:g} is used.",
            stacklevel=2,
        )
        tau_low = span / n
    if settings.tau[1] <= span / n:
        tau_high = span
    narrow = max(settings.tau[0] if settings.tau[0] < span else 0.0, span / n / NARROWEST)
    own = {"log_sigma": settings.sigma, "log_tau": (tau_low, tau_high), "log_width": (min(narrow, tau_high), tau_high)}
    process = settings.process
    limits = [np.log(own[p.name]) if p.name in own else (p.low, p.high) for p in process.parameters]
    low, high = np.array(limits, dtype=float).T
    return low, high


def _apply_rules(layout: Layout, curves: LightCurves, settings: Settings, norm: Normalisation) -> Layout:
    continuum = curves.continuum.counts
    in_lines = sum((line.counts for line in curves.lines), np.zeros_like(continuum))
    empty = np.flatnonzero(continuum == 0)
    absent = np.flatnonzero((continuum == 0) & (in_lines == 0))
    layout = layout.hold(layout.scale[[0]], 0.0).hold(layout.shift[[0]], 0.0)
    layout = layout.hold(layout.shift[empty], 0.0).hold(layout.scale[absent], 0.0)
    if settings.fixed_scale:
        layout = layout.hold(layout.scale, 0.0)
    layout = layout.hold(layout.scale[_places(settings.fixed_scale_codes, curves, "fixed_scale_codes")], 0.0)
    as_given = _places(settings.fixed_codes, curves, "fixed_codes")
    layout = layout.hold(layout.scale[as_given], np.log(norm.factors[0, as_given] / norm.factors[0, 0]))
    layout = layout.hold(layout.shift[as_given], 0.0)
    if settings.fixed_shift:
        layout = layout.hold(layout.shift, 0.0)
    if not settings.fixed_scale:
        layout = layout.hold(layout.shift[(continuum <= 2) & (in_lines == 0)], 0.0)
    unused = _unused_slots(curves)
    unused[:, as_given] = True
    layout = layout.hold(layout.syserr[unused | (not settings.systematic_error)], 0.0)
    return layout.hold(layout.errscale[unused | (not settings.error_scale)], 0.0)


def _unused_slots(curves: LightCurves) -> NDArray[np.bool_]:
    unused = np.ones((len(curves.files), len(curves.codes), curves.n_flags), dtype=bool)
    for i, curve in enumerate(curves.files):
        unused[i, curve.code, curve.flag] = False
    return unused


def _places(codes: tuple[str, ...], curves: LightCurves, where: str) -> NDArray[np.int64]:
    for code in codes:
        if code not in curves.codes:
            raise UnknownNameError("telescope", code, curves.codes, where=where)
    return np.array([curves.codes.index(code) for code in codes], dtype=np.int64)


def _labels(curves: LightCurves, kernel_names: tuple[str, ...]) -> tuple[str, ...]:
    names = [curve.name for curve in curves.files]
    labels = [f"{parameter}[{name}]" for name in names for parameter in kernel_names]
    labels += [f"log_scale[{code}]" for code in curves.codes]
    labels += [f"shift[{code}]" for code in curves.codes]
    for name in names:
        for kind in ("syserr", "log_errscale"):
            labels += [f"{kind}[{name}, {code}, {k}]" for code in curves.codes for k in range(curves.n_flags)]
    return tuple(labels)
