"""Checks: do they fire where they should and stay silent where they should?"""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.concordance import fit, leave_one_out
from crosscal.concordance.algebra import closed_form
from crosscal.concordance.examination import conflict_tests, data_information, pulls
from crosscal.concordance.fitting import _from_patterns
from crosscal.concordance.synthetic import simulate

from .stating import make_model


def information_of(case, tau, **options):
    model = make_model(case.data, tau=tau, variance="quoted", **options)
    exact = closed_form(model.data, model.prior, model.data.variance)
    return model, data_information(model, exact.precision, exact.mean)


def test_conflict_test_is_chi_square():
    values, p_values = [], []
    for k in range(200):
        model, found = information_of(simulate(4, 12, tau=0.05, sigma=1e-9, quoted=0.05, filled=0.8, seed=k), 0.05)
        (test,) = conflict_tests(model, *found)
        values.append(test.chi2)
        p_values.append(test.p_value)
    assert test.dof == 3
    # 200 values of chi2_3: mean 3 +- 0.17, and p-values uniform within the Kolmogorov bound.
    assert abs(np.mean(values) - 3) < 0.6
    from scipy.stats import kstest

    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_conflict_test_equals_the_explicit_one():
    case = simulate(3, 15, tau=0.05, sigma=1e-9, quoted=0.05, seed=1)
    model, found = information_of(case, 0.05)
    (test,) = conflict_tests(model, *found)
    # Complete data of equal errors: zbar_i - zbar_1 has covariance of (I + 11') s / M, and the prior's contrasts.
    z = model.data.matrix(model.data.log_rate + model.data.variance / 2).mean(axis=0)
    contrast = np.array([[-1.0, 1, 0], [-1, 0, 1]])
    covariance = contrast @ (np.eye(3) * (0.05**2 / 15 + 0.05**2)) @ contrast.T
    d = contrast @ z
    assert test.chi2 == pytest.approx(d @ np.linalg.solve(covariance, d), rel=1e-6)


def test_conflict_with_a_flat_instrument_and_two_components():
    case = simulate(3, 15, tau=0.05, sigma=1e-9, quoted=0.05, seed=1)
    model, found = information_of(case, {"instrument 1": 0.05, "instrument 2": 0.05, "instrument 3": np.inf})
    (test,) = conflict_tests(model, *found)
    assert test.dof == 1
    assert test.channels == ("instrument 1", "instrument 2")


def test_pull_finds_the_wrong_instrument():
    good = pulls(*flatten(information_of(simulate(5, 40, b=np.zeros(5), sigma=1e-9, quoted=0.02, seed=1), 0.02)))
    bad = pulls(*flatten(information_of(simulate(5, 40, b=[0, 0, 0.2, 0, 0], sigma=1e-9, quoted=0.02, seed=1), 0.02)))
    assert np.all(np.abs(good) < 3)
    assert np.argmax(np.abs(bad)) == 2
    assert bad[2] > 5


def flatten(pair):
    model, (information, vector) = pair
    return model, information, vector


def test_warnings_name_the_culprit():
    case = simulate(4, 60, b=[0, 0, 0, 0.3], sigma=0.02, seed=2)
    result = fit(case.data, tau=0.02, draws=500)
    text = result.diagnostics
    assert "disagree more than their priors allow" in text
    assert "instrument 4 lies" in text
    table = leave_one_out(result)
    assert np.argmax(table["largest_shift"]) == 3


def test_silent_on_good_data():
    case = simulate(4, 60, tau=0.05, sigma=0.02, seed=3)
    result = fit(case.data, tau=0.05, draws=500)
    assert result.warnings == ()
    assert "converged" in result.diagnostics


@pytest.mark.slow
def test_predictive_check_finds_outliers_and_wrong_errors():
    outliers = simulate(3, 150, tau=0.05, sigma=0.03, outliers=0.05, seed=4)
    plain = fit(outliers.data, draws=500, leave_one_out=False)
    robust = fit(outliers.data, draws=500, leave_one_out=False, noise="log-t")
    assert plain.tests.tail_p.min() < 1e-5
    assert robust.tests.predictive.extreme_p.min() > 0.02
    assert any("have outliers" in w and "use noise = 'log-t'" in w for w in plain.warnings)
    wide = simulate(3, 100, tau=0.05, sigma=0.01, quoted=None, seed=5)
    data = replace(wide.data, variance=np.full(wide.data.n_cells, 0.05**2))
    result = fit(data, variance="quoted", draws=500, leave_one_out=False)
    assert any("scatter less than the quoted errors" in w for w in result.warnings)


def test_predictive_check_can_be_skipped():
    case = simulate(3, 20, sigma=0.02, seed=3)
    result = fit(case.data, draws=300, predictive=0, leave_one_out=False)
    assert result.tests.predictive is None
    assert "scatter_p" not in result.summary().colnames


def test_two_instruments_have_no_leave_one_out():
    result = fit(simulate(2, 20, sigma=0.02, seed=3).data, draws=300, predictive=0)
    assert np.all(np.isnan(result.tests.leave_one_out.shift))
    assert np.all(np.isfinite(result.tests.leave_one_out.pull))


def test_the_closed_form_from_patterns_is_the_closed_form():
    model = make_model(simulate(4, 40, sigma=0.05, filled=0.7, seed=5).data, tau=0.05)
    s = np.array([1e-3, 2e-3, 3e-3, 4e-3])
    one, other = _from_patterns(model, s), closed_form(model.data, model.prior, s[model.data.row])
    assert np.allclose(one.mean, other.mean, rtol=1e-9)
    assert np.allclose(one.covariance, other.covariance, rtol=1e-9)
