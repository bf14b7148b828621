"""Drop-in for the flux-calibration stage of KSPECDR: same arguments, same file in place.

from crosscal.fluxcal.kspecdr import apply_fluxcal
apply_fluxcal("night/0027red.fits", {"CALIBFLUX": True, "CALIBFLUX_CATALOG": "stars.csv"})
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import ConfigError, CrossCalError, UnknownNameError
from crosscal.core.files import existing_file, refuse_overwriting
from crosscal.core.reading import parsing
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.frames.red import mark_failed
from crosscal.fluxcal.frames.source import FrameFile
from crosscal.fluxcal.night.shared import is_shared, share_plate
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.stars.catalogue import guess_bands, guess_errors, read_catalogue
from crosscal.fluxcal.stars.filters import load_filters
from crosscal.fluxcal.stars.template_files import load_templates

#: KSPECDR's runtime arguments, and further ones of CrossCal, with their defaults.
ARGUMENTS: Mapping[str, Any] = {
    "CALIBFLUX": False,
    "CALIBFLUX_CATALOG": "",
    "CALIBFLUX_FWHM": None,
    "CALIBFLUX_METRIC": "chi2",
    "CALIBFLUX_SMOOTH": False,
    "CALIBFLUX_TEMPLATES": "bosz",
    "CALIBFLUX_TEMPLATE_FILE": None,
    "CALIBFLUX_FILTERS": None,
    "CALIBFLUX_FILTER_DIR": None,
    "CALIBFLUX_BANDS": None,
    "CALIBFLUX_COLUMNS": None,
    "CALIBFLUX_SYSTEM": None,
    "CALIBFLUX_EBV": 0.0,
    "CALIBFLUX_REDDENING": "fit",
    "CALIBFLUX_RADIUS": 1.5,
    "CALIBFLUX_MATCH": "position",
    "CALIBFLUX_POSITION": "auto",
    "CALIBFLUX_MASK": None,
    "CALIBFLUX_OUTPUT": None,
}

#: KSPECDR's resolution where neither its argument nor the header states one, Angstrom.
USUAL_FWHM = 3.0

#: Numbers of fibres (from 1) with the types that FIB<n> arguments give them.
Types = tuple[tuple[int, str], ...]

#: Bands looked for in a catalogue when none is named, by KSPECDR's names: those that it has columns of are used.
USUAL_BANDS = (
    "ps1_g", "ps1_r", "ps1_i", "ps1_z", "gaia_g", "gaia_bp", "gaia_rp", "2mass_j", "2mass_h", "2mass_k",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What happened to one file: ``calibrated`` or not, the written path if any, the reason or the answer in words."""

    path: Path
    output: Path | None
    calibrated: bool
    text: str


def apply_fluxcal(red_filename: str | os.PathLike[str], args: Mapping[str, Any]) -> Outcome:
    """Calibrate a RED file in place, as KSPECDR's stage of the same name does.

    Parameters
    ----------
    red_filename : path
        Replaced by the calibrated frame if all quality checks pass, unless CALIBFLUX_OUTPUT names another path.
    args : mapping
        Keys of :data:`ARGUMENTS`, and FIB<n>, the type of a fibre; others belong to other stages and are ignored,
        unless they start with CALIBFLUX.

    Returns
    -------
    Outcome
        With ``calibrated`` false the file is unchanged: CALIBFLUX was false, or the frame failed for the reason given
        (then CALIBFLUX_OUTPUT, if it names another path, is a copy with FLUXCAL = F and the reason).

    Raises
    ------
    UnknownNameError
        If a key starts with CALIBFLUX but is not known.
    InputError
        If catalogue, filters, templates or the frame cannot be used.

    Examples
    --------
    >>> fluxcal.apply_fluxcal("0027red.fits", {"CALIBFLUX": True, "CALIBFLUX_CATALOG": "stars.csv"})  # doctest: +SKIP
    """
    return _single(Path(red_filename), _arguments(args))


def calibrate_list(
    frames: Sequence[str | os.PathLike[str]],
    args: Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    each: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """Calibrate several frames into a directory (default: ``<name>_cal.fits`` beside each); inputs are not touched.

    A frame that cannot be read or fails is reported in its outcome and, where it can be read, copied with FLUXCAL=F and
    the reason. Neither stops the others. CALIBFLUX is assumed true. ``each`` is called with every outcome as soon
    as it is known.

    Raises
    ------
    ConfigError
        If two frames would be written to the same file.
    InputError
        If catalogue, filters or templates cannot be used, or an output would overwrite an input.
    """
    values = {**_arguments(args), "CALIBFLUX": True}
    paths = [Path(f) for f in frames]
    targets = [(Path(output) if output else p.parent) / f"{p.name.split('.fits')[0]}_cal.fits" for p in paths]
    if len(set(targets)) != len(targets):
        raise ConfigError(
            "two frames have the same name", where="frames", expected="different names, or other directories"
        )
    named = [values[key] for key in ("CALIBFLUX_CATALOG", "CALIBFLUX_TEMPLATE_FILE") if values[key]]
    refuse_overwriting(targets, [*paths, *named])
    calibrator = _calibrator(values)
    pooled = is_shared(calibrator.options)
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if each is not None:
            each(outcome)

    def attempt(work: Callable[[], FluxCalibration | Outcome], path: Path) -> FluxCalibration | Outcome:
        try:
            return work()
        except CrossCalError as error:
            return Outcome(path, None, False, str(error))

    found: list[FluxCalibration | Outcome] = []
    for path, target in zip(paths, targets, strict=True):
        if pooled:
            # Results wait in memory only where frames learn from one another.
            found.append(attempt(partial(_calibrated, path, calibrator, values["FIB"]), path))
        else:
            made = attempt(partial(_calibrate, path, target, calibrator, values["FIB"]), path)
            assert isinstance(made, Outcome)
            tell(made)
    shared = iter(share_plate(calibrator, [r for r in found if isinstance(r, FluxCalibration)]) if pooled else ())
    for made, path, target in zip(found, paths, targets, strict=False):
        done = (
            attempt(partial(_finish, next(shared), path, target), path) if isinstance(made, FluxCalibration) else made
        )
        assert isinstance(done, Outcome)
        tell(done)
    return outcomes


def _calibrated(path: Path, calibrator: Calibrator, types: Types) -> FluxCalibration:
    """A file's result before its stars are held out."""
    file = FrameFile(path, types=types)
    return calibrator.calibrate(file.read(), loo=False, file=file)


def _arguments(args: Mapping[str, Any]) -> dict[str, Any]:
    for key in args:
        if str(key).upper().startswith("CALIBFLUX") and str(key).upper() not in ARGUMENTS:
            raise UnknownNameError("argument", str(key), ARGUMENTS, where="fluxcal")
    given = {str(k).upper(): v for k, v in args.items()}
    types = {int(k[3:]): str(v).strip().upper()[:1] for k, v in given.items() if re.fullmatch(r"FIB\d+", k) and v}
    return {**{key: given.get(key, default) for key, default in ARGUMENTS.items()}, "FIB": tuple(sorted(types.items()))}


def _flag(value: Any, key: str) -> bool:
    """A truth value as runtime arguments give it (True, 1, "yes", "F", ...)."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"t", "true", "yes", "y", "1", "on"}:
            return True
        if word in {"f", "false", "no", "n", "0", "off", ""}:
            return False
        raise ConfigError(f"{key} = {value!r}", where="fluxcal", expected="true or false")
    return bool(value)


def read_mask(path: str | os.PathLike[str]) -> tuple[tuple[float, float], ...]:
    """Ranges (n of low, high), Angstrom in air, of a file in KSPECDR's form: two columns, # before comments.

    Raises
    ------
    DataFileError
        If it is absent, or a row is not two increasing numbers.
    """
    source = existing_file(path, what="mask")
    with parsing("not a mask", where=source, expected="two columns of numbers, low < high"):
        rows = np.loadtxt(source, usecols=(0, 1), ndmin=2)
        if rows.size == 0 or np.any(~(rows[:, 0] < rows[:, 1])):
            raise ValueError("low >= high, or no rows")
    return tuple((float(low), float(high)) for low, high in rows)


def _position(value: Any) -> bool | str:
    """True, false, or "auto"."""
    return "auto" if str(value).strip().lower() == "auto" else _flag(value, "CALIBFLUX_POSITION")


def _single(path: Path, values: Mapping[str, Any]) -> Outcome:
    if not _flag(values["CALIBFLUX"], "CALIBFLUX"):
        return Outcome(path, None, False, "CALIBFLUX is false: the file is left unchanged")
    existing_file(path, what="frame")
    target = Path(values["CALIBFLUX_OUTPUT"]) if values["CALIBFLUX_OUTPUT"] else path
    frame = FrameFile(path, types=values["FIB"]).read()
    stated = frame.header is not None and frame.header.get("SPECFWHM") is not None
    if values["CALIBFLUX_FWHM"] is None and not stated and frame.resolution is None:
        note = f"the file has no SPECFWHM: {USUAL_FWHM} Angstrom is assumed, as in KSPECDR"
        frame = replace(frame, resolution=USUAL_FWHM, notes=(*frame.notes, note))
    return _finish(_calibrator(values).calibrate(frame), path, target)


def _calibrate(path: Path, target: Path, calibrator: Calibrator, types: Types) -> Outcome:
    """Calibrate one file; on failure the file stays as it is, and a copy elsewhere says FLUXCAL = F and why."""
    return _finish(calibrator.calibrate(FrameFile(path, types=types).read()), path, target)


def _finish(result: FluxCalibration, path: Path, target: Path) -> Outcome:
    """Write a result, or say why not."""
    if not result.passed:
        reason = result.quality.reason or "no calibration curve"
        if target.resolve() == path.resolve():
            return Outcome(path, None, False, reason)
        mark_failed(path, target, reason)
        return Outcome(path, target, False, reason)
    result.apply().write(target)
    return Outcome(path, target, True, result.answer)


def _calibrator(values: Mapping[str, Any]) -> Calibrator:
    catalogue_path = values["CALIBFLUX_CATALOG"]
    if not catalogue_path:
        raise ConfigError("CALIBFLUX_CATALOG is empty", where="fluxcal", expected="the path of a photometric catalogue")
    directory = values["CALIBFLUX_FILTER_DIR"]
    bands = values["CALIBFLUX_BANDS"]
    if not bands:
        wanted = list(values["CALIBFLUX_FILTERS"] or USUAL_BANDS)
        bands = guess_bands(catalogue_path, wanted, some=not values["CALIBFLUX_FILTERS"])
    filters = load_filters(list(bands), directory=directory)
    errors = guess_errors(catalogue_path, bands)
    catalogue = read_catalogue(
        catalogue_path,
        bands=bands,
        errors=errors,
        columns=values["CALIBFLUX_COLUMNS"],
        system=values["CALIBFLUX_SYSTEM"] or None,
    )
    fwhm = values["CALIBFLUX_FWHM"]
    if fwhm is not None and not (np.isfinite(float(fwhm)) and float(fwhm) > 0):
        raise ConfigError(f"CALIBFLUX_FWHM = {fwhm}", where="fluxcal", expected="Angstrom > 0")
    choices: dict[str, Any] = {
        "fwhm": None if fwhm is None else float(fwhm),
        "metric": str(values["CALIBFLUX_METRIC"]).lower(),
        "smooth": "spline" if _flag(values["CALIBFLUX_SMOOTH"], "CALIBFLUX_SMOOTH") else "none",
        "ebv": float(values["CALIBFLUX_EBV"]),
        "reddening": str(values["CALIBFLUX_REDDENING"]).lower(),
        "radius": float(values["CALIBFLUX_RADIUS"]),
        "match": str(values["CALIBFLUX_MATCH"]),
        **({"mask": read_mask(values["CALIBFLUX_MASK"])} if values["CALIBFLUX_MASK"] else {}),
        "position": _position(values["CALIBFLUX_POSITION"]),
    }
    library = load_templates(values["CALIBFLUX_TEMPLATES"], values["CALIBFLUX_TEMPLATE_FILE"])
    return Calibrator(catalogue, library, filters, Options(**choices))
