"""A correction as a figure, a table, a Dataset, a file, and a comparison in words."""

import numpy as np
import pytest
from astropy import units as u

import crosscal
from crosscal.core.correction import Correction
from crosscal.core.errors import InputError

ENERGY = np.geomspace(0.5, 8.0, 30)


def curve(shift=0.0, sd=0.01):
    n = len(ENERGY)
    log = shift * (ENERGY > 4)
    return Correction(ENERGY, np.exp(log), sd**2 * np.eye(n), "energy", unit="keV", target="area of acis")


def named(names=("pn", "mos"), factor=(1.0, 1.1)):
    return Correction(np.array(names), np.array(factor), 1e-4 * np.eye(len(names)), "instrument")


@pytest.mark.parametrize("correction", [curve(0.1), named()], ids=["numbers", "names"])
def test_table_dataset_and_files_hold_the_same(correction, tmp_path):
    table, data = correction.to_table(), correction.to_xarray()
    np.testing.assert_array_equal(table["factor"], correction.factor)
    np.testing.assert_array_equal(data["log_covariance"], correction.covariance)
    assert correction.write(tmp_path / "a.ecsv").is_file()
    again = crosscal.read_correction(correction.write(tmp_path / "b.nc"))
    np.testing.assert_array_equal(again.factor, correction.factor)
    assert (again.axis, again.unit, again.target) == (correction.axis, correction.unit, correction.target)
    with pytest.raises(InputError, match=r"suffix '\.csv'.*expected \.nc or \.ecsv"):
        correction.write(tmp_path / "c.csv")


def test_a_table_has_the_unit_of_the_coordinate():
    assert curve().to_table()["energy"].unit == u.keV


def test_two_corrections_share_axes_in_one_line():
    ax = curve(0.1).plot(curve().plot(label="first"), label="second")
    assert ax.get_lines()[0].get_label() == "first (68, 95 %)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["first (68, 95 %)", "second (68, 95 %)"]
    assert ax.get_xlabel() == "Energy (keV)"
    colours = [line.get_color() for line in ax.get_lines() if "68" in line.get_label()]
    assert len(set(colours)) == 2
    both = named(factor=(1.0, 0.9)).plot(named().plot(label="a"), label="b")
    assert [t.get_text() for t in both.get_xticklabels()] == ["pn", "mos"]
    with pytest.raises(InputError, match=r"the axes are against Energy \(keV\); expected axes against Instrument"):
        named().plot(ax)
    with pytest.raises(InputError, match=r"the axes show other names; expected pn, acis"):
        named(("pn", "acis")).plot(both)


def test_a_comparison_says_in_words_where_they_differ():
    text = str(curve(0.1).compare(curve()))
    assert text.startswith("The corrections disagree over 0.5 to 8 keV: chi2 = ")
    # exp(0.1) - 1 = 10.5 %; 0.1 / (sqrt(2) 0.01) = 7.1.
    assert text.endswith("where the first is 11 % above the second (7.1 standard deviations).")
    assert "They differ most at 4." in text
    assert str(curve().compare(curve())).endswith("They are equal.")
    text = str(named().compare(named(factor=(1.0, 1.2))))
    assert text.endswith(
        "They differ most for mos, where the second is 9.1 % above the first (6.2 standard deviations)."
    )
    assert "disagree for 2 instruments" in text
    certain = Correction(ENERGY, np.full(30, 1.1), np.zeros((30, 30)), "energy", unit="keV")
    text = str(certain.compare(Correction(ENERGY, np.ones(30), np.zeros((30, 30)), "energy", unit="keV")))
    assert text.startswith("Neither correction has a variance")
    assert text.endswith("where the first is 10 % above the second.")
    assert "disagree" in curve(0.1).compare(curve())._repr_html_()
