import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.fitting import statistics as st

rng = np.random.default_rng(5)
N = 200
COUNTS = rng.poisson(5, N).astype(float)
MODEL = rng.uniform(0.5, 12, N)
OFF = rng.poisson(8, N).astype(float)
RATIO = rng.uniform(0.5, 6, N)


def channels(model):
    out = np.zeros((3, model.size))
    out[0] = model
    return out


def data(kind, variance=None):
    return st.Data(int(kind), COUNTS, OFF, RATIO, np.full(N, 3.0) if variance is None else variance)


def test_fast_log_is_a_logarithm():
    x = np.exp(rng.uniform(-600, 600, 5000))
    ours = np.array([st.fast_log(v) for v in x])
    # 3e-16 of the larger of |ln x| and 1: one or two roundings.
    assert np.max(np.abs(ours - np.log(x)) / np.maximum(1, np.abs(np.log(x)))) < 4e-16
    near = 1 + rng.uniform(-1e-6, 1e-6, 1000)
    assert np.max(np.abs(np.array([st.fast_log(v) for v in near]) - np.log(near))) < 1e-21


def test_cstat_is_minus_two_ln_likelihood_ratio():
    ours = st.cstat(COUNTS, MODEL)
    saturated = scipy_stats.poisson.logpmf(COUNTS, np.where(COUNTS > 0, COUNTS, 1e-300))
    expected = 2 * (np.where(COUNTS > 0, saturated, 0.0) - scipy_stats.poisson.logpmf(COUNTS, MODEL))
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_limits_of_cstat():
    assert st.cstat(0, 3.5) == 7.0
    assert st.cstat(4, 0) == np.inf
    assert st.cstat(0, 0) == 0.0
    assert st.cstat(7, 7) == 0.0


def minimised_over_background(term):
    """The definition: profile the background numerically."""
    out = []
    for s, b, r, m in zip(COUNTS, OFF, RATIO, MODEL, strict=True):
        found = optimize.minimize_scalar(lambda f, a=(s, b, r, m): term(f, *a), bounds=(1e-12, 200), method="bounded",
                                         options={"xatol": 1e-11})  # fmt: skip
        out.append(found.fun)
    return np.array(out)


def test_wstat_profiles_the_background():
    def term(f, s, b, r, m):
        return float(st.cstat(s, m + f) + st.cstat(b, r * f))

    # The numerical minimiser finds f to 1e-6 only, the minimum to its square.
    np.testing.assert_allclose(st.wstat(COUNTS, OFF, RATIO, MODEL), minimised_over_background(term), atol=1e-7)


def test_wstat_of_xspec_manual():
    """The special cases of XSPEC's manual (appendix B), with t_s = 1, t_b = r."""
    s, b, r, m = 6.0, 5.0, 2.0, 1.5
    assert np.isclose(st.wstat(0, b, r, m), 2 * (m - b * np.log(r / (1 + r))))
    assert m < s / (1 + r)
    assert np.isclose(st.wstat(s, 0, r, m), 2 * (-r * m - s * np.log(1 / (1 + r))))
    m = 4.0
    assert m > s / (1 + r)
    assert np.isclose(st.wstat(s, 0, r, m), 2 * (m + s * (np.log(s) - np.log(m) - 1)))


def test_profiled_background_keeps_its_digits_for_a_bright_model():
    # f tends to B m / ((1 + r) m - S - B); the textbook form of the root cancels here.
    f = st.profiled_background(10.0, 3.0, 2.0, 1e9)
    assert np.isclose(f, 3e9 / (3e9 - 13), rtol=1e-12)


def test_wstat_tends_to_cstat_for_a_long_background():
    """A background known perfectly is a constant added to the model."""
    ratio = 1e8
    off = 2.0 * ratio
    ours = st.wstat(COUNTS, off, ratio, MODEL)
    # The background's own scatter is 1e-4 of itself.
    np.testing.assert_allclose(ours, st.cstat(COUNTS, MODEL + 2.0), atol=1e-5)


def test_pgstat_profiles_the_background():
    sd = np.sqrt(OFF + 1)
    keep = COUNTS > 0

    def term(f, s, b, r, m):
        return float(st.cstat(s, m + f) + (b - r * f) ** 2 / (b + 1))

    expected = minimised_over_background(term)[keep]
    ours = st.pgstat(COUNTS, OFF, RATIO, sd, MODEL)[keep]
    inside = np.array([st._gaussian_background(*a) > 1e-6 for a in zip(COUNTS, OFF, RATIO, sd**2, MODEL, strict=True)])
    np.testing.assert_allclose(ours[inside[keep]], expected[inside[keep]], atol=1e-7)
    assert np.all(ours <= expected + 1e-7)  # the formula also allows a negative background


def test_limits_of_pgstat():
    m, b, r, sd = 2.0, 6.0, 3.0, 1.5
    assert np.isclose(st.pgstat(0, b, r, sd, m), 2 * (m + b / r - sd**2 / r**2 / 2))
    np.testing.assert_allclose(st.pgstat(COUNTS, OFF, RATIO, 0.0, MODEL), st.cstat(COUNTS, MODEL + OFF / RATIO))


def test_chi2_variances():
    net = COUNTS - OFF / RATIO
    data_variance = np.where(COUNTS + OFF > 0, COUNTS + OFF / RATIO**2, 1.0)
    np.testing.assert_allclose(st.chi2(COUNTS, MODEL, background=OFF, ratio=RATIO), (net - MODEL) ** 2 / data_variance)
    np.testing.assert_allclose(st.chi2(COUNTS, MODEL, variance="model"), (COUNTS - MODEL) ** 2 / MODEL)
    assert np.isclose(st.gehrels_variance(0), (1 + np.sqrt(0.75)) ** 2)
    # The model's variance is that of m + B/r counts less an estimate of B/r.
    rng = np.random.default_rng(0)
    drawn = rng.poisson(30.0 + 20.0, 200_000) - rng.poisson(20.0 * 4.0, 200_000) / 4.0
    variance = st.chi2_variance(0.0, 80.0, 4.0, "model", model=30.0)
    # The variance of 2e5 draws is known to 0.3 %.
    assert np.isclose(drawn.var(), variance, rtol=0.015)
    assert st.chi2(0.0, 2.0) == 4.0


@pytest.mark.parametrize("kind", list(st.Kind))
def test_compiled_sums_are_the_functions(kind):
    d = data(kind)
    expected = {
        st.Kind.CSTAT: lambda: st.cstat(COUNTS, MODEL),
        st.Kind.WSTAT: lambda: st.wstat(COUNTS, OFF, RATIO, MODEL),
        st.Kind.PGSTAT: lambda: st.pgstat(COUNTS, OFF, RATIO, np.sqrt(3.0), MODEL),
        st.Kind.CHI2: lambda: (COUNTS - MODEL) ** 2 / 3.0,
        st.Kind.CHI2_MODEL: lambda: (COUNTS - MODEL) ** 2 / (MODEL + 3.0),
    }[kind]()
    assert np.isclose(st.total(d, channels(MODEL)), expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", list(st.Kind))
def test_scores_are_derivatives(kind):
    d, c = data(kind), channels(MODEL)
    st.weights(d, c)
    h = 1e-5

    def value(i, shift):
        changed = MODEL.copy()
        changed[i] += shift
        return st.total(d, channels(changed))

    numeric = np.array([-(value(i, h) - value(i, -h)) / (4 * h) for i in range(N)])
    # Central differences of a sum of order 1e3: 1e-16 * 1e3 / 1e-5.
    np.testing.assert_allclose(c[1], numeric, atol=3e-7, rtol=1e-6)


def draws(kind, model, n=40000):
    """Scores of one channel over repeated observations; pgstat's background is Gaussian."""
    ratio, off = 3.0, 12.0
    s = rng.poisson(model + off / ratio, n).astype(float) if kind != st.Kind.CSTAT else rng.poisson(model, n) * 1.0
    b = rng.poisson(off, n).astype(float)
    variance = np.zeros(n)
    if kind == st.Kind.PGSTAT:
        variance = np.full(n, 4.0)
        b = off + 2.0 * rng.standard_normal(n)
    if kind == st.Kind.CHI2:
        s, variance = model + 2.0 * rng.standard_normal(n), np.full(n, 4.0)
    if kind == st.Kind.CHI2_MODEL:
        s = rng.poisson(model, n) * 1.0
    c = channels(np.full(n, model))
    st.weights(st.Data(int(kind), s, b, np.full(n, ratio), variance), c)
    return c[1], c[2]


@pytest.mark.parametrize("kind", list(st.Kind))
def test_weights_are_the_expected_information(kind):
    """E[score] = 0 and Var[score] = E[weight], the two Bartlett identities, for many counts."""
    score, weight = draws(kind, 400.0)
    error = np.sqrt(weight.mean() / score.size)
    # chi2-model's score has the known bias of order 1/m (half its weight).
    bias = 0.5 * weight.mean() if kind == st.Kind.CHI2_MODEL else 0.0
    assert abs(score.mean() - bias) < 5 * error
    assert np.isclose(score.var(), weight.mean(), rtol=0.05)  # 1 % of sampling, 2 % of asymptotics


def test_expected_cstat_against_simulation_and_limits():
    model = np.array([1e-4, 0.1, 1.0, 5.0, 40.0, 3e3, 2e5])
    mean, variance = st.expected_cstat(model)
    for m, e, v in zip(model, mean, variance, strict=True):
        sample = st.cstat(rng.poisson(m, 100_000), m)
        assert abs(sample.mean() - e) < 5 * np.sqrt(v / 100_000) + 1e-6
        assert np.isclose(sample.var(), v, rtol=0.25 if m < 1e-3 else 0.06)  # few counts: heavy tails
    np.testing.assert_allclose([mean[-1], variance[-1]], [1.0, 2.0])
    assert st.expected_cstat(0.0)[0] == 0.0


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="counts are negative"):
        st.cstat([-1.0], [1.0])
    with pytest.raises(InputError, match="model is negative"):
        st.cstat([1.0], [np.nan])
    with pytest.raises(UnknownNameError, match="cstat"):
        st.kind_of("cstatt")
    with pytest.raises(UnknownNameError, match="gehrels"):
        st.chi2_variance(1.0, 0.0, 1.0, "gehrel")
