"""Photoelectric absorption by interstellar matter: TBabs and phabs."""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import Array, Multiplicative, Settings, Values


@lru_cache(maxsize=1)
def _cross_sections() -> dict[str, tuple[NDArray, NDArray]]:
    return read_cross_sections(files("crosscal.xray.emission").joinpath("data/absorption.npz"))


def read_cross_sections(path) -> dict[str, tuple[NDArray, NDArray]]:
    """Read tabulated cross-sections: "model_table" -> (ln energy / keV, ln sigma / 1e-22 cm2).

    Raises
    ------
    DataFileError
        If the file is not such a table.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            tables = {
                n[2:]: (archive[n].astype(float), archive["s_" + n[2:]].astype(float))
                for n in archive.files
                if n.startswith("E_")
            }
            if not tables or any(e.shape != s.shape or np.any(np.diff(e) < 0) for e, s in tables.values()):
                raise ValueError("shapes")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataFileError("not a table of absorption cross-sections", where=str(path)) from error
    return tables


def cross_section(model: str, abundances: str, energy: Array) -> Array:
    """Return the absorption cross-section per hydrogen atom.

    Parameters
    ----------
    model : "TBabs" or "phabs"
    abundances : "wilm", "angr" or "aspl"
    energy : array, keV
        Outside the table (0.03 to 100 keV) the nearest power law is continued.

    Returns
    -------
    array, in units of 1e-22 cm2

    Raises
    ------
    UnknownNameError
        If no table was computed with these abundances.
    """
    tables = _cross_sections()
    key = f"{model}_{abundances}"
    if key not in tables:
        known = [k.partition("_")[2] for k in tables if k.startswith(f"{model}_")]
        raise UnknownNameError("absorption abundance table", abundances, known, where=model)
    log_energy, log_sigma = tables[key]
    x = np.log(np.maximum(energy, 1e-6))
    out = np.interp(x, log_energy, log_sigma)
    for end, inner, outside in ((0, 1, x < log_energy[0]), (-1, -2, x > log_energy[-1])):
        slope = (log_sigma[end] - log_sigma[inner]) / (log_energy[end] - log_energy[inner])
        out = np.where(outside, log_sigma[end] + slope * (x - log_energy[end]), out)
    return np.exp(out)


class Absorption(Multiplicative):
    """exp(-nH sigma): sigma is the mean of its values at the two edges of a bin, as XSPEC takes it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (Parameter("nH", 1.0, 0.0, 1e6, "1e22 / cm2", "equivalent hydrogen column", "log"),)
        cross_section(self.name, settings.absorption_abundances, np.ones(1))

    def evaluate(self, edges: Array, values: Values) -> Array:
        sigma = cross_section(self.name, self.settings.absorption_abundances, edges)
        return np.exp(-np.asarray(values["nH"])[..., None] * (0.5 * (sigma[1:] + sigma[:-1])))


class TBabs(Absorption):
    """Absorption by gas, grains and molecules (Wilms, Allen & McCray 2000, ApJ 542, 914)."""

    name = "TBabs"


class Phabs(Absorption):
    """Photoelectric absorption with the cross-sections of Verner et al. (1996, ApJ 465, 487)."""

    name = "phabs"
