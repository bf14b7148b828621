"""Simulated spectra, as ``fakeit`` of XSPEC and Sherpa makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.random import point_seeds
from crosscal.core.units import plain
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.instrument.spectrum import Spectrum

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response


def plain_band(band: tuple[Any, Any]) -> tuple[float, float]:
    """Return an energy band (low, high), numbers in keV or quantities, as numbers."""
    low, high = (float(plain(end, "keV", where="band", spectral=True)) for end in band)
    return low, high


def fakeit(
    response: Response,
    model: Model,
    exposure: float | None = None,
    *,
    counts: float | None = None,
    band: tuple[float, float] | None = None,
    background: Spectrum | None = None,
    noise: str = "poisson",
    seed: int = 0,
    name: str = "",
    **values: float,
) -> Spectrum:
    """Simulate the spectrum that ``response`` records of ``model``.

    Parameters
    ----------
    response : Response
    model : Model
    exposure : float, s, or a Quantity
    counts : float
        Instead of an exposure: as long as it takes to expect this many source counts in ``band``.
    band : (low, high), keV
        For ``counts``; all channels by default.
    background : Spectrum, optional
        A background spectrum, taken as the expected one: background counts are added to the source by the ratio
        of exposures and scales, and a new background spectrum is drawn.
    noise : "poisson" or "asimov"
        "asimov" gives expected, not integer counts.
    seed : int
    name : str
        Of the spectrum.
    **values : float
        Model parameters that differ from the model's own.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError, UnknownNameError

    Examples
    --------
    >>> model = xray.Model("TBabs*apec", nH=0.05, kT=5.0, Abundanc=0.3)  # doctest: +SKIP
    >>> spectrum = xray.fakeit(telescope, model, counts=2e4, band=(0.7, 7.0), seed=1)  # doctest: +SKIP
    """
    if (exposure is None) == (counts is None):
        raise InputError("exposure and counts", where="fakeit", expected="exactly one of them")
    if noise not in ("poisson", "asimov"):
        raise InputError(f"noise {noise!r}", where="fakeit", expected="'poisson' or 'asimov'")
    exposure = None if exposure is None else plain(exposure, "s", where="fakeit")
    rate = response.fold(model.spectrum(response.energy_edges, **values))
    if counts is not None:
        inside = rate[slice(None) if band is None else response.band(*plain_band(band))].sum()
        if not (inside > 0 and np.isfinite(counts) and counts > 0):
            raise InputError(
                f"{counts:g} counts of a rate of {inside:g}/s", where="fakeit", expected="positive numbers"
            )
        exposure = float(counts) / float(inside)
    spectrum = Spectrum(
        np.zeros(response.n_channel),
        float(exposure),  # type: ignore[arg-type]
        first_channel=response.first_channel,
        name=name,
        mission=response.mission,
    )
    mean = rate * spectrum.exposure
    seeds = point_seeds(seed, np.arange(2))[:, None]
    if background is not None:
        background.check_response(response)
        if np.any(background.counts < 0):
            raise InputError("negative background counts", where="fakeit", expected="counts, not net counts")
        spectrum = replace(
            spectrum, backscale=background.backscale, areascale=background.areascale, background=background
        )
        # AREASCAL multiplies what the model predicts, as in a fit.
        mean = mean * np.asarray(spectrum.areascale) + background.counts * spectrum.background_ratio
        if noise == "poisson":
            drawn = poisson_counts(background.counts[None], seeds[1:])[0, 0]
            spectrum = replace(spectrum, background=replace(background, counts=drawn, stat_error=None))
    return replace(spectrum, counts=poisson_counts(mean[None], seeds[:1])[0, 0] if noise == "poisson" else mean)
