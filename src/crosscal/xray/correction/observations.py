"""Spectra of the same sources in two telescopes, prepared so that no response product is left inside a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.core.progress import SILENT, Progress
from crosscal.xray.correction.pilot import Pilot, fit_trusted
from crosscal.xray.correction.tabulate import coefficients, multiplicative, needed_degree, rows_of
from crosscal.xray.fitting.data import error_notes
from crosscal.xray.fitting.statistics import Kind
from crosscal.xray.instrument.checks import told_once
from crosscal.xray.instrument.grouping import Groups, optimal

if TYPE_CHECKING:
    from crosscal.xray.correction.clusters import Clusters
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.instrument.spectrum import Spectrum

Floats = NDArray[np.float64]

#: Largest share of the sources that may be left out without being asked.
MOST_LEFT_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Observation:
    """One spectrum of a source.

    Parameters
    ----------
    source, telescope : str
        Observations of one source share its free parameters.
    spectrum : Spectrum
        With a background spectrum, that is part of the likelihood (wstat), without one it is cstat.
    response : Response
        The nominal calibration.
    model : Model
        Fixed values (nH, Redshift) are this source's; its free parameters are fitted.
    band : (low, high), keV
    """

    source: str
    telescope: str
    spectrum: Spectrum
    response: Response
    model: Model
    band: tuple[float, float] = (0.7, 7.0)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Good channels of the band, (n_channel,)."""
        return self.spectrum.band(self.response, *self.band)

    @cached_property
    def total(self) -> float:
        """Counts in the band."""
        return float(self.spectrum.counts[self.mask].sum())


def observations_of(clusters: Clusters) -> list[Observation]:
    """Return the spectra of simulated clusters as observations of the two telescopes, under their names.

    Examples
    --------
    >>> observations = xray.observations_of(clusters)  # doctest: +SKIP
    """
    found = []
    for t, telescope in enumerate(clusters.telescopes):
        response, mask = clusters.responses[t], clusters.templates[t].mask
        inside = 0.01 * float(np.min(response.channel_hi - response.channel_lo))
        band = (float(response.channel_lo[mask].min()) + inside, float(response.channel_hi[mask].max()) - inside)
        found += [
            Observation(name, telescope, spectrum, response, clusters.model, band)
            for name, spectrum in zip(clusters.names, clusters.spectra(t), strict=True)
        ]
    return found


@dataclass(frozen=True, eq=False)
class Block:
    """Spectra that share telescope, channels and groups.

    Attributes
    ----------
    index : int array (n,)
        Number of the source of each spectrum.
    counts : array (n, g)
    background : array (n, g) or None
    ratio : array (n, g)
        Background expected in the spectrum per background count.
    energy : array (n_energy,), keV
    fold : array (g, n_energy), or (n, g, n_energy) where the spectra have different responses
        Grouped redistribution times area and AREASCAL.
    photons : array (n, r, n_energy)
        Chebyshev coefficients of exposure times the photon spectrum over the range, r products of degrees.
    corrected : bool
        Whether phi multiplies the area (the telescope that is not trusted).
    lo, hi : arrays (g,), keV, nominal energies of the groups
    members : the observations, in order
    edges : array (n_energy + 1,), keV
    """

    index: NDArray[np.int64]
    counts: Floats
    background: Floats | None
    ratio: Floats
    energy: Floats
    fold: Floats
    photons: Floats
    corrected: bool
    lo: Floats
    hi: Floats
    members: tuple[Observation, ...]
    edges: Floats


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything the likelihood needs.

    sources : names; telescopes : (trusted, corrected); pilot; blocks; degrees : (r, p) Chebyshev degree of each row in
    each parameter; multiplicative : number of the parameter that scales the spectrum, or None; notes : what was left
    out, one sentence each; observations : those that are used
    """

    sources: tuple[str, ...]
    telescopes: tuple[str, str]
    pilot: Pilot
    blocks: tuple[Block, ...]
    degrees: NDArray[np.int64]
    multiplicative: int | None
    notes: tuple[str, ...] = ()
    observations: tuple[Observation, ...] = ()


def prepare(
    observations: Sequence[Observation],
    trusted: str | Sequence[str],
    corrected: str | None = None,
    *,
    most_left_out: float = MOST_LEFT_OUT,
    progress: Progress = SILENT,
) -> Prepared:
    """Fit each source to the reference telescope and tabulate its spectrum over the range that this leaves.

    Parameters
    ----------
    observations : sequence of Observation
        Those of other telescopes, and of sources that were not seen by both sides, are left out with a note.
    trusted : str or sequence of str
        Telescopes whose areas are right.
    corrected : str, optional
        The telescope whose area is to be corrected; the only other one by default.
    most_left_out : float
        Largest fraction of sources that may be excluded because their reference spectrum cannot be fitted.

    Raises
    ------
    InputError
        For telescopes that are not there, no source seen by both, or free parameters that differ.
    FitError
        If more sources than ``most_left_out`` cannot be fitted.
    """
    used, roles, notes = _select(observations, trusted, corrected)
    names = tuple(dict.fromkeys(o.source for o in used))
    free = used[0].model.free
    scaled = multiplicative(used[0].model)
    with progress.stage("Fitting the reference telescope", total=len(names)) as advance:
        pilot, trouble = fit_trusted([o for o in used if o.telescope in roles[0]], names, free, scaled)
        advance(len(names))
    if trouble:
        notes.append(_left_out(trouble, len(names), most_left_out))
        names = tuple(n for n in names if n not in trouble)
        used = [o for o in used if o.source in names]
    with progress.stage("Tabulating spectra", total=len(used)) as advance:
        groups = _grouped(used, roles[1])
        degrees = rows_of(_degrees(groups, names, pilot, scaled))
        blocks = []
        for part in groups:
            blocks.append(_block(part, names, pilot, degrees, scaled, part.members[0].telescope == roles[1]))
            advance(len(part.members))
    telescopes = (" + ".join(roles[0]), roles[1])
    notes += told_once(note for o in used for note in (*o.spectrum.notes, *o.response.notes))
    return Prepared(names, telescopes, pilot, tuple(blocks), degrees, scaled, tuple(notes), tuple(used))


def _left_out(trouble: Mapping[str, str], n: int, most: float) -> str:
    shown = "; ".join(f"{name}: {why}" for name, why in list(trouble.items())[:5])
    more = f"; and {len(trouble) - 5} more" if len(trouble) > 5 else ""
    if len(trouble) == n or len(trouble) > most * n:
        raise FitError(
            f"The reference spectra of {len(trouble)} of {n} sources cannot be used ({shown}{more}): free fewer "
            f"parameters, remove these sources from the table, or raise most_left_out (now {most:g})."
        )
    return f"{len(trouble)} of {n} sources are excluded: their reference spectrum cannot be used ({shown}{more})."


def _select(
    observations: Sequence[Observation], trusted: str | Sequence[str], corrected: str | None
) -> tuple[list[Observation], tuple[tuple[str, ...], str], list[str]]:
    """Return the observations that are used, (trusted, corrected) telescopes, and what was left out, in sentences."""
    where, notes = "observations", []
    names = list(dict.fromkeys(o.telescope for o in observations))
    right = (trusted,) if isinstance(trusted, str) else tuple(trusted)
    for name in (*right, *(() if corrected is None else (corrected,))):
        if name not in names:
            raise UnknownNameError("telescope", name, names, where=where)
    others = [n for n in names if n not in right]
    if corrected is None and len(others) != 1:
        raise InputError(
            f"{len(others)} telescopes besides the reference {', '.join(right)}",
            where=where,
            expected=f"the name of the one to correct: {', '.join(others) or 'the table has no other'}",
        )
    target = others[0] if corrected is None else corrected
    if target in right:
        raise InputError(
            f"{target!r} is both the reference and the telescope to correct",
            where=where,
            expected="two different telescopes",
        )
    unused = [n for n in others if n != target]
    if unused:
        notes.append(
            f"Spectra of {', '.join(unused)} are not used: {target} is corrected, {', '.join(right)} is the reference."
        )
    used = [o for o in observations if o.telescope == target or o.telescope in right]
    seen = [{o.source for o in used if (o.telescope == target) == side} for side in (False, True)]
    both = seen[0] & seen[1]
    if not both:
        raise InputError(
            f"no source was observed with both {target} and {', '.join(right)}", where=where, expected="common sources"
        )
    alone = [s for s in dict.fromkeys(o.source for o in used) if s not in both]
    if alone:
        shown = ", ".join(alone[:5]) + (", ..." if len(alone) > 5 else "")
        notes.append(f"{len(alone)} sources are excluded, because only one telescope observed them: {shown}.")
    used = [o for o in used if o.source in both]
    for o in used:
        if set(o.model.free) != set(used[0].model.free):
            raise InputError(
                f"the model of {o.source!r} has the free parameters {o.model.free}",
                where=where,
                expected=f"{used[0].model.free} for all",
            )
        _check_counts(o)
    notes += told_once(
        f"{o.spectrum.name or o.source}: {note}"
        for o in used
        for kind in [Kind.CSTAT if o.spectrum.background is None else Kind.WSTAT]
        for note in error_notes(o.spectrum, kind, kind.name.lower())
    )
    return used, (right, target), notes


def _check_counts(o: Observation) -> None:
    """Refuse net counts: the likelihood of all spectra is Poisson."""
    for what, spectrum in (("counts", o.spectrum), ("background counts", o.spectrum.background)):
        if spectrum is not None and np.any(spectrum.counts < 0):
            raise InputError(
                f"negative {what}",
                where=f"observations, {o.source!r} with {o.telescope}",
                expected="counts with their background, not net counts: the likelihood is that of Poisson",
            )


@dataclass(frozen=True, eq=False)
class _Part:
    """Observations of one block with their common grouping: ``fold`` (g, n_energy), or one for each."""

    members: list[Observation]
    groups: Groups
    edges: Floats
    energy: Floats
    fold: Floats


def _grouped(observations: Sequence[Observation], corrected: str) -> list[_Part]:
    """Collect the observations whose spectra have the same channels and energies into blocks."""
    keys: dict[Any, list[Observation]] = {}
    for o in observations:
        grid = (o.response.channel_lo.tobytes(), o.response.energy_lo.tobytes(), o.mask.tobytes())
        keys.setdefault((o.telescope == corrected, grid, o.spectrum.background is None), []).append(o)
    return [_part(members) for members in keys.values()]


def _part(members: list[Observation]) -> _Part:
    first, mask = members[0], members[0].mask
    # One grouping for all, from all counts: phi is seen by all sources together, so that bins must be finer than
    # what is best for one of them.
    groups = optimal(first.response, sum(m.spectrum.counts for m in members), mask)
    slices = [m.response.energy_slice(mask) for m in {id(m.response): m for m in members}.values()]
    part = slice(min(s.start for s in slices), max(s.stop for s in slices))
    folds: dict[Any, Floats] = {}
    keys = []
    for m in members:
        own = np.ndim(m.spectrum.areascale) > 0
        keys.append((id(m.response), id(m) if own else 0))
        if keys[-1] not in folds:
            scale = np.broadcast_to(m.spectrum.areascale, mask.shape) if own else np.ones(mask.size)
            matrix = groups.matrix.multiply(scale[None, :]).tocsr() @ m.response.redistribution[:, part]
            folds[keys[-1]] = matrix.toarray() * m.response.area[part]
    fold = folds[keys[0]] if len(folds) == 1 else np.stack([folds[k] for k in keys])
    edges = first.response.energy_edges[part.start : part.stop + 1]
    return _Part(members, groups, edges, first.response.energy[part], fold)


def _degrees(groups: Sequence[_Part], names: Sequence[str], pilot: Pilot, scaled: int | None) -> list[int]:
    """Return the degree of each parameter: as high as the most demanding source needs."""
    tops = [0 if k == scaled else 1 for k in range(len(pilot.names))]
    for part in groups:
        for j, m in enumerate(part.members):
            i = names.index(m.source)
            fold = part.fold if part.fold.ndim == 2 else part.fold[j]
            for k in np.flatnonzero(np.isfinite(pilot.low[i])):
                tops[k] = max(tops[k], needed_degree(m, i, int(k), pilot, part.edges, fold))
    return tops


def _block(
    part: _Part, names: Sequence[str], pilot: Pilot, degrees: NDArray[np.int64], scaled: int | None, corrected: bool
) -> Block:
    members, groups, n = part.members, part.groups, part.groups.n_channel
    scale = [1.0 if np.ndim(m.spectrum.areascale) else float(m.spectrum.areascale) for m in members]
    index = np.array([names.index(m.source) for m in members])
    tops = degrees.max(axis=0)
    photons = np.stack(
        [s * coefficients(m, i, pilot, tops, part.edges, scaled) for m, i, s in zip(members, index, scale, strict=True)]
    )
    background, ratio = None, np.ones((len(members), groups.n_group))
    if members[0].spectrum.background is not None:
        background = np.stack([groups.sum(m.spectrum.background.counts) for m in members])  # type: ignore[union-attr]
        size = groups.sum(np.ones(n))
        ratio = np.stack([groups.sum(np.broadcast_to(m.spectrum.background_ratio, (n,))) / size for m in members])
    return Block(
        index,
        np.stack([groups.sum(m.spectrum.counts) for m in members]),
        background,
        ratio,
        part.energy,
        part.fold,
        photons,
        corrected,
        *groups.energies(members[0].response),
        tuple(members),
        part.edges,
    )
