"""The generalised inverse Gaussian sampler against its distribution function."""

import numpy as np
import pytest
from scipy.stats import geninvgauss, kstest

from crosscal.concordance.gig import draw_many

# (power, omega): the three methods, their borders, and the sizes that concordance data give.
CASES = [
    (0.0, 1e-3), (0.3, 3e-3), (-0.3, 3e-3), (0.5, 0.1), (0.9, 1.0), (0.99, 0.05), (0.2, 0.19), (0.0, 0.5), (2.5, 0.005),
    (2.5, 2.0), (-2.5, 0.2), (-50.0, 6.0), (3.0, 10.0), (0.5, 50.0), (-50001.5, 5000.0), (1e4, 1.0),
]  # fmt: skip


def distribution(power, omega):
    """CDF of ln x by quadrature about the mode: scipy's own fails where the density has two scales."""
    centre = np.arcsinh(power / omega)
    width = 1 / np.sqrt(omega * np.cosh(centre))
    reach = 45.0 if width > 0.3 else 14 * width
    u = np.linspace(centre - reach, centre + reach, 400001)
    log = power * u - omega * np.cosh(u)
    total = np.cumsum(np.exp(log - log.max()))
    return lambda t: np.interp(t, u, total / total[-1])


@pytest.mark.parametrize(("power", "omega"), CASES)
def test_draws_follow_the_distribution(power, omega):
    scale = 0.37
    x = draw_many(power, omega * scale, omega / scale, 30000, 11)
    # One p-value in a thousand may be below 1e-3; the seed is fixed.
    assert kstest(np.log(x / scale), distribution(power, omega)).pvalue > 1e-3


@pytest.mark.parametrize(("power", "omega"), [(0.5, 2.0), (2.5, 2.0), (-1.5, 0.8)])
def test_draws_follow_scipy(power, omega):
    x = draw_many(power, omega, omega, 20000, 5)
    assert kstest(x, geninvgauss(power, omega).cdf).pvalue > 1e-3


def test_limits_are_gamma_and_inverse_gamma():
    from scipy.stats import gamma, invgamma

    assert kstest(draw_many(2.0, 0.0, 3.0, 20000, 1), gamma(2.0, scale=2 / 3).cdf).pvalue > 1e-3
    assert kstest(draw_many(-2.0, 3.0, 0.0, 20000, 1), invgamma(2.0, scale=1.5).cdf).pvalue > 1e-3
    assert kstest(draw_many(2.0, 1e-16, 1.0, 20000, 1), gamma(2.0, scale=2).cdf).pvalue > 1e-3
    assert kstest(draw_many(-2.0, 1.0, 1e-16, 20000, 1), invgamma(2.0, scale=0.5).cdf).pvalue > 1e-3


def test_same_seed_same_numbers():
    assert np.array_equal(draw_many(1.0, 1.0, 1.0, 10, 3), draw_many(1.0, 1.0, 1.0, 10, 3))
