"""The prior that the sources of a survey share: its estimate, what it gains, and whether intervals hold the truth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.lightcurves.test_survey_job import load

from crosscal.core.random import generator
from crosscal.jobs.stages import Stages
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.survey import job as survey
from crosscal.lightcurves.survey.one import UNREADABLE, record_of
from crosscal.lightcurves.survey.result import SurveyResult
from crosscal.lightcurves.survey.shared import LEAST_SOURCES, populations, random_effects, with_prior
from crosscal.lightcurves.synthetic import simulate

MEAN, SCATTER = np.array([0.14, 0.05]), np.array([0.02, 0.01])


def made(rng, sd, mean=MEAN):
    """A record of one source as its own data give it, and the truth (ln scale, shift per unit flux)."""
    truth = mean + SCATTER * rng.standard_normal(2)
    own = np.array([[sd[0] ** 2, 0.5 * sd[0] * sd[1]], [0.5 * sd[0] * sd[1], sd[1] ** 2]])
    x = rng.multivariate_normal(truth, own)
    covariance = np.zeros((4, 4))
    covariance[np.ix_([1, 3], [1, 3])] = own
    scale, level = np.exp(x[0]), 2.0
    slope = np.array([0, scale, 0, level])
    record = {
        "codes": ["A", "B"], "reference": "A", "scale": [1.0, scale], "shift": [0.0, level * x[1]],
        "covariance": (slope[:, None] * covariance * slope).tolist(), "level": level,
        "log_mean": [0.0, x[0], 0.0, x[1]], "log_covariance": covariance.tolist(), "errscale": [1.0, 1.0],
        "ln_errscale": [0.0, 0.1 + 0.3 * rng.standard_normal()], "ln_errscale_sd": [0.0, 0.3],
    }  # fmt: skip
    return record, truth


def test_mean_and_scatter_are_those_of_the_population():
    rng = generator(1, "shared")
    records = tuple(made(rng, (0.02, 0.02) if k % 2 else (0.1, 0.08))[0] for k in range(400))
    (one,) = populations(records, np.ones(400, dtype=bool))
    assert one.telescope == "B"
    assert one.sources == 400
    # Standard errors of mean and scatter of some 200 good sources: 0.002 and 0.0015.
    np.testing.assert_allclose(one.mean, MEAN, atol=0.006)
    np.testing.assert_allclose(np.sqrt(np.diag(one.covariance)), SCATTER, atol=0.006)
    assert abs(one.ln_errscale[0] - 0.1) < 0.06
    assert "ln scale 0.1" in one.sentence
    assert "error scale" in one.sentence


def test_the_estimate_is_the_highest_likelihood():
    rng = generator(2, "shared")
    C = 0.01 * rng.uniform(0.5, 2, (30, 1, 1))
    x = 0.2 + np.sqrt(C[:, :, 0] + 0.02) * rng.standard_normal((30, 1))
    mu, prior = random_effects(x, C)
    grid = np.linspace(1e-4, 0.1, 2000)
    total = grid[:, None] + C[:, 0, 0]
    middle = np.sum(x[:, 0] / total, axis=1) / np.sum(1 / total, axis=1)
    value = -0.5 * np.sum((x[:, 0] - middle[:, None]) ** 2 / total + np.log(total), axis=1)
    best = int(np.argmax(value))
    expected = grid[best] + 1 / np.sum(1 / total[best]) + np.sqrt(2 / np.sum(total[best] ** -2.0))
    np.testing.assert_allclose(mu[0], middle[best], rtol=1e-3)
    np.testing.assert_allclose(prior[0, 0], expected, rtol=0.01)


@pytest.mark.thorough
@pytest.mark.parametrize("n", [12, 60])
def test_sources_with_few_points_gain_and_intervals_hold_the_truth(n):
    rng = generator(3, "shared", n)
    inside, before, after = [], [], []
    for _ in range(150 // n):
        pairs = [made(rng, (0.01, 0.01) if k % 2 else (0.08, 0.06)) for k in range(n)]
        records = tuple(record for record, _ in pairs)
        known = populations(records, np.ones(n, dtype=bool))
        for k, (record, truth) in enumerate(pairs):
            new = with_prior(record, known)
            sd = np.sqrt(np.diag(new["covariance"]))
            inside.append(abs(new["scale"][1] - np.exp(truth[0])) < 1.96 * sd[1])
            if k % 2 == 0:
                before.append(record["scale"][1] - np.exp(truth[0]))
                after.append(new["scale"][1] - np.exp(truth[0]))
                assert new["population_share"][1] > 0.5
            assert new["alone"]["scale"] == record["scale"]
    # 150 sources, 12 or 60 of one survey with one estimate: a scatter of some 0.02.
    assert 0.89 < np.mean(inside) < 0.995
    assert np.std(after) < 0.5 * np.std(before)


def test_few_sources_have_no_population():
    rng = generator(4, "shared")
    records = tuple(made(rng, (0.02, 0.02))[0] for _ in range(LEAST_SOURCES))
    assert populations(records, np.arange(LEAST_SOURCES) > 0) == ()
    same = with_prior(records[0], ())
    assert same["scale"] == records[0]["scale"]
    assert same["population_share"] == [0.0, 0.0]


def test_a_shared_prior_is_said_and_the_own_factors_are_kept():
    rng = generator(6, "shared")
    facts = {
        "points": [20, 20], "syserr": [0.0, 0.0], "tied": [None, 0.9], "unit": "", "kernel": "drw",
        "sampler": "laplace", "ess": 500.0, "khat": None, "log_evidence": 1.0, "outliers": 0, "warnings": [],
    }  # fmt: skip
    records = tuple({**made(rng, (0.05, 0.05))[0], **facts} for _ in range(12))
    known = populations(records, np.ones(12, dtype=bool))
    task = SimpleNamespace(sources=[SimpleNamespace(name=f"S{k}") for k in range(13)])
    failed = ({"error": "no file"},)
    status, seconds = np.array([0] * 12 + [UNREADABLE]), np.ones(13)
    plain = SurveyResult(task, status, seconds, records + failed)
    changed = tuple(with_prior(record, known) for record in records)
    shared = SurveyResult(task, status, seconds, changed + failed, shared=True, populations=known)
    assert "shared prior" in shared.answer
    assert "prior" not in plain.answer
    assert "No shared prior was used" in replace(shared, populations=()).answer
    table, own = shared.summary(), plain.summary()
    np.testing.assert_array_equal(table["scale_alone"], own["scale"])
    np.testing.assert_array_equal(table["shift_alone_sd"], own["shift_sd"])
    assert "scale_alone" not in own.colnames
    assert np.all(table["scale_sd"][1:24:2] < own["scale_sd"][1:24:2])


@pytest.mark.slow
def test_a_survey_with_a_shared_prior_says_so(tmp_path):
    rows = ["source,mjd,flux,error,telescope"]
    for k in range(12):
        curve = simulate(seed=k, codes=("A", "B"), points=(25, 25 if k else 4), scale=(1, 1.15), shift=(0, 0.05))[0]
        c = curve.continuum
        rows += [f"S{k},{58000 + t:.5f},{f:.9g},{e:.9g},{c.codes[i]}"
                 for t, f, e, i in zip(c.time, c.flux, c.error, c.code, strict=True)]  # fmt: skip
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n")
    plain = survey.run(load(tmp_path, data={"table": "all.csv"}), Stages(tmp_path / "a"))
    shared = survey.run(
        load(tmp_path, data={"table": "all.csv"}, results={"shared_prior": True}), Stages(tmp_path / "b")
    )
    assert "shared prior" in shared.answer
    assert "prior" not in plain.answer
    table, own = shared.summary(), plain.summary()
    np.testing.assert_array_equal(table["scale_alone"], own["scale"])
    assert "scale_alone" not in own.colnames
    assert table["scale_sd"][1] < own["scale_sd"][1]
    assert shared.records[0]["population_share"][1] > 0.5


@pytest.mark.slow
def test_light_curves_of_few_points_gain_from_the_others(slow_scale):
    n = max(24, round(120 * slow_scale))
    rng = generator(5, "shared")
    records, truths = [], []
    for k in range(n):
        ln_scale, shift = MEAN + SCATTER * rng.standard_normal(2)
        points = (60, 6) if k % 3 == 0 else (60, 60)
        curves, _ = simulate(seed=900 + k, codes=("A", "B"), points=points, scale=(1, float(np.exp(ln_scale))),
                             shift=(0, float(shift)))  # fmt: skip
        records.append(record_of(intercalibrate(curves, sampler="laplace", draws=500, seed=k)))
        truths.append(np.exp(ln_scale))
    known = populations(tuple(records), np.ones(n, dtype=bool))
    new = [with_prior(record, known) for record in records]
    miss = np.array([[one["scale"][1] - truth for one in (record, other)]
                     for record, other, truth in zip(records, new, truths, strict=True)])  # fmt: skip
    few = np.arange(n) % 3 == 0
    pull = miss[:, 1] / np.sqrt([np.array(one["covariance"])[1, 1] for one in new])
    gain = np.std(miss[few, 0]) / np.std(miss[few, 1])
    print(f"{n} sources: gain {gain:.2f}, inside 95 % {np.mean(np.abs(pull) < 1.96):.3f}, pull {np.std(pull):.2f}")
    assert gain > 1.5
    assert np.mean(np.abs(pull) < 1.96) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / n)
