import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.core.linalg import nearest_precision, oas_covariance


def test_a_good_precision_is_not_touched():
    matrix = np.array([[2.0, 0.5], [0.5, 1e-6]])[::-1, ::-1]
    matrix = matrix + np.diag([1.0, 0.0])
    precision, unchanged = nearest_precision(matrix)
    assert unchanged
    np.testing.assert_array_equal(precision, matrix)


def test_an_indefinite_hessian_is_repaired_and_said_so():
    precision, unchanged = nearest_precision([[1.0, 2.0], [2.0, 1.0]])
    assert not unchanged
    assert np.linalg.eigvalsh(precision)[0] > 0


def test_a_hessian_that_is_not_finite_becomes_the_identity():
    precision, unchanged = nearest_precision([[np.nan, 0], [0, 1]])
    assert not unchanged
    np.testing.assert_array_equal(precision, np.eye(2))


def test_oas_equals_scikit_learns_formula_in_two_limits(rng):
    truth = np.diag([1.0, 2.0, 3.0])
    many, shrinkage = oas_covariance(rng.multivariate_normal(np.zeros(3), truth, 20000))
    assert shrinkage < 0.01  # many draws: nothing to shrink
    np.testing.assert_allclose(many, truth, atol=0.1)  # sd of a sample variance of 3: 3 sqrt(2 / 20000) = 0.03
    few, shrinkage = oas_covariance(rng.multivariate_normal(np.zeros(30), np.eye(30), 5))
    assert shrinkage > 0.8
    assert np.linalg.eigvalsh(few)[0] > 0


def test_oas_reduces_the_error_of_few_draws(rng):
    p, n = 12, 15
    truth = 0.04 * (0.7 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p))))
    errors = []
    for _ in range(50):
        draws = rng.multivariate_normal(np.zeros(p), truth, n)
        shrunk = oas_covariance(draws)[0]
        errors.append((np.sum((shrunk - truth) ** 2), np.sum((np.cov(draws, rowvar=False) - truth) ** 2)))
    assert np.mean(errors, axis=0)[0] < np.mean(errors, axis=0)[1]


def test_one_draw_has_no_covariance():
    with pytest.raises(InputError, match="at least 2 draws"):
        oas_covariance(np.zeros((1, 3)))
