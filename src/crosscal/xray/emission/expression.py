"""Spectral models as astronomers write them: ``Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import titled_html
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.core.sketch import Sketch
from crosscal.core.units import plain
from crosscal.xray.emission import syntax
from crosscal.xray.emission.component import Additive, Component, Convolution, Multiplicative, Settings
from crosscal.xray.emission.elements import abundance_ratio
from crosscal.xray.emission.interpolate import check_kind
from crosscal.xray.emission.plasma import PlasmaTable
from crosscal.xray.emission.syntax import parse
from crosscal.xray.emission.tablefile import TableLoader
from crosscal.xray.emission.xspec import apec_root, component_class

__all__ = ["Model", "parse"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """A component and the names that its parameters have in the model."""

    component: Component
    names: tuple[str, ...]

    def values(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Pick this component's values, under the component's own names."""
        return {p.name: values[name] for p, name in zip(self.component.parameters, self.names, strict=True)}


class Model:
    """A spectral model: an expression of components with XSPEC's names and parameter order.

    Parameters
    ----------
    expression : str
        Components joined by ``+`` and ``*``, for example ``"TBabs*(apec+powerlaw)"``; numbers are constant factors.
    abundances : str
        Solar abundances of the plasma, by XSPEC's name of the table.
    absorption_abundances : str
        Solar abundances of the absorber.
    interp : "spline" or "xspec"
        Interpolation between the temperatures of the plasma table: cubic in ln kT, or XSPEC's, linear in kT.
    table : None, path or PlasmaTable
        Plasma table: the built-in one, a ``.npz`` file of ``build_plasma``, or a directory of AtomDB files.
    smooth_lines : bool
        Give lines that are narrower than the bins of energy a width (sigma) of 0.6 bins, so that spectra change
        smoothly with the redshift; fits with a free redshift do so.
    free : sequence of str, optional
        Parameters that fits vary; by default those that the components mark, such as kT and norm.
    **values : float or Quantity
        Parameter values. A name that occurs more than once is numbered: ``kT``, ``kT_2``, ...

    Raises
    ------
    InputError, UnknownNameError
        For an expression that cannot be parsed or makes no spectrum, unknown names, and values out of range.

    Examples
    --------
    >>> model = Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    >>> model.spectrum(np.array([0.5, 1.0, 2.0]), kT=4.0).shape
    (2,)
    """

    def __init__(
        self,
        expression: str,
        *,
        abundances: str = "angr",
        absorption_abundances: str = "wilm",
        interp: str = "spline",
        table: PlasmaTable | str | os.PathLike[str] | None = None,
        smooth_lines: bool = False,
        free: Sequence[str] | None = None,
        **values: float,
    ) -> None:
        abundance_ratio(abundances)
        self._options = {
            "abundances": abundances,
            "absorption_abundances": absorption_abundances,
            "interp": check_kind(interp),
            "table": table,
            "smooth_lines": bool(smooth_lines),
        }
        self.expression = str(expression).strip()
        self._tree = parse(expression)
        settings = Settings(
            abundances, absorption_abundances, interp, TableLoader(table), _atomdb_root(table), bool(smooth_lines)
        )
        parts: dict[int, _Part] = {}
        parameters: list[Parameter] = []
        for leaf in syntax.leaves(self._tree):
            where = f"model {self.expression!r}, position {leaf.position}"
            component = component_class(leaf.name, where=where)(settings)
            named = _unique(component.parameters, [p.name for p in parameters])
            parts[leaf.position] = _Part(component, tuple(p.name for p in named))
            parameters += named
        self._parts = parts
        kind = self._kind(self._tree)
        if kind != "additive":
            raise InputError(
                "the expression emits nothing", where=f"model {self.expression!r}", expected="a source such as apec"
            )
        self._set(parameters, values, free)

    def _set(self, parameters: Sequence[Parameter], values: Mapping[str, float], free: Sequence[str] | None) -> None:
        names = [p.name for p in parameters]
        where = f"model {self.expression!r}"
        for name in (*values, *(free or ())):
            if name not in names:
                raise UnknownNameError("parameter", name, names, where=where)
        self.parameters: tuple[Parameter, ...] = tuple(
            replace(p, default=p.check(plain(values.get(p.name, p.default), p.unit, where=p.name), where=where))
            for p in parameters
        )
        chosen = [p.name for p in parameters if p.free] if free is None else list(dict.fromkeys(free))
        self.free: tuple[str, ...] = tuple(chosen)
        self.fixed: dict[str, float] = {p.name: p.default for p in self.parameters if p.name not in chosen}
        given = {p.name: np.asarray(p.default) for p in self.parameters}
        for part in self._parts.values():
            part.component.check(part.values(given), where=where)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components, in order."""
        return tuple(part.component.name for part in self._parts.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, in order."""
        return tuple(p.name for p in self.parameters)

    @property
    def options(self) -> Mapping[str, Any]:
        """Abundance tables, interpolation and plasma table, as given."""
        return MappingProxyType(self._options)

    def parameter(self, name: str) -> Parameter:
        """Return the parameter called ``name`` (UnknownNameError otherwise)."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownNameError("parameter", name, self.names, where=f"model {self.expression!r}")

    def spectrum(self, energy_edges: ArrayLike, **values: ArrayLike) -> Array:
        """Return the photon spectrum.

        Parameters
        ----------
        energy_edges : array, shape (n + 1,), keV or a Quantity
            Bin edges, positive and increasing.
        **values : scalars, arrays of shape (...) or Quantities
            Parameters that differ from the model's own values; shapes broadcast.

        Returns
        -------
        array, shape (..., n), photon/cm2/s per bin

        Raises
        ------
        InputError, UnknownNameError
            For bad edges, unknown parameters, and values out of range or outside the plasma table.
        """
        edges = _checked_edges(energy_edges)
        full = self._values(values)
        shape = np.broadcast_shapes(*(v.shape for v in full.values()))
        spectrum = self._evaluate(self._tree, edges, full)
        return np.ascontiguousarray(np.broadcast_to(spectrum, (*shape, edges.size - 1)))

    def _values(self, values: Mapping[str, ArrayLike]) -> dict[str, Array]:
        where = f"model {self.expression!r}"
        full = {p.name: np.asarray(p.default) for p in self.parameters}
        for name, value in values.items():
            parameter = self.parameter(name)
            array = np.asarray(plain(value, parameter.unit, where=name), dtype=float)
            outside = ~((array >= parameter.low) & (array <= parameter.high))
            if np.any(outside):
                parameter.check(array[outside].flat[0], where=where)
            full[name] = array
        try:
            np.broadcast_shapes(*(v.shape for v in full.values()))
        except ValueError:
            shapes = ", ".join(f"{n} {v.shape}" for n, v in full.items() if v.shape)
            raise InputError(f"shapes do not broadcast: {shapes}", where=where) from None
        for part in self._parts.values():
            part.component.check(part.values(full), where=where)
        return full

    def _kind(self, node: syntax.Node) -> str:
        """Return what a part of the expression is, checking that it means something."""
        match node:
            case syntax.Leaf():
                return self._parts[node.position].component.kind
            case syntax.Number():
                return "multiplicative"
            case syntax.Sum(terms=terms):
                kinds = {self._kind(term) for term in terms}
                if len(kinds) > 1 or "convolution" in kinds:
                    self._refuse(node, "a sum mixes sources and factors", "sources only, as in 'apec + powerlaw'")
                return kinds.pop()
        kinds_in_order = [self._kind(factor) for factor in node.factors]
        if kinds_in_order.count("additive") > 1:
            self._refuse(node, "two sources are multiplied", "one source a product, as in 'TBabs*apec'")
        if "convolution" in kinds_in_order:
            last = len(kinds_in_order) - 1 - kinds_in_order[::-1].index("convolution")
            if "additive" not in kinds_in_order[last:]:
                self._refuse(node, "a convolution has nothing to act on", "a source after it")
        return "additive" if "additive" in kinds_in_order else "multiplicative"

    def _refuse(self, node: syntax.Node, what: str, expected: str) -> None:
        raise InputError(what, where=f"model {self.expression!r}, position {node.position}", expected=expected)

    def _evaluate(self, node: syntax.Node, edges: Array, values: Mapping[str, Array]) -> Array:
        match node:
            case syntax.Number():
                return np.full(edges.size - 1, node.value)
            case syntax.Leaf():
                part = self._parts[node.position]
                assert isinstance(part.component, Additive | Multiplicative)  # _kind has seen to it
                return part.component.evaluate(edges, part.values(values))
            case syntax.Sum(terms=terms):
                return reduce(np.add, [self._evaluate(term, edges, values) for term in terms])
        first, *rest = node.factors
        if isinstance(first, syntax.Leaf):
            part = self._parts[first.position]
            if isinstance(part.component, Convolution):
                inner = syntax.Product(tuple(rest), node.position)
                return part.component.evaluate(
                    edges, part.values(values), lambda grid: self._evaluate(inner, grid, values)
                )
        out = self._evaluate(first, edges, values)
        return out * self._evaluate(syntax.Product(tuple(rest), node.position), edges, values) if rest else out

    @cached_property
    def _owner(self) -> dict[str, tuple[Component, str]]:
        return {
            name: (part.component, p.name)
            for part in self._parts.values()
            for name, p in zip(part.names, part.component.parameters, strict=True)
        }

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the parameters in which the spectrum is linear while the others are held."""
        return tuple(name for name, (component, own) in self._owner.items() if own in component.linear)

    def nodes(self, name: str) -> Array | None:
        """Return the values at which the spectrum is tabulated in a parameter (kT), or None."""
        self.parameter(name)
        component, own = self._owner[name]
        return component.nodes(own)

    def interpolation(self, name: str) -> str | None:
        """Return how the spectrum is interpolated between ``nodes(name)``: "linear", "log-cubic" or None.

        "log-cubic" is the cubic spline in the logarithm of the nodes with two continuous derivatives and not-a-knot
        ends (``scipy.interpolate.CubicSpline``'s default).
        """
        self.parameter(name)
        component, own = self._owner[name]
        return component.interpolation(own)

    @property
    def emitters(self) -> tuple[tuple[str, ...], ...]:
        """Names of the parameters of each component that emits."""
        return tuple(part.names for part in self._parts.values() if isinstance(part.component, Additive))

    def line_bins(self, energy: ArrayLike) -> Array:
        """Return the relative width of the bins in which a plasma table sums weak lines; 0 where it has every line."""
        at = np.asarray(energy, dtype=float)
        return np.max([part.component.line_bins(at) for part in self._parts.values()], axis=0)

    @property
    def precise(self) -> bool:
        """Whether spectra are smooth to double precision in every parameter but a redshift."""
        return all(part.component.precise for part in self._parts.values())

    def replace(self, *, free: Sequence[str] | None = None, **values: Any) -> Model:
        """Return a model with other values, free parameters or options (``interp``, ``table``, ...)."""
        options = {name: values.pop(name) for name in tuple(values) if name in self._options}
        kept = {p.name: p.default for p in self.parameters}
        return Model(
            self.expression,
            free=self.free if free is None else free,
            **{**self._options, **options},
            **{**kept, **values},
        )

    @property
    def column_densities(self) -> tuple[str, ...]:
        """Names of the column densities of all absorbers."""
        return tuple(name for name, (_, own) in self._owner.items() if own == "nH")

    @property
    def parts(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """Each component's name, and the name in the model of each of its own parameters."""
        own = ((p.component, [q.name for q in p.component.parameters], p.names) for p in self._parts.values())
        return tuple((component.name, dict(zip(names, given, strict=True))) for component, names, given in own)

    def describe(self) -> list[dict[str, Any]]:
        """Return one row per parameter: name, component, value, unit, low, high, free, description."""
        return [
            {
                "name": p.name,
                "component": self._owner[p.name][0].name,
                "value": p.default,
                "unit": p.unit,
                "low": p.low,
                "high": p.high,
                "free": p.name in self.free,
                "description": p.description,
            }
            for p in self.parameters
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:g}" for name, value in self.fixed.items())
        return f"Model({self.expression!r}, {shown}{', ' if shown else ''}free={self.free!r})"

    def _repr_html_(self) -> str:
        rows = [("expression", self.expression)]
        for row in self.describe():
            state = "free" if row["free"] else "fixed"
            rows.append((row["name"], f"{row['value']:g} {row['unit']} ({state})".replace("  ", " ")))
        return titled_html(self, rows)

    def _sketch_(self) -> Sketch:
        edges = np.geomspace(0.3, 10.0, 201)
        spectrum = self.spectrum(edges) / np.diff(edges)
        return Sketch(np.sqrt(edges[1:] * edges[:-1]), spectrum, "energy (keV)", "photon/cm\u00b2/s/keV", log=True)

    def __reduce__(self):
        return _rebuild, (
            self.expression,
            dict(self._options),
            self.free,
            dict(zip(self.names, self._defaults(), strict=True)),
        )

    def _defaults(self) -> list[float]:
        return [p.default for p in self.parameters]


def _atomdb_root(table: Any) -> str:
    """Return XSPEC's APECROOT where the plasma table is a directory of AtomDB's files, else ""."""
    return apec_root(Path(table)) if isinstance(table, str | os.PathLike) and Path(table).is_dir() else ""


def _rebuild(expression: str, options: dict[str, Any], free: tuple[str, ...], values: dict[str, Any]) -> Model:
    return Model(expression, free=free, **options, **values)


def _unique(parameters: Sequence[Parameter], taken: Sequence[str]) -> list[Parameter]:
    """Number the names that are taken: kT, kT_2, kT_3."""
    out = []
    for parameter in parameters:
        name, number = parameter.name, 2
        while name in taken:
            name, number = f"{parameter.name}_{number}", number + 1
        out.append(replace(parameter, name=name))
    return out


def _checked_edges(energy_edges: ArrayLike) -> Array:
    edges = np.asarray(plain(energy_edges, "keV", where="energy edges", spectral=True), dtype=float)
    if edges.ndim != 1 or edges.size < 2:
        raise InputError(f"energy edges of shape {edges.shape}", expected="a one-dimensional array of 2 or more")
    if not np.all(np.isfinite(edges)) or edges[0] <= 0 or np.any(np.diff(edges) <= 0):
        raise InputError("energy edges are not positive and increasing", expected="increasing energies in keV")
    return edges
