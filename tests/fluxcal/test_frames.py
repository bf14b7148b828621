"""Reading, repairing and refusing RED frames."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.fluxcal.frames.reading import read_frame, write_frame
from crosscal.fluxcal.frames.red import mark_failed
from crosscal.fluxcal.types import Catalogue, Fibres, Frame

from .conftest import write_raw


def test_reads_the_contract(raw, truth):
    frame = read_frame(raw)
    np.testing.assert_allclose(frame.flux, truth.frame.flux, rtol=1e-6)
    # float32 in the file
    np.testing.assert_allclose(frame.wavelength, truth.frame.wavelength)
    np.testing.assert_allclose(frame.fibres.ra, truth.frame.fibres.ra)
    assert frame.fibres.type.tolist() == truth.frame.fibres.type.tolist()
    assert frame.exposure == 1800
    assert frame.airmass == 1.2
    assert frame.notes == ()
    assert frame.mjd == pytest.approx(60000.0 + 900 / 86400)


def test_hdus_are_found_by_name_in_any_order(tmp_path, truth):
    path = write_raw(tmp_path / "a.fits", truth, change=lambda h: fits.HDUList([h[0], *h[:0:-1]]))
    np.testing.assert_allclose(read_frame(path).wavelength, truth.frame.wavelength)


@pytest.mark.parametrize("name", ["VARIANCE", "WAVELA", "FIBRES"])
def test_missing_hdu_is_named(tmp_path, truth, name):
    path = write_raw(tmp_path / "a.fits", truth, change=lambda h: h.__delitem__(name))
    before = path.read_bytes()
    with pytest.raises(DataFileError, match=f"no data in HDU {name}"):
        read_frame(path)
    assert path.read_bytes() == before


def test_not_fits(tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("hello")
    with pytest.raises(DataFileError, match="not a FITS file"):
        read_frame(path)
    with pytest.raises(DataFileError, match="no such frame"):
        read_frame(tmp_path / "none.fits")


@pytest.mark.parametrize("unit", ["nm", ""])
def test_nanometres_are_converted(tmp_path, truth, unit):
    def change(hdus):
        hdus["WAVELA"].data = hdus["WAVELA"].data / 10
        hdus["WAVELA"].header["BUNIT"] = unit

    frame = read_frame(write_raw(tmp_path / "a.fits", truth, change=change))
    np.testing.assert_allclose(frame.wavelength, truth.frame.wavelength)
    assert "converted to Angstrom" in frame.notes[0]


def test_absurd_wavelengths_are_refused(tmp_path, truth):
    def change(hdus):
        hdus["WAVELA"].data = hdus["WAVELA"].data * 1e3
        hdus["WAVELA"].header["BUNIT"] = "Angstrom"

    with pytest.raises(DataFileError, match="wavelengths around"):
        read_frame(write_raw(tmp_path / "a.fits", truth, change=change))


def test_wavela_of_another_shape(tmp_path, truth):
    def change(hdus):
        hdus["WAVELA"].data = hdus["WAVELA"].data[:, :-3]

    with pytest.raises(DataFileError, match="WAVELA of shape"):
        read_frame(write_raw(tmp_path / "a.fits", truth, change=change))


def _stale(hdus):
    """A scrunched frame whose WAVELA still holds the fibres' own solutions."""
    wave = hdus["WAVELA"].data
    header = hdus[0].header
    header["SCRUNCH"] = True
    header["CRVAL1"], header["CDELT1"], header["CRPIX1"] = wave[0, 0], wave[0, 1] - wave[0, 0], 1.0
    hdus["WAVELA"].data = wave + np.linspace(-20, 20, len(wave))[:, None]


def test_stale_wavela_is_rebuilt_refused_or_trusted(tmp_path, truth):
    path = write_raw(tmp_path / "a.fits", truth, change=_stale)
    frame = read_frame(path)
    np.testing.assert_allclose(frame.wavelength, truth.frame.wavelength, atol=1e-6)
    assert "not updated by scrunching" in frame.notes[0]
    with pytest.raises(DataFileError, match="scrunched but WAVELA differs"):
        read_frame(path, wavela="refuse")
    assert read_frame(path, wavela="trust").wavelength[0, 0] == pytest.approx(truth.frame.wavelength[0, 0] - 20)
    with pytest.raises(UnknownNameError, match="policy for WAVELA"):
        read_frame(path, wavela="guess")


def test_dispaxis_2_is_transposed_and_written_back(tmp_path, truth):
    def change(hdus):
        hdus[0].header["DISPAXIS"] = 2
        hdus[0].data = hdus[0].data.T.copy()
        hdus["VARIANCE"].data = hdus["VARIANCE"].data.T.copy()

    frame = read_frame(write_raw(tmp_path / "a.fits", truth, change=change))
    np.testing.assert_allclose(frame.flux, truth.frame.flux, rtol=1e-6)
    write_frame(tmp_path / "b.fits", frame)
    assert fits.getdata(tmp_path / "b.fits").shape == truth.frame.flux.T.shape


def test_kspecdr_table_and_header_overrides(tmp_path, truth):
    n = len(truth.frame.fibres)

    def change(hdus):
        columns = [
            fits.Column("fiber_ID", "J", array=np.arange(1, n + 1)),
            fits.Column("NAME", "10A", array=np.array([f"FIB{k + 1}" for k in range(n)])),
            fits.Column("target_ra", "D", array=truth.frame.fibres.ra),
            fits.Column("target_dec", "D", array=truth.frame.fibres.dec),
            fits.Column("target_class", "J", array=np.where(truth.frame.fibres.type == "C", 8, 9)),
        ]
        hdus[3] = fits.BinTableHDU.from_columns(columns, name="FIBRES")
        hdus[0].header["FIB2"] = "P"

    frame = read_frame(write_raw(tmp_path / "a.fits", truth, change=change))
    assert frame.fibres.type[0] == "C"
    assert frame.fibres.type[1] == "P"  # the 1-based keyword wins
    assert frame.fibres.type[-1] == "S"
    assert frame.fibres.name[0] == ""  # FIB1 is no name of a star
    np.testing.assert_allclose(frame.fibres.ra, truth.frame.fibres.ra)
    assert np.isnan(frame.fibres.x).all()


def test_table_problems(tmp_path, truth):
    def no_type(hdus):
        hdus[3] = fits.BinTableHDU.from_columns([c for c in hdus[3].columns if c.name != "TYPE"], name="FIBRES")

    with pytest.raises(DataFileError, match="no column TYPE"):
        read_frame(write_raw(tmp_path / "a.fits", truth, change=no_type))

    def short(hdus):
        hdus[3] = fits.BinTableHDU(hdus[3].data[:-1], name="FIBRES")

    with pytest.raises(DataFileError, match="one per spectrum"):
        read_frame(write_raw(tmp_path / "b.fits", truth, change=short))


def test_units_and_exposure(tmp_path, truth):
    def unit(text):
        return lambda h: h[0].header.__setitem__("BUNIT", text)

    with pytest.raises(DataFileError, match="BUNIT 'Jy'"):
        read_frame(write_raw(tmp_path / "a.fits", truth, change=unit("Jy")))
    frame = read_frame(write_raw(tmp_path / "b.fits", truth, change=unit("counts/s")))
    assert frame.exposure == truth.frame.exposure
    assert frame.notes == ("counts are those of the file times the exposure time",)
    np.testing.assert_allclose(frame.flux, truth.frame.flux * truth.frame.exposure, rtol=1e-6)
    frame = read_frame(write_raw(tmp_path / "b2.fits", truth, change=unit("electron/Angstrom")))
    widths = np.gradient(truth.frame.grid)
    np.testing.assert_allclose(frame.flux, truth.frame.flux * widths, rtol=1e-6)
    np.testing.assert_allclose(frame.variance, truth.frame.variance * widths**2, rtol=1e-6)
    calibrated = read_frame(write_raw(tmp_path / "c.fits", truth, change=unit("1e-17 erg/s/cm2/Angstrom")))
    assert calibrated.calibrated
    path = write_raw(tmp_path / "d.fits", truth, change=lambda h: h[0].header.remove("EXPOSED"))
    with pytest.raises(DataFileError, match="no exposure time"):
        read_frame(path)
    assert read_frame(path, exposure=60.0, airmass=1.5).airmass == 1.5
    path = write_raw(tmp_path / "e.fits", truth, change=lambda h: h[0].header.__setitem__("EXPOSED", -1.0))
    with pytest.raises(DataFileError, match="EXPOSED = -1"):
        read_frame(path)


def test_negative_variance_names_the_pixel(tmp_path, truth):
    def change(hdus):
        hdus["VARIANCE"].data[3, 10] = -2.0

    path = write_raw(tmp_path / "a.fits", truth, change=change)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"fibre 4, pixel 11.*negative variance -2"):
        read_frame(path)
    assert path.read_bytes() == before


def test_zenith_distance_gives_airmass(tmp_path, truth):
    def change(hdus):
        hdus[0].header.remove("AIRMASS")
        hdus[0].header["ZDSTART"], hdus[0].header["ZDEND"] = 60.0, 60.0

    # sec 60 = 2; Hardie's terms take off 0.005
    assert read_frame(write_raw(tmp_path / "a.fits", truth, change=change)).airmass == pytest.approx(2.0, abs=0.01)


def test_written_frame_keeps_other_hdus_and_marks_bad_pixels(tmp_path, raw):
    frame = read_frame(raw)
    write_frame(tmp_path / "out.fits", frame, keywords={"KEY": (1, "x")}, history=("a line",))
    with fits.open(tmp_path / "out.fits") as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "VARIANCE", "WAVELA", "FIBRES", "SKY", "MASK"]
        np.testing.assert_array_equal(hdus["SKY"].data, np.arange(6.0).reshape(2, 3))
        np.testing.assert_array_equal(hdus["MASK"].data.astype(bool), ~frame.good)
        assert hdus[0].header["KEY"] == 1
        assert "a line" in hdus[0].header["HISTORY"]
        assert hdus[0].data.dtype == np.dtype(">f4")
    with pytest.raises(DataFileError, match="already exists"):
        write_frame(tmp_path / "out.fits", frame, overwrite=False)


def test_failed_copy_leaves_the_input(tmp_path, raw):
    before = raw.read_bytes()
    mark_failed(raw, tmp_path / "failed.fits", "no star")
    assert raw.read_bytes() == before
    header = fits.getheader(tmp_path / "failed.fits")
    assert header["FLUXCAL"] is False
    assert header["FCALFAIL"] == "no star"
    with pytest.raises(InputError, match="overwrite itself"):
        mark_failed(raw, raw, "x")


def _fibres(n=2):
    zeros = np.zeros(n)
    return Fibres(np.array(["a"] * n), zeros, zeros, zeros, zeros, np.array(["C"] * n))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("flux", np.zeros(5), "counts of shape"),
        ("variance", np.ones((2, 4)), "variance of shape"),
        ("fibres", _fibres(3), "3 rows in the fibre table"),
        ("exposure", 0.0, "exposure of 0"),
        ("medium", "glass", "wavelengths in 'glass'"),
        ("wavelength", np.full((2, 5), np.nan), "not finite"),
        ("wavelength", np.ones((2, 5)), "do not increase"),
        ("variance", -np.ones((2, 5)), "negative variance"),
    ],
)
def test_frame_refuses(key, value, message):
    facts = {
        "flux": np.ones((2, 5)),
        "variance": np.ones((2, 5)),
        "wavelength": np.tile(np.arange(5.0) + 4000, (2, 1)),
        "fibres": _fibres(),
        "exposure": 1.0,
        "medium": "air",
    }
    with pytest.raises(InputError, match=message):
        Frame(**{**facts, key: value})


def test_fibres_and_catalogue_refuse():
    with pytest.raises(InputError, match="values of ra"):
        Fibres(np.array(["a"]), np.zeros(2), np.zeros(1), np.zeros(1), np.zeros(1), np.array(["C"]))
    good = {
        "name": np.array(["a"]),
        "ra": np.zeros(1),
        "dec": np.zeros(1),
        "bands": ("r",),
        "magnitude": np.ones((1, 1)),
        "error": np.ones((1, 1)),
        "pm_ra": np.zeros(1),
        "pm_dec": np.zeros(1),
        "ebv": np.zeros(1),
    }
    for key, value, message in (
        ("name", np.array([], dtype=str), "no stars"),
        ("magnitude", np.ones((1, 2)), "magnitudes of shape"),
        ("pm_ra", np.zeros(2), "pm_ra has shape"),
        ("dec", np.full(1, 99.0), "beyond the poles"),
        ("error", np.zeros((1, 1)), "error of a magnitude"),
    ):
        with pytest.raises(InputError, match=message):
            Catalogue(**{**good, key: value})


@pytest.mark.parametrize(
    ("text", "second", "length"),
    [
        ("", False, False), ("ADU", False, False), ("e-", False, False), ("ct/s", True, False),
        ("electron s-1", True, False), ("counts per second", True, False), ("electron/A", False, True),
        ("electron Angstrom^-1", False, True), ("electron s**-1 Angstrom**-1", True, True), ("e-/sec/AA", True, True),
        ("electron/(Angstrom)", False, True),
    ],
)  # fmt: skip
def test_spellings_of_units(text, second, length):
    from crosscal.fluxcal.flux_units import CountUnit, count_unit

    assert count_unit(text) == CountUnit(second, length)


@pytest.mark.parametrize("text", ["Jy", "nJy", "1e-17 erg/s/cm2/Angstrom", "K", "counts/pixel/day"])
def test_other_units_are_no_counts(text):
    from crosscal.fluxcal.flux_units import count_unit

    assert count_unit(text) is None


def test_names_of_kspecdr_and_wavelengths_of_the_header(tmp_path, truth):
    def rename(hdus):
        hdus["VARIANCE"].name, hdus["FIBRES"].name = "VAR", "FIBRES_IFU"
        grid = truth.frame.grid
        header = hdus[0].header
        header["CRPIX1"], header["CRVAL1"], header["CDELT1"] = 501.0, grid[500], grid[1] - grid[0]
        del hdus["WAVELA"]

    frame = read_frame(write_raw(tmp_path / "a.fits", truth, change=rename))
    np.testing.assert_allclose(frame.wavelength, truth.frame.wavelength, rtol=1e-9)
    np.testing.assert_allclose(frame.variance, truth.frame.variance, rtol=1e-6)
    assert any("no WAVELA" in n for n in frame.notes)
    bad = write_raw(tmp_path / "b.fits", truth, change=lambda h: rename(h) or h[0].header.set("CRVAL1", "x"))
    with pytest.raises(DataFileError, match="scale cannot be used"):
        read_frame(bad)
