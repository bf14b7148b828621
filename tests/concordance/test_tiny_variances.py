"""Variances far below those of the other instruments: densities without rounding, slices that end, clear refusals."""

import numpy as np
import pytest

from crosscal.concordance import Comparison, fit, simulate
from crosscal.concordance.cell_sampler import _slice_excess
from crosscal.concordance.chains import degenerate_pair
from crosscal.concordance.expansion import _slice_variances
from crosscal.concordance.flux_sampler import _draw_excess, _draw_flux
from crosscal.concordance.gig import draw_gig
from crosscal.concordance.pattern_samplers import areas_given, collapsed_log_density
from crosscal.concordance.sparse_sampler import _slice
from crosscal.core.errors import FitError

from .stating import make_model, run


@pytest.mark.parametrize("m", [1, 3, 40])
@pytest.mark.parametrize("filled", [1.0, 0.7])
def test_the_density_follows_its_prior_to_the_smallest_variances(m, filled):
    """Where s_i is far below the others the likelihood does not depend on it: d ln p = d ln s / 2 for half-t sigma."""
    model = make_model(simulate(4, m, tau=0.05, sigma=0.02, filled=filled, seed=3).data)
    variance, cells = model.variance, model.patterns.per_channel().astype(float)
    values = []
    for power in (-12, -16, -20, -30):
        s = np.full(4, 4e-4)
        s[1] = 10.0**power
        values.append(
            collapsed_log_density(
                *model.patterns.arrays[:6], 0.5, cells, model.prior.precision, np.zeros(4), variance.df, variance.beta,
                variance.scale, s,
            )
        )  # fmt: skip
    # What is left of the others at s = 1e-12 is s / 4e-4 per source.
    assert np.diff(values) == pytest.approx(0.5 * np.log(10) * np.array([-4, -4, -10]), abs=1e-8 * (1 + cells[1]) * 10)


def test_areas_given_one_tiny_variance_are_those_of_the_differences_to_it():
    model = make_model(simulate(3, 1, tau=0.05, sigma=0.02, seed=3).data)
    arrays, s = model.patterns.arrays[:4], np.array([1e-30, 4e-4, 9e-4])
    a, h = areas_given(*arrays, 0.5, s, np.zeros((3, 3)), np.zeros(3))
    y = arrays[3] + 0.5 * s
    expected = np.array([[1 / 4e-4 + 1 / 9e-4, -1 / 4e-4, -1 / 9e-4], [0, 1 / 4e-4, 0], [0, 0, 1 / 9e-4]])
    assert np.allclose(np.tril(a), expected.T, rtol=1e-12, atol=1e-12)
    assert np.allclose(h[1:], (y[1:] - y[0]) / s[1:], rtol=1e-12)


def test_a_chain_that_met_a_tiny_variance_ends():
    """With this seed the density's rounding was once taken for a peak, from which no slice led back."""
    case = simulate(4, 3, tau=0.05, sigma=0.02, seed=72)
    draws = run(make_model(case.data), seed=72, draws=1500, warmup=300, chains=1)
    assert np.all(draws.s > 1e-20)


@pytest.mark.thorough
def test_slices_end_where_the_density_is_not_a_number():
    bad, one, order = np.array([np.nan]), np.ones(1), np.zeros(1, np.int64)
    assert np.isfinite(_slice(-7.0, 1.0, bad, one, 1, 0.5, 1.0, 1.0, 0.0))
    assert np.isfinite(_slice_excess(-7.0, order, 0, 1, one, 0.5, 1.0, one, bad, 1.0, 1.0))
    assert np.isfinite(_draw_excess(-7.0, order, 0, 1, bad, one, one, one, one, order > 0, 1.0, 1.0))
    keep, s = np.empty((2, 1)), np.ones(1)
    _slice_variances(one, bad, np.ones((1, 1)), one, one, 0 * one, s, one, 2, 1, keep)
    assert np.isfinite(keep).all()
    assert np.isnan(draw_gig(0.5, np.nan, 1.0))
    assert np.isnan(draw_gig(0.5, 1.0, np.inf))
    assert np.isnan(_draw_flux(1.0, 1.0, 0.1, 0, 1, order, bad, one, one, one, one, order > 0, one))


@pytest.mark.parametrize(("n", "m"), [(2, 20), (3, 5)])
def test_instruments_that_are_copies_of_each_other_are_named(n, m, rng):
    y = rng.normal(0, 1, m) + rng.normal(0, 0.03, (n, m))
    y[1] = y[0] + 0.1
    instruments = np.repeat(["pn", "pn, corrected", "MOS1"][:n], m)
    data = Comparison.from_cells(instruments, np.tile([f"s{k}" for k in range(m)], n), flux=np.exp(y).ravel())
    with pytest.raises(FitError, match=f"'pn' and 'pn, corrected' have the same ratio in all {m} common sources"):
        fit(data, tau=0.05, seed=1)


def test_a_failure_that_has_another_reason_keeps_its_sentence():
    data = simulate(3, 10, seed=1).data
    assert degenerate_pair(make_model(data)) is None
