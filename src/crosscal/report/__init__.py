"""Floor: a finished run becomes figures and one HTML file."""
