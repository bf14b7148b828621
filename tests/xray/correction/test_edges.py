"""Answers at the edge: limits that decide, sources beyond the library, priors and sources that disagree."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.xray.correction import edges
from crosscal.xray.correction.identifiability import Diagnostics, Modes, prior_dominated
from crosscal.xray.correction.infer import infer
from crosscal.xray.correction.pairs_io import as_table, read_pairs
from crosscal.xray.correction.simulate import simulate_pairs

pytestmark = pytest.mark.thorough


def result_of(emulator, pairs, **options):
    return infer(pairs, emulator, sampler="laplace", draws=400, seed=1, **options)


@pytest.fixture(scope="module")
def pairs(amplitude_only):
    return simulate_pairs(amplitude_only.only("kT"), {"A": 0.1}, np.geomspace(2, 12, 20), relative_error=0.01, seed=3)


def scaled(pairs, factor, picked=slice(None)):
    """Multiply temperatures of telescope 1."""
    values = pairs.values.copy()
    values[1, picked, 0] *= factor
    return replace(pairs, values=values)


def test_an_ordinary_answer_is_not_disturbed(pairs, amplitude_only):
    found = result_of(amplitude_only, pairs, tau=0.1)
    assert found.diagnostics.limits == {}
    assert found.diagnostics.edges == ()
    assert "should be multiplied by" in found.answer


@pytest.mark.parametrize("factor", [3.0, pytest.param(1 / 3.0, marks=pytest.mark.thorough)])
def test_temperatures_far_off_give_no_headline(pairs, amplitude_only, factor):
    found = result_of(amplitude_only, scaled(pairs, factor), tau=0.1, scatter=None)
    (name,) = found.diagnostics.limits
    assert name == "A"
    assert abs(found.diagnostics.limits["A"][0]) == pytest.approx(0.3)
    assert "no correction of the effective area of other can be given" in found.answer
    assert not found.diagnostics.identified
    assert not {c.name: c.passed for c in found.checks}["limits"]
    assert any("A is at its limit" in text and "widen A of the library" in text for text in found.warnings)
    assert any("sources disagree with the others" in text for text in found.warnings)


@pytest.mark.slow
def test_a_prior_that_the_data_contradict_is_told(pairs, amplitude_only):
    found = result_of(amplitude_only, pairs, tau=0.02)
    (text,) = found.diagnostics.edges
    assert text.startswith("Data and prior disagree on A:")
    assert "a wider prior would change the answer" in text


def test_a_posterior_wider_than_its_prior_is_not_called_prior_dominated(rng):
    prior = {"A": rng.normal(0, 0.05, 4000)}
    two = {"A": np.concatenate([rng.normal(-0.07, 0.01, 2000), rng.normal(0.07, 0.01, 2000)])}
    (text,) = edges.disagreements(two, prior).values()
    assert "1.4" in text
    assert "times as wide as its prior (sd 0.05" in text
    assert prior_dominated({"A": 0.05}, {"A": float(np.std(two["A"]))}) == {}
    assert prior_dominated({"A": 0.05}, {"A": 0.048}) == {"A": pytest.approx(0.96)}
    assert edges.disagreements({"A": prior["A"][::-1]}, prior) == {}


def test_a_conflict_is_not_called_an_answer_by_the_prior():
    """No direction is narrower than the prior, but the posterior is elsewhere: it is not the prior."""
    text = edges.no_answer(0, {}, ["A"])
    assert text.startswith("the posterior of A lies outside its prior or is wider, so that data and prior disagree")
    assert edges.no_answer(0, {}) == "the sources constrain no direction of phi(E), so that the result is the prior"
    assert edges.no_answer(2, {}, ["A"]) == ""
    none = Modes(np.array([0.5]), np.zeros((1, 3)))
    assert any("constrain no direction" in text for text in Diagnostics(none).warnings)
    assert not any("constrain no direction" in text for text in Diagnostics(none, conflicts=("A",)).warnings)


def test_sources_beyond_the_library_are_named(pairs, amplitude_only):
    # The library ends at 15 keV; an error of 40 keV makes 100 keV just possible.
    values, covariance = pairs.values.copy(), pairs.covariance.copy()
    values[:, 4, 0], covariance[:, 4, 0, 0] = 100.0, 40.0**2
    found = result_of(amplitude_only, replace(pairs, values=values, covariance=covariance), tau=0.1)
    text = next(t for t in found.warnings if "outside the library" in t)
    assert text.startswith("1 of 20 sources lie outside the library's 1 to 15 keV")
    assert "source 005 (100 keV)" in text


@pytest.mark.slow
@pytest.mark.parametrize(("n", "error", "told"), [(10_000, 0.05, True), (300, 0.05, False), (100, 0.3, True)])
def test_sources_that_are_more_exact_than_their_prior_are_told(n, error, told):
    """Direct integration: with 1e4 sources of 2 to 10 keV and 5 %, ln L of a wrong area (A 0.15 for 0.08) is 35 above
    the truth's if the prior is uniform in ln kT without limits, and 33 below it with the limits of the sample.
    """
    kT = np.geomspace(2.0, 10.0, n)
    found = edges.shifted(kT, error * kT)
    assert bool(found) == told
    if told:
        assert f"{n} sources with errors of {100 * error:.2g} %" in found[0]
        assert f"by about {100 * error**2:.2g} % are not included" in found[0]


def test_many_poor_pairs_carry_the_warning(amplitude_only):
    emulator = amplitude_only.only("kT")
    poor = simulate_pairs(emulator, {"A": 0.1}, np.geomspace(2, 12, 500), relative_error=0.1, seed=3)
    assert any("prior of their temperatures" in text for text in result_of(emulator, poor, tau=0.1).warnings)


def test_a_source_that_disagrees_is_named(pairs, amplitude_only):
    found = result_of(amplitude_only, scaled(pairs, 1.3, 7), tau=0.1, scatter=None)
    text = next(t for t in found.warnings if "disagree with the others" in t)
    assert text.startswith("1 of 20 sources")
    assert "source 008 (" in text


@pytest.mark.slow
def test_nothing_constrained_gives_no_headline(pairs, amplitude_only):
    wide = replace(pairs, covariance=pairs.covariance * 1e5)
    found = result_of(amplitude_only, wide, tau=0.05)
    assert "constrain no direction" in found.answer


def test_columns_of_each_source_that_the_library_cannot_use_are_told(pairs, amplitude_only, tmp_path):
    table = as_table(pairs)
    table["nH"], table["Redshift"], table["comment"] = 0.05, 0.1, "x"
    table.write(tmp_path / "p.ecsv", format="ascii.ecsv")
    read = read_pairs(tmp_path / "p.ecsv")
    assert set(read.constants) == {"nH", "Redshift"}
    (note,) = read.notes
    assert note.endswith("p.ecsv: unused columns: comment")
    warnings = result_of(amplitude_only, read, tau=0.1).warnings
    assert note in warnings
    assert any(w.startswith("nH, Redshift of each source are not used") for w in warnings)


def test_limits_of_infinite_ranges_do_not_count(rng):
    draws = {"a": rng.normal(size=100), "b": np.full(100, 0.999)}
    assert edges.pressed(draws, {"a": (-np.inf, np.inf), "b": (0.0, 1.0)}) == {"b": (1.0, 1.0)}
