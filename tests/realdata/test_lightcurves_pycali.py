"""The shared PyCALI runs: likelihood on its stored posterior samples, posterior, evidence and output files.

PyCALI's own rerun of the same case scatters by 0.08 standard deviations in the means and 0.14 in the evidence.
"""

import json

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from crosscal.lightcurves.compat.options import Options
from crosscal.lightcurves.compat.outputs import calibrated_columns, factor_text
from crosscal.lightcurves.formats.pycali import read_block_file, read_pycali
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.layout import Layout
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.reading import Selection, merge, read_asassn, read_ztf

pytestmark = pytest.mark.realdata

CASES = (
    "mrk335",
    "mrk335_err",
    "mrk335_nonorm",
    "mrk335_fixscale",
    "ngc5548_cont",
    "ngc5548_contline",
    "ngc5548_fixcodes",
    "sim",
    "simflag",
)


def load(data_dir, case):
    """Return directory, light curves, settings and stored samples of a case."""
    directory = data_dir / "lightcurves" / "pycali_reference" / case
    run = json.loads((directory / "run.json").read_text())
    curves = read_pycali(directory / run["fcont"], [directory / name for name in run["fline"]])
    settings = Options.setup(fcont=run["fcont"], fline=run["fline"], **run["options"]).settings(curves)
    return directory, curves, settings, np.loadtxt(directory / "data" / "posterior_sample.txt")


def textbook(model, row):
    """PyCALI's log likelihood by dense matrices, written from its documentation, in the columns of its samples."""
    curves, nk = model.curves, len(model.curves.codes)
    nf, n_files = curves.n_flags, len(curves.files)
    process = row[: 2 * n_files].reshape(n_files, 2)
    phi, G = row[2 * n_files :][:nk], row[2 * n_files + nk :][:nk]
    errors = row[2 * n_files + 2 * nk :].reshape(n_files, 2, nk, nf)
    total = 0.0
    for i, curve in enumerate(curves.files):
        C = model.norm.factors[i][curve.code]
        y = phi[curve.code] * curve.flux / C - (G[curve.code] if i == 0 else 0.0)
        eps, b = (errors[i, kind][curve.code, curve.flag] for kind in (0, 1))
        sigma, tau = np.exp(process[i])
        S = sigma**2 * tau * np.exp(-np.abs(curve.time[:, None] - curve.time[None, :]) / tau)
        S[np.diag_indices_from(S)] += phi[curve.code] ** 2 * (b**2 * (curve.error / C) ** 2 + eps**2)
        root = np.linalg.cholesky(S)
        wy, w1 = solve_triangular(root, np.stack([y, np.ones(len(y))], axis=1), lower=True).T
        q = w1 @ wy / (w1 @ w1)
        r = wy - q * w1
        total += -0.5 * r @ r - np.log(np.diag(root)).sum() - 0.5 * np.log(w1 @ w1) + np.log(phi[curve.code]).sum()
    return total


@pytest.mark.parametrize("case", CASES)
def test_likelihood_on_stored_samples(data_dir, case):
    _, curves, settings, samples = load(data_dir, case)
    model = Model(curves, settings, marginal=[])
    assert samples.shape[1] == model.layout.size
    x = model.from_pycali(samples)
    lay: Layout = model.layout
    # What is held there is held here, at the same values (written with 7 digits).
    held = ~lay.free
    np.testing.assert_allclose(x[:, held], np.tile(lay.fixed[held], (len(x), 1)), atol=1e-6)
    free = lay.free
    assert np.all(x[:, free] >= lay.low[free] - 1e-6)
    assert np.all(x[:, free] <= lay.high[free] + 1e-6)
    # Both are exact; the issue asks for 2e-3.
    assert worst_difference(model, samples, 10 if len(curves) > 300 else 100) < 1e-6


def worst_difference(model, samples, n):
    """Largest difference of the log likelihood to dense matrices over ``n`` of PyCALI's samples."""
    few = samples[np.linspace(0, len(samples) - 1, n).round().astype(int)]
    return max(abs(model.log_likelihood(model.from_pycali(row)) - textbook(model, row)) for row in few)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_likelihood_on_two_hundred_stored_samples(data_dir, case, slow_scale):
    _, curves, settings, samples = load(data_dir, case)
    model = Model(curves, settings, marginal=[])
    assert worst_difference(model, samples, max(5, round(200 * slow_scale))) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_posterior_and_evidence(data_dir, case):
    _, curves, settings, samples = load(data_dir, case)
    expected = json.loads((data_dir / "lightcurves" / "expected.json").read_text())[case]
    result = intercalibrate(curves, settings=settings, seed=1)
    assert result.draws.posterior.converged
    assert result.draws.effective_size > 400
    model, x = result.model, result.draws.vectors
    stored = model.from_pycali(samples)
    free = model.layout.free
    sd = stored[:, free].std(axis=0)
    shift = np.abs(x[:, free].mean(axis=0) - stored[:, free].mean(axis=0)) / sd
    assert shift.max() < 0.2
    ratio = x[:, free].std(axis=0) / sd
    # 10 %, beyond three standard errors of the standard deviation of its (resampled, so repeated) posterior sample:
    # only the share of different rows carries information.
    distinct = len(np.unique(samples, axis=0))
    kurtosis = np.mean(((x[:, free] - x[:, free].mean(axis=0)) / x[:, free].std(axis=0)) ** 4, axis=0)
    noise = np.sqrt((kurtosis - 1) / (4 * distinct))
    assert np.all(np.abs(ratio - 1) < 0.10 + 3 * noise)
    # PyCALI's evidence of mrk335_nonorm disagrees with its own of mrk335: see the next test.
    allowed = 0.3 if case != "mrk335_nonorm" else 0.3 + 0.27
    assert result.draws.posterior.log_evidence == pytest.approx(expected["logZ"], abs=allowed)


def test_evidence_does_not_depend_on_the_normalisation(data_dir):
    """mrk335_nonorm is mrk335 with other divisors and wider priors: the evidences differ by an exact constant.

    sum n_c ln(C_c / C_0) from the Jacobian, and the logarithms of the prior volumes. PyCALI's own two values miss the
    constant by 0.27 (by 0.41 with its rerun of mrk335), so its value of mrk335_nonorm is that far off.
    """
    _, curves, settings, _ = load(data_dir, "mrk335")
    _, _, other, _ = load(data_dir, "mrk335_nonorm")
    first, second = (intercalibrate(curves, settings=s, seed=2) for s in (settings, other))
    C = first.model.norm.factors[0]
    jacobian = float(curves.continuum.counts @ np.log(C[0] / C))
    scales = [np.log(np.log(s.scale[1] / s.scale[0])) for s in (settings, other)]
    shifts = [np.log(s.shift[1] - s.shift[0]) for s in (settings, other)]
    constant = jacobian - 2 * (scales[1] - scales[0]) - 2 * (shifts[1] - shifts[0])
    mine = [r.draws.posterior.log_evidence for r in (first, second)]
    # The errors of both are 0.004; they scatter by 0.01 from seed to seed.
    assert mine[1] - mine[0] == pytest.approx(constant, abs=0.05)
    expected = json.loads((data_dir / "lightcurves" / "expected.json").read_text())
    theirs = [expected[c]["logZ"] for c in ("mrk335", "mrk335_b")] + [expected["mrk335_nonorm"]["logZ"] - constant]
    assert mine[0] == pytest.approx(np.mean(theirs), abs=0.3)


@pytest.mark.parametrize("case", ["mrk335", "ngc5548_contline", "simflag"])
def test_output_files(data_dir, case):
    directory, curves, settings, samples = load(data_dir, case)
    result = intercalibrate(curves, settings=settings, seed=1)
    sd = samples.std(axis=0)
    for i, curve in enumerate(curves.files):
        name = next(directory.rglob(f"{curve.name}_cali"))
        table = np.genfromtxt(name, dtype=None, encoding="utf-8")
        flux, error = calibrated_columns(result, i)
        np.testing.assert_allclose(curve.time, table["f0"], atol=1e-6)
        assert [curve.codes[c] for c in curve.code] == table["f3"].tolist()
        # Medians of two samples of the same posterior: within 0.2 of the calibration error, which is part of the error.
        assert np.all(np.abs(flux - table["f1"]) < 0.2 * error)
        # The mode of a histogram of about 1000 draws is noisy.
        assert np.median(np.abs(error / table["f2"] - 1)) < 0.03
        assert np.max(np.abs(error / table["f2"] - 1)) < 0.5
    factor = (directory / "data" / "factor.txt").read_text().splitlines()
    ours = factor_text(result).splitlines()
    assert len(ours) == len(factor)
    assert ours[2].split() == factor[2].split()
    assert (sd >= 0).all()
    norms = [line.split()[2] for line in (directory / "data" / "PyCALI_output.txt").read_text().splitlines()
             if not line.startswith("#")]  # fmt: skip
    np.testing.assert_allclose(result.model.norm.factors.ravel(), np.array(norms, dtype=float), rtol=1e-6)


def test_fewer_outliers_than_pycali(data_dir):
    """Its cut removes 45 of 878 points; exact leave-one-out residuals exceed 5 sigma for one."""
    directory, curves, settings, _ = load(data_dir, "mrk335")
    removed = len(curves) - len(read_block_file(directory / "Mrk335_new.txt"))
    assert removed == 45
    result = intercalibrate(curves, settings=settings, seed=1)
    assert sum(len(points) for points in result.diagnostics.outliers.values()) == 1


def test_raw_survey_tables_give_the_prepared_files(data_dir):
    """From ASAS-SN and ZTF tables to the block files of PyCALI's example, by its own cuts and binning."""
    base = data_dir / "lightcurves"
    cuts = Selection(zeropoint=3.92e-9, unit=1e-15, time_start=2450000.0, errlimit=0.079, rebin=1.0)
    curves = merge(read_ztf(base / "ztf_mrk335.csv", cuts), read_asassn(base / "asassn_mrk335.csv", cuts))
    prepared = read_block_file(base / "pycali_reference" / "mrk335" / "Mrk335.txt")
    assert curves.codes == prepared.codes
    for column in ("time", "flux", "error"):
        # The prepared file has 7 digits in its fluxes.
        np.testing.assert_allclose(getattr(curves.continuum, column), getattr(prepared, column), rtol=1e-6)
    cameras = read_block_file(base / "mrk335_cameras.txt")
    single = Selection(zeropoint=3.92e-9, unit=1e-15, time_start=2450000.0, errlimit=0.079)
    found = read_asassn(base / "asassn_mrk335.csv", single, by_camera=True)
    for code in cameras.codes[1:]:
        np.testing.assert_allclose(found[code][1], cameras.flux[cameras.of_code(code)], rtol=1e-6)
