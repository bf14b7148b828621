"""Figures of a survey: the factors of all telescopes, the status of the sources, and the worst ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crosscal.lightcurves.figures import light_curve
from crosscal.lightcurves.survey.result import SurveyResult
from crosscal.plot import figure, instrument_style, styled, text

#: Telescopes that are drawn, those of most sources first.
MOST_TELESCOPES = 8

CAPTIONS = {
    "scales": "Scale of each telescope against the reference of its source: share of the sources below a value.",
    "outcome": "Outcome of the sources.",
    "worst": "A source with serious warnings, as measured and calibrated, with the reconstruction of the source.",
}


def figures(result: SurveyResult) -> dict[str, Figure]:
    """Return the figures by name."""
    found: dict[str, Figure] = {}
    if result.scales():
        found["scales"] = scales(result)
    found["outcome"] = outcome(result)
    for k, name in enumerate(result.worst_sources()):
        drawn = light_curve(result.source(name))
        drawn.suptitle(text(name))
        found[f"worst_{k + 1}"] = drawn
    return found


def captions(result: SurveyResult) -> dict[str, str]:
    """Return one sentence for each figure that there may be."""
    worst = {f"worst_{k + 1}": f"{CAPTIONS['worst']} ({name})" for k, name in enumerate(result.worst_sources())}
    return {"scales": CAPTIONS["scales"], "outcome": CAPTIONS["outcome"], **worst}


@styled
def scales(result: SurveyResult) -> Figure:
    """Draw the cumulative distribution of the scales of each telescope."""
    fig = figure(7.5, 4.2)
    axes: Any = fig.subplots()
    chosen = sorted(result.scales().items(), key=lambda item: -len(item[1]))[:MOST_TELESCOPES]
    for k, (code, values) in enumerate(chosen):
        ordered = np.sort(values)
        share = (np.arange(len(ordered)) + 0.5) / len(ordered)
        style = {**instrument_style(k), "ms": 3}
        axes.plot(ordered, share, lw=1, label=text(f"{code} ({len(values)})"), **style)
    axes.set_xlabel("Scale (calibrated flux over measured flux)")
    axes.set_ylabel("Share of the sources")
    axes.set_ylim(0, 1)
    fig.legend(loc="outside right upper", title="Telescope (sources)")
    return fig


@styled
def outcome(result: SurveyResult) -> Figure:
    """Draw the number of sources of each status."""
    fig = figure(6.0, 1.2 + 0.4 * len(result.counts))
    axes: Any = fig.subplots()
    names, numbers = list(result.counts), list(result.counts.values())
    bars = axes.barh(names, numbers, height=0.6)
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("Number of sources")
    return fig
