"""The result: calibrated curves and covariance, reconstruction, leave-one-out, gauges, diagnostics, files."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.inference.posterior import Posterior
from crosscal.lightcurves.identifiability import at_limits, overlap, prior_dominated
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.outliers import leave_one_out, remove_outliers
from crosscal.lightcurves.seasons import season_edges, split_seasons
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.types import LightCurves, curve_from_arrays


def test_truth_is_found(simulated, result):
    _, truth = simulated
    f = result.factors
    for draws, true in ((f.scale, truth.scale), (f.shift, truth.shift)):
        z = (draws[:, 1:].mean(axis=0) - true[1:]) / draws[:, 1:].std(axis=0)
        assert np.abs(z).max() < 4
    assert np.all(f.scale[:, 0] == 1)
    assert np.all(f.shift[:, 0] == 0)


def test_summary_and_answer(result):
    table = result.summary()
    assert list(table["telescope"]) == ["A", "B", "C"]
    assert table["scale_sd"][0] == 0
    assert list(table["held"]) == ["scale, shift", "-", "-"]
    assert table.meta["reference"] == "A"
    assert "A" in result.answer
    assert "180 points of 3 telescopes" in result.answer
    assert "ESS" in str(result.diagnostics)


def test_correction_and_posterior(result, tmp_path):
    assert result.correction.axis == "telescope"
    np.testing.assert_allclose(result.correction.factor[0], 1.0)
    stored = Posterior.read(result.posterior_draws.write(tmp_path / "posterior.nc"))
    np.testing.assert_allclose(stored.draws("scale"), result.factors.scale)
    assert stored.draws("syserr").shape[1:] == (2, 3, 1)


def test_calibrated_draws_have_the_stated_covariance(result):
    found = result.curve(0)
    draws = result.calibrated(draws=len(result.factors.scale))
    sample = np.cov(draws, rowvar=False)
    stated = found.covariance()
    # The common part per telescope is what matters: compare the variance of the mean flux of each telescope.
    for code in ("A", "B", "C"):
        mine = found.curve.of_code(code)
        direction = np.zeros(len(found.flux))
        direction[mine] = 1 / len(mine)
        # 1500 draws give a variance to 4 %.
        assert direction @ sample @ direction == pytest.approx(direction @ stated @ direction, rel=0.15)
        mean, error = found.mean_flux(mine)
        assert error**2 == pytest.approx(direction @ stated @ direction, rel=1e-9)
        assert mean == pytest.approx(found.flux[mine].mean())
    with pytest.raises(InputError, match="no points"):
        found.mean_flux(np.zeros(0, dtype=int))


def test_common_error_is_not_averaged_away(result):
    found = result.curve(0)
    mine = found.curve.of_code("B")
    _, error = found.mean_flux(mine)
    naive = np.sqrt(np.sum(found.error[mine] ** 2)) / len(mine)
    assert error > 1.1 * naive


def test_draws_without_noise_move_a_telescope_together(result):
    draws = result.calibrated(draws=300, noise=False)
    curve = result.curves.continuum
    reference = curve.of_code("A")
    np.testing.assert_allclose(draws[:, reference], np.tile(curve.flux[reference], (300, 1)))


def test_calibrated_table(result):
    table = result.calibrated()
    assert set(table["telescope"]) == {"A", "B", "C"}
    np.testing.assert_allclose(
        np.hypot(table["error_measurement"], table["error_calibration"]), table["error"], rtol=1e-12
    )
    # The model's value at each point is the reconstruction at its time.
    at = result.reconstruct(times=result.curves.continuum.time[:5])
    np.testing.assert_allclose(table["source"][:5], at.mean, rtol=1e-9)
    np.testing.assert_allclose(table["source_sd"][:5], at.sd, rtol=1e-6)


def test_reconstruction_is_the_conditional_of_dense_algebra(simulated):
    curves, _ = simulated
    model = Model(curves, Settings(), marginal=[])
    lay = model.layout
    x = lay.fixed.copy()
    x[lay.free] = 0.5 * (lay.low + lay.high)[lay.free]
    parts = model.parts(x, 0)
    one, curve = model.files[0], curves.continuum
    times = np.sort(np.concatenate([np.linspace(-50, 1050, 40), curve.time[:3]]))
    mean, variance = one.predict(parts, times)
    process = model.settings.process
    theta = parts[0]
    one.set_up(*parts)
    y, R = one.W[:, 0].copy(), one.R.copy()

    def S(a, b):
        lag = np.abs(a[:, None] - b[None, :])
        return process.covariance(theta, lag.ravel()).reshape(lag.shape)

    inverse = np.linalg.inv(S(curve.time, curve.time) + np.diag(R))
    cross = S(times, curve.time)
    ones = np.ones(len(y))
    F = ones @ inverse @ ones
    q = ones @ inverse @ y / F
    rest = 1 - cross @ inverse @ ones
    np.testing.assert_allclose(mean, q + cross @ inverse @ (y - q), rtol=1e-7)
    exact = process.covariance(theta, np.zeros(1)) - np.sum((cross @ inverse) * cross, axis=1) + rest**2 / F
    np.testing.assert_allclose(variance, exact, rtol=1e-6)


def test_reconstruction_times(result):
    found = result.reconstruct(times=[500.0, 100.0])
    assert found.time.tolist() == [100.0, 500.0]
    assert len(result.reconstruct(file="line1").time) == 2 * len(result.curves.lines[0])
    with pytest.raises(InputError, match="not finite"):
        result.reconstruct(times=[np.nan])
    with pytest.raises(UnknownNameError):
        result.reconstruct(file="line9")
    with pytest.raises(InputError, match="0 to 1"):
        result.reconstruct(file=7)


def test_leave_one_out_is_exact(simulated, dense):
    """Each residual equals the prediction from the other points by dense algebra."""
    curves, _ = simulated
    model = Model(curves, Settings())
    lay = model.layout
    x = lay.fixed.copy()
    x[lay.free] = 0.5 * (lay.low + lay.high)[lay.free]
    found = leave_one_out(model, x[None], 0)
    _, inverse, H = dense(model, x, 0, shifts=tuple(model.marginal))
    C = np.linalg.inv(inverse)
    one = model.files[0]
    one.set_up(*model.parts(x, 0))
    y = one.W[:, 0].copy()
    for j in (0, 7, 50, len(y) - 1):
        others = np.arange(len(y)) != j
        inv = np.linalg.inv(C[np.ix_(others, others)])
        Ho = H[others]
        F = np.linalg.inv(Ho.T @ inv @ Ho)
        beta = F @ Ho.T @ inv @ y[others]
        k = C[j, others]
        gap = H[j] - k @ inv @ Ho
        residual = y[j] - (H[j] @ beta + k @ inv @ (y[others] - Ho @ beta))
        variance = C[j, j] - k @ inv @ k + gap @ F @ gap
        assert found.residual[j] == pytest.approx(residual, rel=1e-6)
        assert found.sd[j] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_outliers_are_removed_with_their_flags(simulated):
    curves, _ = simulated
    model = Model(curves, Settings())
    lay = model.layout
    x = lay.fixed.copy()
    x[lay.free] = 0.5 * (lay.low + lay.high)[lay.free]
    kept, removed = remove_outliers(curves, model, x[None], threshold=0.5)
    assert sum(map(len, removed)) > 0
    assert len(kept) == len(curves) - sum(map(len, removed))
    with pytest.raises(InputError, match="threshold"):
        remove_outliers(curves, model, x[None], threshold=0.0)
    with pytest.raises(InputError, match="leave-one-out: the likelihood is not defined; expected finite parameters"):
        leave_one_out(model, np.full_like(x, np.nan)[None])


def test_point_alone_with_its_shift_cannot_be_judged():
    t = np.arange(30.0)
    f = 1 + 0.1 * np.sin(t / 3)
    curves = LightCurves.from_arrays({"A": (t, f, 0 * t + 0.02), "B": ([15.0], [1.3], [0.02])})
    model = Model(curves, Settings(fixed_scale=True))
    x = model.layout.fixed.copy()
    x[model.layout.kernel[0]] = np.log([0.05, 8.0])
    z = leave_one_out(model, x[None], 0).z
    assert np.isnan(z[curves.continuum.of_code("B")]).all()
    assert np.isfinite(z).sum() == 30


def test_regauge_changes_numbers_not_curves(result):
    other = result.regauge("B")
    assert other.reference == "B"
    assert np.allclose(other.factors.scale[:, 1], 1)
    assert np.allclose(other.factors.shift[:, 1], 0)
    # A curve calibrated to B is the curve calibrated to A brought to B: F_B = (F_A + G_B) / phi_B.
    phi, G = result.factors.scale[:, [1]], result.factors.shift[:, [1]]
    first, second = (r.calibrated(draws=10**6, noise=False) for r in (result, other))
    np.testing.assert_allclose(second, (first + G) / phi, rtol=1e-10)
    back = other.regauge("A").factors
    np.testing.assert_allclose(back.scale, result.factors.scale, rtol=1e-12)
    np.testing.assert_allclose(back.shift, result.factors.shift, atol=1e-12)
    np.testing.assert_allclose(back.kernel, result.factors.kernel, atol=1e-12)
    np.testing.assert_allclose(back.mean, result.factors.mean, rtol=1e-12)
    source = other.reconstruct(times=[200.0, 500.0])
    expected = (result.reconstruct(times=[200.0, 500.0]).mean + G.mean()) / phi.mean()
    np.testing.assert_allclose(source.mean, expected, rtol=0.02)
    line = other.reconstruct(file=1, times=[200.0])
    assert line.mean[0] == pytest.approx(result.reconstruct(file=1, times=[200.0]).mean[0] / phi.mean(), rel=0.02)
    assert repr(line).startswith("Reconstruction(name=")
    assert "mean=array(1,)" in repr(line)
    with pytest.raises(UnknownNameError):
        result.regauge("Z")


def test_a_telescope_without_points_is_no_gauge(simulated, result):
    curves, _ = simulated
    bare = tuple(replace(one, codes=(*one.codes, "D"), flag_labels=(*one.flag_labels, ())) for one in curves.files)
    with pytest.raises(InputError, match="telescope 'D' has no points"):
        replace(result, curves=replace(curves, continuum=bare[0], lines=bare[1:])).regauge("D")


@pytest.mark.slow
def test_regauged_reference_equals_a_fit_with_that_reference(simulated, result):
    """With wide priors the two differ by the prior only."""
    direct = intercalibrate(simulated[0], systematic_error=True, seed=5, reference="B", draws=1500)
    other = result.regauge("B").factors
    index = [direct.factors.codes.index(c) for c in other.codes]
    sd = direct.factors.scale[:, index].std(axis=0)
    difference = np.abs(direct.factors.scale[:, index].mean(axis=0) - other.scale.mean(axis=0))
    assert np.all(difference <= 0.3 * sd + 1e-12)


def test_thin_wants_draws(result):
    with pytest.raises(InputError, match="at least 1"):
        result.factors.thin(0)


def test_no_overlap_is_told():
    curves, _ = simulate(seed=2, codes=("A", "B"), points=(60, 40), windows=((0.0, 0.45), (0.55, 1.0)))
    graph = overlap(curves, 5.0)
    assert graph.isolated() == ("B",)
    assert graph.component.tolist() == [0, 1]
    found = intercalibrate(curves, seed=1, draws=1000)
    assert any("stationarity" in w and w.startswith("B: only") for w in found.warnings)


def test_overlap_counts():
    t = np.array([0.0, 10.0, 20.0])
    one = 0 * t + 1
    curves = LightCurves.from_arrays(
        {"A": (t, one, one), "B": (t + 0.5, one, one), "C": ([20.6], [1.0], [1.0]), "D": ([], [], [])}
    )
    graph = overlap(curves, 0.7)
    assert graph.pairs[:, 0].tolist() == [0, 3, 1, 0]
    assert graph.component.tolist() == [0, 0, 0, -1]
    assert overlap(curves, 0.1).isolated() == ("B", "C")


def test_limits_are_told(simulated):
    curves, _ = simulated
    found = intercalibrate(curves, seed=1, draws=1000, scale=(0.99, 1.01))
    assert any(label.startswith("log_scale") for label in found.diagnostics.limits)
    assert any("prior limit" in w for w in found.warnings)
    assert set(found.summary()["at_limit"]) > {"-"}


def test_prior_dominated(rng):
    model = Model(simulate(seed=1)[0], Settings(systematic_error=True))
    lay = model.layout
    draws = np.tile(0.5 * (lay.low + lay.high), (2000, 1))
    draws[:, lay.scale[1]] = 0.1 + 1e-3 * rng.standard_normal(2000)
    assert not prior_dominated(lay, draws)
    assert not at_limits(lay, draws)
    place = int(lay.shift[1])
    draws[:, place] = rng.uniform(lay.low[place], lay.high[place], 2000)
    assert prior_dominated(lay, draws) == (place,)
    assert at_limits(lay, draws) == {place: "both"}
    draws[:, place] = lay.high[place]
    assert at_limits(lay, draws) == {place: "upper"}
    # A systematic error of zero is no limit that one would widen.
    draws[:, lay.syserr] = 0.0
    assert at_limits(lay, draws) == {place: "upper"}


def test_seasons():
    curves, _ = simulate(seed=3, codes=("A", "B"), points=(50, 40))
    split = split_seasons(curves, edges=[300.0, 600.0])
    assert split.codes == ("A", "B@1", "B@2", "B@3")
    assert split.continuum.counts.sum() == 90
    late = split.continuum.of_code("B@3")
    assert split.continuum.time[late].min() > 600
    assert split_seasons(curves, edges=[300.0], keep=[]).codes == ("A@1", "A@2", "B@1", "B@2")
    assert len(season_edges(curves, 1e6)) == 0
    with pytest.raises(InputError, match="one of them"):
        split_seasons(curves)
    with pytest.raises(InputError, match="increasing"):
        split_seasons(curves, edges=[600.0, 300.0])
    with pytest.raises(InputError, match="time > 0"):
        season_edges(curves, 0.0)


@pytest.mark.slow
def test_factors_per_season_are_found():
    """A telescope whose scale changes between seasons."""
    curves, _ = simulate(seed=6, codes=("A", "B"), points=(150, 100), scale=(1.0, 1.0), shift=(0.0, 0.0), error=0.01)
    c = curves.continuum
    flux = np.where((c.code == 1) & (c.time > 500), c.flux * 1.25, c.flux)
    from dataclasses import replace

    split = split_seasons(LightCurves(replace(c, flux=flux)), edges=[500.0])
    found = intercalibrate(split, seed=1, draws=1500).factors
    for code, true in (("B@1", 1.0), ("B@2", 0.8)):
        draws = found.scale[:, found.codes.index(code)]
        assert abs(draws.mean() - true) < 4 * draws.std()


def test_difference_fluxes():
    """A difference light curve has a negative mean; scale and shift are still found."""
    curves, truth = simulate(seed=8, codes=("A", "B"), points=(100, 80), scale=(1.0, 1.1), shift=(0.0, 0.1), error=0.01)
    c = curves.continuum
    from dataclasses import replace

    flux = np.where(c.code == 1, c.flux - 2.0, c.flux)
    found = intercalibrate(LightCurves(replace(c, flux=flux)), normalisation="spread", seed=1, draws=1500).factors
    # Taking 2 off the measured flux takes 2 phi off phi f, so the shift becomes G - 2 phi.
    for draws, true in ((found.scale[:, 1], 1.1), (found.shift[:, 1] + 2 * found.scale[:, 1], 0.1)):
        assert abs(draws.mean() - true) < 4 * draws.std()
    assert truth.shift[1] == 0.1


def test_figures(result):
    drawn = result.figures()
    assert {"calibrated_continuum", "calibrated_line1", "residuals_line1", "factors", "overlap", "corner"} <= set(drawn)
    assert all(figure.axes for figure in drawn.values())
    assert all(result.captions.get(name) for name in drawn)
    # Names say which light curve, and number pages only where there are several.
    assert not [name for name in drawn if name.startswith(("process_0", "errors_0"))]
    assert result.citations


def test_simulate_wants_equal_lengths():
    with pytest.raises(InputError, match="lengths differ"):
        simulate(points=(1, 2))


def test_one_telescope(simulated):
    curves, _ = simulate(seed=1, codes=("A",), points=40)
    found = intercalibrate(curves, seed=1, draws=500)
    assert "nothing to intercalibrate" in found.answer
    assert found.figures()


def test_awkward_telescopes_together(rng):
    """One point, an empty continuum with a line, equal times, duplicated and unsorted rows: all factors are found."""
    t = rng.uniform(0, 300, 60)
    true = 1 + 0.2 * np.sin(t / 20)
    f, e = true + 0.02 * rng.standard_normal(60), np.full(60, 0.02)
    twice = np.r_[0:60, 0:5]
    continuum = {
        "A": (t[twice], f[twice], e[twice]),
        "B": (t[:30], 1.25 * true[:30], e[:30]),
        "one": (t[:1], 1.25 * true[:1], e[:1]),
        "line only": ([], [], []),
        "nothing": ([], [], []),
    }
    half = {"A": (t, 0.5 * f, 0.5 * e), "B": (t[:20], 0.625 * true[:20], 0.5 * e[:20]), "one": ([], [], [])}
    half |= {"line only": (t[::3] + 0.1, 0.4 * true[::3], 0.5 * e[::3]), "nothing": ([], [], [])}
    curves = LightCurves(curve_from_arrays(continuum, name="c"), (curve_from_arrays(half, name="l"),))
    found = intercalibrate(curves, seed=1, draws=1000)
    scale = found.factors.scale
    truth = np.array([1, 0.8, 0.8, 1.25])
    assert np.all(np.abs(scale.mean(axis=0)[:4] - truth) <= 5 * scale.std(axis=0)[:4] + 1e-12)
    assert np.ptp(scale[:, 4]) == 0
    for i in (0, 1):
        assert np.all(np.isfinite(found.curve(i).error))
        assert np.all(np.isfinite(found.reconstruct(file=i).sd))
    assert found.figures()
    assert "4 telescopes" in found.answer
