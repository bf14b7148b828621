"""Gaia's XP spectra: read in every public layout, and the broad shape of the stars' models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from crosscal import fluxcal
from crosscal.core.errors import DataFileError, InputError
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.stars.xp import SAMPLING, UNIT, XpSpectrum, anchored, read_xp, resolution

IDS = (4472832130942575872, 5853498713190525696)


def rows(n=SAMPLING.size):
    flux = 1e-17 * np.linspace(1.0, 2.0, 2 * n).reshape(2, n)
    return flux, 0.02 * flux


def bracketed(values, marks="()"):
    return marks[0] + ", ".join(f"{v:.8e}" for v in values) + marks[1]


def long_csv(directory):
    """A row for each sample of several sources."""
    flux, error = rows()
    n = SAMPLING.size
    table = Table({"source_id": np.repeat(IDS, n), "wavelength": np.tile(SAMPLING, 2), "flux": flux.ravel()})
    table["flux_error"] = error.ravel()
    table.write(directory / "xp.csv", format="ascii.csv")
    return directory / "xp.csv"


def single_ecsv(directory):
    """One source in a file that is named by it."""
    flux, error = rows()
    table = Table({"wavelength": SAMPLING, "flux": flux[0], "flux_error": error[0]})
    path = directory / f"XP_SAMPLED-Gaia DR3 {IDS[0]}.ecsv"
    table.write(path, format="ascii.ecsv")
    return path


def wide_fits(directory):
    """The archive's rows: arrays of 343."""
    flux, error = rows()
    Table({"source_id": np.array(IDS), "flux": flux, "flux_error": error}).write(directory / "xp.fits")
    return directory / "xp.fits"


def wide_csv(directory):
    """Arrays as text."""
    flux, error = rows()
    table = Table({"source_id": np.array(IDS), "flux": [bracketed(f, "[]") for f in flux]})
    table["flux_error"] = [bracketed(e, "[]") for e in error]
    table.write(directory / "xp.csv", format="ascii.csv")
    return directory / "xp.csv"


def gaiaxpy_csv(directory):
    """Arrays as text in round brackets, the sampling in a file beside it."""
    flux, error = (r[:, ::2] for r in rows())
    table = Table({"source_id": np.array(IDS), "flux": [bracketed(f) for f in flux]})
    table["flux_error"] = [bracketed(e) for e in error]
    table.write(directory / "output_spectra.csv", format="ascii.csv")
    Table({"pos": [bracketed(SAMPLING[::2])]}).write(directory / "output_spectra_sampling.csv", format="ascii.csv")
    return directory / "output_spectra.csv"


def gaiaxpy_fits(directory):
    """The sampling in the header."""
    flux, error = (r[:, ::20] for r in rows())
    columns = [
        fits.Column("source_id", "K", array=np.array(IDS)),
        fits.Column("flux", f"{flux.shape[1]}D", array=flux),
        fits.Column("flux_error", f"{flux.shape[1]}D", array=error),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["SAMPLING"] = str(tuple(SAMPLING[::20].tolist()))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(directory / "out.fits")
    return directory / "out.fits"


@pytest.mark.parametrize(
    ("write", "every"),
    [(long_csv, 1), (single_ecsv, 1), (wide_fits, 1), (wide_csv, 1), (gaiaxpy_csv, 2), (gaiaxpy_fits, 20)],
)
def test_layouts(write, every, tmp_path):
    found = read_xp(write(tmp_path))
    flux, error = (r[:, ::every] for r in rows())
    assert list(found) == [str(i) for i in IDS[: len(found)]]
    assert len(found) == (1 if write is single_ecsv else 2)
    for name, own, sd in zip(found, flux, error, strict=False):
        one = found[name]
        np.testing.assert_allclose(one.wavelength, 10 * SAMPLING[::every])
        # 1 W m-2 nm-1 = 1e7 erg/s / 1e4 cm2 / 10 A
        np.testing.assert_allclose(one.flux, 1e7 / 1e4 / 10 * own, rtol=1e-6)
        np.testing.assert_allclose(np.sqrt(np.diag(one.covariance)), 100 * sd, rtol=1e-6)
    # neighbours within the resolution err alike, distant ones do not
    middle = SAMPLING[::every].size // 2
    correlation = one.covariance[middle] / (100 * sd * 100 * sd[middle])
    assert correlation[middle + 1] > 0.6 or every == 20
    assert correlation[0] < 1e-6


def test_a_covariance_goes_before_errors(tmp_path):
    n = 6
    covariance = np.diag(np.arange(1.0, n + 1)) * 1e-38
    table = Table({"source_id": [IDS[0]], "wavelength": [np.linspace(400, 500, n)], "flux": [np.full(n, 1e-17)]})
    table["flux_error"], table["covariance"] = [np.full(n, 1.0)], [covariance.ravel()]
    table.write(tmp_path / "xp.fits")
    np.testing.assert_allclose(read_xp(tmp_path / "xp.fits")[str(IDS[0])].covariance, UNIT**2 * covariance)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"source_id": [1], "wavelength": [400.0]}, "no column flux"),
        ({"wavelength": SAMPLING, "flux": SAMPLING, "flux_error": SAMPLING}, "a spectrum cannot be used"),
        ({"source_id": [1], "flux": ["(1, 2, x)"], "flux_error": ["(1, 2, 3)"]}, "a spectrum cannot be used"),
        ({"source_id": [1], "flux": ["(1, 2, 3)"], "flux_error": ["(1, 2, 3)"]}, "a spectrum cannot be used"),
        ({"source_id": [1] * 343, "wavelength": 10 * SAMPLING, "flux": SAMPLING, "flux_error": SAMPLING}, "cannot be"),
        ({"source_id": [1] * 343, "wavelength": SAMPLING, "flux": SAMPLING, "flux_error": -SAMPLING}, "cannot be used"),
    ],
)
def test_files_that_are_no_spectra(columns, match, tmp_path):
    Table(columns).write(tmp_path / "xp.csv", format="ascii.csv")
    with pytest.raises(DataFileError, match=match):
        read_xp(tmp_path / "xp.csv")


def test_an_empty_file(tmp_path):
    Table({"source_id": [1], "flux": [1.0], "wavelength": [1.0], "flux_error": [1.0]})[:0].write(tmp_path / "xp.ecsv")
    with pytest.raises(DataFileError, match="no spectrum"):
        read_xp(tmp_path / "xp.ecsv")


def xp_of(truth, fibre, error=0.005):
    """A star of the simulation at XP's resolution, W m-2 nm-1: by direct summation over a wider spectrum."""
    from crosscal.fluxcal.demo import demo_spectrum
    from crosscal.fluxcal.stars.extinction import redden
    from crosscal.fluxcal.stars.resample import air_to_vacuum

    wide = np.arange(3200.0, 10500.0, 2.0)
    star = demo_spectrum(wide, *truth.parameters[fibre]) * redden(wide, 0.02)
    vacuum = air_to_vacuum(truth.frame.grid)
    seen = truth.flux[fibre] * FLUX_SCALE
    star *= np.median(seen / np.interp(vacuum, wide, star))
    nodes = 10 * SAMPLING
    kernel = np.exp(-4 * np.log(2) * ((wide - nodes[:, None]) / resolution(nodes)[:, None]) ** 2)
    flux = kernel @ star / kernel.sum(axis=1) / UNIT
    return nodes, flux, error * flux


@pytest.fixture(scope="module")
def seen():
    return simulate(seed=9, n_stars=4, n_targets=0, n_pixels=700, snr=60.0, grey_sd=0.0, slope_sd=0.0)


def write_xp(truth, path):
    table = [xp_of(truth, k) for k in range(4)]
    ids = np.repeat([IDS[0] + k for k in range(4)], SAMPLING.size)
    flux, error = (np.concatenate([t[k] for t in table]) for k in (1, 2))
    made = Table({"source_id": ids, "wavelength": np.tile(SAMPLING, 4), "flux": flux, "flux_error": error})
    made.write(path, format="ascii.csv")
    return path


@pytest.mark.thorough
def test_xp_spectra_mend_wrong_colours(seen, library, filters, tmp_path):
    """Magnitudes that are wrong alike in all stars, 0.08 mag in the first band: the XP spectra do not know them."""
    names = np.array([f"Gaia DR3 {IDS[0] + k}" for k in range(4)])
    wrong = seen.catalogue.magnitude + np.array([0.08, 0.0, 0.0])
    catalogue = replace(seen.catalogue, name=names, magnitude=wrong)
    path = write_xp(seen, tmp_path / "xp.csv")
    options = fluxcal.Options(fwhm=5.0, ebv=0.02, ebv_error=0.0)
    common = {"filters": filters, "options": options, "loo": False}
    alone = fluxcal.calibrate(seen.frame, catalogue, library, **common)
    known = fluxcal.calibrate(seen.frame, catalogue, library, xp=path, **common)

    def error(result):
        wave = seen.frame.grid
        ratio = np.log(result.curve.value / seen.curve)
        inside = result.curve.covered
        return np.mean(ratio[inside & (wave < 4800)]) - np.mean(ratio[inside & (wave > 6000) & (wave < 6800)])

    assert abs(error(alone)) > 0.03
    assert abs(error(known)) < 0.4 * abs(error(alone))
    assert all("Gaia XP" in s.template for s in known.used)
    assert any("XP spectra set the broad shape of 4 of 4 stars" in w for w in known.warnings)
    with pytest.raises(InputError, match="none of the 4 XP spectra belongs to a star"):
        fluxcal.calibrate(seen.frame, seen.catalogue, library, xp=path, **common)


@pytest.mark.thorough
def test_a_model_on_its_xp_spectrum(seen, library, filters, options):
    result = fluxcal.Calibrator(seen.catalogue, library, filters, options).calibrate(seen.frame, loo=False)
    star = result.used[0]
    bent = replace(star, model=star.model * np.exp(0.1 * np.linspace(-1, 1, star.model.size)))
    nodes, flux, _ = xp_of(seen, star.fibre)

    def on(error):
        covariance = UNIT**2 * np.diag((error * flux) ** 2)
        return anchored(seen.frame, bent, XpSpectrum(nodes, UNIT * flux, covariance))

    exact, noisy = on(0.005), on(0.3)
    truth = seen.flux[star.fibre] * FLUX_SCALE
    slope = [np.polyfit(np.linspace(-1, 1, truth.size), np.log(m / truth), 1)[0] for m in (exact.model, noisy.model)]
    # the slope of 0.1 is gone; where XP is noisy a part of it stays, and the error says so
    assert abs(slope[0]) < 0.02
    width = [np.sqrt(np.sum(s.model_modes**2, axis=0) + s.mismatch[1] ** 2).mean() for s in (exact, noisy)]
    assert width[1] > 3 * width[0]
    # too few good samples: as it was
    assert on(5.0) is bent


@pytest.mark.parametrize(
    ("key", "unit", "right"),
    [("flux", "W / (m2 nm)", True), ("flux_error", "erg / (s cm2 Angstrom)", False), ("wavelength", "Angstrom", False)],
)
def test_another_unit_than_the_archives_is_refused(key, unit, right, tmp_path):
    path = single_ecsv(tmp_path)
    table = Table.read(path)
    table[key].unit = unit
    table.write(path, overwrite=True)
    if right:
        assert len(read_xp(path)) == 1
        return
    with pytest.raises(DataFileError, match=f"column '{key}': the unit is"):
        read_xp(path)
