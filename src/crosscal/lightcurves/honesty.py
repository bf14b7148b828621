"""Whether the stated errors are honest: the factor on the errors of each telescope that the data favour.

The model is fitted once more with a free factor b on every telescope's errors, at its mode. The curvature there gives
the standard error of ln b. Residuals alone are a weak sign where the source varies more between points than the errors
say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError
from crosscal.lightcurves.density import Density
from crosscal.lightcurves.model import Model

#: Telescopes of fewer points are not judged.
LEAST_POINTS = 10
#: A factor differs from one by so many of its standard errors.
SIGNIFICANT = 2.0
#: A large factor is told, with caution, from fewer standard errors on, where it is not too uncertain.
LIKELY, LARGE, KNOWN = 1.5, 1.4, 0.5
#: Errors are told that are too small by more than the first, or too large by more than the second factor.
TOO_SMALL, TOO_LARGE = 1.1, 0.75
#: The range in which factors are looked for.
RANGE = (0.1, 10.0)
#: Above so many points the second fit costs too much.
MOST_POINTS = 20_000


@dataclass(frozen=True)
class ErrorFactor:
    """The factor on the errors of one telescope (and flag) in one file that the data favour, and the sd of its log."""

    file: str
    telescope: str
    factor: float
    sd_ln: float

    @property
    def _far(self) -> bool:
        return bool(abs(np.log(self.factor)) > SIGNIFICANT * self.sd_ln)

    @property
    def too_small(self) -> bool:
        """Whether the data ask for larger errors than the stated ones, clearly or probably."""
        return (self._far and self.factor > TOO_SMALL) or self._likely

    @property
    def _likely(self) -> bool:
        """Whether the factor is large without being significant; its error is large itself where errors are small."""
        return bool(self.factor > LARGE and np.log(self.factor) > LIKELY * self.sd_ln and self.sd_ln < KNOWN)

    @property
    def sentence(self) -> str:
        """What must be told; nothing where the stated errors agree with the data."""
        size = f"{self.factor:.2f} (+/- {100 * self.sd_ln:.0f} %)"
        if self.too_small:
            sure = ("look", "are") if self._far else ("may be", "may be")
            return (
                f"The errors of {self.telescope} {sure[0]} too small: the data favour {size} times their size, so the "
                f"intervals {sure[1]} too narrow; try systematic_error = 'auto', error_scale = true, or, if there are "
                "a few outliers, errors = 'student-t' or remove_outliers."
            )
        if self._far and self.factor < TOO_LARGE:
            return (
                f"The errors of {self.telescope} look too large: the data favour {size} times their size; try "
                "error_scale = true."
            )
        return ""


def error_factors(model: Model, x: NDArray[np.float64]) -> tuple[ErrorFactor, ...]:
    """Fit a factor on the errors of each telescope, from the full vector (n,) on.

    Nothing is found where errors are fitted anyway: Student-t errors, systematic errors and error scales that
    are free have an answer of their own.
    """
    settings = model.settings
    asked = settings.systematic_error or settings.error_scale or settings.errors != "gaussian"
    if asked or len(model.curves) > MOST_POINTS:
        return ()
    wider = replace(settings, error_scale=True, errscale=RANGE)
    density = Density(Model(model.curves, wider, normalisation=model.norm, marginal=model.marginal))
    try:
        mode = density.mode(x[density.places], seed=0, starts=0)
    except FitError:
        return ()
    lay = density.model.layout
    sampled = density.constrain(mode.vector)
    share = (sampled - density.low) / density.width
    sd = np.sqrt(np.diag(mode.covariance)) * density.width * share * (1 - share)
    found = []
    for i, curve in enumerate(model.curves.files):
        for c, code in enumerate(curve.codes):
            for k in range(model.curves.n_flags):
                at = np.flatnonzero(density.places == lay.errscale[i, c, k])
                if len(at) and np.sum((curve.code == c) & (curve.flag == k)) >= LEAST_POINTS:
                    factor = ErrorFactor(curve.name, code, float(np.exp(sampled[at[0]])), float(sd[at[0]]))
                    found.append(factor)
    return tuple(found)
