"""Fits of real spectra and of noiseless ones through real responses."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.instrument import grouping
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_spectrum import read_spectrum
from crosscal.xray.library.generate import build_library
from crosscal.xray.modifiers.gaussian import Gaussian

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def xray(data_dir):
    return data_dir / "xray"


@pytest.fixture(scope="module")
def a2029(xray):
    response = read_response(xray / "asca_sis0_a2029.arf", xray / "asca_sis0_a2029.rmf.gz")
    return read_spectrum(xray / "asca_sis0_a2029.pha"), response


@pytest.fixture(scope="module")
def circinus(xray):
    response = read_response(xray / "pn_circinus.arf", xray / "pn_circinus.rmf.gz")
    return read_spectrum(xray / "pn_circinus.pha", xray / "pn_circinus_bkg.pha"), response


@pytest.fixture(scope="module")
def acis(xray):
    return read_response(xray / "acisi_aimpt_cy18.arf", xray / "acisi_aimpt_cy18.rmf.gz")


class TestA2029:
    """kT = 8.06 +- 0.16 keV in 0.7-7 keV with nH = 0.0325e22 and no background, with XSPEC's interpolation."""

    def cluster(self, interp):
        return Model(
            "TBabs*apec", nH=0.0325, Abundanc=0.3, Redshift=0.0767, interp=interp, free=("kT", "norm", "Abundanc")
        )

    def test_temperature(self, a2029):
        result = fit(*a2029, self.cluster("xspec"), band=(0.7, 7.0))
        assert result.status == Status.OK
        assert result.values["kT"] == pytest.approx(8.06, abs=0.02)
        assert result.errors["kT"] == pytest.approx(0.16, abs=0.01)
        low, high = result.interval("kT")
        assert high - low == pytest.approx(2 * result.errors["kT"], rel=0.1)

    def test_spline_agrees_within_the_error(self, a2029):
        """Linear interpolation between 6.85 and 8.62 keV is off by up to a percent in flux."""
        linear = fit(*a2029, self.cluster("xspec"), band=(0.7, 7.0))
        spline = fit(*a2029, self.cluster("spline"), band=(0.7, 7.0))
        assert abs(spline.values["kT"] - linear.values["kT"]) < linear.errors["kT"]
        assert abs(spline.statistic - linear.statistic) < 1.0

    def test_grouping_does_not_move_it(self, a2029):
        spectrum, response = a2029
        single = fit(spectrum, response, self.cluster("spline"), band=(0.7, 7.0))
        groups = grouping.group(spectrum, response, (0.7, 7.0), method="optimal")
        coarse = fit(spectrum, response, self.cluster("spline"), groups=groups)
        assert abs(coarse.values["kT"] - single.values["kT"]) < 0.5 * single.errors["kT"]


class TestBackground:
    """EPIC-pn, source with background."""

    def model(self):
        return Model("TBabs*(powerlaw+gaussian)", nH=0.5, PhoIndex=1.0, LineE=6.4, Sigma=0.05, norm_2=1e-5,
                     free=("nH", "PhoIndex", "norm", "norm_2"))  # fmt: skip

    def test_real_spectrum(self, circinus):
        """The continuum above 3 keV and the iron line, by Poisson likelihood of source and background."""
        spectrum, response = circinus
        model = self.model().replace(free=("PhoIndex", "norm", "norm_2"), nH=0.0)
        exact = fit(spectrum, response, model, band=(3.0, 8.0))
        assert exact.statistic_name == "wstat"
        assert exact.status == Status.OK
        assert exact.values["norm_2"] > 10 * exact.errors["norm_2"]
        mask = response.band(3.0, 8.0) & spectrum.good
        expected = (spectrum.background.counts * spectrum.background_ratio)[mask].sum()
        assert exact.background.sum() == pytest.approx(expected)

    def test_simulated_source_on_the_real_background(self, circinus):
        """A source no brighter than the background: wstat finds it, ignoring the background does not."""
        spectrum, response = circinus
        truth = Model("TBabs*powerlaw", nH=0.2, PhoIndex=2.0, norm=3e-5, free=("PhoIndex", "norm"))
        seen = fakeit(response, truth, exposure=spectrum.exposure, background=spectrum.background, seed=6)
        groups = grouping.min_counts(seen.background.counts, 10, response.band(0.5, 8.0))
        result = fit(seen, response, truth.replace(PhoIndex=1.0, norm=1e-3), groups=groups)
        assert result.status == Status.OK
        # The grids of the real files differ in their first bin, which is told; nothing else is.
        assert len(result.notes) == 1
        assert "the first bin starts" in result.notes[0]
        assert result.background.sum() > 0.3 * result.counts.sum()
        for name, value in (("PhoIndex", 2.0), ("norm", 3e-5)):
            assert abs(result.values[name] - value) < 4 * result.errors[name]
        bare = fit(replace(seen, background=None), response, truth, band=(0.5, 8.0))
        assert abs(bare.values["PhoIndex"] - 2.0) > 5 * bare.errors["PhoIndex"]
        # Channel by channel most have no background count, where wstat is known to be biased: the result says so.
        single = fit(seen, response, truth, band=(0.5, 8.0))
        assert "no background count" in single.notes[-1]

    def test_another_observatory(self, xray):
        response = read_response(xray / "9774.arf", xray / "9774.rmf.gz")
        spectrum = read_spectrum(xray / "9774.pi", xray / "9774_bg.pi")
        result = fit(spectrum, response, Model("TBabs*powerlaw", nH=0.1, free=("PhoIndex", "norm")), band=(0.5, 7.0))
        assert result.status == Status.OK
        assert np.all(np.isfinite(list(result.errors.values())))


def test_noiseless_bias(acis):
    """T_nominal of A = 0.08, mu = 1.8 keV, sigma = 1 keV, as Sherpa 4.19 with XSPEC 6.35.1's apec finds it.

    tests/peers/test_fitting_sherpa.py makes these numbers anew.
    """
    model = Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, interp="xspec")
    library = build_library(
        acis, model, Gaussian.grid(A=0.08, mu=1.8, sigma=1.0), kT=[2.0, 4.0, 6.0, 8.0, 10.0, 12.0], band=(0.7, 7.0),
        counts=5e4, free=("kT", "norm", "Abundanc"),
    )  # fmt: skip
    expected = [1.9608, 3.8022, 5.5170, 7.2189, 8.7340, 10.2235]
    np.testing.assert_allclose(library.values("kT")[0, :, 0], expected, atol=0.003)
    np.testing.assert_allclose(library.values("kT", "modified")[0, :, 0], library.T_true, rtol=1e-5)


def test_real_responses_of_both_cycles(xray, acis):
    """A small library through each ACIS response: no failure, unbiased."""
    model = Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    early = read_response(xray / "acisi_aimpt_cy0.arf", xray / "acisi_aimpt_cy0.rmf.gz")
    for response in (early, acis):
        library = build_library(
            response, model, Gaussian.grid(A=(-0.2, 0.2, 5), mu=(1.0, 5.0, 2)), kT=[1.5, 5.0, 12.0], band=(0.7, 7.0),
            counts=5e4, noise="poisson", realisations=30, seed=3,
        )  # fmt: skip
        row = library.summary()[1]
        assert row["failed"] == 0
        assert abs(row["pull_mean"]) < 4 / np.sqrt(row["fits"])
        assert abs(row["pull_sd"] - 1) < 0.09
