"""The perceptron that starts from the linear kernel: exact to first order, better than the kernel alone, one file."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from crosscal import xray
from crosscal.core.errors import DataFileError, InputError
from crosscal.emulator import Input, TrainingTable
from crosscal.xray.correction.emulate import CalibrationEmulator
from crosscal.xray.correction.kernel import linear_kernel
from crosscal.xray.correction.kernel_mlp import KernelMLP, spline_weights
from crosscal.xray.correction.kernel_training import MOST_COMPONENTS, kernel_of, train_kernel_mlp
from crosscal.xray.correction.train import train
from crosscal.xray.modifiers import Grey

MODEL = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
BAND = (0.7, 7.0)


@pytest.fixture(scope="module")
def library():
    limits = {"A": (-0.2, 0.2), "mu": (0.8, 4.0), "sigma": (0.5, 1.5)}
    design = xray.Gaussian().scatter(64, method="sobol", seed=1, **limits)
    kT = np.geomspace(2, 10, 10)
    return xray.build_library(xray.example_telescope("b"), MODEL, design, kT=kT, counts=5e4, band=BAND)


@pytest.fixture(scope="module")
def trained(library):
    return train(library, "mlp", fresh=64, hidden=(16, 16), epochs=40, polish=200)


def test_the_kernel_is_that_of_the_public_function(library):
    kT = np.array([2.5, 6.0])
    found = kernel_of(library.task, kT, ("kT", "norm"))
    other = linear_kernel(xray.example_telescope("b"), MODEL, {"kT": kT}, band=BAND, counts=5e4)
    for c, name in enumerate(("kT", "norm")):
        k = other.names.index(name)
        np.testing.assert_allclose(found[:, c], other.kernel[:, k] / other.values[:, k, None], rtol=1e-6, atol=1e-12)


@pytest.mark.thorough
def test_nothing_is_changed_where_phi_is_one_and_the_kernel_is_the_slope_there(library, trained):
    kT, step = np.array([2.5, 6.0]), 1e-4
    emulator = trained.emulator
    kernel = replace(
        emulator, weights=tuple(0 * w for w in emulator.weights), biases=tuple(0 * b for b in emulator.biases)
    )
    none, more, less = (np.column_stack([np.tile([a, 2.0, 0.8], (2, 1)), kT]) for a in (0.0, step, -step))
    np.testing.assert_allclose(emulator.predict(none), 0.0, atol=1e-14)
    slope = (kernel.predict(more) - kernel.predict(less)) / (2 * step)
    up, down = (library.task.nominal_fits(np.array([s, 2.0, 0.8]), kT) for s in (step, -step))
    slow = [(np.log(up[q]) - np.log(down[q])) / (2 * step) for q in ("kT", "norm")]
    # The kernel is interpolated between 48 temperatures and summed over 160 energies.
    np.testing.assert_allclose(slope, np.transpose(slow), rtol=5e-3, atol=2e-3)


def test_the_network_learns_what_the_kernel_leaves(library, trained):
    emulator = trained.emulator
    assert isinstance(emulator, KernelMLP)
    empty = replace(
        emulator, weights=tuple(0 * w for w in emulator.weights), biases=tuple(0 * b for b in emulator.biases)
    )
    alone = replace(trained, emulator=empty).validate(200)
    both = trained.validate(200)
    assert np.all(both.rms < 0.5 * alone.rms)
    assert emulator.report["judged"] == "newly simulated points"
    # Ten temperatures of the library and nine half-way between them.
    np.testing.assert_allclose(np.exp(emulator.nodes[::2]), np.geomspace(2, 10, 10))
    assert len(emulator.nodes) == 19
    # Components of ln phi of unit mean square over the training thetas.
    z = emulator.log_factor(library.theta, np) @ emulator.projection
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(z.shape[1]), atol=1e-9)


@pytest.mark.thorough
def test_all_ways_to_evaluate_agree(trained):
    emulator = trained.emulator
    kT = np.geomspace(2, 10, 7)
    theta = np.array([0.15, 2.0, 0.8])
    points = np.column_stack([np.tile(theta, (7, 1)), kT])
    plain = emulator.predict(points)
    np.testing.assert_allclose(emulator.at(theta, kT), plain, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(emulator(points), plain, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(emulator.select([1]).predict(points)[:, 0], plain[:, 1], rtol=1e-12)
    nodes = np.linspace(0.0, 2.0, 9)
    x = np.linspace(0.0, 2.0, 31)
    np.testing.assert_allclose(
        spline_weights(nodes, x, np) @ np.sin(nodes), CubicSpline(nodes, np.sin(nodes))(x), atol=1e-14
    )
    np.testing.assert_allclose(spline_weights(nodes[:3], x[:5], np) @ nodes[:3], x[:5], atol=1e-14)


def test_a_file_holds_kernel_and_network(trained, tmp_path):
    again = CalibrationEmulator.load(trained.save(tmp_path / "e.npz"))
    points = np.array([[0.1, 1.5, 0.7, 3.0], [-0.1, 3.0, 1.2, 8.0]])
    np.testing.assert_array_equal(again.emulator.predict(points), trained.emulator.predict(points))
    facts = {"inputs": trained.emulator.inputs, "outputs": trained.emulator.outputs, "residual_sd": np.zeros(2)}
    arrays, settings = trained.emulator.arrays(), trained.emulator.settings()
    with pytest.raises(InputError, match="layers that do not fit"):
        KernelMLP.from_arrays({**arrays, "bias_0": np.zeros(3)}, settings, **facts)
    with pytest.raises(InputError, match="no principal components"):
        KernelMLP.from_arrays({k: v for k, v in arrays.items() if k != "projection"}, settings, **facts)
    with pytest.raises(InputError, match="an unknown modifier"):
        KernelMLP.from_arrays(arrays, {**settings, "modifier": None}, **facts)
    damaged = tmp_path / "d.npz"
    np.savez(damaged, **{k: v for k, v in np.load(tmp_path / "e.npz").items() if k != "kernel"})
    with pytest.raises(DataFileError):
        CalibrationEmulator.load(damaged)


@pytest.mark.thorough
def test_two_bumps_of_one_family_may_change_places():
    """The network sees phi, not theta; a scattered design of two bumps is learnt by the network."""
    limits = {f"{n}{k}": ends for k in (1, 2) for n, ends in (("A", (-0.1, 0.1)), ("mu", (1, 4)), ("sigma", (0.5, 1)))}
    design = xray.Gaussian(n=2).scatter(64, method="sobol", seed=1, **limits)
    library = xray.build_library(
        xray.example_telescope("b"), MODEL, design, kT=np.geomspace(2, 8, 6), counts=5e4, band=BAND
    )
    emulator = train(library, "mlp", fresh=0, hidden=(8,), epochs=5, polish=20).emulator
    one = np.array([[0.08, 1.2, 0.6, -0.05, 3.0, 0.9, 4.0]])
    np.testing.assert_allclose(emulator.predict(one[:, [3, 4, 5, 0, 1, 2, 6]]), emulator.predict(one), rtol=1e-9)
    assert emulator.projection.shape[1] == MOST_COMPONENTS


def test_what_cannot_be_trained_is_refused(library):
    with pytest.raises(InputError, match="hidden layers"):
        train(library, "mlp", fresh=0, hidden=())
    rng = np.random.default_rng(0)
    inputs = (Input("A", -0.2, 0.2), Input("mu", 0.8, 4.0), Input("sigma", 0.5, 1.5), Input("T_true", 2.0, 10.0))
    low, high = np.array([(i.low, i.high) for i in inputs]).T
    table = TrainingTable(inputs, ("a", "b"), low + (high - low) * rng.random((40, 4)), rng.random((40, 2)))
    with pytest.raises(InputError, match="temperatures that differ from theta to theta"):
        train_kernel_mlp(table, fits=train(library, "exact").emulator.task, sigma=np.ones(2))


@pytest.mark.thorough
def test_a_library_of_few_points_trains():
    """Seven values of one parameter are fewer than a batch."""
    design = Grey().grid(scale=np.linspace(0.8, 1.2, 7))
    kT = np.geomspace(2, 10, 5)
    few = xray.build_library(xray.example_telescope("b"), MODEL, design, kT=kT, counts=5e4, band=BAND)
    found = train(few, "mlp", fresh=0, hidden=(4,), epochs=2, polish=4)
    assert np.all(np.isfinite(found.emulator.predict(np.array([[1.1, 5.0]]))))
