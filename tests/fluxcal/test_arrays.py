"""Every public function takes arrays of any dtype, byte order, stride and mask, and Quantities, with one answer."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from astropy import units as u

from crosscal import fluxcal
from crosscal.core.errors import InputError
from crosscal.core.units import floats
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.stars.matching import match_positions


def _strided(array):
    wide = np.repeat(array, 2, axis=-1)
    return np.asfortranarray(wide)[..., ::2]


#: How an array may come; single precision is compared with a tolerance of its own.
KINDS = {
    "big-endian": lambda a: a.astype(">f8"),
    "float32": lambda a: a.astype("f4"),
    "big-endian float32": lambda a: a.astype(">f4"),
    "strided": _strided,
    "masked": lambda a: np.ma.masked_array(a, mask=False),
    "masked where NaN": lambda a: np.ma.masked_array(np.nan_to_num(a, nan=-7.0), mask=np.isnan(a)),
    "list": lambda a: a.tolist(),
}
UNITS = {
    "wavelength": u.AA, "ra": u.deg, "dec": u.deg, "x": u.um, "y": u.um, "magnitude": u.mag, "error": u.mag,
    "pm_ra": u.mas / u.yr, "pm_dec": u.mas / u.yr, "ebv": u.mag, "flux": u.ct, "variance": u.ct**2,
}  # fmt: skip
#: The same quantities in units that must be converted.
OTHER_UNITS = {u.AA: u.nm, u.deg: u.rad, u.um: u.mm}


def _changed(value, change):
    """A copy of a dataclass whose float arrays were changed."""
    arrays = {f.name: getattr(value, f.name) for f in fields(value)}
    found = {k: change(a) for k, a in arrays.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.ndim}
    return replace(value, **found)


def _values(result):
    """All numbers of a result in one array."""
    if is_dataclass(result):
        kept = [getattr(result, f.name) for f in fields(result)]
        return np.concatenate(
            [np.ravel(v).astype(float) for v in kept if isinstance(v, np.ndarray) and v.dtype.kind in "fib"]
        )
    return np.ravel(np.asarray(result, dtype=float))


@pytest.fixture(scope="module")
def small():
    from crosscal.fluxcal.demo import demo_filters, demo_library, simulate

    truth = simulate(seed=2, n_stars=4, n_targets=1, n_pixels=300, snr=40.0)
    frame = replace(truth.frame, exposure=1800.0)
    library = demo_library().take(np.arange(0, len(demo_library()), 40))
    calibrator = Calibrator(truth.catalogue, library, demo_filters(), fluxcal.Options(fwhm=15.0, ebv=0.02))
    return truth, frame, calibrator, calibrator.calibrate(frame, loo=False)


def _frame(frame, change):
    fibres = _changed(frame.fibres, change)
    return replace(frame, fibres=fibres, **{k: change(getattr(frame, k)) for k in ("flux", "variance", "wavelength")})


def _calibrate(small, change):
    truth, frame, made, _ = small
    catalogue = _changed(truth.catalogue, change)
    curve = fluxcal.calibrate(
        _frame(frame, change), catalogue, made.library, made.filters, options=made.options, loo=False
    ).curve
    return curve.value


def _calibrate_frames(small, change):
    truth, frame, made, _ = small
    calibrator = Calibrator(_changed(truth.catalogue, change), made.library, made.filters, made.options)
    night = fluxcal.calibrate_frames(calibrator, [_frame(frame, change)], loo=False)
    return night.results[0].curve.value


def _calibrate_arms(small, change):
    truth, frame, made, _ = small
    calibrator = Calibrator(_changed(truth.catalogue, change), made.library, made.filters, made.options)
    halves = [np.s_[:, : 2 * frame.flux.shape[1] // 3], np.s_[:, frame.flux.shape[1] // 3 :]]
    arms = [
        replace(frame, **{k: getattr(frame, k)[half] for k in ("flux", "variance", "wavelength")}) for half in halves
    ]
    made = fluxcal.calibrate_arms(calibrator, [_frame(arm, change) for arm in arms], loo=False)
    return np.concatenate([arm.curve.value for arm in made])


def _specutils(small, change):
    frame = small[1]
    return fluxcal.to_specutils(_frame(frame, change)).flux.value


def _transfer(small, change):
    curve = small[3].curve
    return fluxcal.transfer_function([_changed(curve, change)] * 2, change(np.array([1.0, 2.0])), 1.5).value


def _band_error(small, change):
    curve = small[3].curve
    inside = curve.covered
    arrays = (curve.value[inside], curve.total_variance[inside], curve.modes[:, inside], np.ones(int(inside.sum())))
    return fluxcal.band_error(*(change(a) for a in arrays))


_SKY = np.linspace(0.0, 1.0, 81).reshape(9, 9)

#: Public name to a call that returns numbers; ``change`` is applied to every array that goes in.
CALLS = {
    "Frame": lambda s, c: _values(_frame(s[1], c)),
    "Fibres": lambda s, c: _values(_changed(s[1].fibres, c)),
    "Catalogue": lambda s, c: _values(_changed(s[0].catalogue, c)),
    "CalibrationVector": lambda s, c: _values(_changed(s[3].vectors[0], c)),
    "Curve": lambda s, c: _values(_changed(s[3].curve, c)),
    "Filter": lambda s, c: _changed(s[2].filters[0], c).weights(np.linspace(4000.0, 6000.0, 50)),
    "TemplateLibrary": lambda s, c: replace(s[2].library, wavelength=c(s[2].library.wavelength)).magnitudes(
        s[2].filters
    ),
    "SiteExtinction": lambda s, c: fluxcal.SiteExtinction(
        "site", c(np.array([4000.0, 8000.0])), c(np.array([0.3, 0.1]))
    ).factor(np.array([5000.0]), 1.2),
    "DustMap": lambda s, c: fluxcal.DustMap(
        (c(np.ones((9, 9))), c(np.ones((9, 9)))), ((4.0, 4.0),) * 2, (4.0, 4.0)
    ).ebv(c(np.array([10.0, 20.0])), c(np.array([80.0, -80.0]))),
    "with_dust": lambda s, c: (
        fluxcal.with_dust(
            replace(s[0].catalogue, ebv=c(np.full(len(s[0].catalogue), np.nan))),
            fluxcal.DustMap((_SKY, _SKY), ((4.0, 4.0),) * 2, (4.0, 4.0)),
        ).ebv
    ),
    "ab_magnitude": lambda s, c: fluxcal.ab_magnitude(
        s[2].filters[0], c(np.linspace(4000.0, 6000.0, 200)), c(np.linspace(1.0, 2.0, 200))
    ),
    "vega_to_ab": lambda s, c: fluxcal.vega_to_ab(c(np.array([10.0, 11.0])), "gaiadr3-RP"),
    "combine": lambda s, c: fluxcal.combine([_changed(v, c) for v in s[3].vectors]).value,
    "calibrate": _calibrate,
    "calibrate_frames": _calibrate_frames,
    "calibrate_arms": _calibrate_arms,
    "to_specutils": _specutils,
    "transfer_function": _transfer,
    "band_error": _band_error,
    "apply_curve": lambda s, c: apply_curve(_frame(s[1], c), _changed(s[3].curve, c)).flux,
    "match_positions": lambda s, c: (
        match_positions(_changed(s[1].fibres, c), _changed(s[0].catalogue, c), radius=5.0).row
    ),
}
#: Public names that take no arrays: they read files, or hold what others computed.
WITHOUT_ARRAYS = {
    "CalibratedFrame", "Calibrator", "FluxCalibration", "FluxcalJob", "Limits", "NightCalibration", "Options",
    "StarFit", "StarStatus", "apply_fluxcal", "fetch_bosz", "from_specutils", "load_filter", "load_templates",
    "read_catalogue", "read_curve", "read_dust_map", "read_frame", "read_site", "write_frame",
}  # fmt: skip


def test_every_public_name_is_tried():
    assert set(fluxcal.__all__) <= set(CALLS) | WITHOUT_ARRAYS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_same_answer_for_any_array(small, name, kind):
    expected = _values(CALLS[name](small, lambda a: a))
    found = _values(CALLS[name](small, KINDS[kind]))
    # Wavelengths of a single-precision grid are off by 2e-4 A; positions by 0.03 arcsec.
    single = "float32" in kind
    np.testing.assert_allclose(found, expected, rtol=2e-3 if single else 1e-12, atol=1e-3 if single else 0)


@pytest.mark.parametrize("other", [False, True], ids=["same units", "other units"])
def test_quantities(small, other):
    truth, frame = small[:2]
    convert = OTHER_UNITS if other else {}

    def with_units(value):
        return {
            f.name: (getattr(value, f.name) * UNITS[f.name]).to(convert.get(UNITS[f.name], UNITS[f.name]))
            for f in fields(value)
            if f.name in UNITS and f.name != "variance"
        }

    fibres = replace(frame.fibres, **with_units(frame.fibres))
    for kind in (u.ct, u.ct / u.s, u.electron / u.AA):
        factor = {u.ct: 1.0, u.ct / u.s: frame.exposure, u.electron / u.AA: np.diff(frame.grid)[0]}[kind]
        new = replace(
            frame,
            fibres=fibres,
            wavelength=(frame.wavelength * u.AA).to(u.nm if other else u.AA),
            flux=frame.flux / factor * kind,
            variance=frame.variance / factor**2 * kind**2,
            exposure=(frame.exposure * u.s).to(u.min if other else u.s),
        )
        np.testing.assert_allclose(new.flux, frame.flux, rtol=1e-12)
        np.testing.assert_allclose(new.variance, frame.variance, rtol=1e-12)
        np.testing.assert_allclose(new.wavelength, frame.wavelength, rtol=1e-14)
    catalogue = replace(truth.catalogue, **with_units(truth.catalogue))
    np.testing.assert_allclose(_values(catalogue), _values(truth.catalogue), rtol=1e-13)
    np.testing.assert_allclose(_values(fibres), _values(frame.fibres), rtol=1e-13)


def test_quantities_of_flux_make_a_calibrated_frame(small):
    frame = small[1]
    unit = u.erg / u.s / u.cm**2 / u.AA
    made = replace(frame, flux=frame.flux * 1e-17 * unit, variance=frame.variance * 1e-34 * unit**2)
    assert made.calibrated
    np.testing.assert_allclose(made.flux, frame.flux, rtol=1e-12)
    np.testing.assert_allclose(made.variance, frame.variance, rtol=1e-12)


@pytest.mark.parametrize(
    ("flux", "variance", "message"),
    [(u.Jy, u.Jy**2, "spectra in Jy"), (u.ct, u.ct, "variances in ct"), (None, u.ct**2, "variances in ct2")],
)
def test_units_that_do_not_fit_are_refused(small, flux, variance, message):
    frame = small[1]
    with pytest.raises(InputError, match=message):
        replace(frame, flux=frame.flux if flux is None else frame.flux * flux, variance=frame.variance * variance)


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([1j]), [[1.0], [1.0, 2.0]]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match=r"numbers"):
        floats(value, where="here")


def test_masked_pixels_are_bad(small):
    frame = small[1]
    mask = np.zeros(frame.flux.shape, dtype=bool)
    mask[:, 10:20] = True
    made = replace(frame, flux=np.ma.masked_array(frame.flux, mask))
    assert not made.good[:, 10:20].any()
    assert np.array_equal(made.good[:, 20:], frame.good[:, 20:])


def test_one_grid_for_all_fibres_is_not_copied(small):
    frame = small[1]
    made = replace(frame, wavelength=frame.grid)
    assert made.wavelength.shape == frame.flux.shape
    assert made.wavelength.strides[0] == 0
