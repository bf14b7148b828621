"""A valid job of every part with its input files, and what a run does with the job before any long work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import corpus_concordance, corpus_fluxcal, corpus_lightcurves, corpus_xray


@dataclass(frozen=True)
class JobCase:
    """A part's job: ``content(directory)`` writes its inputs and returns the job; ``use(job)`` reads them."""

    part: str
    content: Callable[[Path], dict[str, Any]]
    use: Callable[[Any], object]
    tag: str = ""

    @property
    def id(self) -> str:
        """Name in test reports."""
        return f"{self.part}-{self.tag}" if self.tag else self.part


def _xray(directory: Path) -> dict[str, Any]:
    corpus_xray._observation(directory)
    corpus_xray._pairs(".ecsv")(directory)
    axis = {"min": -0.2, "max": 0.2, "n": 3}
    return {
        "job": "xray", "output": "run", "seed": 1,
        "telescope": {"name": "acis", "arf": "test.arf", "rmf": "test.rmf", "band": [0.7, 5.0]},
        "trusted": {"name": "pn", "arf": "test.arf", "rmf": "test.rmf"},
        "model": {"expression": "TBabs*apec", "nH": 0.05, "Redshift": 0.05, "abundances": "angr"},
        "library": {
            "modifier": {"name": "gaussian", "convention": "standard"}, "A": axis, "mu": [1.0, 2.0], "sigma": [0.5],
            "kT": {"min": 1.0, "max": 15.0, "n": 4, "scale": "log"}, "counts": 5e4, "free": ["kT", "norm"],
        },
        "emulator": {"kind": "auto", "validation": 10},
        "inference": {"pairs": "pairs.ecsv", "scatter": 0.03, "quantities": ["kT", "norm"], "tau": 0.05},
        "compute": {"executor": "local", "workers": 2},
    }  # fmt: skip


def _use_xray(job: Any) -> object:
    from crosscal.datasets import resolve
    from crosscal.xray.correction.pairs_io import read_pairs

    job.telescope.response()
    if job.trusted is not None:
        job.trusted.response()
    model = job.model.model().replace(free=job.library.free)
    pairs = None if job.inference.pairs is None else read_pairs(resolve(job.inference.pairs))
    return model, pairs, job.library.theta_design(job.seed), job.library.temperatures()


def _spectra(directory: Path) -> dict[str, Any]:
    corpus_xray._observations(directory)
    return {
        "job": "xray-spectra", "output": "run",
        "telescope": {"name": "acis", "arf": "test.arf", "rmf": "test.rmf"},
        "trusted": {"name": "pn", "arf": "test.arf", "rmf": "test.rmf"},
        "model": {"expression": "TBabs*powerlaw", "free": ["PhoIndex", "norm"]},
        "inference": {
            "observations": "observations.csv", "modifier": {"name": "spline", "knots": 4, "low": 0.7, "high": 5.0},
            "tau": 0.1, "draws": 100,
        },
    }  # fmt: skip


def _use_spectra(job: Any) -> object:
    from crosscal.datasets import resolve
    from crosscal.xray.correction.observations_io import read_observations

    model = job.model.model()
    modifier = job.inference.modifier.modifier()
    if job.inference.observations is None:
        return modifier
    return modifier, read_observations(resolve(job.inference.observations), model, band=job.telescope.band)


def _fit(directory: Path) -> dict[str, Any]:
    corpus_xray._observation(directory)
    return {
        "job": "xray-fit", "output": "run",
        "telescope": {"arf": "test.arf", "rmf": "test.rmf", "band": [0.6, 5.0]},
        "spectrum": {
            "pha": "test.pha", "background": "test.bkg", "statistic": "wstat", "grouping": "counts", "min_counts": 2,
        },
        "model": {"expression": "TBabs*powerlaw", "free": ["PhoIndex", "norm"]},
        "delta": 1.0,
    }  # fmt: skip


def _use_fit(job: Any) -> object:
    from crosscal.datasets import resolve
    from crosscal.xray.instrument.grouping import group
    from crosscal.xray.instrument.ogip_spectrum import read_spectrum

    response, plan = job.telescope.response(), job.spectrum
    spectrum = read_spectrum(resolve(plan.pha), None if plan.background is None else resolve(plan.background))
    spectrum.check_response(response)
    return job.model.model(), group(
        spectrum, response, job.telescope.band, method=plan.grouping, minimum=plan.min_counts
    )


def _concordance(directory: Path) -> dict[str, Any]:
    corpus_concordance._long(".csv")(directory)
    corpus_concordance._text("tau.csv", corpus_concordance.TAU)(directory)
    return {
        "job": "concordance", "output": "run", "seed": 2,
        "data": {
            "path": "table.csv", "instrument": ["instrument"], "source": "source", "flux": "flux", "error": "err",
            "band": "band", "time": "time", "select": {"time": {"min": 0.0}, "source": ["007", "b"]},
            "rename": {"pn": "XMM pn"}, "flux_unit": "erg / (s cm2)",
        },
        "prior": {"tau": {"XMM pn": 0.03, "MOS1": 0.05, "acis": 0.1}, "floor": 0.01, "names": {}, "mean": 0.0},
        "noise": {"kind": "log-normal", "variance": "quoted", "df": 1.5},
        "sampling": {"route": "auto", "draws": 100, "warmup": 50, "chains": 2},
        "checks": {"leave_one_out": False, "predictive": 10},
        "bands": {"soft": [0.5, 2.0]},
    }  # fmt: skip


def _use_concordance(job: Any) -> object:
    data = job.data.read()
    job.require_known(data)
    return job.prior.build(data, dict(job.bands))


def _lightcurves(directory: Path) -> dict[str, Any]:
    corpus_lightcurves._text("c.txt", corpus_lightcurves.BLOCKS)(directory)
    return {
        "job": "lightcurves", "output": "run",
        "data": {"continuum": "c.txt", "lines": ["c.txt"], "season_gap": 60.0, "unit": "mJy", "time_range": [0.0, 9.0]},
        "model": {"kernel": "drw", "reference": "A", "systematic_error": True, "fixed_codes": ["B"]},
        "prior": {"scale": [0.5, 2.0], "tau": [1.0, 1e4]},
        "sampling": {"sampler": "laplace", "draws": 200, "compare_kernels": ["drw"]},
    }  # fmt: skip


def _surveys(directory: Path) -> dict[str, Any]:
    corpus_lightcurves._text("old.csv", corpus_lightcurves._survey("OLD"))(directory)
    corpus_lightcurves._text("ztf.csv", corpus_lightcurves._survey("ZTF"))(directory)
    corpus_lightcurves._text("mine.txt", "2458021 2 0.1\n2458022 3 0.1\n2458023,4,0.1,x\n")(directory)
    return {
        "job": "lightcurves", "output": "run",
        "data": {
            "asassn": ["old.csv"], "ztf": ["ztf.csv"], "columns": ["mine.txt"], "column_codes": ["mine"],
            "selection": {"zeropoint": {"V": 3.6e-9}, "rebin": 1.0, "errlimit": 0.5, "unit": 1e-15, "codes": []},
            "season_edges": [2458025.0],
        },
    }  # fmt: skip


def _survey(directory: Path) -> dict[str, Any]:
    points = "mjd,flux,error,telescope\n1,2,0.1,A\n2,2.1,0.1,B\n3,2.2,0.1,A\n"
    corpus_lightcurves._text("a.csv", points)(directory)
    corpus_lightcurves._text("sources.csv", "source,file\none,a.csv\ntwo,a.csv\n")(directory)
    return {
        "job": "lightcurves-survey", "output": "run",
        "data": {"sources": "sources.csv", "season_gap": 60.0, "unit": "mJy", "time_range": [0.0, 9.0]},
        "model": {"kernel": "auto", "reference": "A", "errors": "auto"},
        "prior": {"scale": [0.5, 2.0], "tau": [1.0, 1e4]},
        "sampling": {"sampler": "laplace", "draws": 200, "chunk": 5},
        "compute": {"executor": "local", "workers": 2},
        "results": {"curves": True, "worst": 2},
    }  # fmt: skip


def _use_survey(job: Any) -> object:
    return [source.curves(job.data.selection, job.data.unit) for source in job.data.listed()], job.settings()


def _use_lightcurves(job: Any) -> object:
    return job.data.read(job.model.reference), job.settings()


def _fluxcal(directory: Path) -> dict[str, Any]:
    corpus_fluxcal._frame(directory)
    corpus_fluxcal._catalogue(".csv")(directory)
    corpus_fluxcal._two_columns("filter.dat", 4200.0, 5300.0)(directory)
    corpus_fluxcal._two_columns("site.dat", 3000.0, 9000.0)(directory)
    return {
        "job": "fluxcal", "output": "run",
        "data": {"frames": ["0001red.fits"], "exposure": 1800.0, "airmass": 1.2, "wavela": "rebuild", "targets": 0.2},
        "catalogue": {"path": "stars.csv", "bands": {"filter": "g"}, "errors": {"filter": "g_err"}, "system": "AB"},
        "filters": {"files": ["filter.dat"]},
        "templates": {"library": "demo", "refine": False},
        "method": {
            "fwhm": 5.0, "ebv": 0.02, "mask": [[7585.0, 7710.0]], "extinction_table": "site.dat", "law": "odonnell94",
        },
        "quality": {"min_stars": 1, "rms": 0.3},
    }  # fmt: skip


def _use_fluxcal(job: Any) -> object:
    from crosscal.datasets import resolve
    from crosscal.fluxcal.job import read_stars, set_aside
    from crosscal.fluxcal.stars.filters import read_filter
    from crosscal.fluxcal.stars.template_files import LIBRARIES

    read_stars(job.catalogue)
    LIBRARIES.get(job.templates.library)
    assert job.method.site is None or job.method.site.name
    filters = [read_filter(resolve(path)) for path in job.filters.files]
    frames = [job.data.file(resolve(path)).read() for path in job.data.frames]
    return filters, [set_aside(frame, job.data.targets, job.seed) for frame in frames]


CASES = [
    JobCase("xray", _xray, _use_xray),
    JobCase("xray-spectra", _spectra, _use_spectra),
    JobCase("xray-fit", _fit, _use_fit),
    JobCase("concordance", _concordance, _use_concordance),
    JobCase("lightcurves", _lightcurves, _use_lightcurves),
    JobCase("lightcurves", _surveys, _use_lightcurves, "surveys"),
    JobCase("lightcurves-survey", _survey, _use_survey),
    JobCase("fluxcal", _fluxcal, _use_fluxcal),
]
