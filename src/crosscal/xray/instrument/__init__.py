"""Telescopes: responses, spectra, OGIP files, grouping."""
