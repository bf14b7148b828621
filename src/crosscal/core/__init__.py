"""The ground floor: errors, registries, grids, seeds, robust statistics, provenance, corrections."""
