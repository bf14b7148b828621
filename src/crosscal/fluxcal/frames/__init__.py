"""Frames: reading, writing, layouts of files."""
