"""What the columns of the flux calibration's tables mean."""

STARS = {
    "frame": "frame",
    "fibre": "number of the fibre, from 1",
    "star": "name in the catalogue, or of the fibre",
    "used": "whether the star entered the curve",
    "reason": "why a star was not used",
    "snr": "median signal-to-noise ratio per pixel",
    "separation": "distance of fibre and catalogue position",
    "template": "best template",
    "teff": "effective temperature of the template",
    "logg": "log10 of its surface gravity in cm / s2",
    "feh": "its metallicity [M/H]",
    "rv": "radial velocity",
    "rv_error": "error of the radial velocity",
    "reduced_chi2": "chi2 of spectrum and template over degrees of freedom",
    "scale": "factor from template to flux, from the magnitudes",
    "scale_error": "its error",
    "colour_residual": "rms of magnitudes about the template",
    "ebv": "extinction E(B-V) applied to the template",
    "bands": "bands whose magnitudes set the scale",
    "dropped_bands": "bands that were left out as outliers",
    "throughput": "grey loss of the fibre relative to the curve",
    "slope": "its chromatic part per 1000 Angstrom",
    "loo_grey": "held-out star: mean of synthetic minus catalogue magnitudes",
    "loo_colour": "held-out star: difference of that between the first and the last band",
    "loo_slope": "held-out star: trend of calibrated over model flux per 1000 Angstrom",
}

FRAMES = {
    "frame": "frame",
    "passed": "whether all gates were passed",
    "source": "where the curve comes from: own stars, another frame, or none",
    "n_standards": "standard stars in the frame",
    "n_used": "those that entered the curve",
    "FCALRMS": "robust rms of the stars about the curve, a fraction",
    "loo_grey": "scatter over held-out stars of the mean magnitude residual",
    "loo_slope": "scatter over held-out stars of the slope, mag per 1000 Angstrom",
    "loo_colour": "scatter over held-out stars of the colour, mag",
    "airmass": "mean airmass",
    "exposure": "exposure time in s",
    "reason": "the gate that failed",
}

TARGETS = {
    "frame": "frame",
    "fibre": "number of the fibre, from 1",
    "star": "name in the catalogue",
    "snr": "median signal-to-noise ratio per pixel",
    "offset_*": "synthetic minus catalogue magnitude",
    "grey": "mean of the offsets",
    "colour": "offset of the first band minus that of the last",
}

CURVE = {
    "wavelength": "centre of the pixel, as in the frame",
    "factor": "calibrated flux = factor * counts per second",
    "error": "total error of the factor",
    "error_independent": "its part that is independent from pixel to pixel",
    "n_stars": "stars that measure the pixel",
    "bridged": "no star measures the pixel: the smooth curve goes across",
}
