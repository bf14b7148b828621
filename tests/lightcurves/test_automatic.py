"""Choices that the data make, and signs that the model does not describe them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma, norm

from crosscal.core.errors import FitError, InputError
from crosscal.lightcurves import automatic
from crosscal.lightcurves.automatic import better_kernel, choose, mixture_density, predictive_scores
from crosscal.lightcurves.density import Density
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.misfit import heavy_tails, season_trends, tail_sentences
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.sampling import mode_of
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.types import LightCurves

AUTO = Settings(systematic_error="auto", errors="auto")


def source(seed=3, points=50, **changes):
    return simulate(seed=seed, codes=("A", "B"), points=points, **changes)[0]


def changed(curves, change):
    """Fluxes and errors of B as ``change(curve, places of B)`` makes them."""
    curve = curves.continuum
    flux, error = change(curve, curve.of_code("B"))
    return LightCurves(replace(curve, flux=flux, error=error))


def with_outliers(curve, mine):
    flux = curve.flux.copy()
    flux[mine[::10]] += 8 * curve.error[mine[::10]] * np.where(np.arange(len(mine[::10])) % 2, 1, -1)
    return flux, curve.error


def with_small_errors(curve, mine):
    error = curve.error.copy()
    error[mine] /= 4
    return curve.flux, error


def test_density_of_a_scale_mixture_is_the_integral():
    value, precision = mixture_density(np.array([0.3, 4.0]), np.array([0.2, 0.2]), np.array([0.5, 0.5]), 4.0)
    for k, residual in enumerate((0.3, 4.0)):

        def term(w, power, residual=residual):
            return w**power * gamma.pdf(w, 2.0, scale=0.5) * norm.pdf(residual, scale=np.sqrt(0.2 + 0.5 / w))

        whole = quad(term, 0, 40, args=(0,), limit=200)[0]
        # Sixty nodes in ln w.
        assert value[k] == pytest.approx(np.log(whole), abs=2e-3)
        assert precision[k] == pytest.approx(quad(term, 0, 40, args=(1,), limit=200)[0] / whole, rel=5e-3)
    exact, one = mixture_density(np.array([0.3]), np.array([0.2]), np.array([0.5]), np.inf)
    assert exact[0] == pytest.approx(norm.logpdf(0.3, scale=np.sqrt(0.7)))
    assert one[0] == 1.0


def test_honest_errors_are_kept():
    found = choose(source(), AUTO)
    assert not found.settings.automatic
    assert found.settings.errors == "gaussian"
    assert found.settings.systematic_error is False
    (sentence,) = found.sentences
    assert "was kept" in sentence
    settings = Settings(kernel="matern32")
    assert choose(source(), settings).settings is settings


def test_errors_that_are_too_small_get_a_systematic_error(monkeypatch):
    """By prediction, and by the likelihood where prediction does not tell."""
    curves, settings = changed(source(points=80), with_small_errors), replace(AUTO, errors="gaussian")
    for words in ("left-out points rises by", "by a factor of B "):
        found = choose(curves, settings)
        assert found.settings.systematic_error is True
        (sentence,) = found.sentences
        assert sentence.startswith("systematic_error = true was chosen: ")
        assert words in sentence
        monkeypatch.setattr(automatic, "CLEAR", 1e9)


def test_outliers_get_heavy_tails():
    curves = changed(source(points=80), with_outliers)
    found = choose(curves, replace(AUTO, systematic_error=False))
    assert found.settings.errors == "student-t"
    assert "errors = 'student-t' was chosen" in found.sentences[0]
    student, normal = (
        predictive_scores(Model(curves, Settings(errors=kind)))[0].sum() for kind in ("student-t", "gaussian")
    )
    assert student > normal + automatic.CLEAR


@pytest.mark.thorough
def test_the_kernel_is_chosen_by_evidence(monkeypatch):
    monkeypatch.setattr(automatic, "CANDIDATES", ("drw", "matern32"))
    smooth = source(kernel="matern32", error=0.003, tau=60.0, points=60)
    found = choose(smooth, Settings(kernel="auto"))
    assert found.settings.kernel == "matern32"
    assert found.sentences[0].startswith("kernel = 'matern32' was chosen by log evidence; the others: drw -")
    model = Model(smooth, Settings())
    density = Density(model)
    x = model.full(density.constrain(mode_of(density, 0, 0).vector))
    (told,) = better_kernel(model, x)
    assert "varies more smoothly than a damped random walk" in told
    assert better_kernel(Model(smooth, Settings(kernel="matern32")), x) == []
    rough = Model(source(), Settings())
    density = Density(rough)
    assert better_kernel(rough, rough.full(density.constrain(mode_of(density, 0, 0).vector))) == []

    def fail(*_):
        raise FitError("No start.")

    monkeypatch.setattr(Density, "highest", fail)
    assert better_kernel(model, x) == []


def test_a_choice_is_in_the_answer():
    curves = changed(source(points=80), with_small_errors)
    found = intercalibrate(curves, systematic_error="auto", sampler="laplace", draws=100)
    assert "systematic_error = true was chosen" in found.answer
    assert found.choices[0] in found.provenance["config"]["choices"]
    with pytest.raises(InputError, match='a choice is "auto"'):
        Model(curves, AUTO)


def test_heavy_tails_are_seen(rng):
    clean = rng.standard_normal(300)
    assert heavy_tails(clean) < 1
    assert heavy_tails(clean[:10]) == 0
    hit = clean.copy()
    hit[::20] *= 8
    assert heavy_tails(hit) > 10
    code = np.repeat([0, 1], 150)
    assert tail_sentences(("A", "B"), code, clean) == []
    (sentence,) = tail_sentences(("A", "B"), code, np.where(code == 1, hit, clean))
    assert sentence.startswith("Some points of B are outliers")


def trend(curves):
    model = Model(curves, Settings())
    found = intercalibrate(curves, sampler="laplace", draws=100)
    (one,) = season_trends(model, found.draws.vectors.mean(axis=0))
    return one


def offset(curve, mine):
    flux = curve.flux.copy()
    season = (4 * curve.time[mine] / 1000).astype(int)
    flux[mine] *= np.array([1.05, 0.95, 1.05, 0.95])[season]
    return flux, curve.error


def test_levels_that_change_with_season_are_told():
    curves = source(points=100, error=0.01)
    steady = trend(curves)
    assert steady.chance > 5e-3
    assert steady.sentence == ""
    changing = trend(changed(curves, offset))
    assert changing.chance < 5e-3
    assert 0.02 < changing.size < 0.09
    assert changing.sentence.startswith("The level of B changes with season by about")
    assert "season_edges" in changing.sentence


def test_seasons_are_separated_by_gaps():
    curves = source(points=100)
    kept = curves.continuum.take((curves.continuum.time < 350) | (curves.continuum.time > 600))
    found = trend(LightCurves(kept))
    assert found.differences == 1
    assert 200 < found.gap < 300
    tiny = LightCurves.from_arrays({"A": ([0.0, 1.0], [1.0, 1.1], [0.1, 0.1]), "B": ([0.5], [1.0], [0.1])})
    assert season_trends(Model(tiny, Settings()), Model(tiny, Settings()).layout.fixed) == ()
