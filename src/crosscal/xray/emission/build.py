"""Make plasma tables from AtomDB files: the compact built-in one and full-resolution ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.xray.emission import elements
from crosscal.xray.emission.lines import add_lines, line_widths
from crosscal.xray.emission.plasma import CompactPlasma, DetailedPlasma, NodeEmission
from crosscal.xray.emission.rebin import integrate_linear

Array = NDArray[np.float64]

# What "strongest" is measured against: the light within a CCD's resolution, at temperatures that CCDs see.
_WINDOW_RELATIVE = 0.025
_WINDOW_KEV = 0.04
_RANKED_KT = (0.17, 35.0)
# A line matters less where the whole spectrum is this much fainter than its brightest part.
_FAINT = 1e-5


def compact_edges(n: int = 1000) -> Array:
    """Return bin edges in keV: ``n`` logarithmic bins from 0.1 to 17 keV and coarser ones from 0.05 and to 100 keV."""
    if n < 10:
        raise InputError(f"{n} bins", where="plasma table", expected="at least 10")
    soft = np.geomspace(0.05, 0.1, n // 20 + 1)
    main = np.geomspace(0.1, 17.0, n + 1)
    hard = np.geomspace(17.0, 100.0, n // 12 + 1)
    return np.concatenate([soft[:-1], main, hard[1:]])


def build_plasma(
    line: str | os.PathLike[str],
    coco: str | os.PathLike[str] | None,
    output: str | os.PathLike[str],
    *,
    bins: int = 1000,
    lines: int | None = 1900,
    kT_range: tuple[float, float] = (0.08, 90.0),
    velocity: float = 0.0,
    thermal: bool = False,
    precision: str = "half",
    overwrite: bool = True,
) -> Path:
    """Make a plasma table file from AtomDB's line and continuum files.

    Parameters
    ----------
    line, coco : path
        AtomDB files, or a directory that holds both and None.
    output : path
        The ``.npz`` file to write.
    bins : int
        Logarithmic bins from 0.1 to 17 keV for continuum and weak lines. 1000 suits CCDs; a microcalorimeter of
        5 eV needs about 20000.
    lines : int or None
        How many of the strongest lines keep their exact energy; None keeps all.
    kT_range : (float, float), keV
        Range of temperature nodes.
    velocity : float
        Gaussian sigma of turbulent broadening of every line, km/s.
    thermal : bool
        Thermal broadening of every line.
    precision : "half" or "single"
        Of the numbers in the file.
    overwrite : bool

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    DataFileError, InputError
        For unusable files and numbers.
    """
    from crosscal.xray.emission.atomdb import read_atomdb
    from crosscal.xray.emission.tablefile import write_table

    plasma = read_atomdb(line, coco, kT_range=kT_range)
    table = compress(plasma, compact_edges(bins), lines=lines, velocity=velocity, thermal=thermal)
    return write_table(output, table, precision=precision, overwrite=overwrite)


def compress(
    plasma: DetailedPlasma,
    edges: Array,
    *,
    lines: int | None = 1900,
    velocity: float = 0.0,
    thermal: bool = False,
) -> CompactPlasma:
    """Bin a detailed plasma, keeping its strongest lines apart.

    Parameters
    ----------
    plasma : DetailedPlasma
    edges : array, shape (m + 1,), keV
    lines, velocity, thermal
        As in ``build_plasma``.

    Returns
    -------
    CompactPlasma
    """
    if lines is not None and lines < 0:
        raise InputError(f"{lines} lines", where="plasma table", expected="0 or more, or None for all")
    if not 0 <= velocity < 3e5:
        raise InputError(f"velocity {velocity:g} km/s", where="plasma table", expected="0 to 300000")
    chosen = _strongest(plasma, edges, lines)
    n_T = plasma.kT.size
    energy = np.zeros(chosen.size)
    element = np.zeros(chosen.size, dtype=np.int64)
    emissivity = np.zeros((n_T, chosen.size))
    content = np.zeros((n_T, len(elements.GROUPS), edges.size - 1))
    trace = np.zeros(len(elements.TRACE))
    for k, node in enumerate(plasma.nodes):
        position = np.searchsorted(chosen, node.line_id)
        position[position == chosen.size] = 0
        strong = chosen[position] == node.line_id if chosen.size else np.zeros(node.line_id.size, dtype=bool)
        np.add.at(emissivity[k], position[strong], node.line_emissivity[strong])
        energy[position[strong]] = node.line_energy[strong]
        element[position[strong]] = node.line_element[strong]
        binned = _bin(node, ~strong, edges, plasma.kT[k], velocity, thermal)
        for g, group in enumerate(elements.GROUPS):
            content[k, g] = binned[[elements.Z[s] - 1 for s in group]].sum(axis=0)
        share = binned[[elements.Z[s] - 1 for s in elements.TRACE]].sum(axis=1)
        trace += share / max(share.sum(), np.finfo(float).tiny)
    order = np.argsort(energy, kind="stable")
    return CompactPlasma(
        kT=plasma.kT,
        edges=np.asarray(edges, dtype=float),
        content=content,
        line_energy=energy[order],
        line_element=element[order],
        line_emissivity=emissivity[:, order],
        # Without any trace element all shares are equal: they multiply nothing.
        trace_share=trace / trace.sum() if trace.any() else np.full(trace.size, 1.0 / trace.size),
        version=plasma.version,
        citation=plasma.citation,
        velocity=float(velocity),
        thermal=bool(thermal),
    )


def _bin(
    node: NodeEmission, lines: NDArray[np.bool_], edges: Array, kT: float, velocity: float, thermal: bool
) -> Array:
    """Bin continua and the lines that ``lines`` marks; shape (30, m)."""
    out = np.zeros((len(elements.SYMBOLS), edges.size - 1))
    for element, energy, density in node.continua:
        out[element] += integrate_linear(energy, density, edges)
    for element in np.unique(node.line_element[lines]):
        mine = lines & (node.line_element == element)
        energy = node.line_energy[mine]
        sigma = line_widths(energy, node.line_element[mine], kT, velocity, thermal)
        out[element] += add_lines(energy, sigma, node.line_emissivity[mine][None], edges)[0]
    return out


def _strongest(plasma: DetailedPlasma, edges: Array, lines: int | None) -> NDArray[np.int64]:
    """Return the identities, sorted, of the lines that stand out most at any temperature."""
    best: dict[int, float] = {}
    for kT, node in zip(plasma.kT, plasma.nodes, strict=True):
        if lines is not None and not _RANKED_KT[0] <= kT <= _RANKED_KT[1]:
            continue
        inside = (node.line_energy >= edges[0]) & (node.line_energy < edges[-1])
        contrast = _contrast(node, edges)[inside]
        if lines is not None and contrast.size > 2 * lines:
            # No line outside a node's own top 2 n can be among the top n of all nodes by much.
            few = np.argpartition(contrast, -2 * lines)[-2 * lines :] if lines else np.zeros(0, dtype=np.int64)
            contrast, identity = contrast[few], node.line_id[inside][few]
        else:
            identity = node.line_id[inside]
        for name, value in zip(identity.tolist(), contrast.tolist(), strict=True):
            if value > best.get(name, 0.0):
                best[name] = value
    ranked = sorted(best, key=lambda name: -best[name])
    return np.sort(np.array(ranked[:lines], dtype=np.int64))


def _contrast(node: NodeEmission, edges: Array) -> Array:
    """Return how much each line would disturb a CCD spectrum if it were binned.

    Its share of the light around it, less where the spectrum is faint, times its energy: the bins are a fixed fraction
    of the energy, so a line at high energy may be moved by more.
    """
    every = np.ones(node.line_energy.size, dtype=bool)
    total = _bin(node, every, edges, 1.0, 0.0, False).sum(axis=0)
    cumulative = np.concatenate([[0.0], np.cumsum(total)])
    half = np.maximum(_WINDOW_RELATIVE * node.line_energy, _WINDOW_KEV)
    energy = node.line_energy
    around = np.interp(energy + half, edges, cumulative) - np.interp(energy - half, edges, cumulative)
    bright = (around / (2 * half)).max(initial=0.0)
    weight = np.minimum(1.0, around / (2 * half) / (_FAINT * bright)) if bright > 0 else 0.0
    return weight * energy * node.line_emissivity / np.maximum(around, np.finfo(float).tiny)
