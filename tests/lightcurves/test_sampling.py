"""Sampling routes agree; shifts integrated out are drawn inside their limits; Student-t errors resist outliers."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.core.progress import SILENT
from crosscal.inference.posterior import Posterior
from crosscal.lightcurves.evidence import compare_kernels
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.sampling import draw, of_equal_chains
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.student import draw_student
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.types import LightCurves


@pytest.fixture(scope="module")
def two():
    return simulate(seed=21, codes=("A", "B"), points=(60, 40))


@pytest.fixture(scope="module")
def importance(two):
    return draw(Model(two[0], Settings()), seed=3, draws=2000)


def test_importance_is_the_automatic_route(importance):
    assert importance.posterior.method == "importance"
    assert importance.posterior.converged
    assert importance.effective_size > 400
    assert importance.inside == 1.0


def test_seed_decides_everything(two, importance):
    again = draw(Model(two[0], Settings()), seed=3, draws=2000)
    np.testing.assert_array_equal(again.vectors, importance.vectors)
    other = draw(Model(two[0], Settings()), seed=4, draws=2000)
    assert not np.array_equal(other.vectors, importance.vectors)


@pytest.mark.parametrize(
    ("route", "options"),
    [
        pytest.param("nuts", {"warmup": 200, "chains": 2}, marks=pytest.mark.slow),
        pytest.param("nested", {"live_points": 250, "dlogz": 0.1}, marks=pytest.mark.slow),
    ],
)
def test_routes_agree(two, importance, route, options):
    other = draw(Model(two[0], Settings()), route=route, seed=5, draws=1000, **options)
    free = importance.model.layout.free
    sd = importance.vectors[:, free].std(axis=0)
    shift = (other.vectors[:, free].mean(axis=0) - importance.vectors[:, free].mean(axis=0)) / sd
    # Means of some 500 effective draws scatter by 0.045 sd; five times that over six parameters.
    assert np.abs(shift).max() < 0.25
    assert other.posterior.log_evidence == pytest.approx(importance.posterior.log_evidence, abs=0.5)


def test_explicit_shifts_give_the_same_posterior(two, importance):
    explicit = draw(Model(two[0], Settings(), marginal=[]), seed=6, draws=2000)
    free = importance.model.layout.free
    sd = importance.vectors[:, free].std(axis=0)
    difference = (explicit.vectors[:, free].mean(axis=0) - importance.vectors[:, free].mean(axis=0)) / sd
    assert np.abs(difference).max() < 0.2
    # Errors of both evidences are about 0.02.
    assert explicit.posterior.log_evidence == pytest.approx(importance.posterior.log_evidence, abs=0.1)


def test_shifts_pressed_against_their_limits(two):
    """The truth is outside a narrow box: draws stay inside, and the evidence is that of explicit sampling."""
    settings = Settings(shift=(-0.02, 0.02))
    found = draw(Model(two[0], settings), seed=7, draws=2000)
    place = found.model.layout.shift[1]
    assert np.all(np.abs(found.vectors[:, place]) <= 0.02)
    explicit = draw(Model(two[0], settings, marginal=[]), seed=8, draws=2000)
    assert found.posterior.log_evidence == pytest.approx(explicit.posterior.log_evidence, abs=0.15)
    assert found.vectors[:, place].mean() == pytest.approx(explicit.vectors[:, place].mean(), abs=0.002)


def test_share_inside_corrects_the_evidence(two, importance):
    """A box that cuts the posterior of the shift in the middle: evidence by integration and by explicit sampling."""
    place = importance.model.layout.shift[1]
    middle = float(np.median(importance.vectors[:, place]))
    settings = Settings(shift=(middle, middle + 1.0))
    cut = draw(Model(two[0], settings), seed=9, draws=4000)
    assert 0.35 < cut.inside < 0.65
    explicit = draw(Model(two[0], settings, marginal=[]), seed=10, draws=4000)
    assert cut.posterior.log_evidence == pytest.approx(explicit.posterior.log_evidence, abs=0.1)


def test_unknown_route(two):
    with pytest.raises(UnknownNameError, match="importance"):
        draw(Model(two[0], Settings()), route="importanc")


def test_no_draw_inside(two, monkeypatch):
    import crosscal.lightcurves.sampling as sampling

    def outside(model, vectors, seed):
        return vectors, np.zeros((len(vectors), 1)), np.zeros(len(vectors), dtype=bool)

    monkeypatch.setattr(sampling, "with_linear", outside)
    monkeypatch.setattr(sampling, "LEAST_INSIDE", -1.0)
    with pytest.raises(FitError, match="inside their prior limits"):
        draw(Model(two[0], Settings()), seed=1, draws=500)


@pytest.mark.slow
def test_student_errors_with_many_degrees_are_gaussian(two, importance):
    model = Model(two[0], Settings(errors="student-t", degrees=500.0))
    found = draw_student(model, seed=2, draws=4000)
    free = importance.model.layout.free
    sd = importance.vectors[:, free].std(axis=0)
    difference = (found.vectors[:, free].mean(axis=0) - importance.vectors[:, free].mean(axis=0)) / sd
    # Some 500 effective draws: means scatter by 0.045 sd.
    assert np.abs(difference).max() < 0.25
    np.testing.assert_allclose(found.vectors[:, free].std(axis=0), sd, rtol=0.2)


@pytest.mark.thorough
def test_student_errors_resist_outliers(two):
    clean, _ = two
    flux = clean.continuum.flux.copy()
    hit = clean.continuum.of_code("B")[::8]
    flux[hit] += 12 * clean.continuum.error[hit]
    spoiled = LightCurves(replace(clean.continuum, flux=flux))
    reference = intercalibrate(clean, seed=1, draws=2000)
    gaussian = intercalibrate(spoiled, seed=1, draws=2000)
    student = intercalibrate(spoiled, seed=1, draws=2000, errors="student-t", degrees=3.0)
    sigma = reference.draws.vectors[:, 0].mean()
    assert abs(student.draws.vectors[:, 0].mean() - sigma) < 0.5 * abs(gaussian.draws.vectors[:, 0].mean() - sigma)
    # The latent scales name the outliers, except where the light curve is too sparse to tell.
    assert student.posterior["posterior"].sizes["chain"] == 4
    inflation = student.draws.inflation
    assert np.median(inflation[hit]) > 5 * np.median(inflation)
    assert len(set(np.argsort(inflation)[-len(hit) :]) & set(hit)) > len(hit) / 2
    assert student.diagnostics.log_evidence is None
    assert np.all(np.isfinite(student.reconstruct().sd))


def test_student_sampler_wants_student_errors(two):
    with pytest.raises(InputError, match="Gaussian"):
        draw_student(Model(two[0], Settings()))


@pytest.mark.slow
def test_student_with_source_jitter_splits_the_residual(two):
    found = intercalibrate(two[0], kernel="drw+jitter", errors="student-t", seed=1, draws=800)
    assert np.all(found.draws.inflation > 0)


@pytest.mark.slow
def test_evidence_prefers_the_true_kernel():
    curves, _ = simulate(seed=5, codes=("A", "B"), points=(120, 80), kernel="matern32", error=0.005, tau=60.0)
    table = compare_kernels(curves, ("drw", "matern32"), draws=1000, seed=1)
    assert table["kernel"][0] == "matern32"
    assert table["difference"][1] < -5


def test_student_errors_have_no_evidence_table(two):
    with pytest.raises(InputError, match="no evidence"):
        compare_kernels(two[0], ("drw",), settings=Settings(errors="student-t"))


@pytest.mark.slow
def test_nuts_takes_over_where_importance_fails(two, importance):
    """With 30 proposals the weights cannot be trusted, and the posterior is that of NUTS."""
    said = []

    class Listener:
        def stage(self, name, total=None):
            return SILENT.stage(name, total)

        def message(self, text):
            said.append(text)

    found = draw(Model(two[0], Settings()), seed=4, draws=400, progress=Listener(), proposals=30, adaptations=0)
    assert found.posterior.method == "nuts"
    assert said
    # The evidence comes from a proposal fitted to the draws of NUTS.
    assert found.posterior.log_evidence == pytest.approx(importance.posterior.log_evidence, abs=0.1)


def test_draws_keep_their_chains():
    inside = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], dtype=bool)

    def of(chains):
        posterior = Posterior.from_draws({"x": np.zeros((chains, 12 // chains))}, method="nuts")
        return of_equal_chains(inside, posterior)

    kept, chains = of(3)
    assert chains == 3
    np.testing.assert_array_equal(kept.reshape(3, 4).sum(axis=1), [2, 2, 2])
    assert not np.any(kept & ~inside)
    kept, chains = of(1)
    assert chains == 1
    np.testing.assert_array_equal(kept, inside)
    inside[4:8] = False
    assert of(3)[1] == 1
