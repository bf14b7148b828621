"""The verb of the part: light curves in, factors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from numpy.typing import ArrayLike

from crosscal.core.keywords import check_keywords, keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.lightcurves.automatic import choose
from crosscal.lightcurves.kernels.base import Variability
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.physical import Factors
from crosscal.lightcurves.reading import read
from crosscal.lightcurves.result import Intercalibration
from crosscal.lightcurves.sampling import Draws, draw
from crosscal.lightcurves.settings import Range, Settings
from crosscal.lightcurves.student import draw_student
from crosscal.lightcurves.types import LightCurves


@keywords
def intercalibrate(
    curves: LightCurves | Mapping[str, tuple[ArrayLike, ...]] | Any,
    *,
    settings: Settings | None = None,
    reference: str | None = None,
    kernel: str | Variability | None = None,
    systematic_error: bool | str | None = None,
    error_scale: bool | None = None,
    errors: str | None = None,
    degrees: float | None = None,
    fixed_scale: bool | None = None,
    fixed_shift: bool | None = None,
    fixed_codes: tuple[str, ...] | None = None,
    fixed_scale_codes: tuple[str, ...] | None = None,
    normalisation: str | Normalisation | None = None,
    scale: Range | None = None,
    shift: Range | None = None,
    syserr: Range | None = None,
    errscale: Range | None = None,
    sigma: Range | None = None,
    tau: Range | None = None,
    sampler: str = "auto",
    draws: int | None = None,
    warmup: int | None = None,
    chains: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    sampler_options: dict[str, Any] | None = None,
) -> Intercalibration:
    """Bring light curves of one source to the flux scale of one telescope.

    Calibrated flux = phi f - G (continuum) and phi f (lines), with phi and G per telescope, a common process per
    file, and optional systematic errors and error scales (`Settings`).

    Parameters
    ----------
    curves : LightCurves, mapping of code to (time, flux, error), or what :func:`crosscal.lightcurves.read` takes
        What one of the readers gives; a table or time series in memory with a column that names the telescope; a
        mapping or list of them, or of files, one for each telescope.
    settings : Settings, optional
        All choices about the model together.
    reference, kernel, systematic_error, error_scale, errors, degrees, fixed_scale, fixed_shift, fixed_codes,
    fixed_scale_codes, normalisation, scale, shift, syserr, errscale, sigma, tau : optional
        One by one, in place of those of the settings; see `Settings`. ``normalisation`` may be an object that gives
        the divisors themselves.
    sampler : "auto", "importance", "laplace", "nuts" or "nested"
        Student-t errors are always sampled by Gibbs steps.
    draws : int, optional
        Posterior draws asked for, of all chains together; 4000 by default, 1000 above 20000 points.
    warmup, chains : int, optional
        Draws discarded before those of each chain, and number of chains: 500 and 4 by default. Only NUTS and Student-t
        errors have them; with "auto" they ask for NUTS.
    sampler_options : dict, optional
        Passed on to the sampler.

    Raises
    ------
    InputError, UnknownNameError, FitError

    Examples
    --------
    >>> result = intercalibrate(curves, kernel="drw", systematic_error=True)    # doctest: +SKIP
    >>> result.summary()                                                       # doctest: +SKIP
    """
    given = {
        "reference": reference, "kernel": kernel, "systematic_error": systematic_error, "error_scale": error_scale,
        "errors": errors, "degrees": degrees, "fixed_scale": fixed_scale, "fixed_shift": fixed_shift,
        "fixed_codes": fixed_codes, "fixed_scale_codes": fixed_scale_codes, "scale": scale, "shift": shift,
        "syserr": syserr, "errscale": errscale, "sigma": sigma, "tau": tau,
        "normalisation": normalisation if isinstance(normalisation, str) else None,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    chosen = replace(settings or Settings(), **changes)
    curves = _light_curves(curves)
    ordered = curves.reordered(chosen.reference) if chosen.reference is not None else curves
    norm = normalisation if isinstance(normalisation, Normalisation) else None
    decided = choose(ordered, chosen, normalisation=norm, seed=seed, progress=progress)
    model = Model(ordered, decided.settings, normalisation=norm)
    route, options = with_chains(sampler, warmup, chains, sampler_options)
    found = draw_posterior(model, route, draws=draws, seed=seed, progress=progress, options=options)
    return assemble(ordered, found, seed, decided.sentences)


def _light_curves(curves: Any) -> LightCurves:
    """Light curves as they are, of arrays, or read from tables in memory and files."""
    of_arrays = isinstance(curves, Mapping) and all(isinstance(v, list | tuple) for v in curves.values())
    if isinstance(curves, LightCurves) or of_arrays:
        return LightCurves.of(curves)
    return read(curves)


def with_chains(
    sampler: str, warmup: int | None, chains: int | None, options: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the sampler and its options; "auto" becomes NUTS where warm-up or chains are asked for."""
    asked = {name: value for name, value in (("warmup", warmup), ("chains", chains)) if value is not None}
    return "nuts" if asked and sampler == "auto" else sampler, {**asked, **(options or {})}


def draw_posterior(
    model: Model, sampler: str, *, draws: int | None, seed: int, progress: Progress, options: dict[str, Any] | None
) -> Draws:
    """Draw from the posterior of a model by the sampler that suits its errors."""
    if model.settings.errors == "student-t":
        check_keywords(draw_student, options or {}, where="sampler of Student-t errors")
        return draw_student(model, draws=draws, seed=seed, progress=progress, **(options or {}))
    return draw(model, route=sampler, draws=draws, seed=seed, progress=progress, **(options or {}))


def assemble(curves: LightCurves, found: Draws, seed: int, choices: tuple[str, ...] = ()) -> Intercalibration:
    """Make the result of draws: factors in physical units, and where they come from."""
    settings = found.model.settings
    config = {
        "part": "lightcurves",
        "files": {curve.name: len(curve) for curve in curves.files},
        "reference": curves.codes[0],
        "settings": {f.name: _plain(getattr(settings, f.name)) for f in fields(settings)},
        "sampler": found.posterior.method,
        "draws": len(found.vectors),
        "choices": list(choices),
    }
    factors = Factors.of(found.model, found.vectors, found.means)
    return Intercalibration(curves, found, factors, seed, record(config=config, seed=seed), choices=choices)


def _plain(value: Any) -> Any:
    return type(value).__name__ if isinstance(value, Variability) else value
