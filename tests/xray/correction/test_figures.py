"""Figures draw without pyplot, with labels and legends."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from crosscal.core.correction import Correction
from crosscal.xray.correction.bias import emulated_bias
from crosscal.xray.correction.identifiability import Diagnostics, Modes
from crosscal.xray.correction.result import CalibrationResult
from crosscal.xray.correction.simulate import simulate_pairs
from crosscal.xray.figures import results as figures
from crosscal.xray.modifiers.spline import Spline


@pytest.fixture(scope="module")
def drawn(amplitude_only):
    rng = np.random.default_rng(0)
    theta = 0.1 + 0.02 * rng.normal(size=(200, 1))
    energy = np.geomspace(0.5, 8, 40)
    phi = amplitude_only.factor(energy, theta)
    pairs = simulate_pairs(amplitude_only, {"A": 0.1}, np.geomspace(2, 12, 9))
    response = SimpleNamespace(energy=np.geomspace(0.3, 9, 80), area=np.linspace(100, 400, 80))
    correction = Correction.from_draws(energy, phi, axis="energy", unit="keV", target="effective area of pn")
    return {
        "area": figures.area(correction, response=response, injected=phi[0], prior=phi, fitted=(0.7, 7.0)),
        "alone": figures.area(correction),
        "bias": figures.bias(emulated_bias(amplitude_only, theta, np.geomspace(1, 12, 9))),
        "pairs": figures.pairs(pairs, pairs),
        "correlation": figures.correlation(correction, fitted=(0.7, 7.0)),
        "modes": figures.modes(Modes(np.array([8.5, 1.6, 0.8]), 0.05 * rng.normal(size=(3, 40))), energy),
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["area", "alone", "bias", "correlation", "pairs", "modes"])
def test_figures_are_labelled(drawn, name, tmp_path):
    figure = drawn[name]
    assert isinstance(figure, Figure)
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert any(axes.get_xlabel() for axes in figure.axes[-2:])
    assert figure.legends or any(axes.get_legend() is not None for axes in figure.axes)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_the_correlation_is_that_of_the_draws():
    """ln phi = a f(E) + b g(E): the matrix, the shares and the patterns are known; where phi is held there is none."""
    rng = np.random.default_rng(3)
    energy = np.geomspace(0.5, 8, 30)
    f, g = np.where(energy < 6, 1.0, 0.0), np.where(energy < 2, 1.0, 0.0)
    a, b = rng.normal(size=(2, 4000))
    log = 0.03 * a[:, None] * f + 0.01 * b[:, None] * (g - 0.5 * f)
    correction = Correction.from_draws(energy, np.exp(log), axis="energy", unit="keV", target="effective area of pn")
    left, right, bar = figures.correlation(correction).axes
    matrix = np.asarray(left.collections[0].get_array()).reshape(30, 30)
    free = energy < 6
    assert np.all(np.isnan(matrix[~free]))
    np.testing.assert_allclose(matrix[np.ix_(free, free)], np.corrcoef(log[:, free].T), atol=1e-8)
    assert bar.get_ylabel() == "Correlation (grey: held)"
    lines = [line for line in right.lines if line.get_label()[0] in "1234"]
    assert len(lines) == 2
    assert len({line.get_linestyle() for line in lines}) == 2
    variance = np.linalg.eigvalsh(np.cov(log, rowvar=False))[::-1]
    assert lines[0].get_label() == f"1: {100 * variance[0] / variance.sum():.0f} %"
    pattern = np.asarray(lines[0].get_ydata())
    assert np.sum((pattern / 100) ** 2) == pytest.approx(variance[0])
    np.testing.assert_allclose(pattern[~free], 0, atol=1e-9)


def finished(factor, theta, energy, prior=None, band=None):
    """A result with given draws of theta, and nothing else."""
    diagnostics = Diagnostics(Modes(np.array([5.0]), np.zeros((1, energy.size))))
    draws = SimpleNamespace(draws=lambda name: theta[:, int(name[1:])], tree={"posterior": {}})
    model = SimpleNamespace(band=band, pairs=None, source_names=(), integrated=True)
    names = tuple(f"c{k}" for k in range(theta.shape[1]))
    prior = None if prior is None else factor(energy, prior)
    return CalibrationResult(draws, names, factor, energy, ("pn", "acis"), diagnostics, model, prior_factor=prior)


@pytest.mark.parametrize("with_prior", [True, False])
def test_the_headline_names_an_energy_at_which_phi_can_vary(with_prior):
    """A spline held at its last knot is 1 there by construction; its correction is at low energies."""
    spline, rng = Spline(knots=4, low=0.7, high=6.9), np.random.default_rng(2)
    theta = np.column_stack([-0.14 + 0.02 * rng.normal(size=500), 0.01 * rng.normal(size=(500, 2)), np.full(500, 1e-6)])
    prior = np.column_stack([0.1 * rng.normal(size=(500, 3)), np.full(500, 1e-6)])
    result = finished(spline.factor, theta, np.geomspace(0.3, 10, 160), prior if with_prior else None)
    found = re.search(r"multiplied by (\S+) \(68 %: .*\) at (\S+) keV", result.answer)
    assert float(found.group(1)) < 0.9
    assert float(found.group(2)) < 1.0
    narrow = result.headline((2.0, 3.0))
    assert 2.0 <= float(re.search(r"at (\S+) keV", narrow).group(1)) <= 3.0


def test_among_equal_significance_the_largest_correction_is_named():
    """One free coefficient: ln phi at every energy is it times a number, so that all are equally significant."""
    spline, rng = Spline(knots=4, low=0.7, high=6.9), np.random.default_rng(2)
    theta = np.column_stack([-0.14 + 0.01 * rng.normal(size=500), np.zeros((500, 3))])
    prior = np.column_stack([0.1 * rng.normal(size=500), np.zeros((500, 3))])
    result = finished(spline.factor, theta, np.geomspace(0.3, 10, 160), prior)
    assert float(re.search(r"at (\S+) keV", result.answer).group(1)) <= 0.7
    assert float(re.search(r"multiplied by (\S+) ", result.answer).group(1)) == pytest.approx(0.87, abs=0.02)


def test_many_coefficients_are_drawn_as_the_correlation_of_phi():
    rng, energy = np.random.default_rng(2), np.geomspace(0.7, 7, 40)
    for knots, expected in ((10, "correlation"), (4, "corner")):
        spline = Spline(knots=knots, low=0.7, high=7.0)
        result = finished(spline.factor, 0.05 * rng.normal(size=(200, knots)), energy, band=(0.7, 7.0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(figures, "spectra", lambda result: None)
            drawn = figures.result_figures(result)
        assert expected in drawn
        assert ({"corner", "correlation"} - {expected}).isdisjoint(drawn)


def test_validation_histograms(emulator):
    figure = figures.emulator(emulator.validate(64))
    assert len(figure.axes) == len(emulator.validate(16).outputs)
    assert "99 %" in figure.axes[0].get_title(loc="left")


def test_every_figure_has_a_caption():
    assert set(figures.CAPTIONS) >= {
        "area",
        "bias",
        "pairs",
        "corner",
        "correlation",
        "modes",
        "emulator",
        "library",
        "spectra",
        "spectrum",
    }
