"""Sources: plasma tables, absorption, spectral models, expressions."""
