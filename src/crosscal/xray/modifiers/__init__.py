"""Families phi_theta(E) that change an effective area or a response matrix."""

# Defines what * and + of modifiers mean.
from crosscal.xray.modifiers import combine as combine
