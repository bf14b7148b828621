"""Counts: the exact multinomial, its unbiasedness at three counts, and the gamma-Poisson scatter."""

import numpy as np
import pytest
from scipy.special import gammaln

from crosscal.concordance import fit
from crosscal.concordance.densities import full_problem, multinomial_problem
from crosscal.concordance.synthetic import simulate
from crosscal.concordance.types import Comparison

from .stating import make_model, run


def counted(counts, exposure=None):
    n_sources, n = np.shape(counts)
    j, i = np.indices((n_sources, n)).reshape(2, -1)
    return Comparison.from_cells(
        [f"i{k}" for k in i], [f"s{k}" for k in j], counts=np.ravel(counts),
        exposure=None if exposure is None else np.ravel(exposure),
    )  # fmt: skip


@pytest.mark.thorough
def test_multinomial_is_the_poisson_with_the_flux_integrated_out():
    from scipy.integrate import quad

    counts, exposure = np.array([[3, 5, 1]]), np.array([[1.0, 2.0, 0.5]])
    model = make_model(counted(counts, exposure), noise="poisson")
    density = multinomial_problem(model).log_likelihood

    def integral(b):
        rate = exposure[0] * np.exp(b)

        def integrand(g):
            mean = rate * np.exp(g)
            return np.exp(np.sum(counts[0] * np.log(mean) - mean - gammaln(counts[0] + 1)))

        return np.log(quad(integrand, -12, 8, limit=300)[0])

    points = [np.array(b) for b in ([0.0, 0.0, 0.0], [0.3, -0.2, 0.1], [-0.5, 0.4, 1.0])]
    exact, found = [integral(b) for b in points], [float(density({"B": b})) for b in points]
    assert np.allclose(np.diff(found), np.diff(exact), atol=1e-7)


@pytest.mark.thorough
def test_full_density_at_many_counts_is_gaussian():
    case = simulate(2, 10, noise="poisson", sigma=0.1, mean_counts=1e6, seed=1)
    model = make_model(case.data, noise="poisson")
    problem = full_problem(model)
    b, g = case.b, case.g
    at = {"B": b, "G_": g + b.mean()}
    away = {"B": b + np.array([1e-3, 0]), "G_": g + b.mean() + 5e-4}
    mean = case.data.exposure * np.exp(b[case.data.row] + g[case.data.column])
    shifted = mean * np.exp(np.where(case.data.row == 0, 1e-3, 0))
    exact = np.sum(case.data.counts * np.log(shifted / mean) - shifted + mean)
    assert float(problem.log_likelihood(away) - problem.log_likelihood(at)) == pytest.approx(exact, rel=1e-5)


def test_sources_without_counts_are_dropped():
    model = make_model(counted([[0, 0], [3, 4]]), noise="poisson")
    assert model.data.n_columns == 1


@pytest.mark.slow
def test_poisson_fit_reports_fluxes():
    case = simulate(3, 200, noise="poisson", sigma=0.1, mean_counts=50, seed=3)
    result = fit(case.data, noise="poisson", tau=0.05, draws=500, warmup=300, leave_one_out=False)
    assert result.posterior_draws.converged
    contrast = result.posterior_draws.draws("B") - result.posterior_draws.draws("B").mean(axis=1, keepdims=True)
    true = case.b - case.b.mean()
    assert np.all(np.abs(contrast.mean(axis=0) - true) < 4 * contrast.std(axis=0))
    g = case.g[[int(name.split()[1]) - 1 for name, _ in result.data.columns]]
    assert np.mean(np.abs(result.flux_mean - g) < 2 * result.flux_sd) > 0.85
    assert "variances" not in result.figures()


def three_count_bias(n_sources, replicates, mean_counts=3.0, ratio=0.1):
    """Mean log area ratio minus the truth, multinomial against log-normal, at three counts a cell."""
    rng = np.random.default_rng(7)
    exact, normal = [], []
    for _ in range(replicates):
        mean = mean_counts * np.exp([[ratio / 2, -ratio / 2]] * np.ones((n_sources, 1)))
        counts = rng.poisson(mean)
        data = counted(counts)
        model = make_model(data, tau=0.5, noise="poisson")
        total = counts.sum(axis=0)
        draws = run(model, "map", draws=500, chains=1)
        exact.append(np.diff(draws.b[0], axis=1).mean() + ratio)
        assert abs(exact[-1] + 0 - (np.log(total[1] / total[0]) + ratio)) < 0.05
        seen = np.all(counts > 0, axis=1)
        # The log-normal reading: ln n with variance 1 / n, cells without counts left out.
        y = np.log(counts[seen])
        s = 1 / counts[seen]
        both = Comparison.from_matrix(y, variance=s)
        from crosscal.concordance.algebra import closed_form
        from crosscal.concordance.priors import make_prior

        normal.append(np.diff(closed_form(both, make_prior(both, 0.5), both.variance).mean)[0] + ratio)
    return np.array(exact), np.array(normal)


@pytest.mark.slow
def test_three_counts_without_bias():
    exact, normal = three_count_bias(4000, 60, ratio=0.4)
    error = exact.std() / np.sqrt(len(exact))
    print(f"bias of ln ratio at 3 counts: multinomial {100 * exact.mean():+.2f} +- {100 * error:.2f} %, "
          f"log-normal {100 * normal.mean():+.2f} %")  # fmt: skip
    assert abs(exact.mean()) < 0.005
    assert abs(normal.mean()) > 4 * abs(exact.mean())


@pytest.mark.slow
def test_gamma_poisson_recovers_the_scatter():
    case = simulate(4, 80, noise="gamma-poisson", sigma=0.2, mean_counts=300, tau=0.05, seed=5)
    result = fit(
        case.data, noise="gamma-poisson", tau=0.05, df=3.0, beta=0.1, draws=500, warmup=400, leave_one_out=False
    )
    sigma = result.posterior_draws.draws("sigma")
    assert np.all(np.abs(sigma.mean(axis=0) - 0.2) < 3 * sigma.std(axis=0))
    contrast = result.posterior_draws.draws("B") - result.posterior_draws.draws("B").mean(axis=1, keepdims=True)
    assert np.all(np.abs(contrast.mean(axis=0) - (case.b - case.b.mean())) < 4 * contrast.std(axis=0))
    assert result.tests.predictive.scatter_p.min() > 0.01
