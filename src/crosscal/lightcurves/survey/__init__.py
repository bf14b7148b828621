"""Many sources of one survey: the factors of each, on any executor, and what they have in common."""
