"""Results as astropy tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.fluxcal import columns

if TYPE_CHECKING:
    from crosscal.fluxcal.result import Result


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


def star_table(result: Result) -> Any:
    """All standards of a frame: match, template, velocity, scale, residuals, and why a star was not used."""
    import astropy.units as u
    from astropy.table import QTable

    from crosscal.core.tables import describe

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
    table.meta["frame"] = result.frame.name
    return describe(table, columns.STARS)


def frame_table(results: list[Result]) -> Any:
    """One row per frame."""
    from astropy.table import QTable

    from crosscal.core.tables import describe

    rows = [r.frame_summary() for r in results]
    table = QTable({key: [row[key] for row in rows] for key in rows[0]}) if rows else QTable()
    return describe(table, columns.FRAMES)
