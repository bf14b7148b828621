"""The baseline of the X-ray benchmarks: Sherpa fits with the XSPEC library's TBabs*apec, as a user would do them."""

from __future__ import annotations

import gzip
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np


def unpacked_atomdb(data: Path, folder: Path) -> str:
    """Unpack AtomDB's files (XSPEC reads no gzipped ones) and return what XSPEC calls APECROOT."""
    for path in sorted(data.glob("apec_v*_*.fits.gz")):
        with gzip.open(path) as source, open(folder / path.stem, "wb") as target:
            shutil.copyfileobj(source, target)
        root = path.name.rsplit("_", 1)[0]
    return str(folder / root)


class SherpaTelescope:
    """One response with Sherpa: simulate and fit ``TBabs*apec`` of XSPEC with cstat and levmar.

    Raises
    ------
    ImportError
        If sherpa or xspectrampoline is not installed.
    """

    def __init__(
        self, arf: Path, rmf: Path, apec_root: str, *, nH: float, redshift: float, band: tuple[float, float]
    ) -> None:
        import sherpa.astro.ui as ui

        from crosscal.xray.emission.xspec_library import library

        logging.getLogger("sherpa").setLevel(logging.ERROR)
        self.xspec = library()
        self.xspec.set_string("APECROOT", apec_root)
        self.arf, self.rmf, self.band = ui.unpack_arf(str(arf)), ui.unpack_rmf(str(rmf)), band
        self.arf, self.rmf = getattr(self.arf, "_arf", self.arf), getattr(self.rmf, "_rmf", self.rmf)
        self.model = _model(self.xspec, nH, redshift)
        self.area = np.asarray(self.arf.specresp, dtype=float).copy()
        self.energy = 0.5 * (np.asarray(self.arf.energ_lo) + np.asarray(self.arf.energ_hi))

    def _data(self, counts: np.ndarray, factor: Any, exposure: float) -> Any:
        from sherpa.astro.data import DataPHA
        from sherpa.astro.instrument import create_arf

        data = DataPHA("data", np.arange(1, counts.size + 1), counts, exposure=exposure)
        data.set_arf(create_arf(self.arf.energ_lo, self.arf.energ_hi, self.area * factor, exposure=exposure))
        data.set_rmf(self.rmf)
        data.set_analysis("energy")
        data.notice(*self.band)
        return data

    def expected(self, values: dict[str, float], factor: Any = 1.0, exposure: float = 1e5) -> np.ndarray:
        """Return expected counts in all channels for kT, Abundanc, norm."""
        from sherpa.astro.instrument import Response1D

        self._set(values)
        data = self._data(np.zeros(self.rmf.detchans), factor, exposure)
        data.notice()
        return np.asarray(Response1D(data)(self.model)(data.channel)) * 1.0

    def fit(
        self,
        counts: np.ndarray,
        start: dict[str, float],
        free: tuple[str, ...],
        factor: Any = 1.0,
        exposure: float = 1e5,
    ) -> dict[str, float]:
        """Fit counts (all channels) and return kT, Abundanc, norm and the statistic."""
        from sherpa.astro.instrument import Response1D
        from sherpa.fit import Fit
        from sherpa.optmethods import LevMar
        from sherpa.stats import CStat

        self._set(start)
        for parameter in self.model.pars:
            parameter.frozen = parameter.name not in free
        data = self._data(counts, factor, exposure)
        result = Fit(data, Response1D(data)(self.model), stat=CStat(), method=LevMar()).fit()
        return {p.name: float(p.val) for p in self.model.pars} | {"statistic": float(result.statval)}

    def _set(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            setattr(self.model, name, value)


def _model(xspec: Any, nH: float, redshift: float) -> Any:
    from sherpa.models.model import ArithmeticModel
    from sherpa.models.parameter import Parameter

    absorption: dict[int, np.ndarray] = {}

    class TBabsApec(ArithmeticModel):
        """XSPEC's functions; absorption is kept between calls, since nH is not fitted."""

        def __init__(self) -> None:
            self.kT = Parameter("apec", "kT", 4.0, 0.0862, 64.0)
            self.Abundanc = Parameter("apec", "Abundanc", 0.3, 0.0, 5.0)
            self.norm = Parameter("apec", "norm", 1.0, 0.0, 1e24)
            ArithmeticModel.__init__(self, "apec", (self.kT, self.Abundanc, self.norm))
            self.cache = 0  # every call of a fit has other parameters

        def calc(self, p: Any, xlo: Any, xhi: Any = None, *args: Any, **keywords: Any) -> np.ndarray:
            edges = np.append(np.asarray(xlo, dtype=float), float(xhi[-1]))
            zero = np.zeros(edges.size - 1)
            if edges.size not in absorption:
                xspec.set_abundances("wilm")
                absorption[edges.size] = xspec.call("C_tbabs", edges, [nH], zero)
                xspec.set_abundances("angr")
            return p[2] * absorption[edges.size] * xspec.call("C_apec", edges, [p[0], p[1], redshift], zero)

    return TBabsApec()
