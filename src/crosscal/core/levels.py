"""Levels of confidence that names of columns, descriptions and comments state of errors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

#: Levels in names of columns of errors, such as err_90, e95pct, err_2sigma, cl95.
_IN_NAME = re.compile(
    r"(?i)(?<![\d.])(?P<percent>9\d(?:\.\d+)?)_?(?:%|pc|pct|percent|cl|conf)?(?:_?(?:lo|hi|low|high|upper|lower))?$|"
    r"cl_?(?P<percent2>9\d)|(?<![\d.])(?P<sigmas>[2-5])_?(?:sigma|sig|sd)(?![a-z])|(?P<fwhm>fwhm)"
)
_IN_TEXT = re.compile(
    r"(?i)(?<![\d.])(?P<percent>9\d(?:\.\d+)?)\s*(?:\\?%|per ?cent)|(?<![\d.])(?P<sigmas>[2-5])[- ]?(?:sigma|\u03c3)|"
    r"(?P<fwhm>\bfwhm\b|full width at half)"
)
_ABOUT_ERRORS = re.compile(r"(?i)\berr|uncertaint|interval|bound")
#: Levels in sentences about these are not those of the errors; "90 % confidence limits" are.
_OF_OTHERS = re.compile(r"(?i)clip|reject|outlier|detect|(?<!confidence )limit")


def level_in_name(name: str, value: str) -> tuple[str, float] | None:
    """Return the words with which a name states another interval than one standard error, and its level.

    A number that the name of the ``value`` contains too is a wavelength or an energy.
    """
    level = _stated(_IN_NAME.search(name))
    if level is not None and re.sub(r"\D", "", level[0]) in re.findall(r"\d+", value) and level[0] != "fwhm":
        return None
    return level


def level_in_text(text: str) -> tuple[str, float] | None:
    """Return the words with which a text states another interval than one standard error, and its level."""
    return _stated(_IN_TEXT.search(text))


def level_in_comments(lines: Iterable[str]) -> tuple[str, float, str] | None:
    """Return words, level and line of the first comment that states another interval than one standard error."""
    for line in lines:
        for sentence in re.split(r"[.;]\s", line):
            of_errors = _ABOUT_ERRORS.search(sentence) and not _OF_OTHERS.search(sentence)
            if of_errors and (found := level_in_text(sentence)) is not None:
                return *found, line
    return None


def _stated(found: re.Match[str] | None) -> tuple[str, float] | None:
    if found is None:
        return None
    parts = found.groupdict()
    if percent := parts["percent"] or parts.get("percent2"):
        return found[0].strip(" _"), float(percent) / 100
    # The full width at half maximum of a Gaussian is 2.355 standard errors.
    sigmas = 2.3548 if parts["fwhm"] else float(parts["sigmas"])
    return found[0].strip(" _"), math.erf(sigmas / math.sqrt(2))
