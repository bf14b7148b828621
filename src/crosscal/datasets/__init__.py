"""Floor: built-in data, the data search path, and downloads with checksums."""
