"""Figures of a flux calibration: the curve, the fits of the stars, residuals, leave-one-star-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crosscal.core.robust import mad_sd
from crosscal.fluxcal.curve.curve import MAG, polynomials
from crosscal.fluxcal.curve.position import PLATE_RADIUS
from crosscal.fluxcal.night.night import NightCalibration
from crosscal.fluxcal.result import FluxCalibration
from crosscal.plot import COLOURS, INSTRUMENT_COLOURS, figure, legend_below, styled, text

CAPTIONS = {
    "curve": "Combined calibration curve with its 68 % band, and the curve of each star after removing its grey level; "
    "orange: interpolated across masked bands.",
    "ratio": "Each star's throughput over the combined one, with grey level and slope removed; grey bands are masked, "
    "dashed is their rms scatter at each wavelength (FCALRMS).",
    "fits": "Calibrated standard stars (grey level removed) and their template models.",
    "held_out": "Each star calibrated with the others (leave-one-out): magnitude offset and chromatic slope.",
    "plate": "Grey level and slope of each star at its place on the plate, over the smooth field fitted to them.",
    "targets": "Held-out standards calibrated as targets: synthetic minus catalogue magnitude and colour.",
    "arms": "Curves of the arms of one exposure that were calibrated together, with their 68 % bands, and the "
    "brightest standard stars over all arms (grey) with their templates, after one grey level for each star; where a "
    "star departs from its template slowly, its fibre loses more light of some colours.",
    "night": "Leave-one-star-out residuals of all frames.",
    "frames": "Stars used and scatter (FCALRMS) of every frame.",
}

_LABEL = "C (10⁻¹⁷ erg s⁻¹ cm⁻² Å⁻¹ per count s⁻¹)"
_WAVE = "Wavelength (Å)"
#: Single stars, where their number and not their name matters.
_STAR = "#7f8fa6"
#: So many of the stars that scatter most are named.
_MOST_NAMED = 3
#: Symbols of photometric bands.
_BANDS = "os^D"
#: So many stars are drawn one above the other.
_MOST_FITS = 10
#: Lines of arms, and so many of the brightest stars drawn over all of them.
_LINES, _MOST_JOINED = ("-", "--", "-."), 3


def captions(result: Any) -> dict[str, str]:
    """Return one sentence for each figure of a frame or of several."""
    return CAPTIONS


def figures(result: FluxCalibration) -> dict[str, Figure]:
    """Figures of one frame by name, the most telling first; none without a curve."""
    found: dict[str, Figure] = {}
    if result.curve is None:
        return found
    found["curve"] = curve_figure(result)
    if result.vectors:
        found["ratio"] = ratio_figure(result)
        found["fits"] = fit_figure(result)
    if result.held_out:
        found["held_out"] = held_out_figure(result)
    if result.curve.plate is not None and result.used:
        found["plate"] = plate_figure(result)
    return found


def night_figures(night: NightCalibration) -> dict[str, Figure]:
    """Figures of a run: of the whole where there are several frames, then of the first calibrated frame."""
    found: dict[str, Figure] = {}
    if len(night.results) > 1:
        if any(r.held_out for r in night.results):
            found["night"] = night_figure(night)
        found["frames"] = frames_figure(night)
    if any(r.targets for r in night.results):
        found["targets"] = targets_figure(night)
    arms = _joined_arms(night)
    if arms:
        found["arms"] = arms_figure(arms)
    first = next((r for r in night.results if r.curve is not None and r.vectors), None)
    if first is not None:
        found |= figures(first)
    return found


def _band_colour(b: int) -> str:
    return INSTRUMENT_COLOURS[b % len(INSTRUMENT_COLOURS)]


def _bin(values: np.ndarray, n: int) -> np.ndarray:
    size = max(values.size // n, 1)
    part = values[: size * (values.size // size)].reshape(-1, size)
    counts = np.isfinite(part).sum(axis=1)
    total = np.nansum(part, axis=1)
    return np.where(counts > size / 2, total / np.maximum(counts, 1), np.nan)


@styled
def curve_figure(result: FluxCalibration) -> Figure:
    """The combined curve with its band, and per-star curves at the common grey level."""
    curve = result.curve
    assert curve is not None
    fig = figure(7.5, 4.4)
    axes = fig.add_subplot()
    x = curve.wavelength
    for k, vector in enumerate(result.vectors):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(vector.good, vector.rate / vector.model * curve.value, np.nan)
        grey = np.nanmedian(ratio)
        axes.plot(
            _bin(x, 200), 1 / _bin(ratio / grey / curve.value, 200), color=_STAR, lw=0.7, alpha=0.7,
            label=None if k else "single stars, grey level removed",
        )  # fmt: skip
    sd = np.sqrt(curve.total_variance)
    axes.fill_between(x, curve.value - sd, curve.value + sd, color=COLOURS["after"], alpha=0.3, lw=0)
    label = f"combined ({len(result.used)} stars)" if result.vectors else "from neighbouring frames"
    axes.plot(x, curve.value, color=COLOURS["after"], lw=1.8, label=f"{label}, 68 %")
    gap = np.where(curve.bridged, curve.value, np.nan)
    if np.isfinite(gap).any():
        axes.plot(x, gap, color=COLOURS["truth"], lw=2.2, label="interpolated across masks")
    inside = curve.value[curve.covered]
    axes.set_ylim(0, 1.25 * np.nanquantile(inside, 0.995))
    axes.set(xlabel=_WAVE, ylabel=_LABEL, title=f"{result.info.name}: flux per count rate", xlim=(x[0], x[-1]))
    legend_below(fig, axes.get_legend_handles_labels()[0])
    return fig


@styled
def ratio_figure(result: FluxCalibration) -> Figure:
    """Residual throughput of each star after removing its own grey level and chromatic terms."""
    curve = result.curve
    assert curve is not None
    fig = figure(7.5, 4.2)
    axes = fig.add_subplot()
    x = curve.wavelength
    kept = [k for k in range(len(curve.names)) if k not in curve.rejected]
    basis = polynomials(x, curve.coefficients.shape[1] - 1) if curve.coefficients.shape[1] > 1 else np.ones((1, x.size))
    ratios = []
    for k, vector in enumerate(result.vectors):
        own = np.exp(MAG * curve.coefficients[kept[k]] @ basis)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(_bin(np.where(vector.good, vector.rate / vector.model * curve.value / own, np.nan), 150))
    scatter = [float(np.nan_to_num(mad_sd(r[np.isfinite(r)] - 1))) if np.isfinite(r).any() else 0.0 for r in ratios]
    worst = np.argsort(scatter)[::-1][:_MOST_NAMED]
    for k in [*(k for k in range(len(ratios)) if k not in worst), *worst[::-1]]:
        named = np.flatnonzero(worst == k)
        colour = INSTRUMENT_COLOURS[1 + named[0]] if named.size else _STAR
        label = text(result.vectors[k].star) if named.size else None
        axes.plot(_bin(x, 150), ratios[k], lw=0.9 if named.size else 0.6, alpha=0.8, color=colour, label=label)
    for low, high in result.options.mask:
        if high > x[0] and low < x[-1]:
            axes.axvspan(max(low, x[0]), min(high, x[-1]), color="#bbbbbb", alpha=0.35, lw=0)
    axes.axhline(1, color=COLOURS["data"], lw=1)
    if np.isfinite(curve.scatter).any():
        rms = _bin(curve.scatter, 60)
        for side in (-1, 1):
            label = "1 ± FCALRMS(λ)" if side == 1 else None
            axes.plot(_bin(x, 60), 1 + side * rms, color=COLOURS["data"], lw=1.4, ls="--", label=label)
    handles = axes.get_legend_handles_labels()[0]
    legend_below(fig, [*handles, Line2D([], [], color=_STAR, lw=0.9, label="the other stars")], width=90)
    spread = 5 * max(curve.rms, 0.01) if np.isfinite(curve.rms) else 0.2
    axes.set(
        xlabel=_WAVE, ylabel="Star / combined throughput", ylim=(1 - spread, 1 + spread), xlim=(x[0], x[-1]),
        title=f"{result.info.name}: scatter of the stars, FCALRMS {curve.rms:.3f}; labels: largest scatter",
    )  # fmt: skip
    return fig


@styled
def fit_figure(result: FluxCalibration) -> Figure:
    """Calibrated stars over their models, shifted."""
    curve = result.curve
    assert curve is not None
    found = [s for s in result.used if s.model is not None]
    used = found[:_MOST_FITS]
    stars = f"{len(used)} of {len(found)} standard stars" if len(found) > len(used) else "standard stars"
    by_name = {v.star: v for v in result.vectors}
    fig = figure(7.5, 1.6 + 0.55 * len(used))
    axes = fig.add_subplot()
    for k, star in enumerate(used):
        vector = by_name[star.name]
        model = vector.model
        with np.errstate(invalid="ignore"):
            flux = np.where(vector.good, vector.rate * curve.value, np.nan)
        level = np.nanmedian(flux / model)
        norm = np.nanmedian(model)
        wave = vector.wavelength
        axes.plot(wave, flux / level / norm + k, color=COLOURS["before"], lw=0.6)
        axes.plot(wave, model / norm + k, color=INSTRUMENT_COLOURS[k % len(INSTRUMENT_COLOURS)], lw=1.0)
        label = f"{star.name}, {star.teff:.0f} K\n[Fe/H] {star.feh:+.1f}, {star.rv:+.0f} km/s".replace("-", "\u2212")
        right = float(np.nanmedian((model / norm)[-100:]))
        axes.text(1.01, right + k, label, transform=axes.get_yaxis_transform(), fontsize=9, ha="left", va="center")
    axes.set(xlabel=_WAVE, ylabel="Flux / median, shifted", title=f"{result.info.name}: {stars} and their templates")
    axes.set_xlim(result.info.grid[0], result.info.grid[-1])
    axes.set_ylim(0, len(used) + 0.9)
    axes.set_yticks([])
    return fig


@styled
def held_out_figure(result: FluxCalibration) -> Figure:
    """Grey offsets per band and slopes of the held-out stars."""
    names = [h.name for h in result.held_out]
    fig = figure(7.5, max(3.6, 1.3 + 0.17 * len(names)))
    left, right = fig.subplots(1, 2)
    y = np.arange(len(names))
    offset = np.array([h.offset for h in result.held_out])
    for b, band in enumerate(result.bands):
        if np.isfinite(offset[:, b]).any():
            left.plot(offset[:, b], y, _BANDS[b % len(_BANDS)], ms=4, color=_band_colour(b), label=text(band))
    left.axvline(0, color=COLOURS["data"], lw=0.8)
    left.set_yticks(y, names, fontsize=9)
    left.set(xlabel="Calibrated \u2212 catalogue (mag)", title="Leave-one-out residuals of the stars")
    legend_below(fig, left.get_legend_handles_labels()[0])
    right.axvline(0, color=COLOURS["data"], lw=0.8)
    right.plot([h.slope for h in result.held_out], y, "o", ms=4, color=COLOURS["after"])
    right.set_yticks(y, [])
    right.set(xlabel="Chromatic slope (mag / 1000 Å)")
    return fig


@styled
def plate_figure(result: FluxCalibration) -> Figure:
    """The fields over the plate with the stars' own coefficients, both in mag (positive = more throughput)."""
    from matplotlib.colors import CenteredNorm

    curve = result.curve
    assert curve is not None
    assert curve.plate is not None
    titles = ("Grey (mag)", "Slope (mag / 1000 Å)")
    shown = [k for k, field in enumerate(curve.plate.fields[:2]) if field is not None]
    row = {name: k for k, name in enumerate(curve.names)}
    stars = [s for s in result.used if s.name in row]
    x, y = (np.array([getattr(result.info.fibres, key)[s.fibre] for s in stars]) for key in ("x", "y"))
    side = np.linspace(-1.3, 1.3, 105) * PLATE_RADIUS
    gx, gy = np.meshgrid(side, side)
    values = curve.plate.at(gx.ravel(), gy.ravel()) / MAG
    outside = np.hypot(gx, gy) > 1.25 * PLATE_RADIUS
    fig = figure(0.6 + 4.0 * max(len(shown), 1), 3.8)
    for k, axes in zip(shown, np.atleast_1d(fig.subplots(1, max(len(shown), 1), sharey=True)), strict=False):
        own = curve.coefficients[[row[s.name] for s in stars], k]
        field = np.where(outside, np.nan, values[:, k].reshape(gx.shape))
        norm = CenteredNorm(0.0, max(float(np.nanmax(np.abs(field))), 1.2 * float(np.median(np.abs(own))), 1e-3))
        extent = (side[0] / 1e3, side[-1] / 1e3) * 2
        image = axes.imshow(field, origin="lower", extent=extent, cmap="RdBu", norm=norm, interpolation="bilinear")
        axes.scatter(x / 1e3, y / 1e3, c=own, cmap="RdBu", norm=norm, s=55, edgecolor=COLOURS["data"], lw=0.8)
        axes.set(xlabel="X (mm)", title=titles[k], aspect="equal")
        axes.grid(False)
        fig.colorbar(image, ax=axes, shrink=0.85)
        if k == shown[0]:
            axes.set_ylabel("Y (mm)")
    return fig


@styled
def night_figure(night: NightCalibration) -> Figure:
    """Histograms of the leave-one-star-out residuals of a run."""
    held = [h for r in night.results for h in r.held_out]
    wanted = (("grey", "Grey offset (mag)", 1.0), ("slope", "Slope (mag / 1000 Å)", 0.4))
    colour = np.array([h.colour for h in held])
    panels = [*wanted, ("colour", "Colour (mag)", 0.4)] if np.isfinite(colour).any() else list(wanted)
    fig = figure(3.2 * len(panels), 3.2)
    grid = np.atleast_1d(fig.subplots(1, len(panels)))
    for axes, (key, label, limit) in zip(grid, panels, strict=True):
        values = np.array([getattr(h, key) for h in held])
        values = values[np.isfinite(values)]
        axes.hist(np.clip(values, -limit, limit), bins=41, range=(-limit, limit), color=COLOURS["after"], alpha=0.8)
        axes.axvline(0, color=COLOURS["data"], lw=0.8)
        axes.set_title(f"median {np.median(values):+.3f}, scatter {float(mad_sd(values)):.3f}", fontsize=9)
        axes.set(xlabel=label)
    grid[0].set_ylabel("Stars held out")
    return fig


def _joined_arms(night: NightCalibration) -> list[FluxCalibration]:
    """Results of the arms of the first exposure whose arms all have curves of their own stars; empty without one."""
    for together in dict.fromkeys(r.together for r in night.results if r.together):
        arms = [r for r in night.results if r.together == together and r.curve is not None and r.vectors]
        if len(arms) == len(together):
            return arms
    return []


@styled
def arms_figure(arms: Sequence[FluxCalibration]) -> Figure:
    """Curves of arms that were calibrated together, and their brightest stars over all arms."""
    fig = figure(7.5, 5.6)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    snr = {s.name: s.snr for s in arms[0].used}
    brightest = sorted((v.star for v in arms[0].vectors), key=lambda name: -snr.get(name, 0.0))[:_MOST_JOINED]
    for a, result in enumerate(arms):
        curve = result.curve
        assert curve is not None
        sd = np.sqrt(curve.total_variance)
        look = {"color": INSTRUMENT_COLOURS[a % len(INSTRUMENT_COLOURS)], "ls": _LINES[a % len(_LINES)]}
        top.fill_between(
            curve.wavelength, curve.value - sd, curve.value + sd, color=look["color"], alpha=0.3, lw=0
        )  # fmt: skip
        top.plot(curve.wavelength, curve.value, lw=1.6, label=text(result.info.name), **look)
    inside = np.concatenate([r.curve.value[r.curve.covered] for r in arms if r.curve is not None])
    top.set_ylim(0, 1.25 * np.nanquantile(inside, 0.98))
    top.set(ylabel=_LABEL.replace(" (", "\n("), title=f"{len(arms)} arms calibrated together")
    for k, name in enumerate(brightest):
        pairs = [(r, next(v for v in r.vectors if v.star == name)) for r in arms]
        with np.errstate(invalid="ignore"):
            fluxes = [np.where(v.good, v.rate * r.curve.value, np.nan) for r, v in pairs if r.curve is not None]
        level = np.nanmedian(np.concatenate([f / v.model for f, (_, v) in zip(fluxes, pairs, strict=True)]))
        norm = np.nanmedian(np.concatenate([v.model for _, v in pairs]))
        for a, (flux, (_, vector)) in enumerate(zip(fluxes, pairs, strict=True)):
            bottom.plot(vector.wavelength, flux / level / norm + k, color=COLOURS["before"], lw=0.5)
            colour = INSTRUMENT_COLOURS[a % len(INSTRUMENT_COLOURS)]
            bottom.plot(vector.wavelength, vector.model / norm + k, color=colour, ls=_LINES[a % len(_LINES)], lw=1.0)
        bottom.text(1.01, k + 1, text(name), transform=bottom.get_yaxis_transform(), fontsize=8, va="center")
    bottom.set(xlabel=_WAVE, ylabel="Flux / median, shifted")
    bottom.set_yticks([])
    legend_below(fig, top.get_legend_handles_labels()[0])
    return fig


@styled
def targets_figure(night: NightCalibration) -> Figure:
    """Offsets of the targets from their catalogue magnitudes, and from their colours, against signal-to-noise ratio."""
    targets = [t for r in night.results for t in r.targets]
    snr = np.array([t.snr for t in targets])
    offset, bands = np.array([t.offset for t in targets]), night.results[0].bands
    seen = [b for b in range(len(bands)) if np.isfinite(offset[:, b]).any()]
    colour = np.array([t.colour for t in targets])
    fig = figure(7.5, 3.6)
    left, right = fig.subplots(1, 2)
    for b in seen:
        scatter = float(mad_sd(offset[np.isfinite(offset[:, b]), b]))
        label = text(f"{bands[b]}: scatter {scatter:.3f}")
        left.plot(snr, offset[:, b], _BANDS[b % len(_BANDS)], ms=4, color=_band_colour(b), label=label)
    left.axhline(0, color=COLOURS["data"], lw=0.8)
    left.set(xlabel="S/N per pixel", ylabel="Calibrated \u2212 catalogue (mag)", title=f"{len(targets)} targets")
    legend_below(fig, left.get_legend_handles_labels()[0])
    finite = np.isfinite(colour)
    if finite.any():
        right.plot(snr[finite], colour[finite], "o", ms=4, color=COLOURS["after"])
        spread = float(mad_sd(colour[finite]))
        right.set_title(f"median {np.median(colour[finite]):+.3f}, scatter {spread:.3f}", fontsize=9)
    right.axhline(0, color=COLOURS["data"], lw=0.8)
    right.set(xlabel="S/N per pixel", ylabel="Colour, calibrated \u2212 catalogue (mag)")
    return fig


@styled
def frames_figure(night: NightCalibration) -> Figure:
    """FCALRMS and number of stars of every frame."""
    fig = figure(7.5, 3.4)
    axes = fig.add_subplot()
    x = np.arange(len(night.results))
    rms = np.array([r.curve.rms if r.curve is not None else np.nan for r in night.results])
    own = np.array([r.source == "stars" for r in night.results])
    axes.plot(x[own], rms[own], "o", ms=4, color=COLOURS["after"], label="own stars")
    if (~own).any():
        axes.plot(x[~own], rms[~own], "s", ms=4, color=COLOURS["truth"], label="curve of neighbours")
    failed = np.array([not r.passed for r in night.results])
    if failed.any():
        height = np.nan_to_num(rms, nan=0.0)[failed]
        axes.plot(x[failed], height, "x", ms=7, color=COLOURS["limit"], label="failed")
    axes.set(
        xlabel="Frame", ylabel="Scatter about the curve (FCALRMS)", title="Scatter of stars about each frame's curve"
    )
    axes.set_ylim(0, None)
    twin = axes.twinx()
    twin.plot(x, [len(r.used) for r in night.results], drawstyle="steps-mid", color=COLOURS["before"], lw=0.9)
    twin.set_ylabel("Stars used", color="#666666")
    twin.set_ylim(0, None)
    twin.grid(False)
    legend_below(fig, axes.get_legend_handles_labels()[0])
    return fig
