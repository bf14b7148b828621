"""The result of a survey: one row for each telescope of each source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.check import Check
from crosscal.core.errors import FitError
from crosscal.core.tables import ResultTable, describe
from crosscal.jobs.result import Presented
from crosscal.lightcurves.survey.one import GOOD, NOT_CONVERGED, STATUS, Record, SurveyTask
from crosscal.lightcurves.survey.shared import LEAST_SOURCES, Population

#: Share of sources without factors above which the check fails.
MOST_FAILED = 0.1

COLUMNS = {
    "source": "name of the source",
    "status": "good, warned (see warnings), not converged; or without factors: unreadable, refused, not fitted, broken",
    "telescope": "telescope; the reference has scale 1 and shift 0",
    "reference": "telescope whose flux scale is kept",
    "points": "points of the telescope",
    "scale": "posterior mean of the factor: calibrated flux = scale * flux - shift",
    "scale_sd": "standard deviation of scale",
    "shift": "posterior mean of the shift, in the unit of the fluxes",
    "shift_sd": "standard deviation of shift",
    "covariance": "covariance of scale and shift; all telescopes together are in covariances.json",
    "syserr": "error added in quadrature to the measured ones",
    "errscale": "factor on the measured errors",
    "tied": "share of the information on ln scale that comes from other telescopes' data",
    "flux_unit": "unit of fluxes and shifts",
    "kernel": "how the source varies",
    "sampler": "how the posterior was sampled",
    "ess": "smallest effective sample size of the source",
    "khat": "Pareto's k-hat; below 0.7 the weights can be trusted",
    "log_evidence": "natural logarithm of the marginal likelihood of the source",
    "outliers": "points beyond 5 sigma of leave-one-out, all telescopes",
    "seconds": "processor time of the source",
    "warnings": "warnings about the source, or the reason why it failed",
}
#: Further columns where there is a shared prior.
SHARED = {
    "scale_alone": "scale from the source's own data, without the shared prior",
    "scale_alone_sd": "its standard deviation",
    "shift_alone": "shift from the source's own data, without the shared prior",
    "shift_alone_sd": "its standard deviation",
    "population_share": "share of the information on ln scale that comes from the shared prior",
}


@dataclass(frozen=True, eq=False, repr=False)
class SurveyResult(Presented):
    """Factors of all sources.

    Attributes
    ----------
    task : SurveyTask
        What was done; makes the full result of any source again.
    status : int array (n,)
        Index into `STATUS` of each source.
    seconds : array (n,)
    records : tuple of mapping
    worst : int
        Sources that are drawn.
    curves : bool
        Whether merged light curves are written.
    provenance : mapping
    shared : bool
        Whether a shared prior was asked for: scales and shifts are then those with the prior.
    populations : tuple of Population
        The distributions of the telescopes' factors that are the shared prior.
    """

    kind: ClassVar[str] = "lightcurves-survey"
    citations: ClassVar[tuple[str, ...]] = ("pycali", "drw")

    task: SurveyTask
    status: NDArray[np.int16]
    seconds: NDArray[np.float64]
    records: tuple[Record, ...]
    worst: int = 4
    curves: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False
    populations: tuple[Population, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The sources."""
        return tuple(source.name for source in self.task.sources)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of sources of each status that occurs."""
        found = np.bincount(self.status, minlength=len(STATUS))
        return {name: int(n) for name, n in zip(STATUS, found, strict=True) if n}

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """Which sources have factors."""
        return np.asarray(self.status <= NOT_CONVERGED)

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        kinds = ", ".join(f"{n} {name}" for name, n in self.counts.items())
        spread = "; ".join(
            f"scale of {code} {np.median(values):.4g} with a scatter of {np.std(values):.2g} from source to source"
            for code, values in list(self.scales().items())[:4]
        )
        return (
            f"Factors of {int(self.fitted.sum())} of {len(self.names)} sources ({kinds})"
            + (f": {spread}." if spread else ".")
            + self._said_of_prior()
        )

    def _said_of_prior(self) -> str:
        if not self.shared:
            return ""
        if not self.populations:
            return f" No shared prior was used: none of the telescopes has the {LEAST_SOURCES} sources that it needs."
        told = "; ".join(one.sentence for one in self.populations)
        return f" The factors have a shared prior, estimated from all sources: {told}."

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known: failures, and kinds of warnings with the number of sources."""
        said = [
            f"{n} {'source is' if n == 1 else 'sources are'} {name}: see the column 'warnings' of summary.ecsv."
            for name, n in self.counts.items()
            if STATUS.index(name) > GOOD + 1
        ]
        kinds = Counter(_kind(text) for record in self.records for text in set(record.get("warnings", ())))
        said += [f"In {n} source{'s' * (n > 1)}: {text}" for text, n in kinds.most_common(5)]
        return tuple(said)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether most sources have factors, and whether their sampling converged."""
        n, failed = len(self.names), int((~self.fitted).sum())
        unsure = int((self.status == NOT_CONVERGED).sum())
        return (
            Check("sources", failed <= MOST_FAILED * n, f"{failed} of {n} sources have no factors (at most 10 %)"),
            Check("sampling", unsure <= MOST_FAILED * n, f"{unsure} of {n} sources did not converge (at most 10 %)"),
        )

    @property
    def diagnostics(self) -> str:
        """Counts, effective sizes and processor time in words."""
        ess = [record["ess"] for record in self.records if "ess" in record]
        lines = [f"{name}: {n}" for name, n in self.counts.items()]
        if ess:
            lines.append(f"effective sample size: median {np.median(ess):.0f}, smallest {min(ess):.0f}")
        lines.append(f"processor time: {self.seconds.sum():.1f} s, median {np.median(self.seconds):.2f} s a source")
        return "\n".join(lines)

    @property
    def posterior_draws(self) -> Any:
        """A survey keeps moments, not draws.

        Raises
        ------
        FitError
            Always: the draws of one source come from `source`.
        """
        raise FitError("A survey keeps no draws: call SurveyResult.source(name) to sample one source again.")

    @property
    def correction(self) -> None:
        """Nothing: every source has factors of its own."""
        return

    def source(self, name: str) -> Any:
        """Return the full result of one source, sampled again with the same bits.

        Raises
        ------
        UnknownNameError
            If there is no such source; for one that failed, what its files raise.
        """
        from crosscal.core.errors import UnknownNameError

        if name not in self.names:
            raise UnknownNameError("source", name, self.names)
        return self.task.intercalibrated(self.task.sources[self.names.index(name)])

    def scales(self) -> dict[str, NDArray[np.float64]]:
        """Scales of each telescope over the sources that have factors, where it is not the reference."""
        found: dict[str, list[float]] = {}
        for record in self.records:
            for code, value in zip(record.get("codes", ()), record.get("scale", ()), strict=True):
                if code != record["reference"]:
                    found.setdefault(code, []).append(value)
        return {code: np.array(values) for code, values in found.items()}

    def worst_sources(self) -> tuple[str, ...]:
        """Sources with factors and the most serious troubles: status first, then number of warnings and outliers."""
        severity = [
            (int(self.status[k]), len(record.get("warnings", ())), record.get("outliers", 0), -k)
            for k, record in enumerate(self.records)
            if self.fitted[k] and self.status[k] > GOOD
        ]
        return tuple(self.names[-key[3]] for key in sorted(severity, reverse=True)[: self.worst])

    def summary(self) -> Any:
        """Return an astropy QTable with one row for each telescope of each source; failures have one row."""
        rows = list(self._rows())
        table = ResultTable(rows=rows, names=list(COLUMNS))
        if self.shared:
            self._add_alone(table)
        table.meta["sources"] = len(self.names)
        table.meta["rule"] = "calibrated flux = scale * flux - shift"
        return describe(table, {**COLUMNS, **(SHARED if self.shared else {})})

    def _add_alone(self, table: Any) -> None:
        """Add what the sources' own data give, and how much of the scale comes from the shared prior."""
        columns: dict[str, list[float]] = {name: [] for name in SHARED}
        for record in self.records:
            if "codes" not in record:
                for values in columns.values():
                    values.append(float("nan"))
                continue
            own, n = record.get("alone", record), len(record["codes"])
            sd = np.sqrt(np.diag(np.array(own["covariance"])))
            for name, values in zip(SHARED, (own["scale"], sd[:n], own["shift"], sd[n:], record["population_share"]),
                                    strict=True):  # fmt: skip
                columns[name] += [float(value) for value in values]
        for name, values in columns.items():
            table[name] = values

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        nan = float("nan")
        for k, (name, record) in enumerate(zip(self.names, self.records, strict=True)):
            status, seconds = STATUS[self.status[k]], float(self.seconds[k])
            if "codes" not in record:
                yield (
                    name, status, "-", "-", 0, *([nan] * 8), "-", "-", "-", nan, nan, nan, 0, seconds,
                    record["error"],
                )  # fmt: skip
                continue
            covariance = np.array(record["covariance"])
            n = len(record["codes"])
            sd = np.sqrt(np.diag(covariance))
            for i, code in enumerate(record["codes"]):
                yield (
                    name, status, code, record["reference"], record["points"][i], record["scale"][i], sd[i],
                    record["shift"][i], sd[n + i], covariance[i, n + i], record["syserr"][i], record["errscale"][i],
                    _float(record["tied"][i]), record["unit"] or "-", record["kernel"], record["sampler"],
                    record["ess"], _float(record["khat"]), _float(record["log_evidence"]), record["outliers"], seconds,
                    " ".join(record["warnings"]) or "-",
                )  # fmt: skip


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _kind(text: str) -> str:
    """A warning without its numbers and names, so that the same warnings of many sources are counted together."""
    words = [w for w in text.split() if not any(c.isdigit() for c in w)]
    return " ".join(words[:9]) + " ..."
