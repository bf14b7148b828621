import numpy as np
import pytest
from scipy import stats

from crosscal.core.errors import InputError
from crosscal.core.random import point_seeds
from crosscal.xray.fitting.poisson import SLOTS, TOP, poisson_counts, tables

MEANS = [1e-3, 0.05, 0.5, 1.0, 1.5, 3.7, 9.99, 25.0, 137.3, 500.5, 1023.99, 1024.0, 1500.3, 1e4, 1e6]


def sample(mean, n_seed=600, n_channel=100, seed=11):
    seeds = point_seeds(seed, np.arange(n_seed))[None, :]
    return poisson_counts(np.full((1, n_channel), mean), seeds)[0].ravel()


@pytest.mark.parametrize("mean", MEANS)
def test_distribution(mean):
    """Chi-squared of binned counts against scipy, plus mean and variance."""
    x = sample(mean)
    assert np.array_equal(x, np.round(x))
    assert np.all(x >= 0)
    low, high = stats.poisson.ppf([1e-5, 1 - 1e-5], mean)
    step = max(1, int((high - low) / 50))
    edges = np.arange(low - 0.5, high + step, step)
    observed = np.histogram(x, np.concatenate([[-np.inf], edges, [np.inf]]))[0]
    expected = np.diff(np.concatenate([[0.0], stats.poisson.cdf(edges, mean), [1.0]])) * x.size
    few = expected < 8
    observed = np.append(observed[~few], observed[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    used = expected > 0.5
    statistic = ((observed - expected)[used] ** 2 / expected[used]).sum()
    # Fixed seed: one of 15 means may fall below 1e-3 with probability 1.5 %; this seed has none.
    assert stats.chi2.sf(statistic, used.sum() - 1) > 1e-3
    assert abs(x.mean() - mean) < 4.5 * np.sqrt(mean / x.size)


def test_tail_of_small_means():
    """The rare loop beyond three counts: P(k >= 4) for a mean below 1."""
    x = sample(0.9, n_seed=20000)
    for k in (3, 4, 5, 6):
        p = stats.poisson.sf(k - 1, 0.9)
        assert abs((x >= k).mean() - p) < 5 * np.sqrt(p / x.size)


def test_zero_mean_gives_zero():
    assert not sample(0.0).any()


def test_a_draw_depends_on_its_seed_and_channel_only():
    means = np.random.default_rng(0).uniform(0, 2000, (7, 33))
    seeds = point_seeds(4, np.arange(7)[:, None], np.arange(5)[None, :])
    whole = poisson_counts(means, seeds)
    for p in (0, 3, 6):
        alone = poisson_counts(means[p : p + 1], seeds[p : p + 1, 2:3])
        assert np.array_equal(alone[0, 0], whole[p, 2])
    assert np.array_equal(poisson_counts(means[:, :10], seeds), whole[:, :, :10])
    assert not np.array_equal(whole[0, 0], whole[0, 1])


def test_neighbouring_channels_and_seeds_are_independent():
    seeds = point_seeds(9, np.arange(4000))[None, :]
    x = poisson_counts(np.full((1, 6), 50.0), seeds)[0]
    correlation = np.corrcoef(x.T)[np.triu_indices(6, 1)]
    assert np.max(np.abs(correlation)) < 4.5 / np.sqrt(4000)
    assert abs(np.corrcoef(x[:-1, 0], x[1:, 0])[0, 1]) < 4.5 / np.sqrt(4000)


def test_slots_and_alias_tables_hold_the_distribution():
    t = tables()
    keep, other = (t.packed >> np.uint64(11)).astype(float) / 2.0**53, (t.packed & np.uint64(2047)).astype(int)
    for k in (0, 1, 2, 17, 300, TOP - 1):
        part = slice(t.start[k], t.start[k + 1])
        elsewhere = np.mean(t.slots[k] == 255)
        p = elsewhere * keep[part] / (t.start[k + 1] - t.start[k])
        spill = elsewhere * (1 - keep[part]) / (t.start[k + 1] - t.start[k])
        np.add.at(p, other[part], spill)
        x = t.low[k] + np.arange(p.size)
        held = t.slots[k][t.slots[k] != 255].astype(int) + t.first[k]
        np.add.at(p, held - t.low[k], 1.0 / SLOTS)
        # Rounding of up to 700 additions.
        np.testing.assert_allclose(p, stats.poisson.pmf(x, k), atol=1e-14)


@pytest.mark.parametrize("means", [[[-1.0]], [[np.nan]], [[1e13]]])
def test_bad_means(means):
    with pytest.raises(InputError, match="a mean is negative"):
        poisson_counts(means, [[1]])


def test_bad_shapes():
    with pytest.raises(InputError, match="means of shape"):
        poisson_counts([1.0, 2.0], [[1]])
