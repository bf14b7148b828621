"""Several frames: what they share, what a failed frame takes from its neighbours, targets."""
