"""Fits at the resolution of a microcalorimeter: redshift and velocity free, checked against the model itself."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import ndtr

from crosscal.core.errors import FitError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.fitting.solve import _checked, _descend, table_shift
from crosscal.xray.fitting.statistics import cstat
from crosscal.xray.instrument.response import Response

TRUTH = {"kT": 4.0, "Abundanc": 0.6, "Redshift": 0.01724, "norm": 0.3}
BAND = (6.2, 7.0)


def calorimeter(fwhm=5e-3, step=5e-4, low=6.1, high=7.1):
    """A response of Gaussian lines of 5 eV FWHM on channels of 0.5 eV."""
    edges = np.linspace(low, high, round((high - low) / step) + 1)
    n, sigma = edges.size - 1, fwhm / 2.3548
    offset = (np.arange(n)[:, None] - np.arange(n)[None, :]) * step
    matrix = ndtr((offset + 0.5 * step) / sigma) - ndtr((offset - 0.5 * step) / sigma)
    matrix[np.abs(offset) > 6 * sigma] = 0.0
    area = np.full(n, 200.0)
    return Response(edges[:-1], edges[1:], area, csr_array(matrix), edges[:-1], edges[1:], name="calorimeter")


@pytest.fixture(scope="module")
def response():
    return calorimeter()


@pytest.fixture(scope="module")
def broad():
    free = ("kT", "norm", "Abundanc", "Redshift", "Velocity")
    return Model("TBabs*bapec", nH=0.14, free=free, Velocity=165.0, **TRUTH)


def test_redshift_and_velocity(response, broad):
    spectrum = fakeit(response, broad, exposure=4e5, seed=3)
    start = broad.replace(kT=3.0, Abundanc=0.4, Redshift=0.0178, Velocity=0.0)
    found = fit(spectrum, response, start, band=BAND)
    assert found.status.name == "OK"
    for name in broad.free:
        assert abs(found.values[name] - broad.parameter(name).default) < 4 * found.errors[name]
    assert found.errors["Redshift"] < 3e-5
    # The statistic is that of the model itself, evaluated outside the fit.
    mask = response.band(*BAND)
    rate = response.fold(broad.spectrum(response.energy_edges, **found.values))[mask] * spectrum.exposure
    assert found.statistic == pytest.approx(cstat(spectrum.counts[mask], rate).sum(), abs=1e-3)
    # 1600 channels: C has its expected value within a few standard deviations.
    assert found.pvalue > 1e-3


def test_a_plasma_table_coarser_than_the_response_is_told(response, telescope, plasma, broad):
    spectrum = fakeit(response, broad, exposure=1e3, seed=3)
    notes = fit(spectrum, response, broad.replace(free=("norm",)), band=BAND).notes
    assert "sums weak lines in bins of 0." in notes[0]
    assert "wider than the resolution of the response, 0.076 %" in notes[0]
    assert fit(fakeit(telescope, plasma, counts=1e3, seed=1), telescope, plasma, band=(0.7, 7.0)).notes == ()


def test_shifted_lines_are_exact(response, broad):
    """No interpolation in redshift, and derivatives that equal differences of other steps."""
    source = fit(fakeit(response, broad, exposure=1e5, seed=1), response, broad, band=BAND, scan=False)._problem.source
    assert source.spacing == {}
    x = source.to_engine({n: broad.parameter(n).default for n in source.names})
    counts, jacobian = np.empty(source.matrix.shape[0]), np.empty((x.size, source.matrix.shape[0]))
    source.evaluate(x, counts, jacobian)
    sizes = {"kT": 1e-4, "Redshift": 1e-7, "Velocity": 1e-2, "norm": 1e-3, "Abundanc": 1e-3}
    for j, size in enumerate(sizes[n] for n in source.names):
        step = size * np.eye(x.size)[j]
        numeric = (source.counts(x + step) - source.counts(x - step)) / (2 * size)
        np.testing.assert_allclose(jacobian[j], numeric, atol=2e-4 * np.abs(jacobian[j]).max())


@pytest.fixture(scope="module")
def sharp():
    return Model("TBabs*apec", nH=0.14, free=("kT", "norm", "Redshift"), **TRUTH)


def test_sharp_lines_are_widened_to_the_bins_and_shifted_exactly(response, sharp):
    spectrum = fakeit(response, sharp.replace(smooth_lines=True), exposure=4e5, seed=3)
    found = fit(spectrum, response, sharp.replace(Redshift=0.0176), band=BAND)
    assert found.status.name == "OK"
    # A tenth of a bin of 0.5 eV.
    assert found.errors["Redshift"] * 6700 < 0.06
    assert abs(found.values["Redshift"] - TRUTH["Redshift"]) < 4 * found.errors["Redshift"]
    assert found.pvalue > 1e-3


@pytest.fixture
def foreign(monkeypatch):
    """As a model of the XSPEC library is treated: its lines cannot be widened, so it is interpolated in redshift."""
    monkeypatch.setattr(Model, "precise", False)


def test_lines_of_other_models_are_interpolated_at_the_resolution_of_the_response(response, broad, foreign):
    spectrum = fakeit(response, broad, exposure=2e4, seed=3)
    start = broad.replace(Redshift=0.0176, free=("norm", "Redshift", "Velocity"))
    found = fit(spectrum, response, start, band=BAND)
    (spacing,) = found._problem.source.spacing.values()
    # Sigma / E is 2.1 eV in 7 keV; the interval is a fraction of it, and nothing like the 2e-3 of a CCD.
    assert spacing < 0.4 * 2.13e-3 / 7.0
    assert found.status.name == "OK"
    assert abs(found.values["Redshift"] - TRUTH["Redshift"]) < 4 * found.errors["Redshift"]


def test_a_table_that_is_too_coarse_is_refined_or_told(response, broad, foreign):
    spectrum = fakeit(response, broad, exposure=2e4, seed=3)
    problem = fit(spectrum, response, broad.replace(free=("norm", "Redshift")), band=BAND, scan=False)._problem
    source = problem.source
    (j,) = source.spacing
    # As every redshift was interpolated once: 13 eV apart, for lines of 5 eV.
    source.spacing = {j: 2e-3}
    bad = _descend(source, problem.data, problem.x, problem.work)
    assert table_shift(source, problem.data, bad, problem.work) > 1
    mended, told = _checked(source, problem.data, bad, problem.work)
    assert (mended.status.name, told) == ("OK", ())
    assert source.spacing[j] < 1e-3
    sd = np.sqrt(np.diag(problem.covariance))
    assert np.max(np.abs(mended.x - problem.x) / sd) < 0.5
    source.spacing, source.narrowest = {j: 2e-3}, 1.0
    refused, told = _checked(source, problem.data, bad, problem.work)
    assert refused.status.name == "INACCURATE"
    assert "cross bins of energy" in told[0]


def test_two_components_from_a_start_that_ends_in_a_wrong_minimum(telescope):
    """A soft plasma under a power law, absorbed: from 1 keV it was fitted as a bad hot one, with a narrow interval."""
    truth = Model("TBabs*(apec+powerlaw)", nH=0.2, kT=0.15, norm=4.8e-3, PhoIndex=2.2, norm_2=1e-3)
    spectrum = fakeit(telescope, truth, counts=4000, band=(0.4, 8.0), seed=1)
    free = ("nH", "kT", "norm", "PhoIndex", "norm_2")
    found = [
        fit(spectrum, telescope, Model("TBabs*(apec+powerlaw)", nH=0.2, kT=kT, free=free), band=(0.4, 8.0))
        for kT in (0.15, 1.0, 4.0)
    ]
    for one in found:
        assert one.statistic == pytest.approx(found[0].statistic, abs=0.01)
        assert abs(one.values["kT"] - 0.15) < 4 * one.errors["kT"]


def test_an_interval_that_meets_a_better_minimum_says_so(telescope, plasma):
    spectrum = fakeit(telescope, plasma, counts=2e4, band=(0.7, 7.0), kT=4.0, seed=3)
    found = fit(spectrum, telescope, plasma, band=(0.7, 7.0))
    problem = found._problem
    # A fit that stopped short of the minimum.
    problem.statistic, problem.x = found.statistic + 5.0, problem.x + np.array([0.0, 1e-9])
    with pytest.raises(FitError, match="interval of kT found a better minimum: fit again from kT = "):
        found.interval("kT")


def test_another_minimum_of_nearly_the_same_depth_is_named():
    from dataclasses import replace
    from types import SimpleNamespace

    from crosscal.xray.fitting.engine import Status
    from crosscal.xray.fitting.solve import Solved, _rivals

    source = SimpleNamespace(names=("kT",), from_engine=lambda x: x)
    best = Solved(np.array([1.0]), np.array([[0.01]]), 100.0, Status.OK, None, ())
    far, near = replace(best, x=np.array([3.0]), statistic=104.0), replace(best, x=np.array([1.1]), statistic=101.0)
    assert _rivals(source, best, [best, far, near]) == ("another minimum is only 4.0 higher: kT = 3",)
    assert _rivals(source, best, [best, near, replace(far, statistic=120.0)]) == ()
