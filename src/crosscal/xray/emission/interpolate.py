"""Interpolation of node spectra in temperature: as XSPEC does it, or by a cubic spline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from crosscal.core.errors import UnknownNameError

Array = NDArray[np.float64]

# How a user asks for it, and what `Model.interpolation` answers.
KINDS = {"spline": "log-cubic", "xspec": "linear"}


def check_kind(interp: str) -> str:
    """Return ``interp`` if it is known.

    Raises
    ------
    UnknownNameError
    """
    if interp not in KINDS:
        raise UnknownNameError("temperature interpolation", interp, KINDS)
    return interp


def temperature_weights(nodes: Array, kT: Array, interp: str) -> Array:
    """Return the weights of the node spectra at the temperatures ``kT``.

    ``spectrum(kT) = sum_k weight[..., k] * spectrum(nodes[k])``. With ``interp="xspec"`` the weights are linear
    in kT between neighbours. With ``"spline"`` they are the cardinal functions of the cubic spline in ln kT with
    two continuous derivatives and not-a-knot ends.

    Parameters
    ----------
    nodes : array, shape (n_T,), keV, increasing
    kT : array, shape (...), keV, inside the nodes
    interp : "spline" or "xspec"

    Returns
    -------
    array, shape (..., n_T)
    """
    kT = np.asarray(kT, dtype=float)
    if check_kind(interp) == "spline":
        return CubicSpline(np.log(nodes), np.eye(nodes.size))(np.log(kT))
    flat = kT.ravel()
    k = np.clip(np.searchsorted(nodes, flat, side="right") - 1, 0, nodes.size - 2)
    t = (flat - nodes[k]) / (nodes[k + 1] - nodes[k])
    weights = np.zeros((flat.size, nodes.size))
    rows = np.arange(flat.size)
    weights[rows, k] = 1.0 - t
    weights[rows, k + 1] = t
    return weights.reshape(*kT.shape, nodes.size)
