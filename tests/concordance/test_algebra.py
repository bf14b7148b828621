"""The eliminated algebra against the dense (N + M) normal equations, and the published formulas as its limits."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.concordance.algebra import closed_form, prior_weight, shrinkage_areas, shrinkage_fluxes, times_of
from crosscal.concordance.priors import AreaPrior, make_prior
from crosscal.concordance.synthetic import simulate
from crosscal.concordance.types import Comparison
from crosscal.concordance.variability import random_walk
from crosscal.core.errors import InputError


def ragged(n=4, m=30, seed=3):
    return simulate(n, m, sigma=0.03, quoted=np.full((m, n), 0.02), filled=0.6, seed=seed)


def dense(data, prior, variance, link, t, drift_sd):
    """Mean and covariance of (B, D, G) from the full precision matrix, and the log evidence up to a constant."""
    n, m = data.n_channels, data.n_columns
    k = 2 * n if drift_sd else n
    precision, h = np.zeros((k + m, k + m)), np.zeros(k + m)
    precision[:n, :n] = prior.precision
    h[:n] = prior.precision @ np.where(prior.flat, 0, prior.mean)
    if drift_sd:
        precision[n:k, n:k] = np.eye(n) / drift_sd**2
    for j in range(1, m):
        if link[j] > 0:
            step = np.zeros(k + m)
            step[k + j], step[k + j - 1] = 1, -1
            precision += link[j] * np.outer(step, step)
    z = data.log_rate + variance / 2
    quadratic = 0.0
    for c in range(data.n_cells):
        design = np.zeros(k + m)
        design[data.row[c]] = design[k + data.column[c]] = 1
        if drift_sd:
            design[n + data.row[c]] = t[c]
        precision += np.outer(design, design) / variance[c]
        h += design * z[c] / variance[c]
        quadratic += z[c] ** 2 / variance[c]
    covariance = np.linalg.inv(precision)
    evidence = 0.5 * (
        h @ covariance @ h
        - np.linalg.slogdet(precision)[1]
        - quadratic
        - np.log(variance).sum()
        + np.log(link[link > 0]).sum()
    )
    return covariance @ h, covariance, evidence, k


@pytest.mark.thorough
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("drift_sd", [None, 0.3])
def test_closed_form_is_the_dense_solution(linked, drift_sd, rng):
    base = ragged().data
    m = base.n_columns
    time = rng.random(m)[base.column] + (0 if linked else 1e-3 * base.row)
    data = Comparison(
        base.channels, base.columns, base.row, base.column, base.log_rate, base.variance, time=time,
        campaign=np.repeat(["a", "b", "c"], m // 3),
    )  # fmt: skip
    link = np.zeros(m)
    if linked:
        walk = random_walk(data)
        data, link = walk.data, walk.links(np.array([0.5]))
    covariance = 0.03**2 * (np.eye(4) + 0.5)
    prior = AreaPrior.build([0.01, 0.0, -0.02, 0.0], np.full(4, 0.05), covariance)
    found = closed_form(data, prior, data.variance, link=link, drift_sd=drift_sd)
    t = times_of(data, drift_sd is not None)
    mean, full, evidence, k = dense(data, prior, data.variance, link, t, drift_sd)
    # Rounding: the dense matrix has condition number about 1e6.
    assert np.allclose(found.mean, mean[:k], atol=1e-9)
    assert np.allclose(found.covariance, full[:k, :k], rtol=1e-7, atol=1e-12)
    assert np.allclose(found.flux_mean, mean[k:], atol=1e-9)
    assert np.allclose(found.flux_sd, np.sqrt(np.diag(full)[k:]), rtol=1e-7)
    # The evidence lacks the prior's own constant, which is the same for all variances: compare differences.
    other = data.variance * 1.7
    there = closed_form(data, prior, other, link=link, drift_sd=drift_sd)
    _, _, dense_there, _ = dense(data, prior, other, link, t, drift_sd)
    assert found.log_evidence - there.log_evidence == pytest.approx(evidence - dense_there, abs=1e-7)


def test_influence_rows_sum_to_one_and_exceed_the_published_weight():
    case = simulate(3, 94, sigma=0.02, seed=1)
    prior = make_prior(case.data, 0.025)
    s = np.full(3, 0.02**2)
    influence = closed_form(case.data, prior, s[case.data.row]).influence
    assert np.allclose(influence.sum(axis=1), 1, atol=1e-9)
    weight = prior_weight(prior.tau, case.data.per_channel, s)
    # Three like instruments share the common mode: about a third each, while W says half a percent.
    assert np.all(np.abs(np.diag(influence) - 1 / 3) < 0.02)
    assert np.all(weight < 0.01)


def test_published_shrinkage_formulas_are_the_closed_form():
    case = simulate(5, 40, sigma=[0.01, 0.02, 0.03, 0.04, 0.05], seed=2)
    data, s = case.data, case.s
    prior = make_prior(data, 0.04, mean={"instrument 1": 0.02})
    exact = closed_form(data, prior, s[data.row])
    assert np.allclose(shrinkage_areas(data, prior, s, exact.flux_mean), exact.mean, atol=1e-10)
    assert np.allclose(shrinkage_fluxes(data, s, exact.mean), exact.flux_mean, atol=1e-10)


def test_flat_and_fixed_instruments():
    case = simulate(3, 50, sigma=0.02, seed=4)
    prior = make_prior(case.data, {"instrument 1": 0.0, "instrument 2": np.inf, "instrument 3": np.inf})
    found = closed_form(case.data, prior, np.full(case.data.n_cells, 4e-4))
    assert abs(found.mean[0]) < 1e-5
    limit = 0.02 * np.sqrt(2 / 50)
    # A ratio of two instruments from 50 sources, nothing else: variance 2 s / M.
    assert np.allclose(np.sqrt(np.diag(found.covariance))[1:], limit, rtol=1e-3)


def test_refusals():
    case = simulate(2, 5, sigma=0.02, seed=4)
    flat = make_prior(case.data, np.inf)
    with pytest.raises(InputError, match="not identified"):
        closed_form(case.data, flat, np.full(10, 1e-4))
    with pytest.raises(InputError, match="drift needs times"):
        times_of(case.data, True)
    timed = replace(case.data, time=np.ones(10))
    with pytest.raises(InputError, match="all times are equal"):
        times_of(timed, True)
    with pytest.raises(InputError, match="drift sd"):
        closed_form(replace(timed, time=np.arange(10.0)), make_prior(case.data, 0.1), np.full(10, 1e-4), drift_sd=-1.0)


@pytest.mark.slow
def test_coverage_of_the_closed_form():
    hits = []
    for k in range(300):
        case = simulate(4, 20, tau=0.05, sigma=1e-9, quoted=0.03, seed=k)
        found = closed_form(case.data, make_prior(case.data, 0.05), case.data.variance)
        sd = np.sqrt(np.diag(found.covariance))
        hits += [np.abs(found.mean - case.b) < 1.96 * sd, np.abs(found.flux_mean - case.g) < 1.96 * found.flux_sd]
    share = np.mean(np.concatenate(hits))
    print(f"coverage of 95 % intervals, known variances: {share:.3f}")
    assert 0.93 < share < 0.97
