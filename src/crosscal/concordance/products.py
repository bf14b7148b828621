"""What a concordance leaves on disk besides the files of every run, and the tables that users ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.concordance.result import ConcordanceFit
from crosscal.core.files import write_ecsv
from crosscal.core.tables import ResultTable, describe
from crosscal.datasets import write_correction

FLUXES = {
    "source": "source",
    "band": "energy band",
    "log_flux": "posterior mean of ln flux",
    "log_flux_sd": "standard deviation of ln flux",
    "flux": "exp of the mean of ln flux",
    "value": "posterior mean of the source's value",
    "q*": "quantile of the flux or value: q2.5 to q97.5 holds 95 %",
    "n_instruments": "measurements of it",
    "spread_before": "standard deviation over instruments of ln flux, nominal areas",
    "spread_after": "standard deviation over instruments of ln flux, corrected areas",
}

CONFLICTS = {
    "instruments": "instruments that are connected by common sources",
    "chi2": "squared distance between what the data alone say and the priors",
    "dof": "its degrees of freedom",
    "p_value": "chance of a larger distance if priors and data agree",
    "tau_mandel_paule": "standard deviation of ln area between instruments by Mandel and Paule, without prior",
    "tau_dersimonian_laird": "the same by DerSimonian and Laird",
}

EQUIVALENCE = {
    "instrument": "instrument",
    "D": "degree of equivalence: its ln area (or value) minus the mean over the compared instruments, data alone",
    "U": "expanded uncertainty of D, twice its standard deviation",
    "E_n": "D / U: above 1 in size, the instrument differs from the mean",
    "component": "instruments of one number are connected by common sources",
}

LEAVE_ONE_OUT = {
    "instrument": "the instrument that is left out",
    "pull": "area by the sources and the other instruments minus the nominal one, in predictive standard deviations",
    "largest_shift": "largest change of another instrument's estimate without it, in standard deviations",
    "moves_most": "the instrument that changes most",
}

RATIOS = {
    "instrument": "instrument in the numerator",
    "to": "instrument in the denominator",
    "ratio": "its area over that of the other, exp of the mean of the difference of ln areas",
    "log_ratio": "mean of the difference of ln areas",
    "log_ratio_sd": "standard deviation of it",
    "q*": "quantile of the ratio: q2.5 to q97.5 holds 95 %",
    "n_common": "sources that both measured",
}
#: Ratios of more channels than these are not tabulated.
MOST_RATIOS = 100


def fluxes(result: ConcordanceFit) -> Any:
    """Return a QTable of the concordance fluxes: log flux with sd, flux with 95 % interval, scatter before, after.

    "spread_before" and "spread_after" are the standard deviations over instruments of y - b and y - B.

    Examples
    --------
    >>> concordance.fluxes(result)  # doctest: +SKIP
    """
    data = result.data
    table = ResultTable({"source": [name for name, _ in data.columns]})
    if data.bands != ("",):
        table["band"] = [band for _, band in data.columns]
    mean, sd = result.flux_mean, result.flux_sd
    if not data.additive:
        table["log_flux"], table["log_flux_sd"] = mean, sd
    for key, size in (("value" if data.additive else "flux", 0.0), ("q2.5", -1.96), ("q97.5", 1.96)):
        table[key] = mean + size * sd if data.additive else np.exp(mean + size * sd)
        if data.flux_unit:
            table[key].unit = data.flux_unit
    table["n_instruments"] = np.diff(data.indptr)
    table["spread_before"], table["spread_after"] = result.spreads()
    return describe(table, FLUXES)


def conflicts(result: ConcordanceFit) -> Any:
    """Return a table of the prior-data conflict tests, one row per group of connected instruments.

    Examples
    --------
    >>> concordance.conflicts(result)  # doctest: +SKIP
    """
    tests = result.tests.conflicts
    table = ResultTable()
    table["instruments"] = [", ".join(t.channels) for t in tests] or np.array([], dtype=str)
    table["chi2"] = np.array([t.chi2 for t in tests], dtype=float)
    table["dof"] = np.array([t.dof for t in tests], dtype=int)
    table["p_value"] = np.array([t.p_value for t in tests], dtype=float)
    table["tau_mandel_paule"] = np.array([t.mandel_paule for t in tests], dtype=float)
    table["tau_dersimonian_laird"] = np.array([t.dersimonian_laird for t in tests], dtype=float)
    return describe(table, CONFLICTS)


def equivalence(result: ConcordanceFit) -> Any:
    """Return degrees of equivalence as key comparisons print them: D, U (k = 2) and E_n = D / U of each instrument.

    D is relative to the unweighted mean of the instruments that are compared; priors of the areas do not enter. NaN
    where an instrument is compared with no other. CIPM MRA, appendix B.

    Examples
    --------
    >>> concordance.equivalence(result)  # doctest: +SKIP
    """
    data, tests, parts = result.data, result.tests, result.model.components
    d, u = np.full(data.n_channels, np.nan), np.full(data.n_channels, np.nan)
    for k in range(int(parts.max()) + 1):
        inside = np.flatnonzero(parts == k)
        n = len(inside)
        if n < 2:
            continue
        basis = np.linalg.svd(np.eye(n) - 1.0 / n)[0][:, : n - 1]
        covariance = np.linalg.inv(basis.T @ tests.information[np.ix_(inside, inside)] @ basis)
        d[inside] = basis @ covariance @ (basis.T @ tests.vector[inside])
        u[inside] = 2 * np.sqrt(np.einsum("ij,jk,ik->i", basis, covariance, basis))
    table = ResultTable({"instrument": list(data.channel_names), "D": d, "U": u, "E_n": d / u, "component": parts})
    return describe(table, EQUIVALENCE)


def leave_one_out(result: ConcordanceFit) -> Any:
    """Return a table: what each instrument changes (see `LeaveOneOut`).

    Examples
    --------
    >>> concordance.leave_one_out(result)  # doctest: +SKIP
    """
    found, names = result.tests.leave_one_out, result.data.channel_names
    table = ResultTable({"instrument": list(names), "pull": found.pull, "largest_shift": found.shift})
    table["moves_most"] = [names[k] if k >= 0 else "" for k in found.moved]
    return describe(table, LEAVE_ONE_OUT)


def influences(result: ConcordanceFit) -> Any:
    """Return the exact prior influence D as a table: row i, column k is d E[B_i] / d b_k.

    Examples
    --------
    >>> concordance.influences(result)  # doctest: +SKIP
    """
    names = result.data.channel_names
    table = ResultTable({"instrument": list(names)})
    for k, name in enumerate(names):
        table[name] = result.influence[:, k]
    meanings = {name: f"change of the row's estimate with the prior mean of {name}" for name in table.colnames[1:]}
    return describe(table, {"instrument": "the instrument whose estimate changes", **meanings})


def ratios(result: ConcordanceFit) -> Any:
    """Return a table of the ratios of areas, ln(A_i / A_k) with sd, of each pair that is compared and shares a band.

    Examples
    --------
    >>> concordance.ratios(result)  # doctest: +SKIP
    """
    data, draws, parts = result.data, result.log_factor, result.model.components
    mean_b = np.where(result.model.prior.flat, 0.0, result.model.prior.mean)
    seen = [np.unique(data.column[data.row == i]) for i in range(data.n_channels)]
    rows = []
    for i, (_, band) in enumerate(data.channels):
        for k in range(i + 1, data.n_channels):
            if parts[i] != parts[k] or data.channels[k][1] != band:
                continue
            difference = draws[:, i] - draws[:, k] + mean_b[i] - mean_b[k]
            low, high = np.quantile(difference, [0.025, 0.975])
            change = (lambda x: x) if data.additive else np.exp
            rows.append({
                "instrument": data.channel_names[i], "to": data.channel_names[k],
                "ratio": float(change(difference.mean())), "log_ratio": float(difference.mean()),
                "log_ratio_sd": float(difference.std(ddof=1)), "q2.5": float(change(low)), "q97.5": float(change(high)),
                "n_common": len(np.intersect1d(seen[i], seen[k], assume_unique=True)),
            })  # fmt: skip
    names = ["instrument", "to", "ratio", "log_ratio", "log_ratio_sd", "q2.5", "q97.5", "n_common"]
    table = ResultTable(rows=rows, names=names) if rows else ResultTable({n: [] for n in names})
    return describe(table, RATIOS)


def write(result: ConcordanceFit, directory: Path) -> None:
    """Write the tables of fluxes, ratios, influence, conflict and leave-one-out, and corrections against energy."""
    tables = {
        "fluxes": fluxes(result),
        "influence": influences(result),
        "conflict": conflicts(result),
        "leave_one_out": leave_one_out(result),
        "equivalence": equivalence(result),
    }
    if result.data.n_channels <= MOST_RATIOS:
        tables["ratios"] = ratios(result)
    for name, table in tables.items():
        write_ecsv(directory / f"{name}.ecsv", table)
    for instrument in result.data.instruments:
        # Against energy, for jobs of other parts; only where the job said what its bands mean in keV.
        known = all(band in result.band_energies for name, band in result.data.channels if name == instrument)
        if known and not result.data.additive:
            name = re.sub("[ /]", "_", instrument)
            write_correction(directory / f"correction_{name}.nc", result.correction_for(instrument))
