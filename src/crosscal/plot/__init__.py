"""Floor: style, bands and corner plots that all figures share."""
