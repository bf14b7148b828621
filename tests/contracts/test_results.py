"""What every result offers: table, draws, correction, diagnostics, figures, files; a new part joins by a line here."""

import json
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import xarray
from astropy.table import QTable
from matplotlib.figure import Figure

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.errors import FitError
from crosscal.datasets import read_correction
from crosscal.inference.posterior import Posterior
from crosscal.report.citations import BIBLIOGRAPHY

pytestmark = pytest.mark.thorough

FLUX = "1e-15 erg / (s cm2 Angstrom)"


def concordance():
    from crosscal.concordance import fit, published_like

    return fit(published_like("XCAL_hard", seed=1).data, tau=0.05, draws=100, warmup=100, chains=2, predictive=0)


def lightcurves():
    from crosscal.lightcurves import intercalibrate
    from crosscal.lightcurves.synthetic import simulate

    curves, _ = simulate(seed=1, codes=("A", "B"), points=(25, 20), lines=0)
    (curve,) = curves.files
    return intercalibrate(replace(curves, continuum=replace(curve, unit=FLUX)), draws=200, seed=1)


def fluxcal(passed=True):
    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.demo import demo_filters, demo_library, simulate
    from crosscal.fluxcal.options import Options
    from crosscal.fluxcal.quality import Limits

    truth = simulate(seed=2, n_stars=4, n_targets=2, n_pixels=600)
    limits = Limits(min_stars=1 if passed else 50)
    options = Options(fwhm=5.0, ebv=0.02)
    return Calibrator(truth.catalogue, demo_library(), demo_filters(), options, limits).calibrate(
        truth.frame, loo=False
    )


def fluxcal_night():
    from crosscal.fluxcal.night.night import NightCalibration

    return NightCalibration((fluxcal(),))


def spectrum_fit():
    from crosscal.xray import Model, example_telescope, fakeit, fit

    telescope, model = example_telescope(), Model("powerlaw", PhoIndex=1.7, norm=1e-3)
    return fit(fakeit(telescope, model, counts=2000, band=(0.7, 7.0), seed=1), telescope, model, band=(0.7, 7.0))


def xray():
    from crosscal.core.grid import Axis, Grid
    from crosscal.emulator import TrainingTable, train
    from crosscal.xray import CalibrationEmulator, infer, simulate_pairs
    from crosscal.xray.modifiers import Grey

    grid = Grid(
        (Axis.from_range("scale", 0.7, 1.3, 9), Axis.from_range("T_true", 1.0, 15.0, 12, unit="keV", scale="log"))
    )
    c, kT = grid.points.T
    table = TrainingTable.from_grid(grid, ["ln(kT_nominal/kT_true)"], ((c - 1) * np.log1p(kT))[:, None])
    emulator = CalibrationEmulator(train(table, "spline"), Grey(), {}, "acis", {})
    pairs = simulate_pairs(emulator, {"scale": 1.1}, np.geomspace(2.0, 9.0, 8), seed=1)
    return infer(pairs, emulator, sampler="importance", seed=1)


RESULTS = {f.__name__: f for f in (concordance, lightcurves, fluxcal, fluxcal_night, spectrum_fit, xray)}
#: A fit of one spectrum corrects no instrument.
WITHOUT_CORRECTION = ("spectrum_fit",)
SLOPES = dict.fromkeys(("slope", "loo_slope"), "0.001 mag / Angstrom")
#: Columns of the summary that have a unit; tables of parameters say it in a column "unit".
UNITS = {
    "lightcurves": {"shift": FLUX, "shift_sd": FLUX},
    "fluxcal": {"separation": "arcsec", "teff": "K", "rv": "km / s", "scale_error": "mag", **SLOPES},
    "fluxcal_night": {"separation": "arcsec", "teff": "K", "rv": "km / s", "scale_error": "mag", **SLOPES},
}


@pytest.fixture(scope="module", params=RESULTS)
def case(request):
    return request.param, RESULTS[request.param]()


@pytest.fixture(scope="module")
def written(case, tmp_path_factory):
    directory = tmp_path_factory.mktemp("result")
    case[1].write(directory)
    return directory


def test_summary(case):
    name, result = case
    table = result.summary()
    assert isinstance(table, QTable)
    assert len(table) > 0
    for column, unit in UNITS.get(name, {}).items():
        assert u.Unit(table[column].unit) == u.Unit(unit), column
    if name in ("xray", "spectrum_fit"):
        for text in table["unit"]:
            u.Unit(str(text).replace("/ cm2", "cm-2"))


def test_posterior(case):
    _, result = case
    assert isinstance(result.posterior, xarray.DataTree)
    assert result.posterior is result.posterior_draws.tree
    assert {"chain", "draw"} <= set(result.posterior["posterior"].sizes)


def test_correction(case):
    name, result = case
    if name in WITHOUT_CORRECTION:
        assert result.correction is None
    else:
        assert isinstance(result.correction, Correction)
        assert result.correction.target


def test_words_and_figures(case):
    _, result = case
    assert len(str(result.diagnostics)) > 20
    assert all(isinstance(w, str) and w for w in result.warnings)
    figures = result.figures()
    assert figures
    assert all(isinstance(f, Figure) for f in figures.values())


def test_checks_captions_and_citations(case):
    _, result = case
    assert result.checks
    assert all(isinstance(c, Check) and c.name and c.why for c in result.checks)
    assert result.passed == all(c.passed for c in result.checks)
    assert {name for name in result.figures() if not result.captions.get(name)} == set()
    assert set(result.citations) <= set(BIBLIOGRAPHY)


def test_repr_is_the_answer(case):
    _, result = case
    text = repr(result)
    assert len(text) < 300
    assert text.startswith(f"<{type(result).__name__}")
    assert result.answer[:60] in text


def test_a_notebook_shows_answer_table_and_figure(case):
    _, result = case
    html = result._repr_html_()
    assert "<table" in html
    assert html.count("<img") == 1
    assert "passed: " in html
    diagnostics = result.diagnostics
    assert "<pre" in diagnostics._repr_html_()
    assert "\\n" not in diagnostics._repr_html_()


def test_files(case, written):
    name, result = case
    table = QTable.read(written / "summary.ecsv")
    assert len(table) == len(result.summary())
    again = Posterior.read(written / "posterior.nc")
    np.testing.assert_array_equal(again.matrix()[1], result.posterior_draws.matrix()[1])
    record = json.loads((written / "provenance.json").read_text())
    assert record["versions"]["crosscal"]
    assert record["seed"] is not None
    assert record["config"]
    found = {p.name for p in written.glob("correction.*")}
    if name in WITHOUT_CORRECTION:
        assert found == set()
    else:
        assert found == {"correction.ecsv", "correction.nc"}
        np.testing.assert_allclose(read_correction(written).factor, result.correction.factor, rtol=1e-12)


def test_tables_say_what_their_columns_mean(written):
    for path in written.rglob("*.ecsv"):
        table = QTable.read(path)
        assert not [c for c in table.colnames if not table[c].info.description], path.name


def test_draws_agree_with_the_stated_errors():
    fit = spectrum_fit()
    # 1000 draws give standard deviations to 2.2 %, means to 0.03 sd.
    for name in fit.names:
        assert fit.posterior_draws.sd(name) == pytest.approx(fit.errors[name], rel=0.1)
        assert abs(fit.posterior_draws.mean(name) - fit.values[name]) < 0.15 * fit.errors[name]
    curve = fluxcal()
    np.testing.assert_allclose(curve.posterior_draws.sd("ln_C"), curve.correction.sd, rtol=0.12)


def test_a_fit_without_covariance_writes_no_draws(tmp_path):
    fit = spectrum_fit()
    fit.write(tmp_path)
    bad = replace(fit, covariance=np.full_like(fit.covariance, np.nan))
    with pytest.raises(FitError, match="no posterior: it has no covariance"):
        _ = bad.posterior
    bad.write(tmp_path)
    assert not (tmp_path / "posterior.nc").exists()


def test_a_frame_without_curve_writes_its_tables(tmp_path):
    from crosscal.fluxcal.night.night import NightCalibration

    result = replace(fluxcal(), curve=None)
    result.write(tmp_path)
    assert (tmp_path / "summary.ecsv").exists()
    assert not list(tmp_path.glob("correction.*"))
    assert not (tmp_path / "posterior.nc").exists()
    with pytest.raises(FitError, match="no calibration curve"):
        _ = result.posterior
    with pytest.raises(FitError, match="no frame has a calibration curve"):
        _ = NightCalibration((result,)).posterior
