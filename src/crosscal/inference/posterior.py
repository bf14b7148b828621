"""Draws with their evidence, status and provenance; shown and stored as an arviz DataTree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.netcdf import write_netcdf
from crosscal.core.reading import parsing
from crosscal.core.seal import check_seal
from crosscal.inference.diagnostics import effective_sizes
from crosscal.inference.groups import Groups

#: What the columns of `Posterior.summary` mean.
COLUMNS = {
    "parameter": "parameter, with its index",
    "mean": "posterior mean",
    "sd": "posterior standard deviation",
    "median": "posterior median",
    "q*": "quantile of the posterior: q2.5 to q97.5 holds 95 %, q16 to q84 holds 68 %",
    "rhat": "agreement of the chains (split R-hat): below 1.01 they have converged; empty if there is only one chain",
    "ess_bulk": "effective sample size of the centre of the posterior: equivalent number of independent draws",
    "ess_tail": "effective sample size of its 5 and 95 % quantiles",
    "unit": "unit of the parameter",
}


@dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior as equally weighted draws.

    Attributes
    ----------
    groups : Groups
        The draws as arrays.
    method : str
        Name of the back end.
    log_evidence, log_evidence_error : float or None
        Natural log of the marginal likelihood, where the back end gives it.
    converged : bool
        Whether the sampler converged by its own criteria (R-hat, ESS, k-hat, divergences).
    messages : tuple of str
        Warnings that a user must know before using the draws.
    provenance : mapping
    """

    groups: Groups
    method: str
    log_evidence: float | None = None
    log_evidence_error: float | None = None
    converged: bool = True
    messages: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_draws(
        cls,
        draws: Mapping[str, ArrayLike],
        *,
        method: str,
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        units: Mapping[str, str] | None = None,
        sample_stats: Mapping[str, ArrayLike] | None = None,
        log_likelihood: Mapping[str, ArrayLike] | None = None,
        **facts: Any,
    ) -> Posterior:
        """Build a posterior from arrays of shape ``(chain, draw, *shape)``.

        Raises
        ------
        InputError
            If an array has fewer than two dimensions, the chains differ in shape, or a draw is not finite.
        """
        arrays = {name: np.asarray(values, dtype=float) for name, values in draws.items()}
        leading = {values.shape[:2] for values in arrays.values()}
        if len(leading) != 1 or any(values.ndim < 2 for values in arrays.values()):
            raise InputError(
                f"draws have leading shapes {sorted(leading)}",
                expected="one common (chain, draw) for all parameters",
            )
        for name, values in arrays.items():
            if not np.all(np.isfinite(values)):
                raise InputError("draws are not finite", where=f"parameter {name!r}", expected="finite numbers")
        groups: dict[str, Any] = {"posterior": arrays}
        for group, content in (("sample_stats", sample_stats), ("log_likelihood", log_likelihood)):
            if content:
                groups[group] = {name: np.asarray(values) for name, values in content.items()}
        return cls(Groups(groups, dims or {}, coords or {}, units or {}), method, **facts)

    @property
    def tree(self) -> Any:
        """Return an xarray.DataTree, which arviz reads.

        Groups ``posterior`` and, where available, ``sample_stats``, ``log_likelihood``; dimensions (chain, draw, ...).
        """
        return self.groups.tree

    def array(self, name: str, group: str = "posterior") -> NDArray[Any] | None:
        """Return an array (chain, draw, ...) of a group, or nothing where there is none of that name."""
        return self.groups.arrays.get(group, {}).get(name)

    @property
    def khat(self) -> float | None:
        """Pareto's k-hat of the weights from which the draws were taken."""
        found = self.array("khat", "sample_stats")
        return None if found is None else float(found.flat[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters and derived quantities."""
        return tuple(self.groups.arrays["posterior"])

    @property
    def n_draws(self) -> int:
        """Number of draws over all chains."""
        chains, draws = next(iter(self.groups.arrays["posterior"].values())).shape[:2]
        return int(chains * draws)

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return len(next(iter(self.groups.arrays["posterior"].values())))

    def draws(self, name: str) -> NDArray[np.float64]:
        """Return the draws of one parameter, chains joined: shape ``(n_draws, *shape)``."""
        values = self.array(name)
        if values is None:
            raise UnknownNameError("parameter", name, self.names)
        return values.reshape(-1, *values.shape[2:])

    def matrix(self, names: Sequence[str] | None = None) -> tuple[list[str], NDArray[np.float64]]:
        """Return labels and draws of several parameters, flattened to (n_draws, n_columns).

        Elements of arrays are labelled by the names along their axes (``sigma[MOS1]``), or by numbers.
        """
        labels, columns = [], []
        for name in names or self.names:
            values = self.draws(name)
            flat = values.reshape(len(values), -1)
            columns.append(flat)
            if values.ndim == 1:
                labels.append(name)
            else:
                axes = self._axes(name)
                labels += [f"{name}[{', '.join(element)}]" for element in product(*axes)]
        return labels, np.concatenate(columns, axis=1)

    def _axes(self, name: str) -> list[list[str]]:
        """Names of the elements along each axis of a parameter after chain and draw."""
        sizes = self.groups.arrays["posterior"][name].shape[2:]
        dims = [*self.groups.dims.get(name, ()), *[""] * len(sizes)][: len(sizes)]
        found = []
        for d, n in zip(dims, sizes, strict=True):
            values = np.asarray(self.groups.coords.get(d, ()))
            found.append([str(v) for v in (values if values.dtype.kind in "UO" else range(n))])
        return found

    def mean(self, name: str) -> NDArray[np.float64]:
        """Posterior mean of a parameter."""
        return self.draws(name).mean(axis=0)

    def sd(self, name: str) -> NDArray[np.float64]:
        """Posterior standard deviation of a parameter."""
        return self.draws(name).std(axis=0, ddof=1)

    def summary(self, names: Sequence[str] | None = None) -> Any:
        """Return an astropy QTable: mean, sd, 2.5/16/50/84/97.5 % quantiles, R-hat, bulk and tail ESS."""
        from crosscal.core.tables import ResultTable, describe

        labels, values = self.matrix(names)
        table = ResultTable({"parameter": labels})
        table["mean"], table["sd"] = values.mean(axis=0), values.std(axis=0, ddof=1)
        quantiles = np.quantile(values, [0.025, 0.16, 0.5, 0.84, 0.975], axis=0)
        for key, row in zip(("q2.5", "q16", "median", "q84", "q97.5"), quantiles, strict=True):
            table[key] = row
        for key, column in effective_sizes(self, names).items():
            table[key] = column
        table["unit"] = [self.groups.units.get(n.split("[")[0], "") for n in labels]
        table.meta["method"] = self.method
        if self.log_evidence is not None:
            table.meta["log_evidence"] = self.log_evidence
        return describe(table, COLUMNS)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write netCDF-4 (readable by ``arviz_base.from_netcdf`` and xarray)."""
        facts = {
            "method": self.method,
            "log_evidence": self.log_evidence,
            "log_evidence_error": self.log_evidence_error,
            "converged": bool(self.converged),
            "messages": list(self.messages),
            "provenance": dict(self.provenance),
        }
        tree = self.tree.copy()
        tree.attrs["crosscal"] = json.dumps(facts, default=str)
        return write_netcdf(path, tree, sealed=True)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Posterior:
        """Read what `write` wrote.

        Raises
        ------
        DataFileError
            If the file is absent, no netCDF, or not written by CrossCal.
        """
        import xarray

        source = existing_file(path, what="posterior")
        check_seal(source, what="posterior file")
        with parsing("not a posterior file", where=path, expected="a netCDF file written by CrossCal", told=False):
            tree = xarray.open_datatree(source, engine="h5netcdf")
            tree.load()
            tree.close()
            facts = json.loads(tree.attrs["crosscal"])
            facts["messages"] = tuple(facts["messages"])
            posterior = cls(Groups.of_tree(tree), **facts)
            matrix = posterior.matrix()[1]  # every parameter has chains and draws of numbers
            if posterior.n_draws != len(matrix) or matrix.dtype.kind not in "fiu":
                raise ValueError("draws")
        return posterior
