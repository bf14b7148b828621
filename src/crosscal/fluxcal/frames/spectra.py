"""specutils objects in and out."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscal.core.errors import InputError, MissingDependencyError
from crosscal.fluxcal.types import Fibres, Frame


def _specutils() -> Any:
    try:
        import specutils
    except ImportError as error:
        raise MissingDependencyError("specutils", extra="optical", purpose="specutils objects") from error
    return specutils


def to_specutils(frame: Any, fibre: int | None = None) -> Any:
    """A `Frame` or `CalibratedFrame` as a ``SpectrumCollection``, or one fibre (0-based number) as a ``Spectrum``.

    Calibrated fluxes are in 1e-17 erg/s/cm2/A, others in counts; uncertainties are variances, bad pixels are masked.

    Parameters
    ----------
    frame : Frame or CalibratedFrame
    fibre : int, optional

    Raises
    ------
    InputError
        If there is no such fibre; MissingDependencyError without specutils.

    Examples
    --------
    >>> spectrum = fluxcal.to_specutils(frame, fibre=12)  # doctest: +SKIP
    """
    import astropy.units as u
    from astropy.nddata import VarianceUncertainty

    specutils = _specutils()
    frame = getattr(frame, "frame", frame)
    unit = 1e-17 * u.erg / u.s / u.cm**2 / u.AA if frame.calibrated else u.ct
    if fibre is not None and not 0 <= fibre < len(frame.flux):
        raise InputError(f"fibre {fibre}", where=frame.name or "frame", expected=f"0 to {len(frame.flux) - 1}")
    rows = slice(None) if fibre is None else fibre
    variance = np.where(frame.usable(rows), frame.variance[rows], np.inf)
    parts = {
        "flux": u.Quantity(frame.flux[rows], unit),
        "spectral_axis": u.Quantity(frame.wavelength[rows], u.AA),
        "uncertainty": VarianceUncertainty(variance),
        "mask": ~frame.usable(rows),
    }
    if fibre is None:
        return specutils.SpectrumCollection(**parts, meta={"name": frame.name})
    return specutils.Spectrum(**parts, meta={"name": str(frame.fibres.name[fibre])})


def from_specutils(
    spectra: Any,
    fibres: Fibres,
    *,
    exposure: float,
    airmass: float = float("nan"),
    mjd: float = float("nan"),
    medium: str = "air",
    name: str = "spectra",
) -> Frame:
    """A frame from a ``SpectrumCollection``, one 2-d ``Spectrum`` or a list of ``Spectrum`` objects in counts.

    Parameters
    ----------
    fibres : Fibres
        One for each spectrum.
    exposure : float, s
    airmass, mjd : float
    medium : "air" or "vacuum"
        Of the wavelengths.
    name : str

    Raises
    ------
    InputError
        If fluxes have another unit than counts (or none), spectra differ in length, or there is no uncertainty.

    Examples
    --------
    >>> frame = fluxcal.from_specutils(spectra, fibres, exposure=1800.0, airmass=1.2)  # doctest: +SKIP
    """
    import astropy.units as u

    if isinstance(spectra, list | tuple):
        lengths = {len(s.spectral_axis) for s in spectra}
        if len(lengths) != 1:
            raise InputError(f"spectra of {sorted(lengths)} pixels", where=name, expected="one length")
        parts = [from_specutils(s, _row(fibres, k), exposure=exposure, name=name) for k, s in enumerate(spectra)]
        flux, variance, wavelength = (np.concatenate([getattr(p, q) for p in parts]) for q in _ARRAYS)
    else:
        unit = spectra.flux.unit
        if unit not in (u.dimensionless_unscaled, u.ct, u.electron, u.adu, u.photon):
            raise InputError(f"fluxes in {unit}", where=name, expected="counts")
        if spectra.uncertainty is None:
            raise InputError(
                "no uncertainty", where=name, expected="a variance, standard deviation or inverse variance"
            )
        flux = np.atleast_2d(np.asarray(spectra.flux.value, dtype=float))
        variance = np.atleast_2d(_variance(spectra.uncertainty))
        axis = np.asarray(spectra.spectral_axis.to_value(u.AA), dtype=float)
        wavelength = np.broadcast_to(axis, flux.shape).copy()
        if spectra.mask is not None:
            variance = np.where(np.atleast_2d(np.asarray(spectra.mask, dtype=bool)), np.nan, variance)
    variance = np.where(np.isfinite(variance), variance, np.nan)
    return Frame(flux, variance, wavelength, fibres, exposure, airmass, mjd, medium, name)


_ARRAYS = ("flux", "variance", "wavelength")


def _variance(uncertainty: Any) -> np.ndarray:
    from astropy.nddata import VarianceUncertainty

    return np.asarray(uncertainty.represent_as(VarianceUncertainty).array, dtype=float)


def _row(fibres: Fibres, k: int) -> Fibres:
    return Fibres(*(getattr(fibres, key)[k : k + 1] for key in ("name", "ra", "dec", "x", "y", "type")))
