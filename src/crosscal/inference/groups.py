"""Arrays of draws by group and name; the arviz DataTree of them is made when it is asked for.

xarray and arviz take a second to load: sampling and summaries work on the arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Groups:
    """Arrays (chain, draw, ...) by group and name, and what their further dimensions are called.

    Attributes
    ----------
    arrays : mapping of group to mapping of name to array
    dims : mapping of name to sequence of str
    coords : mapping of dimension to sequence
        Names along a dimension.
    units : mapping of name to str
    """

    arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    dims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    coords: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tree(self) -> Any:
        """The same as an xarray.DataTree."""
        from arviz_base import from_dict

        content = {group: dict(named) for group, named in self.arrays.items()}
        dims = {name: list(of) for name, of in self.dims.items()}
        tree = from_dict(content, dims=dims, coords={d: list(c) for d, c in self.coords.items()})
        # from_dict sorts by name; users expect the order of the model.
        tree["posterior"].dataset = tree["posterior"].to_dataset()[list(self.arrays["posterior"])]
        for name, unit in self.units.items():
            if name in tree["posterior"]:
                tree["posterior"][name].attrs["units"] = unit
        return tree

    @classmethod
    def of_tree(cls, tree: Any) -> Groups:
        """Return the arrays of a tree, which is kept."""
        arrays: dict[str, dict[str, NDArray[Any]]] = {}
        dims: dict[str, list[str]] = {}
        coords: dict[str, list[Any]] = {}
        units: dict[str, str] = {}
        for group in tree.children:
            held = tree[group].to_dataset()
            arrays[str(group)] = {str(name): held[name].values for name in held.data_vars}
            dims |= {str(name): [str(d) for d in held[name].dims[2:]] for name in held.data_vars}
            coords |= {str(d): list(held[d].values) for d in held.dims if d in held.coords}
            units |= {str(n): held[n].attrs["units"] for n in held.data_vars if "units" in held[n].attrs}
        groups = cls(arrays, dims, coords, units)
        groups.__dict__["tree"] = tree
        return groups
