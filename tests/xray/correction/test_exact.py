"""Fits in place of an emulator: the same numbers as a library's, and posteriors that lose the emulator's error."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import InputError
from crosscal.core.grid import Axis, Grid, Scatter
from crosscal.emulator import TrainingTable
from crosscal.emulator import train as train_table
from crosscal.inference.posterior import Posterior
from crosscal.xray import modifiers
from crosscal.xray.correction.emulate import OUTPUTS, CalibrationEmulator
from crosscal.xray.correction.exact import KHAT, NODES, SHARE, ExactMap, reweighted, was_reweighted
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.infer import emulator_against_pairs, infer, unused_constants
from crosscal.xray.correction.simulate import simulate_pairs
from crosscal.xray.correction.source_fits import MOST_SOURCES, RESPONSE, of_sources, usable
from crosscal.xray.correction.source_fits import NODES as SOURCE_NODES
from crosscal.xray.correction.train import train, with_fits
from crosscal.xray.modifiers.gaussian import Gaussian

from .conftest import shifts

FIXED = {"mu": 0.8, "sigma": 0.5}


class Analytic:
    """The emulated numbers in closed form, for the amplitude alone."""

    def __init__(self, columns=(0, 1, 2)):
        self.columns = list(columns)

    def only(self, columns):
        return type(self)([self.columns[c] for c in columns])

    def shifts(self, theta, kT):
        full = np.column_stack([np.full(len(kT), theta[0]), np.full(len(kT), 0.8), np.full(len(kT), 0.5)])
        return shifts(full, kT)[:, self.columns]


def of_amplitude(n, exact=True):
    """A spline over ``n`` amplitudes: with 3, far from the truth."""
    grid = Grid((Axis.from_range("A", -0.3, 0.3, n), Axis.from_range("T_true", 1.0, 15.0, 12, unit="keV", scale="log")))
    points = grid.points
    full = np.column_stack([points[:, 0], np.tile([0.8, 0.5], (len(points), 1)), points[:, 1]])
    table = TrainingTable.from_grid(grid, list(OUTPUTS.values()), shifts(full[:, :3], full[:, 3]))
    found = ExactMap(table.inputs, table.outputs, np.zeros(3), task=Analytic())
    fits = CalibrationEmulator(found, Gaussian(), FIXED, "acis", {})
    spline = train_table(table, "spline").with_report(np.zeros(3), judged="newly simulated points")
    return CalibrationEmulator(spline, Gaussian(), FIXED, "acis", {}, exact=fits if exact else None)


@pytest.fixture(scope="module")
def pairs():
    return simulate_pairs(of_amplitude(25), {"A": 0.2}, np.geomspace(2, 12, 30), relative_error=0.01, seed=7).only("kT")


@pytest.mark.thorough
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


@pytest.mark.slow
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


def drawn(middle, sd, n=400):
    """Draws of the amplitude alone, as a sampler would give them."""
    draws = np.random.default_rng(2).normal(middle, sd, (1, n))
    return Posterior.from_draws({"A": draws}, method="normal", converged=True)


@pytest.mark.thorough
def test_draws_are_weighted_by_exact_fits(pairs):
    """With a normal posterior of the coarse emulator, the mean moves to where the exact likelihood has it."""
    coarse = HierarchicalModel(pairs, of_amplitude(3), scatter=None)
    exact = replace(coarse, emulator=coarse.emulator.exact)
    grid = np.linspace(0.1, 0.3, 201)
    density = [np.array(jax.lax.map(lambda a, m=m: m.pointwise({"A": a}).sum(), grid)) for m in (coarse, exact)]
    means, sds = [], []
    for log in density:
        weight = np.exp(log - log.max())
        means.append(np.average(grid, weights=weight))
        sds.append(np.sqrt(np.average((grid - means[-1]) ** 2, weights=weight)))
    found = reweighted(coarse, drawn(means[0], sds[0], 4000), seed=1)
    assert abs(means[1] - means[0]) > 0.3 * sds[1]
    assert abs(found.mean("A") - means[1]) < 0.15 * sds[1]
    assert was_reweighted(found)
    assert set(found.provenance["exact"]) == {KHAT, SHARE}
    each = found.tree["log_likelihood"]["data"].values[0, :3]
    for k in range(3):
        # The compiled likelihood interpolates the map between temperatures 3 % apart.
        np.testing.assert_allclose(each[k], exact.pointwise({"A": found.draws("A")[k]}), rtol=1e-6)


@pytest.mark.thorough
def test_an_error_that_cannot_be_mended_is_told(pairs):
    class Elsewhere(Analytic):
        def shifts(self, theta, kT):
            return super().shifts(np.asarray(theta) - 0.15, kT)

    class Failing(Analytic):
        def shifts(self, theta, kT):
            return np.full((len(kT), len(self.columns)), np.nan)

    emulator = of_amplitude(25)
    for task, told in (
        (Elsewhere(), "The emulator's error changes the posterior"),
        (Failing(), "No draw could be fitted exactly"),
    ):
        exact = replace(emulator.exact, emulator=replace(emulator.exact.emulator, task=task))
        model = HierarchicalModel(pairs, replace(emulator, exact=exact), scatter=None)
        found = reweighted(model, drawn(0.2, 0.005))
        assert any(told in text for text in found.messages)
        assert not was_reweighted(found)


@pytest.mark.slow
def test_inference_by_fits_alone_agrees(pairs):
    options = {"tau": 0.3, "scatter": None, "seed": 1, "sampler": "population", "draws": 1000}
    smooth = infer(pairs, of_amplitude(25, exact=False), **options).posterior_draws
    fits = infer(pairs, of_amplitude(3).exact, **options).posterior_draws
    assert fits.converged, fits.messages
    assert abs(fits.mean("A") - smooth.mean("A")) < 0.2 * smooth.sd("A")
    assert fits.sd("A") == pytest.approx(smooth.sd("A"), rel=0.1)


def test_the_emulators_error_enters_the_likelihood(pairs):
    emulator = of_amplitude(25, exact=False)
    poor = replace(emulator, emulator=emulator.emulator.with_report([0.02, 0.0, 0.0], judged="newly simulated points"))
    params = {"A": jnp.asarray(0.2), "scatter": jnp.asarray(0.01)}
    expected = jnp.asarray(pairs.values[1])
    good, wide = (HierarchicalModel(pairs, e).noise(params, expected)[:, 0, 0] for e in (emulator, poor))
    np.testing.assert_allclose(wide - good, (0.02 * pairs.values[1, :, 0]) ** 2, rtol=1e-9)
    unknown = replace(emulator, emulator=emulator.emulator.with_report(np.full(3, np.nan)))
    np.testing.assert_array_equal(unknown.error_sd, 0.0)


def test_an_emulators_error_is_compared_with_those_of_the_pairs(pairs):
    """The pairs have errors of 1 per cent each, 1.4 together."""

    def told(error, emulator=None):
        emulator = of_amplitude(5, exact=False) if emulator is None else emulator
        judged = emulator.emulator.with_report(np.full(3, error), judged="newly simulated points")
        return emulator_against_pairs(HierarchicalModel(pairs, replace(emulator, emulator=judged), scatter=None))

    assert told(0.001) == []
    (text,) = told(0.007)
    assert "not small compared with the errors of the pairs (kT 0.49 of them, tested on newly simulated points)" in text
    with pytest.raises(InputError, match="larger than the errors of the pairs"):
        told(0.02)
    (text,) = told(0.02, of_amplitude(5))
    assert "kT 1.4 of them" in text
    (text,) = told(np.nan)
    assert "error is unknown" in text


@pytest.fixture(scope="module")
def telescope_b():
    return xray.example_telescope("b")


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


@pytest.fixture(scope="module")
def sources(library):
    """Six pairs whose absorption and redshift differ, and one cell empty."""
    rng = np.random.default_rng(5)
    found = simulate_pairs(
        train(library, "exact").only("kT"), [0.05, 2.0, 1.0], np.geomspace(3, 9, 6), relative_error=0.03
    )
    redshift = np.append(rng.uniform(0.02, 0.3, 5), np.nan)
    return replace(found, constants={"nH": rng.uniform(0.01, 0.3, 6), "Redshift": redshift})


@pytest.mark.thorough
def test_each_source_is_fitted_with_its_own_absorption_and_redshift(library, sources):
    model = HierarchicalModel(sources, train(library, "exact"), scatter=None)
    assert model.own_constants == ("nH", "Redshift")
    theta, kT = np.array([0.08, 1.5, 0.8]), sources.values[0, :, 0] * 1.02
    params = dict(zip(library.names, theta, strict=True))
    fast = np.asarray(model.expected(params, kT[:, None]))[:, 0]
    for i in range(6):
        nH, z = (float(sources.constants[n][i]) for n in ("nH", "Redshift"))
        own = library.task.with_constants(nH=nH, Redshift=0.05 if np.isnan(z) else z)
        slow = own.nominal_fits(theta, kT[i : i + 1])["kT"][0]
        shared = library.task.nominal_fits(theta, kT[i : i + 1])["kT"][0]
        # A polynomial of degree 4 over what kT can be: a hundredth of errors of 3 per cent.
        assert fast[i] == pytest.approx(slow, rel=3e-4)
        assert i == 5 or abs(shared / slow - 1) > 1e-3
    some = HierarchicalModel(sources.take([4, 1]), train(library, "exact"), scatter=None)
    again = np.asarray(some.expected(params, kT[[4, 1], None]))[:, 0]
    np.testing.assert_allclose(again, fast[[4, 1]], rtol=1e-12)


@pytest.mark.parametrize(
    "family", [xray.Spline(knots=4, low=0.7, high=7.0), modifiers.Gain()], ids=["linear", "matrix"]
)
def test_own_fits_of_other_families(telescope_b, family, sources):
    """Families that are linear in theta are folded once, those of the matrix for each theta."""
    null = np.array(family.null)
    points = np.stack([null, null * 1.01 + 0.01])
    design = Scatter(family.names, points, dict(zip(family.names, points.T.tolist(), strict=True)))
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    library = xray.build_library(
        telescope_b, model, design, modifier=family, kT=np.geomspace(2, 12, 8), band=(0.7, 7.0)
    )
    exact = train(library, "exact")
    theta = null * 1.005 + 0.005
    own = of_sources(exact.only("kT"), sources)
    found = own.emulator.task.shifts(theta)
    kT = np.exp(own.emulator.middle[2] + own.emulator.half[2] * np.cos(np.pi * 2.5 / SOURCE_NODES))
    task = library.task.with_constants(**{n: float(v[2]) for n, v in sources.constants.items()})
    slow = task.nominal_fits(theta, np.array([kT]))["kT"][0] / kT
    assert found[2, 2, 0] == pytest.approx(np.log(slow), abs=1e-6)


def other_response(response, slope, factor=1.0):
    """The telescope at another position: its area changes by a power of energy."""
    return response.with_area(factor * response.area * response.energy**slope)


def fitted_alone(response, model, phi, kT, z):
    """kT of an ordinary fit to the expected counts of one source, simulated through the changed response."""
    source = model.replace(kT=float(kT), Redshift=float(z), norm=0.01, free=("kT", "norm"))
    changed = response.with_area(response.area * phi(response.energy))
    spectrum = xray.fakeit(changed, source, 3e4, noise="asimov")
    return xray.fit(spectrum, response, source, band=(0.7, 7.0), statistic="cstat").values["kT"]


def test_each_source_is_fitted_with_its_own_response(library, telescope_b, sources):
    """Three responses of six sources, one of them the library's; the exposures of the single fits are others."""
    responses = [None, *(other_response(telescope_b, s) for s in (0.3, -0.2))]
    own = [responses[i % 3] for i in range(6)]
    pairs = replace(sources, constants={"Redshift": np.linspace(0.02, 0.2, 6)}, responses={sources.telescopes[1]: own})
    model = HierarchicalModel(pairs, train(library, "exact"), scatter=None)
    assert model.own_constants == ("Redshift", RESPONSE)
    theta, kT = np.array([0.08, 1.5, 0.8]), pairs.values[0, :, 0] * 1.02
    params = dict(zip(library.names, theta, strict=True))
    fast = np.asarray(model.expected(params, kT[:, None]))[:, 0]
    alone = [
        fitted_alone(r or telescope_b, library.task.model, lambda e: Gaussian().factor(e, theta), t, z)
        for r, t, z in zip(own, kT, pairs.constants["Redshift"], strict=True)
    ]
    print("largest difference in kT, exact map and single fits:", np.abs(fast / alone - 1).max())
    # A polynomial of degree 4 over what kT can be: a hundredth of errors of 3 per cent.
    np.testing.assert_allclose(fast, alone, rtol=3e-4)
    without = HierarchicalModel(replace(pairs, responses={}), train(library, "exact"), scatter=None)
    shared = np.asarray(without.expected(params, kT[:, None]))[:, 0]
    assert np.abs(shared / fast - 1)[1] > 1e-3
    assert shared[0] == fast[0]
    some = HierarchicalModel(pairs.take([4, 1]), train(library, "exact"), scatter=None)
    np.testing.assert_allclose(np.asarray(some.expected(params, kT[[4, 1], None]))[:, 0], fast[[4, 1]], rtol=1e-12)


def test_sources_of_one_response_share_one_batch(library, telescope_b, sources):
    other = other_response(telescope_b, 0.3)
    same = replace(telescope_b, name="as the library's")
    pairs = replace(sources, constants={}, responses={sources.telescopes[1]: [other, None, same, other, None, other]})
    found = of_sources(train(library, "exact").only("kT"), pairs).emulator.task
    assert [rows.tolist() for rows, _ in found.parts] == [[0, 3, 5], [1, 2, 4]]
    assert [len(part.kinds) for _, part in found.parts] == [1, 1]
    assert usable(train(library, "exact"), replace(pairs, responses={sources.telescopes[1]: [same] * 6})) == []


def test_responses_that_are_not_used_are_told(library, telescope_b, sources):
    pairs = replace(sources, constants={}, responses={sources.telescopes[1]: [other_response(telescope_b, 0.3)] * 6})
    spline = train(library, "spline", fresh=0)
    posterior = drawn(0.05, 0.01, 20)
    for emulator in (spline, replace(spline, exact=None)):
        (text,) = unused_constants(HierarchicalModel(pairs, emulator), posterior)
        assert text.startswith("response of each source is not used: the library has one for all sources, and biases")
    mended = replace(posterior, provenance={"exact": {KHAT: 0.1, SHARE: 0.9}})
    assert unused_constants(HierarchicalModel(pairs, spline), mended) == []


def test_responses_that_cannot_be_used_are_refused(library, telescope_b, sources):
    name = sources.telescopes[1]
    for responses, told in (
        ({"mos": [None] * 6}, "telescope 'mos'"),
        ({name: [None] * 5}, "5 responses"),
        ({name: ["pn.arf"] * 6}, "a str as a response"),
    ):
        with pytest.raises(InputError, match=told):
            replace(sources, responses=responses)
    low = xray.Response.from_arrays([10.0, 11.0, 12.0], [1.0, 1.0], name="hard")
    far = replace(sources, constants={}, responses={name: [low] * 6})
    with pytest.raises(InputError, match=f"response of source '{sources.names[0]}'"):
        usable(train(library, "exact"), far)


def test_what_of_each_source_is_not_used_is_told(library, sources):
    exact = train(library, "exact")
    spline = train(library, "spline", fresh=0)
    posterior = drawn(0.05, 0.01, 20)
    told = unused_constants(HierarchicalModel(sources, replace(spline, exact=None)), posterior)
    (text,) = told
    assert text.startswith("nH, Redshift of each source are not used: the library has one of each for all sources")
    assert text.endswith("emulator kind 'exact' uses them.")
    assert unused_constants(HierarchicalModel(sources, exact), posterior) == []
    # An emulator's draws that exact fits have re-weighted use them as well.
    assert unused_constants(HierarchicalModel(sources, spline), posterior) == told
    mended = replace(posterior, provenance={"exact": {KHAT: 0.1, SHARE: 0.9}})
    assert unused_constants(HierarchicalModel(sources, spline), mended) == []


def test_one_value_for_all_sources_is_used_where_it_is_not_the_librarys(library, sources):
    exact = train(library, "exact")
    same, other = (replace(sources, constants={"nH": np.full(6, v)}) for v in (0.05, 0.3))
    assert usable(exact, same) == []
    assert usable(exact, other) == ["nH"]
    assert unused_constants(HierarchicalModel(same, train(library, "spline", fresh=0)), drawn(0.05, 0.01, 20)) == []


def test_sources_that_cannot_have_fits_of_their_own_are_refused(library, sources):
    exact = train(library, "exact").only("kT")
    with pytest.raises(InputError, match="nH = -1"):
        of_sources(exact, replace(sources, constants={"nH": np.full(6, -1.0)}))


def test_very_many_sources_share_one_absorption_and_redshift(library, sources):
    n = MOST_SOURCES + 1
    many = replace(
        sources,
        names=tuple(map(str, range(n))),
        values=np.repeat(sources.values[:, :1], n, axis=1),
        covariance=np.repeat(sources.covariance[:, :1], n, axis=1),
        constants={"nH": np.full(n, 0.1)},
    )
    model = HierarchicalModel(many, train(library, "exact"), scatter=None)
    assert model.own_constants == ()
    (text,) = unused_constants(model, drawn(0.05, 0.01, 20))
    assert text == "nH of each source is not used: exact fits take it of at most 500 sources."


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


def test_nearly_equal_weights_are_used_whatever_the_shape_of_their_tail():
    from crosscal.xray.correction.exact import _trusted

    assert _trusted(0.75, 0.999)
    assert _trusted(0.5, 0.2)
    assert not _trusted(0.75, 0.9)
    assert not _trusted(0.5, 0.05)
