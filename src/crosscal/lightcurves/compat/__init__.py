"""PyCALI compatibility: its options, parameter file, text outputs and helper functions, under its names.

Its defects are mended here: nothing exits the interpreter or changes the working directory; every line is
reconstructed with its own process; a telescope seen only in lines is normalised by its line; ``time_range`` uses both
ends; ``rebin=False`` disables; zero points go by filter; outliers are judged by exact leave-one-out residuals, keep
their flags and the order of the input. The internal files of its sampler (sample.txt, sample_info.txt, levels.txt,
sampler_state.txt) have no counterpart and are not written.
"""
