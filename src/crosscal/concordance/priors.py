"""What is believed of the effective areas before the comparison: B ~ N(b, L).

L comes from fractional uncertainties tau per instrument (and band), from a table of them by name and energy (the
IACHEC matrix), or from Monte Carlo draws of effective areas, whose covariance over energy bands needs shrinkage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.keywords import keywords
from crosscal.core.linalg import oas_covariance

Floats = NDArray[np.float64]

#: tau = 0 declares a reference: its area is fixed to one part in a million, which keeps the algebra regular.
REFERENCE_TAU = 1e-6
#: Fractional uncertainty of an area where nothing is said.
TAU = 0.05
#: A finite tau above this draws a warning: it may be meant in percent.
WIDE_TAU = 0.5
#: Degrees of freedom of t-distributed areas.
NU_AREAS = 4.0


@dataclass(frozen=True, eq=False)
class AreaPrior:
    """A Gaussian prior of log areas.

    Attributes
    ----------
    mean : array (N,)
        b, natural logarithm relative to the nominal area.
    covariance : array (N, N)
        L; rows of flat channels are zero and meaningless.
    precision : array (N, N)
        T = L^-1, with zero rows for flat channels.
    tau : array (N,)
        Marginal standard deviations; infinite where flat.
    notes : tuple of str
        Sentences that the result repeats among its warnings.
    nu : float
        Above 0, B - b is Student-t with so many degrees of freedom and scale tau.
    tau_scale : float
        Above 0, one tau is estimated for all finite channels; its prior is half-t with 4 degrees of freedom and this
        scale.

    Examples
    --------
    >>> prior = concordance.make_prior(data, tau=0.05)  # doctest: +SKIP
    >>> prior.mean, prior.covariance  # doctest: +SKIP
    """

    mean: Floats
    covariance: Floats
    precision: Floats
    tau: Floats
    notes: tuple[str, ...] = ()
    nu: float = 0.0
    tau_scale: float = 0.0

    @property
    def latent(self) -> bool:
        """Whether widths are sampled with the areas."""
        return self.nu > 0 or self.tau_scale > 0

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Channels without prior information."""
        return np.isinf(self.tau)

    @classmethod
    def build(cls, mean: ArrayLike, tau: ArrayLike, covariance: ArrayLike | None = None, **facts) -> AreaPrior:
        """Make a prior from standard deviations, or from a full covariance (then ``tau`` is its diagonal's root).

        Raises
        ------
        InputError
            If tau is negative or NaN, or the covariance is not symmetric and positive definite.
        """
        b = np.asarray(mean, dtype=float)
        sd = np.asarray(tau, dtype=float)
        if np.any(~(sd >= 0)) or not np.all(np.isfinite(b)):
            raise InputError("tau is negative or not a number", where="prior of the areas", expected="tau >= 0")
        sd = np.where(sd == 0, REFERENCE_TAU, np.maximum(sd, REFERENCE_TAU))
        finite = np.isfinite(sd)
        if covariance is None:
            full = np.diag(np.where(finite, sd, 0.0) ** 2)
        else:
            full = np.asarray(covariance, dtype=float)
            if full.shape != (len(b), len(b)) or not np.allclose(full, full.T, rtol=1e-8, atol=1e-14):
                raise InputError(
                    f"a covariance of shape {full.shape}",
                    where="prior of the areas",
                    expected=f"a symmetric matrix ({len(b)}, {len(b)})",
                )
            if np.linalg.eigvalsh(full)[0] <= 0:
                raise InputError(
                    "the covariance is not positive definite",
                    where="prior of the areas",
                    expected="a covariance with shrinkage or more draws than channels",
                )
            sd, finite = np.sqrt(np.diag(full)), np.ones(len(b), bool)
        precision = np.zeros_like(full)
        precision[np.ix_(finite, finite)] = np.linalg.inv(full[np.ix_(finite, finite)])
        return cls(b, full, 0.5 * (precision + precision.T), sd, **facts)

    def drop(self, index: int) -> AreaPrior:
        """Return the marginal prior without one channel."""
        keep = np.arange(len(self.tau)) != index
        covariance = self.covariance[np.ix_(keep, keep)]
        if np.any(np.isinf(self.tau[keep])):
            covariance = None
        facts = {"notes": self.notes, "nu": self.nu, "tau_scale": self.tau_scale}
        return AreaPrior.build(self.mean[keep], self.tau[keep], covariance, **facts)


@dataclass(frozen=True)
class TauTable:
    """Fractional uncertainties by instrument and energy range.

    Attributes
    ----------
    entries : mapping of instrument name to list of (energy_lo, energy_hi, tau)
        Energies in keV; tau is a fraction, not percent.
    bands : mapping of band name to (energy_lo, energy_hi)
        What the data's band names mean in keV.
    names : mapping of the data's instrument name to the table's
        For instruments that the data call differently.

    Examples
    --------
    >>> table = concordance.read_tau_matrix("tau.csv")  # doctest: +SKIP
    >>> table.tau("pn", "soft")  # doctest: +SKIP
    """

    entries: Mapping[str, Sequence[tuple[float, float, float]]]
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def with_names(
        self,
        names: Mapping[str, str] | None = None,
        bands: Mapping[str, tuple[float, float]] | None = None,
    ) -> TauTable:
        """Return a table that knows what the data's names of instruments and bands mean."""
        return TauTable(self.entries, {**self.bands, **(bands or {})}, {**self.names, **(names or {})})

    def tau(self, instrument: str, band: str = "") -> float:
        """Return tau: the mean over the band, weighted by overlap in energy; without a band, over all energies.

        Raises
        ------
        UnknownNameError
            If the table does not hold the instrument, or the band has no energies.
        InputError
            If the table has no entry in the band.
        """
        name = self.names.get(instrument, instrument)
        found = self.entries.get(name) or _by_words(name, self.entries)
        if found is None:
            raise UnknownNameError("instrument of the tau table", name, self.entries)
        if not band:
            return float(np.mean([tau for _, _, tau in found]))
        if band not in self.bands:
            raise UnknownNameError("energy band", band, self.bands, where="tau table")
        low, high = self.bands[band]
        overlap = np.array([max(0.0, min(high, hi) - max(low, lo)) for lo, hi, _ in found])
        if overlap.sum() == 0:
            raise InputError(f"no entry for {name!r} in {low:g}-{high:g} keV", where="tau table")
        return float(np.sum(overlap * [tau for _, _, tau in found]) / overlap.sum())


def _by_words(name: str, entries: Mapping[str, Sequence[tuple[float, float, float]]]):
    """Find the one entry whose words all occur in ``name`` or the other way round ("pn" for "XMM pn")."""
    words = set(name.lower().replace("/", " ").replace("-", " ").split())
    matches = []
    for key in entries:
        known = set(key.lower().replace("/", " ").replace("-", " ").split())
        if known <= words or words <= known:
            matches.append(key)
    return entries[matches[0]] if len(matches) == 1 else None


Tau = float | Mapping[str, float] | TauTable | Literal["estimate"]


@keywords
def make_prior(
    data: Comparison,
    tau: Tau | None = None,
    *,
    mean: float | Mapping[str, float] = 0.0,
    covariance: ArrayLike | None = None,
    areas: Literal["normal", "t"] = "normal",
    notes: tuple[str, ...] = (),
) -> AreaPrior:
    """Make the prior of a comparison's channels.

    Parameters
    ----------
    tau : float, mapping, TauTable or "estimate"
        One number for all, 0.05 by default; or by channel ("pn [hard]") or instrument name; ``inf`` is a flat prior, 0
        a reference that does not move. "estimate" takes one tau from the data, with a half-t prior of scale 0.05. For
        additive data in their unit.
    mean : float or mapping
        b: expected log areas relative to nominal, by the same names.
    covariance : array (N, N), optional
        Full L in the order of ``data.channel_names``; overrides tau.
    areas : "normal" or "t"
        "t" lets single instruments be far off: B - b is Student-t with 4 degrees of freedom and scale tau.
    notes : tuple of str
        Sentences that the result repeats among its warnings.

    Raises
    ------
    UnknownNameError
        If a mapping names a channel that the data do not hold.
    InputError
        If a mapping lacks a channel.

    Examples
    --------
    >>> prior = concordance.make_prior(data, tau=0.05)  # doctest: +SKIP
    >>> prior = concordance.make_prior(data, tau={"pn": 0.03, "MOS1": 0.05})  # doctest: +SKIP
    """
    if areas not in ("normal", "t"):
        raise UnknownNameError("prior of the areas", areas, ("normal", "t"))
    estimated = isinstance(tau, str)
    if estimated and tau != "estimate":
        raise UnknownNameError("tau", str(tau), ("estimate",), where="prior of the areas")
    if data.additive and (estimated or tau is None):
        raise InputError("additive values without tau", where="prior", expected="tau in the unit of the values")
    if covariance is not None and (estimated or areas == "t"):
        raise InputError("a covariance with an estimated tau or t-distributed areas", where="prior of the areas")
    if estimated and data.references:
        raise InputError("an estimated tau together with known fluxes", where="prior of the areas", expected="a number")
    if estimated:
        values = [TAU] * data.n_channels
    elif isinstance(tau, TauTable):
        values = [
            tau.tau(instrument, band if len(data.bands) > 1 or band else "") for instrument, band in data.channels
        ]
    else:
        values = _by_channel(data, TAU if tau is None else tau, "tau", None)  # type: ignore[arg-type]
    values = [0.0 if name in data.references else v for (name, _), v in zip(data.channels, values, strict=True)]
    return AreaPrior.build(
        _by_channel(data, mean, "mean", 0.0),
        values,
        covariance,
        notes=(*notes, *_wide(data, np.asarray(values))),
        nu=NU_AREAS if areas == "t" else 0.0,
        tau_scale=TAU if estimated else 0.0,
    )


def _wide(data: Comparison, tau: Floats) -> tuple[str, ...]:
    """Warn of a tau that may be meant in percent."""
    wide = np.isfinite(tau) & (tau > WIDE_TAU)
    if data.additive or not np.any(wide):
        return ()
    size = float(tau[wide].max())
    return (
        (
            f"tau = {size:g} is a fraction: areas uncertain by {100 * size:.0f} %. "
            f"If percent is meant, tau = {size / 100:g}."
        ),
    )


def _by_channel(data: Comparison, given: float | Mapping[str, float], what: str, default: float | None) -> list[float]:
    if not isinstance(given, Mapping):
        return [float(given)] * data.n_channels
    known = {*data.instruments, *data.channel_names}
    for name in given:
        if name not in known:
            raise UnknownNameError("instrument", name, known, where=f"{what} of the prior")
    values = []
    for (instrument, _), name in zip(data.channels, data.channel_names, strict=True):
        value = given.get(name, given.get(instrument, 0.0 if instrument in data.references else default))
        if value is None:
            raise InputError(f"no value for instrument {name!r}", where=f"{what} of the prior", expected="one for each")
        values.append(float(value))
    return values


def covariance_from_draws(
    data: Comparison,
    draws: Mapping[str, ArrayLike],
    *,
    shrink: bool = True,
    floor: float = 0.0,
) -> tuple[Floats, dict[str, float]]:
    """Return the prior covariance over energy bands from Monte Carlo draws of effective areas.

    Parameters
    ----------
    draws : mapping of instrument to array (n_draws, n_bands)
        Band-averaged areas (any unit) of each calibration draw, bands in the order of ``data.bands`` that this
        instrument has. Instruments are independent.
    shrink : bool
        Shrink the covariance of ln area: variances keep their sample values, and the correlation matrix is shrunk by
        the oracle-approximating amount. Raw covariances of few draws are far too confident in some directions.
    floor : float
        Further independent fractional uncertainty added in quadrature.

    Returns
    -------
    covariance : array (N, N)
    shrinkage : mapping of instrument to number in [0, 1]

    Raises
    ------
    InputError
        If an instrument has no draws, a shape is wrong, or an area is not positive.

    Notes
    -----
    Chen, Wiesel, Eldar & Hero 2010, eq. 23, applied to standardised draws.

    Examples
    --------
    >>> covariance = concordance.covariance_from_draws(data, draws)  # doctest: +SKIP
    >>> prior = concordance.make_prior(data, covariance=covariance)  # doctest: +SKIP
    """
    full, amounts = np.zeros((data.n_channels, data.n_channels)), {}
    for instrument in data.instruments:
        where = f"area draws of {instrument!r}"
        if instrument not in draws:
            raise InputError("no draws for this instrument", where=where, expected="draws of every instrument")
        index = [i for i, (name, _) in enumerate(data.channels) if name == instrument]
        areas = np.asarray(draws[instrument], dtype=float)
        if areas.ndim != 2 or areas.shape[1] != len(index) or len(areas) < 2:
            raise InputError(f"shape {areas.shape}", where=where, expected=f"(n_draws >= 2, {len(index)})")
        if np.any(~(areas > 0)):
            raise InputError("an area is not positive", where=where, expected="areas > 0")
        logs = np.log(areas)
        sd = logs.std(axis=0, ddof=1)
        if np.any(sd == 0):
            raise InputError("the draws do not vary", where=where, expected="different areas in each draw")
        if shrink and len(index) > 1:
            correlation, amounts[instrument] = oas_covariance(logs / sd)
            block = correlation * np.outer(sd, sd)
        else:
            block, amounts[instrument] = np.cov(logs, rowvar=False).reshape(len(index), len(index)), 0.0
        full[np.ix_(index, index)] = block + floor**2 * np.eye(len(index))
    return full, amounts
