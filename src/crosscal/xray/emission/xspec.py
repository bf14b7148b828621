"""Any other XSPEC model, through the XSPEC library of the optional package ``xspectrampoline``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import ClassVar

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import (
    Additive,
    Array,
    Component,
    Convolution,
    Multiplicative,
    Settings,
    Values,
    norm_parameter,
)
from crosscal.xray.emission.registry import MODELS
from crosscal.xray.emission.xspec_library import library


@lru_cache(maxsize=1)
def known_models() -> dict[str, str]:
    """Return the names of XSPEC's models and their types, also where the library is absent."""
    return json.loads(files("crosscal.xray.emission").joinpath("data/xspec_models.json").read_text("utf-8"))


def component_class(name: str, *, where: str | None = None) -> Callable[[Settings], Component]:
    """Return the component of that name: CrossCal's own, else XSPEC's.

    Raises
    ------
    UnknownNameError
        If neither has it.
    InputError
        For an XSPEC model that is no part of a spectrum, such as pile-up.
    MissingDependencyError
        If XSPEC has it and its library is not installed.
    """
    if name in MODELS:
        return MODELS.get(name, where=where)
    lowered = {known.lower(): known for known in known_models()}
    if name.lower() not in lowered:
        raise UnknownNameError("model", name, {*MODELS.names(), *lowered.values()}, where=where)
    found = lowered[name.lower()]
    kind = known_models()[found]
    if kind not in _KINDS:
        raise InputError(f"XSPEC's {found} is of type {kind!r}", where=where, expected="type add, mul or con")
    definition = library().definitions[found]
    return type(
        found,
        (_KINDS[kind],),
        {
            "__doc__": f"XSPEC's {found}, from the XSPEC library.",
            "name": found,
            "function": definition["function"],
            "listed": tuple(definition["parameters"]),
        },
    )


class _FromLibrary(Component):
    """Runs one function of the library for every distinct set of parameters."""

    function: ClassVar[str]
    listed: ClassVar[tuple[Parameter, ...]]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = self.listed

    def run(self, edges: Array, values: Values, abundances: str, inputs: Array | None = None) -> Array:
        """Return the function's output, shape (..., n); ``inputs`` is what a convolution acts on.

        Raises
        ------
        InputError
            If the library returns values that are not finite.
        """
        xspec = library()
        xspec.set_abundances(abundances)
        if self.settings.atomdb_root:
            xspec.set_string("APECROOT", self.settings.atomdb_root)
        n = edges.size - 1
        columns = [np.asarray(values[p.name], dtype=float) for p in self.listed]
        flux = np.zeros(n) if inputs is None else inputs
        shape = np.broadcast_shapes(*(c.shape for c in columns), flux.shape[:-1])
        rows = int(np.prod(shape, dtype=int))
        table = np.zeros((rows, len(columns)))
        for k, column in enumerate(columns):
            table[:, k] = np.broadcast_to(column, shape).ravel()
        flux = np.broadcast_to(flux, (*shape, n)).reshape(rows, n)
        # Batches often repeat a set (a norm or a kT of another component varies): run it once.
        _, first, member = np.unique(np.hstack([table, flux]), axis=0, return_index=True, return_inverse=True)
        found = np.stack([xspec.call(self.function, edges, table[i].tolist(), flux[i]) for i in first])
        if not np.all(np.isfinite(found)):
            raise InputError("the XSPEC library returned values that are not finite", where=f"model {self.name!r}")
        return found[member.ravel()].reshape(*shape, n)


class _LibraryAdditive(_FromLibrary, Additive):
    linear = ("norm",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (*self.listed, norm_parameter("as XSPEC defines it"))

    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        abundances = self.settings.abundances
        out = self.run(edges, values, abundances)
        # No photons on a narrow grid can be right; none anywhere means that the model found no data.
        if not np.any(out) and not np.any(self.run(np.geomspace(0.1, 50.0, 200), values, abundances)):
            raise InputError(
                "the XSPEC library returned no photons",
                where=f"model {self.name!r}",
                expected="data files that the library finds (AtomDB: table= a directory, not gzipped)",
            )
        return out


class _LibraryMultiplicative(_FromLibrary, Multiplicative):
    def evaluate(self, edges: Array, values: Values) -> Array:
        return self.run(edges, values, self.settings.absorption_abundances)


class _LibraryConvolution(_FromLibrary, Convolution):
    def evaluate(self, edges: Array, values: Values, inner: Callable[[Array], Array]) -> Array:
        return self.run(edges, values, self.settings.abundances, inner(edges))


_KINDS: dict[str, type[_FromLibrary]] = {
    "add": _LibraryAdditive,
    "mul": _LibraryMultiplicative,
    "con": _LibraryConvolution,
}
