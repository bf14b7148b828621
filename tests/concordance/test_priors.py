"""Priors of areas: by number, by name, from a table of uncertainties, from draws of areas."""

import numpy as np
import pytest

from crosscal.concordance.priors import AreaPrior, TauTable, covariance_from_draws, make_prior
from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError, UnknownNameError


def comparison(bands=("soft", "hard"), instruments=("pn", "MOS1")):
    rows = [(i, b) for b in bands for i in instruments]
    return Comparison.from_cells(
        [i for i, _ in rows], ["s"] * len(rows), band=[b for _, b in rows], log_rate=np.zeros(len(rows))
    )


TABLE = TauTable({"XMM pn": [(0.2, 1.0, 0.02), (1.0, 10.0, 0.04)], "XMM MOS1": [(0.2, 10.0, 0.06)]})


def test_by_number_and_name():
    data = comparison()
    assert np.allclose(make_prior(data, 0.03).tau, 0.03)
    prior = make_prior(data, {"pn": 0.02, "MOS1": 0.06, "MOS1 [hard]": 0.1}, mean={"pn": 0.01})
    assert np.allclose(prior.tau, [0.02, 0.06, 0.02, 0.1])
    assert np.allclose(prior.mean, [0.01, 0, 0.01, 0])
    with pytest.raises(UnknownNameError, match="'MOS1'"):
        make_prior(data, {"MOS": 0.1})
    with pytest.raises(InputError, match="no value for instrument 'MOS1 "):
        make_prior(data, {"pn": 0.1})


def test_tau_table_averages_over_the_band():
    table = TABLE.with_names({"epn": "XMM pn"}, {"soft": (0.5, 1.5), "hard": (2.0, 10.0)})
    assert table.tau("epn", "soft") == pytest.approx(0.03)
    assert table.tau("epn", "hard") == pytest.approx(0.04)
    assert table.tau("pn") == pytest.approx(0.03)  # words of the name are enough where they are unique
    assert np.allclose(make_prior(comparison(), table).tau, [0.03, 0.06, 0.04, 0.06])
    with pytest.raises(UnknownNameError, match="tau table"):
        table.tau("Chandra")
    with pytest.raises(UnknownNameError, match="energy band"):
        table.tau("pn", "medium")
    with pytest.raises(InputError, match="no entry for 'XMM pn' in 20-30 keV"):
        table.with_names({"pn": "XMM pn"}, {"gamma": (20.0, 30.0)}).tau("pn", "gamma")


def draws_of(rng, n, rho=0.8, sd=(0.02, 0.05)):
    covariance = np.outer(sd, sd) * (np.eye(2) * (1 - rho) + rho)
    return {name: 100 * np.exp(rng.multivariate_normal([0, 0], covariance, n)) for name in ("pn", "MOS1")}


def test_draws_give_the_covariance(rng):
    data = comparison()
    covariance, shrinkage = covariance_from_draws(data, draws_of(rng, 20000))
    assert np.allclose(np.sqrt(np.diag(covariance)), [0.02, 0.02, 0.05, 0.05], rtol=0.03)
    assert covariance[0, 2] == pytest.approx(0.8 * 0.02 * 0.05, rel=0.05)
    assert covariance[0, 1] == covariance[0, 3] == 0  # instruments are independent
    assert max(shrinkage.values()) < 0.01
    assert make_prior(data, covariance=covariance).tau == pytest.approx([0.02, 0.02, 0.05, 0.05], rel=0.03)
    with_floor, _ = covariance_from_draws(data, draws_of(rng, 2000), floor=0.1)
    assert np.all(np.sqrt(np.diag(with_floor)) > 0.1)


def test_few_draws_are_shrunk(rng):
    covariance, shrinkage = covariance_from_draws(comparison(), draws_of(rng, 5))
    assert 0.05 < shrinkage["pn"] <= 1
    raw, none = covariance_from_draws(comparison(), draws_of(rng, 5), shrink=False)
    assert none["pn"] == 0
    assert np.linalg.eigvalsh(covariance)[0] > 0
    assert raw.shape == (4, 4)


def test_prior_drops_a_channel():
    covariance = np.diag([1.0, 2.0, 3.0]) + 0.5
    prior = AreaPrior.build(np.zeros(3), np.ones(3), covariance)
    assert np.allclose(prior.drop(1).precision, np.linalg.inv(covariance[np.ix_([0, 2], [0, 2])]))
    flat = AreaPrior.build(np.zeros(3), [0.1, np.inf, 0.2])
    assert np.allclose(flat.drop(0).tau, [np.inf, 0.2])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([0.0], [-1.0]), "tau is negative"),
        (([0.0, 0.0], [1.0, 1.0], np.ones((3, 3))), r"covariance of shape \(3, 3\)"),
        (([0.0, 0.0], [1.0, 1.0], np.ones((2, 2)) - 2 * np.eye(2)), "not positive definite"),
    ],
)
def test_prior_refusals(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        AreaPrior.build(*arguments)


def test_draw_refusals(rng):
    data, good = comparison(), draws_of(rng, 10)
    with pytest.raises(InputError, match="no draws for this instrument"):
        covariance_from_draws(data, {"pn": good["pn"]})
    with pytest.raises(InputError, match=r"shape \(10, 1\)"):
        covariance_from_draws(data, good | {"pn": good["pn"][:, :1]})
    with pytest.raises(InputError, match="not positive"):
        covariance_from_draws(data, good | {"pn": -good["pn"]})
    with pytest.raises(InputError, match="do not vary"):
        covariance_from_draws(data, good | {"pn": np.ones((10, 2))})


def coverage_of_bands(n_draws, shrink, replicates, n_bands=12, n_sources=6):
    """Coverage of 90 % intervals of B where the prior covariance comes from few draws of areas.

    Bands share their sources' noise little, so that the prior matters: this is where raw covariances mislead.
    """
    from crosscal.concordance.algebra import closed_form

    rng = np.random.default_rng(42)
    x = np.arange(n_bands)
    truth = 0.05**2 * np.exp(-np.abs(x[:, None] - x) / 3)
    names = [f"b{k}" for k in x]
    hits = []
    for _ in range(replicates):
        draws = np.exp(rng.multivariate_normal(np.zeros(n_bands), truth, n_draws))
        b = rng.multivariate_normal(np.zeros(n_bands), truth)
        rows, y = [], []
        for k, name in enumerate(names):
            for j in range(n_sources):
                g = rng.normal()
                rows += [("a", f"s{j}", name), ("ref", f"s{j}", name)]
                y += [b[k] + g + rng.normal(0, 0.05), g + rng.normal(0, 0.001)]
        data = Comparison.from_cells(
            [r[0] for r in rows], [r[1] for r in rows], band=[r[2] for r in rows], log_rate=y,
            log_error=[0.05, 0.001] * (len(rows) // 2),
        )  # fmt: skip
        reference = rng.normal(1, 1e-3, (50, n_bands))
        covariance, _ = covariance_from_draws(data, {"a": draws, "ref": reference}, shrink=shrink)
        covariance += 1e-12 * np.eye(len(covariance))
        if not shrink:
            covariance += 1e-7 * np.eye(len(covariance))  # a raw covariance of few draws is singular
        found = closed_form(data, make_prior(data, covariance=covariance), data.variance)
        index = [i for i, (name, _) in enumerate(data.channels) if name == "a"]
        sd = np.sqrt(np.diag(found.covariance))[index]
        hits.append(np.abs(found.mean[index] + 0.5 * 0 - b) < 1.645 * sd)
    return float(np.mean(hits))


@pytest.mark.slow
def test_shrinkage_restores_coverage():
    shrunk, raw = coverage_of_bands(15, True, 200), coverage_of_bands(15, False, 200)
    print(f"coverage of 90 % intervals from 15 area draws over 12 bands: raw {raw:.2f}, shrunk {shrunk:.2f}")
    assert shrunk > 0.84
    assert raw < shrunk - 0.1
