"""All routes are held together: fast kernels against slow ones, samplers against each other."""

import numpy as np
import pytest

from crosscal.concordance import pattern_samplers, sparse_sampler
from crosscal.concordance.algebra import closed_form, with_drift
from crosscal.concordance.densities import _dense_likelihood, _pattern_likelihood, collapsed_problem, full_problem
from crosscal.concordance.expansion_sums import column_sums
from crosscal.concordance.prior_sampler import log_variance_prior
from crosscal.concordance.routes import choose, sparse
from crosscal.concordance.synthetic import simulate
from crosscal.concordance.types import Comparison
from crosscal.core.errors import FitError, InputError, UnknownNameError

from .stating import make_model, run


@pytest.fixture(scope="module")
def ragged():
    return simulate(4, 40, tau=0.05, sigma=[0.02, 0.03, 0.04, 0.05], filled=0.7, seed=5)


def model_of(case, **options):
    return make_model(case.data, tau=0.05, **{"beta": 1e-3, **options})


def test_collapsed_density_is_the_closed_forms_evidence(ragged, rng):
    model = model_of(ragged)
    p, cells = model.patterns, model.patterns.per_channel().astype(float)
    precision, information = with_drift(model.prior, None)
    jax_density = _pattern_likelihood(model)
    slow, fast, traced = [], [], []
    for _ in range(5):
        s = np.exp(rng.normal(-7, 1, 4))
        prior = -np.sum(model.variance.df * np.log(s) + model.variance.beta / s)
        slow.append(closed_form(model.data, model.prior, s[model.data.row]).log_evidence + prior)
        arrays = p.arrays[:6]
        fast.append(
            pattern_samplers.collapsed_log_density(
                *arrays,
                0.5,
                cells,
                precision,
                information,
                model.variance.df,
                model.variance.beta,
                model.variance.scale,
                s,
            )
        )
        traced.append(float(jax_density(s)) + prior)
    # Differences only: constants are dropped. Rounding of sums of some hundred terms of size 1e3.
    assert np.allclose(np.diff(fast), np.diff(slow), atol=1e-7)
    assert np.allclose(np.diff(traced), np.diff(slow), atol=1e-7)


@pytest.mark.thorough
def test_dense_density_is_the_closed_forms_evidence(rng):
    case = simulate(3, 20, sigma=0.02, quoted=0.03, filled=0.8, seed=2)
    model = model_of(case, variance="quoted+excess")
    density = _dense_likelihood(model)
    values = []
    for _ in range(4):
        s = np.exp(rng.normal(-8, 1, 3))
        exact = closed_form(model.data, model.prior, model.data.variance + s[model.data.row]).log_evidence
        values.append((exact, float(density(s))))
    exact, found = np.array(values).T
    assert np.allclose(np.diff(exact), np.diff(found), atol=1e-8)


def moments(draws):
    b = draws.b.reshape(-1, draws.b.shape[-1])
    parts = [b - b.mean(axis=1, keepdims=True), b]
    if draws.s is not None:
        parts.append(np.log(draws.s).reshape(b.shape))
    x = np.concatenate(parts, axis=1)
    return x.mean(axis=0), x.std(axis=0)


@pytest.mark.parametrize(
    ("variance", "quoted"),
    [
        pytest.param("unknown", None, marks=pytest.mark.thorough),
        pytest.param("quoted+excess", 0.02, marks=pytest.mark.slow),
        ("quoted", 0.03),
    ],
)
def test_routes_give_one_answer(variance, quoted):
    case = simulate(3, 40, tau=0.05, sigma=0.02, quoted=quoted, filled=0.9, seed=7)
    model = model_of(case, variance=variance)
    every = np.arange(model.data.n_columns)
    found = {"cells": run(model, "gibbs", draws=4000, wanted=every, seed=1)}
    if variance == "unknown":
        found["gibbs"] = run(model, "gibbs", draws=4000, seed=1)
        found["slice"] = run(model, "slice", draws=4000, seed=1)
    if variance == "quoted":
        found["closed-form"] = run(model, "closed-form", draws=4000, seed=1)
    else:
        found["nuts"] = run(model, "nuts", draws=1500, seed=1)
    mean, sd = moments(found.pop("cells"))
    for route, draws in found.items():
        other_mean, other_sd = moments(draws)
        # 16000 draws of efficiency above 0.1: Monte Carlo error below 0.03 sd; asked within 4 of them.
        assert np.all(np.abs(other_mean - mean) < 0.12 * sd), route
        assert np.all(np.abs(other_sd / sd - 1) < 0.12), route


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["log-normal", "log-t"])
def test_full_nuts_agrees(noise):
    case = simulate(3, 25, tau=0.05, sigma=0.03, noise=noise, seed=9)
    model = model_of(case, noise=noise)
    mean, sd = moments(run(model, "gibbs", draws=8000, seed=2))
    other_mean, other_sd = moments(run(model, "full-nuts", draws=2000, warmup=1000, seed=2))
    assert np.all(np.abs(other_mean - mean) < 0.15 * sd)
    assert np.all(np.abs(other_sd / sd - 1) < 0.15)


@pytest.mark.thorough
def test_map_is_near_the_mean_for_many_sources():
    case = simulate(3, 400, tau=0.05, sigma=0.03, seed=9)
    model = model_of(case)
    mean, sd = moments(run(model, "gibbs", draws=4000, seed=2))
    other_mean, other_sd = moments(run(model, "map", draws=4000, seed=2))
    # Skewness of ln s at 400 sources is 0.05; the Laplace mean is off by less than that.
    assert np.all(np.abs(other_mean - mean) < 0.1 * sd)
    assert np.all(np.abs(other_sd / sd - 1) < 0.1)


def test_fluxes_of_cells_are_those_of_the_draws(ragged):
    model = model_of(ragged)
    draws = run(model, "gibbs", draws=4000, seed=3, wanted=np.arange(model.data.n_columns))
    g = draws.g.reshape(-1, model.data.n_columns)
    assert np.all(np.abs(draws.flux_mean - g.mean(axis=0)) < 0.1 * draws.flux_sd)
    assert np.allclose(draws.flux_sd, g.std(axis=0), rtol=0.1)


def test_draws_do_not_depend_on_threads(ragged, monkeypatch):
    model = model_of(ragged)
    first = run(model, "gibbs", draws=300, warmup=150, seed=4)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    second = run(model, "gibbs", draws=300, warmup=150, seed=4)
    assert np.array_equal(first.b, second.b)
    assert np.array_equal(first.s, second.s)


def test_auto_takes_the_fastest_exact_route(ragged):
    quoted = simulate(3, 10, sigma=1e-6, quoted=0.02, seed=1)
    counts = simulate(3, 10, noise="poisson", sigma=0.1, seed=1)
    assert choose(model_of(ragged)) == "gibbs"
    assert choose(model_of(quoted, variance="quoted")) == "closed-form"
    assert choose(model_of(counts, noise="poisson")) == "nuts"
    assert choose(model_of(counts, noise="gamma-poisson")) == "full-nuts"


def test_refusals(ragged):
    model = model_of(ragged)
    counts = model_of(simulate(3, 10, noise="poisson", sigma=0.1, seed=1), noise="gamma-poisson")
    student = model_of(ragged, noise="log-t")
    with pytest.raises(UnknownNameError, match=r"'gibbs'"):
        run(model, "gibs")
    with pytest.raises(InputError, match="draws: 0; expected a number >= 10"):
        run(model, "gibbs", draws=0)
    for route, what, this in [
        ("closed-form", "known variances", model),
        ("gibbs", "no Gibbs", counts),
        ("slice", "one unknown variance", student),
        ("map", "no collapsed mode", counts),
        ("nuts", "not collapsed", counts),
        ("nuts", "no collapsed density", student),
    ]:
        with pytest.raises(InputError, match=what):
            run(this, route)
    timed = simulate(3, 10, sigma=0.02, seed=1).data
    timed = Comparison(
        timed.channels, timed.columns, timed.row, timed.column, timed.log_rate, time=timed.column + 0.1 * timed.row
    )
    drifting = make_model(timed, drift=0.1)
    with pytest.raises(InputError, match="no drift"):
        full_problem(drifting)


def test_too_large_densities_point_to_gibbs(ragged, monkeypatch):
    monkeypatch.setattr("crosscal.concordance.densities.DENSE_LIMIT", 10)
    with pytest.raises(InputError, match="missing patterns"):
        collapsed_problem(model_of(ragged))
    case = simulate(3, 20, sigma=0.02, quoted=0.03, seed=2)
    with pytest.raises(InputError, match="cells of different variance"):
        collapsed_problem(model_of(case, variance="quoted+excess"))


def test_broken_numerics_are_an_error(ragged, monkeypatch):
    monkeypatch.setattr("crosscal.concordance.pattern_samplers.gibbs_chain", lambda *a: False)
    with pytest.raises(FitError, match="positive definite"):
        run(model_of(ragged), "gibbs", draws=10)


@pytest.mark.thorough
def test_sparse_variances_are_drawn_from_the_likelihood_without_fluxes(rng):
    model = model_of(simulate(5, 30, sigma=0.05, filled=0.5, seed=3), scatter=0.1, beta=None)
    assert sparse(model)
    data, n = model.data, 5
    start, column, y = sparse_sampler.by_channel(data)
    b, s = rng.normal(0, 0.05, n), np.exp(rng.normal(-6, 0.5, n))
    sums, nothing = np.empty((data.n_columns, 2)), (np.zeros(2 * n), np.zeros((2 * n, 2 * n)))
    sparse_sampler.column_sums_given(data.indptr, data.row, data.log_rate, 0.5, s, b, sums)
    prior = model.variance.df, model.variance.beta, model.variance.scale

    def whole(variances):
        value = column_sums(
            data.indptr, data.row, data.log_rate, np.zeros(data.n_cells), 0.5, True, b, variances, False, *nothing
        )  # fmt: skip
        return value + sum(log_variance_prior(*one) for one in zip(variances, *prior, strict=True))

    for i in range(n):
        cells = slice(start[i], start[i + 1])
        p = 1 / s[i]
        v = 1 / (sums[column[cells], 0] - p)
        own = y[cells] - b[i]
        r = own - (sums[column[cells], 1] - p * own - 0.5) * v
        values = []
        for u in (-7.0, -6.0, -5.0):
            changed = s.copy()
            changed[i] = np.exp(u)
            values.append((sparse_sampler._log_density(u, r, v, len(r), 0.5, *(x[i] for x in prior)), whole(changed)))
        one, other = np.array(values).T
        assert np.allclose(np.diff(one), np.diff(other), atol=1e-8)


def test_sums_of_columns_follow_the_variances_that_are_drawn(rng):
    data = simulate(5, 30, sigma=0.05, filled=0.5, seed=3).data
    b, s, prior = rng.normal(0, 0.05, 5), np.full(5, 2e-3), (np.full(5, 1.5), np.full(5, 1e-3), np.zeros(5))
    followed, anew = np.empty((data.n_columns, 2)), np.empty((data.n_columns, 2))
    sparse_sampler.column_sums_given(data.indptr, data.row, data.log_rate, 0.5, s, b, followed)
    sparse_sampler.draw_variances(*sparse_sampler.by_channel(data), 0.5, *prior, np.ones(5), b, s, followed)
    assert np.all(s != 2e-3)
    sparse_sampler.column_sums_given(data.indptr, data.row, data.log_rate, 0.5, s, b, anew)
    several = np.diff(data.indptr) > 1
    assert np.allclose(followed[several], anew[several], rtol=1e-10)


@pytest.mark.slow
def test_sparse_and_slice_agree():
    case = simulate(6, 60, sigma=[0.01, 0.03, 0.05, 0.08, 0.05, 0.1], filled=0.5, seed=4)
    model = model_of(case, scatter=0.1, beta=None)
    found, other = (run(model, route, seed=1, draws=8000, chains=4, warmup=500) for route in ("gibbs", "slice"))
    for a, b in ((found.b, other.b), (np.log(found.s), np.log(other.s))):
        a, b = a.reshape(-1, 6), b.reshape(-1, 6)
        # Effective sizes are some 8000 and more.
        assert np.allclose(a.mean(axis=0), b.mean(axis=0), atol=0.06 * b.std(axis=0).max())
        assert np.allclose(a.std(axis=0), b.std(axis=0), rtol=0.1)


def test_which_tables_are_sparse():
    assert not sparse(model_of(simulate(4, 40, sigma=0.05, seed=1)))
    cells = {"instrument": ["a", "a", "b", "b", "c"], "source": ["s", "s", "s", "t", "t"], "log_rate": np.arange(5.0)}
    assert not sparse(make_model(Comparison.from_cells(**cells, repeats=True)))
