"""Fits and statistics against Sherpa, with the XSPEC library's models in it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting import statistics as st
from crosscal.xray.fitting.batch import fit_counts
from crosscal.xray.fitting.data import data_of
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.instrument.grouping import Groups
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectrum
from crosscal.xray.instrument.ogip_write import write_spectrum
from crosscal.xray.instrument.spectrum import Spectrum
from crosscal.xray.modifiers.gaussian import Gaussian

pytestmark = [pytest.mark.peers, pytest.mark.realdata]
BAND, THETA = (0.7, 7.0), {"A": 0.08, "mu": 1.8, "sigma": 1.0}


@pytest.fixture(scope="module")
def peer():
    """The module that the benchmarks use; it is no part of the package."""
    pytest.importorskip("sherpa.astro.ui")
    pytest.importorskip("xspectrampoline")
    path = Path(__file__).parents[2] / "benchmarks" / "_sherpa.py"
    spec = importlib.util.spec_from_file_location("sherpa_peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def root(peer, data_dir, tmp_path_factory):
    return peer.unpacked_atomdb(data_dir / "xray", tmp_path_factory.mktemp("atomdb"))


@pytest.fixture(scope="module")
def files(data_dir):
    return data_dir / "xray" / "acisi_aimpt_cy18.arf", data_dir / "xray" / "acisi_aimpt_cy18.rmf.gz"


@pytest.fixture(scope="module")
def telescope(peer, root, files):
    return peer.SherpaTelescope(*files, root, nH=0.05, redshift=0.05, band=BAND)


@pytest.fixture(scope="module")
def model(data_dir):
    """XSPEC's plasma, from the same files, with XSPEC's interpolation."""
    return Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, interp="xspec", table=data_dir / "xray")


def best(telescope, counts, starts, free, factor=1.0):
    """Sherpa's best fit of several starts: levmar stops at kinks."""
    found = [telescope.fit(counts, s, free, factor) for s in starts]
    return min(found, key=lambda f: f["statistic"])


def test_24_noisy_spectra(telescope, files, model):
    """kT within 0.02 sigma: 6 temperatures x Z fixed and free x nominal and modified area."""
    response = read_response(*files)
    rng = np.random.default_rng(4)
    worst = 0.0
    for free in (("kT", "norm"), ("kT", "norm", "Abundanc")):
        t = FoldedTemplates.build(response, model, band=BAND, free=free, exposure=1e5)
        factor = Gaussian().factor(telescope.energy, THETA)
        tables = {"nominal": t.table, "modified": t.folded(Gaussian().factor(t.energy, THETA))}
        for kT in (1.5, 2.5, 4.0, 6.5, 9.0, 13.0):
            truth = {"kT": kT, "norm": 1.0, "Abundanc": 0.3}
            start = {n: truth[n] for n in free}
            truth["norm"] = start["norm"] = 5e4 / float(t.counts(**start).sum())
            counts = rng.poisson(telescope.expected(truth, factor)).astype(float)
            for name, table in tables.items():
                ours = fit_counts(t, model, counts[t.mask][None], start=start, table=table)
                assert ours.status[0] == Status.OK
                kT_ours, sd = ours.values[0, 0], np.sqrt(ours.covariance[0, 0, 0])
                starts = [truth, {**truth, "kT": 0.93 * kT}, {**truth, "kT": 1.07 * kT}, {**truth, "kT": kT_ours}]
                theirs = best(telescope, counts, starts, free, factor if name == "modified" else 1.0)
                assert ours.statistic[0] < theirs["statistic"] + 1e-3
                worst = max(worst, abs(kT_ours - theirs["kT"]) / sd)
    assert worst < 0.02


def test_noiseless_bias(telescope, files, model):
    """T_nominal of an injected error: the numbers of tests/realdata/test_fitting_spectra.py."""
    response = read_response(*files)
    free = ("kT", "norm", "Abundanc")
    t = FoldedTemplates.build(response, model, band=BAND, free=free, exposure=1e5)
    factor = Gaussian().factor(telescope.energy, THETA)
    table = t.folded(Gaussian().factor(t.energy, THETA))
    kT = np.array([2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    ours, theirs = [], []
    for k in kT:
        truth = {"kT": float(k), "norm": 0.01, "Abundanc": 0.3}
        ours.append(fit_counts(t, model, t.counts(table, **truth)[None], start=truth).values[0, 0])
        theirs.append(best(telescope, telescope.expected(truth, factor), [truth, {**truth, "kT": k * 0.9}], free)["kT"])
    np.testing.assert_allclose(ours, theirs, atol=0.003)


def test_a2029(peer, root, data_dir, model):
    """The real ASCA spectrum with XSPEC's model in both."""
    folder = data_dir / "xray"
    arf, rmf = folder / "asca_sis0_a2029.arf", folder / "asca_sis0_a2029.rmf.gz"
    spectrum = read_spectrum(folder / "asca_sis0_a2029.pha")
    free = ("kT", "norm", "Abundanc")
    cluster = model.replace(nH=0.0325, Redshift=0.0767, free=free)
    ours = fit(spectrum, read_response(arf, rmf), cluster, band=BAND)
    sherpa = peer.SherpaTelescope(arf, rmf, root, nH=0.0325, redshift=0.0767, band=BAND)
    start = {"kT": 7.0, "norm": 0.04, "Abundanc": 0.4}
    found = [sherpa.fit(spectrum.counts, {**start, "kT": k}, free, exposure=spectrum.exposure) for k in (7.0, 8.0, 9.0)]
    theirs = min(found, key=lambda f: f["statistic"])
    assert abs(ours.values["kT"] - theirs["kT"]) < 0.02 * ours.errors["kT"]
    assert ours.statistic == pytest.approx(theirs["statistic"], abs=0.01)


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(9)
    n = 300
    return rng.poisson(6, n).astype(float), rng.uniform(0.5, 15, n), rng.poisson(9, n).astype(float)


def sherpa_statistic(name, counts, model, staterror=None):
    from sherpa import stats as sherpa_stats
    from sherpa.data import Data1D
    from sherpa.models.basic import FixedTableModel

    table = FixedTableModel("m")
    table.load(model)
    data = Data1D("d", np.arange(counts.size), counts, staterror=staterror)
    return float(getattr(sherpa_stats, name)().calc_stat(data, table)[0])


@pytest.mark.parametrize(
    ("name", "variance"),
    [("CStat", None), ("Chi2DataVar", "data"), ("Chi2Gehrels", "gehrels"), ("Chi2ModVar", "model")],
)
def test_statistics(peer, numbers, name, variance):
    counts, model, _ = numbers
    # Sherpa takes a variance of 1 where data or model are below that.
    counts, model = (counts + 1, model) if name == "Chi2DataVar" else (counts, model + 1)
    ours = st.cstat(counts, model) if variance is None else st.chi2(counts, model, variance=variance)
    assert float(ours.sum()) == pytest.approx(sherpa_statistic(name, counts, model), rel=1e-10)


def test_wstat(peer, numbers):
    from sherpa.astro.data import DataPHA
    from sherpa.models.basic import FixedTableModel
    from sherpa.stats import WStat

    counts, model, off = numbers
    channel = np.arange(1, counts.size + 1)
    source = DataPHA("s", channel, counts, exposure=100.0, backscal=0.02, areascal=1.0)
    source.set_background(DataPHA("b", channel, off, exposure=300.0, backscal=0.05, areascal=1.0))
    table = FixedTableModel("m")
    # Sherpa's model of an unfolded PHA is a rate.
    table.load(model)
    theirs = float(WStat().calc_stat(source, table)[0])
    ratio = (300.0 * 0.05) / (100.0 * 0.02)
    assert float(st.wstat(counts, off, ratio, model).sum()) == pytest.approx(theirs, rel=1e-8)


def test_redshift_and_velocity_at_microcalorimeter_resolution(peer, root, data_dir):
    """5 eV FWHM on 0.5 eV channels, 2-9 keV, five parameters free: the same best fit within 0.05 sigma."""
    path = Path(__file__).parents[2] / "benchmarks" / "_calorimeter.py"
    spec = importlib.util.spec_from_file_location("calorimeter", path)
    calorimeter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(calorimeter)
    response = calorimeter.calorimeter()
    counts = calorimeter.simulated(response, data_dir / "xray")
    ours, _ = calorimeter.our_fit(counts, response, data_dir / "xray")
    theirs = calorimeter.sherpa_fit(counts, response, root)
    assert ours.status == Status.OK
    assert ours.notes == ()
    for name in calorimeter.NAMES:
        assert abs(ours.values[name] - theirs["values"][name]) < 0.05 * theirs["errors"][name]
    assert ours.statistic == pytest.approx(theirs["statistic"], abs=0.01)


def test_fluxes_and_their_errors(data_dir):
    """Energy and photon flux as Sherpa's, whose grid of 10 eV costs 1e-3; the spread of 2000 draws to 8 %."""
    ui = pytest.importorskip("sherpa.astro.ui")
    path = data_dir / "xray" / "9774.pi"
    spectrum, response = read_observation(path)
    found = fit(spectrum, response, Model("powerlaw", PhoIndex=1.5, norm=1e-3), band=BAND)
    line = ui.create_model_component("powlaw1d", "flux_line")
    line.gamma, line.ampl = found.values["PhoIndex"], found.values["norm"]
    ui.load_pha("flux", str(path))
    ui.set_source("flux", line)
    ours = found.flux((2.0, 6.0), draws=2000)
    np.testing.assert_allclose(ours.value, ui.calc_energy_flux(2.0, 6.0, id="flux"), rtol=3e-3)
    photons = found.flux((2.0, 6.0), photons=True)
    np.testing.assert_allclose(photons.value, ui.calc_photon_flux(2.0, 6.0, id="flux"), rtol=3e-3)
    theirs = ui.sample_energy_flux(2.0, 6.0, id="flux", num=2000, correlated=True, scales=found.covariance)[:, 0]
    np.testing.assert_allclose(ours.draws.std(), theirs.std(), rtol=0.08)


def test_systematic_errors(peer, tmp_path):
    """Sherpa takes SYS_ERR for counts and the OGIP memo for a fraction of them: with that, both have one chi2."""
    from sherpa.astro import io
    from sherpa.models.basic import FixedTableModel
    from sherpa.stats import Chi2

    rng = np.random.default_rng(4)
    counts = rng.poisson(60, 40).astype(float)
    errors, systematic = 1.5 * np.sqrt(counts), np.full(40, 0.1)
    path = write_spectrum(tmp_path / "s.pha", Spectrum(counts, 1.0, stat_error=errors, sys_error=systematic))
    theirs = io.read_pha(str(path), use_errors=True)
    np.testing.assert_allclose(theirs.syserror, 0.1, rtol=1e-6)
    theirs.syserror = theirs.syserror * theirs.counts
    table = FixedTableModel("m")
    table.load(np.full(40, 60.0))
    ours, _ = data_of(read_spectrum(path), Groups(np.arange(40)), "chi2")
    chi2 = np.sum((counts - 60.0) ** 2 / ours.variance)
    # Errors in the file are 32-bit numbers.
    assert float(Chi2().calc_stat(theirs, table)[0]) == pytest.approx(chi2, rel=1e-6)
    # In groups of ten, Sherpa's systematic error is smaller by the square root of ten.
    theirs.grouping = np.where(np.arange(40) % 10 == 0, 1, -1)
    theirs.group()
    variance = data_of(read_spectrum(path), Groups(np.arange(40) // 10), "chi2")[0].variance
    size = counts.reshape(4, 10).sum(axis=1)
    np.testing.assert_allclose(variance - (0.1 * size) ** 2, 2.25 * size, rtol=1e-6)
    np.testing.assert_allclose(
        theirs.get_syserror(), 0.1 * np.sqrt((counts.reshape(4, 10) ** 2).sum(axis=1)), rtol=1e-6
    )
