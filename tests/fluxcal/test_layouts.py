"""Frames in each layout: read as the public data model says, calibrated, and written back with its own conventions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from tests.fluxcal.layouts import WRITERS, vacuum

from crosscal import fluxcal
from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.frames.layouts.pfs import NANOJANSKY
from crosscal.fluxcal.frames.layouts.registry import LAYOUTS
from crosscal.fluxcal.frames.layouts.sdss import trace_set

STANDARD = np.array(["C"] * 6 + ["P"] + ["S", "S"])


@pytest.fixture(scope="module")
def small():
    return simulate(seed=5, n_stars=6, n_targets=1, n_pixels=700, snr=40.0)


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    return {name: write(tmp_path_factory.mktemp(name) / "f.fits", small.frame) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def expected(small, library, filters):
    return fluxcal.calibrate(small.frame, small.catalogue, library, filters, fwhm=5.0, ebv=0.02, loo=False)


def test_every_layout_has_a_file_made_by_hand():
    assert set(LAYOUTS.names()) == {*WRITERS, "red"}


@pytest.mark.parametrize("name", WRITERS)
def test_read_as_the_data_model_says(name, written, small):
    frame, truth = fluxcal.read_frame(written[name]), small.frame
    assert frame.layout == name
    assert frame.medium == "vacuum"
    assert frame.exposure == truth.exposure
    np.testing.assert_allclose(frame.grid, vacuum(truth.grid), rtol=2e-6)
    good = frame.good & truth.good
    # Pixels that a layout marks itself, beyond those without variance
    assert np.sum(truth.good & ~good) == {"desi": 1, "pfs": 0, "sdss": 1, "pypeit": 45}[name]
    np.testing.assert_allclose(frame.flux[good], truth.flux[good], rtol=2e-3)
    np.testing.assert_allclose(frame.variance[good], truth.variance[good], rtol=4e-3)
    np.testing.assert_allclose(frame.fibres.ra, truth.fibres.ra)
    if name != "pypeit":
        assert list(frame.fibres.type) == list(STANDARD)
        np.testing.assert_allclose(frame.fibres.x, truth.fibres.x, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", WRITERS)
def test_calibrated_and_written_back(name, written, small, library, filters, expected, tmp_path):
    frame = fluxcal.read_frame(written[name])
    frame = replace(frame, fibres=frame.fibres.retyped(np.arange(6), "C"))
    made = fluxcal.calibrate(frame, small.catalogue, library, filters, fwhm=5.0, ebv=0.02, loo=False)
    assert made.passed, made.diagnostics
    inside = made.curve.covered & expected.curve.covered
    inside[:20], inside[-20:] = False, False
    # Air or vacuum, float32 and other pixels' marks: the same stars and the same curve, but for its free ends.
    np.testing.assert_allclose(made.curve.value[inside], expected.curve.value[inside], rtol=0.015)
    calibrated = made.apply()
    path = calibrated.write(tmp_path / written[name].name)
    with fits.open(written[name]) as before, fits.open(path) as after:
        assert after[0].header["FLUXCAL"] is True
        names = [hdu.name for hdu in after]
        assert {"FLUXCAL", "FLUXSTAR", "FCALMASK"} <= set(names)
        flux, variance = by_hand(name, after)
        good = calibrated.frame.good
        np.testing.assert_allclose(flux[good], calibrated.flux[good], rtol=1e-5)
        np.testing.assert_allclose(variance[good], calibrated.variance[good], rtol=1e-5)
        assert np.all((after["FCALMASK"].data == 1) == ~good)
        same = [k for k, hdu in enumerate(before) if k > 0 and hdu.name not in CHANGED]
        for k in same if name != "pypeit" else []:
            assert before[k].data.tobytes() == after[k].data.tobytes()
    np.testing.assert_allclose(fluxcal.read_curve(path).value[inside], made.curve.value[inside])


#: What a calibration changes; SDSS's HDUs have no names, and its second holds the inverse variance.
CHANGED = {"FLUX", "IVAR", "COVAR", ""}


def by_hand(name, hdus):
    """Fluxes in 1e-17 erg/s/cm2/A and variances as a reader of the survey finds them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "desi":
            assert hdus["FLUX"].header["BUNIT"] == "10**-17 erg/(s cm2 Angstrom)"
            return hdus["FLUX"].data, 1 / hdus["IVAR"].data
        if name == "sdss":
            return hdus[0].data, 1 / hdus[1].data
        if name == "pypeit":
            tables = [hdu.data for hdu in hdus if hdu.name.startswith("SPAT")]
            assert all(np.all(t["OPT_CHI2"] == 1) for t in tables)
            return np.array([t["OPT_FLAM"] for t in tables]), 1 / np.array([t["OPT_FLAM_IVAR"] for t in tables])
        unit = NANOJANSKY * (10 * hdus["WAVELENGTH"].data) ** 2 * hdus["NORM"].data
        # a source of 3631 Jy, AB magnitude zero, in both units
        flat = 2.99792458e18 * 3.631e-20 / 5500.0**2 / 1e-17
        assert flat * NANOJANSKY * 5500.0**2 == pytest.approx(3631e9, rel=1e-6)
        assert hdus["FLUX"].header["BUNIT"] == "nJy"
        return hdus["FLUX"].data / unit, hdus["COVAR"].data[:, 0] / unit**2


@pytest.mark.parametrize("name", ["desi", "pfs"])
def test_a_calibrated_file_says_so_when_it_is_read_again(name, written, small, library, filters, tmp_path):
    frame = fluxcal.read_frame(written[name])
    made = fluxcal.calibrate(frame, small.catalogue, library, filters, fwhm=5.0, ebv=0.02, loo=False)
    path = made.apply().write(tmp_path / written[name].name)
    for config in written[name].parent.glob("pfsConfig*"):
        (tmp_path / config.name).write_bytes(config.read_bytes())
    again = fluxcal.read_frame(path)
    assert again.calibrated
    np.testing.assert_allclose(again.flux[again.good], made.apply().flux[again.good], rtol=1e-5)
    with pytest.raises(InputError, match="flux calibrated already"):
        fluxcal.calibrate(again, small.catalogue, library, filters, loo=False)


def test_resolution_of_desi_is_used(written, small, library, filters):
    frame = fluxcal.read_frame(written["desi"])
    assert frame.resolution is not None
    step = np.interp([w for w, _ in frame.resolution], frame.grid, np.gradient(frame.grid))
    np.testing.assert_allclose([f for _, f in frame.resolution], 2.3548 * 1.1 * step, rtol=0.01)
    calibrator = fluxcal.Calibrator(small.catalogue, library, filters)
    assert calibrator.fwhm(frame) == frame.resolution
    assert fluxcal.Calibrator(small.catalogue, library, filters, fluxcal.Options(fwhm=4.0)).fwhm(frame) == 4.0


def changed(path, target, change):
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(target)
    return target


def test_masks_types_and_status(written, tmp_path):
    frame = fluxcal.read_frame(written["desi"])
    assert not frame.good[0, 10]
    frame = fluxcal.read_frame(written["pfs"])
    assert frame.good[1, 5]
    frame = fluxcal.read_frame(written["sdss"])
    assert not frame.good[0, 7]
    assert frame.good[0, 8]

    def bad_fibre(hdus):
        hdus["FIBERMAP"].data["FIBERSTATUS"][2] = 4
        hdus["FIBERMAP"].data["DESI_TARGET"][3] = 1 << 34

    frame = fluxcal.read_frame(changed(written["desi"], tmp_path / "d.fits", bad_fibre))
    assert list(frame.fibres.type[:5]) == ["C", "C", "N", "P", "C"]
    assert any("1 standards are excluded by FIBERSTATUS" in note for note in frame.notes)


def test_a_trace_set_jumps_between_the_halves_of_a_detector():
    columns = {"FUNC": "legendre", "XMIN": 0.0, "XMAX": 99.0, "XJUMPLO": 40.0, "XJUMPHI": 60.0, "XJUMPVAL": 2.0}
    rows = [fits.Column(k, "8A" if k == "FUNC" else "D", array=[v]) for k, v in columns.items()]
    rows.append(fits.Column("COEFF", "6D", dim="(3,2)", array=np.array([[[3.6, 0.1, 0.0], [3.7, 0.1, 0.01]]])))
    found = trace_set(fits.BinTableHDU.from_columns(rows).data, (2, 100))
    for pixel, moved in ((0, 0.0), (40, 40.0), (50, 51.0), (60, 62.0), (99, 101.0)):
        x = 2 * (moved - 49.5) / 99
        assert found[0, pixel] == pytest.approx(3.6 + 0.1 * x)
        assert found[1, pixel] == pytest.approx(3.7 + 0.1 * x + 0.01 * (1.5 * x**2 - 0.5))


def test_a_boxcar_stands_in_where_nothing_else_was_extracted(written, tmp_path):
    def boxcar(hdus):
        for column in list(hdus[1].columns):
            column.name = column.name.replace("OPT", "BOX")

    frame = fluxcal.read_frame(changed(written["pypeit"], tmp_path / "p.fits", boxcar))
    assert any("1 objects have only a boxcar" in note for note in frame.notes)


def _no_unit(hdus):
    del hdus["FLUX"].header["BUNIT"]


def test_what_is_assumed_is_told(written, tmp_path):
    frame = fluxcal.read_frame(changed(written["desi"], tmp_path / "d.fits", _no_unit))
    assert any("the file states no unit" in note for note in frame.notes)


def _set(place, key, value):
    def change(hdus):
        hdus[place].header[key] = value

    return change


def _drop(place, key):
    def change(hdus):
        del hdus[place].header[key]

    return change


def _other_function(hdus):
    hdus[3].data["FUNC"][:] = "spline"


def _no_diagonals(hdus):
    hdus["RESOLUTION"].data[:, :5] = 0
    hdus["RESOLUTION"].data[:, 6:] = 0


def _shape(place):
    def change(hdus):
        hdus[place].data = hdus[place].data[:, :-1].copy()

    return change


def _none(place):
    def change(hdus):
        hdus[place].data = None

    return change


def _fewer_rows(place):
    def change(hdus):
        hdus[place].data = hdus[place].data[:-1].copy()

    return change


def _no_wavelength(hdus):
    hdus[1].data["OPT_WAVE"][:] = 0


def _one_less(hdus):
    hdus[2] = fits.BinTableHDU(hdus[2].data[:-1].copy(), hdus[2].header)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("desi", _set("FLUX", "BUNIT", "furlong"), "BUNIT 'furlong'"),
        ("desi", _drop("FLUX", "EXPTIME"), "no exposure time"),
        ("desi", _set("FLUX", "EXPTIME", "long"), "EXPTIME = 'long'"),
        ("desi", _shape("IVAR"), "shape"),
        ("desi", _no_diagonals, "resolution cannot be used"),
        ("desi", _none("WAVELENGTH"), "no data"),
        ("sdss", _other_function, "an image cannot be used"),
        ("sdss", _set(0, "BUNIT", "1E-17 erg/cm^2/s/Ang"), "calibrated already"),
        ("sdss", _fewer_rows(3), "an image cannot be used"),
        ("sdss", _fewer_rows(5), "plug map cannot be used"),
        ("pypeit", _one_less, "objects of"),
        ("pypeit", _no_wavelength, "a spectrum cannot be used"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name, change, match, written, tmp_path):
    with pytest.raises(DataFileError, match=match):
        fluxcal.read_frame(changed(written[name], tmp_path / "x.fits", change))


def test_a_pfs_file_needs_its_configuration(written, tmp_path):
    lone = tmp_path / "pfsMerged-000042.fits"
    lone.write_bytes(written["pfs"].read_bytes())
    with pytest.raises(DataFileError, match=r"0 files pfsConfig-\*.fits for visit 000042"):
        fluxcal.read_frame(lone)
    config = next(written["pfs"].parent.glob("pfsConfig*"))
    with fits.open(config) as hdus:
        hdus[1].data["fiberId"][0] = 77
        hdus.writeto(tmp_path / config.name)
    with pytest.raises(DataFileError, match="no row for fibre 9"):
        fluxcal.read_frame(lone)


def test_a_layout_can_be_named(written):
    with pytest.raises(UnknownNameError, match="frame layout"):
        fluxcal.read_frame(written["desi"], layout="spfrom")
    with pytest.raises(DataFileError, match="no data in HDU"):
        fluxcal.read_frame(written["desi"], layout="red")


@pytest.mark.parametrize("kind", ["spPlate", "spCFrame"])
def test_calibrated_files_of_sdss_are_refused(kind, written, tmp_path):
    """HDU 0 flux, 1 inverse variance, 2 and 3 masks (spCFrame: wavelengths), 4 dispersion, 5 plug map, 6 sky."""
    with fits.open(written["sdss"]) as hdus:
        flux, plugs = hdus[0].data, hdus[5].copy()
    header = fits.Header({"BUNIT": "1E-17 erg/cm^2/s/Ang", "EXPTIME": 900.0})
    if kind == "spPlate":
        header.update({"COEFF0": 3.5528, "COEFF1": 1e-4, "CRVAL1": 3.5528, "CD1_1": 1e-4, "DC-FLAG": 1})
    images = [fits.ImageHDU(flux) for _ in range(4)]
    fits.HDUList([fits.PrimaryHDU(flux, header), *images, plugs, fits.ImageHDU(flux)]).writeto(tmp_path / "f.fits")
    expected = f"the fluxes of this {kind} are calibrated already.*spFrame files of its exposures"
    with pytest.raises(DataFileError, match=expected):
        fluxcal.read_frame(tmp_path / "f.fits")
