"""``crosscal compare``: what it prints, what it writes, and what it refuses."""

import json

import numpy as np
import pytest
from astropy.table import QTable

from crosscal.core.correction import Correction
from crosscal.datasets import read_correction, write_correction

ENERGY = np.geomspace(0.5, 8.0, 30)


def curve(shift: float, sd: float = 0.01, energy=ENERGY) -> Correction:
    """One grey factor: a covariance with a single direction, on many energies."""
    n = len(energy)
    return Correction(energy, np.full(n, np.exp(shift)), np.full((n, n), sd**2), "energy", unit="keV", target="area")


@pytest.fixture
def runs(tmp_path):
    for name, correction in {"a": curve(0.0), "b": curve(0.02), "c": curve(0.1, energy=ENERGY[5:] * 1.5)}.items():
        write_correction(tmp_path / name / "correction.nc", correction)
    return tmp_path


def test_agreement_in_words_and_numbers(runs, crosscal):
    code, text, _ = crosscal("compare", str(runs / "a"), str(runs / "b"), "-o", str(runs / "out"), "--average")
    assert code == 0
    # (0.02)^2 / (2 * 0.01^2) = 2 in the one direction that has a variance.
    assert "The corrections agree over 0.5 to 8 keV: chi2 = 2.00 for 1 degree of freedom, p = 0.16." in text
    facts = json.loads((runs / "out" / "comparison.json").read_text())
    assert facts["chi2"] == pytest.approx(2.0)
    assert facts["dof"] == 1
    table = QTable.read(runs / "out" / "comparison.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(table["pull"], -np.sqrt(2))
    assert table["energy"].unit == "keV"
    mean = read_correction(runs / "out")
    np.testing.assert_allclose(np.log(mean.factor), 0.01)
    np.testing.assert_allclose(mean.sd, 0.01 / np.sqrt(2))
    assert (runs / "out" / "comparison.png").stat().st_size > 5000


def test_disagreement_on_the_common_range(runs, crosscal):
    code, text, _ = crosscal("compare", str(runs / "a"), str(runs / "c" / "correction.nc"))
    assert code == 0
    assert "disagree over 1.301 to 8 keV" in text
    assert "chi2 = 50.00 for 1 degree" in text


def test_names_are_matched(tmp_path, crosscal):
    first = Correction(np.array(["x", "y", "z"]), np.ones(3), 1e-4 * np.eye(3), "telescope")
    second = Correction(np.array(["z", "w", "x"]), np.array([1.01, 2.0, 1.0]), 1e-4 * np.eye(3), "telescope")
    for name, correction in (("a.nc", first), ("b.nc", second)):
        write_correction(tmp_path / name, correction)
    assert (
        "agree for 2 telescopes: chi2 = 0.50 for 2 degrees"
        in crosscal("compare", str(tmp_path / "a.nc"), str(tmp_path / "b.nc"))[1]
    )


def test_without_variance_there_is_nothing_to_test(tmp_path, crosscal):
    for name, shift in (("a.nc", 0.0), ("b.nc", 0.05)):
        write_correction(tmp_path / name, curve(shift, sd=0.0))
    code, text, _ = crosscal("compare", str(tmp_path / "a.nc"), str(tmp_path / "b.nc"))
    assert code == 0
    assert "nothing to test" in text
    assert "differ by up to 5 %" in text


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (curve(0.0, energy=ENERGY + 100), "they have no energy in common"),
        (Correction(np.array(["a"]), np.ones(1), np.eye(1), "instrument"), "(keV), the second given per instrument"),
    ],
)
def test_nothing_in_common(runs, other, sentence, crosscal):
    write_correction(runs / "other.nc", other)
    code, _, error = crosscal("compare", str(runs / "a"), str(runs / "other.nc"), "-o", str(runs / "out"))
    assert code == 1
    assert sentence in error
    assert not (runs / "out").exists()


def test_average_needs_an_output(runs, crosscal):
    code, _, error = crosscal("compare", str(runs / "a"), str(runs / "b"), "--average")
    assert code == 1
    assert "--output DIRECTORY" in error


def test_any_name_of_an_instrument_is_shown_as_it_is(tmp_path, crosscal):
    names = np.array(["[/b]", "[red]pn", ":smile:", "$x_{$", "_m1", "<b>&amp;", "\\alpha{"])
    n = len(names)
    for run, shift in (("$a_{", 0.0), ("_b", 0.01)):
        found = Correction(names, np.full(n, np.exp(shift)), 0.01**2 * np.eye(n), "instrument", target="area")
        write_correction(tmp_path / run / "correction.nc", found)
    code, text, err = crosscal("compare", str(tmp_path / "$a_{"), str(tmp_path / "_b"), "-o", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    assert all(name in text for name in names)
    assert list(QTable.read(tmp_path / "out" / "comparison.ecsv", format="ascii.ecsv")["instrument"]) == list(names)
    drawn = (tmp_path / "out" / "comparison.svg").read_text()
    assert "$a_{ (68, 95 %)" in drawn
    assert "_b (68, 95 %)" in drawn
    assert "\\alpha{" in drawn


def test_json_is_all_of_standard_output(runs, crosscal):
    code, out, err = crosscal("compare", str(runs / "a"), str(runs / "b"), "--json", "-o", str(runs / "out"))
    told = json.loads(out)
    assert code == 0
    assert told["chi2"] == pytest.approx(2.0)
    assert "agree over 0.5 to 8 keV" in told["answer"]
    assert "Written to" in err
