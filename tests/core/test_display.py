"""Values with many numbers say what they are in a few lines."""

import numpy as np
import pytest


def comparison():
    from crosscal.concordance import published_like

    return published_like("XCAL_hard", seed=1).data


def light_curves():
    from crosscal.lightcurves import simulate

    return simulate(seed=1, points=200)[0]


def frame():
    from crosscal.fluxcal.demo import simulate

    return simulate(seed=3).frame


def response():
    from crosscal.xray import example_telescope

    return example_telescope("a")


def correction():
    from crosscal.core.correction import Correction

    return Correction(np.linspace(1, 2, 500), np.ones(500), np.eye(500), "energy", "keV")


@pytest.mark.parametrize("make", [comparison, light_curves, frame, response, correction], ids=lambda f: f.__name__)
def test_data_do_not_fill_the_screen(make):
    value = make()
    text = repr(value)
    assert text.startswith(f"{type(value).__name__}(")
    assert len(text) < 600
    assert "\n" not in text


def test_shapes_numbers_of_items_and_short_values_are_shown():
    assert "coordinate=array(500,)" in repr(correction())
    assert "axis='energy'" in repr(correction())
    assert "columns=<tuple of 94>" in repr(comparison())
    assert "continuum=<LightCurve>" in repr(light_curves())


def test_long_texts_are_cut():
    from dataclasses import replace

    text = repr(replace(correction(), target="x" * 500))
    assert "x" * 500 not in text
    assert "xxx..." in text
