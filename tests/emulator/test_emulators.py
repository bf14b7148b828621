"""Emulators learn a known smooth map; fast paths agree with plain NumPy; files are strict."""

import json

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.grid import Axis, Grid
from crosscal.emulator import EMULATORS, Input, TrainingTable, load, registry, save, train, validate
from crosscal.emulator.base import COMPILE_ABOVE
from crosscal.emulator.chebyshev import multi_indices
from crosscal.emulator.spline import fill_missing
from crosscal.emulator.validation import draw_points

OUTPUTS = ("lnT", "dZ")


def smooth(points):
    a, t = np.asarray(points)[:, 0], np.log(np.asarray(points)[:, 1])
    return np.stack([a * np.exp(-((t - 1) ** 2)) + 0.1 * a**2, np.sin(2 * a) * t], axis=1)


def grid(n=9, m=12):
    return Grid((Axis.from_range("A", -0.3, 0.3, n), Axis.from_range("kT", 1, 12, m, unit="keV", scale="log")))


@pytest.fixture(scope="module")
def table():
    g = grid()
    return TrainingTable.from_grid(g, OUTPUTS, smooth(g.points), provenance={"library": "test"})


@pytest.fixture(scope="module")
def trained(table):
    options = {"mlp": {"epochs": 150, "hidden": (32, 32)}}
    return {kind: train(table, kind, seed=1, **options.get(kind, {})) for kind in EMULATORS}


# Spread of the first output is 0.13; an interpolating spline of this map reaches 1e-4, the small network 1e-2.
LIMITS = {"spline": 1e-3, "chebyshev": 1e-3, "mlp": 2e-2}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", list(EMULATORS))
def test_reproduces_map_at_fresh_points(trained, kind):
    v = validate(trained[kind], smooth, {"lnT": 1.0, "dZ": 1.0}, n=256)
    assert np.all(v.rms < LIMITS[kind])
    assert np.all(v.maximum >= v.percentile_99)
    assert v.good_enough(1.0)
    assert not v.good_enough(1e-12)
    assert "256 new points" in str(v)
    json.dumps(v.as_dict())


def test_auto_keeps_the_best_and_says_so(table):
    messages = []

    class Listener:
        from crosscal.core.progress import SILENT

        stage = SILENT.stage

        def message(self, text):
            messages.append(text)

    chosen = train(table, "auto", seed=1, progress=Listener())
    scores = chosen.report["candidates"]
    assert set(scores) == set(EMULATORS)
    assert chosen.kind == min(scores, key=scores.get)
    assert chosen.kind in messages[-1]
    assert np.all(chosen.residual_sd > 0)


def test_auto_trains_costly_kinds_briefly_beside_a_good_one(monkeypatch):
    fine = TrainingTable.from_grid(g := grid(17, 25), OUTPUTS, smooth(g.points))
    fresh = draw_points(fine.inputs, 64, seed=2)
    validation = TrainingTable(fine.inputs, OUTPUTS, fresh, smooth(fresh))
    # Constants lose here; those of high degree win over the spline.
    low, high = {"degrees": (0, 0)}, {"degrees": (14, 20)}
    for short in (low, high):
        monkeypatch.setattr(registry, "BRIEFLY", {"chebyshev": short, "mlp": {"epochs": 1}})
        chosen = train(fine, validation=validation)
        assert chosen.report["briefly"] == {"chebyshev": short, "mlp": {"epochs": 1}}
        assert chosen.kind == ("spline" if short is low else "chebyshev")
    # The winner was trained again, without the shortened options.
    np.testing.assert_array_equal(chosen.predict(fresh), train(fine, "chebyshev").predict(fresh))


@pytest.mark.thorough
def test_auto_with_fresh_validation_points_and_scattered_design(rng):
    inputs = (Input("A", -0.3, 0.3), Input("kT", 1, 12, "keV", "log"))
    points = np.stack([rng.uniform(-0.3, 0.3, 400), np.exp(rng.uniform(0, np.log(12), 400))], axis=1)
    scattered = TrainingTable(inputs, OUTPUTS, points[:300], smooth(points[:300]))
    fresh = TrainingTable(inputs, OUTPUTS, points[300:], smooth(points[300:]))
    chosen = train(scattered, validation=fresh)
    assert "spline" in chosen.report["refused"]
    assert "product grid" in chosen.report["refused"]["spline"]
    assert chosen.report["candidates"][chosen.kind] < 0.02
    held = train(scattered)
    assert held.report["candidates"][held.kind] < 0.05


def test_noise_is_averaged_by_polynomials(rng):
    g = grid(15, 20)
    noise = 0.01
    noisy = smooth(g.points) + noise * rng.standard_normal((len(g), 2))
    emulator = train(TrainingTable.from_grid(g, OUTPUTS, noisy, np.full_like(noisy, noise)), "chebyshev")
    fresh = draw_points(emulator.inputs, 200)
    error = np.sqrt(np.mean((emulator.predict(fresh) - smooth(fresh)) ** 2, axis=0))
    assert np.all(error < 0.6 * noise)
    # Generalised cross-validation sees the noise itself, which no emulator can predict.
    assert np.allclose(emulator.residual_sd, noise, rtol=0.25)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", list(EMULATORS))
def test_compiled_and_traced_paths_equal_numpy(trained, kind):
    import jax

    emulator = trained[kind]
    points = np.repeat(draw_points(emulator.inputs, 100), COMPILE_ABOVE // 100 + 2, axis=0)
    big = emulator.predict(points)
    small = np.concatenate([emulator.predict(p) for p in np.array_split(points, 4)])
    np.testing.assert_allclose(big, small, atol=1e-12)  # rounding of reordered sums
    np.testing.assert_allclose(jax.jit(emulator)(points[:50]), small[:50], atol=1e-12)
    np.testing.assert_allclose(jax.vmap(emulator)(points[:50]), small[:50], atol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", list(EMULATORS))
def test_gradient_matches_differences(trained, kind):
    import jax

    emulator, step = trained[kind], 1e-5
    x = np.array([0.07, 4.3])
    jacobian = np.asarray(jax.jacfwd(emulator)(x))
    for j in range(2):
        d = step * np.eye(2)[j]
        difference = (emulator.predict(x + d) - emulator.predict(x - d)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, j], difference, rtol=1e-5, atol=1e-8)


@pytest.mark.thorough
def test_domain_refuse_flag_clip(trained):
    emulator = trained["spline"]
    assert emulator.domain == {"A": (-0.3, 0.3), "kT": (1.0, 12.0)}
    points = np.array([[0.1, 4.0], [0.1, 13.0]])
    with pytest.raises(InputError, match=r"kT = 13 is outside the training domain.*1 to 12 keV"):
        emulator.predict(points)
    flagged = emulator.predict(points, outside="flag")
    assert np.isfinite(flagged[0]).all()
    assert np.isnan(flagged[1]).all()
    border = emulator.predict([0.1, 12.0])
    np.testing.assert_allclose(emulator.predict(points, outside="clip")[1], border, rtol=1e-12)
    np.testing.assert_allclose(emulator(points)[1], border, rtol=1e-12)
    with pytest.raises(UnknownNameError, match="refuse"):
        emulator.predict(points, outside="refuze")
    with pytest.raises(InputError, match="not finite"):
        emulator.predict([np.nan, 3.0])


def test_named_points(trained):
    emulator = trained["spline"]
    named = emulator.predict_named(A=np.array([0.0, 0.1]), kT=4.0)
    np.testing.assert_allclose(named["dZ"], emulator.predict([[0, 4.0], [0.1, 4.0]])[:, 1])
    with pytest.raises(UnknownNameError, match="'kT'"):
        emulator.predict({"A": 0.0, "KTT": 4.0})
    with pytest.raises(InputError, match="no value for 'kT'"):
        emulator.predict({"A": 0.0})
    with pytest.raises(InputError, match="last axis of 2"):
        emulator.predict(np.zeros((3, 4)))


@pytest.mark.parametrize("kind", list(EMULATORS))
def test_file_round_trip(trained, kind, tmp_path):
    emulator = trained[kind]
    path = save(emulator, tmp_path / "emulator.npz")
    again = load(path)
    points = draw_points(emulator.inputs, 20)
    np.testing.assert_array_equal(again.predict(points), emulator.predict(points))
    assert again.inputs == emulator.inputs
    assert again.provenance["library"] == "test"
    assert again.report["kind"] == kind
    np.testing.assert_array_equal(again.residual_sd, emulator.residual_sd)


def test_foreign_files_are_refused(tmp_path, trained):
    with pytest.raises(DataFileError, match="no such emulator"):
        load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataFileError, match="not an emulator"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataFileError, match="not an emulator"):
        load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", _description=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataFileError, match="not an emulator"):
        load(tmp_path / "pickle.npz")
    whole = save(trained["spline"], tmp_path / "e.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match="not an emulator"):
        load(tmp_path / "half.npz")
    facts = {"format": "crosscal-emulator", "version": 99}
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    np.savez(tmp_path / "new.npz", _description=text, _residual_sd=np.zeros(1))
    with pytest.raises(DataFileError, match="version 99"):
        load(tmp_path / "new.npz")
    facts["version"] = 1
    facts |= {"kind": "spline", "settings": {}, "inputs": [], "outputs": []}
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    np.savez(tmp_path / "bare.npz", _description=text, _residual_sd=np.zeros(1))
    with pytest.raises(DataFileError, match="missing parts"):
        load(tmp_path / "bare.npz")


def test_failed_points_are_filled_counted_or_refused(table):
    values = table.values.copy()
    values[40] = np.nan
    broken = TrainingTable(table.inputs, OUTPUTS, table.points, values, grid=table.grid)
    emulator = train(broken, "spline")
    assert emulator.report["filled_points"] == 1
    np.testing.assert_allclose(emulator.predict(table.points[40]), table.values[40], atol=0.05)
    values[:30] = np.nan
    with pytest.raises(InputError, match=r"grid points failed"):
        train(TrainingTable(table.inputs, OUTPUTS, table.points, values, grid=table.grid), "spline")
    filled, count = fill_missing(np.array([[1.0], [np.nan], [3.0]]))
    assert count == 1
    assert filled[1, 0] == 2.0


@pytest.mark.thorough
def test_ensemble_spread(table):
    emulator = train(table, "mlp", ensemble=2, hidden=(8,), epochs=20, activation="relu")
    assert emulator.spread([[0.1, 3.0]]).shape == (1, 2)
    assert np.all(emulator.spread([[0.1, 3.0]]) > 0)
    with pytest.raises(InputError, match="one network"):
        train(table, "mlp", hidden=(4,), epochs=2).spread([[0.1, 3.0]])


def test_short_axes_and_fixed_axes():
    g = Grid((Axis("fixed", [2.0]), Axis("x", [0.0, 0.5, 1.0]), Axis("y", [0.0, 1.0])))
    p = g.points
    values = (p[:, 1] ** 2 + p[:, 2] * (1 + p[:, 1]))[:, None]
    small = TrainingTable.from_grid(Grid(g.axes[1:] + (Axis.from_range("z", 0, 1, 6),)), ["f"], np.repeat(values, 6))
    emulator = train(small, "spline")
    # Three nodes carry a parabola, two a line: this map is reproduced exactly.
    np.testing.assert_allclose(emulator.predict([0.3, 0.7, 0.2]), [0.09 + 0.7 * 1.3], atol=1e-12)
    with pytest.raises(InputError, match="no axis of the grid varies"):
        TrainingTable.from_grid(Grid((Axis("fixed", [2.0]),)), ["f"], [[1.0]])
    kept = TrainingTable.from_grid(Grid((Axis("fixed", [2.0]), Axis.from_range("z", 0, 1, 9))), ["f"], np.arange(9.0))
    assert kept.provenance["fixed_inputs"] == {"fixed": 2.0}


def test_bad_tables_and_options(table):
    i = table.inputs
    with pytest.raises(InputError, match="shapes"):
        TrainingTable(i, OUTPUTS, table.points, table.values[:, :1])
    with pytest.raises(InputError, match="points are not finite"):
        TrainingTable(i, OUTPUTS, np.full_like(table.points, np.nan), table.values)
    with pytest.raises(InputError, match="A reaches"):
        TrainingTable(i, OUTPUTS, table.points * 2, table.values)
    with pytest.raises(InputError, match="sd of shape"):
        TrainingTable(i, OUTPUTS, table.points, table.values, sd=-np.ones_like(table.values))
    with pytest.raises(InputError, match="a grid of"):
        TrainingTable(i, OUTPUTS, table.points[:50], table.values[:50], grid=table.grid)
    with pytest.raises(InputError, match="usable"):
        TrainingTable(i, OUTPUTS, table.points, np.full_like(table.values, np.nan))
    with pytest.raises(InputError, match="limits"):
        Input("x", 1, 1)
    with pytest.raises(InputError, match="logarithmic"):
        Input("x", 0, 1, scale="log")
    with pytest.raises(UnknownNameError, match="log"):
        Input("x", 0, 1, scale="logg")
    with pytest.raises(UnknownNameError, match="'spline'"):
        train(table, "splin")
    with pytest.raises(InputError, match="named kind"):
        train(table, hidden=(3,))
    with pytest.raises(UnknownNameError, match="gelu"):
        train(table, "mlp", activation="gelo")
    with pytest.raises(InputError, match="hidden layers"):
        train(table, "mlp", hidden=())
    with pytest.raises(InputError, match="3 degrees"):
        train(table, "chebyshev", degrees=(1, 2, 3))
    with pytest.raises(InputError, match="more points"):
        train(table, "chebyshev", degrees=(30, 30))
    many = tuple(Input(f"x{k}", 0, 1) for k in range(6))
    six = Grid(tuple(Axis.from_range(f"x{k}", 0, 1, 2) for k in range(6)))
    with pytest.raises(InputError, match="at most 5"):
        train(TrainingTable(many, ("f",), six.points, six.points[:, :1], grid=six), "spline")


def test_bad_validation(trained, table):
    emulator = trained["spline"]
    with pytest.raises(InputError, match="positive numbers"):
        validate(emulator, smooth, [0.0, 1.0])
    with pytest.raises(InputError, match="simulated values of shape"):
        validate(emulator, lambda p: smooth(p)[:, :1], [1.0, 1.0], n=16)
    with pytest.raises(InputError, match="every validation simulation failed"):
        validate(emulator, lambda p: smooth(p) * np.nan, [1.0, 1.0], n=16)
    some = validate(emulator, lambda p: np.where(p[:, :1] > 0, smooth(p), np.nan), [1.0, 1.0], n=16)
    assert some.failed == 8
    outside = TrainingTable(
        (Input("A", 1, 2), Input("kT", 20, 30)), OUTPUTS, np.array([[1.5, 25.0]] * 9), np.ones((9, 2))
    )
    with pytest.raises(InputError, match="no validation point"):
        train(table, "spline", validation=outside)


def test_multi_indices_are_within_degrees():
    index = multi_indices((3, 5))
    assert index.max(axis=0).tolist() == [3, 5]
    assert [0, 0] in index.tolist()
    assert [3, 5] not in index.tolist()


def few_amplitudes():
    """A smooth map over a grid with two nodes in one input, as real libraries have in the amplitude."""
    g = Grid(
        (
            Axis.from_range("A", -0.1, 0.1, 2),
            Axis.from_range("mu", 0.7, 6.0, 11),
            Axis.from_range("T", 1.0, 12.0, 12, scale="log"),
        )
    )
    a, mu, t = g.points.T
    return TrainingTable.from_grid(g, ["y"], (a * np.exp(-0.5 * ((mu - 2) / 1.2) ** 2) * np.log(t))[:, None])


@pytest.mark.thorough
def test_a_grid_with_two_nodes_in_an_input_can_be_judged():
    table = few_amplitudes()
    found = train(table, "auto", seed=1)
    assert all(np.isfinite(score) for score in found.report["candidates"].values())
    assert "spline" in found.report["candidates"]
    assert found.report["candidates"][found.kind] == min(found.report["candidates"].values())


@pytest.mark.thorough
def test_a_kind_whose_error_is_no_number_is_never_kept(monkeypatch):
    from crosscal.emulator import registry

    table = few_amplitudes()
    honest = registry._without

    spline = registry.EMULATORS.get("spline")

    def without(trainer, *rest):
        return np.array([np.nan]) if trainer is spline else honest(trainer, *rest)

    monkeypatch.setattr(registry, "_without", without)
    found = train(table, "auto", seed=1)
    assert found.kind != "spline"
    assert "not a number" in found.report["refused"]["spline"]
    monkeypatch.setattr(registry, "_without", lambda *_: np.array([np.nan]))
    with pytest.raises(InputError, match=r"no kind of emulator can be trained on the points.*not a number"):
        train(table, "auto", seed=1)
