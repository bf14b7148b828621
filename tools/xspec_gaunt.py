"""Tabulate the Gaunt factor of XSPEC's bremss for CrossCal.

    python tools/xspec_gaunt.py

Needs the package ``xspectrampoline``. The bremss of XSPEC follows Kellogg, Baldwin & Koch (1975), with Kurucz at
low temperature, for a plasma with 8.5 % helium; its polynomials do not quite join at E = kT and E = 5 kT, so the
table holds each of these energies twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xspectrampoline

OUTPUT = Path(__file__).parents[1] / "src/crosscal/xray/emission/data/gaunt.npz"
HALF = 3e-4  # half width of the narrow bins; the library computes in single precision
JUMPS = (1.0, 5.0)
LOWEST, HIGHEST = 1e-4, 49.0  # E / kT; the library returns zero above 50


def density(model, energy: np.ndarray, kT: float) -> np.ndarray:
    """Photon spectrum per keV at single energies."""
    edges = np.ravel(np.column_stack([energy * (1 - HALF), energy * (1 + HALF)]))
    out = np.zeros(edges.size - 1)
    model(np.ascontiguousarray(edges), np.array([kT]), out, np.zeros_like(out), "")
    return out[::2] / (2 * HALF * energy)


def main() -> None:
    """Write the file."""
    model = xspectrampoline.get_libraries().get_model("C_bremss")
    u = np.geomspace(LOWEST, HIGHEST, 150)
    for jump in JUMPS:
        u = u[np.abs(np.log(u / jump)) > 0.02]
    apart = 2 * HALF
    u = np.sort(np.concatenate([u, *([jump * (1 - apart), jump * (1 + apart)] for jump in JUMPS)]))
    kT = np.geomspace(1e-2, 200.0, 100)
    factor = np.empty((kT.size, u.size))
    for row, temperature in enumerate(kT):
        # The curvature of exp(-E/kT) over a narrow bin is below 1e-5 for E < 50 kT and taken out here.
        scale = np.exp(-u) / (u * temperature) / np.sqrt(temperature) * np.cosh(u * HALF)
        factor[row] = density(model, u * temperature, temperature) / scale
    # The library gives zero far above kT at low temperature: carry the last value on.
    last = np.maximum.accumulate(np.where(factor > 0, np.arange(u.size), 0), axis=1)
    factor = np.take_along_axis(factor, last, axis=1)
    log_u = np.log(u)
    for jump in JUMPS:
        log_u[np.abs(u / jump - 1) < 2 * apart] = np.log(jump)
    np.savez_compressed(OUTPUT, log_u=log_u, log_kT=np.log(kT), factor=factor.astype(np.float32))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
