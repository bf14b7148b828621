"""Shared simulated frame, library and files of the flux-calibration tests."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from crosscal.fluxcal.demo import demo_filters, demo_library, simulate
from crosscal.fluxcal.options import Options


@pytest.fixture(scope="session")
def truth():
    return simulate(seed=2, n_stars=8, n_targets=3, n_pixels=1000, snr=25.0)


@pytest.fixture(scope="session")
def library():
    return demo_library()


@pytest.fixture(scope="session")
def filters():
    return demo_filters()


@pytest.fixture(scope="session")
def options():
    return Options(fwhm=5.0, ebv=0.02)


@pytest.fixture(scope="session")
def result(truth, library, filters, options):
    from crosscal.fluxcal.calibrator import Calibrator

    return Calibrator(truth.catalogue, library, filters, options).calibrate(truth.frame)


def write_raw(path, truth, *, change=None):
    """Write a simulation as a 2dfdr RED file; ``change(hdus)`` may spoil it before."""
    frame = truth.frame
    header = fits.Header()
    header["BUNIT"] = "counts"
    header["EXPOSED"] = frame.exposure
    header["AIRMASS"] = frame.airmass
    header["SPECFWHM"] = 5.0
    header["UTMJD"] = 60000.0
    f = frame.fibres
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("NAME", "20A", array=f.name),
            fits.Column("RA", "D", unit="rad", array=np.deg2rad(f.ra)),
            fits.Column("DEC", "D", unit="rad", array=np.deg2rad(f.dec)),
            fits.Column("X", "D", array=f.x),
            fits.Column("Y", "D", array=f.y),
            fits.Column("TYPE", "1A", array=f.type),
        ],
        name="FIBRES",
    )
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(frame.flux.astype(np.float32), header),
            fits.ImageHDU(frame.variance.astype(np.float32), name="VARIANCE"),
            fits.ImageHDU(frame.wavelength, name="WAVELA"),
            table,
            fits.ImageHDU(np.arange(6.0).reshape(2, 3), name="SKY"),
        ]
    )
    if change is not None:
        replaced = change(hdus)
        hdus = replaced if replaced is not None else hdus
    hdus.writeto(path, overwrite=True)
    return path


def write_catalogue(path, truth, drop=()):
    """Write the simulation's catalogue as CSV with columns named like the filters."""
    c = truth.catalogue
    table = Table({"name": c.name, "ra": c.ra, "dec": c.dec, "ebv": c.ebv})
    for k, band in enumerate(c.bands):
        table[band] = c.magnitude[:, k]
    if len(drop):
        table = table[~np.isin(table["name"], drop)]
    table.write(path, format="ascii.csv", overwrite=True)
    return path


@pytest.fixture
def raw(tmp_path, truth):
    return write_raw(tmp_path / "0027red.fits", truth)


@pytest.fixture
def csv(tmp_path, truth):
    return write_catalogue(tmp_path / "stars.csv", truth)


@pytest.fixture
def content(tmp_path, truth):
    """A job of three frames, of which the second cannot be read."""
    names = list(truth.catalogue.bands)
    for band in demo_filters():
        np.savetxt(tmp_path / f"{band.name}.dat", np.column_stack([band.wavelength, band.response]))
    broken = write_raw(tmp_path / "broken.fits", truth, change=lambda h: h.__delitem__("WAVELA"))
    frames = [write_raw(tmp_path / "a.fits", truth), broken, write_raw(tmp_path / "b.fits", truth)]
    return {
        "job": "fluxcal",
        "output": str(tmp_path / "run"),
        "leave_one_out": False,
        "data": {"frames": [str(p) for p in frames]},
        "catalogue": {"path": str(write_catalogue(tmp_path / "stars.csv", truth)), "bands": {n: n for n in names}},
        "filters": {"files": [str(tmp_path / f"{n}.dat") for n in names]},
        "templates": {"library": "demo"},
        "method": {"fwhm": 5.0, "position": False},
    }
