"""Standard stars: selection, matching, photometry, templates, velocities."""
