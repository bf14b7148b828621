"""What the columns of the light curves' tables mean."""

SUMMARY = {
    "telescope": "telescope; the reference comes first",
    "points": "points of all files",
    "scale": "posterior mean of the factor phi: calibrated flux = scale * flux - shift",
    "scale_sd": "standard deviation of scale",
    "shift": "posterior mean of the constant G",
    "shift_sd": "standard deviation of shift",
    "covariance": "posterior covariance of scale and shift",
    "syserr*": "error added in quadrature to the measured ones (file and flag in the name)",
    "errscale*": "factor on the measured errors (file and flag in the name)",
    "at_limit": "factors that reach a limit of their prior",
    "held": "factors that were not fitted",
}

CORRECTION = {
    "telescope": "telescope",
    "scale": "calibrated flux = scale * flux - shift (lines: scale * flux)",
    "sd_ln_scale": "standard deviation of ln scale",
    "scale_q*": "quantile of scale: q16 to q84 holds 68 %",
    "shift": "posterior mean of the shift",
    "shift_sd": "standard deviation of shift",
}

CALIBRATED = {
    "time": "as in the input",
    "flux": "flux on the scale of the reference",
    "error": "total error of the point alone",
    "error_measurement": "its independent part: measured, scaled and with the systematic error",
    "error_calibration": "its part from scale and shift, common to the telescope: it does not average out",
    "telescope": "telescope",
    "flag": "flag of the input",
    "measured_flux": "flux as measured",
    "measured_error": "error as given",
    "leave_one_out_z": "point minus its prediction by all others, in standard deviations",
}

RECONSTRUCTION = {
    "time": "as in the input",
    "mean": "posterior mean of the source's flux",
    "sd": "standard deviation of the source's flux",
}

OVERLAP = {
    "telescope": "telescope",
    "group": "telescopes of one number are connected by overlap in time",
    "pairs_with_*": "points with a partner of that telescope within the window",
}
