"""Variability kernels: one file and one registry line each."""
