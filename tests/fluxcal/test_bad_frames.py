"""Frames that are wrong in one way each, through the command's own path: what happens, and the input is untouched."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from crosscal.fluxcal.kspecdr import calibrate_list

from .conftest import write_catalogue, write_raw


def types(wanted):
    def change(hdus):
        hdus["FIBRES"].data["TYPE"][wanted:] = "P"

    return change


def nan_star(hdus):
    hdus["VARIANCE"].data[3] = np.nan


def wrong_unit(hdus):
    hdus[0].header["BUNIT"] = "Jy"


def stale_wavela(hdus):
    header, wave = hdus[0].header, hdus["WAVELA"].data[0]
    header["SCRUNCH"], header["CRPIX1"] = True, 1.0
    header["CRVAL1"], header["CDELT1"] = wave[0], wave[1] - wave[0]
    hdus["WAVELA"].data = hdus["WAVELA"].data + 7.0


def missing_hdu(hdus):
    del hdus["VARIANCE"]


def negative_variance(hdus):
    hdus["VARIANCE"].data[5, 17] = -1.0


#: (change of the file, shift of the catalogue in degrees, calibrated?, words of the outcome, keyword FLUXCAL of what is
#: written or None where nothing is).
CASES = {
    "no C fibre": (types(0), 0.0, False, "stars used: 0", False),
    "one star": (types(1), 0.0, True, "calibrated with 1 of 1 stars", True),
    "no overlap with the catalogue": (None, 5.0, False, "matched fraction 0", False),
    "a star of NaN": (nan_star, 0.0, True, "calibrated with 7 of 8 stars", True),
    "wrong unit": (wrong_unit, 0.0, False, "BUNIT 'Jy'", None),
    "WAVELA not updated": (stale_wavela, 0.0, True, "calibrated with", True),
    "missing HDU": (missing_hdu, 0.0, False, "no data in HDU VARIANCE", None),
    "negative variance": (negative_variance, 0.0, False, "negative variance -1", None),
}


@pytest.mark.parametrize("name", CASES)
def test_documented_behaviour_and_untouched_input(tmp_path, truth, filters, name):
    from dataclasses import replace

    change, shift, calibrated, words, keyword = CASES[name]
    path = write_raw(tmp_path / "a.fits", truth, change=change)
    moved = replace(truth, catalogue=replace(truth.catalogue, ra=truth.catalogue.ra + shift))
    for f in filters:
        np.savetxt(tmp_path / f"{f.name}.dat", np.column_stack([f.wavelength, f.response]))
    args = {
        "CALIBFLUX_CATALOG": str(write_catalogue(tmp_path / "stars.csv", moved)),
        "CALIBFLUX_FILTERS": [f.name for f in filters],
        "CALIBFLUX_FILTER_DIR": str(tmp_path),
        "CALIBFLUX_TEMPLATES": "demo",
    }
    before = path.read_bytes()
    outcome = calibrate_list([path], args, tmp_path / "out")[0]
    assert path.read_bytes() == before
    assert outcome.calibrated is calibrated
    assert words in outcome.text
    made = tmp_path / "out" / "a_cal.fits"
    if keyword is None:
        assert not made.exists()
        return
    header = fits.getheader(made)
    assert header["FLUXCAL"] is keyword
    if not keyword:
        # the copy holds the counts as they were, and the reason
        np.testing.assert_array_equal(fits.getdata(made), fits.getdata(path))
        assert header["FCALFAIL"].startswith(outcome.text[:20])
    if name == "WAVELA not updated":
        np.testing.assert_allclose(fits.getdata(made, "WAVELA")[0], truth.frame.grid, atol=1e-6)
