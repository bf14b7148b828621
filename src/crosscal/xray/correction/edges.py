"""Where an answer meets its limits: a library's ends, sources beyond it, priors and sources that disagree with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Share of a parameter's range next to a limit, and share of the draws in it from which the limit decides.
NEAR, PRESSED = 0.05, 0.3
#: Share of the draws outside the prior's central 95 % from which data and prior disagree.
DISAGREE = 0.5
#: A posterior wider than this many prior standard deviations is no sampling noise.
WIDER = 1.1
#: Shift of an answer by the prior of the temperatures, in standard errors of the answer, from which it is told.
SHIFTED = 2.0
#: Probability, over all sources, that one is called discrepant by chance.
BY_CHANCE = 0.01


def pressed(draws: Mapping[str, Floats], domain: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return the parameters whose draws crowd at a limit: name to (limit, share of the draws next to it)."""
    found = {}
    for name, values in draws.items():
        low, high = domain[name]
        if not np.isfinite(high - low):
            continue
        reach = NEAR * (high - low)
        shares = {low: float(np.mean(values < low + reach)), high: float(np.mean(values > high - reach))}
        limit = max(shares, key=lambda k: shares[k])
        if shares[limit] > PRESSED:
            found[name] = (limit, shares[limit])
    return found


def disagreements(draws: Mapping[str, Floats], prior: Mapping[str, Floats], flat: Iterable[str] = ()) -> dict[str, str]:
    """Say of which parameters prior and data disagree, or the posterior is wider than the prior.

    Parameters
    ----------
    draws, prior : mapping of name to draws
        Of the posterior and of the prior.
    flat : names
        Parameters whose prior says nothing but limits; `pressed` is for those.
    """
    found = {}
    for name in draws:
        low, high = np.quantile(prior[name], [0.025, 0.975])
        outside = float(np.mean((draws[name] < low) | (draws[name] > high)))
        ratio = float(np.std(draws[name]) / np.std(prior[name]))
        if name not in flat and outside > DISAGREE:
            found[name] = (
                f"Data and prior disagree on {name}: {100 * outside:.0f} % of the posterior is outside the 95 % "
                f"interval of the prior, {low:.3g} to {high:.3g}; a wider prior would change the answer."
            )
        elif ratio > WIDER:
            found[name] = (
                f"The posterior of {name} is {ratio:.2f} times as wide as its prior (sd {np.std(prior[name]):.3g}): "
                "there are several solutions, on both sides of the prior mean; a wider prior would change the answer."
            )
    return found


def beyond(names: Sequence[str], kT: Floats, domain: tuple[float, float]) -> tuple[str, ...]:
    """Name the sources whose reference temperature (n,) keV is outside the temperatures of the library."""
    low, high = domain
    outside = np.flatnonzero((kT < low) | (kT > high))
    if not len(outside):
        return ()
    shown = _listed([f"{names[i]} ({kT[i]:.3g} keV)" for i in outside.tolist()])
    text = (
        f"{len(outside)} of {len(kT)} sources lie outside the library's {low:g} to {high:g} keV and are treated as at "
        f"its end: {shown}. Widen kT of the library, or remove these sources."
    )
    return (text,)


def shifted(kT: Floats, sd: Floats) -> tuple[str, ...]:
    """Say whether sources (n,) are so many that the prior of their temperatures counts.

    If the distribution of the true temperatures is not that of the prior, a source's ln kT shifts by up to about
    (sd / kT)^2, and the answer, whose error is about (sd / kT) / sqrt(n), by sqrt(n) sd / kT of its errors.
    """
    error = float(np.median(sd / kT))
    if np.sqrt(len(kT)) * error < SHIFTED:
        return ()
    text = (
        f"{len(kT)} sources with errors of {100 * error:.2g} % determine the area better than the prior of their "
        f"temperatures (log-uniform) describes the sample: shifts of temperatures by about {100 * error**2:.2g} % are "
        "not included in the intervals. Compare subsets of the sources, or use sources with smaller errors."
    )
    return (text,)


def discrepant(names: Sequence[str], residuals: Floats) -> tuple[str, ...]:
    """Name the sources that disagree after the correction.

    Parameters
    ----------
    residuals : array (m, n, q)
        Whitened residuals of each source, for m posterior draws.
    """
    from scipy.stats import chi2, norm

    squares = np.mean(np.sum(residuals**2, axis=2), axis=0)
    p = chi2.sf(squares, residuals.shape[2])
    bad = np.flatnonzero(p < BY_CHANCE / len(names))
    if not len(bad):
        return ()
    order = bad[np.argsort(p[bad])]
    shown = _listed([f"{names[i]} ({norm.isf(max(p[i], 1e-300) / 2):.1f} sigma)" for i in order.tolist()])
    return (f"{len(bad)} of {len(names)} sources disagree with the others after the correction: {shown}.",)


def limit_sentences(found: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Say which limits decide the answer."""
    return tuple(
        f"{name} is at its limit {limit:.3g} in {100 * share:.0f} % of the draws: the limit, not the data, determines "
        f"the answer; widen {name} of the library."
        for name, (limit, share) in found.items()
    )


def no_answer(n_constrained: int, amplitudes: Mapping[str, tuple[float, float]], conflicts: Iterable[str] = ()) -> str:
    """Say why no correction should be quoted: nothing is constrained, or the library's limit of a size decides.

    A posterior that is no narrower than the prior but elsewhere (``conflicts``) is a disagreement of the two.
    """
    if n_constrained == 0 and (names := ", ".join(conflicts)):
        return (
            f"the posterior of {names} lies outside its prior or is wider, so that data and prior disagree; check "
            "which telescope is trusted and the errors, or widen the prior (tau)"
        )
    if n_constrained == 0:
        return "the sources constrain no direction of phi(E), so that the result is the prior"
    if amplitudes:
        shown = ", ".join(f"{name} is at its limit {limit:.3g}" for name, (limit, _) in amplitudes.items())
        return f"the sources need a larger correction than the library covers ({shown})"
    return ""


def flat_priors(priors: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parameters with a uniform prior."""
    import numpyro.distributions as dist

    return tuple(name for name, prior in priors.items() if isinstance(prior, dist.Uniform))


def _listed(items: Sequence[str], most: int = 5) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
