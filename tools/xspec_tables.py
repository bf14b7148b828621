"""Tabulate absorption cross-sections of the XSPEC library for CrossCal.

    python tools/xspec_tables.py

Needs the package ``xspectrampoline``. The table is refined until log-log interpolation is good to 2e-5 everywhere;
at an absorption edge two energies follow each other within 1e-7.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import xspectrampoline

OUTPUT = Path(__file__).parents[1] / "src/crosscal/xray/emission/data/absorption.npz"
MODELS = {"TBabs": "C_tbabs", "phabs": "C_phabs"}
ABUNDANCES = ("wilm", "angr", "aspl")
RANGE = (0.03, 100.0)  # keV
TOLERANCE = 1e-5
CLOSEST = 1e-7


def set_abundances(library, name: str) -> None:
    """Select XSPEC's solar abundance table."""
    code, text = ctypes.c_int(0), name.encode()
    library.lib_xs_functions.fpsolr_(ctypes.c_char_p(text), ctypes.byref(code), ctypes.c_long(len(text)))
    if code.value:
        raise SystemExit(f"XSPEC does not know the abundance table {name}")


def sigma(model, energy: np.ndarray) -> np.ndarray:
    """Cross-section in 1e-22 cm2 at single energies, from bins too narrow to matter."""
    half = 1e-10
    edges = np.ravel(np.column_stack([energy * (1 - half), energy * (1 + half)]))
    out = np.zeros(edges.size - 1)
    # Columns for an optical depth near one: transmissions near 0 or 1 would lose digits.
    result = np.zeros(energy.size)
    for nH in 10.0 ** np.arange(-4, 8):
        model(np.ascontiguousarray(edges), np.array([nH]), out, np.zeros_like(out), "")
        with np.errstate(divide="ignore"):
            depth = -np.log(out[::2])
        good = (depth > 0.2) & (depth < 20)
        result[good] = depth[good] / nH
    if np.any(result <= 0):
        raise SystemExit(f"no cross-section at {energy[result <= 0][:5]} keV")
    return result


def refine(model) -> tuple[np.ndarray, np.ndarray]:
    """Bisect in ln E until the middle of every interval is predicted well."""
    x = np.linspace(*np.log(RANGE), 200)
    y = np.log(sigma(model, np.exp(x)))
    active = np.ones(x.size - 1, dtype=bool)
    while np.any(active):
        left = np.flatnonzero(active)
        middle = 0.5 * (x[left] + x[left + 1])
        true = np.log(sigma(model, np.exp(middle)))
        bad = np.abs(true - 0.5 * (y[left] + y[left + 1])) > TOLERANCE
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
        if not low <= slope <= high:
            start = k - 1
            kept.append(start)
            low, high = -np.inf, np.inf
        low = max(low, (y[k] - TOLERANCE - y[start]) / (x[k] - x[start]))
        high = min(high, (y[k] + TOLERANCE - y[start]) / (x[k] - x[start]))
    return np.array([*kept, x.size - 1])


def main() -> None:
    """Write the file."""
    library = xspectrampoline.get_libraries()
    arrays = {}
    for abundances in ABUNDANCES:
        set_abundances(library, abundances)
        for name, symbol in MODELS.items():
            x, y = refine(library.get_model(symbol))
            chosen = thin(x, y)
            x, y = x[chosen], y[chosen]
            arrays[f"E_{name}_{abundances}"] = x.astype(np.float32)
            arrays[f"s_{name}_{abundances}"] = y.astype(np.float32)
            print(f"{name} {abundances}: {x.size} energies")
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
