"""Modes against known answers; descriptions and priors."""

import numpy as np
import numpyro.distributions as dist
import pytest

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.xray.correction.identifiability import (
    Diagnostics,
    Modes,
    find_aliases,
    modes_of_draws,
    modes_of_fisher,
    prior_dominated,
)
from crosscal.xray.correction.priors import amplitude, priors_of, tau
from crosscal.xray.modifiers.describe import build_modifier, describe_modifier
from crosscal.xray.modifiers.examples import example
from crosscal.xray.modifiers.registry import MODIFIERS


def test_modes_of_a_diagonal_problem():
    found = modes_of_fisher(np.diag([100.0, 1.0, 0.0]), np.diag([0.04, 0.01, 0.09]))
    np.testing.assert_allclose(found.signal_to_noise, [2.0, 0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.shapes[0], [0.2, 0, 0], atol=1e-12)
    assert modes_of_fisher(np.diag([400.0, 1.0, 0.0]), np.diag([0.04, 0.01, 0.09])).n_constrained == 1
    with pytest.raises(InputError, match="two"):
        modes_of_fisher(np.eye(2), np.eye(3))


def test_modes_of_draws_find_what_was_measured(rng):
    shapes = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0]])
    prior = rng.normal(size=(20_000, 2)) * [0.1, 0.05] @ shapes
    posterior = rng.normal(size=(20_000, 2)) * [0.01, 0.05] @ shapes
    found = modes_of_draws(prior, posterior, 2)
    # Sampling error of a variance of 2e4 draws is 1 %; the second direction was not measured.
    assert found.signal_to_noise[0] == pytest.approx(np.sqrt(99), rel=0.05)
    assert found.signal_to_noise[1] < 0.3
    with pytest.raises(InputError, match="each"):
        modes_of_draws(prior, posterior[:, :2], 2)


def test_diagnostics_say_what_is_wrong():
    modes = Modes(np.array([0.5]), np.ones((1, 3)))
    bad = Diagnostics(modes, prior_dominated={"A": 0.97}, p_value=1e-4, messages=("Chains are short.",))
    text = str(bad)
    for part in ("constrain no direction", "A (0.97)", "do not agree", "Chains are short"):
        assert part in text
    good = Diagnostics(Modes(np.array([5.0]), np.ones((1, 3))), p_value=0.4)
    assert good.identified
    assert good.warnings == ()
    assert prior_dominated({"a": 1.0, "b": 1.0}, {"a": 0.9, "b": 0.1}) == {"a": 0.9}


def test_aliases_of_a_double_well():
    import jax.numpy as jnp

    def chi2(x):
        return 100 * (x[0] ** 2 - 1) ** 2 + jnp.where(x[0] > 0, 0.0, 2.0)

    best, value, aliases = find_aliases(chi2, {"x": (-2.0, 2.0)}, lambda x: np.array([x[0], -x[0]]))
    assert best["x"] == pytest.approx(1, abs=1e-3)
    assert value == pytest.approx(0, abs=1e-4)
    assert len(aliases) == 1
    assert aliases[0].theta["x"] == pytest.approx(-1, abs=1e-3)
    assert aliases[0].delta_chi2 == pytest.approx(2, abs=1e-3)
    assert "delta chi2 2.0" in str(aliases[0])
    with pytest.raises(InputError, match="nowhere finite"):
        find_aliases(lambda x: jnp.nan * x[0], {"x": (-2.0, 2.0)}, lambda x: x)


@pytest.mark.parametrize("name", [n for n in MODIFIERS if n != "function"])
def test_modifiers_survive_description(name):
    import json

    modifier = example(name)
    facts = json.loads(json.dumps(describe_modifier(modifier)))
    again = build_modifier(facts)
    energy = np.geomspace(0.5, 8, 12)
    theta = np.asarray(modifier.defaults)
    assert again.names == modifier.names
    if modifier.acts_on == "area":
        np.testing.assert_allclose(again.factor(energy, theta), modifier.factor(energy, theta), rtol=1e-12)


def test_descriptions_that_cannot_be():
    assert describe_modifier(None) is None
    assert build_modifier(None) is None
    assert describe_modifier(example("function")) is None
    with pytest.raises(UnknownNameError, match="gaussian"):
        build_modifier({"name": "gausian", "settings": {}})
    with pytest.raises(DataFileError, match="damaged"):
        build_modifier({"name": "gaussian", "settings": {"width": 3}})


def test_prior_widths():
    assert tau("acis", [0.2, 1.3, 6.0, 50.0]).tolist() == pytest.approx([0.03, 0.026, 0.05, 0.05])
    assert tau("nustar", 1.0) == 0.04
    assert amplitude(0.07, 1, 2) == 0.07
    assert amplitude("pn", 0.5, 5.0) == pytest.approx(0.02)
    with pytest.raises(UnknownNameError, match="acis"):
        tau("aciss", 1.0)
    with pytest.raises(InputError, match="> 0"):
        amplitude(-1.0, 1, 2)


@pytest.mark.thorough
def test_priors_by_kind_of_parameter():
    gaussian = MODIFIERS.get("gaussian")()
    domain = {"A": (-0.2, 0.2), "mu": (0.7, 7.0), "sigma": (0.3, 2.0)}
    found = priors_of(gaussian, ("A", "mu", "sigma"), domain, sd=0.03, given={"sigma": dist.Normal(1, 0.1)})
    assert isinstance(found["mu"], dist.Uniform)
    assert isinstance(found["sigma"], dist.Normal)
    assert float(np.std(found["A"].sample(__import__("jax").random.PRNGKey(0), (4000,)))) == pytest.approx(
        0.03, rel=0.06
    )
    grey = priors_of(MODIFIERS.get("grey")(), ("scale",), {"scale": (0.0, 10.0)}, sd=0.05)["scale"]
    assert float(grey.log_prob(1.0)) > float(grey.log_prob(1.1))
    with pytest.raises(UnknownNameError, match="mu"):
        priors_of(gaussian, ("A", "mu"), domain, sd=0.03, given={"mmu": None})
    with pytest.raises(InputError, match="a prior for 'q'"):
        priors_of(None, ("q",), {"q": (-np.inf, np.inf)}, sd=0.1)
