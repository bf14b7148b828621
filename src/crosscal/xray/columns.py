"""What the columns of the X-ray part's tables mean."""

FIT = {
    "parameter": "parameter of the model",
    "value": "best value, or the one it was held at",
    "error": "1 sigma from the curvature at the best fit",
    "unit": "unit of value and error",
    "free": "whether it was fitted",
    "low": "lower end of the interval from the change of the statistic",
    "high": "upper end of it",
}

BIAS = {
    "kT_true": "true temperature",
    "dT/T *": "relative error of temperatures measured with the nominal calibration, quantile of the posterior",
    "d(T^*": "the same of a power of the temperature",
}

CORRECTION = {
    "energy": "photon energy",
    "factor": "true over nominal effective area, phi(E)",
    "sd_ln": "standard deviation of ln factor; the covariance is in correction.nc",
    "low68": "lower end of the 68 % interval of factor",
    "high68": "upper end of the 68 % interval",
    "low95": "lower end of the 95 % interval",
    "high95": "upper end of the 95 % interval",
}

LEAVE_ONE_OUT = {
    "source": "the source that is left out",
    "influence": "largest change of the correction without it, in posterior standard deviations",
    "log_predictive": "ln probability of its data given all others",
    "khat": "reliability of the weights; above 0.7 the influence is a hint only",
}

LIBRARY = {
    "calibration": "the calibration that spectra were fitted with",
    "fits": "number of fits",
    "failed": "fits without a result",
    "failures": "why",
    "bias_kT": "mean of kT / T_true - 1",
    "bias_ln_kT": "mean of ln(kT / T_true)",
    "pull_mean": "mean of (kT - T_true) / error",
    "pull_sd": "standard deviation of (kT - T_true) / error",
}
