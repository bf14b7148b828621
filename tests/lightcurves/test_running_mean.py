"""The running mean as a model of the source: compiled sums against explicit matrices, answers against truth."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, InputError
from crosscal.lightcurves.evidence import compare_kernels
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.outliers import leave_one_out, remove_outliers
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.types import LightCurves

RUNNING = Settings(kernel="running-mean", systematic_error=True, error_scale=True)


@pytest.fixture(scope="module")
def curves():
    return simulate(seed=9, points=(25, 14, 9), lines=1, codes=("A", "B", "C"))[0]


def inside(model, rng):
    lay = model.layout
    x = lay.fixed.copy()
    x[lay.free] = (lay.low + rng.uniform(0.3, 0.7, lay.size) * (lay.high - lay.low))[lay.free]
    return x


def explicit(model, x, i):
    """Fluxes, weights, window and variances over stated variances, by whole matrices and no cut of the window."""
    lay, curve = model.layout, model.curves.files[i]
    C = model.norm.factors[i][curve.code]
    phi = np.exp(x[lay.scale])[curve.code]
    y = phi * curve.flux / C - (x[lay.shift][curve.code] if i == 0 else 0.0)
    stated = (curve.error / C) ** 2
    v = np.exp(2 * x[lay.errscale[i]][curve.code, curve.flag]) * stated + x[lay.syserr[i]][curve.code, curve.flag] ** 2
    window = np.exp(-0.5 * ((curve.time[:, None] - curve.time) / np.exp(x[lay.kernel[i, 0]])) ** 2)
    jitter = np.exp(2 * x[lay.kernel[i, 1]])
    return y, 1 / (phi**2 * v + jitter), window, (v + jitter / phi**2) / stated


def test_likelihood_against_explicit_matrices(curves, rng):
    model = Model(curves, RUNNING)
    for _ in range(3):
        x, expected = inside(model, rng), 0.0
        for i in range(2):
            y, u, window, excess = explicit(model, x, i)
            S = window * u / (window @ u)[:, None]
            r, share = y - S @ y, np.diag(S)
            expected -= 0.5 * (np.sum(u * r**2) + np.sum((1 - share) * np.log(excess))) + share.sum()
        # The window is cut where it is 1e-8.
        assert model.log_likelihood(x) == pytest.approx(expected, rel=1e-6)
        np.testing.assert_array_equal(model.many(x[None])[0], [model.log_likelihood(x)])


def test_errors_as_stated_give_the_criterion_of_akaike(curves, rng):
    model = Model(replace(curves, lines=()), Settings(kernel="running-mean"))
    x = inside(model, rng)
    x[model.layout.kernel[0, 1]] = -20.0  # no scatter
    y, u, window, _ = explicit(model, x, 0)
    S = window * u / (window @ u)[:, None]
    criterion = np.sum(u * (y - S @ y) ** 2) + 2 * np.trace(S)
    assert model.log_likelihood(x) == pytest.approx(-0.5 * criterion, rel=1e-6)


def test_gradient(curves, rng):
    model = Model(curves, RUNNING)
    assert not len(model.marginal)
    x = inside(model, rng)
    value, gradient = model.value_and_gradient(x)
    assert value == model.log_likelihood(x)
    for p in model.sampled:
        step = np.zeros_like(x)
        step[p] = 1e-6
        numeric = (model.log_likelihood(x + step) - model.log_likelihood(x - step)) / 2e-6
        # Central differences at 1e-6 of values of order 100 to 1000: rounding leaves some 1e-7 relative to the value.
        assert gradient[p] == pytest.approx(numeric, rel=2e-5, abs=1e-4), model.layout.labels[p]


def test_points_are_predicted_without_themselves(curves, rng):
    model = Model(curves, RUNNING)
    x = inside(model, rng)
    y, u, window, _ = explicit(model, x, 0)
    found = leave_one_out(model, x[None], 0)
    for j in (0, 11, 47):
        others = np.arange(len(y)) != j
        w = window[j, others] * u[others]
        assert found.residual[j] == pytest.approx(y[j] - w @ y[others] / w.sum(), rel=1e-5)
        assert found.sd[j] ** 2 == pytest.approx(1 / u[j] + 1 / w.sum(), rel=1e-5)


def test_mean_at_any_time(curves, rng):
    model = Model(curves, RUNNING)
    x = inside(model, rng)
    y, u, _, _ = explicit(model, x, 0)
    width, t = np.exp(x[model.layout.kernel[0, 0]]), curves.continuum.time
    times = np.sort(np.concatenate([np.linspace(t[0] - 5 * width, t[-1] + 5 * width, 60), t[:3]]))
    mean, variance = model.files[0].predict(model.parts(x, 0), times)
    w = np.exp(-0.5 * ((times[:, None] - t) / width) ** 2) * u
    # Far from all data sums of tiny weights are cut where they are 1e-8 of the nearest one.
    np.testing.assert_allclose(mean, (w @ y) / w.sum(1), rtol=1e-6)
    jitter = np.exp(2 * x[model.layout.kernel[0, 1]])
    np.testing.assert_allclose(variance, jitter + 1 / (w.sum(1) + 0.5 / np.var(y)), rtol=1e-5)
    far = model.files[0].predict(model.parts(x, 0), t[-1:] + 1e6)
    assert far[0][0] == y[-1]
    assert far[1][0] == pytest.approx(jitter + 2 * np.var(y))


def test_what_has_no_running_mean_is_refused(curves):
    with pytest.raises(ConfigError, match="remove_outliers"):
        Settings(kernel="running-mean", errors="student-t")
    with pytest.raises(InputError, match="Gaussian process"):
        compare_kernels(curves, ["drw", "running-mean"])
    with pytest.raises(InputError, match="drw"):
        simulate(kernel="running-mean")
    with pytest.raises(InputError, match="marginal"):
        Model(curves, RUNNING, marginal=[1])
    many = simulate(seed=1, codes=("A",), points=20_001)[0]
    with pytest.raises(InputError, match="rebin"):
        Model(many, RUNNING)


def test_result_of_a_transient():
    curves, true = transient(3)
    result = intercalibrate(curves, kernel="running-mean", draws=1000, seed=1)
    assert result.passed, result.diagnostics
    table = result.calibrated()
    assert np.all(np.abs(table["source"] - true) < 6 * table["source_sd"])
    assert result.draws.posterior.log_evidence is None
    assert "ln_width" in result.posterior_draws.names
    assert {"process", "calibrated", "residuals"} <= set(result.figures())
    assert np.all(result.diagnostics.ties.scale[1:] > 0.9)
    assert any("can be too narrow" in warning for warning in result.warnings)


def test_outliers_are_clipped_by_the_running_mean():
    curves, _ = transient(5, points=120)  # within a width there must be others that say what a point should be
    curve = curves.continuum
    spoilt = replace(curve, flux=curve.flux + 15 * curve.error * (np.arange(len(curve)) == 40))
    result = intercalibrate(LightCurves(spoilt), kernel="running-mean", draws=500, seed=1)
    kept, removed = remove_outliers(result.curves, result.model, result.draws.vectors[:20])
    assert removed[0].tolist() == [40]
    assert len(kept) == len(curve) - 1


def test_telescopes_that_share_no_time_are_told():
    curves, _ = simulate(seed=2, codes=("A", "B"), points=60, windows=[(0.0, 0.3), (0.7, 1.0)])
    result = intercalibrate(curves, kernel="running-mean", draws=1000, seed=1)
    assert any("its prior range" in text for text in result.warnings)
    # Nothing but the prior tells the scale: log-uniform from 0.5 to 2.
    assert np.std(np.log(result.factors.scale[:, 1])) > 0.2


def transient(seed, codes=("A", "B", "C"), points=40):
    """A supernova seen by three telescopes: light curves, and true fluxes at the points."""
    rng = np.random.default_rng(seed)
    arrays, peak = {}, rng.uniform(250, 500)
    scale, shift = np.append(1.0, rng.uniform(0.8, 1.25, 2)), np.append(0.0, rng.uniform(-0.2, 0.2, 2))
    times, fluxes = [], []
    for c, code in enumerate(codes):
        t = np.sort(rng.uniform(0, 1000, points))
        x = t - peak
        true = 1 + 5 * np.exp(-np.maximum(x, -500) / 60) / (1 + np.exp(-np.maximum(x, -500) / 15))
        error = 0.02 * true / scale[c] * rng.uniform(0.7, 1.3, points)
        arrays[code] = (t, (true + shift[c]) / scale[c] + error * rng.standard_normal(points), error)
        times.append(t)
        fluxes.append(true)
    order = np.argsort(np.concatenate(times), kind="stable")
    return LightCurves.from_arrays(arrays), np.concatenate(fluxes)[order]


def periodic(t, rng):
    phase = 2 * np.pi * (t / rng.uniform(90, 140) + rng.random())
    return 1 + 0.3 * np.sin(phase) + 0.12 * np.sin(2 * phase)


def random_walk(t, rng):
    """A damped random walk of 80 d and an rms of 18 %, step by step."""
    order, x = np.argsort(t), np.empty(len(t))
    for before, j in zip([None, *order[:-1]], order, strict=True):
        memory = 0.0 if before is None else np.exp(-(t[j] - t[before]) / 80)
        x[j] = memory * (0.0 if before is None else x[before]) + 0.18 * np.sqrt(1 - memory**2) * rng.standard_normal()
    return 1 + x


def supernova(t, rng):
    x = np.maximum(t - rng.uniform(250, 500), -500)
    return 1 + 5 * np.exp(-x / 60) / (1 + np.exp(-x / 15))


def three_telescopes(source, seed):
    """Light curves of one source, true scales, and true fluxes at the points in time order."""
    rng = np.random.default_rng([seed, 7])
    scale, shift = np.append(1.0, rng.uniform(0.8, 1.25, 2)), np.append(0.0, rng.uniform(-0.2, 0.2, 2))
    t, code = rng.uniform(0, 1000, 150), np.repeat([0, 1, 2], 50)
    true = source(t, rng)
    error = 0.02 * true / scale[code] * rng.uniform(0.7, 1.3, 150)
    flux = (true + shift[code]) / scale[code] + error * rng.standard_normal(150)
    arrays = {name: (t[code == c], flux[code == c], error[code == c]) for c, name in enumerate("ABC")}
    return LightCurves.from_arrays(arrays), scale, true[np.argsort(t)]


@pytest.mark.slow
@pytest.mark.parametrize("source", [periodic, random_walk, supernova])
def test_intervals_hold_the_truth(source, slow_scale):
    n = max(20, round(100 * slow_scale))
    held: dict[str, list[list[float]]] = {"scale": [], "flux": [], "source": []}
    for seed in range(n):
        curves, scale, true = three_telescopes(source, seed)
        result = intercalibrate(curves, kernel="running-mean", draws=1000, seed=seed)
        others = result.curves.continuum.code > 0
        table = result.calibrated()
        z = np.abs(np.asarray(table["source"]) - true) / np.asarray(table["source_sd"])
        held["source"].append([np.mean(z < 1), np.mean(z < 1.96)])
        for name, draws, truth in (
            ("scale", result.factors.scale[:, 1:], scale[1:]),
            ("flux", result.calibrated(draws=1000)[:, others], true[others]),
        ):
            low, inner, outer, high = np.quantile(draws, [0.025, 0.16, 0.84, 0.975], axis=0)
            held[name].append([np.mean((truth > inner) & (truth < outer)), np.mean((truth > low) & (truth < high))])
    share = {name: np.mean(values, axis=0) for name, values in held.items()}
    print(source.__name__, n, {name: np.round(values, 2).tolist() for name, values in share.items()})
    # Two scales of each source hang together: n draws are counted, three standard errors below a nominal 0.68 and 0.93.
    assert share["scale"][0] > 0.65 - 3 * np.sqrt(0.22 / n)
    assert share["scale"][1] > 0.90 - 3 * np.sqrt(0.09 / n)
    assert 0.63 < share["flux"][0] < 0.75
    assert 0.92 < share["flux"][1] < 0.98
    assert share["source"][1] > 0.90
