"""The resolution of frames that do not state it: fitted to the stars, and told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal import fluxcal
from crosscal.fluxcal.demo import demo_library, simulate
from crosscal.fluxcal.stars.lsf import convolve_lsf, widths
from crosscal.fluxcal.stars.resample import resample
from crosscal.fluxcal.stars.width import LADDER, _constant, fit_width, told


def calibrator(truth, filters, **options):
    return fluxcal.Calibrator(truth.catalogue, demo_library(), filters, fluxcal.Options(ebv=0.02, **options))


def frame_of(fwhm, n_pixels=900):
    return simulate(seed=3, n_stars=5, n_targets=0, n_pixels=n_pixels, snr=40.0, fwhm=fwhm)


@pytest.mark.thorough
@pytest.mark.parametrize("fwhm", [6.0, 18.0])
def test_the_width_that_was_injected_is_recovered(fwhm, filters):
    truth = frame_of(fwhm)
    found = calibrator(truth, filters).calibrate(truth.frame, loo=False)
    notes = [n for n in found.warnings if "the file states no resolution" in n]
    width, error = (float(w) for w in notes[0].split("FWHM ")[1].split(" Angstrom")[0].split(" +/- "))
    assert abs(width - fwhm) < 2.5 * error
    assert error < 0.25 * fwhm

    # the curve is as good as with the true width, and better at the blue end than with 3.4 pixels of 5.3 A
    def blue(result):
        ratio = np.log(result.curve.value / truth.curve)[result.curve.covered & (result.curve.wavelength < 4500)]
        return np.std(ratio)

    stated, usual = (calibrator(truth, filters, fwhm=w).calibrate(truth.frame, loo=False) for w in (fwhm, 3.4 * 5.34))
    assert blue(found) < blue(stated) + 0.002
    if fwhm == 6.0:
        assert blue(found) < blue(usual)
    assert not any("resolution" in n for n in (*stated.warnings, *usual.warnings))


@pytest.mark.thorough
def test_a_width_that_changes_along_the_spectrum(filters):
    """Stars of the demonstration without dust, at a resolution that doubles from one end to the other."""
    truth, library = frame_of(1.0), demo_library()
    pairs = ((3900.0, 8.0), (8700.0, 24.0))
    rows, rng = [], np.random.default_rng(4)
    member = [int(np.argmin(np.abs(library.parameters - p) @ [1 / 500, 1, 1])) for p in truth.parameters[:5]]
    for k, row in enumerate(member):
        seen = convolve_lsf(library.wavelength, library.flux[row : row + 1], widths(pairs, library.wavelength))[0]
        spectrum = resample(library.wavelength * (1 + truth.rv[k] / 299792.458), seen.astype(float), truth.frame.grid)
        rows.append(spectrum / np.median(spectrum) * np.median(truth.frame.flux[k]))
    noise = np.array(rows) / 60
    flux = truth.frame.flux.copy()
    flux[:5] = rows + rng.normal(size=noise.shape) * noise
    variance = truth.frame.variance.copy()
    variance[:5] = noise**2
    frame = replace(truth.frame, flux=flux, variance=variance)
    magnitude = library.magnitudes(filters)[member] - library.magnitudes(filters)[member][:, :1]
    catalogue = replace(truth.catalogue, magnitude=truth.catalogue.magnitude[:, :1] + magnitude, ebv=np.zeros(5))
    made = fluxcal.Calibrator(catalogue, library, filters, fluxcal.Options(ebv_error=0.0))
    result = made.calibrate(frame, loo=False)
    note = next(n for n in result.warnings if "the file states no resolution" in n)
    low, high = (float(note.split(mark)[0].split()[-1]) for mark in (" Angstrom at ", " at 8"))
    # the line-free middle shares what the ends know: 20 %
    assert low == pytest.approx(8.0, rel=0.25)
    assert high == pytest.approx(24.0, rel=0.25)


def test_what_states_the_resolution_is_used(truth, filters):
    own = calibrator(truth, filters)
    stated = replace(truth.frame, resolution=5.0)
    assert own._measured(stated, []) is stated
    assert own._measured(replace(truth.frame, header={"SPECFWHM": 4.0}), []).resolution is None
    found = own._measured(truth.frame, [])
    assert own.fwhm(found) == pytest.approx(3.4 * np.diff(truth.frame.grid)[0])
    assert "set fwhm" in found.notes[-1]


def test_the_minimum_over_widths():
    ladder = 4 * LADDER
    width, error = _constant((np.log(ladder / 9.0) / 0.1) ** 2, ladder)
    assert width == pytest.approx(9.0, rel=1e-6)
    assert error == pytest.approx(0.9, rel=1e-6)
    # unresolved, too wide, or flat
    assert _constant(np.arange(16.0), ladder)[0] == ladder[0]
    assert _constant(-np.arange(16.0), ladder) is None
    assert _constant((np.log(ladder / 9.0) / 0.5) ** 2, ladder) is None
    assert "9.00 +/- 0.90 Angstrom was fitted to 3 stars" in told(9.0, 0.9, 3)
    assert "8.00 Angstrom at 3900, 24.00 at 8700" in told(((3900.0, 8.0), (8700.0, 24.0)), 0.5, 3)


def test_without_stars_nothing_is_fitted(truth, library, filters, options):
    assert fit_width(truth.frame, [], library, truth.catalogue, filters, options) is None
