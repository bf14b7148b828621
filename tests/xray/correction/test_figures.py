"""Figures draw without pyplot, with labels and legends."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from crosscal.core.correction import Correction
from crosscal.xray.correction.bias import emulated_bias
from crosscal.xray.correction.identifiability import Modes
from crosscal.xray.correction.simulate import simulate_pairs
from crosscal.xray.figures import results as figures


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
        "modes": figures.modes(Modes(np.array([8.5, 1.6, 0.8]), 0.05 * rng.normal(size=(3, 40))), energy),
    }


@pytest.mark.parametrize("name", ["area", "alone", "bias", "pairs", "modes"])
def test_figures_are_labelled(drawn, name, tmp_path):
    figure = drawn[name]
    assert isinstance(figure, Figure)
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert figure.axes[-1].get_xlabel()
    assert figure.legends or any(axes.get_legend() is not None for axes in figure.axes)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


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
        "modes",
        "emulator",
        "library",
        "spectra",
        "spectrum",
    }
