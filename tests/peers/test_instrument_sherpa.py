"""Files and numbers against Sherpa."""

import logging
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.correction import Correction
from crosscal.xray.instrument.ensemble import area_draws, write_arf_ensemble
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.instrument.grouping import from_flags, group, grouped, min_counts
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_pca import read_pca_library
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectrum
from crosscal.xray.instrument.ogip_write import write_arf, write_rmf, write_spectrum
from crosscal.xray.instrument.spectrum import Spectrum
from crosscal.xray.modifiers.pca import PCA

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def ui():
    logging.getLogger("sherpa").setLevel(logging.ERROR)
    module = pytest.importorskip("sherpa.astro.ui")
    pytest.importorskip("sherpa.astro.io")
    return module


@pytest.fixture
def quiet(caplog):
    """Fail on any warning, logged or raised, while Sherpa reads our files."""
    with caplog.at_level(logging.WARNING, logger="sherpa"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield caplog
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert messages == []


def folded(ui, arf, rmf):
    """Fold a power law through files with Sherpa; return photons per bin too."""
    from sherpa.astro.instrument import RSPModelNoPHA
    from sherpa.models.basic import PowLaw1D

    model = PowLaw1D("line")
    model.gamma, model.ampl = 1.7, 1e-3
    response = RSPModelNoPHA(ui.unpack_arf(str(arf)), ui.unpack_rmf(str(rmf)), model)
    return response([])


def test_our_files_read_without_a_warning(ui, quiet, tmp_path):
    response = example_telescope("a")
    counts = np.random.default_rng(0).poisson(3.0, response.n_channel)
    arf = write_arf(tmp_path / "a.arf", response, history="for Sherpa")
    rmf = write_rmf(tmp_path / "a.rmf", response)
    ours = Spectrum(counts, 1e4, backscale=0.1, links={"arf": "a.arf", "rmf": "a.rmf"})
    pha = write_spectrum(tmp_path / "a.pha", ours)
    data = ui.unpack_pha(str(pha))
    assert_array_equal(data.counts, counts)
    assert data.exposure == 1e4
    assert data.backscal == 0.1
    theirs, matrix = data.get_response()
    assert_array_equal(theirs.specresp, response.area)
    assert matrix.offset == 1
    assert_array_equal(ui.unpack_rmf(str(rmf)).e_min, response.channel_lo)
    assert_array_equal(ui.unpack_arf(str(arf)).energ_lo, response.energy_lo)


@pytest.mark.parametrize("name", ["a", "b"])
def test_folding_our_files(ui, tmp_path, name):
    response = example_telescope(name)
    arf, rmf = write_arf(tmp_path / "x.arf", response), write_rmf(tmp_path / "x.rmf", response)
    edges = response.energy_edges
    photons = 1e-3 * np.diff(edges**-0.7) / -0.7
    # Sherpa folds in the same order of operations but for the sum: rounding.
    assert_allclose(response.fold(photons), folded(ui, arf, rmf), rtol=1e-10, atol=1e-14)


def test_sherpa_reads_our_ensemble(ui, tmp_path):
    from sherpa.astro.sim.pragbayes import ARFSIMFactory

    response = example_telescope("a")
    correction = Correction(np.array([0.5, 5.0]), np.ones(2), 0.01 * np.eye(2), "energy", "keV")
    draws = area_draws(response, correction, 8)
    path = write_arf_ensemble(tmp_path / "ensemble.fits", response, draws)
    simulator = ARFSIMFactory().read(str(path))
    possible = response.area + simulator.bias + simulator.simcomp
    assert_allclose(possible, draws, rtol=1e-12)


@pytest.mark.parametrize("minimum", [5, 20, 100])
def test_min_counts_as_sherpa(minimum):
    # Imported from the compiled module that Sherpa's group_counts uses.
    grouping = pytest.importorskip("group")
    counts = np.random.default_rng(minimum).poisson(4.0, 300)
    stops = np.zeros(300, dtype=int)
    stops[[0, 1, 150, 298, 299]] = 1
    flags, quality = grouping.grpNumCounts(counts, minimum, tabStops=stops)
    groups = min_counts(counts, minimum, stops == 0)
    used = (quality == 0) & (stops == 0)
    assert_array_equal(groups.mask, used)
    assert_array_equal(groups.flags[used], flags[used])


def test_grouping_flags_as_sherpa(ui, tmp_path):
    rng = np.random.default_rng(4)
    counts = rng.poisson(3.0, 200)
    flags = np.where(rng.random(200) < 0.3, 1, -1)
    flags[0] = 1
    ours = Spectrum(counts, 100.0, grouping=flags)
    data = ui.unpack_pha(str(write_spectrum(tmp_path / "grouped.pha", ours)))
    assert_array_equal(from_flags(ours).sum(counts), data.get_dep(filter=True))


@pytest.mark.realdata
def test_sherpa_does_complain_where_there_is_a_reason(ui, data_dir, caplog):
    # The check of our own files for warnings would be void if none reached it.
    with caplog.at_level(logging.WARNING, logger="sherpa"):
        ui.unpack_rmf(str(data_dir / "xray" / "asca_sis0_a2029.rmf.gz"))
    assert any("TLMIN" in record.getMessage() for record in caplog.records)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("arf", "rmf"),
    [
        ("acisi_aimpt_cy0.arf", "acisi_aimpt_cy0.rmf.gz"),
        ("acisi_aimpt_cy18.arf", "acisi_aimpt_cy18.rmf.gz"),
        ("9774.arf", "9774.rmf.gz"),
        ("asca_sis0_a2029.arf", "asca_sis0_a2029.rmf.gz"),
        ("athena_wfi_1469_onaxis_w_filter_v20150326.arf", "athena_wfi_rmf_v20150326.rmf.gz"),
    ],
)
def test_folding_real_files(ui, data_dir, arf, rmf):
    arf, rmf = data_dir / "xray" / arf, data_dir / "xray" / rmf
    response = read_response(arf, rmf)
    photons = 1e-3 * np.diff(response.energy_edges**-0.7) / -0.7
    expected = folded(ui, arf, rmf)
    # The reference keeps the matrix in float32 sums for some files: 1e-6 of the rate.
    assert_allclose(response.fold(photons), expected, rtol=1e-6, atol=1e-9 * expected.max())


@pytest.mark.realdata
@pytest.mark.parametrize(("low", "high"), [(0.7, 7.0), (0.5, 2.0), (2.001, 9.99)])
@pytest.mark.parametrize("name", ["asca_sis0_a2029", "pn_circinus"])
def test_band_as_notice(ui, data_dir, name, low, high):
    stem = data_dir / "xray" / name
    response = read_response(stem.with_suffix(".arf"), stem.with_suffix(".rmf.gz"))
    data = ui.unpack_pha(str(stem.with_suffix(".pha")))
    data.set_rmf(ui.unpack_rmf(str(stem.with_suffix(".rmf.gz"))))
    data.ungroup()
    data.units = "energy"
    data.notice(low, high)
    assert_array_equal(response.band(low, high), data.mask)


@pytest.mark.realdata
def test_counts_in_the_groups_of_a_file(ui, data_dir):
    path = data_dir / "xray" / "pn_circinus.pha"
    spectrum = read_spectrum(path, None)
    data = ui.unpack_pha(str(path))
    data.ignore_bad()
    theirs = data.get_dep(filter=True)
    assert_array_equal(from_flags(spectrum).sum(spectrum.counts), theirs)


@pytest.mark.realdata
def test_pca_deviations(ui, data_dir):
    from sherpa.astro.sim.pragbayes import ARFSIMFactory

    path = data_dir / "xray" / "aref_Cedge.fits"
    library = read_pca_library(path)
    simulator = ARFSIMFactory().read(str(path), rng=np.random.default_rng(11))
    theirs = simulator.add_deviations(library.area.copy())
    ours = library.area * PCA(library).factor(library.energy, simulator.rrout)
    # Sherpa multiplies float32 eigenvectors: 1e-6 of the area.
    assert_allclose(ours, theirs, atol=1e-6 * library.area.max())


@pytest.mark.realdata
@pytest.mark.parametrize(("low", "high"), [(0.5, 7.0), (0.51, 6.9), (1.0, 2.0)])
def test_ignore_and_notice_of_grouped_spectra(ui, data_dir, low, high):
    """Ignoring drops the groups that it touches, noticing keeps them: the same groups and channels as Sherpa's."""
    path = data_dir / "xray" / "9774.pi"
    spectrum, response = read_observation(path)
    spectrum = grouped(spectrum, min_counts(spectrum.counts, 20))
    ui.load_pha("g", str(path))
    ui.set_grouping("g", spectrum.grouping)
    ui.group("g")
    data = ui.get_data("g")
    ours = group(spectrum, response, ignored=f"**-{low} {high}-**")
    ui.ignore_id("g", None, low)
    ui.ignore_id("g", high, None)
    assert data.get_dep(filter=True).size == ours.n_group
    assert_array_equal(data.get_mask(), ours.mask)
    ours = group(spectrum, response, (low, high))
    ui.notice_id("g")
    ui.notice_id("g", low, high)
    assert data.get_dep(filter=True).size == ours.n_group
    assert_array_equal(data.get_mask(), ours.mask)
