from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.instrument.links import linked
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectra, read_spectrum
from crosscal.xray.instrument.spectrum import Spectrum


def test_reads_type_one(make):
    spectrum = read_spectrum(make("pha"))
    assert_array_equal(spectrum.counts, [3, 10, 7, 2])
    assert (spectrum.exposure, spectrum.backscale, spectrum.areascale) == (1000.0, 0.5, 1.0)
    assert_array_equal(spectrum.good, [True, True, True, False])
    assert_array_equal(spectrum.grouping, [1, -1, 1, 1])
    assert spectrum.links == {"rmf": "test.rmf", "arf": "test.arf"}
    assert spectrum.background is None
    assert spectrum.stat_error is None
    assert read_spectrum(make("pha"), name="a2029").name == "a2029"


def test_reads_rates(make):
    def change(spec):
        columns = spec["SPECTRUM"]["columns"]
        columns.pop("COUNTS")
        columns["RATE"] = ["D", "count/s", np.array([0.003, 0.01, 0.007, 0.002])]
        columns["STAT_ERR"] = ["D", "count/s", np.full(4, 0.001)]
        spec["SPECTRUM"]["cards"]["POISSERR"] = False

    spectrum = read_spectrum(make("pha", change))
    assert_allclose(spectrum.counts, [3, 10, 7, 2])
    assert_allclose(spectrum.stat_error, 1.0)


def of(column, kind, unit, values, **cards):
    """A column of a spectrum in place of COUNTS, or beside it."""

    def change(spec):
        columns = spec["SPECTRUM"]["columns"]
        if column == "RATE":
            columns.pop("COUNTS")
        columns[column] = [kind, unit, np.array(values)]
        spec["SPECTRUM"]["cards"].update(cards)

    return change


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("count/s", 1), ("ct s**-1", 1), ("counts/ks", 1000), ("cts min^-1", 60), ("", 1), ("count", 1)],
)
def test_rates_are_in_their_unit(make, unit, seconds):
    values = np.array([0.003, 0.01, 0.007, 0.002]) * seconds
    spectrum = read_spectrum(make("pha", of("RATE", "D", unit, values)))
    assert_allclose(spectrum.counts, [3, 10, 7, 2])
    assert any("converted to count/s" in note for note in spectrum.notes) == (seconds != 1)

    def with_errors(errors, unit_of_errors):
        def change(spec):
            of("RATE", "D", unit, values)(spec)
            of("STAT_ERR", "D", unit_of_errors, errors, POISSERR=False)(spec)

        return read_spectrum(make("pha", change)).stat_error

    if unit != "count":
        assert_allclose(with_errors(values, unit), [3, 10, 7, 2])
    assert_allclose(with_errors([2.0, 4, 3, 2], "count"), [2, 4, 3, 2])


def test_counts_in_the_unit_of_a_rate(make):
    whole = read_spectrum(make("pha", of("COUNTS", "J", "count/s", [3, 10, 7, 2])))
    assert_allclose(whole.counts, [3, 10, 7, 2])
    assert "the unit 'count/s' of column COUNTS is not used" in whole.notes[0]
    with pytest.raises(DataFileError, match=r"column COUNTS: the unit is 'count/s'; expected count, or a column RATE"):
        read_spectrum(make("pha", of("COUNTS", "D", "count/s", [0.3, 1.1, 0.7, 0.2])))


def test_what_the_columns_say_is_told(make):
    both = make("pha", lambda spec: spec["SPECTRUM"]["columns"].update(RATE=["D", "count/s", np.full(4, 0.01)]))
    assert "RATE times EXPOSURE is 1.5 times as much" in read_spectrum(both).notes[0]
    weighted = read_spectrum(make("pha", of("COUNTS", "D", "count", [3.3, 10.0, 7.5, 2.0])))
    assert "2 values of COUNTS are not whole numbers" in weighted.notes[0]
    percent = read_spectrum(make("pha", of("SYS_ERR", "D", None, np.full(4, 5.0))))
    assert "its largest value means 500 %" in percent.notes[0]


@pytest.mark.parametrize(("unit", "seconds"), [("s", 1), ("sec", 1), ("ks", 1000), ("h", 3600)])
def test_exposures_are_in_their_unit(make, unit, seconds):
    column = make("pha2", lambda spec: spec["SPECTRUM"]["columns"]["EXPOSURE"].__setitem__(1, unit))
    assert read_spectrum(column, "none", row=2).exposure == 20 * seconds
    comment = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(EXPOSURE=(10.0, f"[{unit}] time on source")))
    spectrum = read_spectrum(comment)
    assert spectrum.exposure == 10 * seconds
    assert any("EXPOSURE is in" in note for note in spectrum.notes) == (seconds != 1)


def test_an_exposure_in_no_unit_of_time_is_refused(make):
    column = make("pha2", lambda spec: spec["SPECTRUM"]["columns"]["EXPOSURE"].__setitem__(1, "cm**2"))
    with pytest.raises(DataFileError, match=r"column EXPOSURE: the unit is 'cm\*\*2'; expected s, or another unit"):
        read_spectrum(column, "none", row=2)


def test_columns_in_place_of_keywords(make):
    def change(spec):
        spec["SPECTRUM"]["columns"]["BACKSCAL"] = ["D", None, np.array([1.0, 2.0, 3.0, 4.0])]
        spec["SPECTRUM"]["columns"]["SYS_ERR"] = ["D", None, np.full(4, 0.02)]
        spec["SPECTRUM"]["columns"].pop("QUALITY")
        spec["SPECTRUM"]["cards"]["QUALITY"] = 0
        spec["SPECTRUM"]["cards"].pop("AREASCAL")

    spectrum = read_spectrum(make("pha", change))
    assert_array_equal(spectrum.backscale, [1, 2, 3, 4])
    assert_array_equal(spectrum.sys_error, np.full(4, 0.02))
    assert spectrum.good.all()
    assert spectrum.areascale == 1.0
    assert "no AREASCAL; 1 is assumed" in spectrum.notes[0]


def test_reads_type_two(make):
    spectra = read_spectra(make("pha2"), "none")
    assert [s.exposure for s in spectra] == [10.0, 20.0, 30.0]
    assert [s.backscale for s in spectra] == [1.0, 2.0, 3.0]
    assert_array_equal(spectra[1].counts, [4, 5, 6, 7])
    assert_array_equal(spectra[2].areascale, np.full(4, 0.5))
    assert spectra[1].links == {"background": "bkg2.pha"}
    assert spectra[1].name == "test#2"
    assert_array_equal(read_spectrum(make("pha2"), row=3).counts, [8, 9, 10, 11])


def test_type_two_without_channels_counts_from_one(make):
    spectrum = read_spectra(make("pha2", lambda spec: spec["SPECTRUM"]["columns"].pop("CHANNEL")), "none")[0]
    assert spectrum.first_channel == 1
    assert "counted from 1" in spectrum.notes[0]


def linking(name):
    return lambda spec: spec["SPECTRUM"]["cards"].update(BACKFILE=name)


def test_background_from_header_or_given(make):
    path = make("pha", linking("bkg.pha"))
    with pytest.raises(DataFileError, match=r"BACKFILE names 'bkg\.pha', which is not there; .*background = \"none\""):
        read_spectrum(path)
    for none in ("none", None):
        without = read_spectrum(path, none)
        assert without.background is None
        assert "bkg.pha that BACKFILE names is not used, as requested" in without.notes[-1]
    background = make("pha", None, "bkg.pha")
    followed = read_spectrum(path)
    assert followed.background.exposure == 1000.0
    assert followed.files["background"] == str(background)
    assert f"the background is {background}, which BACKFILE names" in followed.notes[-1]
    assert read_spectrum(make("pha"), background).background is not None


@pytest.mark.parametrize("link", ["sub/bkg.pha", "/elsewhere/bkg.pha", "bkg.pha[SPECTRUM]", "bkg.pha{1}", "bkg.pha.gz"])
def test_links_are_relative_to_the_file(make, link):
    (make.directory / "sub").mkdir()
    background = make("pha", None, link if link.startswith("sub") else "bkg.pha")
    assert read_spectrum(make("pha", linking(link))).files["background"] == str(background)


def twice(spec):
    """A second table of other counts."""
    first = spec["SPECTRUM"]
    columns = {**first["columns"], "COUNTS": ["J", "count", np.array([30, 100, 70, 20])]}
    spec["OTHER"] = {"columns": columns, "cards": {**first["cards"]}}


@pytest.mark.parametrize(
    ("link", "first"), [("[1]", 3), ("[SPECTRUM]", 3), ("[2]", 30), ("[OTHER]", 30), ("[other]", 30)]
)
def test_an_extension_in_brackets_is_followed(make, link, first):
    make("pha", twice, "bkg.pha")
    assert read_spectrum(make("pha", linking(f"bkg.pha{link}"))).background.counts[0] == first
    both = make("pha", twice)
    assert read_spectrum(f"{both}{link}", "none").counts[0] == first


@pytest.mark.parametrize("which", ["[BACK]", "[back]", "[2]"])
def test_a_background_in_the_same_file_is_the_table_that_is_named(make, which):
    """Whatever its classes say: the first table is not read in its place."""

    def both(spec):
        twice(spec)
        spec["SPECTRUM"]["cards"]["HDUCLAS2"] = "TOTAL"
        spec["BACK"] = spec.pop("OTHER")
        spec["BACK"]["cards"]["HDUCLAS2"] = "BKG"

    path = make("pha", both)
    assert read_spectrum(path, f"{path}{which}").background.counts[0] == 30
    assert read_spectrum(f"{path}{which}", "none").counts[0] == 30


def test_a_background_that_is_the_spectrum_itself(make):
    """XSPEC looks for the extension BACK then."""
    path = make("pha", linking("test.pha"))
    assert path.name == "test.pha"
    with pytest.raises(DataFileError, match=r"there is no HDU \[BACK\]"):
        read_spectrum(path)
    with pytest.raises(DataFileError, match="the background is the spectrum itself; expected another file"):
        read_spectrum(path, path)

    def with_back(spec):
        twice(spec)
        linking("test.pha")(spec)
        spec["BACK"] = spec.pop("OTHER")

    found = read_spectrum(make("pha", with_back))
    assert found.background.counts[0] == 30
    assert any("[BACK], which BACKFILE names" in note for note in found.notes)
    # In a file of several spectra the row may be another one.
    rows = make("pha2", lambda spec: spec["SPECTRUM"]["columns"].update(BACKFILE=["16A", None, np.array(["none"] * 3)]))
    with pytest.raises(DataFileError, match="the background is the spectrum itself"):
        read_spectrum(rows, rows, row=2)


def test_match_is_the_name_of_the_spectrum_with_another_suffix(make):
    """As in XSPEC: .rsp (or .rmf), .arf and .bck."""
    match = {"RESPFILE": "%match%", "ANCRFILE": "%MATCH%", "BACKFILE": "%match%"}
    path = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(match))
    with pytest.raises(DataFileError, match="BACKFILE names '%match%', which is not there"):
        read_spectrum(path)
    background = make("pha", None, "test.bck")
    make("arf")
    make("rmf")
    spectrum, response = read_observation(path)
    assert spectrum.files["background"] == str(background)
    assert [Path(response.files[role]).name for role in ("arf", "rmf")] == ["test.arf", "test.rmf"]
    assert sum("which" in note and "names" in note for note in spectrum.notes) == 3
    path.with_name("test.rmf").rename(path.with_name("test.rsp"))
    assert Path(read_observation(path)[1].files["rmf"]).name == "test.rsp"


def part(first, n, **cards):
    """Keep some of four channels."""

    def change(spec):
        for entry in spec["SPECTRUM"]["columns"].values():
            entry[2] = entry[2][first : first + n]
        spec["SPECTRUM"]["columns"]["BACKSCAL"] = ["D", None, np.full(n, 0.5)]
        spec["SPECTRUM"]["columns"]["STAT_ERR"] = ["D", None, np.full(n, 2.0)]
        spec["SPECTRUM"]["cards"].update({"POISSERR": False, **cards})

    return change


def test_a_part_of_the_channels_is_used_as_such(make):
    """As in XSPEC: DETCHANS says how many there are, CHANNEL which are in the file."""
    make("arf")
    make("rmf")
    path = make("pha", part(1, 2, TLMIN1=1, TLMAX1=4))
    spectrum, response = read_observation(path)
    assert_array_equal(spectrum.counts, [0, 10, 7, 0])
    assert_array_equal(spectrum.good, [False, True, True, False])
    assert_array_equal(spectrum.grouping, [0, -1, 1, 0])
    assert_array_equal(spectrum.stat_error, [0, 2, 2, 0])
    assert (spectrum.first_channel, spectrum.n_channel) == (1, response.n_channel)
    assert "the file holds channels 2 to 3 of 1 to 4; the others are not used" in spectrum.notes[0]
    # Without limits channels begin with 1; the background is a part as well.
    assert read_spectrum(make("pha", part(1, 2), "other.pha")).first_channel == 1
    background = read_spectrum(path, make("pha", part(0, 3), "bkg.pha")).background
    assert_array_equal(background.quality, [0, 0, 0, 1])


@pytest.mark.parametrize(
    "cards", [{"DETCHANS": 3, "TLMIN1": 2, "TLMAX1": 3}, {"TLMIN1": 1, "TLMAX1": 3}, {"TLMIN1": 3}, {"DETCHANS": 2**30}]
)
def test_a_part_that_contradicts_its_header_is_refused(make, cards):
    with pytest.raises(DataFileError, match="there are 2 channels; expected DETCHANS"):
        read_spectrum(make("pha", part(1, 2, **cards)))


@pytest.mark.parametrize("link", ["[7]", "[NOTHING]", "[SPECTRUM,3]"])
def test_an_extension_that_is_not_there_is_refused(make, link):
    make("pha", twice, "bkg.pha")
    with pytest.raises(DataFileError, match=r"there is no HDU \[.*one of 0 PRIMARY, 1 SPECTRUM, 2 OTHER"):
        read_spectrum(make("pha", linking(f"bkg.pha{link}")))


def test_net_counts_are_told(make):
    found = read_spectrum(make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(HDUCLAS2="NET")))
    assert any("counts are not Poisson distributed" in note for note in found.notes)


def test_a_row_in_braces_is_followed(make):
    make("pha2", None, "bkg.pha")
    assert read_spectrum(make("pha", linking("bkg.pha{2}"))).background.exposure == 20.0
    with pytest.raises(DataFileError, match="holds 3 backgrounds and row 7 is asked for"):
        read_spectrum(make("pha", linking("bkg.pha{7}")))


def test_a_link_no_file_can_have(make):
    with pytest.raises(DataFileError, match="which is not there"):
        read_spectrum(make("pha", linking("x" * 300)))


def test_a_background_with_its_own_response_is_told(make):
    make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(RESPFILE="other.rmf"), "bkg.pha")
    assert "its own response other.rmf is not used" in read_spectrum(make("pha", linking("bkg.pha"))).notes[-1]


def test_a_scale_of_zero_matters_with_a_background_only(make):
    zero = lambda spec: spec["SPECTRUM"]["cards"].update(BACKSCAL=0.0)  # noqa: E731
    path = make("pha", zero)
    assert "BACKSCAL is 0; 1 is used" in read_spectrum(path).notes[-1]
    with pytest.raises(DataFileError, match="BACKSCAL is 0 and a background is used"):
        read_spectrum(path, make("pha", None, "bkg.pha"))
    with pytest.raises(DataFileError, match=r"bkg\.pha: BACKSCAL is 0 and a background is used"):
        read_spectrum(make("pha"), make("pha", zero, "bkg.pha"))


def test_a_given_exposure(make):
    absent = lambda spec: spec["SPECTRUM"]["cards"].pop("EXPOSURE")  # noqa: E731
    spectrum = read_spectrum(make("pha", absent), exposure=50.0)
    assert spectrum.exposure == 50.0
    assert "the exposure is 50 s, as given, instead of None" in spectrum.notes[-1]
    with pytest.raises(DataFileError, match="an exposure of -1 s is given"):
        read_spectrum(make("pha"), exposure=-1.0)


@pytest.mark.parametrize(
    ("flag", "used"), [(False, True), ("F", True), ("no", True), (0, True), (None, True), (True, False), ("T", False)]
)
def test_poisserr_says_whether_errors_are_used(make, flag, used):
    def change(spec):
        spec["SPECTRUM"]["columns"]["STAT_ERR"] = ["D", None, np.array([1.0, 2.0, 3.0, 4.0])]
        spec["SPECTRUM"]["cards"]["POISSERR"] = flag
        if flag is None:
            del spec["SPECTRUM"]["cards"]["POISSERR"]

    spectrum = read_spectrum(make("pha", change))
    assert (spectrum.stat_error is not None) == used
    assert used != any("STAT_ERR is not used" in note for note in spectrum.notes)
    assert spectrum.is_poisson != used


def test_errors_of_counting_are_recognised():
    counts = np.array([0.0, 4.0, 9.0])
    assert Spectrum(counts, 1.0, stat_error=np.sqrt(counts)).is_poisson
    assert Spectrum(counts, 1.0, stat_error=1 + np.sqrt(counts + 0.75)).is_poisson
    assert not Spectrum(counts, 1.0, stat_error=3 * np.sqrt(counts)).is_poisson
    assert not Spectrum(-counts, 1.0, stat_error=np.ones(3)).is_poisson


def test_zero_and_absent_errors_are_told(make):
    def zero(spec):
        spec["SPECTRUM"]["columns"]["STAT_ERR"] = ["D", None, np.zeros(4)]
        spec["SPECTRUM"]["cards"]["POISSERR"] = False

    assert "STAT_ERR is zero; Poisson errors" in read_spectrum(make("pha", zero)).notes[-1]
    none = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(POISSERR=False))
    assert "no column STAT_ERR; Poisson errors" in read_spectrum(none).notes[-1]


def test_systematic_errors_of_a_keyword(make):
    path = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(SYS_ERR=0.03))
    assert_array_equal(read_spectrum(path).sys_error, np.full(4, 0.03))
    assert read_spectrum(make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(SYS_ERR=0))).sys_error is None


def test_background_rows_follow_a_type_two_source(make):
    spectra = read_spectra(make("pha2"), make("pha2", None, "bkg.pha2"))
    assert [s.background.exposure for s in spectra] == [10.0, 20.0, 30.0]


def test_observation_follows_the_links(make):
    pha, arf, rmf = make("pha"), make("arf"), make("rmf")
    spectrum, response = read_observation(pha)
    assert response.files == {"arf": str(arf), "rmf": str(rmf)}
    assert linked(spectrum, "background") is None
    assert [note.split(": ")[1] for note in spectrum.notes] == [
        f"the rmf is {rmf}, which RESPFILE names",
        f"the arf is {arf}, which ANCRFILE names",
    ]
    rmf.rename(rmf.with_name("other.rmf"))
    _, response = read_observation(pha, rmf=rmf.with_name("other.rmf"))
    assert response.files["rmf"].endswith("other.rmf")


def test_observation_of_a_file_with_area(make):
    def full(spec):
        rows = spec["MATRIX"]["columns"]["MATRIX"][2]
        for k, row in enumerate(rows):
            rows[k] = row * 100.0

    rsp = make("rmf", full, "test.rsp")
    bare = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(ANCRFILE="none"))
    for files in ({"rmf": rsp}, {"arf": rsp}):
        _, response = read_observation(bare, **files)
        assert response.area.max() > 50


def test_ratio_of_backgrounds(spectrum):
    # 1000 s x 0.5 against 2000 s x 1.0.
    assert_allclose(spectrum.background_ratio, 0.25)
    assert spectrum.background_ratio.shape == (4,)
    with pytest.raises(InputError, match="no background"):
        _ = spectrum.background.background_ratio


def test_band_leaves_out_bad_channels(spectrum, small):
    assert_array_equal(spectrum.band(small, 2.0, 6.0), [False, True, True, False])
    with pytest.raises(InputError, match="no good channel in 4 to 5 keV"):
        spectrum.band(small, 4.0, 5.0)


def test_a_bad_background_channel_is_bad():
    background = Spectrum(np.ones(3), 1.0, quality=np.array([0, 5, 0]))
    assert_array_equal(Spectrum(np.ones(3), 1.0, background=background).good, [True, False, True])


def test_response_must_fit(small):
    with pytest.raises(
        InputError, match="4 channels from 0 do not fit the response 'small'; expected 4 channels from 1"
    ):
        Spectrum(np.ones(4), 1.0, first_channel=0).check_response(small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": [1.0, -1.0]}, "negative counts at index 1"),
        ({"counts": [1.0, np.inf]}, "counts is not finite"),
        ({"exposure": 0.0}, "exposure 0 s"),
        ({"backscale": 0.0}, "backscale 0"),
        ({"areascale": [1.0, -1.0]}, "areascale is not positive at index 1"),
        ({"quality": [0, 0, 0]}, "2 integers"),
        ({"grouping": [0.5, 1.0]}, "2 integers"),
        ({"stat_error": [1.0, -1.0]}, "negative stat_error"),
        ({"background": Spectrum(np.ones(3), 1.0)}, "the background has 3 channels"),
    ],
)
def test_construction_is_checked(change, words):
    with pytest.raises(InputError) as caught:
        Spectrum(**({"counts": [1.0, 2.0], "exposure": 10.0, "name": "src"} | change))
    assert words in str(caught.value)
    assert "spectrum 'src'" in str(caught.value)
