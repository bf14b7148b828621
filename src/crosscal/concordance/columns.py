"""What the columns of the concordance's tables mean."""

SUMMARY = {
    "instrument": "instrument, or detector",
    "band": "energy band",
    "factor": "true over nominal effective area exp(B - b), median of the posterior",
    "q*": "quantile of the factor: q2.5 to q97.5 holds 95 %, q16 to q84 holds 68 %",
    "log_factor": "mean of B - b",
    "log_factor_sd": "standard deviation of B - b",
    "tau": "prior standard deviation of B",
    "W": "published weight of the prior, which takes the fluxes as known: 0 is data alone, 1 prior alone",
    "D": "exact weight of the prior: change of the estimate of B with its own prior mean b",
    "sigma": "standard deviation of the instrument's measurements of ln flux",
    "sigma_sd": "standard deviation of sigma",
    "drift": "change of B per unit of time",
    "drift_sd": "standard deviation of drift",
    "n_sources": "sources the instrument measured",
    "component": "instruments of one number are connected by common sources",
    "pull": "area by the sources and the other instruments minus the nominal one, in predictive standard deviations",
    "scatter_p": "predictive p-value of the scatter of its residuals; below 0.01 the model misses something",
    "extreme_p": "predictive p-value of its largest residual; below 0.01 there is an outlier",
}

FLUXES = {
    "source": "source",
    "band": "energy band",
    "log_flux": "posterior mean of ln flux",
    "log_flux_sd": "standard deviation of ln flux",
    "flux": "exp of the mean of ln flux",
    "q*": "quantile of the flux: q2.5 to q97.5 holds 95 %",
    "n_instruments": "instruments that measured it",
    "spread_before": "standard deviation over instruments of ln flux, nominal areas",
    "spread_after": "standard deviation over instruments of ln flux, corrected areas",
}

CONFLICTS = {
    "instruments": "instruments that are connected by common sources",
    "chi2": "squared distance between what the data alone say and the priors",
    "dof": "its degrees of freedom",
    "p_value": "chance of a larger distance if priors and data agree",
}

LEAVE_ONE_OUT = {
    "instrument": "the instrument that is left out",
    "pull": "area by the sources and the other instruments minus the nominal one, in predictive standard deviations",
    "largest_shift": "largest change of another instrument's estimate without it, in standard deviations",
    "moves_most": "the instrument that changes most",
}

CORRECTION = {
    "factor": "true over nominal effective area",
    "log_sd": "standard deviation of ln factor; the full covariance is in the metadata",
    "q*": "quantile of the factor: q2.5 to q97.5 holds 95 %",
    "*": "what the factor belongs to",
}
