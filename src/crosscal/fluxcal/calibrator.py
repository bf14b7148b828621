"""The verb: calibrate a frame from its standard stars."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.core.threads import one_thread
from crosscal.fluxcal.curve.arms import joined, split_curve, split_vector
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.loo import combine_with, curves_of_others, held_out
from crosscal.fluxcal.curve.outliers import odd_stars
from crosscal.fluxcal.curve.position import PlateTerm
from crosscal.fluxcal.curve.shared_plate import SharedPlate
from crosscal.fluxcal.curve.vectors import calibration_vector, first_throughput, with_dust_error
from crosscal.fluxcal.frames.reading import read_frame
from crosscal.fluxcal.frames.source import FrameFile, FrameInfo
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.quality import Limits, judge
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.stars.arm import Prepared, prepare
from crosscal.fluxcal.stars.catalogue import guess_bands, guess_errors, read_catalogue
from crosscal.fluxcal.stars.filters import load_filters
from crosscal.fluxcal.stars.fitting import fit_arms
from crosscal.fluxcal.stars.known import assumptions, known_star
from crosscal.fluxcal.stars.lsf import Resolution
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.stars.template_files import load_templates
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.stars.width import fit_width, told
from crosscal.fluxcal.stars.xp import XpSpectrum, anchored, read_xp, source_id
from crosscal.fluxcal.types import CalibrationVector, Catalogue, Frame, StarFit, StarStatus

#: Wavelength, flux [erg/s/cm2/A] and medium of a star whose spectrum is known (CALSPEC).
KnownSpectrum = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Fallback resolution in pixels where neither options nor header know it.
DEFAULT_FWHM_PIXELS = 3.4


class Calibrator:
    """Everything that frames share: library, filters, catalogue, options; remembers the library on each grid.

    Parameters
    ----------
    catalogue : Catalogue
    library : TemplateLibrary
    filters : sequence of Filter, one per band of the catalogue, in its order
    options : Options
    limits : Limits
    known : mapping of star name to (wavelength [A, vacuum], flux [erg/s/cm2/A]), optional
        Stars whose spectra are known (CALSPEC): no template is fitted to them.
    xp : mapping of source_id to XpSpectrum, optional
        Stars whose Gaia XP spectra set the broad shape of their templates, by the catalogue's names.

    Raises
    ------
    InputError
        If filters and bands do not correspond.

    Examples
    --------
    >>> calibrator = fluxcal.Calibrator(stars, library, filters, fluxcal.Options(fwhm=5.0, ebv=0.02))  # doctest: +SKIP
    >>> night = fluxcal.calibrate_frames(calibrator, frames)  # doctest: +SKIP
    """

    def __init__(
        self,
        catalogue: Catalogue,
        library: TemplateLibrary,
        filters: Sequence[Filter],
        options: Options | None = None,
        limits: Limits | None = None,
        known: Mapping[str, KnownSpectrum] | None = None,
        xp: Mapping[str, XpSpectrum] | None = None,
    ) -> None:
        names = tuple(f.name for f in filters)
        if names != tuple(catalogue.bands):
            raise InputError(
                f"filters {names}", where="calibration", expected=f"the catalogue's bands {catalogue.bands}"
            )
        self.catalogue, self.library, self.filters = catalogue, library, tuple(filters)
        self.options, self.limits = options or Options(), limits or Limits()
        self.known, self.xp = dict(known or {}), dict(xp or {})
        if self.xp and not any(source_id(n) in self.xp for n in catalogue.name):
            what = f"none of the {len(self.xp)} XP spectra belongs to a star of the catalogue"
            raise InputError(what, where="catalogue", expected="source_id as names")
        self._prepared: dict[tuple[Any, ...], Prepared] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the catalogue, and how many stars have XP spectra."""
        return assumptions(self.catalogue, self.options, self.xp)

    def fwhm(self, frame: Frame) -> Resolution:
        """Resolution of a frame in Angstrom: options, else SPECFWHM, else that of the file, else 3.4 pixels."""
        found = self._stated_fwhm(frame)
        return DEFAULT_FWHM_PIXELS * float(np.median(np.diff(frame.grid))) if found is None else found

    def _stated_fwhm(self, frame: Frame) -> Resolution | None:
        if self.options.fwhm is not None:
            return self.options.fwhm
        stated = frame.header.get("SPECFWHM") if frame.header is not None else None
        if stated is not None:
            if not float(stated) > 0:
                raise InputError(f"SPECFWHM = {stated}", where=frame.name, expected="Angstrom > 0")
            return float(stated)
        return frame.resolution

    def _measured(self, frame: Frame, stars: Sequence[StarFit]) -> Frame:
        """The frame with the resolution that its stars show, if neither options nor file state one."""
        if self._stated_fwhm(frame) is not None:
            return frame
        found = fit_width(frame, stars, self.library, self.catalogue, self.filters, self.options)
        if found is None:
            usual = self.fwhm(frame)
            note = f"FWHM {usual:.2f} Angstrom is assumed: neither the file nor the stars give the resolution; set fwhm"
            return replace(frame, notes=(*frame.notes, note))
        return replace(frame, resolution=found[0], notes=(*frame.notes, told(*found)))

    @one_thread
    def prepared(self, frame: Frame) -> Prepared:
        """The library on a frame's grid."""
        fwhm = self.fwhm(frame)
        key = (float(frame.wavelength.min()), float(frame.wavelength.max()), frame.medium, fwhm)
        if key not in self._prepared:
            if len(self._prepared) >= 4:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = prepare(self.library, frame, fwhm, reach=self.options.rv_limit + 300)
        return self._prepared[key]

    def calibrate(self, frame: Frame, *, loo: bool = True, file: FrameFile | None = None) -> FluxCalibration:
        """Calibrate one frame.

        A frame that cannot be calibrated (no standards, none usable) gives a result whose quality did not pass and that
        says why; it never raises for that. With ``file``, from which the frame was read, the result does not keep the
        spectra but reads them again where they are needed.

        Raises
        ------
        InputError
            If the frame is calibrated already or the library does not cover it.
        """
        if frame.calibrated:
            raise InputError("the frame is flux calibrated already", where=frame.name or "frame", expected="counts")
        covered = self.library.coverage(self.filters) >= self.options.coverage
        stars = select_standards(
            frame,
            self.catalogue,
            snr_floor=self.options.snr_floor,
            radius=self.options.radius,
            match=self.options.match,
            usable=covered,
        )
        return self.calibrated([frame], [stars], loo, files=[file])[0]

    @one_thread
    def calibrated(
        self, frames: Sequence[Frame], stars: Sequence[list[StarFit]], loo: bool, files: Sequence[FrameFile | None]
    ) -> list[FluxCalibration]:
        """Calibrate the arms of one exposure, whose selected stars correspond, with one fit and one combination."""
        vectors: list[CalibrationVector] = []
        curve: Curve | None = None
        if any(s.status == StarStatus.USED for s in stars[0]):
            frames, stars, vectors, curve = self._passes(frames, stars)
        return self._results(frames, stars, vectors, curve, loo, files=files)

    @one_thread
    def recombine(
        self,
        result: FluxCalibration,
        plate: SharedPlate,
        number: int,
        aside: Set[str] = frozenset(),
        *,
        loo: bool = True,
    ) -> FluxCalibration:
        """Combine the stars of a result again, under the field over the plate that frames share.

        Parameters
        ----------
        result : FluxCalibration, one of those that ``plate`` was fitted to
        plate : SharedPlate
        number : int
            Of the frame among them.
        aside : set of str
            Stars that the field must not know (those set aside as targets); a held-out star is another.
        loo : bool
        """
        field = plate.term(number, aside)
        if result.curve is None or field is None:
            return self.held_out(result) if loo else result
        frames = [result.frame]
        stars, vectors, curve = self._combine(frames, [list(result.stars)], field)
        made = self._results(frames, stars, vectors, curve, loo, lambda star: plate.term(number, aside | {star}))[0]
        return replace(made, info=result.info, loaded=result.loaded)

    @one_thread
    def held_out(self, result: FluxCalibration) -> FluxCalibration:
        """A result with its stars held out in turn."""
        made = self._results([result.frame], [list(result.stars)], list(result.vectors), result.curve, True)[0]
        return replace(made, info=result.info, loaded=result.loaded)

    def _results(
        self,
        frames: Sequence[Frame],
        stars: Sequence[list[StarFit]],
        vectors: list[CalibrationVector],
        curve: Curve | None,
        loo: bool,
        field: Callable[[str], PlateTerm | None] = lambda star: None,
        files: Sequence[FrameFile | None] = (None,),
    ) -> list[FluxCalibration]:
        """Hold out stars, judge, and put everything together for each arm."""
        starts = vectors[0].starts if vectors else (0,)
        held: list[Curve] = []
        if loo and curve is not None:
            held = curves_of_others(vectors, curve, self.options, frames[0].airmass, field)
        others = [split_curve(c, starts) for c in held]
        own_vectors = [split_vector(v) for v in vectors]
        curves = [None] * len(frames) if curve is None else split_curve(curve, starts)
        made = []
        for arm, (frame, own, own_curve, file) in enumerate(zip(frames, stars, curves, files, strict=True)):
            used = [s for s in own if s.status == StarStatus.USED]
            residuals = [
                held_out(frame, star, other[arm], self.catalogue, self.filters, self.options)
                for star, other in zip(used, others, strict=False)
            ]
            result = FluxCalibration(
                info=FrameInfo.of(frame, file),
                loaded=None if file else frame,
                stars=tuple(own),
                vectors=tuple(v[arm] for v in own_vectors),
                curve=own_curve,
                held_out=tuple(residuals),
                quality=judge(own, own_curve, residuals, self.limits),
                options=self.options,
                bands=tuple(self.catalogue.bands),
                template_library=self.library.name,
                notes=self.notes,
            )
            made.append(result)
        return made

    def _passes(
        self, frames: Sequence[Frame], stars: Sequence[list[StarFit]]
    ) -> tuple[list[Frame], list[list[StarFit]], list[CalibrationVector], Curve | None]:
        """First pass with free continua, second with the first throughput; then reject outliers."""
        prepared, free = [self.prepared(frame) for frame in frames], [None] * len(frames)
        fitted = self._fit(frames, stars, prepared, free)
        measured = [self._measured(frame, own) for frame, own in zip(frames, fitted, strict=True)]
        if any(new.resolution != old.resolution for new, old in zip(measured, frames, strict=True)):
            prepared = [self.prepared(frame) for frame in measured]
            fitted = self._fit(measured, stars, prepared, free)
        frames = measured
        fitted, vectors, curve = self._combine(frames, fitted)
        if self.options.second_terms and curve is not None and sum(v.good.any() for v in vectors) > 1:
            curves = split_curve(curve, vectors[0].starts)
            throughput = [first_throughput(f, c) for f, c in zip(frames, curves, strict=True)]
            again = [[replace(s, status=StarStatus.USED) if s.status in _RETRY else s for s in own] for own in fitted]
            fitted = self._fit(frames, again, prepared, throughput)
            fitted, vectors, curve = self._combine(frames, fitted)
        return frames, fitted, vectors, curve

    def _fit(
        self,
        frames: Sequence[Frame],
        stars: Sequence[list[StarFit]],
        prepared: Sequence[Prepared],
        throughput: Sequence[NDArray[np.float64] | None],
    ) -> list[list[StarFit]]:
        plain = [
            [
                replace(s, status=StarStatus.NO_SIGNAL) if s.name in self.known and s.status == StarStatus.USED else s
                for s in own
            ]
            for own in stars
        ]
        fitted = fit_arms(frames, plain, self.catalogue, self.filters, prepared, self.options, throughput)
        return [
            [self._known(frame, *pair) for pair in zip(before, after, strict=True)]
            for frame, before, after in zip(frames, stars, fitted, strict=True)
        ]

    def _known(self, frame: Frame, before: StarFit, after: StarFit) -> StarFit:
        """A star after its fit, with its known spectrum, or on that of Gaia."""
        if before.name in self.known and before.status == StarStatus.USED:
            return known_star(frame, before, *self.known[before.name], self.fwhm(frame))
        own = self.xp.get(source_id(after.name)) if after.status == StarStatus.USED else None
        return after if own is None else anchored(frame, after, own)

    def _combine(
        self, frames: Sequence[Frame], stars: Sequence[list[StarFit]], field: PlateTerm | None = None
    ) -> tuple[list[list[StarFit]], list[CalibrationVector], Curve | None]:
        arms = [list(own) for own in stars]

        def reject(k: int, status: StarStatus) -> None:
            for own in arms:
                own[k] = replace(own[k], status=status)

        for k, status in odd_stars(arms[0], self.options.grey_sigma).items():
            reject(k, status)
        index = [k for k, s in enumerate(arms[0]) if s.status == StarStatus.USED]
        vectors = [
            joined([calibration_vector(f, own[k], self.options) for f, own in zip(frames, arms, strict=True)])
            for k in index
        ]
        if not any(v.good.any() for v in vectors):
            return arms, [], None
        curve = combine_with(vectors, self.options, frames[0].airmass, field)
        curve = with_dust_error(curve, frames, [[own[k] for k in index] for own in arms])
        for number, why in zip(curve.rejected, curve.rejected_why, strict=True):
            reject(index[number], StarStatus.GREY_OUTLIER if why == "grey" else StarStatus.SLOPE_OUTLIER)
        return arms, [v for j, v in enumerate(vectors) if j not in curve.rejected], curve


_RETRY = {
    StarStatus.GREY_OUTLIER, StarStatus.SLOPE_OUTLIER, StarStatus.COLOUR_OUTLIER, StarStatus.TEMPLATE_OUTLIER,
    StarStatus.VELOCITY_OUTLIER,
}  # fmt: skip


@keywords
def calibrate(
    frame: Frame | str | os.PathLike[str],
    catalogue: Catalogue | str | os.PathLike[str] | Any,
    templates: TemplateLibrary | str | os.PathLike[str] = "kurucz-sdss",
    filters: Sequence[Filter | str] | None = None,
    *,
    fwhm: Any = None,
    ebv: float | None = None,
    reddening: str | None = None,
    metric: str | None = None,
    method: str | None = None,
    smooth: str | None = None,
    position: bool | str | None = None,
    mask: Sequence[tuple[float, float]] | None = None,
    options: Options | None = None,
    limits: Limits | None = None,
    known: Mapping[str, KnownSpectrum] | None = None,
    xp: str | os.PathLike[str] | None = None,
    filter_directory: str | os.PathLike[str] | None = None,
    loo: bool = True,
) -> FluxCalibration:
    """Calibrate a frame; names and paths become objects here.

    Parameters
    ----------
    frame : Frame or path
    catalogue : Catalogue, path or table in memory
        A file or table needs columns called like the filters, or those of a known survey (``read_catalogue`` for
        anything else).
    templates : TemplateLibrary or name or path of a grid
    filters : filters or names; needed with a file or table, else loaded by the catalogue's band names
    fwhm, ebv, reddening, metric, method, smooth, position, mask : optional
        The options that are most often needed, each as in `Options`.
    options : Options
        All others; the arguments above take precedence.
    limits : Limits
    known : mapping of star name to (wavelength, flux) of spectra known absolutely
    xp : path of Gaia XP spectra (XP_SAMPLED, or GaiaXPy's calibrate) of stars named by their source_id
    filter_directory : path, optional, with ``<name>.dat`` files
    loo : bool
        Hold out each star in turn.

    Raises
    ------
    InputError
        If frame, catalogue, templates or filters cannot be used. A frame that fails its checks raises no error.

    Examples
    --------
    >>> result = fluxcal.calibrate(frame, stars, "kurucz-sdss", filters, fwhm=5.0, ebv=0.02)  # doctest: +SKIP
    >>> print(result.answer)  # doctest: +SKIP
    """
    named = {
        "fwhm": fwhm, "ebv": ebv, "metric": metric, "method": method, "smooth": smooth, "position": position,
        "reddening": reddening, "mask": None if mask is None else tuple(mask),
    }  # fmt: skip
    chosen = replace(options or Options(), **{k: v for k, v in named.items() if v is not None})
    if not isinstance(catalogue, Catalogue):
        if not filters:
            raise InputError("a catalogue without filters", where="calibrate", expected="filters=[...]")
        loaded = load_filters(filters, directory=filter_directory)
        bands = guess_bands(catalogue, [f.name for f in loaded])
        catalogue = read_catalogue(catalogue, bands=bands, errors=guess_errors(catalogue, bands))
    else:
        loaded = load_filters(filters or catalogue.bands, directory=filter_directory)
    library = templates if isinstance(templates, TemplateLibrary) else load_templates(templates)
    target = frame if isinstance(frame, Frame) else read_frame(frame)
    spectra = read_xp(xp) if xp else None
    return Calibrator(catalogue, library, loaded, chosen, limits, known, spectra).calibrate(target, loo=loo)
