"""The map from true to measured temperatures by fits, of sources that differ in absorption, redshift or response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.emulator.base import Floats
from crosscal.xray.correction.emulate import CalibrationEmulator
from crosscal.xray.correction.exact import ExactMap, chebyshev_nodes, polynomials, to_coefficients
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.fitting.batch import solve_batch
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.table import FoldedTable

#: Temperatures at which spectra of each source are fitted for one theta; between them a polynomial in ln T.
NODES = 5
#: The true temperature of a source is looked for within this many errors of what the reference telescope found ...
REACH = 6.0
#: ... and within at least and at most this much of it, in ln T.
NARROWEST, WIDEST = 0.05, 0.8
#: More sources than these would fill the memory: each has a folded table of its own, of about a megabyte.
MOST_SOURCES = 500
#: What stands for responses among the names of what differs from source to source.
RESPONSE = "response"


@dataclass(frozen=True, eq=False)
class SourceMap(ExactMap):
    """Noiseless fits of each source at each theta: y_i(theta, T) = sum_j c_ij(theta) T_j(x_i).

    x_i = (ln T - m_i) / h_i scales the temperatures that source i can have to [-1, 1].

    Attributes
    ----------
    task : SourceFits
        ``task.shifts(theta (d,)) -> (N, NODES, k)``.
    middle, half : array (N,)
        m_i and h_i.
    """

    middle: Floats = field(kw_only=True)
    half: Floats = field(kw_only=True)

    kind = "exact"

    def table(self, theta: Floats) -> Floats:
        """Return coefficients (n, N, NODES, k) of thetas (n, d); the last ones asked for are remembered."""
        theta = np.ascontiguousarray(np.asarray(theta, dtype=float).reshape(-1, len(self.inputs) - 1))
        key = theta.tobytes()
        if key not in self._known:
            values = np.stack([self.task.shifts(one) for one in theta])
            self._known.clear()
            self._known[key] = np.einsum("jn,minq->mijq", to_coefficients(NODES), values)
        return self._known[key]

    def at(self, first: Any, last: Any) -> Any:
        """Evaluate with JAX at one temperature of each source: (d,), (N,) -> (N, k)."""
        import jax
        import jax.numpy as jnp

        shape = jax.ShapeDtypeStruct((len(self.middle), NODES, len(self.outputs)), jnp.result_type(float))

        def fitted(theta: Any) -> Floats:
            theta = np.asarray(theta)
            return self.table(theta).reshape(*theta.shape[:-1], *shape.shape)

        coefficients = jax.pure_callback(fitted, shape, first, vmap_method="expand_dims")
        x = jnp.clip((jnp.log(last) - self.middle) / self.half, -1.0, 1.0)
        return jnp.einsum("nj,njk->nk", jnp.stack(polynomials(x, NODES, jnp), axis=1), coefficients)


@dataclass(frozen=True, eq=False)
class _Kind:
    """The sources of one absorption and redshift.

    Attributes
    ----------
    rows : (n,) which sources
    nominal : what is fitted
    x_true : (n NODES, n_free) truths in engine coordinates
    truth : their values by name, (n NODES,)
    """

    rows: NDArray[np.intp]
    nominal: FoldedTable
    x_true: Floats
    truth: Mapping[str, Floats]


class SourceFits:
    """Fits of every source at `NODES` temperatures by theta: folded in one batch, solved source by source.

    Parameters
    ----------
    task : LibraryTask
    constants : mapping of parameter name to array (N,)
    kT : array (N, NODES)
    full, shifts_of : callables
        theta (d,) -> all parameters of the modifier; fitted and true values -> outputs (n, k).
    """

    def __init__(self, task: Any, constants: Mapping[str, Floats], kT: Floats, full: Any, shifts_of: Any) -> None:
        self.task, self.full, self.shifts_of, self.shape = task, full, shifts_of, kT.shape
        values = np.stack([*constants.values(), np.zeros(len(kT))], axis=1)
        different, which = np.unique(values, axis=0, return_inverse=True)
        self.kinds, photons = [], np.empty((*kT.shape, task.energy.size))
        for k, one in enumerate(different):
            rows = np.flatnonzero(which.ravel() == k)
            own = task.with_constants(**dict(zip(constants, one[:-1].tolist(), strict=True)))
            x_true, truth = own.truths(kT[rows].ravel())
            photons[rows] = own.photons(x_true).reshape(len(rows), kT.shape[1], -1)
            self.kinds.append(_Kind(rows, own.nominal, x_true, truth))
        self.photons = photons.reshape(-1, task.energy.size)
        modifier = task.modifier
        self.parts: Floats | None = None
        if modifier.acts_on == "area" and modifier.linear:
            functions = np.concatenate([modifier.offset(task.energy)[None, :], modifier.basis(task.energy)])
            self.parts = np.stack([task.matrix.fold(self.photons, task.weight * f) for f in functions])

    def expected(self, theta: Floats) -> Floats | None:
        """Return the counts (N NODES, n_channel) of the true calibration; None where its area is impossible."""
        task = self.task
        if task.modifier.acts_on == "area":
            factor = np.asarray(task.modifier.factor(task.energy, theta), dtype=float)
            if not np.all((factor >= 0.0) & (factor < np.inf)):
                return None
            if self.parts is not None:
                counts = self.parts[0] + np.einsum("p,pnc->nc", theta, self.parts[1:])
            else:
                counts = task.matrix.fold(self.photons, task.weight * factor)
        else:
            changed = task.modifier.apply(task.response, theta)
            matrix = PackedMatrix.pack(changed.redistribution[np.flatnonzero(task.mask)])
            counts = matrix.fold(self.photons, changed.area * task.exposure)
        return np.ascontiguousarray(np.maximum(counts[:, : task.matrix.n_channel], 0.0))

    def shifts(self, theta: Floats) -> Floats:
        """Return the outputs (N, NODES, k) of theta (d,); NaN where a fit failed."""
        expected = self.expected(self.full(theta))
        found = []
        for kind in self.kinds:
            names = self.task.nodes.names
            values = np.full((len(kind.x_true), len(names)), np.nan)
            if expected is not None:
                counts = expected.reshape(*self.shape, -1)[kind.rows].reshape(len(kind.x_true), -1)
                fits = solve_batch(kind.nominal, counts, kind.x_true, self.task.low, self.task.high)
                good = np.asarray(fits.status) == Status.OK.value
                values = np.where(good[:, None], self.task.nodes.from_engine(fits.x), np.nan)
            found.append(self.shifts_of(dict(zip(names, values.T, strict=True)), kind.truth))
        out = np.empty((*self.shape, found[0].shape[-1]))
        for kind, values in zip(self.kinds, found, strict=True):
            out[kind.rows] = values.reshape(len(kind.rows), self.shape[1], -1)
        return out


@dataclass(frozen=True)
class ByResponse:
    """Fits of sources that were observed with different responses: those of one response share their batches.

    Attributes
    ----------
    parts : sequence of (rows (n,), SourceFits)
    """

    parts: Sequence[tuple[NDArray[np.intp], SourceFits]]

    def shifts(self, theta: Floats) -> Floats:
        """Return the outputs (N, NODES, k) of theta (d,); NaN where a fit failed."""
        found = [part.shifts(theta) for _, part in self.parts]
        out = np.empty((sum(len(rows) for rows, _ in self.parts), *found[0].shape[1:]))
        for (rows, _), values in zip(self.parts, found, strict=True):
            out[rows] = values
        return out


def of_sources(emulator: CalibrationEmulator, pairs: PairedSources) -> CalibrationEmulator:
    """Return the exact map of each source with its own nH, redshift and response, in the order of the pairs.

    Parameters
    ----------
    emulator : CalibrationEmulator
        Of kind "exact".
    pairs : PairedSources
        As (trusted, corrected), with ``constants`` and ``responses``; the library's stands where one is missing.

    Raises
    ------
    InputError
        If the model cannot take a value, or a response has no channels in the band.
    """
    exact = emulator.emulator
    assert isinstance(exact, ExactMap)
    fits, task = exact.task, exact.task.task
    constants = {}
    names = usable(emulator, pairs)
    for name in (n for n in names if n != RESPONSE):
        given = np.asarray(pairs.constants[name], dtype=float)
        constants[name] = np.where(np.isfinite(given), given, task.model.parameter(name).default)
        for source, value in zip(pairs.names, constants[name], strict=True):
            task.model.parameter(name).check(float(value), where=f"source {source!r}, {name}")
    low, high = np.log(emulator.domain["T_true"])
    kT, sd = pairs.values[0, :, 0], pairs.sd[0, :, 0]
    reach = np.clip(REACH * sd / kT, NARROWEST, WIDEST)
    lower = np.clip(np.log(kT) - reach, low, high - NARROWEST)
    upper = np.clip(np.log(kT) + reach, lower + NARROWEST, high)
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    x = chebyshev_nodes(NODES)
    temperatures = np.exp(middle[:, None] + half[:, None] * x)
    responses = own_responses(task, pairs) if RESPONSE in names else [None] * len(pairs)
    parts = []
    for rows in _alike(responses):
        response = responses[rows[0]]
        seen = task if response is None else _of_source(pairs.names[rows[0]], task.with_response, response)
        own = {name: values[rows] for name, values in constants.items()}
        parts.append((rows, SourceFits(seen, own, temperatures[rows], fits.full, fits.outputs)))
    found = SourceMap(
        exact.inputs,
        exact.outputs,
        exact.residual_sd,
        task=ByResponse(parts),
        middle=middle,
        half=half,
        report=exact.report,
        provenance=exact.provenance,
    )
    return replace(emulator, emulator=found)


def usable(emulator: CalibrationEmulator, pairs: PairedSources) -> list[str]:
    """Return which constants of the pairs the fits can take: those that the library holds and does not fit.

    Of more than `MOST_SOURCES` sources they take none.
    """
    task = _task(emulator)
    if len(pairs) > MOST_SOURCES or task is None:
        return []
    taken = {RESPONSE, *(n for n in task.model.names if n not in task.nodes.names)}
    return [n for n in stated(emulator, pairs) if n in taken]


def stated(emulator: CalibrationEmulator, pairs: PairedSources) -> list[str]:
    """Return in what the sources of the pairs differ from the library: names of constants, and "response".

    Where the library cannot fit, what it holds is not known, and all that the pairs state counts as different.
    """
    task = _task(emulator)
    given = pairs.responses.get(pairs.telescopes[1], ()) if task is None else own_responses(task, pairs)
    names = [n for n in pairs.constants if task is None or not _is_shared(task.model, n, pairs.constants[n])]
    return [*names, *([RESPONSE] if any(one is not None for one in given) else [])]


def _is_shared(model: Any, name: str, values: Floats) -> bool:
    """Whether every source has the model's value of a constant, or none of its own."""
    return name in model.names and bool(np.all(np.isnan(values) | (values == model.parameter(name).default)))


def _task(emulator: CalibrationEmulator) -> Any:
    """Return the library's task behind exact fits; None where there is none."""
    task = getattr(emulator.emulator.task, "task", None) if isinstance(emulator.emulator, ExactMap) else None
    return None if task is None or task.model is None else task


def own_responses(task: Any, pairs: PairedSources) -> list[Any]:
    """Return the response of each source in the corrected telescope, None where it is that of the library."""
    given = pairs.responses.get(pairs.telescopes[1], (None,) * len(pairs))
    known: dict[int, Any] = {id(None): None}
    for rows in _alike(given):
        response = given[rows[0]]
        if response is not None:
            source = pairs.names[rows[0]]
            known[id(response)] = None if _of_source(source, task.sees_as, response) else response
    return [known[id(response)] for response in given]


def _alike(responses: Sequence[Any]) -> list[NDArray[np.intp]]:
    """Return which sources share each response."""
    rows: dict[int, list[int]] = {}
    for i, response in enumerate(responses):
        rows.setdefault(id(response), []).append(i)
    return [np.array(one) for one in rows.values()]


def _of_source(source: str, action: Callable[[Any], Any], response: Any) -> Any:
    """Do something with the response of a source, whose name an error tells."""
    try:
        return action(response)
    except InputError as error:
        raise InputError(error.what, where=f"response of source {source!r}", expected=error.expected) from error
