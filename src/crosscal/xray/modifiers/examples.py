"""A small member of each family, and how it is written in a job file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from crosscal.core.parameter import Parameter
from crosscal.xray.instrument.pca_library import PcaLibrary
from crosscal.xray.modifiers.base import Modifier
from crosscal.xray.modifiers.registry import MODIFIERS


@dataclass(frozen=True)
class JobExample:
    """A family in the table ``[library]`` of a job file.

    Attributes
    ----------
    options : mapping
        What stands beside the name; files are meant beside the job file.
    axes : mapping of parameter to (min, max, n)
        Ranges that make sense; a product of many axes is better a quasi-random design.
    """

    options: Mapping[str, Any]
    axes: Mapping[str, tuple[float, float, int]]


_EXAMPLES: Mapping[str, JobExample] = MappingProxyType(
    {
        "grey": JobExample({}, {"scale": (0.8, 1.2, 9)}),
        "gaussian": JobExample({}, {"A": (-0.2, 0.2, 9), "mu": (0.7, 7.0, 11), "sigma": (0.3, 2.0, 7)}),
        "spline": JobExample({"knots": 4, "low": 0.7, "high": 7.0}, {f"c{k}": (-0.2, 0.2, 5) for k in range(4)}),
        "gaussian-process": JobExample({"n": 2}, {f"z{k}": (-3.0, 3.0, 7) for k in (1, 2)}),
        "polynomial": JobExample({"degree": 1}, {"c0": (-0.2, 0.2, 5), "c1": (-0.2, 0.2, 5)}),
        "broken-power-law": JobExample({}, {"slope1": (-0.2, 0.2, 5), "slope2": (-0.2, 0.2, 5)}),
        "pca": JobExample({"path": "aref_Cedge.fits", "n": 2}, {"e1": (-3.0, 3.0, 7), "e2": (-3.0, 3.0, 7)}),
        "contamination": JobExample({"elements": ["C", "O"]}, {"tau_C": (-0.5, 0.5, 7), "tau_O": (-0.2, 0.2, 5)}),
        "edge": JobExample({}, {"tau": (-0.1, 0.1, 7)}),
        "step": JobExample({"width": 0.05}, {"height": (-0.1, 0.1, 7)}),
        "gain": JobExample({}, {"slope": (0.99, 1.01, 5), "offset": (-0.02, 0.02, 5)}),
        "matrix-scaling": JobExample(
            {"scaling": {"name": "polynomial", "degree": 1}}, {"c0": (-0.1, 0.1, 5), "c1": (-0.1, 0.1, 5)}
        ),
        "function": JobExample({"function": "my_module:ripple"}, {"depth": (-0.1, 0.1, 7)}),
        "table": JobExample({"path": "factors.txt"}, {"amplitude": (-1.5, 1.5, 7)}),
        "product": JobExample({"parts": ["grey", {"name": "gaussian"}]}, {"scale": (0.9, 1.1, 5), "A": (-0.2, 0.2, 7)}),
        "sum": JobExample({"parts": ["grey", {"name": "gaussian"}]}, {"scale": (0.9, 1.1, 5), "A": (-0.2, 0.2, 7)}),
    }
)


def job_example(name: str) -> JobExample:
    """Return the example of a family; of one that another package brings, its name with no options."""
    return _EXAMPLES.get(name, JobExample({}, {}))


def job_lines(name: str) -> list[str]:
    """Return the lines of ``[library]`` that use a family."""
    example = job_example(name)
    options = {"name": name, **example.options}
    lines = [f"modifier = {_inline(options) if example.options else _inline(name)}"]
    for parameter, (low, high, n) in example.axes.items():
        lines.append(f"{parameter} = {_inline({'min': low, 'max': high, 'n': n})}")
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    # Texts, numbers and truth values look alike in JSON and TOML.
    return json.dumps(value)


def example(name: str) -> Modifier:
    """Return a small member of a family, for tests and documentation."""
    make = _MEMBERS.get(name, MODIFIERS.get(name))
    return make()


def _two_parts(kind: str) -> Callable[[], Modifier]:
    return lambda: MODIFIERS.get(kind)((MODIFIERS.get("grey")(), MODIFIERS.get("gaussian")()))


def _pca() -> Modifier:
    """Two components of a made-up area."""
    edges = np.linspace(0.3, 8.0, 78)
    x = np.log(0.5 * (edges[1:] + edges[:-1]))
    area = 400 * np.exp(-(x**2))
    vectors = np.stack([area * np.cos(x), area * np.sin(2 * x)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = np.array([80.0, 30.0])
    share = scale**2 / np.sum(scale**2)
    return MODIFIERS.get("pca")(PcaLibrary(edges[:-1], edges[1:], area, np.zeros(77), scale, vectors, share))


def _table() -> Modifier:
    """A dip of 10 % at 2 keV."""
    return MODIFIERS.get("table")(np.array([0.5, 1.0, 2.0, 4.0, 8.0]), np.array([1.0, 1.0, 0.9, 1.0, 1.0]))


def tilt(energy: Any, xp: ModuleType, *, tilt: Any) -> Any:
    """A tilt (E / 2 keV)^tilt."""
    return (energy / 2.0) ** tilt


def _function() -> Modifier:
    return MODIFIERS.get("function")(tilt, (Parameter("tilt", 0.0, -5.0, 5.0, description="slope in ln E"),))


_MEMBERS: Mapping[str, Callable[[], Modifier]] = MappingProxyType(
    {
        "pca": _pca, "table": _table, "function": _function, "product": _two_parts("product"),
        "sum": _two_parts("sum"),
    }
)  # fmt: skip
