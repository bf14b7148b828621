"""The whole path on a simulated frame: accuracy, quality gates, failures, known stars, specutils, tables, figures."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from crosscal import fluxcal
from crosscal.core.errors import ConfigError, DataFileError, FitError, InputError, UnknownNameError
from crosscal.fluxcal.calibrator import Calibrator, calibrate
from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.demo import demo_spectrum
from crosscal.fluxcal.frames.files import read_curve
from crosscal.fluxcal.night.night import NightCalibration, fall_back
from crosscal.fluxcal.quality import Limits, judge
from crosscal.fluxcal.stars.photometry import ab_magnitude
from crosscal.fluxcal.stars.resample import log_grid
from crosscal.fluxcal.types import StarStatus


def test_curve_velocity_and_parameters_are_found(result, truth, options):
    assert result.passed, result.diagnostics
    curve = result.curve
    clean = curve.covered & ~options.masked(curve.wavelength)
    offset = np.log(curve.value / truth.curve)[clean]
    sd = np.sqrt(curve.total_variance / curve.value**2)[clean]
    assert np.all(np.abs(offset) < 4 * sd)
    for star in result.used:
        k = star.fibre
        assert star.rv == pytest.approx(truth.rv[k], abs=6 * star.rv_error)
        assert star.teff == pytest.approx(truth.parameters[k, 0], abs=250)
        assert star.separation < 1.0


def test_targets_are_calibrated(result, truth):
    calibrated = result.apply()
    targets = np.flatnonzero(truth.frame.fibres.type == "P")
    for k in targets:
        loss = 10 ** (-0.4 * (truth.grey[k]))
        ratio = np.nanmedian(calibrated.flux[k] / (truth.flux[k] * loss))
        assert ratio == pytest.approx(1.0, abs=0.25)  # the mean loss of 8 stars has 0.15 / sqrt(8) mag, twice
    assert calibrated.frame.calibrated
    with pytest.raises(InputError, match="calibrated already"):
        result.apply(calibrated.frame)


def test_held_out_stars_show_their_fibres_losses(result, truth):
    greys = {h.fibre: h.grey for h in result.held_out}
    losses = truth.grey[list(greys)]
    assert np.corrcoef(losses, list(greys.values()))[0, 1] > 0.9
    slopes = np.array([h.slope for h in result.held_out])
    assert np.std(slopes) < 0.08


def test_cosmic_rays_do_not_spoil_held_out_magnitudes(truth, library, filters, options, result):
    flux = truth.frame.flux.copy()
    flux[0, 600:603] *= 60.0
    spoiled = Calibrator(truth.catalogue, library, filters, options).calibrate(replace(truth.frame, flux=flux))
    before, after = result.held_out[0], spoiled.held_out[0]
    # without care, three such pixels of 230 in the band would make it brighter by 0.6 mag
    np.testing.assert_allclose(after.offset, before.offset, atol=0.03)
    assert after.slope == pytest.approx(before.slope, abs=0.02)


def test_result_hands_out_what_every_part_does(result, tmp_path):
    table = result.summary()
    assert len(table) == 8
    assert table["rv"].unit == "km / s"
    correction = result.correction
    assert correction.axis == "wavelength"
    assert correction.coordinate.size <= 256
    np.testing.assert_allclose(
        correction.factor, np.interp(correction.coordinate, result.curve.wavelength, result.curve.value), rtol=1e-6
    )
    assert "stars used" in result.diagnostics
    assert "error of the flux scale" in result.diagnostics
    assert "interpolated across masks" in result.diagnostics
    assert result.answer.startswith("demo.fits: calibrated")
    figures = result.figures()
    assert set(figures) == {"curve", "ratio", "fits", "held_out"}
    result.write(tmp_path)
    assert (tmp_path / "demo_cal.fits").exists()
    assert (tmp_path / "summary.ecsv").exists()
    assert (tmp_path / "correction.ecsv").exists()
    assert result.passed
    assert all(check.passed for check in result.checks)


def test_written_frame_follows_the_contract(result, tmp_path, raw, csv, library, filters, options):
    from crosscal.fluxcal.frames.reading import read_frame

    frame = read_frame(raw)
    made = Calibrator(result_catalogue(csv, filters), library, filters, options).calibrate(frame)
    path = made.apply().write(tmp_path / "cal.fits")
    with fits.open(path) as hdus:
        header = hdus[0].header
        assert header["FLUXCAL"] is True
        assert header["BUNIT"] == "1e-17 erg/s/cm2/Angstrom"
        assert header["FCALNSTR"] == len(made.used)
        assert header["FCALRMS"] > 0
        lines = [line for line in header["HISTORY"] if line.startswith("fluxcal star") and "T=" in line]
        assert len(lines) == len(made.used)
        assert "T=" in lines[0]
        assert "RV=" in lines[0]
        assert "scale=" in lines[0]
        assert {"VARIANCE", "WAVELA", "FIBRES", "SKY", "MASK", "FLUXCAL", "FLUXSTAR"} <= {h.name for h in hdus}
        assert hdus[0].data.dtype == np.dtype(">f4")
        assert np.isfinite(hdus[0].data).all()
        assert np.nanmax(hdus["VARIANCE"].data) > 1e-6  # no underflow
        stars = hdus["FLUXCAL"].data["C_STARS"]
        assert stars.shape == (frame.grid.size, len(made.used))
        assert len(hdus["FLUXSTAR"].data) == 8
    again = read_frame(path)
    assert again.calibrated
    np.testing.assert_allclose(again.flux, made.apply().flux, rtol=1e-5)
    curve = read_curve(path)
    np.testing.assert_allclose(curve.value, made.curve.value)
    np.testing.assert_allclose(curve.total_variance, made.curve.total_variance, rtol=1e-6)
    with pytest.raises(DataFileError, match="no HDU FLUXCAL"):
        read_curve(raw)
    with pytest.raises(InputError, match="calibrated already"):
        Calibrator(result_catalogue(csv, filters), library, filters, options).calibrate(again)


def test_the_field_over_the_plate_is_written_and_read(truth, library, filters, options, tmp_path):
    chosen = replace(options, position=True, position_sd=0.05, position_grey_sd=0.15)
    made = Calibrator(truth.catalogue, library, filters, chosen).calibrate(truth.frame, loo=False)
    assert made.curve.plate is not None
    figures = made.figures()
    assert set(figures) <= set(made.captions)
    assert len(figures["plate"].axes) == 4  # grey and slope, with their colour bars
    path = made.apply().write(tmp_path / "cal.fits")
    curve = read_curve(path)
    again = apply_curve(truth.frame, curve, chosen)
    np.testing.assert_allclose(again.flux, made.apply().flux, rtol=1e-6)
    # bad pixels have NaN
    np.testing.assert_allclose(again.variance, made.apply().variance, rtol=1e-6)


def result_catalogue(csv, filters):
    return fluxcal.read_catalogue(csv, bands={f.name: f.name for f in filters})


def test_names_and_paths_become_objects(raw, csv, filters):
    made = calibrate(raw, csv, "demo", filters, loo=False)
    assert made.passed
    assert made.template_library == "demo"
    with pytest.raises(UnknownNameError, match="template library"):
        calibrate(raw, csv, "kuruzc", filters)
    with pytest.raises(TypeError, match="fwmh"):
        calibrate(raw, csv, "demo", filters, fwmh=4.0)
    with pytest.raises(InputError, match="without filters"):
        calibrate(raw, csv, "demo")
    chosen = calibrate(raw, csv, "demo", filters, options=fluxcal.Options(ebv=0.1), fwhm=3.0, loo=False).options
    assert (chosen.fwhm, chosen.ebv) == (3.0, 0.1)
    with pytest.raises(UnknownNameError, match="template library"):
        fluxcal.load_templates("bosch")


def test_huber_metric_agrees(truth, library, filters, options, result):
    made = Calibrator(truth.catalogue, library, filters, replace(options, metric="huber")).calibrate(
        truth.frame, loo=False
    )
    inside = made.curve.covered
    np.testing.assert_allclose(made.curve.value[inside], result.curve.value[inside], rtol=0.02)


def fails(truth, library, filters, options, frame=None, catalogue=None, limits=None):
    made = Calibrator(catalogue or truth.catalogue, library, filters, options, limits).calibrate(frame or truth.frame)
    assert not made.passed
    with pytest.raises(FitError):
        made.apply()
    assert "not calibrated" in made.answer
    return made


def test_no_standard_no_overlap_all_nan(truth, library, filters, options):
    frame = truth.frame
    none = replace(frame, fibres=frame.fibres.retyped(np.arange(len(frame.fibres)), "P"))
    assert "stars used: 0" in fails(truth, library, filters, options, none).quality.reason
    away = replace(truth.catalogue, ra=truth.catalogue.ra + 5)
    made = fails(truth, library, filters, options, catalogue=away)
    assert {s.status for s in made.stars} == {StarStatus.NOT_IN_CATALOGUE}
    assert made.figures() == {}
    with pytest.raises(FitError, match="no calibration curve"):
        _ = made.correction
    nan = replace(frame, variance=np.full_like(frame.variance, np.nan))
    made = fails(truth, library, filters, options, nan)
    assert {s.status for s in made.stars} == {StarStatus.NO_SIGNAL}


def test_one_star_and_one_nan_star(truth, library, filters, options):
    frame = truth.frame
    one = replace(frame, fibres=frame.fibres.retyped(np.arange(1, 8), "P"))
    made = Calibrator(truth.catalogue, library, filters, options).calibrate(one)
    assert made.passed
    assert any("only one star" in w for w in made.warnings)
    variance = frame.variance.copy()
    variance[3] = np.nan
    made = Calibrator(truth.catalogue, library, filters, options).calibrate(
        replace(frame, variance=variance), loo=False
    )
    assert made.passed
    assert len(made.used) == 7
    assert np.isfinite(made.apply().flux).all()


def test_gates_fail_with_a_reason(truth, library, filters, options, result):
    made = fails(truth, library, filters, options, limits=Limits(rms=1e-4))
    assert "FCALRMS" in made.quality.reason
    assert "> 0.0001" in made.quality.reason
    strict = Limits(
        min_stars=20, matched_fraction=1.0, colour_residual=1e-6, loo_grey=1e-6, loo_slope=1e-6, coverage=1.0
    )
    quality = judge(result.stars, result.curve, result.held_out, strict)
    failed = {g.name for g in quality.checks if not g.passed}
    assert failed >= {"stars", "colour", "loo grey", "loo slope"}
    assert "FAIL" in str(quality)
    forced = replace(result, quality=quality)
    assert forced.apply(force=True).frame.calibrated
    for bad in ({"min_stars": 0}, {"coverage": 2.0}, {"rms": 0.0}):
        with pytest.raises(ConfigError):
            Limits(**bad)


def test_library_and_filters_must_fit(truth, library, filters, options):
    with pytest.raises(InputError, match="catalogue's bands"):
        Calibrator(truth.catalogue, library, filters[:2], options)
    red = replace(truth.frame, wavelength=truth.frame.wavelength + 3000)
    with pytest.raises(InputError, match="templates cover"):
        Calibrator(truth.catalogue, library, filters, options).calibrate(red)


def test_resolution_from_the_header(truth, library, filters, options):
    calibrator = Calibrator(truth.catalogue, library, filters, replace(options, fwhm=None))
    step = np.median(np.diff(truth.frame.grid))
    assert calibrator.fwhm(truth.frame) == pytest.approx(3.4 * step)
    assert calibrator.fwhm(replace(truth.frame, header={"SPECFWHM": 4.2})) == 4.2
    with pytest.raises(InputError, match="SPECFWHM"):
        calibrator.fwhm(replace(truth.frame, header={"SPECFWHM": -1}))


def test_resolution_that_changes_along_the_spectrum(truth, library, filters, options, result):
    level = Calibrator(truth.catalogue, library, filters, replace(options, fwhm=((4000.0, 5.0), (8000.0, 5.0))))
    made = level.calibrate(truth.frame, loo=False)
    np.testing.assert_allclose(made.curve.value, result.curve.value, rtol=1e-6)
    from crosscal.fluxcal.stars.lsf import convolve_lsf, widths

    wave = log_grid(4000.0, 8000.0, 1e-4)
    fwhm = widths(((4000.0, 4.0), (8000.0, 8.0)), wave)
    lines = np.zeros(wave.size)
    centres = np.searchsorted(wave, [4500.0, 6000.0, 7500.0])
    lines[centres] = 1.0
    smooth = convolve_lsf(wave, lines, fwhm)
    for k in centres:
        near = slice(k - 60, k + 61)
        profile = smooth[near] / smooth[near].sum()
        sd = np.sqrt(np.sum(profile * (wave[near] - wave[k]) ** 2))
        assert sd * 2.3548 == pytest.approx(fwhm[k], rel=0.02)
    for bad in (((5000.0, 4.0), (4000.0, 4.0)), ((5000.0, -1.0),), ((5000.0,),), ()):
        with pytest.raises(ConfigError, match="fwhm"):
            replace(options, fwhm=bad)


def test_the_law_of_dust_is_used(truth, library, filters, options, result):
    thick = replace(truth.catalogue, ebv=np.full(len(truth.catalogue), 0.3))
    made = [
        Calibrator(thick, library, filters, replace(options, law=law)).calibrate(truth.frame, loo=False)
        for law in ("fitzpatrick99", "odonnell94")
    ]
    ratio = made[0].curve.value / made[1].curve.value
    assert np.ptp(ratio[made[0].curve.covered]) > 0.005


def test_a_known_spectrum_replaces_the_template(truth, library, filters, options):
    name = str(truth.frame.fibres.name[0])
    row = int(np.flatnonzero(truth.catalogue.name == name)[0])
    wave = log_grid(3400.0, 9700.0, 1e-4)
    shape = demo_spectrum(wave, *truth.parameters[0])
    scale = 10 ** (0.4 * (ab_magnitude(filters[1], wave, shape) - truth.catalogue.magnitude[row, 1]))
    known = {name: (wave, shape * scale)}
    made = Calibrator(truth.catalogue, library, filters, options, known=known).calibrate(truth.frame, loo=False)
    star = next(s for s in made.stars if s.name == name)
    assert star.template == "known spectrum"
    assert star.status == StarStatus.USED
    np.testing.assert_allclose(np.median(star.model) / 1e-17, np.median(truth.flux[0]), rtol=0.1)
    short = {name: (wave[10000:], (shape * scale)[10000:])}
    with pytest.raises(InputError, match="known spectrum covers"):
        Calibrator(truth.catalogue, library, filters, options, known=short).calibrate(truth.frame)


def test_failed_frame_takes_its_neighbours_curve(truth, library, filters, options, result):
    frame = truth.frame
    empty = replace(frame, name="bad.fits", fibres=frame.fibres.retyped(np.arange(8), "P"), mjd=60000.01)
    bad = Calibrator(truth.catalogue, library, filters, options).calibrate(empty)
    alone = fall_back([bad])
    assert not alone[0].passed
    night = NightCalibration(tuple(fall_back([result, bad])))
    assert night.passed
    assert night.results[1].source.startswith("neighbours: demo.fits")
    assert any("own stars failed" in w for w in night.warnings)
    np.testing.assert_allclose(night.results[1].apply().flux, result.apply().flux, rtol=1e-8)
    assert "2 of 2 frames calibrated" in night.answer
    assert {"tonry-davis", "fitzpatrick"} <= set(night.citations)
    assert "kurucz" in replace(result, template_library="kurucz-sdss").citations
    assert {"night", "frames", "curve"} <= set(night.figures())
    assert night.correction.coordinate.size > 10
    failed = NightCalibration((bad,), (("x.fits", "why"),))
    assert not failed.passed
    assert "x.fits: not read: why" in failed.warnings
    with pytest.raises(FitError, match="no frame has"):
        _ = failed.correction


def test_specutils_in_and_out(result, truth, library, filters, options):
    specutils = pytest.importorskip("specutils")
    from crosscal.fluxcal.frames.spectra import from_specutils, to_specutils

    calibrated = result.apply()
    one = calibrated.to_specutils(0)
    assert isinstance(one, specutils.Spectrum)
    assert one.flux.unit.is_equivalent("erg/(s cm2 AA)")
    np.testing.assert_allclose(one.flux.value, calibrated.flux[0])
    np.testing.assert_array_equal(to_specutils(calibrated, 0).flux.value, one.flux.value)
    collection = to_specutils(truth.frame)
    assert collection.flux.shape == truth.frame.flux.shape
    frame = from_specutils(collection, truth.frame.fibres, exposure=truth.frame.exposure, name="demo.fits")
    again = Calibrator(truth.catalogue, library, filters, options).calibrate(frame, loo=False)
    np.testing.assert_allclose(again.curve.value, result.curve.value, rtol=1e-6)
    singles = [to_specutils(truth.frame, k) for k in range(len(truth.frame.flux))]
    listed = from_specutils(singles, truth.frame.fibres, exposure=10.0)
    np.testing.assert_array_equal(listed.good, truth.frame.good)
    with pytest.raises(InputError, match="fibre 99"):
        to_specutils(truth.frame, 99)
    with pytest.raises(InputError, match="fluxes in"):
        from_specutils(calibrated.to_specutils(), truth.frame.fibres, exposure=1.0)
    bare = specutils.Spectrum(flux=singles[0].flux, spectral_axis=singles[0].spectral_axis)
    with pytest.raises(InputError, match="no uncertainty"):
        from_specutils(bare, truth.frame.fibres, exposure=1.0)
    short = specutils.Spectrum(
        flux=singles[0].flux[:-5], spectral_axis=singles[0].spectral_axis[:-5], uncertainty=singles[0].uncertainty[:-5]
    )
    with pytest.raises(InputError, match="one length"):
        from_specutils([short, *singles[1:]], truth.frame.fibres, exposure=1.0)


def test_missing_specutils_says_what_to_install(monkeypatch, truth):
    import sys

    from crosscal.core.errors import MissingDependencyError
    from crosscal.fluxcal.frames.spectra import to_specutils

    monkeypatch.setitem(sys.modules, "specutils", None)
    with pytest.raises(MissingDependencyError, match=r"crosscal\[optical\]"):
        to_specutils(truth.frame)


def test_atmospheric_extinction_is_taken_out(truth, library, filters, options, result):
    from crosscal.fluxcal.stars.extinction import SiteExtinction

    site = SiteExtinction("s", np.array([3000.0, 10000.0]), np.array([0.5, 0.1]))
    made = Calibrator(truth.catalogue, library, filters, replace(options, extinction_table=site)).calibrate(
        truth.frame, loo=False
    )
    inside = made.curve.covered & ~options.masked(made.curve.wavelength)
    # the same star fluxes, another split between atmosphere and instrument
    np.testing.assert_allclose(made.apply().flux[8][inside], result.apply().flux[8][inside], rtol=0.03, atol=0.5)
    blue = made.curve.value[50] / result.curve.value[50]
    assert blue == pytest.approx(site.factor(made.curve.wavelength[50:51], 1.2)[0], rel=0.03)


def test_vacuum_frames(truth, library, filters, options, result):
    from crosscal.fluxcal.stars.resample import air_to_vacuum

    frame = replace(truth.frame, wavelength=air_to_vacuum(truth.frame.wavelength), medium="vacuum")
    made = Calibrator(truth.catalogue, library, filters, options).calibrate(frame, loo=False)
    for a, b in zip(made.used, result.used, strict=True):
        # errors of 13 km/s, with masks at other pixels; forgetting the medium would give 84 km/s
        assert a.rv == pytest.approx(b.rv, abs=30.0)


def test_a_wrong_catalogue_is_told_by_its_distance(truth, library, filters, options):
    moved = replace(truth.catalogue, dec=truth.catalogue.dec + 3.0)
    made = Calibrator(moved, library, filters, options).calibrate(truth.frame, loo=False)
    assert not made.passed
    assert "stars used: 0" in made.quality.reason
    found = re.search(r"the nearest star in the catalogue is ([\d.]+) deg from a standard", made.quality.reason)
    # The field is a few degrees wide: the distance is that of the shift, less the field.
    assert 0.5 < float(found[1]) <= 3.01
    near = replace(truth.catalogue, dec=truth.catalogue.dec + 0.002)
    made = Calibrator(near, library, filters, options).calibrate(truth.frame, loo=False)
    assert re.search(r"is 7\.\d+ arcsec from a standard", made.quality.reason)
