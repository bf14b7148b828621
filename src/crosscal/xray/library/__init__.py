"""The library (theta, T_true) -> fitted parameters, and its import from XCalForge."""
