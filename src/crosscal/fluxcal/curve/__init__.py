"""The calibration curve: vectors of stars, their combination, smoothing, the field over the plate."""
