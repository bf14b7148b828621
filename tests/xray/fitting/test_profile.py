import numpy as np
import pytest

from crosscal.core.random import point_seeds
from crosscal.xray.fitting.engine import MAX_ITERATIONS, TOLERANCE, covariance_of, fit_table
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.profile import profile_curve, profile_limit
from crosscal.xray.fitting.starts import best_scale_start, net_counts
from crosscal.xray.fitting.statistics import Data, Kind, cstat

EMPTY = np.zeros(0)
LIMITS = (MAX_ITERATIONS, TOLERANCE)


class Fitted:
    """One noisy spectrum and its best fit."""

    def __init__(self, templates, model, truth, seed=1):
        self.templates = templates
        mean = templates.counts(**truth)
        self.counts = poisson_counts(mean[None], point_seeds(seed, [[0]]))[0, 0]
        self.data = Data(int(Kind.CSTAT), self.counts, EMPTY, EMPTY, EMPTY)
        self.x = templates.nodes.to_engine(truth)
        self.low, self.high = templates.limits(model)
        self.work = templates.work()
        self.information = np.zeros((self.x.size, self.x.size))
        _, self.best, _ = fit_table(
            templates.table, self.data, self.x, self.low, self.high, self.work, self.information, *LIMITS
        )
        self.covariance = np.zeros_like(self.information)
        covariance_of(self.information, self.low, self.high, self.work, self.covariance)

    def limit(self, j, direction, delta, low=None):
        return profile_limit(
            self.templates.table, self.data, self.x, self.best, j, direction, delta, self.covariance,
            self.low if low is None else low, self.high, self.work, *LIMITS,
        )  # fmt: skip


@pytest.mark.thorough
def test_profile_limit_is_where_the_statistic_has_risen(templates, plasma, truth):
    f = Fitted(templates, plasma, truth)
    for delta in (1.0, 2.706, 9.0):
        for direction in (-1, 1):
            edge = f.limit(0, direction, delta)
            # Minimise over the others explicitly, on a fine grid about the linear prediction and a parabola in each.
            found = constrained_by_hand(f, edge)
            assert abs(found - f.best - delta) < 2e-3 * delta


def constrained_by_hand(f, value):
    from scipy import optimize

    def objective(p):
        v = dict(zip(f.templates.names, f.templates.nodes.from_engine(np.array([value, *p])), strict=True))
        return float(cstat(f.counts, f.templates.counts(**v)).sum())

    scale = np.abs(f.x[1:])
    return optimize.minimize(
        lambda q: objective(q * scale), f.x[1:] / scale, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7}
    ).fun


def test_profile_interval_is_the_fisher_interval_for_many_counts(templates, plasma, truth):
    f = Fitted(templates, plasma, {**truth, "norm": truth["norm"] * 1e3})
    sd = np.sqrt(np.diag(f.covariance))
    for j in range(3):
        width = f.limit(j, 1, 1.0) - f.limit(j, -1, 1.0)
        # Third-order terms are of relative size 1/sqrt(counts) = 2e-4; kT's spline adds a little.
        assert np.isclose(width, 2 * sd[j], rtol=5e-3)


def test_profile_limit_stops_at_the_parameters_limit(templates, plasma, truth):
    f = Fitted(templates, plasma, {**truth, "norm": truth["norm"] / 100, "Abundanc": 0.05})
    j = templates.names.index("Abundanc")
    assert f.limit(j, -1, 9.0) == 0.0


@pytest.mark.thorough
def test_profile_curve(templates, plasma, truth):
    f = Fitted(templates, plasma, truth)
    offsets = np.linspace(-3, 3, 7)
    out = np.empty(7)
    profile_curve(f.templates.table, f.data, f.x, f.best, 0, offsets, f.covariance, f.low, f.high, f.work, *LIMITS, out)
    assert abs(out[3]) < 1e-6
    # Near a parabola; at 2e4 counts the skewness is below 10 %.
    np.testing.assert_allclose(out, offsets**2, rtol=0.15, atol=1e-5)
    narrow = f.low.copy()
    narrow[0] = f.x[0] - 1.5 * np.sqrt(f.covariance[0, 0])
    profile_curve(
        f.templates.table, f.data, f.x, f.best, 0, offsets, f.covariance, narrow, f.high, f.work, *LIMITS, out
    )
    assert np.isnan(out[:2]).all()
    assert np.isfinite(out[2:]).all()


@pytest.mark.thorough
def test_start_is_near(templates, plasma, truth):
    f = Fitted(templates, plasma, truth)
    x = templates.nodes.to_engine({"kT": 0.2, "norm": 1.0, "Abundanc": 0.3})
    value = best_scale_start(templates.table, f.data, x, f.low, f.high, f.work)
    step = np.diff(templates.nodes.axes[0].coordinate).max()
    assert abs(x[0] - f.x[0]) <= step
    assert np.isclose(x[1], f.x[1], rtol=0.2)
    assert value >= f.best


def test_net_counts():
    data = Data(int(Kind.WSTAT), np.array([10.0, 20.0]), np.array([8.0, 4.0]), np.array([2.0, 2.0]), EMPTY)
    assert net_counts(data) == 24.0
    drowned = Data(int(Kind.WSTAT), np.array([10.0]), np.array([80.0]), np.array([2.0]), EMPTY)
    assert net_counts(drowned) == 1.0
