"""Are the posteriors right? Simulation-based calibration, a Geweke test, coverage, and robustness to outliers."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.concordance import cell_sampler
from crosscal.concordance.synthetic import simulate
from crosscal.concordance.types import Comparison
from crosscal.inference.diagnostics import simulation_based_calibration
from crosscal.inference.posterior import Posterior

from .stating import make_model, run

pytestmark = pytest.mark.slow

N, M, TAU, DF, BETA = 3, 8, 0.1, 3.0, 0.01


def sbc(noise, quoted=None, route="gibbs", replicates=300):
    """Ranks of B, sigma and G; flat G is exact because the model is equivariant under shifts of each G."""

    def draw(rng):
        case = simulate(
            N, M, tau=TAU, df=DF, beta=BETA, noise=noise, quoted=quoted, filled=0.85, seed=int(rng.integers(2**31))
        )
        return {"B": case.b, "sigma": np.sqrt(case.s), "G": case.g}, case.data

    def fit(data, seed):
        kind = "unknown" if quoted is None else "quoted+excess"
        model = make_model(data, tau=TAU, noise=noise, variance=kind, df=DF, beta=BETA)
        wanted = np.arange(data.n_columns) if route == "gibbs" else None
        found = run(model, "gibbs", seed=seed, draws=3000, warmup=300, chains=1, wanted=wanted)
        arrays = {"B": found.b, "sigma": np.sqrt(found.s)}
        if wanted is not None:
            arrays["G"] = found.g
        return Posterior.from_draws(arrays, method="gibbs")

    return simulation_based_calibration(draw, fit, replicates=replicates, seed=12)


@pytest.mark.parametrize(
    ("noise", "quoted", "route"),
    [
        ("log-normal", None, "gibbs"),
        ("log-normal", None, "compressed"),
        ("log-normal", 0.05, "gibbs"),
        ("log-t", None, "gibbs"),
        ("log-t", 0.05, "gibbs"),
    ],
)
def test_simulation_based_calibration(noise, quoted, route):
    found = sbc(noise, quoted, route)
    p = found.p_values()
    print(f"SBC {noise}, quoted {quoted}, {route}: {len(p)} ranks, smallest p {p.min():.3f}, median {np.median(p):.2f}")
    assert found.failures == 0
    # Bonferroni at 1 % over all ranks.
    assert p.min() > 0.01 / len(p)


@pytest.mark.parametrize(
    ("nu", "kind"), [(0.0, cell_sampler.UNKNOWN), (4.0, cell_sampler.UNKNOWN), (0.0, cell_sampler.EXCESS)]
)
def test_geweke(nu, kind):
    """Sweeps alternating with new data must leave the prior unchanged (Geweke 2004, JASA 99, 799)."""
    rng = np.random.default_rng(4)
    n, m, tau, df, beta = 2, 3, 0.5, 3.0, 0.6
    case = simulate(n, m, sigma=0.5, quoted=0.3 if kind == cell_sampler.EXCESS else None, seed=1)
    data = case.data
    order, start = data.by_channel
    v = data.variance if data.variance is not None else np.zeros(data.n_cells)
    y, s = data.log_rate.copy(), np.full(n, 0.3)
    xi = np.full(data.n_cells, nu if nu > 0 else 1.0)
    precision = np.eye(n) / tau**2
    total = 60000
    kept = np.empty((total, 2 * n))
    areas, keep_s, keep_rates, keep_g = np.empty((1, n)), np.empty((1, n)), np.empty((1, 1)), np.empty((1, m))
    empty, gap, group, rates = np.empty(0), np.zeros(m), np.zeros(m, np.int64), np.ones(1)
    for k in range(total):
        sums = np.zeros((3, m))
        assert cell_sampler.gibbs_chain(
            data.indptr, data.row, data.column, order, start, y, v, empty, gap, group, kind, nu, 0.5, 1.0,
            np.full(n, df), np.full(n, beta), np.zeros(n), precision, np.zeros(n), np.zeros(n), np.full(n, tau), 0.0,
            0.0, True, s, xi, rates, np.ones(2), 1, True, int(rng.integers(2**31)), areas, keep_s, keep_rates,
            np.arange(m), keep_g, *sums,
        )  # fmt: skip
        scale = (v + s[data.row] if kind == cell_sampler.EXCESS else s[data.row]) / xi
        mean = areas[0][data.row] + keep_g[0][data.column]
        y = mean - scale / 2 + rng.standard_normal(data.n_cells) * np.sqrt(scale)
        kept[k] = *areas[0], *np.log(s)
    from arviz_stats.base import array_stats
    from scipy.stats import invgamma, norm

    z = []
    for column, prior in [(0, norm(0, tau)), (1, norm(0, tau)), (2, None), (3, None)]:
        x = kept[:, column]
        uniform = prior.cdf(x) if prior is not None else invgamma(df, scale=beta).cdf(np.exp(x))
        for statistic, expected, sd in (
            (uniform, 0.5, np.sqrt(1 / 12)),
            (np.abs(uniform - 0.5), 0.25, np.sqrt(1 / 48)),
        ):
            size = float(array_stats.ess(statistic[None], method="mean"))
            z.append((statistic.mean() - expected) / (sd / np.sqrt(size)))
    print(f"Geweke nu = {nu}, kind {kind}: largest |z| {np.max(np.abs(z)):.2f} of {len(z)}")
    # Eight normal deviates: above 3.5 with probability 0.4 %.
    assert np.max(np.abs(z)) < 3.5


def coverage(options, simulation, replicates, route="auto", draws=1500):
    hits = []
    for k in range(replicates):
        case = simulate(4, 25, tau=0.05, seed=1000 + k, **simulation)
        model = make_model(case.data, tau=0.05, **options)
        found = run(model, route, draws=draws, warmup=300, chains=2 if route != "map" else 1, seed=k)
        b = found.b.reshape(-1, 4)
        low, high = np.quantile(b, [0.025, 0.975], axis=0)
        hits.append((case.b > low) & (case.b < high))
        contrast = b - b.mean(axis=1, keepdims=True)
        low, high = np.quantile(contrast, [0.025, 0.975], axis=0)
        true = case.b - case.b.mean()
        hits.append((true > low) & (true < high))
    return float(np.mean(hits))


PRIOR = {"df": 3.0, "beta": 0.004}


@pytest.mark.parametrize(
    ("name", "options", "simulation", "replicates"),
    [
        ("unknown", {"variance": "unknown", **PRIOR}, PRIOR, 400),
        ("quoted", {"variance": "quoted"}, {"sigma": 1e-9, "quoted": 0.05}, 400),
        ("quoted+excess", {"variance": "quoted+excess", **PRIOR}, {**PRIOR, "quoted": 0.03}, 400),
        ("log-t", {"noise": "log-t", "variance": "unknown", **PRIOR}, {**PRIOR, "noise": "log-t"}, 300),
        (
            "log-t quoted+excess",
            {"noise": "log-t", "variance": "quoted+excess", **PRIOR},
            {**PRIOR, "noise": "log-t", "quoted": 0.03},
            200,
        ),
    ],
)
def test_coverage(name, options, simulation, replicates):
    share = coverage(options, simulation, replicates)
    print(f"coverage of 95 % intervals of B and contrasts, {name}: {share:.3f}")
    assert 0.93 < share < 0.97


def moving_data(rng, q, drift, b, sigma):
    """Three instruments that take turns on one varying source per campaign; the third drifts in time."""
    instrument, source, campaign, time, y = [], [], [], [], []
    for k in range(8):
        t = np.sort(10.0 * k + 3 * rng.random(18))
        g = rng.normal() + np.cumsum(rng.normal(0, np.sqrt(q * np.diff(t, prepend=t[0]))))
        for j, (when, level) in enumerate(zip(t, g, strict=True)):
            i = j % 3
            instrument.append(f"i{i}")
            source.append(f"{k}-{j}")
            campaign.append(f"c{k}")
            time.append(when)
            y.append(level + b[i] + drift[i] * when - sigma**2 / 2 + rng.normal(0, sigma))
    time = np.array(time)
    return Comparison.from_cells(
        instrument, source, log_rate=y, log_error=np.full(len(y), sigma), time=time, campaign=campaign
    ), time.mean()


@pytest.mark.parametrize(("drift_sd", "variance"), [(None, "quoted"), (0.002, "quoted"), (None, "unknown")])
def test_coverage_of_varying_sources_and_drift(drift_sd, variance):
    hits, rates, sigma, q = [], [], 0.02, 0.003
    for k in range(150):
        rng = np.random.default_rng(k)
        b = rng.normal(0, 0.05, 3)
        drift = rng.normal(0, drift_sd, 3) if drift_sd else np.zeros(3)
        data, middle = moving_data(rng, q, drift, b, sigma)
        model = make_model(data, tau=0.05, variance=variance, beta=4e-4, variability=True, drift=drift_sd)
        # The prior of B holds at the mean time of the data, to which drifts are referred.
        found = run(model, "gibbs", draws=1500, warmup=500, chains=1, seed=k)
        draws = found.b.reshape(-1, 3)
        true = b + drift * middle
        pairs = [(draws - draws.mean(axis=1, keepdims=True), true - true.mean())]
        if drift_sd:
            slope = found.drift.reshape(-1, 3)
            pairs.append((slope - slope.mean(axis=1, keepdims=True), drift - drift.mean()))
        rates.append([np.quantile(found.rates, 0.025) < q < np.quantile(found.rates, 0.975)])
        for values, truth in pairs:
            low, high = np.quantile(values, [0.025, 0.975], axis=0)
            hits.append((truth > low) & (truth < high))
    share, of_rate = float(np.mean(hits)), float(np.mean(rates))
    print(
        f"coverage with varying sources, drift {drift_sd}, {variance}: {share:.3f}; of the variance rate {of_rate:.3f}"
    )
    # 150 replicates: 1.8 % for the rate; the contrasts of one replicate are correlated.
    assert 0.92 < share < 0.98
    assert of_rate > 0.89


def test_coverage_poisson():
    share = coverage({"noise": "poisson"}, {"noise": "poisson", "sigma": 0.1, "mean_counts": 20}, 120, route="map")
    print(f"coverage of 95 % intervals of B and contrasts, Poisson: {share:.3f}")
    assert 0.93 < share < 0.97


def test_coverage_gamma_poisson():
    options = {"noise": "gamma-poisson", "df": 3.0, "beta": 0.03}
    simulation = {"noise": "gamma-poisson", "df": 3.0, "beta": 0.03, "mean_counts": 60}
    share = coverage(options, simulation, 60, draws=300)
    print(f"coverage of 95 % intervals of B and contrasts, gamma-Poisson: {share:.3f}")
    # 480 correlated intervals: binomial error 1 to 2 %.
    assert 0.91 < share < 0.985


@pytest.mark.parametrize("n", [2, 3, 10])
def test_log_t_resists_outliers(n):
    """5 % outliers of 0.3 in ln: rmse of contrasts at least 1.8 times smaller than with log-normal noise."""
    squares = np.zeros(2)
    for k in range(60):
        case = simulate(n, 100, tau=0.05, sigma=0.02, outliers=0.05, outlier_size=0.3, seed=k)
        true = case.b - case.b.mean()
        for which, noise in enumerate(("log-normal", "log-t")):
            model = make_model(case.data, tau=0.05, noise=noise, variance="unknown", beta=4e-4)
            b = run(model, "gibbs", draws=800, warmup=200, chains=1, seed=k).b.reshape(-1, n).mean(axis=0)
            squares[which] += np.mean((b - b.mean() - true) ** 2)
    ratio = float(np.sqrt(squares[0] / squares[1]))
    print(f"5 % outliers of 0.3, N = {n}: rmse of contrasts log-normal / log-t = {ratio:.2f}")
    assert ratio > 1.8


def test_wrong_fixed_scale_ruins_coverage():
    """A fixed sigma too small by 0.3 loses coverage; estimating it keeps it."""
    hits = {"fixed": [], "free": []}
    for k in range(150):
        case = simulate(3, 30, tau=0.05, sigma=0.05, noise="log-t", nu=4.0, seed=k)
        wrong = replace(case.data, variance=np.full(case.data.n_cells, (0.3 * 0.05) ** 2 / 4.0))
        for name, options in (("fixed", {"variance": "quoted"}), ("free", {"variance": "unknown", "beta": 1e-3})):
            model = make_model(wrong, tau=0.05, noise="log-t", **options)
            b = run(model, "gibbs", draws=800, warmup=200, chains=1, seed=k).b.reshape(-1, 3)
            contrast, true = b - b.mean(axis=1, keepdims=True), case.b - case.b.mean()
            low, high = np.quantile(contrast, [0.025, 0.975], axis=0)
            hits[name].append((true > low) & (true < high))
    shares = {name: float(np.mean(h)) for name, h in hits.items()}
    print(f"log-t coverage: sigma fixed at 0.3 of the truth {shares['fixed']:.2f}, estimated {shares['free']:.2f}")
    assert shares["fixed"] < 0.85
    assert 0.92 < shares["free"] < 0.98
