"""Floor: style, bands, corner plots and error clouds that all figures share.

Figures are matplotlib ``Figure`` objects made without pyplot, so they need no display and leak no state.
"""

from crosscal.plot.bands import band, envelope, quantile_band
from crosscal.plot.comparison import comparison
from crosscal.plot.corner import corner
from crosscal.plot.style import (
    COLOURS,
    INSTRUMENT_COLOURS,
    describe_axes,
    figure,
    instrument_style,
    legend_below,
    log_axis,
    save_figures,
    styled,
    text,
)

__all__ = [
    "COLOURS",
    "INSTRUMENT_COLOURS",
    "band",
    "comparison",
    "corner",
    "describe_axes",
    "envelope",
    "figure",
    "instrument_style",
    "legend_below",
    "log_axis",
    "quantile_band",
    "save_figures",
    "styled",
    "text",
]
