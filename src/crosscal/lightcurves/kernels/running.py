"""The source as the running mean of the calibrated data: no random walk is assumed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from crosscal.core.parameter import Parameter
from crosscal.lightcurves.kernels.base import Variability


class RunningMean(Variability):
    """Running mean of all calibrated fluxes, X(t) = sum_j w_j F_j / sum_j w_j, w_j = exp(-(t - t_j)^2 / 2 D^2) / s_j^2.

    D is the width of the window and s_j^2 the variance of F_j: that of its error, and J^2 of the source about its mean,
    which is what a mean over D does not follow. No process is assumed: that suits transients and periodic sources, and
    a telescope that overlaps with no other within some D keeps its prior. It is not a Gaussian process: its likelihood,
    penalised by the number of parameters that the mean is worth, gives no evidence that compares with others.

    References: Donnan, Horne & Hernandez Santisteban 2021 (MNRAS 508, 5449), sects. 2.1-2.3, who call it running
    optimal average; Hastie & Tibshirani 1990 (Generalized Additive Models), sect. 3.5, for the number of parameters.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("log_width", np.log(10.0), description="ln of the width D of the window, in units of time"),
        Parameter("log_jitter", np.log(1e-2), np.log(1e-4), 0.0, description="ln of the scatter J about the mean"),
    )
    timescale: ClassVar[str] = "log_width"
    near: ClassVar[float] = 1.0
    moves: ClassVar = ({"log_width": float(np.log(2.0))}, {"log_width": -float(np.log(2.0))})
    caution: ClassVar[str] = (
        "Intervals with kernel 'running-mean' can be too narrow: in simulations 95 % intervals of a scale contained "
        "the truth in 88 % (random walk) to 96 % (periodic source) of the cases; compare with kernel = 'auto'."
    )
