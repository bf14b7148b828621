"""The passes of one-element states against the general ones."""

import numpy as np
import pytest

from crosscal.lightcurves import kalman, kalman_scalar


def arrays(columns, spoilt=None):
    """A problem with equal times, times without an observation and a long gap."""
    rng = np.random.default_rng(4)
    n = 60
    A = np.exp(-rng.exponential(size=n) * 0.2).reshape(n, 1, 1)
    A[7], A[30] = 1.0, 1e-12
    R = rng.uniform(0.01, 0.3, n)
    R[[0, 11, 12, n - 1]] = np.inf
    if spoilt is not None:
        R[20] = spoilt
    return A, np.array([[1.3]]), R, rng.normal(size=(n, columns))


@pytest.mark.thorough
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_both_give_the_same(columns):
    A, P0, R, W = arrays(columns)
    weights = np.random.default_rng(5).normal(size=(columns, columns))
    weights += weights.T
    work = {name: kalman.Workspace(len(R), 1, columns) for name in ("general", "scalar")}
    g, s = work["general"], work["scalar"]
    logdet = kalman.forward((1.0,), A, P0, R, W, g.gram, True, g.S, g.V, g.Pp, g.Mp)
    assert kalman_scalar.forward(A, P0, R, W, s.gram, True, s.S, s.V, s.Pp, s.Mp) == pytest.approx(logdet, rel=1e-13)
    kalman.backward((1.0,), A, P0, weights, g.S, g.V, g.Pp, g.Mp, g.y_bar, g.R_bar, g.A_bar, g.P0_bar)
    kalman_scalar.backward(A, P0, weights, s.S, s.V, s.Pp, s.Mp, s.y_bar, s.R_bar, s.A_bar, s.P0_bar)
    for name in ("gram", "S", "V", "Pp", "Mp", "y_bar", "R_bar", "A_bar", "P0_bar"):
        expected = getattr(g, name)
        # Rounding of sixty steps.
        scale = np.abs(expected[np.isfinite(expected)]).max()
        np.testing.assert_allclose(getattr(s, name), expected, rtol=1e-12, atol=1e-12 * scale, err_msg=name)


def test_without_keeping_the_value_is_the_same_and_nothing_is_written():
    A, P0, R, W = arrays(2)
    kept, bare = (kalman.Workspace(len(R), 1, 2) for _ in range(2))
    assert kept.forward((1.0,), A, P0, R, W, True) == bare.forward((1.0,), A, P0, R, W, False)
    np.testing.assert_array_equal(kept.gram, bare.gram)
    assert not bare.S.any()
    assert not bare.V.any()


@pytest.mark.parametrize("spoilt", [-5.0, np.nan])
def test_a_variance_that_is_not_positive_has_no_likelihood(spoilt):
    A, P0, R, W = arrays(2, spoilt)
    assert np.isnan(kalman.Workspace(len(R), 1, 2).forward((1.0,), A, P0, R, W, True))
