"""Collisionally ionised plasma: apec, vapec and bapec."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from crosscal.core.parameter import Parameter
from crosscal.xray.emission import elements
from crosscal.xray.emission.component import Additive, Array, Settings, Values, norm_parameter
from crosscal.xray.emission.interpolate import KINDS, temperature_weights
from crosscal.xray.emission.lines import Lines
from crosscal.xray.emission.plasma import PlasmaTable

# norm = 1e-14 / (4 pi (D_A (1 + z))^2) * integral of n_e n_H dV, in cgs units, as in XSPEC.
_UNIT_NORM = 1e14
# Spectra of so many temperatures on one grid, two nodes each, cost more than those of all nodes together.
_MANY = 16

_NORM = "1e-14 / (4 pi (D_A (1+z))^2) * integral of n_e n_H dV, cgs"
_VAPEC = ("He", *elements.METALS)


def _temperature() -> Parameter:
    return Parameter("kT", 1.0, 0.0008, 100.0, "keV", "plasma temperature, inside the plasma table", "log", True)


def _redshift() -> Parameter:
    return Parameter("Redshift", 0.0, -0.999, 10.0, "", "redshift of the source")


class PlasmaComponent(Additive):
    """What the three plasma components share: abundances to weights, nodes to temperatures."""

    linear: ClassVar[tuple[str, ...]] = ("norm", "Abundanc")
    shares: ClassVar[dict[str, tuple[str, ...]]]  # parameter -> elements whose abundance it is

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        ratio = elements.abundance_ratio(settings.abundances)
        rows = np.zeros((1 + len(self.shares), len(elements.SYMBOLS)))
        rows[0] = ratio
        for row, symbols in enumerate(self.shares.values(), start=1):
            columns = [elements.Z[s] - 1 for s in symbols]
            rows[row, columns] = ratio[columns]
            rows[0, columns] = 0.0
        self._rows = rows

    @property
    def table(self) -> PlasmaTable:
        """The plasma table in use."""
        return self.settings.load_table()

    def line_bins(self, energy: Array) -> Array:
        return self.table.line_bins(energy)

    def nodes(self, name: str) -> Array | None:
        return self.table.kT if name == "kT" else None

    def interpolation(self, name: str) -> str | None:
        return KINDS[self.settings.interp] if name == "kT" else None

    def check(self, values: Values, *, where: str) -> None:
        self.table.check_temperature(values["kT"], where=where)

    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        shape = np.broadcast_shapes(*(np.shape(v) for name, v in values.items() if name != "norm"))
        kT = np.broadcast_to(values["kT"], shape).ravel()
        redshift = np.broadcast_to(values["Redshift"], shape).ravel()
        velocity = np.broadcast_to(values.get("Velocity", 0.0), shape).ravel()
        shares = [np.broadcast_to(values[name], shape).ravel() for name in self.shares]
        amounts = np.stack([np.ones(kT.size), *shares], axis=1)
        out = np.empty((kT.size, edges.size - 1))
        # Templates depend on redshift and velocity; every spectrum that shares them is one matrix product.
        pairs, member = np.unique(np.stack([redshift, velocity]), axis=1, return_inverse=True)
        for j, (z, v) in enumerate(pairs.T):
            mine = np.flatnonzero(member.ravel() == j)
            out[mine] = self._one_redshift(edges, kT[mine], amounts[mine], z, v)
        return out.reshape(*shape, -1)

    def _one_redshift(self, edges: Array, kT: Array, amounts: Array, z: float, v: float) -> Array:
        table, interp = self.table, self.settings.interp
        smooth = self.settings.smooth_lines
        broad = self._thermal or v > 0 or table.thermal or table.velocity > 0 or smooth
        distinct, member = np.unique(kT, return_inverse=True)
        # The choice must not depend on what was asked before: the two ways differ in their last digits. A spline takes
        # something of every node, so that keeping them costs nothing more.
        if broad or (interp == "xspec" and distinct.size < _MANY):
            # XSPEC's lines have the widths of the tabulated temperatures; a spline needs one width only.
            own = broad and interp == "spline"
            rows = [
                table.mixed(edges, self._rows, mix, Lines(z, v, self._thermal, smooth, t if own else None))
                for t, mix in zip(distinct, temperature_weights(table.kT, distinct, interp), strict=True)
            ]
            out = np.einsum("jw,jwn->jn", amounts, np.stack(rows)[member.ravel()])
        else:
            templates = table.spectra(edges, self._rows, redshift=z)
            weights = temperature_weights(table.kT, kT, interp)
            used = np.flatnonzero(np.any(weights != 0, axis=0))
            mixed = (weights[:, used, None] * amounts[:, None, :]).reshape(kT.size, -1)
            out = mixed @ templates[used].reshape(-1, edges.size - 1)
        # The spline can undershoot where the flux has fallen by e^-10 or more from its peak.
        np.maximum(out, 0.0, out=out)
        return out * (_UNIT_NORM / (1.0 + z))

    _thermal = False


class Apec(PlasmaComponent):
    """Collisional plasma (AtomDB); metals share one abundance, He and trace elements are solar."""

    name = "apec"
    shares: ClassVar = {"Abundanc": elements.METALS}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            _temperature(),
            Parameter("Abundanc", 1.0, 0.0, 5.0, "", "abundance of C N O Ne Mg Al Si S Ar Ca Fe Ni, solar"),
            _redshift(),
            norm_parameter(_NORM),
        )


class Bapec(PlasmaComponent):
    """Collisional plasma as apec, with lines broadened by turbulence and thermal motion."""

    name = "bapec"
    shares: ClassVar = {"Abundanc": elements.METALS}
    _thermal = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            _temperature(),
            Parameter("Abundanc", 1.0, 0.0, 5.0, "", "abundance of C N O Ne Mg Al Si S Ar Ca Fe Ni, solar"),
            _redshift(),
            Parameter("Velocity", 0.0, 0.0, 1e4, "km/s", "Gaussian sigma of line broadening"),
            norm_parameter(_NORM),
        )


class Vapec(PlasmaComponent):
    """Collisional plasma (AtomDB) with an abundance for each of 13 elements."""

    name = "vapec"
    shares: ClassVar = {symbol: (symbol,) for symbol in _VAPEC}
    linear = ("norm", *_VAPEC)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            _temperature(),
            *(Parameter(s, 1.0, 0.0, 1000.0, "", f"abundance of {s}, solar") for s in _VAPEC),
            _redshift(),
            norm_parameter(_NORM),
        )
