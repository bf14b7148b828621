"""Layouts of frames: one file and one line in :mod:`crosscal.fluxcal.frames.layouts.registry` each (FITS)."""
