"""Small files in the layouts in which missions ship theirs: one telescope, one spectrum, many dialects.

Each entry changes the plain files of ``conftest`` into a mission's layout. Whatever the dialect, the response must fold
and the spectrum must count as the plain ones do; what was tolerated must be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .conftest import AREA, FIRST, MATRIX, N_CHANNEL, N_ENERGY, ragged

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Layout:
    """A mission's file: how it differs from the plain one, what the reader must say, and what it needs to be told."""

    mission: str
    kind: str
    change: Change
    notes: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-12


def columns(spec, hdu):
    return spec[hdu]["columns"]


def matrix_columns(spec):
    return columns(spec, "MATRIX" if "MATRIX" in spec else "SPECRESP MATRIX")


def fixed_width(spec, extra=0):
    """One group a row and arrays of one length, as ROSAT and canned EPIC files have them."""
    table = matrix_columns(spec)
    table["N_GRP"][2] = np.ones(N_ENERGY, dtype=int)
    table["F_CHAN"] = ["1I", None, np.full(N_ENERGY, FIRST)]
    table["N_CHAN"] = ["1I", None, np.full(N_ENERGY, N_CHANNEL)]
    table["MATRIX"] = [f"{N_CHANNEL + extra}D", None, np.pad(MATRIX, ((0, 0), (0, extra)))]


def with_area(spec):
    """Turn the matrix into a SPECRESP MATRIX in cm2 (an RSP)."""
    spec["SPECRESP MATRIX"] = spec.pop("MATRIX")
    spec["SPECRESP MATRIX"]["cards"]["HDUCLAS3"] = "FULL"
    values = matrix_columns(spec)["MATRIX"]
    for k, row in enumerate(values[2]):
        values[2][k] = row * AREA[k]


def rosat(spec):
    """PSPC: fixed widths, no HDUCLAS keywords, bins that float32 made empty."""
    fixed_width(spec)
    with_area(spec)
    for key in ("HDUCLASS", "HDUCLAS1", "HDUCLAS2", "HDUCLAS3"):
        spec["SPECRESP MATRIX"]["cards"].pop(key)
    for entry in matrix_columns(spec).values():
        entry[2] = np.insert(entry[2], 3, entry[2][3], axis=0)
    matrix_columns(spec)["ENERG_HI"][2][3] = matrix_columns(spec)["ENERG_LO"][2][3]


def empty_group(spec):
    """Canned EPIC-pn and Cherenkov telescopes: an energy that no channel records has one group of no channels."""
    table = matrix_columns(spec)
    for name, value in (("N_GRP", 1), ("F_CHAN", np.array([0])), ("N_CHAN", np.array([0])), ("MATRIX", np.zeros(0))):
        values = list(table[name][2])
        values.insert(0, value)
        table[name][2] = (
            np.array(values) if name == "N_GRP" else ragged(values, float if name == "MATRIX" else np.int16)
        )
    table["ENERG_LO"][2] = np.insert(table["ENERG_LO"][2], 0, 0.25)
    table["ENERG_HI"][2] = np.insert(table["ENERG_HI"][2], 0, 0.5)


def padded(spec):
    """HRC: one zero more than the groups have channels."""
    table = matrix_columns(spec)
    table["MATRIX"][2] = ragged([np.append(row, 0.0) for row in table["MATRIX"][2]], float)


def old_chandra(spec):
    spec["EBOUNDS"]["cards"]["HDUCLAS2"] = "PI_EBOUNDS"


def hxmt(spec):
    """Elements a little below zero."""
    table = matrix_columns(spec)
    table["MATRIX"][2][2] = np.array([0.3, 0.6, 0.1])
    table["N_CHAN"][2][2], table["MATRIX"][2][2] = np.array([4], np.int16), np.array([-1e-9, 0.3, 0.6, 0.1])
    table["F_CHAN"][2][2] = np.array([1], np.int16)


def wrong_detchans(spec):
    spec["MATRIX"]["cards"]["DETCHANS"] = 2


def channels_from(first_of_ebounds, first_of_matrix, tlmin=False):
    """Count channels of EBOUNDS and of F_CHAN from given numbers."""

    def change(spec):
        columns(spec, "EBOUNDS")["CHANNEL"][2] = np.arange(N_CHANNEL) + first_of_ebounds
        name = "MATRIX" if "MATRIX" in spec else "SPECRESP MATRIX"
        spec[name]["cards"].pop("TLMIN4")
        if tlmin:
            spec[name]["cards"]["TLMIN4"] = first_of_matrix
        table = matrix_columns(spec)
        table["F_CHAN"][2] = ragged([row - FIRST + first_of_matrix for row in table["F_CHAN"][2]], np.int16)

    return change


def gbm(spec):
    """A matrix in cm2 whose F_CHAN counts from 1 where EBOUNDS counts from 0, without TLMIN."""
    with_area(spec)
    channels_from(0, 1)(spec)


def tev(spec):
    """Cherenkov telescopes: TeV."""
    for hdu, names in (("MATRIX", ("ENERG_LO", "ENERG_HI")), ("EBOUNDS", ("E_MIN", "E_MAX"))):
        for name in names:
            values = columns(spec, hdu)[name][2]
            columns(spec, hdu)[name] = ["D", "TeV", np.asarray(values, dtype=float) * 1e-9]


def spelled(energy, area):
    def change(spec):
        for name, text in (("ENERG_LO", energy), ("ENERG_HI", energy), ("SPECRESP", area)):
            columns(spec, "SPECRESP")[name][1] = text

    return change


def small_gap(spec):
    columns(spec, "SPECRESP")["ENERG_HI"] = ["D", "keV", columns(spec, "SPECRESP")["ENERG_HI"][2] * 1.0]
    columns(spec, "SPECRESP")["ENERG_HI"][2][1] -= 0.005


def gratings(spec):
    """Chandra's gratings: bins of equal wavelength, so that energies fall from row to row."""
    for entry in columns(spec, "SPECRESP" if "SPECRESP" in spec else "MATRIX").values():
        entry[2] = entry[2][::-1]


def named(*names):
    """Let a mission's own names stand for the tables; HDUCLAS1 and HDUCLAS2 say what they are."""

    def change(spec):
        for old, new in zip(tuple(spec), names, strict=True):
            spec[new] = spec.pop(old)

    return change


def more_columns(spec):
    """eROSITA and NICER: columns beside the area that made it up."""
    for name in ("CORRPSF", "CORRVIGN"):
        columns(spec, "SPECRESP")[name] = ["E", None, np.full(N_ENERGY, 0.9)]


def lat(spec):
    """Fermi LAT: MeV, and a matrix in cm2."""
    with_area(spec)
    for hdu, names in (("SPECRESP MATRIX", ("ENERG_LO", "ENERG_HI")), ("EBOUNDS", ("E_MIN", "E_MAX"))):
        for name in names:
            columns(spec, hdu)[name] = ["D", "MeV", np.asarray(columns(spec, hdu)[name][2], dtype=float) * 1e-3]


def resolve(spec):
    """XRISM Resolve, Hitomi SXS: the matrix in two MATRIX extensions that add up."""
    first = spec["MATRIX"]
    second = {"columns": {k: [*v[:2], v[2].copy()] for k, v in first["columns"].items()}, "cards": {**first["cards"]}}
    for part, share in ((first, 0.75), (second, 0.25)):
        part["columns"]["MATRIX"][2] = ragged([row * share for row in part["columns"]["MATRIX"][2]], float)
        part["cards"].update(EXTNAME="MATRIX")
    spec["SECOND"] = second


RESPONSES = {
    "Chandra ACIS": Layout("Chandra", "rmf", lambda spec: None),
    "Chandra before 2001": Layout("Chandra", "rmf", old_chandra),
    "Chandra HRC": Layout("Chandra", "rmf", padded, ("padded with zeros in 5 rows",)),
    "XMM EPIC-pn": Layout("XMM", "rmf", channels_from(0, 0, tlmin=True)),
    "XMM EPIC-pn canned": Layout("XMM", "rmf", empty_group),
    "ROSAT PSPC": Layout("ROSAT", "rsp", rosat, ("1 energy bins have no width",)),
    "fixed widths": Layout("ASCA", "rmf", lambda spec: fixed_width(spec, extra=3)),
    "HXMT": Layout("HXMT", "rmf", hxmt, ("1 elements of -1e-09 or more are negative; 0 is used",)),
    "DETCHANS wrong in one HDU": Layout("any", "rmf", wrong_detchans, ("DETCHANS is 2 for 4 channels",)),
    "Fermi GBM": Layout("Fermi", "rsp", gbm, ("counted from 1, the only number that fits EBOUNDS",)),
    "no TLMIN, all from 0": Layout("BAT", "rmf", channels_from(0, 0), ("counted from 0, the only number",)),
    "no TLMIN, all from 1": Layout("SAX", "rmf", channels_from(1, 1), ("counted from 1, the only number",)),
    "no TLMIN, EBOUNDS from 1": Layout("any", "rmf", channels_from(1, 0), ("counted from 0, the only number",)),
    "Chandra gratings, matrix": Layout("Chandra", "rmf", gratings),
    "Chandra gratings, area": Layout("Chandra", "arf", gratings),
    "XMM MOS, XRISM Xtend, NuSTAR, NICER": Layout("XMM", "rmf", channels_from(0, 0, tlmin=True)),
    "XRISM Resolve": Layout("XRISM", "rmf", resolve, ("the file's 2 matrices are parts of one response",)),
    "INTEGRAL ISGRI, matrix": Layout("INTEGRAL", "rmf", named("ISGR-RMF.-RSP", "ISGR-EBDS-MOD")),
    "INTEGRAL ISGRI, area": Layout("INTEGRAL", "arf", named("ISGR-ARF.-RSP")),
    "eROSITA": Layout("eROSITA", "arf", more_columns),
    "Fermi LAT": Layout("Fermi", "rsp", lat, tolerance=1e-6),
    "Cherenkov": Layout("HESS", "rmf", tev, tolerance=1e-6),
    "unit KeV": Layout("any", "arf", spelled("KeV", "cm^2")),
    "unit KEV": Layout("any", "arf", spelled("KEV", "CM**2")),
    "unit per photon": Layout("any", "arf", spelled("keV", "cm**2 counts/photon")),
    "unit sq cm": Layout("any", "arf", spelled("kev", "sq cm")),
    "gap of half a per cent of a bin": Layout("any", "arf", small_gap, ("apart by up to 0.5 % of a bin",)),
}


def rates(errors=True, negative=False):
    """Net rates with errors: BAT, INTEGRAL, HXMT."""

    def change(spec):
        table = columns(spec, "SPECTRUM")
        counts = table.pop("COUNTS")[2] / 1000.0
        table["RATE"] = ["D", "count/s", np.where(np.arange(4) == 1, -counts if negative else counts, counts)]
        if errors:
            table["STAT_ERR"] = ["D", "count/s", np.full(4, 0.002)]
        table["SYS_ERR"] = ["D", None, np.full(4, 0.02)]
        spec["SPECTRUM"]["cards"].update(POISSERR=False, HDUCLAS2="NET", HDUCLAS3="RATE")

    return change


def bat(spec):
    """Type II with one row of net rates."""
    rates(negative=True)(spec)
    table = columns(spec, "SPECTRUM")
    for name, entry in table.items():
        table[name] = ["4" + entry[0], entry[1], np.asarray(entry[2])[None, :]]
    table["EXPOSURE"] = ["D", "s", np.array([1000.0])]
    spec["SPECTRUM"]["cards"].update(HDUCLAS4="TYPE:II")


def chandra(spec):
    """dmextract: Gehrels' errors in STAT_ERR, POISSERR = F."""
    table = columns(spec, "SPECTRUM")
    table["STAT_ERR"] = ["D", "count", 1 + np.sqrt(table["COUNTS"][2] + 0.75)]
    spec["SPECTRUM"]["cards"]["POISSERR"] = False


def rgs(spec):
    """Scales of 0 where the quality is bad."""
    table = columns(spec, "SPECTRUM")
    table["BACKSCAL"] = ["E", None, np.array([0.5, 0.5, 0.5, 0.0])]
    table["AREASCAL"] = ["E", None, np.array([1.0, 1.0, 1.0, 0.0])]


def nothing_where_bad(spec):
    rates()(spec)
    columns(spec, "SPECTRUM")["RATE"][2][3] = np.nan
    columns(spec, "SPECTRUM")["STAT_ERR"][2][3] = np.nan


def scalar_flags(spec):
    """Old files: QUALITY and GROUPING are keywords that hold for all channels."""
    table = columns(spec, "SPECTRUM")
    table.pop("QUALITY")
    table.pop("GROUPING")
    spec["SPECTRUM"]["cards"].update(QUALITY=0, GROUPING=0)


def pca(spec):
    """RXTE PCA: rates of detectors with errors, systematic errors in a column."""
    rates()(spec)
    spec["SPECTRUM"]["cards"].update(HDUCLAS2="TOTAL")


def grating_orders(spec):
    """Chandra's pha2: orders in rows, background on both sides in columns, wavelengths of the bins."""
    table = columns(spec, "SPECTRUM")
    for name, entry in table.items():
        table[name] = ["4" + entry[0], entry[1], np.tile(np.asarray(entry[2]), (2, 1))]
    table["COUNTS"][2][1] = 0
    table["BACKGROUND_UP"] = ["4J", "count", np.array([[1, 2, 0, 1], [0, 0, 0, 0]])]
    table["BACKGROUND_DOWN"] = ["4J", "count", np.array([[2, 1, 1, 0], [0, 0, 0, 0]])]
    table["TG_M"] = ["I", None, np.array([-1, 1])]
    for name in ("BIN_LO", "BIN_HI"):
        table[name] = ["4D", "Angstrom", np.tile(np.array([4.0, 3.0, 2.0, 1.0]) + ("HI" in name), (2, 1))]
    spec["SPECTRUM"]["cards"].update(HDUCLAS4="TYPE:II", BACKSCUP=2.0, BACKSCDN=3.0)


def corrected_counts(spec):
    spec["SPECTRUM"]["cards"]["CORRFILE"] = "readout.pha"


def boolean_quality(spec):
    columns(spec, "SPECTRUM")["QUALITY"] = ["L", None, np.array([False, False, False, True])]


def no_exposure(spec):
    spec["SPECTRUM"]["cards"].pop("EXPOSURE")


SPECTRA = {
    "XMM EPIC": Layout("XMM", "pha", lambda spec: None),
    "Chandra": Layout("Chandra", "pha", chandra),
    "XMM RGS": Layout(
        "XMM", "pha", rgs, ("BACKSCAL has 1 values that are not positive", "AREASCAL has 1 values that are not")
    ),
    "INTEGRAL": Layout("INTEGRAL", "pha", rates()),
    "HXMT": Layout("HXMT", "pha", rates(negative=True)),
    "Swift BAT": Layout("Swift", "pha", bat),
    "not a number where bad": Layout(
        "INTEGRAL", "pha", nothing_where_bad, ("RATE has 1 values that are", "STAT_ERR has 1 values that are")
    ),
    "INTEGRAL ISGRI": Layout("INTEGRAL", "pha", named("ISGR-PHA1-SPE")),
    "RXTE PCA": Layout("RXTE", "pha", pca),
    "ROSAT, flags as keywords": Layout("ROSAT", "pha", scalar_flags),
    "Chandra gratings": Layout("Chandra", "pha", grating_orders, ("the background is the sum of its columns",)),
    "with a correction file": Layout("any", "pha", corrected_counts, ("correction file readout.pha that CORRFILE",)),
    "Cherenkov (gammapy)": Layout("HESS", "pha", boolean_quality),
    "no EXPOSURE": Layout("any", "pha", no_exposure, ("the exposure is 1000 s, as given",), {"exposure": 1000.0}),
}
