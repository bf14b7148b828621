"""Few sources without errors, additive values, repeated measurements, robust and estimated priors of the areas."""

import numpy as np
import pytest

from crosscal.concordance import Comparison, fit, simulate
from crosscal.concordance.algebra import closed_form
from crosscal.concordance.examination import data_information, pulls
from crosscal.core.errors import InputError

from .stating import make_model, run


def test_one_source_does_not_give_precision():
    data = Comparison.from_cells(["pn", "MOS1", "MOS2"], ["s"] * 3, flux=[1.0, 1.08, 0.95])
    result = fit(data, seed=1, leave_one_out=False)
    # Three areas known to 5 % and one source of unknown scatter: ratios stay uncertain by some percent.
    assert np.all(result.relative.std(axis=0) > 0.02)
    assert "half-t with 3 degrees of freedom and scale 10 %" in result.diagnostics
    assert "adjusted from 1 source (3 fluxes)" in result.answer


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(2, 1), (5, 1), (2, 2), (2, 3), (4, 3)])
@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_coverage_of_few_sources(n, m, sigma, slow_scale):
    inside, number = [], max(20, round(300 * slow_scale))
    for k in range(number):
        case = simulate(n, m, tau=0.05, sigma=sigma, seed=k)
        b = run(make_model(case.data), seed=k, draws=1500, warmup=300, chains=1).b.reshape(-1, n)
        low, high = np.quantile(b[:, 1] - b[:, 0], [0.025, 0.975])
        inside.append(low < case.b[1] - case.b[0] < high)
    print(f"N {n}, M {m}, sigma {sigma}: coverage {np.mean(inside):.3f}")
    # A scatter as large as the scale of its prior is covered least: 0.939 +/- 0.007 in 900 runs of the last case.
    assert np.mean(inside) > 0.935 - 2.8 * np.sqrt(0.935 * 0.065 / number)


@pytest.mark.thorough
def test_the_mode_does_not_depend_on_the_seed():
    data = Comparison.from_cells(["a", "b"] * 2, ["s", "s", "t", "t"], flux=[1.0, 1.1, 2.0, 2.21])
    means = [run(make_model(data, beta=1e-6), "map", seed=k, draws=2000).b.mean(axis=(0, 1)) for k in range(3)]
    # 8000 draws of sd 0.03.
    assert np.ptp(means, axis=0).max() < 0.005


def test_additive_values_have_shifts_and_no_bias_of_the_logarithm():
    y = np.zeros(40)
    data = Comparison.from_cells(
        ["A", "B"] * 20, [f"s{k // 2}" for k in range(40)], flux=y, error=[0.5, 3.0] * 20, scale="additive",
        flux_unit="ns",
    )  # fmt: skip
    result = fit(data, tau=10.0, variance="quoted", leave_one_out=False)
    exact = closed_form(data, result.model.prior, data.variance)
    assert np.allclose(exact.mean, 0.0, atol=1e-12)
    assert result.correction is None
    assert "ns" in result.answer
    assert "shift" in result.summary().colnames
    with pytest.raises(InputError, match="additive values without tau"):
        fit(data)
    with pytest.raises(InputError, match="additive values have no factor"):
        result.correction_for("A")


def test_repeated_measurements_are_as_good_as_their_mean():
    rng = np.random.default_rng(3)
    y = rng.normal(0, 0.02, (30, 4))
    once = Comparison.from_cells(
        ["a", "b"] * 30, [f"s{k // 2}" for k in range(60)],
        log_rate=np.stack([y[:, :2].mean(axis=1), y[:, 2:].mean(axis=1)], axis=1).ravel(),
        log_error=np.full(60, 0.02 / np.sqrt(2)),
    )  # fmt: skip
    twice = Comparison.from_cells(
        ["a", "a", "b", "b"] * 30, [f"s{k // 4}" for k in range(120)], log_rate=y.ravel(),
        log_error=np.full(120, 0.02), repeats=True,
    )  # fmt: skip
    first, second = (closed_form(d, make_model(d, variance="quoted").prior, d.variance) for d in (once, twice))
    # The mean of y is B + G - s / 2, and the means have half the variance of the single values.
    contrast = np.array([1.0, -1.0])
    assert contrast @ second.mean == pytest.approx(contrast @ first.mean, abs=1e-12)
    assert np.allclose(second.covariance, first.covariance, rtol=1e-9)
    with pytest.raises(InputError, match="repeated measurements"):
        twice.matrix()


@pytest.mark.thorough
def test_one_area_may_be_far_off():
    case = simulate(5, 60, b=[0, 0, 0, 0, np.log(1.3)], sigma=0.02, seed=2)
    means = {areas: run(make_model(case.data, areas=areas), "gibbs", seed=1).b.mean(axis=(0, 1))
             for areas in ("normal", "t")}  # fmt: skip
    assert np.abs(means["t"][:4]).max() < 0.6 * np.abs(means["normal"][:4]).max()


def test_tau_is_estimated():
    for tau in (0.02, 0.1):
        case = simulate(12, 60, tau=tau, sigma=0.01, seed=3)
        spread = np.std(case.b)
        b = run(make_model(case.data, tau="estimate"), "gibbs", seed=1).b.reshape(-1, 12)
        # The common mode has sd tau / sqrt(N).
        assert b.mean(axis=1).std() * np.sqrt(12) == pytest.approx(spread, rel=0.4)


def test_percent_is_suspected_and_wide_errors_are_intervals():
    case = simulate(2, 5, sigma=0.02, seed=2)
    result = fit(case.data, tau=5.0, seed=1, leave_one_out=False)
    assert "If percent is meant, tau = 0.05." in " ".join(result.warnings)
    assert "all together by a factor" in result.answer


def test_pulls_by_rank_one_updates_are_the_explicit_ones():
    case = simulate(6, 20, tau=0.05, sigma=1e-9, quoted=0.05, filled=0.7, seed=3)
    model = make_model(case.data, variance="quoted")
    exact = closed_form(model.data, model.prior, model.data.variance)
    found = data_information(model, exact.precision, exact.mean)
    fast = pulls(model, *found)
    slow = []
    for i in range(6):
        tau = {name: (np.inf if k == i else 0.05) for k, name in enumerate(case.data.instruments)}
        without = closed_form(model.data, make_model(case.data, tau=tau, variance="quoted").prior, model.data.variance)
        slow.append(without.mean[i] / np.sqrt(without.covariance[i, i] + 0.05**2))
    assert np.allclose(fast, slow, rtol=1e-8)
