"""Readers and writers of light-curve files; the only modules of the part that open data files."""
