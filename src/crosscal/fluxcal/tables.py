"""Results as astropy tables, and what their columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.core.tables import describe

if TYPE_CHECKING:
    from crosscal.fluxcal.result import FluxCalibration

STARS = {
    "frame": "frame",
    "fibre": "number of the fibre, from 1",
    "star": "name in the catalogue, or of the fibre",
    "used": "whether the star entered the curve",
    "reason": "why a star was not used",
    "snr": "median signal-to-noise ratio per pixel",
    "separation": "distance of fibre and catalogue position",
    "template": "best template",
    "teff": "effective temperature of the template",
    "logg": "log10 of its surface gravity in cm / s2",
    "feh": "its metallicity [M/H]",
    "rv": "radial velocity",
    "rv_error": "error of the radial velocity",
    "reduced_chi2": "chi2 of spectrum and template over degrees of freedom",
    "scale": "factor from template to flux, from the magnitudes",
    "scale_error": "its error",
    "colour_residual": "rms of magnitudes about the template",
    "ebv": "extinction E(B-V) applied to the template",
    "bands": "bands whose magnitudes set the scale",
    "dropped_bands": "bands rejected as outliers",
    "throughput": "grey loss of the fibre relative to the curve",
    "slope": "its chromatic part per 1000 Angstrom",
    "loo_grey": "held-out star: mean of synthetic minus catalogue magnitudes",
    "loo_colour": "held-out star: difference of that between the first and the last band",
    "loo_slope": "held-out star: trend of calibrated over model flux per 1000 Angstrom",
}

FRAMES = {
    "frame": "frame",
    "passed": "whether all quality checks were passed",
    "source": "origin of the curve: own stars, another frame, or none",
    "n_standards": "standard stars in the frame",
    "n_used": "stars used for the curve",
    "FCALRMS": "robust rms of the stars about the curve, a fraction",
    "loo_grey": "scatter over held-out stars of the mean magnitude residual",
    "loo_slope": "scatter over held-out stars of the slope, mag per 1000 Angstrom",
    "loo_colour": "scatter over held-out stars of the colour, mag",
    "ebv": "mean extinction E(B-V) of the standard stars that is used, mag",
    "ebv_error": "its error",
    "ebv_stars": "E(B-V) by the standard stars alone, mag",
    "airmass": "mean airmass",
    "exposure": "exposure time in s",
    "together": "frames of the arms that were calibrated together",
    "reason": "the quality check that failed",
}

TARGETS = {
    "frame": "frame",
    "fibre": "number of the fibre, from 1",
    "star": "name in the catalogue",
    "snr": "median signal-to-noise ratio per pixel",
    "offset_*": "synthetic minus catalogue magnitude",
    "grey": "mean of the offsets",
    "colour": "offset of the first band minus that of the last",
}

CURVE = {
    "wavelength": "centre of the pixel, as in the frame",
    "factor": "calibrated flux = factor * counts per second",
    "error": "total error of the factor",
    "error_independent": "its part that is independent from pixel to pixel",
    "n_stars": "stars that measure the pixel",
    "bridged": "no star measures the pixel: the curve is interpolated",
    "extrapolated": "beyond the outermost pixel that stars measure: the curve is extrapolated linearly",
}

_FORMATS = {
    "snr": ".1f",
    "separation": ".3f",
    "teff": ".0f",
    "logg": ".2f",
    "feh": ".2f",
    "rv": ".1f",
    "rv_error": ".1f",
    "reduced_chi2": ".2f",
    "scale": ".4e",
    **dict.fromkeys(
        ("scale_error", "colour_residual", "ebv", "throughput", "slope", "loo_grey", "loo_colour", "loo_slope"), ".3f"
    ),
}


def star_table(result: FluxCalibration) -> Any:
    """All standards of a frame: match, template, velocity, scale, residuals, and why a star was not used."""
    import astropy.units as u
    from astropy.table import QTable

    stars, curve = result.stars, result.curve
    held = {h.fibre: h for h in result.held_out}
    coefficient = {}
    if curve is not None:
        coefficient = {name: curve.coefficients[k] for k, name in enumerate(curve.names)}
    nan = float("nan")

    def column(key: str) -> list[Any]:
        return [getattr(s, key) for s in stars]

    def residual(key: str) -> list[float]:
        return [getattr(held[s.fibre], key) if s.fibre in held else nan for s in stars]

    def own(k: int) -> list[float]:
        return [
            float(coefficient[s.name][k]) if s.name in coefficient and k < len(coefficient[s.name]) else nan
            for s in stars
        ]

    per_1000 = u.Unit(1e-3 * u.mag / u.AA)
    table = QTable(
        {
            "fibre": np.array([s.fibre + 1 for s in stars], dtype=int),
            "star": np.array([s.name for s in stars], dtype=str),
            "used": np.array([s.status == 0 for s in stars], dtype=bool),
            "reason": np.array([s.reason for s in stars], dtype=str),
            "snr": np.array(column("snr"), dtype=float),
            "separation": np.array(column("separation"), dtype=float) * u.arcsec,
            "template": np.array(column("template"), dtype=str),
            "teff": np.array(column("teff"), dtype=float) * u.K,
            "logg": np.array(column("logg"), dtype=float),
            "feh": np.array(column("feh"), dtype=float),
            "rv": np.array(column("rv"), dtype=float) * u.km / u.s,
            "rv_error": np.array(column("rv_error"), dtype=float) * u.km / u.s,
            "reduced_chi2": np.array([s.chi2 / s.dof if s.dof > 0 else nan for s in stars], dtype=float),
            "scale": np.array(column("scale"), dtype=float),
            "scale_error": np.array(column("scale_error"), dtype=float) * u.mag,
            "colour_residual": np.array(column("colour_residual"), dtype=float) * u.mag,
            "ebv": np.array(column("ebv"), dtype=float) * u.mag,
            "bands": np.array([" ".join(s.bands) for s in stars], dtype=str),
            "dropped_bands": np.array([" ".join(s.dropped_bands) for s in stars], dtype=str),
            "throughput": np.array(own(0), dtype=float) * u.mag,
            "slope": np.array(own(1), dtype=float) * per_1000,
            "loo_grey": np.array(residual("grey"), dtype=float) * u.mag,
            "loo_colour": np.array(residual("colour"), dtype=float) * u.mag,
            "loo_slope": np.array(residual("slope"), dtype=float) * per_1000,
        }
    )
    for name, form in _FORMATS.items():
        table[name].info.format = form
    table.meta["frame"] = result.info.name
    return describe(table, STARS)


def frame_table(results: Sequence[FluxCalibration]) -> Any:
    """One row per frame."""
    from astropy.table import QTable

    rows = [r.frame_summary() for r in results]
    table = QTable({key: [row[key] for row in rows] for key in rows[0]}) if rows else QTable()
    return describe(table, FRAMES)


def curve_table(result: FluxCalibration) -> Any:
    """The curve against wavelength with its total error, as a table."""
    import astropy.units as u
    from astropy.table import QTable

    curve = result.curve
    assert curve is not None
    unit = 1e-17 * u.erg / u.s / u.cm**2 / u.AA / (u.ct / u.s)
    table = QTable(
        {
            "wavelength": curve.wavelength * u.AA,
            "factor": curve.value * unit,
            "error": np.sqrt(curve.total_variance) * unit,
            "error_independent": np.sqrt(curve.variance) * unit,
            "n_stars": curve.n_stars,
            "bridged": curve.bridged,
            "extrapolated": curve.extrapolated,
        }
    )
    table.meta["frame"] = result.info.name
    return describe(table, CURVE)


def target_table(results: Sequence[FluxCalibration]) -> Any:
    """One row per frame and target: offsets in each band, their mean and colour, in magnitudes (QTable)."""
    import astropy.units as u
    from astropy.table import QTable

    rows = [(r, t) for r in results for t in r.targets]
    table = QTable(
        {
            "frame": np.array([r.info.name for r, _ in rows], dtype=str),
            "fibre": np.array([t.fibre + 1 for _, t in rows], dtype=int),
            "star": np.array([t.name for _, t in rows], dtype=str),
            "snr": np.array([t.snr for _, t in rows], dtype=float),
        }
    )
    for b, band in enumerate(rows[0][0].bands if rows else ()):
        table[f"offset_{band}"] = np.array([t.offset[b] for _, t in rows]) * u.mag
    for key in ("grey", "colour"):
        table[key] = np.array([getattr(t, key) for _, t in rows], dtype=float) * u.mag
    for name in table.colnames[3:]:
        table[name].info.format = ".3f"
    return describe(table, TARGETS)
