"""Tabulate absorption cross-sections of the XSPEC library for CrossCal.

    python tools/xspec_tables.py

Needs the package ``xspectrampoline``. Tables are refined until log-linear interpolation is good to 2e-5 of the total
everywhere; at an absorption edge two energies follow each other within 1e-13.

TBabs is written as gas plus grains: ``sigma = g + G(u)``, where g is the cross-section of atoms in the gas, u that of
atoms in grains without their mutual shielding, and G the shielding by grains of 0.025 to 0.25 micrometre (see
``crosscal.xray.emission.absorption``). XSPEC averages g and u over a bin before it applies G, so G(u) alone would not
reproduce it at the structured edges of O and Fe.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xspectrampoline
from scipy.optimize import minimize_scalar

from crosscal.xray.emission.absorption import grain_shielding

OUTPUT = Path(__file__).parents[1] / "src/crosscal/xray/emission/data/absorption.npz"
ABUNDANCES = ("wilm", "angr", "aspl")
RANGE = (0.03, 99.0)  # keV; the library absorbs nothing above 100
TOLERANCE = 1e-5
CLOSEST = 1e-13

# Share of each element that is in the gas, Wilms, Allen & McCray (2000), table 2; the order of XSPEC's TBvarabs.
GAS_SHARE = {
    "H": 1.0, "He": 1.0, "C": 0.5, "N": 1.0, "O": 0.6, "Ne": 1.0, "Na": 0.25, "Mg": 0.2, "Al": 0.02, "Si": 0.1,
    "S": 0.6, "Cl": 0.5, "Ar": 1.0, "Ca": 0.003, "Cr": 0.03, "Fe": 0.3, "Co": 0.05, "Ni": 0.04,
}  # fmt: skip
ALL = dict.fromkeys(GAS_SHARE, 1.0)
H2_AND_GRAINS = [0.2, 1.0, 0.025, 0.25, 3.5]

Function = Callable[[np.ndarray], np.ndarray]


def set_abundances(library, name: str) -> None:
    """Select XSPEC's solar abundance table."""
    code, text = ctypes.c_int(0), name.encode()
    library.lib_xs_functions.fpsolr_(ctypes.c_char_p(text), ctypes.byref(code), ctypes.c_long(len(text)))
    if code.value:
        raise SystemExit(f"XSPEC does not know the abundance table {name}")


def sigma(model, parameters: list[float], energy: np.ndarray) -> np.ndarray:
    """Cross-section in 1e-22 cm2 at single energies, from bins too narrow to matter."""
    half = 1e-10
    edges = np.ravel(np.column_stack([energy * (1 - half), energy * (1 + half)]))
    out = np.zeros(edges.size - 1)
    # Columns for an optical depth near one: transmissions near 0 or 1 would lose digits.
    result = np.zeros(energy.size)
    for nH in 10.0 ** np.arange(-4, 8):
        model(np.ascontiguousarray(edges), np.array([nH, *parameters]), out, np.zeros_like(out), "")
        with np.errstate(divide="ignore"):
            depth = -np.log(out[::2])
        good = (depth > 0.2) & (depth < 20)
        result[good] = depth[good] / nH
    if np.any(result <= 0):
        raise SystemExit(f"no cross-section at {energy[result <= 0][:5]} keV")
    return result


def refine(function: Function) -> tuple[np.ndarray, np.ndarray]:
    """Bisect in ln E until the middle of every interval is predicted well; values have shape (n, columns)."""
    x = np.linspace(*np.log(RANGE), 200)
    y = function(np.exp(x))
    active = np.ones(x.size - 1, dtype=bool)
    while np.any(active):
        left = np.flatnonzero(active)
        middle = 0.5 * (x[left] + x[left + 1])
        true = function(np.exp(middle))
        bad = np.any(np.abs(true - 0.5 * (y[left] + y[left + 1])) > TOLERANCE, axis=1)
        bad &= x[left + 1] - x[left] > CLOSEST
        keep = left[bad]
        order = np.argsort(np.concatenate([x, middle[bad]]), kind="stable")
        active = np.zeros(x.size + keep.size - 1, dtype=bool)
        x = np.concatenate([x, middle[bad]])[order]
        y = np.concatenate([y, true[bad]])[order]
        start = keep + np.arange(keep.size)
        active[start] = active[start + 1] = True
    return x, y


def thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Choose the points between which straight lines pass all others within the tolerance."""
    kept, start = [0], 0
    low, high = -np.inf, np.inf
    for k in range(1, x.size):
        slope = (y[k] - y[start]) / (x[k] - x[start])
        if np.any((slope < low) | (slope > high)):
            start = k - 1
            kept.append(start)
            low, high = -np.inf, np.inf
        low = np.maximum(low, (y[k] - TOLERANCE - y[start]) / (x[k] - x[start]))
        high = np.minimum(high, (y[k] + TOLERANCE - y[start]) / (x[k] - x[start]))
    return np.array([*kept, x.size - 1])


def tabulate(functions: dict[str, Function]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return energies, refined and thinned, and the columns of each function on them."""

    def together(energy: np.ndarray) -> np.ndarray:
        return np.concatenate([function(energy) for function in functions.values()], axis=1)

    x, y = refine(together)
    chosen = thin(x, y)
    # Energies stay in double precision: bins often start exactly at a tabulated edge such as 0.235 keV.
    columns = np.split(y[chosen].T.astype(np.float32), len(functions))
    return x[chosen], dict(zip(functions, columns, strict=True))


class TBabs:
    """Gas and grain cross-sections, and the constant of the shielding, for one abundance table."""

    def __init__(self, library, abundances: str) -> None:
        self.library, self.abundances = library, abundances
        self.model = library.get_model("C_tbvabs")
        set_abundances(library, abundances)
        energy = np.geomspace(0.1, 10.0, 300)
        gas, grains = self.parts(energy)
        shielded = sigma(library.get_model("C_tbabs"), [], energy) - gas

        def misfit(log_k: float) -> float:
            return float(np.sum((grains * grain_shielding(np.exp(log_k) * grains) / shielded - 1.0) ** 2))

        best = minimize_scalar(misfit, bracket=(-4.0, 0.0), tol=1e-10)
        self.k = float(np.exp(best.x))
        print(f"  grain constant {self.k:.6g}, rms misfit {np.sqrt(best.fun / energy.size):.2g}")

    @staticmethod
    def variant(abundance: dict, gas: dict) -> list[float]:
        return [*list(abundance.values())[1:], *H2_AND_GRAINS, *gas.values(), 0.0]

    def parts(self, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gas = sigma(self.model, self.variant(GAS_SHARE, ALL), energy)
        return gas, np.maximum(sigma(self.model, self.variant(ALL, ALL), energy) - gas, 0.0)

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        set_abundances(self.library, self.abundances)
        gas, grains = self.parts(energy)
        return np.column_stack([np.log(gas + grains), grains / (gas + grains)])


class Phabs:
    """The cross-section of phabs for one abundance table."""

    def __init__(self, library, abundances: str) -> None:
        self.library, self.abundances = library, abundances
        self.model = library.get_model("C_phabs")

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        set_abundances(self.library, self.abundances)
        return np.log(sigma(self.model, [], energy))[:, None]


def main() -> None:
    """Write the file."""
    library = xspectrampoline.get_libraries()
    arrays = {}
    for kind in (TBabs, Phabs):
        name = {TBabs: "TBabs", Phabs: "phabs"}[kind]
        functions = {abundances: kind(library, abundances) for abundances in ABUNDANCES}
        energy, columns = tabulate(functions)
        print(f"{name}: {energy.size} energies")
        arrays[f"{name}_E"] = energy
        for abundances, values in columns.items():
            arrays[f"{name}_{abundances}_sigma"] = values[0]
            if kind is TBabs:
                arrays[f"{name}_{abundances}_grains"] = values[1]
                arrays[f"{name}_{abundances}_k"] = np.array(functions[abundances].k)
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
