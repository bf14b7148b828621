"""Small simulated light curves and one finished result, shared by the tests of the part."""

import numpy as np
import pytest

from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.synthetic import simulate


@pytest.fixture(scope="session")
def simulated():
    """Three telescopes, continuum and one line, with truth."""
    return simulate(seed=4, points=(40, 30, 20), lines=1, syserr=(0.0, 0.03, 0.0))


@pytest.fixture(scope="session")
def result(simulated):
    """A finished intercalibration with systematic errors."""
    return intercalibrate(simulated[0], systematic_error=True, seed=2, draws=1500)


@pytest.fixture
def dense():
    """A function giving the textbook log likelihood of a file by dense matrices."""

    def log_likelihood(model, x, i, *, shifts=()):
        lay, curve = model.layout, model.curves.files[i]
        phi = np.exp(x[lay.scale])[curve.code]
        f = curve.flux / model.norm.factors[i][curve.code]
        e = curve.error / model.norm.factors[i][curve.code]
        eps = x[lay.syserr[i]][curve.code, curve.flag]
        b = np.exp(x[lay.errscale[i]])[curve.code, curve.flag]
        y = phi * f
        if i == 0:
            held = np.array([0.0 if c in shifts else x[lay.shift[c]] for c in range(len(curve.codes))])
            y = y - held[curve.code]
        theta = x[lay.kernel[i]]
        process = model.settings.process
        lag = np.abs(curve.time[:, None] - curve.time[None, :])
        C = process.covariance(theta, lag.ravel()).reshape(lag.shape)
        C = C + np.diag(phi**2 * (b**2 * e**2 + eps**2) + np.real(process.white(theta)))
        H = np.stack([np.ones(len(y)), *[(curve.code == c).astype(float) for c in (shifts if i == 0 else ())]], 1)
        inverse = np.linalg.inv(C)
        F = H.T @ inverse @ H
        best = np.linalg.solve(F, H.T @ inverse @ y)
        r = y - H @ best
        value = -0.5 * r @ inverse @ r - 0.5 * np.linalg.slogdet(C)[1] - 0.5 * np.linalg.slogdet(F)[1]
        value += np.sum(np.log(phi))
        for c in shifts if i == 0 else ():
            value += 0.5 * np.log(2 * np.pi) - np.log(lay.high[lay.shift[c]] - lay.low[lay.shift[c]])
        return value, inverse, H

    return log_likelihood
