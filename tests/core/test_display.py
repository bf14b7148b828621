"""Values with many numbers say what they are in a few lines."""

import re
from typing import ClassVar

import numpy as np
import pytest

from crosscal.core.check import Check
from crosscal.core.display import Words, answer_html
from crosscal.core.errors import FitError
from crosscal.core.sketch import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Sketch
from crosscal.core.tables import ResultTable


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
    assert "continuum=<LightCurve of 600>" in repr(light_curves())


def test_long_texts_are_cut():
    from dataclasses import replace

    text = repr(replace(correction(), target="x" * 500))
    assert "x" * 500 not in text
    assert "xxx..." in text


def model():
    from crosscal.xray import Model

    return Model("TBabs*powerlaw", nH=0.1)


@pytest.mark.parametrize(
    "make", [comparison, light_curves, frame, response, correction, model], ids=lambda f: f.__name__
)
def test_notebooks_show_fields_and_a_drawing(make):
    value = make()
    html = value._repr_html_()
    assert f"<b>{type(value).__name__}</b>" in html
    assert html.count("<tr>") > 2
    assert len(html) < 60_000
    assert ("<svg" in html) == (make is not comparison)
    assert not re.search(r"\bnan\b", html)


def test_a_drawing_fills_its_frame_and_names_its_axes():
    svg = Sketch(
        np.array([1.0, np.nan, 10.0, 100.0, -1.0]), np.array([1.0, 2.0, 3.0, 10.0, 5.0]), "E (keV)", "<A>", log=True
    ).svg()
    points = re.search('points="([^"]+)"', svg)[1].split()
    assert points[0] == f"{LEFT:.1f},{HEIGHT - BOTTOM:.1f}"
    assert points[-1] == f"{WIDTH - 10:.1f},{TOP:.1f}"
    assert len(points) == 3
    assert "E (keV)" in svg
    assert "&lt;A&gt;" in svg
    assert Sketch(np.array([1.0]), np.array([1.0]), "x", "y").svg() == ""
    assert ">\u22123<" in Sketch(np.array([-3.0, 2.0]), np.ones(2), "x", "y", points=True).svg()


def test_text_of_several_lines_reads_as_it_is():
    words = Words("a < b\nsecond")
    assert words == "a < b\nsecond"
    assert repr(words) == "a < b\nsecond"
    assert "a &lt; b\nsecond" in words._repr_html_()


class Answered:
    """A result as `answer_html` needs it."""

    answer = "The area is 5 % off."
    checks = (Check("convergence", False, "R-hat 1.2"), Check("fit", True))
    warnings = ("few < 10 sources.",)
    captions: ClassVar = {"one": "What it shows."}

    def summary(self):
        return ResultTable({f"c{k}": np.arange(30.0) for k in range(12)})

    def figures(self):
        from crosscal.plot import figure

        fig = figure(3, 2)
        fig.subplots().plot([1, 2])
        return {"one": fig}


def test_a_result_shows_answer_checks_table_and_one_figure():
    html = answer_html(Answered())
    assert "<b>The area is 5\u00a0% off.</b>" in html
    assert "FAILED: convergence (R-hat 1.2)" in html
    assert "passed: fit<" in html
    assert "few\u00a0&lt;\u00a010 sources" in html
    assert "8 of 30 rows and 8 of 12 columns" in html
    assert 'alt="What it shows." src="data:image/png;base64,' in html


def test_what_has_no_answer_or_figure_shows_what_it_has():
    class None_(Answered):
        figures = dict

    assert "<img" not in answer_html(None_())

    class Unanswered:
        @property
        def answer(self):
            raise FitError("no answer.")

        def __repr__(self):
            return "<Unanswered>"

    assert "&lt;Unanswered&gt;" in answer_html(Unanswered())


def test_notebooks_tell_fields_in_words():
    from crosscal import xray

    html = xray.example_telescope("b")._repr_html_()
    assert "energy lo" in html
    assert re.search(r"\d+ numbers, 0\.\d+ to \d+", html)
    assert "array(" not in html
    assert "mapping" not in html
    assert "()" not in html
