"""The contract of the readers: a table of missions x files; the dialect must not change a number."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.fit import fit
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import read_arf
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectra, read_spectrum

from .conftest import EDGES, MATRIX, N_CHANNEL, ragged
from .missions import RESPONSES, SPECTRA, channels_from, columns, gbm, matrix_columns, named, with_area


def told(notes, expected):
    assert len(notes) == len(expected), notes
    for words in expected:
        assert any(words in note for note in notes), notes


@pytest.mark.parametrize("case", RESPONSES)
def test_every_dialect_of_a_response_folds_alike(make, case):
    layout = RESPONSES[case]
    if layout.kind == "arf":
        response = read_response(make("arf", layout.change), make("rmf"))
    elif layout.kind == "rsp":
        response = read_response(make("rmf", layout.change))
    else:
        rmf = make("rmf", layout.change)
        if read_rmf(rmf).energy_lo.size > 5:
            area = lambda spec: [  # noqa: E731
                entry.__setitem__(2, np.insert(entry[2], 0, value))
                for entry, value in zip(columns(spec, "SPECRESP").values(), (0.25, 0.5, 7.0), strict=True)
            ]
            response = read_response(make("arf", area), rmf)
        elif case == "Cherenkov":
            scaled = lambda spec: [  # noqa: E731
                columns(spec, "SPECRESP").__setitem__(
                    name, ["D", "TeV", np.asarray(columns(spec, "SPECRESP")[name][2], dtype=float) * 1e-9]
                )
                for name in ("ENERG_LO", "ENERG_HI")
            ]
            response = read_response(make("arf", scaled), rmf)
        else:
            response = read_response(make("arf"), rmf)
    plain = read_response(make("arf", None, "plain.arf"), make("rmf", None, "plain.rmf"))
    photons = 1 / response.energy_hi - 0.1
    expected = 1 / plain.energy_hi - 0.1
    assert_allclose(response.fold(photons), plain.fold(expected), rtol=max(layout.tolerance, 1e-2 * ("gap" in case)))
    told(response.notes, layout.notes)


@pytest.mark.parametrize("case", SPECTRA)
def test_every_dialect_of_a_spectrum_counts_alike(make, case):
    layout = SPECTRA[case]
    path = make("pha", layout.change)
    spectrum = read_spectra(path, **layout.arguments)[0]
    plain = read_spectrum(make("pha", unflagged if "keywords" in case else None, "plain.pha"))
    assert_allclose(np.abs(spectrum.counts)[plain.good], plain.counts[plain.good], rtol=1e-12)
    assert spectrum.exposure == plain.exposure
    assert_array_equal(spectrum.good, plain.good)
    assert_array_equal(spectrum.grouping, plain.grouping)
    assert_allclose(np.broadcast_to(spectrum.backscale, 4)[plain.good], 0.5)
    told(spectrum.notes, layout.notes)
    table = next(iter(changed(layout).values()))["columns"]
    assert spectrum.is_poisson == ("STAT_ERR" not in table or case == "Chandra")


def unflagged(spec):
    for name in ("QUALITY", "GROUPING"):
        columns(spec, "SPECTRUM").pop(name)


def test_background_beside_a_grating_s_spectrum_is_used_or_told(make):
    path = make("pha", SPECTRA["Chandra gratings"].change)
    spectrum = read_spectrum(path, row=1)
    assert_array_equal(spectrum.background.counts, [3, 3, 1, 1])
    # Both sides are 2 + 3 wide, the source's extraction 0.5.
    assert_allclose(spectrum.background_ratio, 0.1)
    bare = read_spectrum(path, "none", row=1)
    assert bare.background is None
    told(bare.notes, ("the background in its columns BACKGROUND_UP and BACKGROUND_DOWN is not used, as requested",))
    other = read_spectrum(path, make("pha", None, "other.pha"), row=1)
    assert_array_equal(other.background.counts, [3, 10, 7, 2])
    assert not any("sum of its columns" in note for note in other.notes)

    def unscaled(spec):
        SPECTRA["Chandra gratings"].change(spec)
        spec["SPECTRUM"]["cards"].pop("BACKSCDN")

    spectrum = read_spectrum(make("pha", unscaled), row=1)
    assert spectrum.background is None
    told(spectrum.notes, ("BACKGROUND_DOWN are not used: BACKSCUP and BACKSCDN are not positive numbers",))


def test_a_whole_response_of_any_name_needs_no_rmf(make):
    """INTEGRAL's HDUs have names of their own; HDUCLAS2 says that a file is a matrix."""

    def change(spec):
        with_area(spec)
        named("SPI.-RMF.-RSP", "SPI.-EBDS-SET")(spec)

    rsp = make("rmf", change, "spi.rsp")

    def unlinked(spec):
        spec["SPECTRUM"]["cards"].update(RESPFILE="none", ANCRFILE="none")

    response = read_observation(make("pha", unlinked), rsp)[1]
    assert_allclose(response.fold(np.ones(5)), read_response(rsp).fold(np.ones(5)))


def changed(layout):
    from .conftest import SPECS

    spec = SPECS[layout.kind]()
    layout.change(spec)
    return spec


def test_net_rates_below_zero_need_their_errors(make):
    from .missions import rates

    with pytest.raises(
        DataFileError, match=r"column RATE, row 2: .*expected at least 0, or errors in a column STAT_ERR"
    ):
        read_spectrum(make("pha", rates(errors=False, negative=True)))


def copy_of(table):
    return {"columns": {k: [*v[:2], v[2].copy()] for k, v in table["columns"].items()}, "cards": {**table["cards"]}}


def two_blocks(spec, split=0.4, fine=None):
    """Split the matrix in two MATRIX extensions that add up, as XRISM ships that of Resolve."""
    first = spec["MATRIX"]
    second = {
        "columns": {k: [v[0], v[1], v[2].copy()] for k, v in first["columns"].items()},
        "cards": {**first["cards"]},
    }
    for part, share in ((first, 1 - split), (second, split)):
        values = part["columns"]["MATRIX"][2]
        part["columns"]["MATRIX"][2] = ragged([row * share for row in values], float)
        part["cards"].update(EXTNAME="MATRIX")
    spec["SECOND"] = second


def test_blocks_of_one_response_are_summed(make):
    rmf = read_rmf(make("rmf", two_blocks))
    assert_allclose(rmf.matrix.toarray(), MATRIX.T, rtol=1e-12)
    told(rmf.notes, ("the file's 2 matrices are parts of one response; their sum is used",))
    alone = read_rmf(make("rmf", two_blocks), block=2)
    assert_allclose(alone.matrix.toarray(), 0.4 * MATRIX.T, rtol=1e-12)
    with pytest.raises(DataFileError, match="block 3 is asked for; expected block = 1 to 2"):
        read_rmf(make("rmf", two_blocks), block=3)


def test_a_coarse_block_is_divided(make):
    """A second block on every other energy adds the same probabilities to each bin it holds."""

    def change(spec):
        two_blocks(spec, split=0.0)
        tail = np.array([0.05, 0.02, 0.01])
        spec["SECOND"]["columns"] = {
            "ENERG_LO": ["E", "keV", EDGES[[0, 2, 4]]],
            "ENERG_HI": ["E", "keV", EDGES[[2, 4, 5]]],
            "N_GRP": ["I", None, np.ones(3)],
            "F_CHAN": ["1I", None, np.ones(3)],
            "N_CHAN": ["1I", None, np.ones(3)],
            "MATRIX": ["1D", None, tail],
        }

    rmf = read_rmf(make("rmf", change))
    expected = MATRIX.T.copy()
    expected[0] += [0.05, 0.05, 0.02, 0.02, 0.01]
    assert_allclose(rmf.matrix.toarray(), expected, rtol=1e-12)
    assert "its 3 energy bins are divided as the 5" in rmf.notes[-1]

    def apart(spec):
        change(spec)
        for name, at in (("ENERG_HI", 0), ("ENERG_LO", 1)):
            spec["SECOND"]["columns"][name][2][at] = 2.3

    with pytest.raises(DataFileError, match="the energy bins do not fit into those of the file's other matrix"):
        read_rmf(make("rmf", apart))


def test_blocks_that_cannot_be_parts_are_refused(make):
    def twice(spec):
        two_blocks(spec)
        for hdu in ("MATRIX", "SECOND"):
            spec[hdu]["columns"]["MATRIX"][2] = ragged([row[row > 0] for row in MATRIX], float)

    with pytest.raises(DataFileError, match="the 2 matrices add up to a probability of 2"):
        read_rmf(make("rmf", twice))


def timed(spec):
    """GBM's rsp2: a matrix of its own for each span of time."""
    gbm(spec)
    first = spec["SPECRESP MATRIX"]
    second = {
        "columns": {k: [v[0], v[1], v[2].copy()] for k, v in first["columns"].items()},
        "cards": {**first["cards"]},
    }
    second["columns"]["MATRIX"][2] = ragged([2 * row for row in first["columns"]["MATRIX"][2]], float)
    first["cards"].update(TSTART=100.0, TSTOP=200.0)
    second["cards"].update(TSTART=200.0, TSTOP=300.0, EXTNAME="SPECRESP MATRIX")
    spec["SECOND"] = second


def test_a_matrix_is_chosen_by_time_or_number(make):
    path = make("rmf", timed, "test.rsp2")
    with pytest.raises(
        DataFileError, match=r"2 matrices of different times \(100 to 200, 200 to 300\) and none is chosen"
    ):
        read_rmf(path)
    one, two = read_rmf(path, time=150.0), read_rmf(path, block=2)
    assert_allclose(2 * one.matrix.toarray(), two.matrix.toarray())
    assert "matrix 1 of 2 is used, that of the time 150" in one.notes[0]
    assert "matrix 2 of 2 is used, as asked for" in two.notes[0]
    with pytest.raises(DataFileError, match="no matrix is of the time 400; expected one within 100 to 200, 200 to 300"):
        read_rmf(path, time=400.0)


def test_the_spectrum_s_time_chooses_the_matrix(make):
    make("rmf", timed, "test.rsp2")

    def spectra(spec):
        """GBM's PHA II: one quality a row, times in columns, no channels."""
        table = columns(spec, "SPECTRUM")
        for name in ("CHANNEL", "BACKFILE", "GROUPING", "SPEC_NUM"):
            table.pop(name)
        table["QUALITY"] = ["I", None, np.array([0, 1, 0])]
        table["TIME"] = ["D", "s", np.array([110.0, 190.0, 250.0])]
        table["ENDTIME"] = ["D", "s", np.array([120.0, 205.0, 260.0])]
        spec["SPECTRUM"]["cards"]["RESPFILE"] = "test.rsp2"
        spec["EBOUNDS"] = {
            "columns": {
                "CHANNEL": ["I", None, np.arange(N_CHANNEL)],
                "E_MIN": ["E", "keV", np.arange(4.0)],
                "E_MAX": ["E", "keV", np.arange(1.0, 5.0)],
            },
            "cards": {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS"},
        }

    pha = make("pha2", spectra)
    areas = [read_observation(pha, row=row)[1].area.max() for row in (1, 3)]
    assert areas[1] == pytest.approx(2 * areas[0])
    first, second = read_spectra(pha)[:2]
    assert first.first_channel == 0
    assert first.good.all()
    assert not second.good.any()
    assert read_observation(pha, row=1, block=2)[1].area.max() == pytest.approx(areas[1])


def wide(spec, n=40):
    """A diagonal response of many channels, so that the range of F_CHAN leaves its origin open."""
    edges = np.linspace(1.0, 5.0, n + 1)
    inner = np.arange(5, n - 5)
    spec["MATRIX"]["columns"] = {
        "ENERG_LO": ["D", "keV", edges[inner]],
        "ENERG_HI": ["D", "keV", edges[inner + 1]],
        "N_GRP": ["I", None, np.ones(inner.size)],
        "F_CHAN": ["PI()", None, ragged([[k + 1] for k in inner], np.int16)],
        "N_CHAN": ["PI()", None, ragged([[1]] * inner.size, np.int16)],
        "MATRIX": ["PD()", None, ragged([[1.0]] * inner.size, float)],
    }
    spec["EBOUNDS"]["columns"] = {
        "CHANNEL": ["J", None, np.arange(1, n + 1)],
        "E_MIN": ["D", "keV", edges[:-1]],
        "E_MAX": ["D", "keV", edges[1:]],
    }
    for hdu in ("MATRIX", "EBOUNDS"):
        spec[hdu]["cards"]["DETCHANS"] = n


@pytest.mark.parametrize("origin", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
def test_the_energies_decide_where_tlmin_is_missing(make, origin, first):
    def change(spec):
        wide(spec)
        spec["MATRIX"]["cards"].pop("TLMIN4")
        table = matrix_columns(spec)
        table["F_CHAN"][2] = ragged([row - 1 + origin for row in table["F_CHAN"][2]], np.int16)
        columns(spec, "EBOUNDS")["CHANNEL"][2] = np.arange(40) + first

    rmf, plain = read_rmf(make("rmf", change)), read_rmf(make("rmf", wide, "plain.rmf"))
    assert (rmf.matrix != plain.matrix).nnz == 0
    assert rmf.first_channel == first
    assert f"counted from {origin}, for which the matrix peaks at the photons' energies" in rmf.notes[0]


def test_tlmin_is_believed(make):
    rmf = read_rmf(make("rmf", channels_from(1, 0, tlmin=True)))
    assert_allclose(rmf.matrix.toarray(), MATRIX.T)
    assert rmf.notes == ()


def test_what_was_tolerated_stands_in_the_notes_of_a_fit(make):
    make("rmf", RESPONSES["Chandra HRC"].change)
    make("arf")
    spectrum, response = read_observation(make("pha", SPECTRA["XMM RGS"].change))
    notes = fit(spectrum, response, Model("powerlaw", PhoIndex=1.0, norm=1e-3)).notes
    for words in ("padded with zeros", "BACKSCAL has 1 values", "RESPFILE names", "the file's own grouping is applied"):
        assert any(words in note for note in notes), notes


def test_a_matrix_with_area_in_several_blocks(make):
    def change(spec):
        two_blocks(spec)
        second = spec.pop("SECOND")
        with_area(spec)
        spec["SECOND"] = second
        second["cards"].update(EXTNAME="SPECRESP MATRIX", HDUCLAS3="FULL")
        table = second["columns"]["MATRIX"]
        table[2] = ragged([row * a for row, a in zip(table[2], make.area, strict=True)], float)

    response, plain = read_response(make("rmf", change)), read_response(make("arf"), make("rmf", None, "plain.rmf"))
    photons = np.ones(5)
    assert_allclose(response.fold(photons), plain.fold(photons), rtol=1e-12)


def test_a_poisson_statistic_refuses_net_counts(make):
    spectrum = read_spectrum(make("pha", SPECTRA["HXMT"].change))
    response = read_response(make("arf"), make("rmf"))
    model = Model("powerlaw", PhoIndex=1.0, norm=1e-3)
    assert fit(spectrum, response, model).statistic_name == "chi2"
    with pytest.raises(InputError, match="negative counts with cstat; expected the statistic chi2"):
        fit(spectrum, response, model, statistic="cstat")


def test_an_area_of_rounding_below_zero_is_zero(make):
    def change(spec):
        columns(spec, "SPECRESP")["SPECRESP"] = ["D", "cm**2", np.append(make.area[:4], -1e-8)]

    response = read_response(make("arf", change), make("rmf"))
    assert response.area[-1] == 0.0
    told(response.notes, ("SPECRESP has 1 values of -1e-08 or more; 0 is used",))


# Each kind of quirk that missions' files have, and an entry of the table that has it.
KINDS = {
    "a group of no channels": "XMM EPIC-pn canned",
    "one padding zero": "Chandra HRC",
    "bins of no width": "ROSAT PSPC",
    "PI_EBOUNDS": "Chandra before 2001",
    "elements below zero": "HXMT",
    "gaps below a per cent of a bin": "gap of half a per cent of a bin",
    "spellings of units": "unit sq cm",
    "DETCHANS wrong in one HDU": "DETCHANS wrong in one HDU",
    "TLMIN missing": "Fermi GBM",
    "several MATRIX blocks": "XRISM Resolve",
    "net rates below zero": "Swift BAT",
    "boolean QUALITY": "Cherenkov (gammapy)",
    "QUALITY as a keyword": "ROSAT, flags as keywords",
    "scales of 0 where quality is bad": "XMM RGS",
    "no EXPOSURE": "no EXPOSURE",
    "background in columns": "Chandra gratings",
}


def test_the_table_of_missions_and_files(make, capsys):
    """Print what is said of each file (CROSSCAL_TABLES=1): no kind of quirk is without an entry."""
    assert set(KINDS.values()) <= set(RESPONSES) | set(SPECTRA)
    lines = []
    for name, layout in (*RESPONSES.items(), *SPECTRA.items()):
        kind = "rmf" if layout.kind == "rsp" else layout.kind
        path = make(kind, layout.change)
        read = {"rmf": read_rmf, "arf": read_arf, "pha": read_spectra}[kind]
        found = read(path, **layout.arguments)
        notes = found[0].notes if kind == "pha" else found.notes
        told = "; ".join(note.split("]: ")[-1] for note in notes) or "nothing to tell"
        lines.append(f"{layout.mission:9} | {layout.kind} | {name:36} | {told}")
    print("\n".join(lines))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(RESPONSES) + len(SPECTRA)
    with capsys.disabled():
        if os.environ.get("CROSSCAL_TABLES"):
            print("\n" + out)
