"""Spectra of the same sources in two telescopes, prepared so that no response product is left inside a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.xray.fitting.batch import fit_counts
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.instrument.grouping import Groups, optimal

if TYPE_CHECKING:
    from crosscal.xray.correction.clusters import Clusters
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.instrument.spectrum import Spectrum

Floats = NDArray[np.float64]

#: Half-width of the window in which a source's spectrum is tabulated, in pilot errors.
WINDOW = 8.0
#: Chebyshev degree in parameters in which the spectrum is not linear, over that window.
DEGREE = 5


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


def observations_of(clusters: Clusters) -> list[Observation]:
    """Return the spectra of simulated clusters as observations of the two telescopes, under their names."""
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
class Pilot:
    """A first fit of each source to the trusted telescope: where its parameters are tabulated.

    Attributes
    ----------
    names : tuple of str, p free parameters
    centre : array (N, p)
        kT and norm in logarithm.
    scale : array (N, p)
        One standard deviation, or less where the window would leave the model's range.
    log : array of bool (p,)
    """

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    log: NDArray[np.bool_]

    def physical(self, v: Any, xp: Any = np) -> Any:
        """Turn standardised parameters (..., N, p) into physical ones."""
        y = self.centre + self.scale * v
        return xp.where(self.log, xp.exp(y), y)


@dataclass(frozen=True, eq=False)
class Block:
    """Spectra that share telescope, response, channels and groups.

    Attributes
    ----------
    index : int array (n,)
        Number of the source of each spectrum.
    counts : array (n, g)
    background : array (n, g) or None
    ratio : array (n, g)
        Background expected in the spectrum per background count.
    energy : array (n_energy,), keV
    fold : array (g, n_energy)
        Grouped redistribution times area.
    photons : array (n, r, n_energy)
        Chebyshev coefficients of exposure times the photon spectrum over the window, r products of degrees.
    corrected : bool
        Whether phi multiplies the area (the telescope that is not trusted).
    lo, hi : arrays (g,), keV, nominal energies of the groups
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


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything the likelihood needs.

    sources : names; telescopes : (trusted, other); pilot; blocks; degrees : (r, p) Chebyshev degree of each row in each
    parameter; multiplicative : number of the parameter that scales the spectrum, or None
    """

    sources: tuple[str, ...]
    telescopes: tuple[str, str]
    pilot: Pilot
    blocks: tuple[Block, ...]
    degrees: NDArray[np.int64]
    multiplicative: int | None


def prepare(observations: Sequence[Observation], trusted: str, *, progress: Progress = SILENT) -> Prepared:
    """Fit each source to the trusted telescope and tabulate its spectrum around the fit.

    Raises
    ------
    InputError
        If there are not exactly two telescopes, one of them ``trusted``; a source lacks one; or free parameters differ.
    FitError
        If a source cannot be fitted.
    """
    names, telescopes = _check(observations, trusted)
    free = observations[0].model.free
    with progress.stage("Fitting the trusted telescope", total=len(names)) as advance:
        pilot = _pilot([o for o in observations if o.telescope == trusted], names, free)
        advance(len(names))
    multiplicative = _multiplicative(observations[0].model)
    degrees = _degrees(observations[0].model, free, multiplicative)
    keys: dict[Any, list[Observation]] = {}
    for o in observations:
        mask = o.spectrum.band(o.response, *o.band)
        keys.setdefault((o.telescope, id(o.response), mask.tobytes(), o.spectrum.background is None), []).append(o)
    blocks = []
    with progress.stage("Tabulating spectra", total=len(observations)) as advance:
        for members in keys.values():
            blocks.append(_block(members, names, pilot, degrees, multiplicative, members[0].telescope != trusted))
            advance(len(members))
    return Prepared(names, telescopes, pilot, tuple(blocks), degrees, multiplicative)


def _check(observations: Sequence[Observation], trusted: str) -> tuple[tuple[str, ...], tuple[str, str]]:
    where = "observations"
    telescopes = list(dict.fromkeys(o.telescope for o in observations))
    if len(telescopes) != 2 or trusted not in telescopes:
        raise InputError(f"telescopes {telescopes}", where=where, expected=f"two, one of them {trusted!r}")
    other = next(t for t in telescopes if t != trusted)
    names = tuple(dict.fromkeys(o.source for o in observations))
    for name in names:
        have = {o.telescope for o in observations if o.source == name}
        if len(have) < 2:
            raise InputError(f"the source {name!r} was seen by {have.pop()!r} only", where=where, expected="both")
    for o in observations:
        if set(o.model.free) != set(observations[0].model.free):
            raise InputError(
                f"the model of {o.source!r} has the free parameters {o.model.free}",
                where=where,
                expected=f"{observations[0].model.free} for all",
            )
    return names, (trusted, other)


def _multiplicative(model: Model) -> int | None:
    """Return the number of the free parameter that scales the whole spectrum, if there is one."""
    edges = np.geomspace(0.5, 8.0, 20)
    for k, name in enumerate(model.free):
        if name in model.linear and name.startswith("norm"):
            low = model.spectrum(edges, **{name: 1.0})
            if np.allclose(model.spectrum(edges, **{name: 2.0}), 2 * low, rtol=1e-10):
                return k
    return None


def _degrees(model: Model, free: Sequence[str], multiplicative: int | None) -> NDArray[np.int64]:
    tops = [0 if k == multiplicative else 1 if n in model.linear else DEGREE for k, n in enumerate(free)]
    return np.array(list(product(*(range(t + 1) for t in tops))), dtype=np.int64)


def _pilot(observations: Sequence[Observation], names: Sequence[str], free: Sequence[str]) -> Pilot:
    """Fit the first spectrum of each source; spectra of one response and model go through the compiled engine."""
    first = {o.source: o for o in reversed(observations)}
    groups: dict[Any, list[str]] = {}
    for name in names:
        o = first[name]
        mask = o.spectrum.band(o.response, *o.band)
        groups.setdefault((id(o.response), id(o.model), mask.tobytes(), o.spectrum.background is None), []).append(name)
    values, sds = np.empty((len(names), len(free))), np.empty((len(names), len(free)))
    for (_, _, mask, no_background), members in groups.items():
        found = _fit_batch([first[m] for m in members], np.frombuffer(mask, dtype=bool)) if no_background else {}
        for name in members:
            v, sd = found[name] if name in found else _fit_one(first[name])
            values[names.index(name)], sds[names.index(name)] = [v[n] for n in free], [sd[n] for n in free]
    return _standardise(observations[0].model, tuple(free), values, sds)


def _fit_batch(members: Sequence[Observation], mask: NDArray[np.bool_]) -> dict[str, Any]:
    model = members[0].model
    templates = FoldedTemplates.build(members[0].response, model, mask=mask)
    exposure = np.array([o.spectrum.exposure for o in members])
    counts = np.stack([o.spectrum.counts[mask] for o in members])
    start = {n: np.full(len(members), model.parameter(n).default) for n in model.free}
    if "kT" in start:
        start["kT"] = np.full(len(members), 4.0)
    total = templates.counts(None, **start).sum(axis=1)
    for n in model.free:
        if n.startswith("norm"):
            start[n] = start[n] * counts.sum(axis=1) / total
    result = fit_counts(templates, model, counts, start=start)
    found = {}
    for i, o in enumerate(members):
        if result.status[i] == 0:
            unit = {n: exposure[i] if n.startswith("norm") else 1.0 for n in result.names}
            sd = np.sqrt(np.diag(result.covariance[i]))
            found[o.source] = (
                {n: result.values[i, k] / unit[n] for k, n in enumerate(result.names)},
                {n: sd[k] / unit[n] for k, n in enumerate(result.names)},
            )
    return found


def _fit_one(o: Observation) -> tuple[Mapping[str, float], Mapping[str, float]]:
    result = fit(o.spectrum, o.response, o.model, band=o.band)
    if result.status != 0:
        raise FitError(f"The spectrum of {o.source!r} in {o.telescope!r} cannot be fitted ({result.status.name}).")
    return result.values, result.errors


def _standardise(model: Model, free: tuple[str, ...], values: Floats, sds: Floats) -> Pilot:
    log = np.array([model.parameter(n).low >= 0 and n not in model.linear for n in free])
    multiplicative = _multiplicative(model)
    if multiplicative is not None:
        log[multiplicative] = True
    centre = np.where(log, np.log(np.where(log, np.maximum(values, 1e-300), 1.0)), values)
    scale = np.where(log, sds / np.abs(np.where(values == 0, 1.0, values)), sds)
    for k, n in enumerate(free):
        nodes, p = model.nodes(n), model.parameter(n)
        ends = (nodes[0], nodes[-1]) if nodes is not None else (p.low, p.high)
        if n in model.linear:
            continue
        with np.errstate(divide="ignore"):
            low, high = np.log(ends) if log[k] else np.array(ends)
        room = np.minimum(centre[:, k] - low, high - centre[:, k])
        scale[:, k] = np.minimum(scale[:, k], np.maximum(room, 1e-6) / WINDOW)
    return Pilot(free, centre, scale, log)


def _block(
    members: Sequence[Observation],
    names: Sequence[str],
    pilot: Pilot,
    degrees: NDArray[np.int64],
    multiplicative: int | None,
    corrected: bool,
) -> Block:
    o = members[0]
    mask = o.spectrum.band(o.response, *o.band)
    for m in members:
        if np.ndim(m.spectrum.areascale):
            raise InputError("an AREASCAL per channel", where=f"spectrum of {m.source!r}", expected="one number")
    index = np.array([names.index(m.source) for m in members])
    # One grouping for all, from all counts: phi is seen by all sources together, so that bins must be finer than
    # what is best for one of them.
    groups: Groups = optimal(o.response, sum(m.spectrum.counts for m in members), mask)
    part = o.response.restricted(mask)
    used = np.flatnonzero(mask)
    fold = (groups.matrix[:, used] @ part.redistribution).toarray() * part.area
    photons = np.stack(
        [_coefficients(m, names.index(m.source), pilot, degrees, multiplicative, part.energy_edges) for m in members]
    )
    background, ratio = None, np.ones((len(members), groups.n_group))
    if o.spectrum.background is not None:
        background = np.stack([groups.sum(_background(m).counts) for m in members])
        size = groups.sum(np.ones(mask.size))
        ratio = np.stack([groups.sum(np.broadcast_to(m.spectrum.background_ratio, mask.shape)) / size for m in members])
    lo, hi = groups.energies(o.response)
    return Block(
        index,
        np.stack([groups.sum(m.spectrum.counts) for m in members]),
        background,
        ratio,
        part.energy,
        fold,
        photons,
        corrected,
        lo,
        hi,
    )


def _affine(model: Model, name: str, k: int, multiplicative: int | None) -> bool:
    return name in model.linear and k != multiplicative


def _coefficients(
    o: Observation, i: int, pilot: Pilot, degrees: NDArray[np.int64], multiplicative: int | None, edges: Floats
) -> Floats:
    """Tabulate one source at Chebyshev nodes of its window and return the coefficients (r, n_energy)."""
    tops, values, nodes = degrees.max(axis=0), {}, []
    for k, name in enumerate(pilot.names):
        if _affine(o.model, name, k, multiplicative):
            # The spectrum at two values gives it at all; these two are inside the parameter's range.
            nodes.append(np.array([0.0, 1.0]))
        elif tops[k] == 0:
            nodes.append(pilot.physical(np.zeros(len(pilot.names)))[i, k : k + 1])
        else:
            x = np.cos(np.pi * (np.arange(tops[k] + 1) + 0.5) / (tops[k] + 1))
            y = pilot.centre[i, k] + pilot.scale[i, k] * WINDOW * x
            nodes.append(np.exp(y) if pilot.log[k] else y)
    for name, column in zip(pilot.names, np.meshgrid(*nodes, indexing="ij"), strict=True):
        values[name] = column.ravel()
    scale = o.spectrum.exposure * float(o.spectrum.areascale)
    spectra = o.model.spectrum(edges, **values).reshape(*(len(n) for n in nodes), -1) * scale
    for k, name in enumerate(pilot.names):
        if tops[k] == 0:
            continue
        if _affine(o.model, name, k, multiplicative):
            centre, half = pilot.centre[i, k], pilot.scale[i, k] * WINDOW
            matrix = np.array([[1.0 - centre, centre], [-half, half]])
        else:
            x = np.cos(np.pi * (np.arange(tops[k] + 1) + 0.5) / (tops[k] + 1))
            matrix = np.linalg.inv(np.polynomial.chebyshev.chebvander(x, int(tops[k])))
        spectra = np.moveaxis(np.tensordot(matrix, spectra, axes=(1, k)), 0, k)
    return spectra.reshape(len(degrees), -1)


def _background(o: Observation) -> Spectrum:
    """Return the background spectrum of an observation in a block whose members all have one."""
    if o.spectrum.background is None:
        raise InputError(
            "no background spectrum", where=f"source {o.source!r}, {o.telescope}", expected="one, as its neighbours"
        )
    return o.spectrum.background
