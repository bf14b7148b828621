"""Fits in place of an emulator: the same numbers as a library's, and posteriors that lose the emulator's error."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import InputError
from crosscal.core.grid import Axis, Grid
from crosscal.emulator import TrainingTable
from crosscal.emulator import train as train_table
from crosscal.xray.correction.emulate import OUTPUTS, CalibrationEmulator
from crosscal.xray.correction.exact import NODES, ExactMap
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.infer import infer
from crosscal.xray.correction.simulate import simulate_pairs
from crosscal.xray.correction.train import train, with_fits
from crosscal.xray.modifiers.gaussian import Gaussian

from .conftest import shifts

FIXED = {"mu": 0.8, "sigma": 0.5}


class Analytic:
    """The emulated numbers in closed form, for the amplitude alone."""

    def shifts(self, theta, kT):
        full = np.column_stack([np.full(len(kT), theta[0]), np.full(len(kT), 0.8), np.full(len(kT), 0.5)])
        return shifts(full, kT)


def of_amplitude(n, exact=True):
    """A spline over ``n`` amplitudes: with 3, far from the truth."""
    grid = Grid((Axis.from_range("A", -0.3, 0.3, n), Axis.from_range("T_true", 1.0, 15.0, 12, unit="keV", scale="log")))
    points = grid.points
    full = np.column_stack([points[:, 0], np.tile([0.8, 0.5], (len(points), 1)), points[:, 1]])
    table = TrainingTable.from_grid(grid, list(OUTPUTS.values()), shifts(full[:, :3], full[:, 3]))
    found = ExactMap(table.inputs, table.outputs, np.zeros(3), task=Analytic())
    fits = CalibrationEmulator(found, Gaussian(), FIXED, "acis", {})
    spline = train_table(table, "spline").with_report(np.zeros(3), judged="points simulated afresh")
    return CalibrationEmulator(spline, Gaussian(), FIXED, "acis", {}, exact=fits if exact else None)


@pytest.fixture(scope="module")
def pairs():
    return simulate_pairs(of_amplitude(25), {"A": 0.2}, np.geomspace(2, 12, 30), relative_error=0.01, seed=7).only("kT")


def test_the_map_is_the_function_at_any_temperature():
    found = of_amplitude(5).exact.emulator
    kT = np.geomspace(1.0, 15.0, 57)
    truth = Analytic().shifts([0.17], kT)
    np.testing.assert_allclose(found.predict(np.column_stack([np.full(57, 0.17), kT])), truth, rtol=1e-12)
    # A polynomial of degree 19 through a smooth function.
    np.testing.assert_allclose(np.asarray(found.at(jnp.array([0.17]), jnp.asarray(kT))), truth, atol=1e-9)
    many = jax.jit(jax.vmap(lambda t: found.at(t, jnp.asarray(kT))))(jnp.array([[0.17], [-0.1]]))
    np.testing.assert_allclose(many[0], truth, atol=1e-9)
    slope = jax.jvp(lambda t: found.at(jnp.array([0.17]), t), (jnp.asarray(kT),), (jnp.ones(57),))[1]
    step = 1e-4
    difference = (Analytic().shifts([0.17], kT + step) - Analytic().shifts([0.17], kT - step)) / (2 * step)
    np.testing.assert_allclose(slope[1:-1], difference[1:-1], atol=1e-6)


def test_reweighting_removes_the_error_of_a_coarse_emulator(pairs):
    options = {"tau": 0.3, "scatter": None, "seed": 1, "sampler": "population"}
    truth = infer(pairs, of_amplitude(25, exact=False), **options).posterior_draws
    coarse = infer(pairs, of_amplitude(3, exact=False), **options).posterior_draws
    mended = infer(pairs, of_amplitude(3), **options)
    a, b, c = (float(p.mean("A")) for p in (truth, coarse, mended.posterior_draws))
    sd = float(truth.sd("A"))
    figures = mended.diagnostics.figures
    assert set(figures) == {"k-hat of exact fits against the emulator", "effective share of the draws"}
    # The emulator alone is off by a good part of an error; what is left is sampling noise of some hundred draws.
    assert abs(b - a) > 0.3 * sd
    assert abs(c - a) < 0.15 * sd
    assert mended.posterior_draws.log_evidence == pytest.approx(truth.log_evidence, abs=0.1)
    each = mended.posterior_draws.tree["log_likelihood"]["data"].values[0, :3]
    exact = HierarchicalModel(pairs, of_amplitude(3).exact, scatter=None)
    for k in range(3):
        point = {"A": mended.posterior_draws.draws("A")[k]}
        np.testing.assert_allclose(each[k], exact.pointwise(point), rtol=1e-9)


def test_an_error_that_cannot_be_mended_is_told(pairs):
    class Elsewhere(Analytic):
        def shifts(self, theta, kT):
            return super().shifts(np.asarray(theta) - 0.15, kT)

    wrong = of_amplitude(25)
    exact = replace(wrong.exact, emulator=replace(wrong.exact.emulator, task=Elsewhere()))
    found = infer(pairs, replace(wrong, exact=exact), tau=0.3, scatter=None, seed=1, sampler="population")
    assert any("The emulator's error changes the posterior" in text for text in found.warnings)

    class Failing(Analytic):
        def shifts(self, theta, kT):
            return np.full((len(kT), 3), np.nan)

    exact = replace(wrong.exact, emulator=replace(wrong.exact.emulator, task=Failing()))
    found = infer(pairs, replace(wrong, exact=exact), tau=0.3, scatter=None, seed=1, sampler="population")
    assert any("No draw could be fitted exactly" in text for text in found.warnings)


def test_inference_by_fits_alone_agrees(pairs):
    options = {"tau": 0.3, "scatter": None, "seed": 1, "sampler": "population", "draws": 1000}
    smooth = infer(pairs, of_amplitude(25, exact=False), **options).posterior_draws
    fits = infer(pairs, of_amplitude(3).exact, **options).posterior_draws
    assert fits.converged, fits.messages
    assert abs(fits.mean("A") - smooth.mean("A")) < 0.2 * smooth.sd("A")
    assert fits.sd("A") == pytest.approx(smooth.sd("A"), rel=0.1)


def test_the_emulators_error_enters_the_likelihood(pairs):
    emulator = of_amplitude(25, exact=False)
    poor = replace(emulator, emulator=emulator.emulator.with_report([0.02, 0.0, 0.0], judged="points simulated afresh"))
    params = {"A": jnp.asarray(0.2), "scatter": jnp.asarray(0.01)}
    expected = jnp.asarray(pairs.values[1])
    good, wide = (HierarchicalModel(pairs, e).noise(params, expected)[:, 0, 0] for e in (emulator, poor))
    np.testing.assert_allclose(wide - good, (0.02 * pairs.values[1, :, 0]) ** 2, rtol=1e-9)
    unknown = replace(emulator, emulator=emulator.emulator.with_report(np.full(3, np.nan)))
    np.testing.assert_array_equal(unknown.error_sd, 0.0)


@pytest.fixture(scope="module")
def library():
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    design = xray.Gaussian.grid(A=(-0.1, 0.1, 4), mu=(0.8, 4.0, 5), sigma=(0.5, 1.5, 4))
    return xray.build_library(
        xray.example_telescope("b"), model, design, kT=np.geomspace(2, 12, 6), counts=5e4, band=(0.7, 7.0)
    )


def test_fits_of_a_library_are_those_of_its_simulation(library):
    found = train(library, "exact")
    rng = np.random.default_rng(3)
    theta = np.column_stack([rng.uniform(-0.1, 0.1, 5), rng.uniform(0.8, 4.0, 5), rng.uniform(0.5, 1.5, 5)])
    kT = rng.uniform(2, 12, 5)
    slow = library.simulate(theta, kT)
    for k in range(5):
        fast = np.asarray(found.measure(theta[k], np.array([[kT[k], slow["norm_true"][k]]])))[0]
        # The polynomial in ln T follows the plasma table's nodes to some hundredths of an error of 2 per cent.
        assert fast[0] == pytest.approx(slow["kT_nominal"][k], rel=2e-3)
        assert fast[1] == pytest.approx(slow["norm_nominal"][k], rel=1e-3)
    np.testing.assert_array_equal(found.emulator.table(theta[:1]), found.emulator.table(theta[:1]))
    assert found.emulator.table(theta).shape == (5, NODES, 2)


def test_exact_maps_refuse_what_they_cannot_do(library, tmp_path):
    found = train(library, "exact")
    with pytest.raises(InputError, match="an exact map has no file"):
        found.save(tmp_path / "e.npz")
    with pytest.raises(InputError, match="an exact map has no file"):
        ExactMap.from_arrays({}, {})
    with pytest.raises(InputError, match="an exact map of scattered points"):
        found.emulator(np.zeros((3, 4)))
    with pytest.raises(InputError, match="the option 'hidden'"):
        train(library, "exact", hidden=(3,))
    opened = replace(library, task=None)
    with pytest.raises(InputError, match="no spectra can be simulated"):
        train(opened, "exact")


def test_an_emulator_from_a_file_gets_its_fits_back(library, tmp_path):
    trained = train(library, "spline", fresh=20)
    path = trained.save(tmp_path / "e.npz")
    loaded = CalibrationEmulator.load(path)
    assert loaded.exact is None
    again = with_fits(loaded, library)
    theta = np.array([0.05, 2.0, 1.0])
    np.testing.assert_array_equal(again.exact.emulator.table(theta), trained.exact.emulator.table(theta))
    assert with_fits(loaded, replace(library, task=None)) is loaded
    assert again.only("kT").exact.quantities == ("kT",)
