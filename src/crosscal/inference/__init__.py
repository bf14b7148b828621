"""Floor: one Problem, many back ends, one Posterior."""
