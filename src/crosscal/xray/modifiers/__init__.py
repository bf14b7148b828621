"""Families phi_theta(E) that change an effective area or a response matrix."""
