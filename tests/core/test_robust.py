import numpy as np

from crosscal.core.robust import huber_weights, mad_sd, weighted_mean


def test_mad_of_a_normal_sample_is_its_sd_and_ignores_outliers(rng):
    x = rng.normal(3.0, 2.0, 20000)
    x[:100] = 1e6
    # The MAD scale has 37 % efficiency: sd 2 / sqrt(2 * 20000 * 0.37) = 0.016; 4 sd and 0.5 % outliers.
    assert abs(mad_sd(x) - 2.0) < 0.1
    x[5] = np.nan
    assert np.isfinite(mad_sd(x))


def test_weighted_mean_has_the_quoted_error(rng):
    sd = np.array([0.5, 1.0, 2.0])
    x = 5 + sd * rng.standard_normal((20000, 3))
    mean, error = weighted_mean(x, np.broadcast_to(sd, x.shape), axis=1)
    assert abs(np.std(mean) / error[0] - 1) < 0.02  # sd of an sd from 20000 draws: 0.5 %


def test_huber_weights_are_one_inside_and_fall_outside():
    np.testing.assert_allclose(huber_weights([0.5, -1.345, 2.69]), [1, 1, 0.5])


def test_mad_with_and_without_an_axis_agree(rng):
    for n in (1, 2, 3, 10, 11):
        x = rng.normal(size=n)
        assert mad_sd(x) == mad_sd(x[None], axis=1)[0]
        x = np.insert(x, 1, np.nan)
        assert mad_sd(x) == mad_sd(x[None], axis=1)[0]
    assert np.isnan(mad_sd([np.nan, np.nan]))
    assert np.isnan(mad_sd([]))
