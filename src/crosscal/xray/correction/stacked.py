"""Stacked residual ratios: what one telescope records over what the other's model of the sources predicts.

References
----------
Kettula, Nevalainen & Miller 2013, A&A 552, A47; Schellenberger et al. 2015, A&A 575, A30; Nevalainen & Molendi 2023,
A&A 676, A142.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.core.random import generator
from crosscal.xray.correction.observations import Observation, prepare
from crosscal.xray.correction.spectra import SpectraModel
from crosscal.xray.modifiers.grey import Grey

if TYPE_CHECKING:
    from astropy.table import Table

Floats = NDArray[np.float64]

#: Bins of the ratio where none are given, and B-splines of the smooth factor.
BINS, SPLINES = 24, 8
#: Resampled sets of sources.
RESAMPLED = 500
#: With fewer sources than these the bootstrap says that it is narrow.
FEW = 8


@dataclass(frozen=True, eq=False)
class StackedRatio:
    """The ratio of recorded to predicted counts, stacked over sources, in the two ways of Nevalainen & Molendi 2023.

    With D_ib the net counts of source i in bin b, S_i the photon spectrum fitted to the reference telescope, A and R
    area and redistribution of the other,

    - after the convolution: ratio_b = sum_i D_ib / sum_i sum_E R_bE A_E S_iE;
    - before it: the smooth phi(E) for which sum_i sum_E R_bE A_E phi_E S_iE is closest to sum_i D_ib.

    Attributes
    ----------
    telescopes : (trusted, other)
    sources : int
    energy_lo, energy_hi : arrays (n,), keV
    ratio : array (n,)
    draws : array (m, n)
        Of the ratio, from sets of sources drawn with replacement.
    energy : array (k,), keV
    phi : array (k,)
    phi_draws : array (m, k)
    notes : tuple of str
    """

    telescopes: tuple[str, str]
    sources: int
    energy_lo: Floats
    energy_hi: Floats
    ratio: Floats
    draws: Floats
    energy: Floats
    phi: Floats
    phi_draws: Floats
    notes: tuple[str, ...] = ()

    @property
    def sd(self) -> Floats:
        """Standard deviation of the ratio by bootstrap, (n,)."""
        return np.asarray(self.draws.std(axis=0, ddof=1))

    @property
    def correction(self) -> Correction:
        """phi(E) before the convolution as a correction of the other telescope, with its draws."""
        return Correction.from_draws(
            self.energy, self.phi_draws, axis="energy", unit="keV", target=f"effective area of {self.telescopes[1]}"
        )

    def consistent_with_one(self) -> tuple[float, float]:
        """Return chi2 of the *shape* of the ratio about its mean, and the probability of a larger one.

        The covariance is that of the draws; directions that they do not have are left out.
        """
        from scipy.stats import chi2 as distribution

        weight = self.sd**-2
        weight /= weight.sum()
        difference = self.ratio - weight @ self.ratio
        spread = self.draws - (self.draws @ weight)[:, None]
        values, vectors = np.linalg.eigh(np.cov(spread, rowvar=False))
        # A bootstrap of n sources has n - 1 directions; the last of them are badly known.
        most = max(1, min(len(values) - 1, self.sources // 2))
        use = np.argsort(values)[::-1][:most]
        chi2 = float(np.sum((vectors[:, use].T @ difference) ** 2 / values[use]))
        return chi2, float(distribution.sf(chi2, most))

    def table(self) -> Table:
        """Return one row a bin: energies, ratio, standard deviation, 68 % interval."""
        from astropy.table import Table

        low, high = np.quantile(self.draws, [0.16, 0.84], axis=0)
        columns = [self.energy_lo, self.energy_hi, self.ratio, self.sd, low, high]
        names = ["energy_lo", "energy_hi", "ratio", "ratio_err", "ratio_16", "ratio_84"]
        found = Table(columns, names=names, units=["keV", "keV", None, None, None, None])
        found.meta |= {"trusted": self.telescopes[0], "corrected": self.telescopes[1], "sources": self.sources}
        return found


def stacked_ratio(
    observations: Sequence[Observation],
    *,
    trusted: str | Sequence[str],
    corrected: str | None = None,
    bins: int | ArrayLike = BINS,
    splines: int = SPLINES,
    bootstrap: int = RESAMPLED,
    seed: int = 0,
) -> StackedRatio:
    """Fit each source to the reference telescope, fold that model through the other one, and stack data over model.

    Parameters
    ----------
    observations : sequence of Observation
        Their models must describe the reference spectra: use several temperatures if one is not enough.
    trusted, corrected : str
        See `prepare`.
    bins : int or array (n + 1,), keV
        Number of bins, equal in ln E over the band, or their edges.
    splines : int
        Number of cubic B-splines in ln E of the smooth factor; at most half the bins.
    bootstrap : int
        Sets of sources drawn with replacement.

    Raises
    ------
    InputError, FitError
        As `prepare`, and for bins without counts.

    Examples
    --------
    >>> ratio = xray.stacked_ratio(observations, trusted="pn", bins=12)  # doctest: +SKIP
    >>> ratio.table()  # doctest: +SKIP
    """
    prepared = prepare(observations, trusted, corrected)
    return ratio_of_model(
        SpectraModel(prepared, Grey(), tau=0.1), bins=bins, splines=splines, bootstrap=bootstrap, seed=seed
    )


def ratio_of_model(
    model: SpectraModel,
    *,
    bins: int | ArrayLike = BINS,
    splines: int = SPLINES,
    bootstrap: int = RESAMPLED,
    seed: int = 0,
) -> StackedRatio:
    """Return the stacked ratio of the spectra of a `SpectraModel`; see `stacked_ratio`."""
    data = model.data
    blocks = [b for b in data.blocks if b.corrected]
    low = min(float(b.lo.min()) for b in blocks)
    high = max(float(b.hi.max()) for b in blocks)
    edges = np.geomspace(low, high, bins + 1) if isinstance(bins, int) else np.asarray(bins, dtype=float)
    if edges.ndim != 1 or edges.size < 3 or np.any(np.diff(edges) <= 0):
        raise InputError("edges that do not increase", where="stacked ratio", expected="two or more bins")
    if bootstrap < 2:
        raise InputError(f"bootstrap = {bootstrap}", where="stacked ratio", expected="two or more resampled sets")
    n_source, n_bin, n_spline = len(data.sources), edges.size - 1, min(splines, max(4, (edges.size - 1) // 2))
    knots = _knots(low, high, n_spline)
    counts, variance, folded = _sums(model, edges, knots)
    empty = (folded[:, :, 0].sum(axis=0) <= 0) | (variance.sum(axis=0) <= 0)
    if empty.all():
        raise InputError("no bin has counts", where="stacked ratio", expected="edges inside the band, in keV")
    use = ~empty
    shares = generator(seed, "stacked").multinomial(n_source, np.full(n_source, 1.0 / n_source), size=bootstrap)
    shares = np.vstack([np.ones(n_source), shares])
    total, spread = shares @ counts[:, use], shares @ variance[:, use]
    predicted = np.einsum("ms,sbk->mbk", shares, folded[:, use])
    ratio = total / predicted[:, :, 0]
    energy = np.geomspace(low, high, 120)
    phi = np.stack([_smooth(*one) for one in zip(total, spread, predicted[:, :, 1:], strict=True)]) @ _basis(
        energy, knots
    )
    notes = list(data.notes)
    if n_source < FEW:
        notes.append(f"{n_source} sources are few for a bootstrap: its errors are underestimated")
    if empty.any():
        notes.append(f"{int(empty.sum())} of {n_bin} bins have no counts and are excluded")
    return StackedRatio(
        data.telescopes,
        n_source,
        edges[:-1][use],
        edges[1:][use],
        ratio[0],
        ratio[1:],
        energy,
        phi[0],
        phi[1:],
        tuple(notes),
    )


def _sums(model: SpectraModel, edges: Floats, knots: Floats) -> tuple[Floats, Floats, Floats]:
    """Return net counts and their variance (n_source, n_bin), and what the fitted models predict.

    The prediction (n_source, n_bin, 1 + n_spline) is without a factor, then for each B-spline of the factor.
    """
    n_source, n_bin = len(model.data.sources), edges.size - 1
    blocks = [b for b in model.data.blocks if b.corrected]
    counts, variance = np.zeros((n_source, n_bin)), np.zeros((n_source, n_bin))
    folded = np.zeros((n_source, n_bin, 1 + len(knots) - 4))
    for block, one in zip(blocks, _spectra(model, blocks), strict=True):
        at = np.searchsorted(edges, 0.5 * (block.lo + block.hi)) - 1
        inside = (at >= 0) & (at < n_bin)
        functions = np.vstack([np.ones(block.energy.size), _basis(block.energy, knots)])
        background = 0.0 if block.background is None else block.ratio * block.background
        noise = 0.0 if block.background is None else block.ratio**2 * block.background
        for source, values, extra, photons, fold in zip(
            block.index,
            block.counts - background,
            block.counts + noise,
            one,
            block.fold if block.fold.ndim == 3 else [block.fold] * len(one),
            strict=True,
        ):
            expected = fold @ (photons * functions).T
            np.add.at(counts[source], at[inside], values[inside])
            np.add.at(variance[source], at[inside], extra[inside])
            np.add.at(folded[source], at[inside], expected[inside])
    return counts, variance, folded


def _spectra(model: SpectraModel, blocks: Sequence[Any]) -> Iterator[Floats]:
    """Return photons of each spectrum (n, n_energy), times exposure, at the fits to the reference telescope."""
    pilot = model.data.pilot
    rows = np.asarray(model.rows(np.zeros((len(model.data.sources), len(pilot.names)))))
    for block in blocks:
        yield np.einsum("nr,nre->ne", rows[block.index], block.photons)


def _knots(low: float, high: float, n: int) -> Floats:
    """Return the knots of n cubic B-splines in ln E from low to high."""
    inner = np.linspace(np.log(low), np.log(high), n - 2)
    return np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])


def _basis(energy: Floats, knots: Floats) -> Floats:
    """Return the B-splines (n, n_energy), held constant beyond the ends."""
    x = np.clip(np.log(energy), knots[0], knots[-1])
    return np.asarray(BSpline.design_matrix(x, knots, 3).toarray().T)


def _smooth(counts: Floats, variance: Floats, predicted: Floats) -> Floats:
    """Return the coefficients (k,) of the smooth factor by weighted least squares."""
    weight = 1.0 / np.sqrt(np.maximum(variance, 1.0))
    return np.asarray(np.linalg.lstsq(predicted * weight[:, None], counts * weight, rcond=1e-8)[0])
