"""Thermal bremsstrahlung with XSPEC's Gaunt factor."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import Additive, Array, Settings, Values, norm_parameter
from crosscal.xray.emission.npz import read_arrays


def read_gaunt(path) -> tuple[Array, Array, Array]:
    """Read a table of Gaunt factors: ln(E/kT), ln(kT/keV), factor of shape (n_kT, n_u).

    Raises
    ------
    DataFileError
        If the file is not such a table.
    """
    arrays = read_arrays(path, "table of Gaunt factors")
    try:
        log_u, log_kT, factor = (arrays[n].astype(float) for n in ("log_u", "log_kT", "factor"))
        if factor.shape != (log_kT.size, log_u.size) or np.any(np.diff(log_u) < 0) or np.any(factor <= 0):
            raise ValueError("shapes")
    except (ValueError, KeyError) as error:
        raise DataFileError("not a table of Gaunt factors", where=str(path)) from error
    return log_u, log_kT, factor


@lru_cache(maxsize=1)
def _table() -> tuple[Array, Array, Array]:
    return read_gaunt(files("crosscal.xray.emission").joinpath("data/gaunt.npz"))


def gaunt_factor(u: Array, kT: Array) -> Array:
    """Return XSPEC's effective Gaunt factor of a plasma with 8.5 % helium, in the units of bremss's norm.

    Bilinear in ln u and ln kT; beyond the table it is continued linearly in ln u and held constant in ln kT.

    Parameters
    ----------
    u : array, E / kT
    kT : array, keV; the shapes broadcast
    """
    log_u, log_kT, factor = _table()
    x, y = np.broadcast_arrays(np.log(u), np.clip(np.log(kT), log_kT[0], log_kT[-1]))
    i = np.clip(np.searchsorted(log_u, x, side="right") - 1, 0, log_u.size - 2)
    # An energy that the table holds twice, at a jump, has the upper value.
    i = np.where(log_u[i + 1] > log_u[i], i, i + 1)
    i = np.minimum(i, log_u.size - 2)
    j = np.clip(np.searchsorted(log_kT, y, side="right") - 1, 0, log_kT.size - 2)
    s = (x - log_u[i]) / (log_u[i + 1] - log_u[i])
    s = np.minimum(s, 1.0)
    t = (y - log_kT[j]) / (log_kT[j + 1] - log_kT[j])
    low = (1 - s) * factor[j, i] + s * factor[j, i + 1]
    high = (1 - s) * factor[j + 1, i] + s * factor[j + 1, i + 1]
    return (1 - t) * low + t * high


class Bremss(Additive):
    """Thermal bremsstrahlung (Kellogg, Baldwin & Koch 1975, ApJ 199, 299); bins by the trapezoid rule as in XSPEC."""

    name = "bremss"
    linear = ("norm",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            Parameter("kT", 7.0, 1e-4, 200.0, "keV", "plasma temperature", "log", True),
            norm_parameter("3.02e-15 / (4 pi D^2) * integral of n_e n_i dV, cgs"),
        )

    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        kT = np.asarray(values["kT"], dtype=float)[..., None]
        u = edges / kT
        density = gaunt_factor(u, kT) * np.exp(-u) / (edges * np.sqrt(kT))
        return 0.5 * (density[..., 1:] + density[..., :-1]) * np.diff(edges)
