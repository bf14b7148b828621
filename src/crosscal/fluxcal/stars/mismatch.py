"""How real stars differ from the templates of a library, learned from stars whose spectra are known (CALSPEC).

A star of metallicity [M/H] is brighter than its best template, whose level is set by photometry, by

    m(lambda) = mean(lambda) + slope(lambda) ([M/H] - feh)  mag.

Libraries are corrected for that. What remains are an error that all stars share, ``common``, which no number of stars
averages down, and one of each star, ``star``; both are correlated over :data:`SCALE`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Length over which differences between stars and templates are alike, Angstrom: with it the differences between bands
#: of stars that were left out are as large as stated on both sides of 6000 A, where photometry sets the level.
SCALE = 800.0
#: Metallicities at which differences were learned: beyond, those of the ends are used.
LEARNED_FEH = (-2.0, 0.0)
MAG = 0.4 * np.log(10)


@dataclass(frozen=True, eq=False)
class Mismatch:
    """Differences between real stars and the templates of a library.

    Attributes
    ----------
    wavelength : array (m,), Angstrom (vacuum), increasing; beyond its ends the values of the ends hold
    mean, slope : arrays (m,), mag and mag per dex
        Template minus star (positive: the template is too faint) at [M/H] = ``feh``, and its change with [M/H].
    common, star : arrays (m,), mag
        Standard deviations of what remains: shared by all stars, and of one star.
    feh : float
    source : str
    """

    wavelength: NDArray[np.float64]
    mean: NDArray[np.float64]
    slope: NDArray[np.float64]
    common: NDArray[np.float64]
    star: NDArray[np.float64]
    feh: float = 0.0
    source: str = ""

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Mismatch:
        """Make one from a table of ``stars/data/mismatch.toml`` (magnitudes there are in mmag)."""
        columns = {k: 1e-3 * np.array(table[k], dtype=float) for k in ("mean", "slope", "common", "star")}
        wavelength = np.array(table["wavelength"], dtype=float)
        return cls(wavelength, feh=float(table["feh"]), source=str(table["source"]), **columns)

    def factor(self, wavelength: NDArray[np.float64], feh: ArrayLike) -> NDArray[np.float64]:
        """What templates (n_t,) of these metallicities must be multiplied by, shape (n_t, n_pix)."""
        mean, slope = (np.interp(wavelength, self.wavelength, v) for v in (self.mean, self.slope))
        away = np.clip(np.asarray(feh, dtype=float), *LEARNED_FEH) - self.feh
        return np.exp(MAG * (mean + away[:, None] * slope))

    def errors(self, wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviations (2, n_pix) of ln flux: shared by all stars, and of one star."""
        return np.stack([MAG * np.interp(wavelength, self.wavelength, v) for v in (self.common, self.star)])


@cache
def known_mismatch(library: str) -> Mismatch:
    """The differences of a library by its name; those of libraries that were not compared are bounds without a mean."""
    text = (files("crosscal.fluxcal.stars") / "data" / "mismatch.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return Mismatch.of(tables.get(library, tables["any"]))


def exact() -> Mismatch:
    """That of templates from which the stars themselves are made."""
    zero = np.zeros(1)
    return Mismatch(np.array([5000.0]), zero, zero, zero, zero)


def correlated_modes(wavelength: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modes (k, n_pix) whose covariance is sd sd' exp(-(lambda - lambda')^2 / 2 SCALE^2)."""
    if not sd.any():
        return np.zeros((0, wavelength.size))
    nodes = np.arange(wavelength[0], wavelength[-1] + SCALE / 2, SCALE / 2)
    kernel = np.exp(-0.5 * ((nodes[:, None] - nodes[None, :]) / SCALE) ** 2)
    values, vectors = np.linalg.eigh(kernel)
    strong = values > 1e-4 * values[-1]
    roots = np.sqrt(values[strong])[:, None] * vectors[:, strong].T
    modes = np.stack([np.interp(wavelength, nodes, root) for root in roots])
    # Interpolation between nodes loses some per cent of the variance.
    return np.asarray(modes * sd / np.sqrt(np.sum(modes**2, axis=0)))
