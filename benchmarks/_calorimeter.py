"""A synthetic microcalorimeter (5 eV FWHM on 0.5 eV channels), and Sherpa's fit of TBabs*bapec with XSPEC's bapec."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr

NH, BAND, EXPOSURE = 0.14, (2.0, 9.0), 3e4
NAMES = ("kT", "Abundanc", "Redshift", "Velocity", "norm")
TRUTH = {"kT": 4.0, "Abundanc": 0.6, "Redshift": 0.01724, "Velocity": 165.0, "norm": 0.3}
START = {"kT": 3.5, "Abundanc": 0.5, "Redshift": 0.0178, "Velocity": 100.0, "norm": 0.3}


def calorimeter(fwhm: float = 5e-3, step: float = 5e-4, low: float = 1.9, high: float = 9.1) -> Any:
    """Return the response: 14 400 channels of Gaussian resolution."""
    from crosscal import xray

    n, sigma = round((high - low) / step), fwhm / 2.3548
    edges = low + step * np.arange(n + 1)
    offset = np.arange(-int(np.ceil(6 * sigma / step)), int(np.ceil(6 * sigma / step)) + 1)
    profile = ndtr((offset + 0.5) * step / sigma) - ndtr((offset - 0.5) * step / sigma)
    rows = np.arange(n)[None, :] + offset[:, None]
    inside = (rows >= 0) & (rows < n)
    columns, values = (np.broadcast_to(a, rows.shape)[inside] for a in (np.arange(n), profile[:, None]))
    area = 200.0 * np.exp(-0.5 * ((0.5 * (edges[1:] + edges[:-1]) - 4.0) / 4.0) ** 2)
    matrix = csr_array((values, (rows[inside], columns)), shape=(n, n))
    return xray.Response(edges[:-1], edges[1:], area, matrix, edges[:-1], edges[1:], name="calorimeter")


def sherpa_fit(counts: np.ndarray, response: Any, root: str) -> dict[str, Any]:
    """Fit counts (all channels) by cstat and levmar; return values, errors, statistic and CPU seconds of the fit.

    Raises
    ------
    ImportError
        If sherpa or xspectrampoline is not installed.
    """
    from sherpa.astro.data import DataPHA, DataRMF
    from sherpa.astro.instrument import Response1D, create_arf
    from sherpa.estmethods import Covariance
    from sherpa.fit import Fit
    from sherpa.optmethods import LevMar
    from sherpa.stats import CStat

    logging.getLogger("sherpa").setLevel(logging.ERROR)
    model = _model(root)
    columns = response.redistribution.tocsc()
    columns.sort_indices()
    first, n = columns.indices[columns.indptr[:-1]] + 1, np.diff(columns.indptr)
    ones = np.ones(response.n_energy, int)
    rmf = DataRMF("rmf", response.n_channel, response.energy_lo, response.energy_hi, ones, first, n, columns.data,
                  offset=1, e_min=response.channel_lo, e_max=response.channel_hi)  # fmt: skip
    data = DataPHA("data", np.arange(1, counts.size + 1), counts, exposure=EXPOSURE)
    data.set_arf(create_arf(response.energy_lo, response.energy_hi, response.area, exposure=EXPOSURE))
    data.set_rmf(rmf)
    data.set_analysis("energy")
    data.notice(*BAND)
    fit = Fit(data, Response1D(data)(model), stat=CStat(), method=LevMar(), estmethod=Covariance())
    start = time.process_time()
    result = fit.fit()
    seconds = time.process_time() - start
    # levmar may stop before the minimum: again from there, not counted.
    result = fit.fit()
    values = {p.name: float(p.val) for p in model.pars}
    errors = dict(zip(NAMES, (float(e) for e in fit.est_errors().parmaxes), strict=True))
    return {"values": values, "errors": errors, "statistic": float(result.statval), "seconds": seconds}


def our_fit(counts: np.ndarray, response: Any, data: Any, interp: str = "xspec") -> tuple[Any, float]:
    """Fit the same by CrossCal on AtomDB's files; return the result and the CPU seconds of a second, warm, fit."""
    from crosscal import xray

    model = xray.Model("TBabs*bapec", nH=NH, table=data, interp=interp, free=NAMES, **START)
    spectrum = xray.Spectrum(counts, EXPOSURE, first_channel=response.first_channel)
    xray.fit(spectrum, response, model, band=BAND)
    start = time.process_time()
    return xray.fit(spectrum, response, model, band=BAND), time.process_time() - start


def simulated(response: Any, data: Any) -> np.ndarray:
    """Return counts of the truth, 2e5 in the band."""
    from crosscal import xray

    model = xray.Model("TBabs*bapec", nH=NH, table=data, interp="xspec", free=NAMES, **TRUTH)
    return np.array(xray.fakeit(response, model, exposure=EXPOSURE, seed=1).counts)


def _model(root: str) -> Any:
    from sherpa.models.model import ArithmeticModel
    from sherpa.models.parameter import Parameter

    from crosscal.xray.emission.xspec_library import library

    xspec = library()
    xspec.set_string("APECROOT", root)
    absorption: dict[int, np.ndarray] = {}
    limits = {"kT": (0.1, 64), "Abundanc": (0, 5), "Redshift": (-0.999, 10), "Velocity": (0, 1e4), "norm": (0, 1e24)}

    class TBabsBapec(ArithmeticModel):
        """XSPEC's functions; absorption is kept between calls, since nH is not fitted."""

        def __init__(self) -> None:
            for name in NAMES:
                setattr(self, name, Parameter("bapec", name, START[name], *limits[name]))
            ArithmeticModel.__init__(self, "bapec", tuple(getattr(self, n) for n in NAMES))
            self.cache = 0  # every call of a fit has other parameters

        def calc(self, p: Any, xlo: Any, xhi: Any = None, *args: Any, **keywords: Any) -> np.ndarray:
            edges = np.append(np.asarray(xlo, dtype=float), float(xhi[-1]))
            zero = np.zeros(edges.size - 1)
            if edges.size not in absorption:
                xspec.set_abundances("wilm")
                absorption[edges.size] = xspec.call("C_tbabs", edges, [NH], zero)
                xspec.set_abundances("angr")
            return p[4] * absorption[edges.size] * xspec.call("C_bapec", edges, list(p[:4]), zero)

    return TBabsBapec()
