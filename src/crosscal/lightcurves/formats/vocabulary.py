"""What columns are called: time, flux, magnitude, errors, telescope and filter, with the units in their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.timesystem import TimeSystem

#: Names of columns that hold years, which are refused.
YEARS = ("year", "years", "decimal_year", "decyear", "jyear", "julian_year")
#: Names of time columns, and what the times count.
TIMES: dict[str, TimeSystem] = {
    **{k: TimeSystem("mjd") for k in ("mjd", "mjd_obs", "obsmjd", "obs_mjd", "mjdobs", "mid_mjd", "mjd_mid")},
    **{k: TimeSystem("mjd", scale="tai") for k in ("midpointmjdtai", "expmidptmjd", "mjd_tai")},
    "mjd_tt": TimeSystem("mjd", scale="tt"),
    "mjd_utc": TimeSystem("mjd", scale="utc"),
    "mjd_tdb": TimeSystem("mjd", scale="tdb"),
    **{k: TimeSystem("jd") for k in ("jd", "julian_date", "juliandate")},
    "jd_tt": TimeSystem("jd", scale="tt"),
    "jd_tdb": TimeSystem("jd", scale="tdb"),
    "jd_utc": TimeSystem("jd", scale="utc"),
    "hjd": TimeSystem("jd", frame="heliocentric"),
    **{k: TimeSystem("mjd", frame="heliocentric") for k in ("mhjd", "hmjd")},
    **{k: TimeSystem("jd", scale="tdb", frame="barycentric") for k in ("bjd", "bjd_tdb")},
    **{k: TimeSystem("mjd", scale="tdb", frame="barycentric") for k in ("mbjd", "bmjd")},
    "btjd": TimeSystem("jd", 2457000.0, "tdb", "barycentric"),
    "bkjd": TimeSystem("jd", 2454833.0, "tdb", "barycentric"),
    "rjd": TimeSystem("jd", 2400000.0),
    **{k: TimeSystem() for k in ("date_obs", "dateobs", "obs_date", "obsdate", "datetime", "utc", "ut_date")},
    **{k: TimeSystem() for k in YEARS},
    **{k: TimeSystem() for k in ("time", "t", "date", "epoch", "day", "days", "times", "obs_time", "obstime")},
}
#: "HJD-2450000", "JD - 2450000.0", "BJD_TDB-2457000", "HJD (2450000+)": all count from that number.
_OFFSET = re.compile(
    r"^(m?[hb]?jd|[hb]mjd)(?:[-_]?(?:tdb|utc|tt))?[\s(+\u2013\u2212-]*(\d{4,7}(?:[.-]\d+)?)\s*\+?\)?$",
    re.IGNORECASE,
)
#: A power of ten at the end of a key, "flux_1e_15", whose minus sign became an underscore.
_POWER = re.compile(r"_1e(_?)(\d{1,2})$")

_ERROR = re.compile(
    r"(^|_)(e|err|errs|error|errors|sigma|sig|sd|std|unc|uncert|uncertainty)(_|\d|$)|err|uncert|^d_?(mag|flux|m|f|ujy|mjy|jy)$|^rate(pos|neg)$"
)
_UPPER = re.compile(
    r"(_|err|error|^e|mag|flux|rate)(up|upper|hi|high|plus|pos|p|\+)(_|$)|^(up|upper|plus|pos)_|\+$|_1$"
)
_LOWER = re.compile(
    r"(_|err|error|^e|mag|flux|rate)(lo|low|lower|dn|down|minus|neg|m|-)(_|$)|^(lo|low|lower|minus|neg)_|-$|_2$"
)
_FLUX = re.compile(
    r"^(flux\w*|fluxes|f|f_?\d{3,5}|fnu|f_nu|flam|f_lam|flambda|f_lambda|ujy|mjy|njy|jy|n?mgy|nanomagg(y|ies)|maggies|(psf|model|fiber|ap|aper)flux|counts|count_rate|rate|\w+_flux|rel_flux_\w+)$"
)
_MAGNITUDE = re.compile(
    r"^(mag|mags|magnitude|magnitudes|m|[a-z]{1,4}_?mag|mag_?[a-z]{1,5}|mag_[a-z]+|[ugrizybvj]_?(ab|vega)|m_[a-z]{1,3}|vegamag|abmag|\w+_mag|mag_\w+)$"
)
_UNIT_WORDS = {
    "ujy": "uJy", "mjy": "mJy", "njy": "nJy", "jy": "Jy", "mag": "mag", "mmag": "mmag",
    **dict.fromkeys(("nmgy", "nanomaggy", "nanomaggies"), "nmgy"), **dict.fromkeys(("mgy", "maggies"), "mgy"),
}  # fmt: skip
#: Words in names of errors that name no quantity.
_ABOUT_ERRORS = re.compile(
    r"e|errs?|errors?|uncert(ainty)?|unc|sigma|sig|sd|std|\d|up|upper|hi|high|lo|low|lower|plus|minus|pos|neg|p|m|"
    r"stat(istical)?|rand(om)?|sys(t|tematic)?|tot(al)?|[umn]?jy|percent|pct|perc|rel|relative|frac|fractional"
)
_RANDOM = re.compile(r"(^|_)(stat(istical)?|rand(om)?)(_|err|$)|err_?stat$")
_SYSTEMATIC = re.compile(r"(^|_)(sys(t|tematic)?)(_|err|$)|err_?sys(t)?$")
_TOTAL = re.compile(r"(^|_)(tot(al)?|comb(ined)?)(_|err|$)|err_?tot(al)?$")
#: Quantities whose errors are none of the fluxes.
_OTHERS = re.compile(
    r"(t|time|times?|mjd|jd|ra|dec|de|ra\w*2000|de\w*2000|(ra|de)_?icrs|pos(ition)?|bkg\w*|bgd?|background|back|sky|"
    r"z|fwhm|seeing|exp(osure|time)?|x|y|airmass|phase|zp|zero_?point|magzp|index|photon_index|gamma|colou?r)"
)
TELESCOPES = (
    "telescope", "tel", "telid", "tel_id", "telescope_id", "site", "observatory", "facility", "instrument", "inst",
    "camera", "cam", "observer", "observer_code", "code", "station", "telname", "survey",
)  # fmt: skip
FILTERS = (
    "filter",
    "filt",
    "flt",
    "band",
    "filtercode",
    "fid",
    "filters",
    "bandpass",
    "passband",
    "phot_filter",
    "filtername",
    "filter_name",
)
#: Columns that say something about the quality of rows; they are told where they are not used.
_QUALITY = re.compile(
    r"flag|qual|reject|limit|blend|status|valid|warn|^(is_?)?(good|bad|used?|mask(ed)?|outlier|saturated|dubious|cloud(s|y)?)$"
)


def role_of(key: str) -> str | None:
    """Return what a column holds by its key: "time", "error", "flux", "magnitude", "telescope", "filter" or None."""
    if key in TIMES or _OFFSET.match(key.replace("_", "-")):
        return "time"
    if key in TELESCOPES:
        return "telescope"
    if key in FILTERS:
        return "filter"
    if _QUALITY.search(key):
        return "quality"
    if _ERROR.search(key):
        return "error"
    if _FLUX.match(key):
        return "flux"
    return "magnitude" if _MAGNITUDE.match(key) else None


def time_system(key: str, spelled: str) -> TimeSystem:
    """Return what a time column counts by its name ("HJD-2450000" counts from there)."""
    if key in TIMES:
        return TIMES[key]
    found = _OFFSET.match(spelled.strip().lower().replace("_", "-"))
    if not found:
        return TimeSystem()
    base = TIMES.get(found[1].lower(), TimeSystem())
    zero = float(found[2].replace("-", "."))
    # "MJD - 50000" and "JD - 2450000" alike: subtracted from what the name says.
    return TimeSystem(base.format, zero, base.scale, base.frame)


def unit_in(key: str) -> str:
    """Return the unit that is part of a name ("flux_mjy", "dujy", "err_percent", "rel_err"), or nothing."""
    words = key.split("_")
    last = words[-1]
    if {"percent", "pct", "perc", "%"} & set(words):
        return "%"
    if {"rel", "relative", "frac", "fractional"} & set(words):
        return "relative"
    if power := _POWER.search(key):
        return f"1e{'-' if power[1] else ''}{power[2]}"
    for word, unit in _UNIT_WORDS.items():
        if word != "mag" and (last == word or key in (word, f"d{word}")):
            return unit
    return ""


@dataclass(frozen=True)
class Roles:
    """The columns of a table by what they hold.

    Attributes
    ----------
    time : str
    value : str
        Flux or magnitude.
    errors : tuple of str
        One, or the upper and the lower one; none where the table gives no errors.
    is_magnitude : bool
    telescope, filter : str or None
    unused : tuple of str
        Columns on quality that are not used.
    """

    time: str
    value: str
    errors: tuple[str, ...]
    is_magnitude: bool
    telescope: str | None
    filter: str | None
    unused: tuple[str, ...]
    added: bool = False


def find_roles(keys: Iterable[str], source: str, chosen: Mapping[str, str], units: Mapping[str, str]) -> Roles:
    """Find out which column is which; ``chosen`` (role to key) goes first.

    Raises
    ------
    DataFileError
        If time or flux are not found, or several columns could be the flux.
    """
    known = list(keys)
    roles = {key: role_of(key) for key in known}
    by = {
        role: [k for k in known if roles[k] == role]
        for role in ("time", "flux", "magnitude", "error", "telescope", "filter")
    }
    for key, unit in units.items():  # the unit says more than the name
        if "mag" in unit.lower() and roles.get(key) == "flux":
            by["flux"].remove(key)
            by["magnitude"].append(key)
    times = (
        [chosen["time"]]
        if "time" in chosen
        else sorted(by["time"], key=lambda k: (not TIMES.get(k, TimeSystem()).format, k in YEARS))
    )
    listed = ", ".join(known[:12])
    if not times:
        raise DataFileError(
            f"no column of times among {listed}",
            where=source,
            expected='a column such as MJD, JD or time, or columns = {time = "..."}',
        )
    value, is_magnitude = _value(by, chosen, source, listed)
    errors, added = _errors(by, value, is_magnitude, chosen, known)
    others = [k for role in ("flux", "magnitude", "error") for k in by[role] if k != value and k not in errors]
    unused = tuple(k for k in known if roles[k] == "quality" or k in others)
    telescope = chosen.get("telescope") or next((k for k in TELESCOPES if k in known), None)
    band = chosen.get("filter") or next((k for k in FILTERS if k in known), None)
    return Roles(times[0], value, errors, is_magnitude, telescope, band, unused, added)


def _value(by: Mapping[str, list[str]], chosen: Mapping[str, str], source: str, listed: str) -> tuple[str, bool]:
    if "flux" in chosen:
        return chosen["flux"], False
    if "magnitude" in chosen:
        return chosen["magnitude"], True
    for role in ("flux", "magnitude"):
        found = by[role]
        plain = [k for k in found if k in ("flux", "mag", "magnitude")]
        if len(found) == 1 or plain:
            return (plain or found)[0], role == "magnitude"
        if found:
            raise DataFileError(
                f"several columns could be the {role}: {', '.join(found)}",
                where=source,
                expected=f'one of them named by columns = {{{role} = "{found[0]}"}}',
            )
    raise DataFileError(
        f"no column of fluxes or magnitudes among {listed}", where=source, expected='columns = {flux = "..."}'
    )


def _errors(
    by: Mapping[str, list[str]], value: str, is_magnitude: bool, chosen: Mapping[str, str], known: Sequence[str]
) -> tuple[tuple[str, ...], bool]:
    """The columns of errors of the values, and whether two are added in quadrature."""
    if "error" in chosen:
        return (chosen["error"],), False
    # Errors of times, positions and backgrounds are none of the fluxes.
    found = [k for k in by["error"] if not _of_another(k, value, known)]
    others = [k for k in [*by["flux"], *by["magnitude"]] if k != value]
    if others or len(found) > 2:
        # Errors that name their column, or else the kind of it.
        named = [k for k in found if _belongs(k, value)]
        found = named or [k for k in found if ("mag" in k) == is_magnitude] or found
    if total := [k for k in found if _TOTAL.search(k)]:
        return (total[0],), False
    random, systematic = ([k for k in found if form.search(k)] for form in (_RANDOM, _SYSTEMATIC))
    if random and systematic:
        return (random[0], systematic[0]), True
    found = [k for k in found if k not in systematic] or found
    upper = [k for k in found if _UPPER.search(k)]
    lower = [k for k in found if _LOWER.search(k)]
    if len(found) >= 2 and upper and lower and upper[0] != lower[0]:
        return (upper[0], lower[0]), False
    return ((found[0],) if found else ()), False


def _of_another(error: str, value: str, known: Sequence[str]) -> bool:
    """Whether an error is that of another quantity by its name ("mjd_err", "e_raj2000", "bkg_err")."""
    owner = _owner(error)
    if not owner or owner in (value, error) or role_of(owner) in ("flux", "magnitude"):
        return False
    return owner in known or role_of(owner) == "time" or bool(_OTHERS.match(owner))


def _owner(error: str) -> str:
    """What is left of the name of an error without the words for errors; nothing of "err_up"."""
    words = [re.sub(r"^(err|error)(?=.)|(?<=.)(errs?|errors?|unc|sig|sigma)$", "", word) for word in error.split("_")]
    left = "_".join(word for word in words if word and not _ABOUT_ERRORS.fullmatch(word))
    return re.sub(r"^d(?=mag|flux|m$|f$|[umn]?jy$)", "", left)


def _belongs(error: str, value: str) -> bool:
    words = _owner(error)
    return words in (value, value.split("_")[0]) or words.replace("_", "") == value.replace("_", "")
