from dataclasses import replace

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.batch import fit_counts
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.fitting.source import ModelSource
from crosscal.xray.fitting.statistics import cstat
from crosscal.xray.instrument import grouping
from crosscal.xray.instrument.spectrum import Spectrum

BAND = (0.7, 7.0)


@pytest.fixture(scope="module")
def spectrum(telescope, plasma):
    return fakeit(telescope, plasma, counts=2e4, band=BAND, kT=4.0, seed=3)


@pytest.fixture(scope="module")
def off(telescope):
    """A background spectrum of a hard power law, four times as long."""
    model = Model("powerlaw", PhoIndex=0.5, norm=2e-4)
    return replace(fakeit(telescope, model, exposure=4e5, seed=8), backscale=2.0)


class TestFakeit:
    def test_mean(self, telescope, plasma):
        expected = fakeit(telescope, plasma, exposure=1e3, noise="asimov", kT=3.0, norm=0.01)
        rate = telescope.fold(plasma.spectrum(telescope.energy_edges, kT=3.0, norm=0.01))
        np.testing.assert_allclose(expected.counts, 1e3 * rate)

    def test_counts_set_the_exposure(self, telescope, plasma):
        s = fakeit(telescope, plasma, counts=1e5, band=BAND, noise="asimov")
        assert np.isclose(s.counts[telescope.band(*BAND)].sum(), 1e5)

    def test_seed(self, telescope, plasma):
        a, b, c = (fakeit(telescope, plasma, exposure=1e3, seed=k) for k in (1, 1, 2))
        assert np.array_equal(a.counts, b.counts)
        assert not np.array_equal(a.counts, c.counts)

    def test_background_is_added_by_its_ratio(self, telescope, plasma, off):
        s = fakeit(telescope, plasma, exposure=1e5, background=off, noise="asimov", norm=1e-5)
        bare = fakeit(telescope, plasma, exposure=1e5, noise="asimov", norm=1e-5)
        np.testing.assert_allclose(s.counts - bare.counts, off.counts * 1e5 / 4e5, atol=1e-9)
        noisy = fakeit(telescope, plasma, exposure=1e5, background=off, norm=1e-5)
        assert not np.array_equal(noisy.background.counts, off.counts)
        assert abs(noisy.background.counts.sum() - off.counts.sum()) < 5 * np.sqrt(off.counts.sum())

    def test_bad_arguments(self, telescope, plasma):
        with pytest.raises(InputError, match="exactly one"):
            fakeit(telescope, plasma)
        with pytest.raises(InputError, match="exactly one"):
            fakeit(telescope, plasma, exposure=1.0, counts=1.0)
        with pytest.raises(InputError, match="noise 'gauss'"):
            fakeit(telescope, plasma, exposure=1.0, noise="gauss")
        with pytest.raises(InputError, match="-5 counts"):
            fakeit(telescope, plasma, counts=-5.0)


def test_fit_equals_the_compiled_batch(telescope, plasma, spectrum):
    """General model and templates are two sources of one engine."""
    from crosscal.xray.fitting.templates import FoldedTemplates

    free = ("kT", "norm", "Abundanc")
    result = fit(spectrum, telescope, plasma, band=BAND, free=free)
    t = FoldedTemplates.build(telescope, plasma, band=BAND, free=free, exposure=spectrum.exposure)
    batch = fit_counts(t, plasma, spectrum.counts[t.mask][None], start={"kT": 3.0, "norm": 1.0, "Abundanc": 0.5})
    assert result.status == Status.OK
    for j, name in enumerate(t.names):
        sd = np.sqrt(batch.covariance[0, j, j])
        # The general source stops at 1e-3 sigma, its derivatives are numerical.
        assert abs(result.values[name] - batch.values[0, j]) < 2e-3 * sd
        assert np.isclose(result.errors[name], sd, rtol=1e-3)
    assert np.isclose(result.statistic, batch.statistic[0], atol=1e-5)
    assert result.dof == t.n_channel - 3


def test_result_speaks(telescope, plasma, spectrum):
    result = fit(spectrum, telescope, plasma, band=BAND)
    assert "kT = " in repr(result)
    table = result.summary()
    assert list(table["parameter"]) == list(plasma.names)
    assert table.meta["status"] == "OK"
    assert abs(result.values["kT"] - 4.0) < 4 * result.errors["kT"]
    assert result.model.parameter("kT").default == result.values["kT"]
    assert 1e-3 < result.pvalue < 0.999
    assert abs(result.residuals.std() - 1) < 0.2
    assert np.isclose(cstat(result.counts, result.expected).sum(), result.statistic, atol=1e-6)
    low, high = result.interval("kT")
    assert np.isclose(high - low, 2 * result.errors["kT"], rtol=0.05)
    profile = result.profile("kT", [low, result.values["kT"], high])
    np.testing.assert_allclose(profile, [1.0, 0.0, 1.0], atol=5e-3)


@pytest.mark.thorough
def test_pvalues_are_uniform(telescope, plasma):
    p = [
        fit(fakeit(telescope, plasma, counts=5e3, band=BAND, kT=4.0, seed=k), telescope, plasma, band=BAND).pvalue
        for k in range(40)
    ]
    # 40 fits: means of uniform numbers scatter by 0.046.
    assert abs(np.mean(p) - 0.5) < 0.16
    assert min(p) > 1e-3


@pytest.mark.parametrize("statistic", ["wstat", "pgstat", "chi2", "chi2-gehrels", "chi2-model"])
def test_background(telescope, plasma, off, statistic):
    truth = plasma.replace(kT=4.0, norm=3e-4)
    s = fakeit(telescope, truth, exposure=1e5, background=off, seed=21)
    groups = grouping.group(s, telescope, BAND, method="counts", minimum=25)
    result = fit(s, telescope, plasma, groups=groups, statistic=statistic)
    assert result.status == Status.OK
    assert result.background.sum() > 0
    for name, value in (("kT", 4.0), ("norm", 3e-4)):
        assert abs(result.values[name] - value) < 4 * result.errors[name]
    assert 0 <= result.pvalue <= 1


def test_default_statistic_depends_on_the_background(telescope, plasma, off, spectrum):
    assert fit(spectrum, telescope, plasma, band=BAND).statistic_name == "cstat"
    s = fakeit(telescope, plasma, exposure=1e5, background=off, norm=3e-4)
    assert fit(s, telescope, plasma, band=BAND).statistic_name == "wstat"


def test_wstat_pvalue(telescope, plasma, off):
    """A wrong model is seen, a right one is not."""
    s = fakeit(telescope, plasma.replace(kT=1.5, norm=5e-4), exposure=1e5, background=off, seed=1)
    right = fit(s, telescope, plasma, band=BAND)
    wrong = fit(s, telescope, Model("TBabs*powerlaw", nH=0.05, free=("PhoIndex", "norm")), band=BAND)
    assert right.pvalue > 0.01
    assert wrong.pvalue < 0.01


def test_groups_give_the_same_answer(telescope, plasma, spectrum):
    single = fit(spectrum, telescope, plasma, band=BAND)
    optimal = fit(spectrum, telescope, plasma, groups=grouping.group(spectrum, telescope, BAND, method="optimal"))
    assert optimal.dof < single.dof
    assert abs(optimal.values["kT"] - single.values["kT"]) < 0.3 * single.errors["kT"]
    assert np.isclose(optimal.errors["kT"], single.errors["kT"], rtol=0.05)
    assert optimal.energy_lo.shape == optimal.counts.shape


def test_areascale_multiplies_the_model(telescope, plasma, spectrum):
    half = fit(replace(spectrum, areascale=0.5), telescope, plasma, band=BAND)
    whole = fit(spectrum, telescope, plasma, band=BAND)
    assert np.isclose(half.values["norm"], 2 * whole.values["norm"], rtol=1e-5)


def test_absorption_and_redshift(telescope):
    """Shapes that the model does not tabulate, one of which makes steps."""
    model = Model("TBabs*apec", nH=0.1, Redshift=0.05, Abundanc=0.5, free=("nH", "kT", "norm", "Redshift", "Abundanc"))
    s = fakeit(telescope, model.replace(kT=4.0), counts=5e4, band=BAND, seed=5)
    result = fit(s, telescope, model, band=BAND)
    assert result.status == Status.OK
    for name, value in (("nH", 0.1), ("kT", 4.0), ("Redshift", 0.05), ("Abundanc", 0.5)):
        assert abs(result.values[name] - value) < 4 * result.errors[name]


def test_two_components(telescope):
    truth = Model("TBabs*(apec+powerlaw)", nH=0.1, kT=1.0, norm=2e-3, PhoIndex=1.7, norm_2=5e-4, Redshift=0.02)
    s = fakeit(telescope, truth, exposure=2e5, seed=4)
    start = truth.replace(kT=3.0, norm=1.0, norm_2=1.0, PhoIndex=2.0, free=("kT", "norm", "PhoIndex", "norm_2"))
    result = fit(s, telescope, start, band=BAND)
    assert result.status == Status.OK
    for name in start.free:
        assert abs(result.values[name] - truth.parameter(name).default) < 4 * result.errors[name]


@pytest.mark.thorough
def test_linear_interpolation_is_fitted_segment_by_segment(telescope, plasma, spectrum):
    from crosscal.xray.fitting.templates import FoldedTemplates

    model = plasma.replace(interp="xspec")
    result = fit(spectrum, telescope, model, band=BAND)
    t = FoldedTemplates.build(telescope, model, band=BAND, exposure=spectrum.exposure)
    batch = fit_counts(t, model, spectrum.counts[t.mask][None], start={"kT": 9.0, "norm": 1.0})
    assert np.isclose(result.statistic, batch.statistic[0], atol=1e-4)
    assert np.isclose(result.values["kT"], batch.values[0, 0], rtol=1e-4)


def test_parameter_at_a_limit(telescope, plasma, spectrum):
    model = Model("TBabs*apec", nH=0.3, Abundanc=0.3, Redshift=0.05, free=("nH", "kT", "norm"))
    result = fit(spectrum, telescope, model, groups=grouping.group(spectrum, telescope, (2.0, 7.0)))
    assert result.status in (Status.OK, Status.AT_BOUND)
    low, _ = result.interval("nH", 100.0)
    assert low == 0.0


def test_empty_spectrum_is_a_status(telescope, plasma):
    empty = Spectrum(np.zeros(telescope.n_channel), 1e4, first_channel=telescope.first_channel)
    result = fit(empty, telescope, plasma, band=BAND)
    assert result.status == Status.BAD_DATA
    assert np.isnan(result.statistic)
    assert np.isnan(result.pvalue)
    with pytest.raises(FitError, match="no usable counts"):
        result.interval("kT")


def test_bad_arguments(telescope, plasma, spectrum, off):
    with pytest.raises(UnknownNameError, match="statistic"):
        fit(spectrum, telescope, plasma, statistic="cash")
    with pytest.raises(InputError, match="wstat without a background"):
        fit(spectrum, telescope, plasma, statistic="wstat")
    with pytest.raises(InputError, match="cstat with a background"):
        fit(replace(spectrum, background=off), telescope, plasma, statistic="cstat")
    with pytest.raises(InputError, match="a band and groups"):
        fit(spectrum, telescope, plasma, band=BAND, groups=grouping.group(spectrum, telescope, BAND))
    with pytest.raises(InputError, match="groups of 3 channels"):
        fit(spectrum, telescope, plasma, groups=grouping.Groups(np.array([0, 1, 2])))
    with pytest.raises(InputError, match="no free parameter"):
        fit(spectrum, telescope, plasma, free=())
    with pytest.raises(UnknownNameError, match="unknown parameter"):
        fit(spectrum, telescope, plasma, free=("kTT",))
    with pytest.raises(UnknownNameError, match="free parameter"):
        fit(spectrum, telescope, plasma, band=BAND).interval("nH")


def test_source_derivatives(telescope):
    model = Model("TBabs*(apec+powerlaw)", nH=0.1, Redshift=0.031)
    free = ("nH", "kT", "Redshift", "PhoIndex", "norm", "Abundanc", "norm_2")
    source = ModelSource(model, telescope.energy_edges, telescope.redistribution.multiply(telescope.area).tocsr(), free)
    values = {"nH": 0.1, "kT": 3.1, "Redshift": 0.031, "PhoIndex": 1.8, "norm": 0.4, "Abundanc": 0.0, "norm_2": 0.1}
    x = source.to_engine(values)
    counts, jacobian = np.empty(telescope.n_channel), np.empty((7, telescope.n_channel))
    source.evaluate(x, counts, jacobian)
    for j in range(7):
        h = 2e-5 * max(abs(x[j]), 0.1)
        up, down = (source.counts(np.clip(x + s * h * np.eye(7)[j], source.low, source.high)) for s in (1, -1))
        width = 2 * h if x[j] > source.low[j] else h
        numeric = (up - down) / width
        # Two central differences of different width: their error is of second order in 1e-4.
        np.testing.assert_allclose(jacobian[j], numeric, atol=2e-5 * np.abs(jacobian[j]).max())


def test_notes(telescope, plasma, off):
    s = fakeit(telescope, plasma.replace(kT=4.0, norm=3e-5), exposure=1e5, background=off, seed=21)
    few = fakeit(telescope, plasma, counts=500, band=BAND, kT=4.0)
    assert "biases chi2" in fit(few, telescope, plasma, band=BAND, statistic="chi2").notes[0]
    sparse = replace(s, background=replace(off, counts=np.zeros(telescope.n_channel)))
    assert "100 % of the groups" in fit(sparse, telescope, plasma, band=BAND).notes[0]
    ours, theirs = ({"TELESCOP": "CHANDRA", "INSTRUME": name} for name in ("ACIS", "HRC"))
    foreign = fit(replace(few, mission=ours), replace(telescope, mission=theirs), plasma, band=BAND)
    assert foreign.notes == ("the spectrum is of INSTRUME = ACIS, the response of HRC",)
    assert fit(replace(few, mission=ours), replace(telescope, mission=ours), plasma, band=BAND).notes == ()


def test_figures_and_failed_profiles(telescope, plasma, spectrum, monkeypatch):
    result = fit(spectrum, telescope, plasma, band=BAND)
    assert set(result.figures()) == {"spectrum"}
    # Without a band the first channel may begin at 0 keV, which a logarithmic axis has no place for.
    from_zero = replace(result, energy_lo=np.concatenate([[0.0], result.energy_lo[1:]]))
    assert from_zero.figures()["spectrum"].axes[1].get_xlim()[0] > 0
    monkeypatch.setattr("crosscal.xray.fitting.result.profile_limit_object", lambda *arguments: float("nan"))
    with pytest.raises(FitError, match="profile of kT failed"):
        result.interval("kT")


def test_quantities(telescope, plasma):
    from astropy import units as u

    kilo = fakeit(telescope, plasma, 1.0 * u.ks, kT=4.0 * u.keV, seed=1)
    plain = fakeit(telescope, plasma, 1000.0, kT=4.0, seed=1)
    assert np.array_equal(kilo.counts, plain.counts)
    a = fit(plain, telescope, plasma, band=(700 * u.eV, 7 * u.keV))
    assert a.statistic == fit(plain, telescope, plasma, band=BAND).statistic
    with pytest.raises(InputError, match="a quantity in m"):
        fakeit(telescope, plasma, 1.0 * u.m)


def test_a_profile_takes_quantities(telescope, plasma, spectrum):
    from astropy import units as u

    found = fit(spectrum, telescope, plasma, band=BAND)
    at = found.values["kT"] + found.errors["kT"]
    np.testing.assert_allclose(found.profile("kT", (at * u.keV).to(u.eV)), found.profile("kT", at))


def test_areascal_scales_the_model_in_simulations_as_in_fits(telescope, plasma):
    """A spectrum simulated with AREASCAL per channel gives back its norm."""
    scale = np.linspace(0.5, 0.9, telescope.n_channel)
    sky = Spectrum(
        np.full(telescope.n_channel, 2.0), 1e5, backscale=5.0, areascale=scale, first_channel=telescope.first_channel
    )
    truth = plasma.replace(kT=4.0, norm=1e-2, free=("kT", "norm"))
    seen = fakeit(telescope, truth, exposure=5e4, background=sky, noise="asimov")
    found = fit(seen, telescope, truth, band=BAND)
    assert found.values["norm"] == pytest.approx(1e-2, rel=1e-3)
    negative = replace(sky, counts=sky.counts - 3, stat_error=np.ones(telescope.n_channel))
    with pytest.raises(InputError, match="fakeit: negative background counts"):
        fakeit(telescope, truth, exposure=5e4, background=negative)


@pytest.mark.parametrize("interp", ["spline", "xspec"])
def test_a_fit_has_the_same_bits_whatever_was_computed_before(interp):
    telescope = xray.example_telescope("a")
    model = xray.Model("TBabs*apec", nH=0.04, Abundanc=0.3, Redshift=0.0537, interp=interp)
    edges = telescope.restricted(telescope.band(0.7, 7.0)).energy_edges
    spectrum = xray.fakeit(telescope, model.replace(kT=3.0), counts=2e4, band=(0.7, 7.0), seed=1)
    one = model.spectrum(edges, kT=2.9)
    found = [xray.fit(spectrum, telescope, model, band=(0.7, 7.0)).values for _ in range(2)]
    # Spectra at many temperatures on the grid of the fit.
    model.spectrum(edges, kT=np.geomspace(1, 9, 40))
    found.append(xray.fit(spectrum, telescope, model, band=(0.7, 7.0)).values)
    assert found[0] == found[1] == found[2]
    np.testing.assert_array_equal(model.spectrum(edges, kT=2.9), one)
