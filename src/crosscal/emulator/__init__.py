"""Floor: smooth maps learned from a library, under one interface."""
