"""The tables of the part's job files."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt
from pydantic import BeforeValidator

from crosscal.core.errors import ConfigError
from crosscal.core.options import Positive, option, options
from crosscal.datasets import search_path
from crosscal.fluxcal.frames.source import FrameFile
from crosscal.fluxcal.night.exposures import exposures_of
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.quality import Limits
from crosscal.fluxcal.stars.catalogue import MISSING
from crosscal.fluxcal.stars.extinction import SF11
from crosscal.jobs.compute import Compute
from crosscal.jobs.options import Job

System = Literal["AB", "Vega"]


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


Files = Annotated[tuple[Path, ...], BeforeValidator(expand)]


@options
class Data:
    """The frames and how to read them.

    Attributes
    ----------
    frames : list of paths
        Frames of 2dfdr, KSPECDR, DESI, PFS, PypeIt or SDSS; patterns such as "night/*red.fits" work.
    exposure : float
        Exposure time in seconds, if the header does not give it.
    airmass : float
        Airmass; overrides the header.
    medium : str
        Wavelengths in "air" or "vacuum"; overrides the header.
    wavela : str
        Treatment of a scrunched frame whose WAVELA is not up to date.
    layout : str
        Layout of the files, see `crosscal list frame-layouts`; by default it is recognised.
    targets : float
        Fraction of the standards to hold out, calibrate as targets and compare with the catalogue.
    arms : list of str
        Patterns of the names of the frames of each arm, in the order of their wavelengths; what * stands for names the
        exposure, whose arms are calibrated together (`calibrate_arms`). By default each frame is calibrated alone.
    """

    frames: Files = option(example=["red_0027.fits"])
    exposure: Positive | None = option(default=None, example=1800.0)
    airmass: Annotated[float, Ge(1)] | None = option(default=None, example=1.2)
    medium: Literal["air", "vacuum"] | None = None
    wavela: Literal["rebuild", "refuse", "trust"] = "rebuild"
    layout: str | None = option(default=None, example="desi")
    targets: Annotated[float, Ge(0), Lt(1)] = 0.0
    arms: tuple[str, ...] = option(default=(), example=["frame-b0-*.fits", "frame-r0-*.fits", "frame-z0-*.fits"])

    def __post_init__(self) -> None:
        if not self.frames:
            raise ConfigError("no frame", where="frames", expected="at least one")
        name, n = Counter(p.name.split(".fits")[0] for p in self.frames).most_common(1)[0]
        if n > 1:
            raise ConfigError(f"{n} frames are called {name!r}", where="frames", expected="names that differ")
        self.exposures()

    def exposures(self) -> list[tuple[int, ...]]:
        """Numbers of the frames that are calibrated together."""
        return exposures_of([p.name for p in self.frames], self.arms)

    def file(self, path: Path) -> FrameFile:
        """How a frame is read."""
        return FrameFile(path, self.exposure, self.airmass, self.medium, self.wavela, layout=self.layout)


@options
class CatalogueTable:
    """Photometry of the standard stars.

    Attributes
    ----------
    path : Path
        CSV, ECSV, FITS or VOTable; positions in degrees.
    bands : table
        Map from filters to columns of magnitudes.
    errors : table
        Map from filters to columns of errors.
    error : float
        Error of magnitudes without a quoted error, mag.
    columns : table
        Columns of name, ra, dec, pm_ra, pm_dec (mas/yr) and ebv; common names and known surveys are recognised.
    system : str or table
        "AB" or "Vega", for all filters or filter by filter; by default the system of each filter.
    missing : list of float
        Values that mark missing magnitudes, in addition to magnitudes outside -5 to 40 and errors of 5 or more.
    epoch : float
        Epoch of the positions, for proper motions; by default that of the survey, or 2000.
    dust_map : list of paths
        Maps of E(B-V) for stars without one in the catalogue.
    dust_factor : float
        Factor applied to the maps (Schlafly & Finkbeiner 2011).
    xp : list of paths
        Gaia XP spectra (XP_SAMPLED, or GaiaXPy's calibrate) of stars named by their source_id.
    """

    path: Path = option(example="stars.csv")
    bands: dict[str, str] = option(example={"decam2014-g": "mag_g", "decam2014-r": "mag_r"})
    errors: dict[str, str] = option(factory=dict, example={"decam2014-g": "err_g"})
    error: Positive = 0.02
    columns: dict[str, str] = option(factory=dict, example={"name": "ID", "ra": "RA", "dec": "DEC", "ebv": "EBV"})
    system: System | dict[str, System] | None = option(default=None, example="AB")
    missing: tuple[float, ...] = MISSING
    epoch: float | None = option(default=None, example=2000.0)
    dust_map: Files = option(default=(), example=["SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits"])
    dust_factor: Positive = SF11
    xp: Files = option(default=(), example=["XP_SAMPLED.csv"])


@options
class Filters:
    """Filter curves from files.

    Attributes
    ----------
    files : list of paths
        Files with two columns; the band has the name of the file. Other bands come from speclite.
    """

    files: Files = option(default=(), example=["filters/DES_g.dat"])


@options
class Templates:
    """The template library.

    Attributes
    ----------
    library : str
        See `crosscal list templates`.
    file : Path
        The published file, or the table of a grid (grid.ecsv).
    refine : bool
        Refine the grid by interpolation.
    correct : bool
        Correct the templates for their mean difference from measured stars, where it is known.
    """

    library: str = option(default="kurucz-sdss", shown=True)
    file: Path | None = option(default=None, example="grid/grid.ecsv")
    refine: bool = True
    correct: bool = True


@options
class Known:
    """A standard star with a known spectrum.

    Attributes
    ----------
    star : str
        Its name in the catalogue.
    path : Path
        Its spectrum (CALSPEC).
    """

    star: str = option(example="BD+17 4708")
    path: Path = option(example="bd_17d4708_stisnic_007.fits")


@options
class FrameCompute(Compute):
    """Where frames are calibrated; the remaining keys are the executor's options, such as workers.

    Attributes
    ----------
    executor : str
        See `crosscal list executors`; "serial" makes each frame a stage; any other makes all frames one stage,
        which resumes with the frames that are missing. If only workers are given, they are local processes.
    """

    executor: str = option(default="serial", shown=True)

    def __post_init__(self) -> None:
        if self.executor == "serial" and "workers" in self.rest:
            object.__setattr__(self, "executor", "local")
        Compute.__post_init__(self)


@options
class FluxcalJob(Job):
    """Flux calibration of fibre spectra from standard stars: counts to 1e-17 erg/s/cm2/Angstrom.

    Attributes
    ----------
    fallback : bool
        Calibrate frames that fail with the curves of neighbouring frames of the run.
    leave_one_out : bool
        Hold out each star in turn and compare it with the catalogue.

    Examples
    --------
    >>> run = crosscal.run("job.toml")  # doctest: +SKIP
    """

    job: Literal["fluxcal"] = "fluxcal"
    fallback: bool = True
    leave_one_out: bool = True
    data: Data
    catalogue: CatalogueTable
    filters: Filters = Filters()
    templates: Templates = Templates()
    known: tuple[Known, ...] = ()
    method: Options = Options()
    quality: Limits = Limits()
    compute: FrameCompute = FrameCompute()

    def __post_init__(self) -> None:
        if self.data.arms and self.method.position is True:
            raise ConfigError("position = true", where="method", expected='false or "auto" with data.arms')
        if self.data.arms and self.method.method != "throughput":
            raise ConfigError(
                f"method = {self.method.method!r}", where="method", expected='"throughput" with data.arms'
            )

    inputs: ClassVar[tuple[str, ...]] = (
        "data.frames",
        "catalogue.path",
        "catalogue.dust_map",
        "catalogue.xp",
        "filters.files",
        "templates.file",
        "method.extinction_table",
        "known.path",
    )
