"""What KSPECDR does where nothing is said, and its mask files."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from crosscal import fluxcal
from crosscal.core.errors import DataFileError, UnknownNameError
from crosscal.fluxcal.demo import demo_filters, simulate
from crosscal.fluxcal.kspecdr import ARGUMENTS, apply_fluxcal, read_mask


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from astropy.table import Table

    directory = tmp_path_factory.mktemp("kspecdr")
    truth = simulate(seed=5, n_stars=5, n_targets=1, n_pixels=500, snr=40.0)
    fluxcal.write_frame(directory / "0027red.fits", truth.frame)
    c = truth.catalogue
    bands = {b: c.magnitude[:, k] for k, b in enumerate(c.bands)}
    Table({"ra": c.ra, "dec": c.dec, **bands}).write(directory / "stars.csv")
    for band in demo_filters():
        np.savetxt(directory / f"{band.name}.dat", np.column_stack([band.wavelength, band.response]))
    return directory


def arguments(place, **more):
    return {
        "CALIBFLUX": True, "CALIBFLUX_CATALOG": str(place / "stars.csv"), "CALIBFLUX_TEMPLATES": "demo",
        "CALIBFLUX_FILTERS": ["demo-g", "demo-r", "demo-i"], "CALIBFLUX_SYSTEM": "AB",
        "CALIBFLUX_FILTER_DIR": str(place), "CALIBFLUX_EBV": 0.02, "CALIBFLUX_OUTPUT": str(place / "out.fits"), **more,
    }  # fmt: skip


def test_smoothing_is_off_and_the_resolution_three_angstrom(place, monkeypatch):
    assert ARGUMENTS["CALIBFLUX_SMOOTH"] is False
    seen = []
    calibrate = fluxcal.Calibrator.calibrate

    def spy(self, frame, **options):
        seen.append((self.options.smooth, self.fwhm(frame), frame.notes))
        return calibrate(self, frame, **options)

    monkeypatch.setattr(fluxcal.Calibrator, "calibrate", spy)
    outcome = apply_fluxcal(place / "0027red.fits", arguments(place))
    assert outcome.calibrated, outcome.text
    smooth, fwhm, notes = seen[0]
    assert (smooth, fwhm) == ("none", 3.0)
    assert any("no SPECFWHM" in note for note in notes)


def test_a_mask_file_is_used(place):
    path = place / "mask.dat"
    path.write_text("# bands\n6000.0 6100.0  # made up\n\n7585.0 7710.0\n", encoding="utf-8")
    assert read_mask(path) == ((6000.0, 6100.0), (7585.0, 7710.0))
    more = {"CALIBFLUX_MASK": str(path), "CALIBFLUX_FWHM": 5.0, "CALIBFLUX_SMOOTH": True}
    assert apply_fluxcal(place / "0027red.fits", arguments(place, **more)).calibrated
    table = fits.getdata(place / "out.fits", "FLUXCAL")
    inside = (table["WAVELENGTH"] > 6000) & (table["WAVELENGTH"] < 6100)
    assert table["BRIDGED"][inside].all()
    assert not table["BRIDGED"][table["WAVELENGTH"] < 5900].any()


@pytest.mark.parametrize("text", ["", "6100 6000\n", "6000\n", "low high\n"])
def test_what_is_no_mask_is_told(text, tmp_path):
    (tmp_path / "mask.dat").write_text(text, encoding="utf-8")
    with pytest.raises(DataFileError, match="not a mask"):
        read_mask(tmp_path / "mask.dat")


def test_reddening_is_fitted_or_that_of_the_map(place):
    told = {}
    for how in ("fit", "map"):
        outcome = apply_fluxcal(place / "0027red.fits", arguments(place, CALIBFLUX_REDDENING=how))
        assert outcome.calibrated, outcome.text
        told[how] = outcome.text
    assert "E(B-V)" in told["fit"]
    assert "stars" in told["fit"]
    assert told["fit"] != told["map"]
    with pytest.raises(UnknownNameError, match="reddening"):
        apply_fluxcal(place / "0027red.fits", arguments(place, CALIBFLUX_REDDENING="dust"))
