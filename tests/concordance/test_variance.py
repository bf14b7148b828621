"""Variance models: defaults, priors, and the shrinkage formula of a variance."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from crosscal.concordance.synthetic import simulate
from crosscal.concordance.variance import default_scatter, make_variance_model, shrinkage_variance, starting_variances
from crosscal.core.errors import InputError, UnknownNameError


@pytest.mark.parametrize(("square", "n"), [(0.05, 2), (0.5, 40), (3.0, 5)])
def test_shrinkage_is_the_mode_of_the_conditional(square, n):
    df, beta = 1.5, 0.01

    def negative(s):
        # y - B - G = -s / 2 + N(0, s) with sum of squares `square`, and the inverse-gamma prior.
        return 0.5 * n * np.log(s) + square / (2 * s) + n * s / 8 + (df + 1) * np.log(s) + beta / s

    mode = minimize_scalar(negative, bounds=(1e-5, 5), method="bounded", options={"xatol": 1e-12}).x
    assert shrinkage_variance(square, n, df, beta) == pytest.approx(mode, rel=1e-5)


def test_published_shrinkage_is_the_limit_of_many_sources():
    exact = shrinkage_variance(0.3 * 1e6, 1e6, 1.5, 1e-3)
    published = shrinkage_variance(0.3 * 1e6, 1e6, 1.5, 1e-3, published=True)
    assert published == pytest.approx(exact, rel=1e-5)
    assert shrinkage_variance(3.0, 2, 1.5, 1e-3, published=True) < shrinkage_variance(3.0, 2, 1.5, 1e-3)


def test_defaults_follow_the_data():
    plain = simulate(3, 300, sigma=0.04, seed=1).data
    quoted = simulate(3, 300, sigma=1e-6, quoted=0.03, seed=1).data
    assert make_variance_model(plain).kind == "unknown"
    assert make_variance_model(quoted).kind == "quoted+excess"
    assert default_scatter(plain) == 0.1
    assert default_scatter(quoted) == pytest.approx(0.03)
    assert np.all(make_variance_model(plain).scale == 0.1)
    assert np.all(make_variance_model(plain, beta=1e-3).scale == 0)
    assert np.all(make_variance_model(quoted).beta == 1e-4)
    assert np.allclose(np.sqrt(starting_variances(plain, make_variance_model(plain))), 0.04, rtol=0.4)


def test_cells_of_each_kind():
    data = simulate(2, 3, sigma=1e-6, quoted=0.1, seed=1).data
    s = np.array([1.0, 2.0])
    assert np.allclose(make_variance_model(data, "quoted").cells(data, s), 0.01)
    assert np.allclose(make_variance_model(data, "unknown").cells(data, s), s[data.row])
    model = make_variance_model(data, "quoted+excess", beta=[1e-4, 2e-4])
    assert np.allclose(model.cells(data, s), 0.01 + s[data.row])
    assert model.drop(0).beta == pytest.approx([2e-4])


def test_refusals():
    data = simulate(2, 3, sigma=0.1, seed=1).data
    with pytest.raises(UnknownNameError, match="'quoted'"):
        make_variance_model(data, "quotd")
    with pytest.raises(InputError, match=r"'quoted' needs quoted errors.*error column"):
        make_variance_model(data, "quoted")
    with pytest.raises(InputError, match="expected 1 or 2 values"):
        make_variance_model(data, beta=[1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="not positive"):
        make_variance_model(data, df=0.0)
    with pytest.raises(InputError, match="beta and scatter are both given"):
        make_variance_model(data, beta=1e-3, scatter=0.1)
