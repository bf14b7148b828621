import os

import numpy as np
import pytest

from crosscal.compute.schema import Variable
from crosscal.compute.store import Store
from crosscal.core.errors import InputError, StoreError, UnknownNameError
from crosscal.core.grid import Axis, Grid, Scatter
from crosscal.core.random import point_seeds
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.batch import fit_counts
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.statistics import cstat
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.library.generate import build_library
from crosscal.xray.library.library import STATUS, Library
from crosscal.xray.modifiers.examples import example
from crosscal.xray.modifiers.gaussian import Gaussian
from crosscal.xray.modifiers.grey import Grey
from crosscal.xray.modifiers.registry import MODIFIERS
from crosscal.xray.modifiers.spline import BSpline

BAND = (0.7, 7.0)


def test_every_point_is_what_the_steps_give(library, telescope, plasma, design, settings):
    """Simulate and fit one point by hand: explicit folding through the modified response, public functions only."""
    point, t, r = 4, 1, 2
    theta = design.take([point])[0]
    kT = settings["kT"][t]
    modified = Gaussian().apply(telescope, theta)
    free = ("kT", "norm")
    nominal_templates = FoldedTemplates.build(telescope, plasma, band=BAND, free=free, exposure=1e5)
    modified_templates = FoldedTemplates.build(modified, plasma, band=BAND, free=free, exposure=1e5)
    mask = nominal_templates.mask
    photons = plasma.spectrum(telescope.energy_edges, kT=kT)
    norm = 2e4 / (1e5 * telescope.fold(photons)[mask].sum())
    assert np.isclose(library.truth("norm")[t], norm, rtol=1e-12)
    expected = 1e5 * norm * modified.fold(photons)[mask]
    counts = poisson_counts(expected[None], point_seeds(7, point, t, r)[None, None])[0]
    for calibration, templates in (("nominal", nominal_templates), ("modified", modified_templates)):
        found = fit_counts(templates, plasma, counts, start={"kT": kT, "norm": norm})
        for j, name in enumerate(free):
            # Both stop within 5e-4 sigma of the minimum; the error is 2 %.
            assert np.isclose(library.values(name, calibration)[point, t, r], found.values[0, j], rtol=1e-5)
            assert np.isclose(
                library.errors(name, calibration)[point, t, r], np.sqrt(found.covariance[0, j, j]), rtol=1e-4
            )
        statistic = library.dataset[f"statistic_{calibration}"].values[point, t, r]
        best = templates.counts(kT=found.values[0, 0], norm=found.values[0, 1])
        assert np.isclose(statistic, cstat(counts[0], best).sum(), atol=1e-6)
    assert library.dof == mask.sum() - 2


def test_modified_fits_are_unbiased(library):
    summary = library.summary()
    row = summary[summary["calibration"] == "modified"][0]
    assert row["failed"] == 0
    n = row["fits"]
    assert abs(row["pull_mean"]) < 4 / np.sqrt(n)
    assert abs(row["pull_sd"] - 1) < 4 / np.sqrt(2 * n)


def test_noiseless_library(asimov):
    assert asimov.is_asimov
    np.testing.assert_allclose(asimov.values("kT", "modified")[..., 0], np.tile(asimov.T_true, (6, 1)), rtol=1e-6)
    assert np.abs(asimov.dataset["statistic_modified"]).max() < 1e-6
    # A bump below the mean energy makes spectra softer: cooler with the nominal area.
    bump = (asimov.theta[:, 0] > 0) & (asimov.theta[:, 1] == 1.5)
    assert np.all(asimov.bias()[bump] < 0)
    nothing = asimov.theta[:, 0] == 0
    np.testing.assert_allclose(asimov.bias()[nothing], 0.0, atol=1e-6)


def test_noisy_fits_scatter_about_the_noiseless_ones(library, asimov):
    pull = (library.values("kT") - asimov.values("kT")) / library.errors("kT")
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert 0.7 < pull.std() < 1.3


@pytest.mark.parametrize("chunk", [1, 3, 20])
def test_same_bits_for_any_chunks(library, same, telescope, plasma, design, settings, chunk):
    same(library, build_library(telescope, plasma, design, **settings, chunk=chunk))


def test_same_bits_from_threads(library, same, telescope, plasma, design, settings):
    same(library, build_library(telescope, plasma, design, **settings, chunk=2, executor="local", workers=3))


@pytest.mark.thorough
def test_same_bits_from_a_store_and_its_workers(library, same, telescope, plasma, design, settings, tmp_path):
    path = tmp_path / "a.zarr"
    stored = build_library(telescope, plasma, design, **settings, chunk=4, store=path, executor="local", workers=2)
    same(library, stored)
    opened = Library.open(path)
    same(library, opened)
    assert opened.job == library.job
    assert opened.modifier == Gaussian()
    assert opened.parameters == ("kT", "norm")


def test_part_of_a_grid_equals_the_whole(library, telescope, plasma, settings):
    """A library of the first thetas alone has their bits."""
    small = build_library(telescope, plasma, Gaussian.grid(A=[-0.1], mu=(1.5, 4.0, 2), sigma=0.8), **settings)
    assert np.array_equal(small.values("kT"), library.values("kT")[:2])


def test_thetas_that_differ_in_the_amplitude_share_a_folded_table(library, monkeypatch):
    task = library.task
    theta = library.theta[3]
    direct = task.nodes.table(task.matrix, task.weight * task.modifier.factor(task.energy, theta))
    plain = task.modified_table(theta).table
    # Sums in another order.
    np.testing.assert_allclose(plain, direct, rtol=1e-11, atol=1e-13 * np.abs(direct).max())
    kept = dict(task._units)
    # Three amplitudes at each of two centres.
    assert 0 < len(kept) <= len(library.theta) // 2
    task._units.clear()
    np.testing.assert_array_equal(task.modified_table(theta, keep=True).table, plain)
    assert len(task._units) == 1
    np.testing.assert_array_equal(task.modified_table(theta, keep=True).table, plain)
    monkeypatch.setattr("crosscal.xray.library.task.KEPT_BYTES", 0)
    task._units.clear()
    np.testing.assert_array_equal(task.modified_table(theta, keep=True).table, plain)
    assert not task._units


def test_interrupted_store_resumes(library, same, telescope, plasma, design, settings, tmp_path, monkeypatch):
    from crosscal.xray.library.task import LibraryTask

    path = tmp_path / "b.zarr"
    original, done = LibraryTask.__call__, []

    def fails(self, chunk):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk)
        return original(self, chunk)

    monkeypatch.setattr(LibraryTask, "__call__", fails)
    with pytest.raises(KeyboardInterrupt, match="resumes"):
        build_library(telescope, plasma, design, **settings, chunk=2, store=path, executor="serial")
    with pytest.raises(StoreError, match="1 of 3 chunks are not computed"):
        Library.open(path)
    monkeypatch.setattr(LibraryTask, "__call__", original)
    same(library, build_library(telescope, plasma, design, **settings, chunk=2, store=path, executor="serial"))


def test_another_job_does_not_touch_the_store(telescope, plasma, design, settings, tmp_path):
    path = tmp_path / "c.zarr"
    build_library(telescope, plasma, design, **settings, store=path, executor="serial")
    with pytest.raises(StoreError, match="another job"):
        build_library(telescope, plasma, design, **{**settings, "seed": 8}, store=path, executor="serial")
    changed = telescope.with_area(telescope.area * 1.001)
    with pytest.raises(StoreError, match="another job"):
        build_library(changed, plasma, design, **settings, store=path, executor="serial")


def test_foreign_store(tmp_path):
    variables = {"y": Variable(("x",))}
    Store.create(tmp_path / "d.zarr", variables, {"x": np.arange(3.0)}, {"x": 3}, job={"kind": "something"})
    with pytest.raises(StoreError, match="not an X-ray library"):
        Library.open(tmp_path / "d.zarr")


def test_simulate_reproduces_grid_points(asimov):
    theta, kT = asimov.theta[[4, 2]], asimov.T_true[[1, 2]]
    again = asimov.simulate(theta, kT)
    for name in asimov.parameters:
        np.testing.assert_allclose(again[f"{name}_nominal"], asimov.values(name)[[4, 2], [1, 2], 0], rtol=1e-12)
        np.testing.assert_allclose(again[f"{name}_true"], asimov.truth(name)[[1, 2]], rtol=1e-12)
    assert np.all(again["status_nominal"] == Status.OK)


@pytest.mark.slow
def test_profiles(telescope, plasma, design):
    small = build_library(telescope, plasma, design, kT=[4.0], band=BAND, counts=2e4, profile=(-2, 2, 5))
    kT, rise = small.profile()
    assert kT.shape == rise.shape == (6, 1, 1, 5)
    np.testing.assert_allclose(rise[..., 2], 0.0, atol=1e-6)
    np.testing.assert_allclose(rise[0, 0, 0], [4, 1, 0, 1, 4], rtol=0.1, atol=1e-6)
    assert np.all(np.diff(kT, axis=-1) > 0)


@pytest.mark.slow
def test_intervals(telescope, plasma, design):
    small = build_library(telescope, plasma, design, kT=[4.0], band=BAND, counts=2e4, interval=1.0, profile=[-1.0, 1.0])
    low, high = small.interval("modified")
    np.testing.assert_allclose(high - low, 2 * small.errors("kT", "modified"), rtol=0.02)
    assert np.all(low < small.values("kT", "modified"))
    wide = build_library(telescope, plasma, design, kT=[4.0], band=BAND, counts=2e4, interval=2.706)
    np.testing.assert_allclose((wide.interval()[1] - wide.interval()[0]) / (small.interval()[1] - small.interval()[0]),
                               np.sqrt(2.706), rtol=0.01)  # fmt: skip
    # Where the interval ends the profile has risen by one.
    kT, rise = small.profile("modified")
    np.testing.assert_allclose(np.interp(low[..., 0], kT[0, 0, 0], rise[0, 0, 0]), 1.0, atol=0.1)


def test_more_free_parameters(telescope, plasma):
    library = build_library(
        telescope, plasma, Grey.grid(), kT=[3.0], band=BAND, counts=5e4, free=("kT", "norm", "Abundanc", "nH"),
        axes={"nH": (0.0, 0.3, 9)},
    )  # fmt: skip
    assert set(library.parameters) == {"kT", "norm", "Abundanc", "nH"}
    assert np.isclose(library.values("nH")[0, 0, 0], 0.05, atol=1e-6)


def test_linear_interpolation(telescope, plasma, design):
    library = build_library(telescope, plasma.replace(interp="xspec"), design, kT=[3.0, 5.437], band=BAND, counts=2e4)
    assert library.failures() == {"nominal": {"OK": 12}, "modified": {"OK": 12}}
    # Derivatives jump at nodes, and 5.437 keV nearly is one.
    np.testing.assert_allclose(library.values("kT", "modified")[..., 0], [[3.0, 5.437]] * 6, rtol=1e-5)


def test_two_components_with_counts(telescope):
    model = Model("TBabs*(apec+powerlaw)", nH=0.1, norm=1e-3, norm_2=2e-4, PhoIndex=1.7, Redshift=0.05)
    library = build_library(
        telescope, model, Grey.grid(), kT=[2.0], band=BAND, counts=1e5, free=("kT", "norm", "norm_2")
    )
    assert np.isclose(library.truth("norm_2")[0] / library.truth("norm")[0], 0.2)
    np.testing.assert_allclose(library.values("norm_2", "modified")[0, 0, 0], library.truth("norm_2")[0], rtol=1e-5)


@pytest.mark.parametrize("name", MODIFIERS.names())
def test_every_family_of_modifiers(telescope, plasma, name):
    """Families of the area and of the matrix alike: the modified fit finds the truth."""
    modifier = example(name)
    theta = np.array(modifier.null)[None, :]
    box = {n: (float(v), float(v)) for n, v in zip(modifier.names, theta[0], strict=True)}
    library = build_library(
        telescope, plasma, Scatter(modifier.names, theta, box), modifier=modifier, kT=[4.0], band=BAND, counts=1e4
    )
    assert np.isclose(library.values("kT", "modified")[0, 0, 0], 4.0, rtol=1e-6)
    assert np.isclose(library.values("kT", "nominal")[0, 0, 0], 4.0, rtol=1e-3)


def test_exposure_instead_of_counts(telescope, plasma):
    model = plasma.replace(norm=5e-3)
    library = build_library(telescope, model, Grey.grid(), kT=[4.0], band=BAND, exposure=3e4)
    assert library.truth("norm")[0] == 5e-3
    longer = build_library(telescope, model, Grey.grid(), kT=[4.0], band=BAND, exposure=12e4)
    assert np.isclose(library.errors("kT")[0, 0, 0], 2 * longer.errors("kT")[0, 0, 0], rtol=1e-6)


def test_negative_area_is_a_status(telescope, plasma, monkeypatch):
    """A spline that dips below zero: counted, and the rest of the library is whole."""
    modifier = BSpline(knots=4)
    points, box = np.zeros((2, 4)), dict.fromkeys(modifier.names, (-1.0, 10.0))
    points[1] = [-1.0, 5.0, -1.0, -1.0]
    monkeypatch.setattr(
        BSpline, "_factor", lambda self, energy, theta, xp: 1.0 + 2.0 * theta[..., :1] * np.ones(energy.size)
    )
    library = build_library(
        telescope, plasma, Scatter(modifier.names, points, box), modifier=modifier, kT=[4.0], band=BAND, counts=1e4
    )
    assert library.status()[0, 0, 0] == Status.OK
    assert library.status()[1, 0, 0] == Status.BAD_DATA
    assert np.isnan(library.values("kT")[1]).all()
    assert library.failures()["nominal"] == {"OK": 1, "BAD_DATA": 1}
    assert "1 BAD_DATA" in library.summary()["failures"][0]


def test_no_counts_is_a_status(telescope, plasma):
    library = build_library(
        telescope, plasma, Grey.grid(), kT=[4.0], band=BAND, counts=0.05, noise="poisson", realisations=40, seed=1
    )
    status = library.status()
    assert (status == Status.BAD_DATA).sum() > 20
    assert np.isnan(library.values("kT")[status == Status.BAD_DATA]).all()


def test_statuses_are_the_engines():
    assert tuple(s.name for s in Status) == STATUS


def test_bad_requests(telescope, plasma, design):
    def build(**changed):
        arguments = {"kT": [2.0, 5.0], "band": BAND, "counts": 1e4} | changed
        d = arguments.pop("design", design)
        return build_library(telescope, arguments.pop("model", plasma), d, **arguments)

    with pytest.raises(UnknownNameError, match="asimov"):
        build(noise="assimov")
    with pytest.raises(InputError, match="3 realisations"):
        build(realisations=3)
    with pytest.raises(InputError, match="expected kT among them"):
        build(free=("norm",))
    with pytest.raises(InputError, match="exposure -1 s"):
        build(exposure=-1.0)
    with pytest.raises(InputError, match="counts -5"):
        build(counts=-5.0)
    with pytest.raises(InputError, match="norm is not free"):
        build(free=("kT",))
    with pytest.raises(InputError, match="bad true temperatures"):
        build(kT=[5.0, 2.0])
    with pytest.raises(InputError, match="the true kT = 95 is outside what fits allow"):
        build(kT=[2.0, 95.0])
    with pytest.raises(InputError, match="knows no modifier"):
        build(design=Grid((Axis("A", np.array([0.1])),)))
    with pytest.raises(InputError, match="a design of type dict"):
        build(design={"A": [0.1]})
    with pytest.raises(InputError, match="a design over A"):
        build(design=Grid((Axis("A", np.array([0.1])),)), modifier=Gaussian())
    with pytest.raises(InputError, match="out of range"):
        build(design=Grid(tuple(Axis(n, np.array([-5.0])) for n in ("A", "mu", "sigma"))), modifier=Gaussian())
    with pytest.raises(InputError, match="without a store"):
        build(executor="dask")
    with pytest.raises(InputError, match="interval -1"):
        build(interval=-1.0)


def test_large_library_streams(telescope, plasma, tmp_path):
    """What a run holds in memory is a chunk, whatever the size of the library."""
    import psutil

    before = psutil.Process(os.getpid()).memory_info().rss
    library = build_library(
        telescope, plasma, Gaussian.grid(A=(-0.1, 0.1, 30)),
        kT=np.linspace(2, 8, 10), band=BAND, counts=5e3, noise="poisson", realisations=100, seed=2,
        store=tmp_path / "e.zarr", executor="serial",
    )  # fmt: skip
    assert psutil.Process(os.getpid()).memory_info().rss - before < 300e6
    assert library.summary()["failed"].sum() == 0


def test_quantities(telescope, plasma, asimov):
    from astropy import units as u

    library = build_library(
        telescope, plasma, Gaussian.grid(A=[0.1], mu=[1.5], sigma=0.8), kT=[2000.0, 5000.0, 9000.0] * u.eV,
        band=BAND * u.keV, counts=2e4,
    )  # fmt: skip
    np.testing.assert_allclose(library.values("kT")[0], asimov.values("kT")[4], rtol=1e-12)
