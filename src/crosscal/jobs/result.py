"""What every result offers, stated once: mypy holds the classes of all parts to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.display import answer_html, by_answer
from crosscal.core.registry import Registry
from crosscal.inference.posterior import Posterior

#: What draws the results of each kind: ``figures(result) -> {name: matplotlib Figure}``, the first one for the answer.
FIGURES = Registry(
    "kind of figures",
    {
        "xray-fit": "crosscal.xray.figures.results:fit_figures",
        "xray-correction": "crosscal.xray.figures.results:result_figures",
        "xray": "crosscal.xray.figures.results:outcome_figures",
        "concordance": "crosscal.concordance.figures:figures",
        "lightcurves": "crosscal.lightcurves.figures:figures",
        "lightcurves-survey": "crosscal.lightcurves.survey.figures:figures",
        "fluxcal": "crosscal.fluxcal.figures:figures",
        "fluxcal-night": "crosscal.fluxcal.figures:night_figures",
    },
)
#: The sentences under them: ``captions(result) -> {name: sentence}``.
CAPTIONS = Registry(
    "kind of captions",
    {
        "xray-fit": "crosscal.xray.figures.results:captions",
        "xray-correction": "crosscal.xray.figures.results:captions",
        "xray": "crosscal.xray.figures.results:captions",
        "concordance": "crosscal.concordance.figures:captions",
        "lightcurves": "crosscal.lightcurves.figures:captions",
        "lightcurves-survey": "crosscal.lightcurves.survey.figures:captions",
        "fluxcal": "crosscal.fluxcal.figures:captions",
        "fluxcal-night": "crosscal.fluxcal.figures:captions",
    },
)
#: What writes the files that only results of a kind have: ``write(result, directory)``; the common ones stand already.
PRODUCTS = Registry(
    "kind of products",
    {
        "common": "crosscal.jobs.products:write_common",
        "xray-fit": "crosscal.jobs.products:nothing_more",
        "xray-correction": "crosscal.xray.products:write_correction_tables",
        "xray": "crosscal.xray.products:write_outcome",
        "xray-arfs": "crosscal.xray.products:write_corrected",
        "concordance": "crosscal.concordance.products:write",
        "lightcurves": "crosscal.lightcurves.products:write",
        "lightcurves-survey": "crosscal.lightcurves.survey.products:write",
        "fluxcal": "crosscal.fluxcal.products:write",
        "fluxcal-night": "crosscal.fluxcal.products:write_night",
    },
)


class JobResult(Protocol):
    """The members of every result."""

    @property
    def kind(self) -> str:
        """The key of its figures, captions and files in the registries of this module."""
        ...

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting it, one sentence each."""
        ...

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was checked: name, passed, why."""
        ...

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        ...

    @property
    def diagnostics(self) -> object:
        """What to trust and what not; its text is words and numbers."""
        ...

    @property
    def posterior_draws(self) -> Posterior:
        """The draws with their method, evidence and messages.

        Raises
        ------
        FitError
            If the data gave none.
        """
        ...

    @property
    def posterior(self) -> Any:
        """The draws as an xarray DataTree (arviz)."""
        ...

    @property
    def correction(self) -> Correction | None:
        """What to multiply by, with its covariance; None where the job corrects nothing.

        Raises
        ------
        FitError
            If the data gave none.
        """
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the result comes from."""
        ...

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of what to cite (`crosscal.report.citations`)."""
        ...

    @property
    def captions(self) -> Mapping[str, str]:
        """One sentence for each figure."""
        ...

    def summary(self) -> Any:
        """Return the numbers as an astropy QTable."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """Return matplotlib figures by name, in the order in which they should be seen."""
        ...

    def write(self, directory: str | os.PathLike[str]) -> Path:
        """Write tables, draws, correction and diagnostics into a directory and return it."""
        ...


class Presented:
    """Base of results: figures, captions and files come from the part's registered functions.

    A result names its ``kind``, the key in `FIGURES`, `CAPTIONS` and `PRODUCTS`; so results import nothing that draws
    or writes.
    """

    kind: ClassVar[str]
    posterior_draws: Any

    __repr__ = by_answer
    _repr_html_ = answer_html

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was checked: name, passed, why."""
        return ()

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def posterior(self) -> Any:
        """The draws as an xarray DataTree (arviz)."""
        return self.posterior_draws.tree

    @property
    def captions(self) -> dict[str, str]:
        """One sentence for each figure."""
        return dict(CAPTIONS.get(self.kind)(self))

    def figures(self) -> dict[str, Any]:
        """Return matplotlib figures by name, the one that goes with the answer first."""
        return dict(FIGURES.get(self.kind)(self))

    def write(self, directory: str | os.PathLike[str]) -> Path:
        """Write tables (ECSV), draws and correction (netCDF) and diagnostics into a directory and return it.

        Raises
        ------
        DataFileError
            If something cannot be written.
        """
        target = Path(directory)
        PRODUCTS.get("common")(self, target)
        PRODUCTS.get(self.kind)(self, target)
        return target
