"""What users of the field bring and expect: ratios, known fluxes, drifts, outliers, equivalence, figures."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from crosscal.concordance import Comparison, conflicts, equivalence, fit, read_table, simulate
from crosscal.concordance.algebra import closed_form
from crosscal.concordance.examination import between
from crosscal.concordance.figures import captions, figures
from crosscal.concordance.figures_tests import overlay
from crosscal.concordance.residual_tests import _scores
from crosscal.core.errors import InputError, UnknownNameError

from .stating import make_model


def timed(slope, seed=1, sources=60, noise=0.04):
    rng = np.random.default_rng(seed)
    i, j = np.tile(np.arange(3), sources), np.repeat(np.arange(sources), 3)
    time = rng.uniform(0, 10, sources)[j]
    y = rng.normal(size=sources)[j] + slope * (time - 5) * (i == 0) + rng.normal(size=len(i)) * noise
    return Comparison.from_cells(
        np.array(["a", "b", "c"])[i], [f"s{k}" for k in j], flux=np.exp(y), error=noise * np.exp(y), time=time,
        time_unit="yr",
    )  # fmt: skip


@pytest.mark.parametrize("noise", ["log-normal", pytest.param("gaussian-flux", marks=pytest.mark.slow)])
def test_a_drift_is_told_and_none_is_not(noise):
    options = {"seed": 1, "leave_one_out": False, "draws": 100, "warmup": 50, "chains": 2, "predictive": 0}
    told = fit(timed(0.02), noise=noise, **options)
    assert "a drifts by +1." in " ".join(told.warnings)
    # Two thirds of a slope of one of three, relative to their mean.
    assert told.tests.drifts.slope[0] == pytest.approx(0.02 * 2 / 3, abs=3 * told.tests.drifts.sd[0])
    quiet = fit(timed(0.0), noise=noise, **options)
    assert "drift" not in " ".join(quiet.warnings)


def test_a_drift_of_clocks_is_told_in_their_unit():
    rng = np.random.default_rng(1)
    time = np.repeat(np.arange(30.0), 3)
    offset = 1000.0 * rng.normal(size=30).repeat(3) + np.where(np.arange(90) % 3 == 0, 20.0 * time, 0.0)
    data = Comparison.from_cells(
        ["A", "B", "C"] * 30, [f"s{k // 3}" for k in range(90)], flux=offset + rng.normal(0, 5, 90),
        error=np.full(90, 5.0), scale="additive", flux_unit="ns", time=time, time_unit="d",
    )  # fmt: skip
    warnings = fit(data, tau=1000.0, variance="quoted", leave_one_out=False, predictive=0).warnings
    assert "A drifts by +13" in " ".join(warnings)


def test_outliers_of_one_instrument_are_told_and_gaussian_errors_are_not():
    options = {"leave_one_out": False, "draws": 200, "warmup": 50, "chains": 1, "predictive": 0}
    told, quiet = 0, 0
    for seed in range(5):
        y = simulate(3, 40, sigma=0.03, seed=seed).data.matrix()
        quiet += fit(Comparison.from_matrix(y), seed=seed, **options).tests.noise.prefers_t
        y[np.random.default_rng(seed).permutation(40)[:4], 0] += np.log(1.5)
        result = fit(Comparison.from_matrix(y), seed=seed, **options)
        told += result.tests.noise.prefers_t
    assert told == 5
    assert quiet == 0
    assert "use noise = 'log-t'" in " ".join(result.warnings)


@pytest.mark.thorough
@pytest.mark.parametrize("nu", [np.inf, 4.0])
def test_scores_are_the_explicit_predictive_densities(nu):
    data = simulate(3, 2, sigma=0.1, seed=3).data
    z, scale = np.array([0.1, -0.2, 0.15, 0.0, 0.5, 0.02]), np.array([0.01, 0.02, 0.03] * 2)
    found = _scores(data, z, scale, nu)
    grid = np.linspace(-40, 40, 400_001)
    density = norm.pdf if np.isinf(nu) else lambda x: student.pdf(x, nu)
    for c in range(6):
        others = [k for k in range(6) if k // 3 == c // 3 and k != c]
        rest = np.prod([density((z[k] - grid) / np.sqrt(scale[k])) for k in others], axis=0)
        own = density((z[c] - grid) / np.sqrt(scale[c])) / np.sqrt(scale[c])
        # Sixty-one points hold a Gaussian to rounding, and all but the far tails of a Student-t product.
        assert found[c] == pytest.approx(np.log((own * rest).sum() / rest.sum()), abs=1e-3)


def test_spread_between_instruments_by_moments():
    rng = np.random.default_rng(2)
    d, information = rng.normal(0, 0.1, 400), np.diag(np.full(400, 1 / 0.05**2))
    for tau in between(d, information):
        # The variance 0.1^2 is that of tau and of the errors together; 400 contrasts know it to 7 %.
        assert tau**2 + 0.05**2 == pytest.approx(0.1**2, rel=0.25)
    assert between(0.01 * d, information) == (0.0, 0.0)
    mandel, _ = between(d, information)
    assert np.sum(d**2) / (0.05**2 + mandel**2) == pytest.approx(400)


def test_degrees_of_equivalence_use_data_alone():
    y, error = np.array([0.0, 0.03, -0.01]), np.array([0.01, 0.02, 0.01])
    data = Comparison.from_cells(["a", "b", "c"], ["s"] * 3, log_rate=y, log_error=error)
    result = fit(data, variance="quoted", leave_one_out=False)
    table = equivalence(result)
    ln_area = y + 0.5 * error**2
    assert np.allclose(table["D"], ln_area - ln_area.mean(), atol=1e-9)
    centre = np.eye(3) - 1 / 3
    assert np.allclose(table["U"], 2 * np.sqrt(np.diag(centre @ np.diag(error**2) @ centre)), rtol=1e-6)
    assert np.allclose(table["E_n"], table["D"] / table["U"])
    assert set(conflicts(result).colnames) >= {"tau_mandel_paule", "tau_dersimonian_laird"}
    alone = Comparison.from_cells(["a", "b", "c"], ["s", "s", "t"], log_rate=y, log_error=error)
    assert np.isnan(equivalence(fit(alone, variance="quoted", leave_one_out=False))["D"][2])


def test_ratios_of_pairs_are_an_input(tmp_path):
    path = tmp_path / "ratios.csv"
    path.write_text("instrument,reference,ratio,err\npn,MOS1,0.95,0.01\nMOS1,MOS2,1.02,0.02\npn,MOS2,0.97,0.02\n")
    data = read_table(path, to="reference", flux="ratio", error="err")
    model = make_model(data, variance="quoted", tau={"pn": np.inf, "MOS1": 0.0, "MOS2": np.inf})
    exact = closed_form(data, model.prior, data.variance)
    x = np.log([0.95, 1.02, 0.97])
    v = np.log1p((np.array([0.01, 0.02, 0.02]) / [0.95, 1.02, 0.97]) ** 2)
    # Least squares for pn and MOS2 relative to MOS1.
    design = np.array([[1.0, 0.0], [0.0, -1.0], [1.0, -1.0]])
    a = design.T @ np.diag(1 / v) @ design
    names = list(data.instruments)
    found = exact.mean[[names.index("pn"), names.index("MOS2")]] - exact.mean[names.index("MOS1")]
    assert np.allclose(found, np.linalg.solve(a, design.T @ (x / v)), atol=1e-5)
    assert "from 3 ratios" in fit(data, leave_one_out=False).answer
    path.write_text("instrument,reference,ratio,err\npn,pn,0.95,0.01\n")
    with pytest.raises(InputError, match="a ratio of 'pn' to itself"):
        read_table(path, to="reference", flux="ratio", error="err")
    path.write_text("instrument,reference,ratio,err\npn,MOS1,-0.95,0.01\n")
    with pytest.raises(InputError, match=r"ratio is -0\.95"):
        read_table(path, to="reference", flux="ratio", error="err")
    with pytest.raises(InputError, match="ratios with exposure"):
        read_table(path, to="reference", flux="ratio", error="err", exposure="err")


def test_known_fluxes_fix_what_all_areas_have_in_common():
    case = simulate(3, 20, b=[0.1, 0.12, 0.08], sigma=1e-9, quoted=0.02, seed=3)
    data = case.data
    known = {f"source {j + 1}": (float(np.exp(case.g[j])), 0.01 * float(np.exp(case.g[j]))) for j in range(5)}
    anchored = data.with_known(known)
    result = fit(anchored, tau=0.05, variance="quoted", leave_one_out=False, seed=1)
    # Five fluxes of one percent beside noise of two percent.
    assert np.allclose(result.log_factor.mean(axis=0)[:3], case.b, atol=0.03)
    assert np.all(result.log_factor.std(axis=0)[:3] < 0.015)
    assert "known flux" not in result.answer.split(":")[1]
    assert "is treated as known" in result.diagnostics
    with pytest.raises(UnknownNameError, match="source"):
        data.with_known({"nobody": (1.0, 0.1)})
    with pytest.raises(InputError, match="known fluxes"):
        data.with_known({"source 1": (-1.0, 0.1)})
    with pytest.raises(InputError, match="data without errors"):
        simulate(2, 3, seed=1).data.with_known({"source 1": (1.0, 0.1)})
    with pytest.raises(InputError, match="an estimated tau together with known fluxes"):
        make_model(anchored, tau="estimate")
    banded = Comparison.from_cells(["a", "a"], ["s", "s"], log_rate=[0, 0], log_error=[1, 1], band=["x", "y"])
    with pytest.raises(InputError, match="several bands"):
        banded.with_known({"s": (1.0, 0.1)})


def test_figures_of_what_to_trust():
    result = fit(timed(0.0, sources=12), seed=1, leave_one_out=False, draws=50, chains=2, predictive=0)
    drawn = figures(result)
    assert {"ratios", "posteriors", "residuals"} <= set(drawn)
    assert set(drawn) <= set(captions(result))
    assert overlay({"tau = 0.05": result, "again": result}) is not None
    other = fit(simulate(2, 5, seed=2).data, seed=1, leave_one_out=False, draws=50, chains=2, predictive=0)
    with pytest.raises(InputError, match="fits of different instruments"):
        overlay({"one": result, "two": other})


def test_campaigns_are_read_from_tables(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i},s{j},{1 + 0.1 * j},0.01,{j},c{j // 2}" for j in range(4) for i in "ab"]
    path.write_text("instrument,source,flux,e,t,c\n" + "\n".join(rows) + "\n")
    data = read_table(path, error="e", time="t", campaign="c")
    assert list(data.campaign) == ["c0", "c0", "c1", "c1"]
    path.write_text(path.read_text() + "d,s0,1.0,0.01,0,c9\n")
    with pytest.raises(InputError, match="one source belongs to campaigns"):
        read_table(path, error="e", time="t", campaign="c")
