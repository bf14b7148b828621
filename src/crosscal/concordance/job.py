"""``job = "concordance"``: read a comparison, fit it, write the run directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from crosscal.concordance.config import ConcordanceJob
from crosscal.concordance.fitting import solve
from crosscal.concordance.model import make_model
from crosscal.concordance.result import Result
from crosscal.concordance.synthetic import published_like
from crosscal.config import Part
from crosscal.core.files import write_ecsv
from crosscal.core.progress import SILENT, Progress
from crosscal.datasets import resolve

TEMPLATE = """\
# Calibration concordance: adjust the effective areas of N instruments from M sources that they share.
job = "concordance"
output = "runs/concordance"
seed = 1

[data]
path = "fluxes.csv"              # CSV, ECSV, FITS or Parquet; "data:NAME" looks in the data search path
# kind = "table"                 # one row per measurement, or "matrix"
instrument = "instrument"        # column, or a list of columns that are joined
source = "source"                # column, or a list; simultaneous measurements of one source share its name
flux = "flux"                    # one of: flux, counts, log_flux (natural logarithm)
error = "flux_err"               # of flux or counts; or log_error, of the natural logarithm; leave out if unknown
# band = "band"                  # energy band, where there are several
# exposure = "exposure"          # exposure factor T: c / T is compared
# time = "mjd"                   # for drift and variability
# campaign = "campaign"          # measurements of one varying source, close in time
# select = { quality = "good", mjd = { min = 55000.0 } }    # rows to keep
# rename = { "EPN" = "pn" }
# flux_unit = "erg / (s cm2)"
# time_unit = "d"
# for a matrix:
# rows = "sources"               # or "instruments"
# names = "source"               # column with the names of the rows
# instruments = ["pn", "MOS1"]   # where the file does not name them
# logarithmic = true             # the numbers are natural logarithms

[prior]
tau = 0.05                       # fractional uncertainty of the areas: a number, a table { pn = 0.02, MOS1 = 0.06 }, or
                                 # "iachec"; inf is no knowledge, 0 is a reference
# tau_matrix = "tau.csv"         # your own table in percent: rows instruments, columns "lo-hi" in keV
# names = { "pn" = "XMM pn" }    # the data's names to the table's
# mean = 0.0                     # expected ln area relative to nominal, a number or a table
# area_draws = "draws.csv"       # Monte Carlo draws of areas over bands: correlated priors
# shrink = true                  # shrink their covariance (needed for few draws)
# floor = 0.0                    # further independent fraction, in quadrature

[noise]
# kind = "log-normal"            # "log-t" resists outliers; "poisson", "gamma-poisson" for counts
# variance = "quoted+excess"     # "quoted", "unknown", "quoted+excess"; by default the last where errors are given
# df = 1.5                       # prior of unknown variances: InverseGamma(df, beta)
# beta = 1e-4
# nu = 4.0                       # degrees of freedom of log-t

[sources]
# variability = false            # sources vary as a random walk inside each campaign
# drift = 1e-5                   # prior sd of a linear drift of ln area per unit of time

[sampling]
# route = "auto"                 # "closed-form", "map", "gibbs", "slice", "nuts", "full-nuts"
# draws = 2000
# warmup = 500
# chains = 4

[checks]
# leave_one_out = true           # by default for small problems
# predictive = 200               # replicated data sets of the posterior predictive check

[bands]                          # energies of the bands, keV
# hard = [2.5, 10.0]

[arf]                            # nominal ARFs to be corrected
# instruments = ["pn"]
# files = ["pn.arf"]
"""


def run(job: ConcordanceJob, output: Path, progress: Progress = SILENT) -> Result:
    """Run a concordance job and write its tables and posterior into ``output``.

    Raises
    ------
    InputError
        If data, model and names do not fit together.
    """
    with progress.stage("Reading the comparison", total=1) as advance:
        data = job.data.read()
        job.require_known(data)
        covariance, shrinkage = job.prior.covariance(data)
        bands = {name: (low, high) for name, (low, high) in job.bands.items()}
        model = make_model(
            data,
            tau=job.prior.taus(bands),
            mean=job.prior.mean,
            covariance=covariance,
            variance=job.noise.variance,
            df=job.noise.df,
            beta=job.noise.beta,
            noise=job.noise.kind,
            nu=job.noise.nu,
            variability=job.sources.variability,
            drift=job.sources.drift,
        )
        advance(1)
    for instrument, amount in shrinkage.items():
        progress.message(f"Area draws of {instrument}: correlation shrunk by {100 * amount:.0f} %.")
    options = job.sampling.model_dump() | job.checks.model_dump()
    result = solve(model, seed=job.seed, progress=progress, **options)
    arfs = dict(zip(job.arf.instruments, (resolve(f) for f in job.arf.files), strict=True))
    result = replace(result, band_energies=bands, arfs=arfs)
    with progress.stage("Writing tables", total=1) as advance:
        result.write(output)
        advance(1)
    return result


def demo(output: Path, progress: Progress = SILENT) -> Result:
    """Adjust three cameras from 94 synthetic sources of the published XCAL hyper-parameters (hard band), offline.

    The run directory is ``output``.
    """
    from astropy.table import QTable

    truth = published_like("XCAL_hard", tau=0.05, seed=8)
    data = truth.data
    table = QTable({"instrument": [data.channel_names[i] for i in data.row]})
    table["source"] = [data.columns[j][0] for j in data.column]
    table["log_flux"] = data.log_rate
    write_ecsv(Path(output) / "data.ecsv", table)
    known = QTable(
        {"instrument": list(data.channel_names), "true_factor": np.exp(truth.b), "true_sigma": np.sqrt(truth.s)}
    )
    write_ecsv(Path(output) / "truth.ecsv", known)
    result = solve(make_model(data, tau=0.05, beta=0.028**2), seed=8, progress=progress)
    result.write(output)
    contrast = result.log_factor - result.log_factor.mean(axis=1, keepdims=True)
    low, high = np.quantile(contrast, [0.025, 0.975], axis=0)
    true = truth.b - truth.b.mean()
    inside = int(np.sum((true >= low) & (true <= high)))
    progress.message(
        f"The true ratios of the areas lie in the 95 % intervals for {inside} of {data.n_channels} instruments."
    )
    return result


PART = Part("concordance", ConcordanceJob, run, demo, TEMPLATE)
