"""Layouts of survey tables: one file and one registry line each."""
