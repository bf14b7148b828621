"""The job file of the part: strict tables that become objects here."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from crosscal.config import JobModel, StrictModel
from crosscal.core.errors import InputError
from crosscal.datasets import resolve, search_path
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.quality import Limits
from crosscal.fluxcal.stars.catalogue import MISSING
from crosscal.fluxcal.stars.extinction import SF11


def expand(value: Any) -> Any:
    """File names of patterns ("frames/*.fits", "data:fluxcal/ozdes_red/red*"), sorted; plain names as they are."""
    if isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, Sequence):
        return value
    found: list[str] = []
    for item in value:
        text = str(item)
        if not any(c in text for c in "*?["):
            found.append(text)
            continue
        if text.startswith("data:"):
            name = text.removeprefix("data:")
            matches = next((m for d in search_path().values() if (m := sorted(glob.glob(str(d / name))))), [])
        else:
            matches = sorted(glob.glob(text))
        if not matches:
            raise ValueError(f"no file matches {text!r}")
        found += matches
    return found


Files = Annotated[tuple[Path, ...], BeforeValidator(expand), PlainSerializer(lambda paths: [str(p) for p in paths])]


class DataTable(StrictModel):
    """Frames and how to read them."""

    frames: Files
    exposure: float | None = None
    airmass: float | None = None
    medium: Literal["air", "vacuum"] | None = None
    wavela: Literal["rebuild", "refuse", "trust"] = "rebuild"
    targets: float = 0.0

    @model_validator(mode="after")
    def _some(self) -> DataTable:
        if not self.frames:
            raise ValueError("no frame")
        if not 0 <= self.targets < 1:
            raise ValueError("targets is the fraction of standards to retype, 0 <= targets < 1")
        return self


class CatalogueTable(StrictModel):
    """Photometry of the standards."""

    path: Path
    bands: dict[str, str]
    errors: dict[str, str] = Field(default_factory=dict)
    error: float = 0.02
    columns: dict[str, str] = Field(default_factory=dict)
    system: Literal["AB", "Vega"] | dict[str, Literal["AB", "Vega"]] | None = None
    missing: tuple[float, ...] = MISSING
    epoch: float | None = None
    dust_map: Files = ()
    dust_factor: float = Field(default=SF11, gt=0)


class FilterTable(StrictModel):
    """Filter curves from files; bands that are not among them are asked of speclite."""

    files: Files = ()


class TemplateTable(StrictModel):
    """Template library: a name, or the table of a grid directory."""

    library: str = "kurucz-sdss"
    file: Path | None = None
    refine: bool = True


class KnownTable(StrictModel):
    """A star whose spectrum is known (CALSPEC)."""

    star: str
    path: Path


class MethodTable(StrictModel):
    """All choices of :class:`Options`, with the same names."""

    match: str = "position"
    radius: float = 1.5
    snr_floor: float = 3.0
    fwhm: float | tuple[tuple[float, float], ...] | None = None
    metric: str = "chi2"
    continuum_terms: int = 0
    second_terms: int = Options.second_terms
    template_error: float = Options.template_error
    mag_floor: float = Options.mag_floor
    photometric_weight: float = Options.photometric_weight
    coverage: float = Options.coverage
    rv_limit: float = Options.rv_limit
    rv_spread: float = Options.rv_spread
    rv_required: bool = Options.rv_required
    ebv: float = 0.0
    law: str = Options.law
    colour_limit: float = Options.colour_limit
    method: str = Options.method
    smooth: str = Options.smooth
    smooth_scale: float = Options.smooth_scale
    n_sigma: float = Options.n_sigma
    slope_order: int = Options.slope_order
    position: bool = Options.position
    position_sd: float = Options.position_sd
    position_grey_sd: float = Options.position_grey_sd
    position_scale: float = Options.position_scale
    position_shared: bool = Options.position_shared
    position_gradient: tuple[float, float] = Options.position_gradient
    common_grey: float = Options.common_grey
    common_slope: float = Options.common_slope
    extinction_table: Path | None = None
    mask: tuple[tuple[float, float], ...] = Options.mask
    grey_sigma: float = Options.grey_sigma
    slope_sigma: float = Options.slope_sigma

    def options(self) -> Options:
        """Return the options; reads the site's extinction table if one is named."""
        from crosscal.fluxcal.stars.sites import read_site

        fields = self.model_dump(exclude={"extinction_table"})
        site = read_site(resolve(self.extinction_table)) if self.extinction_table else None
        return Options(**{**fields, "site": site, "mask": tuple(tuple(m) for m in fields["mask"])})

    @model_validator(mode="after")
    def _possible(self) -> MethodTable:
        try:
            Options(**self.model_dump(exclude={"extinction_table"}))
        except InputError as error:
            raise ValueError(f"{error.what}; expected {error.expected}") from error
        return self


class GateTable(StrictModel):
    """Limits of the quality gates, as in :class:`Limits`."""

    min_stars: int = Limits.min_stars
    matched_fraction: float = Limits.matched_fraction
    colour_residual: float = Limits.colour_residual
    rms: float = Limits.rms
    loo_grey: float = Limits.loo_grey
    loo_slope: float = Limits.loo_slope
    coverage: float = Limits.coverage

    def limits(self) -> Limits:
        """Return the limits."""
        return Limits(**self.model_dump())


class FluxcalJob(JobModel):
    """Flux calibration of one or more frames."""

    job: Literal["fluxcal"]
    data: DataTable
    catalogue: CatalogueTable
    filters: FilterTable = FilterTable()
    templates: TemplateTable = TemplateTable()
    known: tuple[KnownTable, ...] = ()
    method: MethodTable = MethodTable()
    quality: GateTable = GateTable()
    fallback: bool = True
    leave_one_out: bool = True

    inputs: ClassVar[tuple[str, ...]] = (
        "data.frames",
        "catalogue.path",
        "catalogue.dust_map",
        "filters.files",
        "templates.file",
        "method.extinction_table",
        "known.path",
    )
