"""What every part hands out: a multiplicative correction with its uncertainty, as pure numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import brief, brief_html, titled_html, words_html
from crosscal.core.errors import InputError
from crosscal.core.registry import Registry
from crosscal.core.rounding import with_error
from crosscal.core.signs import typeset
from crosscal.core.sketch import Sketch
from crosscal.core.units import plain

#: Names that a notebook shows of a correction.
MOST_SHOWN = 20
#: How a correction is drawn, tabulated and written, by what stands above this package.
FORMS = Registry(
    "form of a correction",
    {
        "plot": "crosscal.plot.comparison:plot_correction",
        "table": "crosscal.jobs.products:correction_table",
        "xarray": "crosscal.datasets.corrections:as_dataset",
        "file": "crosscal.jobs.products:write_correction_file",
    },
)


@dataclass(frozen=True, eq=False)
class Correction:
    """A factor against energy, wavelength, instrument or telescope, with its covariance.

    Attributes
    ----------
    coordinate : array, shape (n,)
        Numbers (energy in keV, wavelength in Angstrom, ...), increasing, or names (instruments, telescopes).
    factor : array, shape (n,)
        Multiply the nominal quantity (effective area, flux scale, ...) by it.
    covariance : array, shape (n, n)
        Of ``ln factor``, so that positivity and products are natural.
    draws : array, shape (n_draws, n), optional
        Posterior draws of the factor; where given, they are the truth and the covariance is their summary.
    axis : str
        What the coordinate is: "energy", "wavelength", "instrument", "telescope", "band".
    unit : str
        Unit of the coordinate.
    target : str
        What is to be multiplied ("effective area of acis").
    provenance : mapping

    Raises
    ------
    InputError
        If shapes disagree, a factor is not positive, the coordinate does not increase, or the covariance is not
        symmetric and non-negative.

    Examples
    --------
    >>> area = crosscal.read_correction("runs/acis")  # doctest: +SKIP
    >>> area.factor, area.sd, area.at([1.0, 2.0])  # doctest: +SKIP
    """

    coordinate: NDArray[Any]
    factor: NDArray[np.float64]
    covariance: NDArray[np.float64]
    axis: str
    unit: str = ""
    target: str = ""
    draws: NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = brief

    def _repr_html_(self) -> str:
        if self.numeric:
            return brief_html(self)
        rows = zip(self.coordinate.tolist(), self.factor.tolist(), (self.factor * self.sd).tolist(), strict=True)
        shown = [(str(name), typeset(with_error(factor, sd))) for name, factor, sd in rows]
        left = [("...", f"{len(shown) - MOST_SHOWN} more")] if len(shown) > MOST_SHOWN else []
        return titled_html(self, [("target", self.target), *shown[:MOST_SHOWN], *left])

    def _sketch_(self) -> Sketch:
        label = f"{self.axis} ({self.unit})" if self.unit else self.axis
        # Names have no place on an axis.
        numbers = np.asarray(self.coordinate if self.numeric else [], dtype=float)
        return Sketch(numbers, self.factor[: numbers.size], label, "factor")

    def __post_init__(self) -> None:
        coordinate, factor = np.asarray(self.coordinate), np.asarray(self.factor, dtype=float)
        covariance = np.asarray(self.covariance, dtype=float)
        where = f"correction of {self.target or 'unnamed target'}"
        n = factor.size
        if coordinate.shape != (n,) or covariance.shape != (n, n) or factor.ndim != 1:
            raise InputError(
                f"shapes {coordinate.shape}, {factor.shape}, {covariance.shape}",
                where=where,
                expected="(n,), (n,), (n, n)",
            )
        if not (np.all(np.isfinite(factor)) and np.all(factor > 0)):
            raise InputError("a factor is not a positive number", where=where, expected="factors > 0")
        if coordinate.dtype.kind in "fiu" and np.any(np.diff(coordinate) <= 0):
            raise InputError("the coordinate does not increase", where=where, expected="increasing numbers")
        if not np.all(np.isfinite(covariance)) or not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12):
            raise InputError("the covariance is not symmetric", where=where, expected="a covariance matrix")
        if np.any(np.diag(covariance) < 0):
            raise InputError("a variance is negative", where=where, expected="a covariance matrix")
        if self.draws is not None:
            draws = np.asarray(self.draws, dtype=float)
            if draws.ndim != 2 or draws.shape[1] != n or np.any(~(draws > 0)):
                raise InputError("draws are not positive", where=where, expected=f"positive factors of shape (m, {n})")
            object.__setattr__(self, "draws", draws)
        object.__setattr__(self, "coordinate", coordinate)
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "covariance", covariance)

    @classmethod
    def from_draws(cls, coordinate: ArrayLike, draws: ArrayLike, *, axis: str, **facts: Any) -> Correction:
        """Summarise posterior draws (n_draws, n) of the factor: exp(mean ln) and the covariance of ln."""
        values = np.asarray(draws, dtype=float)
        if values.ndim != 2 or len(values) < 2 or np.any(~(values > 0)):
            raise InputError(
                "draws of a factor", where="correction", expected="an array (m >= 2, n) of positive numbers"
            )
        logs = np.log(values)
        covariance = np.cov(logs, rowvar=False).reshape(values.shape[1], values.shape[1])
        return cls(np.asarray(coordinate), np.exp(logs.mean(axis=0)), covariance, axis, draws=values, **facts)

    @property
    def numeric(self) -> bool:
        """Whether the coordinate is a number (else names)."""
        return bool(self.coordinate.dtype.kind in "fiu")

    @cached_property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation of ln factor."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float = 0.68) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Central interval of the factor at a probability level, from draws where there are any."""
        from scipy.stats import norm

        if self.draws is not None:
            low, high = np.quantile(self.draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            return low, high
        half = norm.ppf(0.5 + level / 2) * self.sd
        return self.factor * np.exp(-half), self.factor * np.exp(half)

    def _weights(self, coordinate: ArrayLike) -> NDArray[np.float64]:
        """Interpolation matrix (m, n) from our coordinate to another one; constant beyond the ends."""
        where = f"correction of {self.target or 'unnamed target'}"
        if not self.numeric:
            wanted = [str(c) for c in np.atleast_1d(np.asarray(coordinate))]
            known = [str(c) for c in self.coordinate]
            missing = [c for c in wanted if c not in known]
            if missing:
                raise InputError(f"no factor for {missing[0]!r}", where=where, expected=f"one of {', '.join(known)}")
            return np.eye(len(known))[[known.index(c) for c in wanted]]
        x = np.atleast_1d(np.asarray(self._in_our_unit(coordinate), dtype=float))
        nodes = np.asarray(self.coordinate, dtype=float)
        if nodes.size == 1:
            return np.ones((x.size, 1))
        position = np.clip(np.interp(x, nodes, np.arange(nodes.size)), 0, nodes.size - 1)
        left = np.minimum(position.astype(int), nodes.size - 2)
        weights = np.zeros((x.size, nodes.size))
        rows = np.arange(x.size)
        weights[rows, left] = 1 - (position - left)
        weights[rows, left + 1] = position - left
        return weights

    def _in_our_unit(self, coordinate: ArrayLike) -> ArrayLike:
        """Quantities become plain numbers in the unit of the axis."""
        return plain(coordinate, self.unit, where=f"coordinate of {self.target or 'a correction'}", spectral=True)

    def at(self, coordinate: ArrayLike) -> Correction:
        """Interpolate to another coordinate (linearly in ln factor; constant beyond the ends; names by name)."""
        weights = self._weights(coordinate)
        draws = None if self.draws is None else np.exp(np.log(self.draws) @ weights.T)
        return replace(
            self,
            coordinate=np.atleast_1d(np.asarray(self._in_our_unit(coordinate))),
            factor=np.exp(weights @ np.log(self.factor)),
            covariance=weights @ self.covariance @ weights.T,
            draws=draws,
        )

    def apply(self, coordinate: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
        """Multiply ``values`` (..., n) given at ``coordinate`` (n,) by the factor."""
        return np.asarray(values, dtype=float) * self.at(coordinate).factor

    def combine(self, other: Correction) -> Correction:
        """Apply one correction after another, with independent uncertainties: factors multiply, covariances add."""
        self._check_same_axis(other)
        second = other.at(self.coordinate)
        return replace(
            self,
            factor=self.factor * second.factor,
            covariance=self.covariance + second.covariance,
            draws=None,
            provenance={"combined": [dict(self.provenance), dict(other.provenance)]},
        )

    def average(self, other: Correction) -> Correction:
        """Average two independent measurements of the same correction, weighted by inverse covariance."""
        self._check_same_axis(other)
        second = other.at(self.coordinate)
        total = self.covariance + second.covariance
        gain = np.linalg.lstsq(total, self.covariance, rcond=None)[0].T
        log = np.log(self.factor) + gain @ (np.log(second.factor) - np.log(self.factor))
        covariance = self.covariance - gain @ self.covariance
        return replace(
            self,
            factor=np.exp(log),
            covariance=0.5 * (covariance + covariance.T),
            draws=None,
            provenance={"averaged": [dict(self.provenance), dict(other.provenance)]},
        )

    def plot(self, ax: Any = None, *, label: str = "", colour: str = "") -> Any:
        """Draw the factor with its 68 and 95 % intervals, and return the matplotlib Axes.

        ``second.plot(first.plot(label="first"), label="second")`` draws two corrections together.

        Parameters
        ----------
        ax : Axes, optional
            What to draw into; by default a new figure.
        label : str
            Of the legend; by default the target.
        colour : str
            By default the next colour of the axes.
        """
        return FORMS.get("plot")(self, ax, label=label, colour=colour)

    def to_table(self) -> Any:
        """Return an astropy QTable: coordinate, factor, standard deviation of its logarithm, 68 and 95 % intervals."""
        return FORMS.get("table")(self)

    def to_xarray(self) -> Any:
        """Return an xarray Dataset: ``factor``, ``log_covariance`` and, where there are any, ``draws``."""
        return FORMS.get("xarray")(self)

    def write(self, path: Any) -> Any:
        """Write netCDF (``.nc``: all of it; `crosscal.read_correction` reads it back) or a table (``.ecsv``).

        Parameters
        ----------
        path : path

        Raises
        ------
        InputError
            If the name ends in neither.
        DataFileError
            If the file cannot be written.
        """
        return FORMS.get("file")(path, self)

    def compare(self, other: Correction) -> Comparison:
        """Compare with an independent correction where both are defined, on this one's coordinate.

        Raises
        ------
        InputError
            If the axes or units differ, or the two have no coordinate in common.
        """
        self._check_same_axis(other)
        common = self._common(other)
        return Comparison.of(self.at(common), other.at(common))

    def _common(self, other: Correction) -> NDArray[Any]:
        """Return the coordinates of this correction at which the other one is defined too."""
        if self.numeric != other.numeric:
            inside = np.zeros(self.coordinate.size, dtype=bool)
        elif self.numeric:
            # Beyond its ends a correction is an extrapolation, no measurement; a single factor holds everywhere.
            inside = (self.coordinate >= other.coordinate[0]) & (self.coordinate <= other.coordinate[-1])
            inside |= other.coordinate.size == 1
        else:
            inside = np.isin(self.coordinate.astype(str), other.coordinate.astype(str))
        if not inside.any():
            raise InputError(
                f"they have no {self.axis} in common",
                where=f"corrections of {self.target or 'unnamed target'} and {other.target or 'unnamed target'}",
                expected="overlapping ranges or common names",
            )
        return self.coordinate[inside]

    def _depends(self) -> str:
        """The axis in words: "a function of energy (keV)", "given per instrument"."""
        if not self.numeric:
            return f"given per {self.axis}"
        return f"a function of {self.axis}" + (f" ({self.unit})" if self.unit else "")

    def _check_same_axis(self, other: Correction) -> None:
        if (self.axis, self.unit) != (other.axis, other.unit):
            raise InputError(
                f"cannot compare: the first correction is {self._depends()}, the second {other._depends()}",
                where="two corrections",
                expected="corrections with the same axis and unit",
            )


#: Directions of the joint covariance with less than this fraction of the largest variance count as not measured.
NEGLIGIBLE_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Comparison:
    """The difference of two corrections on a common coordinate.

    The statistic is ``chi2 = d^T C^+ d`` with ``d = ln(first / second)``, ``C`` the sum of both covariances, and the
    pseudo-inverse over the directions that have a variance; a smooth curve given at many energies has few of them.

    Attributes
    ----------
    first, second : Correction
        Both at the common coordinate.
    log_ratio : array (n,)
        ln(first / second).
    sd : array (n,)
        Its standard deviation, taking the two as independent.
    chi2, dof, p_value : float
        Test of equality in the directions that have a variance; p_value is NaN where there are none.
    remainder : float
        Largest absolute ln ratio in the directions without variance: what the test cannot judge.
    """

    first: Correction
    second: Correction
    log_ratio: NDArray[np.float64]
    sd: NDArray[np.float64]
    chi2: float
    dof: int
    p_value: float
    remainder: float

    __repr__ = brief
    _repr_html_ = words_html

    def __str__(self) -> str:
        return f"{self.verdict} {self.largest}".strip()

    @property
    def verdict(self) -> str:
        """Whether the two agree, in one sentence."""
        n, unit = self.coordinate.size, f" {self.first.unit}" if self.first.unit else ""
        range_ = f"{self.coordinate[0]:.4g} to {self.coordinate[-1]:.4g}{unit}" if self.first.numeric else ""
        where = f"over {range_}" if range_ else f"for {n} {self.first.axis}{'s' if n > 1 else ''}"
        left = f"; they differ by up to {100 * self.remainder:.2g} % in directions without variance"
        left = left if self.remainder > 1e-3 else ""
        if not self.dof:
            return f"Neither correction has a variance {where}, so there is nothing to test{left}."
        verdict = "agree" if self.p_value > 0.05 else "disagree"
        return (
            f"The corrections {verdict} {where}: chi2 = {self.chi2:.2f} for {self.dof} "
            f"degree{'s' if self.dof > 1 else ''} of freedom, p = {self.p_value:.2g}{left}."
        )

    @property
    def largest(self) -> str:
        """Where the two differ most, by how much, and by how many standard deviations, in one sentence."""
        k = int(np.argmax(np.abs(self.log_ratio)))
        if self.log_ratio[k] == 0:
            return "They are equal."
        at = self.coordinate[k]
        unit = f" {self.first.unit}" if self.first.unit else ""
        place = f"at {at:.4g}{unit}" if self.first.numeric else f"for {at}"
        percent = 100 * np.expm1(abs(self.log_ratio[k]))
        higher, lower = ("first", "second") if self.log_ratio[k] > 0 else ("second", "first")
        sigma = f" ({abs(self.log_ratio[k]) / self.sd[k]:.1f} standard deviations)" if self.sd[k] > 0 else ""
        return f"They differ most {place}, where the {higher} is {percent:.2g} % above the {lower}{sigma}."

    @property
    def coordinate(self) -> NDArray[Any]:
        """The common coordinate."""
        return self.first.coordinate

    @classmethod
    def of(cls, first: Correction, second: Correction) -> Comparison:
        """Compare two corrections given on the same coordinate."""
        from scipy.stats import chi2 as chi2_distribution

        difference = np.log(first.factor) - np.log(second.factor)
        covariance = first.covariance + second.covariance
        values, vectors = np.linalg.eigh(covariance)
        used = values > max(NEGLIGIBLE_VARIANCE * values[-1], 1e-300)
        along = vectors.T @ difference
        statistic = float(np.sum(along[used] ** 2 / values[used]))
        dof = int(used.sum())
        sd = np.sqrt(np.clip(np.diag(covariance), 0, None))
        p_value = float(chi2_distribution.sf(statistic, dof)) if dof else float("nan")
        remainder = float(np.max(np.abs(vectors[:, ~used] @ along[~used]), initial=0.0))
        return cls(first, second, difference, sd, statistic, dof, p_value, remainder)
