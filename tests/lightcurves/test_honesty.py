"""Errors that are stated too small are told; honest ones are not."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.lightcurves_honesty import CASES, replicate, summary

from crosscal.lightcurves.honesty import error_factors
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.synthetic import simulate

pytestmark = pytest.mark.thorough


def with_errors(seed, factor, points=150):
    """Three telescopes; the stated errors of B are the true ones divided by a factor."""
    curves, _ = simulate(seed=seed, codes=("A", "B", "C"), points=points)
    curve = curves.continuum
    error = np.where(curve.code == 1, curve.error / factor, curve.error)
    return replace(curves, continuum=replace(curve, error=error))


def told(curves, **options):
    found = intercalibrate(curves, draws=500, sampler="laplace", seed=1, **options)
    return found.diagnostics, [w for w in found.warnings if "errors of B look" in w]


@pytest.mark.parametrize(
    ("factor", "words"), [(2.5, "The errors of B look too small"), (0.4, "The errors of B look too large"), (1.0, "")]
)
def test_wrong_errors_are_told(factor, words):
    diagnostics, warned = told(with_errors(101, factor))
    assert len(warned) == bool(words)
    assert all(w.startswith(words) for w in warned)
    (of_b,) = [f for f in diagnostics.error_factors if f.telescope == "B"]
    assert abs(np.log(of_b.factor / factor)) < 4 * of_b.sd_ln


def test_errors_that_are_fitted_are_not_judged():
    diagnostics, warned = told(with_errors(101, 2.5), systematic_error=True)
    assert not warned
    assert diagnostics.error_factors == ()


@pytest.mark.slow
def test_how_often_wrong_and_honest_errors_are_told(slow_scale):
    n = max(20, round(100 * slow_scale))
    for factor, least, most in ((1.0, 0.0, 0.1), (2.5, 0.9, 1.0)):
        shares = []
        for seed in range(n):
            found = intercalibrate(with_errors(1000 + seed, factor, 200), draws=200, sampler="laplace", seed=1)
            factors = error_factors(found.model, found.draws.vectors.mean(axis=0))
            shares.append(any("B look too small" in f.sentence for f in factors))
        # Binomial scatter of n replicates.
        margin = 3 * np.sqrt(0.1 * 0.9 / n)
        assert least - margin <= np.mean(shares) <= most + margin


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_or_a_warning_is_given(case, slow_scale):
    """The benchmark's table of coverage; what it prints at full size is in its records."""
    n = max(12, round(100 * slow_scale))
    found = summary([replicate(case, k) for k in range(n)])
    print(case, {name: round(value, 3) for name, value in found.items()})
    margin = 3 * np.sqrt(0.1 * 0.9 / n)
    if case == "clean":
        assert found["warned"] <= 0.1 + margin
        assert found["scale 0.95 quiet"] >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / n)
    else:
        assert found["warned"] >= 0.9 - margin
