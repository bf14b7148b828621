"""Tables of spectra whose responses and backgrounds stand in the headers of the spectra."""

import dataclasses
import shutil

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import InputError
from crosscal.datasets import builtin_directory
from crosscal.xray.correction.observations_io import listed_files, read_observations
from crosscal.xray.instrument.checks import told_once

MODEL = xray.Model("TBabs*powerlaw", PhoIndex=1.7, norm=1e-3)


@pytest.fixture
def directory(tmp_path):
    """Two spectra with a background, linked to the example telescope's files."""
    response = xray.example_telescope("a")
    for suffix in (".arf", ".rmf.gz"):
        shutil.copy(builtin_directory() / "xray" / f"example_a{suffix}", tmp_path)
    sky = xray.Spectrum(np.full(response.n_channel, 3.0), 1e5, backscale=10.0, first_channel=response.first_channel)
    links = {"rmf": "example_a.rmf", "arf": "example_a.arf", "background": "sky.pha"}
    xray.write_spectrum(tmp_path / "sky.pha", sky)
    for name in ("s1", "s2"):
        spectrum = xray.fakeit(response, MODEL, counts=500, band=(0.7, 7.0), background=sky)
        xray.write_spectrum(tmp_path / f"{name}.pha", dataclasses.replace(spectrum, links=links))
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize(("suffix", "mark"), [(".csv", ","), (".tsv", "\t"), (".txt", " ")])
def test_headers_say_what_the_table_does_not(directory, suffix, mark):
    path = directory / f"observations{suffix}"
    rows = [("source", "telescope", "pha", "nH"), ("a", "A", "s1.pha", "0.02"), ("b", "A", "s2.pha", "0.03")]
    path.write_text("\n".join(mark.join(row) for row in rows))
    first, second = read_observations(path, MODEL)
    assert first.response is second.response
    assert first.spectrum.background is not None
    assert first.model.parameter("nH").default == 0.02
    files = {"pha": "s{}.pha", "arf": "example_a.arf", "rmf": "example_a.rmf.gz", "background": "sky.pha"}
    named = {f"row {k}, {role}": directory / file.format(k) for k in (1, 2) for role, file in files.items()}
    assert listed_files(path) == named
    once = told_once([*first.spectrum.notes, *second.spectrum.notes])
    assert len(once) == 3
    assert all(note.endswith("names (and so in 1 more)") for note in once)


def test_the_table_comes_first(directory):
    (directory / "moved.pha").write_bytes((directory / "sky.pha").read_bytes())
    (directory / "sky.pha").unlink()
    path = directory / "observations.csv"
    head = "source,telescope,pha,background,exposure,row\n"
    path.write_text(head + "a,A,s1.pha,moved.pha,,\nb,A,s2.pha,none,77,1\n")
    first, second = read_observations(path, MODEL)
    assert first.spectrum.background is not None
    assert (second.spectrum.background, second.spectrum.exposure) == (None, 77.0)
    path.write_text(head + "a,A,s1.pha,,,\n")
    with pytest.raises(InputError, match=r"row 1: .*s1\.pha: BACKFILE names 'sky\.pha', which is not there"):
        read_observations(path, MODEL)
    path.write_text(head + "a,A,s1.pha,none,long,\n")
    with pytest.raises(InputError, match="row 1: a row or exposure is not a number"):
        read_observations(path, MODEL)


def test_a_column_of_regions_is_told(directory):
    path = directory / "observations.csv"
    path.write_text("source,telescope,pha,region\na,A,s1.pha,core.reg\nb,A,s2.pha,core.reg\n")
    notes = [note for o in read_observations(path, MODEL) for note in o.spectrum.notes if "column 'region'" in note]
    assert notes == [f"{path}: column 'region' is not used"]


def test_notes_are_told_once():
    assert told_once(["/a/b: x", "/c/d: x", "y", "y"]) == ["/a/b: x (and so in 1 more)", "y"]


def test_a_save_file_of_xspec_stands_for_its_spectrum(directory):
    text = (
        "data 1:1 s1.pha\nbackgrnd 1:1 sky.pha\nignore 1:**-0.5\nmodel TBabs*powerlaw\n0.07 -0.1\n1.5 0.01\n1e-3 0.01\n"
    )
    (directory / "a.xcm").write_text(text)
    path = directory / "observations.csv"
    path.write_text("source,telescope,pha\na,A,a.xcm\nb,A,s2.pha\n")
    first, second = read_observations(path, MODEL)
    assert first.spectrum.files["pha"] == str(directory / "s1.pha")
    assert first.spectrum.background is not None
    assert first.model.parameter("nH").default == 0.07
    # What is free keeps the job's start.
    assert first.model.parameter("PhoIndex").default == 1.7
    assert second.model.parameter("nH").default == MODEL.parameter("nH").default
    assert any("not of ignore **-0.5" in note for note in first.spectrum.notes)
    files = listed_files(path)
    assert files["row 1, background of a.xcm"] == directory / "sky.pha"
    (directory / "a.xcm").write_text(text.replace("data 1:1 s1.pha\n", ""))
    with pytest.raises(InputError, match="row 1: save file: no spectrum; expected the command data"):
        read_observations(path, MODEL)


@pytest.mark.parametrize("given", [("example_a.arf", ""), ("", "example_a.rmf.gz"), ("", "")])
def test_the_telescope_completes_what_neither_table_nor_header_names(directory, given):
    spectrum = dataclasses.replace(xray.read_spectrum(directory / "s1.pha", "none"), links={})
    xray.write_spectrum(directory / "alone.pha", spectrum)
    path = directory / "observations.csv"
    path.write_text("source,telescope,pha,arf,rmf\na,A,alone.pha,{},{}\nb,B,s2.pha,,\n".format(*given))
    with pytest.raises(InputError, match="row 1: "):
        read_observations(path, MODEL)
    own = xray.read_response(directory / "example_a.arf", directory / "example_a.rmf.gz", name="A")
    first, second = read_observations(path, MODEL, responses={"A": own})
    assert np.array_equal(first.response.area, own.area)
    assert np.array_equal(first.response.redistribution.toarray(), own.redistribution.toarray())
    notes = [n for n in (*first.spectrum.notes, *first.response.notes) if "that of A is used" in n]
    assert len(notes) == 1
    assert not any("is used" in n for n in (*second.spectrum.notes, *second.response.notes))
    # Files that are named and not there are still missed.
    path.write_text("source,telescope,pha\na,A,s1.pha\n")
    (directory / "example_a.rmf.gz").unlink()
    with pytest.raises(InputError, match=r"RESPFILE names 'example_a\.rmf', which is not there"):
        read_observations(path, MODEL, responses={"A": own})
