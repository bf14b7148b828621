from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize

from crosscal.core.random import point_seeds
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting import engine, statistics
from crosscal.xray.fitting.batch import fit_counts, solve_batch
from crosscal.xray.fitting.engine import MAX_ITERATIONS, MEANING, TOLERANCE, Status
from crosscal.xray.fitting.first_steps import first_steps
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import JACOBIAN, MODEL, make_work
from crosscal.xray.fitting.templates import FoldedTemplates

EMPTY = np.zeros(0)


def run(templates, model, counts, start, function=engine.fit_table, table=None, **limits):
    x = templates.nodes.to_engine(start).astype(float)
    low, high = templates.limits(model)
    for name, (a, b) in limits.items():
        low[templates.names.index(name)], high[templates.names.index(name)] = a, b
    information = np.zeros((x.size, x.size))
    work = templates.work()
    data = Data(int(Kind.CSTAT), np.asarray(counts, float), EMPTY, EMPTY, EMPTY)
    status, value, iterations = function(
        templates.table if table is None else table, data, x, low, high, work, information, MAX_ITERATIONS, TOLERANCE
    )
    covariance = np.zeros_like(information)
    engine.covariance_of(information, low, high, work, covariance)
    return Status(status), value, x, covariance, iterations


def simulated(templates, truth, n=1, seed=1, table=None):
    mean = templates.counts(table, **truth)
    return poisson_counts(mean[None], point_seeds(seed, np.arange(n))[None])[0]


def test_every_status_has_a_meaning():
    assert set(MEANING) == set(Status)


def test_noiseless_fit_finds_the_truth(templates, plasma, truth):
    status, value, x, _, _ = run(
        templates, plasma, templates.counts(**truth), {"kT": 2.0, "norm": truth["norm"] * 2, "Abundanc": 1.0}
    )
    assert status == Status.OK
    assert value < 1e-9
    np.testing.assert_allclose(templates.nodes.from_engine(x), [truth[n] for n in templates.names], rtol=1e-6)


def test_minimum_against_scipy(templates, plasma, truth):
    """The same minimum as a general minimiser on the explicit statistic, to 1e-6 of the statistic."""
    counts = simulated(templates, truth)[0]
    status, value, x, _, _ = run(templates, plasma, counts, truth)

    def objective(p):
        v = dict(zip(templates.names, templates.nodes.from_engine(p * x), strict=True))
        return float(statistics.cstat(counts, templates.counts(**v)).sum())

    found = optimize.minimize(objective, np.ones(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    assert status == Status.OK
    assert abs(value - objective(np.ones(3))) < 1e-6
    assert abs(found.fun - value) < 1e-6


def test_uncompiled_engine_is_the_same(templates, plasma, truth):
    """The functions that run general models in Python give the compiled result on a table."""

    class Source:
        def __init__(self, table):
            self.table, self.n_shape, self.kinds = table, table.n_shape, table.kinds
            self.nodes, self.offset = table.nodes, table.offset

        def evaluate(self, x, model, jacobian):
            work = make_work(model.size, x.size, self.table.monomials.shape[0], self.table.kinds.size)
            engine.evaluate_table(self.table, x, work, model.size)
            model[:] = work.channels[MODEL, : model.size]
            jacobian[:] = work.channels[JACOBIAN : JACOBIAN + x.size, : model.size]

    counts = simulated(templates, truth, seed=5)[0]
    start = {**truth, "kT": 7.0}
    compiled = run(templates, plasma, counts, start)
    python = run(templates, plasma, counts, start, engine.fit_object, table=Source(templates.table))
    assert compiled[0] == python[0] == Status.OK
    # Only the order of additions differs.
    np.testing.assert_allclose(python[2], compiled[2], rtol=1e-9)
    assert np.isclose(python[1], compiled[1], atol=1e-7)


def test_bias_pull_and_coverage(templates, plasma, truth):
    """Many noisy spectra: no failure, no bias, errors of the right size."""
    n = 4000
    counts = simulated(templates, truth, n, seed=7)
    found = fit_counts(templates, plasma, counts, start=truth)
    assert np.all(found.status == Status.OK)
    for j, name in enumerate(templates.names):
        sd = np.sqrt(found.covariance[:, j, j])
        pull = (found.values[:, j] - truth[name]) / sd
        # Standard errors over 4000 spectra: 0.016 of the mean, 0.011 of the sd; second-order bias at 2e4 counts < 0.05.
        assert abs(pull.mean()) < 0.1
        assert abs(pull.std() - 1) < 0.05
    # C of the best fit: expected value less the number of parameters.
    mean, variance = statistics.expected_cstat(templates.counts(**truth))
    assert abs(found.statistic.mean() - (mean.sum() - 3)) < 5 * np.sqrt(variance.sum() / n)


def test_covariance_is_the_scatter(templates, plasma, truth):
    found = fit_counts(templates, plasma, simulated(templates, truth, 3000, seed=8), start=truth)
    scatter = np.cov(found.values.T)
    expected = found.covariance.mean(axis=0)
    unit = np.sqrt(np.diag(expected))
    # Sampling of a covariance from 3000 draws: 2.6 % a diagonal element.
    np.testing.assert_allclose(scatter / np.outer(unit, unit), expected / np.outer(unit, unit), atol=0.1)


def test_far_start_converges(templates, plasma, truth):
    counts = simulated(templates, truth, 20, seed=9)
    near = fit_counts(templates, plasma, counts, start=truth)
    for kT in (0.6, 1.5, 15.0, 60.0):
        far = fit_counts(templates, plasma, counts, start={"kT": kT, "norm": 1.0, "Abundanc": 1.0})
        assert far.good.all()
        np.testing.assert_allclose(far.values, near.values, rtol=2e-4)


@pytest.mark.thorough
def test_kinks_and_two_minima(linear_templates, telescope, plasma):
    """Linear interpolation: the best of all segments, whatever the start; about 3 % end on a node."""
    model = plasma.replace(interp="xspec")
    node = float(model.nodes("kT")[18])
    truth = {"kT": node, "norm": 1.0}
    truth["norm"] = 3e3 / float(linear_templates.counts(**truth).sum())
    counts = simulated(linear_templates, truth, 200, seed=3)
    found = fit_counts(linear_templates, model, counts, start=truth)
    assert np.all(found.status == Status.OK)
    nodes = model.nodes("kT")[12:26]

    def inside(*arguments):
        return engine.fisher_scoring(*arguments, 0)

    for c, value in zip(counts, found.statistic, strict=True):
        best = np.inf
        for low, high in pairwise(nodes):
            start = {"kT": 0.5 * (low + high), "norm": truth["norm"]}
            _, inner, _, _, _ = run(linear_templates, model, c, start, inside, kT=(low, high))
            best = min(best, inner)
        assert value < best + 1e-5
    on_node = np.min(np.abs(found.values[:, [0]] / nodes - 1), axis=1) < 1e-9
    assert 0.005 < on_node.mean() < 0.1


def test_limits(templates, plasma, truth):
    counts = simulated(templates, {**truth, "Abundanc": 0.0}, 40, seed=4)
    found = fit_counts(templates, plasma, counts, start=truth)
    at_zero = found.values[:, 2] == 0.0
    # Half of the fits want a negative abundance.
    assert 8 < at_zero.sum() < 32
    assert np.all(found.status[at_zero] == Status.AT_BOUND)
    assert np.all(found.status[~at_zero] == Status.OK)


def test_fixed_parameter(templates, plasma, truth):
    counts = simulated(templates, truth, seed=2)[0]
    u = np.log(3.7)
    status, _, x, covariance, _ = run(templates, plasma, counts, truth, kT=(u, u))
    assert status == Status.OK
    assert x[0] == u
    assert not covariance[0].any()
    assert covariance[1, 1] > 0


def test_bad_data_is_a_status(templates, plasma, truth):
    found = fit_counts(templates, plasma, np.zeros((2, templates.n_channel)), start=truth)
    assert np.all(found.status == Status.BAD_DATA)
    assert np.isnan(found.values).all()
    status, *_ = run(templates, plasma, np.full(templates.n_channel, np.nan), truth)
    assert status == Status.BAD_DATA


def test_undetermined_parameters_are_singular(telescope):
    """Two absorbed power laws of one slope: only the sum of their norms is measured."""
    model = Model("powerlaw+powerlaw", PhoIndex=2.0, PhoIndex_2=2.0)
    t = FoldedTemplates.build(telescope, model, band=(0.7, 7.0), free=("norm", "norm_2"), exposure=100.0)
    status, *_ = run(t, model, t.counts(norm=1.0, norm_2=1.0), {"norm": 0.7, "norm_2": 0.9})
    assert status == Status.SINGULAR


def test_iteration_limit_is_a_status(templates, plasma, truth):
    x = templates.nodes.to_engine({**truth, "kT": 40.0})
    low, high = templates.limits(plasma)
    data = Data(int(Kind.CSTAT), simulated(templates, truth)[0], EMPTY, EMPTY, EMPTY)
    status, *_ = engine.fit_table(templates.table, data, x, low, high, templates.work(), np.zeros((3, 3)), 1, TOLERANCE)
    assert status == Status.NO_CONVERGENCE


@pytest.mark.parametrize("kind", [Kind.WSTAT, Kind.PGSTAT, Kind.CHI2, Kind.CHI2_MODEL])
def test_other_statistics_have_right_errors(templates, plasma, truth, kind):
    """Source and background spectra of many counts: unbiased within errors, pulls of unit width."""
    rng = np.random.default_rng(6)
    big = {**truth, "norm": truth["norm"] * 10}
    mean, ratio, off = templates.counts(**big), 4.0, 40.0
    n = 150
    n_channel = mean.size
    x0 = templates.nodes.to_engine(big)
    low, high = templates.limits(plasma)
    pulls = []
    for _ in range(n):
        b = rng.poisson(off, n_channel).astype(float)
        s = rng.poisson(mean + off / ratio).astype(float)
        variance = np.full(n_channel, off)
        if kind in (Kind.CHI2, Kind.CHI2_MODEL):
            # The variance of the truth: the statistic is then exact, whatever is known of the data's.
            s = s - b / ratio
            variance = mean + off / ratio + off / ratio**2
        if kind == Kind.CHI2_MODEL:
            s, b, variance = rng.poisson(mean).astype(float), np.zeros(n_channel), np.zeros(n_channel)
        data = Data(int(kind), s, b, np.full(n_channel, ratio), variance)
        x, information, work = x0.copy(), np.zeros((3, 3)), templates.work()
        status, *_ = engine.fit_table(templates.table, data, x, low, high, work, information, MAX_ITERATIONS, TOLERANCE)
        assert status == Status.OK
        covariance = np.zeros((3, 3))
        engine.covariance_of(information, low, high, work, covariance)
        pulls.append((x - x0) / np.sqrt(np.diag(covariance)))
    pulls = np.array(pulls)
    # 150 spectra: 0.08 of the mean, 0.06 of the sd. pgstat and chi2-model are biased by order 1/counts in channels.
    assert np.all(np.abs(pulls.std(axis=0) - 1) < 0.25)
    assert np.all(np.abs(pulls.mean(axis=0)) < (0.35 if kind in (Kind.CHI2, Kind.WSTAT) else 4.0))


@pytest.mark.thorough
def test_shared_starts(templates, plasma, truth):
    """Noisy copies of one spectrum: the common first step changes nothing but the time."""
    mean = templates.counts(kT=np.array([2.0, 6.0]), norm=truth["norm"], Abundanc=0.3)
    counts = poisson_counts(mean, point_seeds(5, np.arange(2)[:, None], np.arange(25)[None])).reshape(50, -1)
    start = templates.nodes.to_engine({**truth, "kT": np.array([2.0, 6.0])})
    limits = templates.limits(plasma)
    shared = solve_batch(templates.table, counts, start, *limits)
    alone = solve_batch(templates.table, counts, start.repeat(25, axis=0), *limits)
    assert np.all(shared.status == Status.OK)
    sd = np.sqrt(np.diagonal(alone.covariance, axis1=1, axis2=2))
    assert np.max(np.abs(shared.x - alone.x) / sd) < 2e-4
    np.testing.assert_allclose(shared.statistic, alone.statistic, atol=1e-5)


def test_first_steps_are_of_second_order(templates, plasma, truth):
    """With four times the counts what is left falls by 4 in standard errors; after Newton's step it falls by 2."""
    left = []
    for factor in (1.0, 4.0, 16.0):
        true = {**truth, "norm": factor * truth["norm"]}
        counts = simulated(templates, true, 60)
        start, limits = templates.nodes.to_engine(true)[None, :], templates.limits(plasma)
        x = np.empty((60, 3))
        first_steps(templates.table, counts, start, *limits, x)
        found = solve_batch(templates.table, counts, start.repeat(60, axis=0), *limits, tolerance=1e-10)
        sd = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
        left.append(np.sqrt(np.mean(((x - found.x) / sd) ** 2)))
    assert left[0] < 0.02
    # 60 spectra, other noise at each level: the ratio scatters by a quarter.
    assert left[0] / left[1] > 2.8
    assert left[1] / left[2] > 2.8


def test_failed_fits_are_tried_again(templates, plasma, truth):
    """From a start where nothing is emitted in the band, the second attempt scans the nodes."""
    counts = simulated(templates, truth, 3)
    start = templates.nodes.to_engine({**truth, "kT": 0.0862, "norm": 1e-20})[None, :]
    found = solve_batch(templates.table, counts, np.repeat(start, 3, axis=0), *templates.limits(plasma))
    near = solve_batch(templates.table, counts, templates.nodes.to_engine(truth)[None, :], *templates.limits(plasma))
    assert np.all(found.status == Status.OK)
    np.testing.assert_allclose(found.x, near.x, rtol=1e-4)


def test_bad_batch(templates, plasma, truth):
    from crosscal.core.errors import InputError

    with pytest.raises(InputError, match="counts of shape"):
        fit_counts(templates, plasma, np.zeros((2, 3)), start=truth)
