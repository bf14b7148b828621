"""Who is compared with whom: the instrument-source graph and whether each part of it is anchored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.priors import AreaPrior
from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError


def components(data: Comparison, *, linked: bool = False) -> NDArray[np.int32]:
    """Number the connected components of the graph: array (N,), component of each channel.

    Parameters
    ----------
    linked : bool
        Count the columns of one campaign and band as connected, as a random walk in time connects them.

    Examples
    --------
    >>> concordance.components(data)  # doctest: +SKIP
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = data.n_channels
    node = np.arange(data.n_columns)
    if linked and data.campaign is not None:
        keys = np.char.add(np.char.add(data.campaign, "\x1f"), np.array([band for _, band in data.columns]))
        node = np.unique(keys, return_inverse=True)[1].ravel()
    size = n + int(node.max()) + 1
    graph = coo_matrix((np.ones(data.n_cells, np.int8), (data.row, n + node[data.column])), shape=(size, size))
    return connected_components(graph, directed=False)[1][:n]


def require_anchors(data: Comparison, prior: AreaPrior, *, linked: bool = False) -> NDArray[np.int32]:
    """Check that each component's common mode is pinned by a prior; return the components.

    A common factor of all areas in a component can be traded for the fluxes: data never inform it.

    Raises
    ------
    InputError
        Naming the instruments of a component in which every tau is infinite.
    """
    parts = components(data, linked=linked)
    for k in range(int(parts.max()) + 1):
        inside = np.flatnonzero(parts == k)
        if np.all(prior.flat[inside]):
            names = ", ".join(data.channel_names[i] for i in inside)
            raise InputError(
                f"nothing fixes the common area factor of {names}: each has an infinite tau",
                where=data.label,
                expected="a finite tau, or a reference (tau = 0), for at least one of them",
            )
    return parts


def lonely_columns(data: Comparison) -> int:
    """Number of columns seen by one channel only; without source variability they carry no information."""
    return int(np.sum(np.diff(data.indptr) == 1))
