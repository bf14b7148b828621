"""Statistics, simulation, folded templates and the fit engine."""
