"""Every X-ray file of the data directory reads; what is known of it comes out."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.xray.instrument.grouping import from_flags, group, resolution
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import read_arf
from crosscal.xray.instrument.ogip_pca import read_pca_library
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectrum
from crosscal.xray.instrument.ogip_write import write_arf, write_rmf, write_spectrum
from crosscal.xray.modifiers.pca import PCA

pytestmark = pytest.mark.realdata

# ARF, RMF, energies, channels, number of the first channel, notes expected
RESPONSES = {
    "acis-cy0": ("acisi_aimpt_cy0.arf", "acisi_aimpt_cy0.rmf.gz", 937, 1024, 1, 0),
    "acis-cy18": ("acisi_aimpt_cy18.arf", "acisi_aimpt_cy18.rmf.gz", 1024, 1024, 1, 0),
    "acis-9774": ("9774.arf", "9774.rmf.gz", 1078, 1024, 1, 1),
    "wfi": ("athena_wfi_1469_onaxis_w_filter_v20150326.arf", "athena_wfi_rmf_v20150326.rmf.gz", 1490, 1490, 1, 0),
    "pn": ("pn_circinus.arf", "pn_circinus.rmf.gz", 2067, 4096, 0, 1),
    "sis": ("asca_sis0_a2029.arf", "asca_sis0_a2029.rmf.gz", 1180, 1024, 1, 1),
}


@pytest.fixture(scope="module")
def xray(data_dir):
    return data_dir / "xray"


@pytest.fixture(params=RESPONSES)
def case(request):
    return RESPONSES[request.param]


def test_responses_read(xray, case):
    arf, rmf, n_energy, n_channel, first, notes = case
    response = read_response(xray / arf, xray / rmf)
    assert (response.n_energy, response.n_channel, response.first_channel) == (n_energy, n_channel, first)
    assert len(response.notes) == notes, response.notes
    # Probabilities; the worst real file overshoots by 1.3e-3.
    assert response.redistribution.sum(axis=0).max() < 1.002
    width = resolution(response) * (response.channel_hi - response.channel_lo)
    at = int(np.searchsorted(response.channel_lo, 5.9))
    # keV: silicon detectors of 0.13 to 0.25; the cycle 0 file of ACIS is much broader, 0.59.
    assert 0.1 < width[at] < 0.6


def test_round_trip(xray, case, tmp_path):
    arf, rmf, *_ = case
    response = read_response(xray / arf, xray / rmf)
    again = read_response(write_arf(tmp_path / "copy.arf", response), write_rmf(tmp_path / "copy.rmf", response))
    assert_array_equal(again.area, response.area)
    assert_array_equal(again.energy_edges, response.energy_edges)
    assert (again.redistribution != response.redistribution).nnz == 0
    assert again.notes == ()


def test_band_restriction_is_exact(xray, case):
    arf, rmf, *_ = case
    response = read_response(xray / arf, xray / rmf)
    mask = response.band(0.7, 7.0)
    part, inside = response.restricted(mask), response.energy_slice(mask)
    photons = response.energy**-1.7 * np.diff(response.energy_edges)
    assert_allclose(part.fold(photons[inside]), response.fold(photons)[mask], rtol=1e-12)


def test_contamination_shows_between_the_cycles(xray):
    early, late = (
        read_response(xray / f"acisi_aimpt_{c}.arf", xray / f"acisi_aimpt_{c}.rmf.gz") for c in ("cy0", "cy18")
    )
    ratio = np.interp([0.7, 5.0], late.energy, late.area) / np.interp([0.7, 5.0], early.energy, early.area)
    assert ratio[0] < 0.3  # at 0.7 keV most of the area is gone by 2016
    assert 0.85 < ratio[1] < 1.05


def test_spectra_read(xray, tmp_path):
    a2029, response = read_observation(
        xray / "asca_sis0_a2029.pha", xray / "asca_sis0_a2029.arf", xray / "asca_sis0_a2029.rmf.gz"
    )
    assert a2029.counts.sum() == 50389
    assert a2029.background is None
    assert a2029.exposure == pytest.approx(28677.97, abs=0.01)
    assert group(a2029, response, (0.7, 7.0), method="optimal").n_group == 109
    again = read_spectrum(write_spectrum(tmp_path / "copy.pha", a2029))
    assert_array_equal(again.counts, a2029.counts)


def test_links_of_the_chandra_spectrum_are_followed(xray):
    spectrum, response = read_observation(xray / "9774.pi")
    assert response.files["rmf"].endswith("9774.rmf.gz")
    assert spectrum.background.counts.sum() == 1105
    assert_allclose(spectrum.background_ratio, 4.3513325252917e-07 / 9.6573366668358e-06)


def test_grouping_of_the_pn_spectrum(xray):
    spectrum = read_spectrum(xray / "pn_circinus.pha", xray / "pn_circinus_bkg.pha")
    groups = from_flags(spectrum)
    assert spectrum.first_channel == 0
    assert not np.any(groups.mask & ~spectrum.good)
    assert groups.sum(spectrum.counts).sum() == spectrum.counts[groups.mask].sum()


def test_pca_library(xray):
    library = read_pca_library(xray / "aref_Cedge.fits")
    assert library.scale.size == 18
    # FVARIANCE is the share of eigenvalues, EIGENVAL their root (the last, residual component is apart).
    share = library.scale[:-1] ** 2 / np.sum(library.scale[:-1] ** 2)
    assert_allclose(share, library.variance_share[:-1], rtol=2e-2)
    # Components are orthonormal but for the residual one.
    assert_allclose(library.vectors[:-1] @ library.vectors[:-1].T, np.eye(17), atol=2e-3)
    pca = PCA(library)
    spread = np.sqrt(np.sum(pca.functions(library.energy) ** 2, axis=0))
    inner = (library.energy > 1) & (library.energy < 7)
    assert 0.01 < np.median(spread[inner]) < 0.1  # a few per cent, as Drake et al. 2006 say


# File, number of notes. Files of the plasma table and of published numbers are read elsewhere.
SPECTRA = {"9774.pi": 1, "9774_bg.pi": 0, "asca_sis0_a2029.pha": 0, "pn_circinus.pha": 0, "pn_circinus_bkg.pha": 0}
OTHERS = ("aref_Cedge.fits", "apec_v3.0.8_coco.fits.gz", "apec_v3.0.8_line.fits.gz", "reference_apec_tbabs_xspec.npz")


def test_the_table_of_missions_and_files(xray, capsys):
    """Every X-ray file of the directory has a verdict; CROSSCAL_TABLES=1 prints the table."""
    lines = []
    known = {name for arf, rmf, *_ in RESPONSES.values() for name in (arf, rmf)} | set(SPECTRA) | set(OTHERS)
    assert {path.name for path in xray.iterdir()} == known
    for path in sorted(xray.iterdir()):
        if path.name in OTHERS:
            continue
        if path.name in SPECTRA:
            found = read_spectrum(path)
            assert len(found.notes) == SPECTRA[path.name], found.notes
        else:
            found = read_arf(path) if path.suffix == ".arf" else read_rmf(path)
        mission = f"{found.mission.get('TELESCOP', ''):8} {found.mission.get('INSTRUME', ''):8}"
        told = "; ".join(note.split("]: ")[-1] for note in found.notes) or "nothing to tell"
        lines.append(f"{mission} | {path.name:44} | {told}")
    with capsys.disabled():
        if os.environ.get("CROSSCAL_TABLES"):
            print("\n" + "\n".join(lines))
