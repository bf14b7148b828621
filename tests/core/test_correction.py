import numpy as np
import pytest

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError

ENERGY = np.array([1.0, 2.0, 4.0])


def make(factor=(1.0, 1.1, 0.9), sd=0.02, **facts) -> Correction:
    facts = {"axis": "energy", "unit": "keV", "target": "area of t1"} | facts
    return Correction(ENERGY, np.array(factor), sd**2 * np.eye(3), **facts)


def test_interpolation_is_linear_in_the_logarithm_and_constant_outside():
    at = make().at([0.5, 1.5, 9.0])
    np.testing.assert_allclose(at.factor, [1.0, np.sqrt(1.1), 0.9])
    # The mean of two independent numbers of sd 0.02 has sd 0.02 / sqrt(2).
    np.testing.assert_allclose(at.sd, [0.02, 0.02 / np.sqrt(2), 0.02])


def test_apply_multiplies():
    np.testing.assert_allclose(make().apply(ENERGY, [[10.0, 10.0, 10.0]]), [[10, 11, 9]])


def test_draws_are_summarised_and_interpolated_draw_by_draw(rng):
    draws = np.exp(rng.multivariate_normal([0, 0.1, -0.1], 1e-4 * np.eye(3), 4000))
    correction = Correction.from_draws(ENERGY, draws, axis="energy", unit="keV")
    np.testing.assert_allclose(np.log(correction.factor), [0, 0.1, -0.1], atol=1e-3)
    np.testing.assert_allclose(correction.sd, 0.01, rtol=0.05)
    low, high = correction.interval(0.68)
    np.testing.assert_allclose(np.log(high / low) / 2, 0.01, rtol=0.06)
    assert correction.at([1.5]).draws.shape == (4000, 1)


def test_gaussian_interval_contains_its_probability():
    low, high = make(sd=0.1).interval(0.6826894921)
    np.testing.assert_allclose(np.log(high / low), 0.2, rtol=1e-6)


def test_combination_multiplies_factors_and_adds_covariances():
    both = make().combine(make((1.2, 1.0, 1.0), 0.03))
    np.testing.assert_allclose(both.factor, [1.2, 1.1, 0.9])
    np.testing.assert_allclose(both.sd, np.hypot(0.02, 0.03))


def test_average_is_the_inverse_variance_mean():
    mean = make((1.0, 1.0, 1.0), 0.02).average(make((1.1, 1.1, 1.1), 0.04))
    weight = np.array([1 / 0.02**2, 1 / 0.04**2])
    np.testing.assert_allclose(np.log(mean.factor), weight[1] * np.log(1.1) / weight.sum())
    np.testing.assert_allclose(mean.sd, weight.sum() ** -0.5)


def test_comparison_of_equal_corrections_is_chi2_distributed(rng):
    p = []
    for _ in range(300):
        first = make(np.exp(0.02 * rng.standard_normal(3)))
        second = make(np.exp(0.05 * rng.standard_normal(3)), 0.05)
        p.append(first.compare(second).p_value)
    from scipy.stats import kstest

    assert kstest(p, "uniform").pvalue > 0.001


def test_comparison_uses_only_constrained_directions():
    one_mode = Correction(ENERGY, np.ones(3), 1e-4 * np.ones((3, 3)), "energy", "keV")
    result = one_mode.compare(Correction(ENERGY, np.full(3, 1.02), 1e-4 * np.ones((3, 3)), "energy", "keV"))
    assert result.dof == 1
    np.testing.assert_allclose(result.chi2, np.log(1.02) ** 2 / 2e-4)
    np.testing.assert_allclose(result.sd, np.sqrt(2e-4))


def test_names_are_looked_up():
    named = Correction(np.array(["pn", "mos1"]), np.array([1.0, 1.05]), np.eye(2) * 1e-4, "instrument")
    assert not named.numeric
    np.testing.assert_allclose(named.at(["mos1"]).factor, 1.05)
    with pytest.raises(InputError, match="no factor for 'mos2'; expected one of pn, mos1"):
        named.at(["mos2"])


def test_one_number_is_a_grey_factor():
    grey = Correction(np.array([1.0]), np.array([1.1]), np.array([[1e-4]]), "energy", "keV")
    np.testing.assert_allclose(grey.at(ENERGY).factor, 1.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinate": np.array([1.0, 2.0])}, "shapes"),
        ({"factor": np.array([1.0, -1.0, 1.0])}, "positive"),
        ({"coordinate": np.array([1.0, 1.0, 2.0])}, "does not increase"),
        ({"covariance": np.array([[1, 2, 0], [0, 1, 0], [0, 0, 1.0]])}, "not symmetric"),
        ({"covariance": -np.eye(3)}, "variance is negative"),
        ({"draws": np.array([[1.0, 2.0, -3.0]])}, "draws are not positive"),
    ],
)
def test_impossible_corrections_are_refused(change, message):
    good = {"coordinate": ENERGY, "factor": np.ones(3), "covariance": np.eye(3), "axis": "energy"}
    with pytest.raises(InputError, match=message):
        Correction(**(good | change))


def test_impossible_draws_and_pairs_are_refused():
    with pytest.raises(InputError, match="draws of a factor"):
        Correction.from_draws(ENERGY, np.ones((1, 3)), axis="energy")
    with pytest.raises(InputError, match="the same axis and unit"):
        make().compare(make(unit="eV"))


def test_coordinates_may_be_quantities():
    from astropy import units as u

    found = Correction([1.0, 2.0], [1.0, 1.2], np.diag([0.01, 0.02]), "energy", unit="keV")
    np.testing.assert_allclose(found.at([1500] * u.eV).factor, found.at([1.5]).factor)
    assert found.at([1500] * u.eV).coordinate == [1.5]
    with pytest.raises(InputError, match="a quantity in s"):
        found.at(1 * u.s)
