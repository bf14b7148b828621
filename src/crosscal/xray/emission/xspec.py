"""Any other XSPEC model, through the XSPEC library of the optional package ``xspectrampoline``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.datasets.search import search_path
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
from crosscal.xray.emission.xspec_process import WorkerDied, library

# Models of XSPEC that read AtomDB's files.
_ATOMDB_MODELS = re.compile("apec|cie|cph|cflow|nei|shock|sedov")


@lru_cache(maxsize=1)
def known_models() -> dict[str, str]:
    """Return the names of XSPEC's models and their types, also where the library is absent."""
    return json.loads(files("crosscal.xray.emission").joinpath("data/xspec_models.json").read_text("utf-8"))


def full_name(name: str, *, where: str | None = None) -> str:
    """Return the model that a name means; as in XSPEC it may be shortened and case does not matter.

    What is the beginning of several names means the one of CrossCal's own models among them: ``po`` is ``powerlaw``
    and ``ga`` is ``gaussian``, as XSPEC's users write them.

    Raises
    ------
    UnknownNameError
        If no model begins so.
    InputError
        If several do.
    """
    own = {known.lower(): known for known in MODELS.names()}
    every = {known.lower(): known for known in known_models()} | own
    key = name.lower()
    if key in every:
        return every[key]
    for names in (own, every):
        found = [full for lowered, full in names.items() if lowered.startswith(key)]
        shortest = min(found, key=len, default="")
        if found and all(full.lower().startswith(shortest.lower()) for full in found):
            return shortest
        if found:
            raise InputError(f"{name!r} is the beginning of several models", where=where, expected=" or ".join(found))
    raise UnknownNameError("model", name, set(every.values()), where=where)


def component_class(name: str, *, where: str | None = None) -> Callable[[Settings], Component]:
    """Return the component of that name: CrossCal's own, else XSPEC's.

    Raises
    ------
    UnknownNameError
        If neither has it.
    InputError
        For an XSPEC model that is not part of a spectrum, such as pile-up.
    MissingDependencyError
        If XSPEC has it and its library is not installed.
    """
    found = full_name(name, where=where)
    if found in MODELS:
        return MODELS.get(found, where=where)
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


def installed_atomdb() -> str:
    """Return what XSPEC's APECROOT should be: AtomDB's files in ATOMDB or the data search path, or ""."""
    return _find_atomdb(os.environ.get("ATOMDB", ""), tuple(search_path().values()))


@lru_cache
def _find_atomdb(variable: str, directories: tuple[Path, ...]) -> str:
    places = [Path(variable)] if variable else []
    for directory in directories:
        places += [directory, directory / "xray"]
    return next((root for root in map(apec_root, places) if root), "")


def apec_root(directory: Path) -> str:
    """Return the common beginning of the names of the newest AtomDB files in a directory, or ""."""
    found = sorted(directory.glob("apec_v*_line.fits"))
    return str(found[-1].resolve()).removesuffix("_line.fits") if found else ""


def _needed(model: str, atomdb: str) -> str:
    """Say which data files an XSPEC model may lack."""
    data = "XSPEC's model data (set HEADAS to an installed HEASoft)"
    if not _ATOMDB_MODELS.search(model):
        return data
    if atomdb:
        return f"parameters that it can use with {Path(atomdb).name} of AtomDB"
    return (
        "AtomDB's apec_v*_line.fits and apec_v*_coco.fits, not gzipped, in a directory named by the option plasma (in "
        "Python: table) or by the variable ATOMDB"
    )


class _FromLibrary(Component):
    """Runs one function of the library for every distinct set of parameters."""

    precise = False
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
        distinct = table if inputs is None else np.hstack([table, flux])
        _, first, member = np.unique(distinct, axis=0, return_index=True, return_inverse=True)
        root = self.settings.atomdb_root or installed_atomdb()
        strings = {"APECROOT": root} if root else {}
        try:
            found = library().call(self.function, edges, table[first], flux[first], abundances, strings)
        except WorkerDied as ending:
            raise InputError(
                f"XSPEC's function ended its process ({ending})",
                where=f"model {self.name!r}",
                expected=_needed(self.name, root),
            ) from None
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
                expected=_needed(self.name, self.settings.atomdb_root or installed_atomdb()),
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
