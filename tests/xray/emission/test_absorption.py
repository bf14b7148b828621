"""TBabs and phabs."""

import numpy as np
import pytest
from scipy.integrate import quad

from crosscal.core.errors import DataFileError, UnknownNameError
from crosscal.xray.emission.absorption import CrossSection, cross_section, grain_shielding, read_cross_sections
from crosscal.xray.emission.expression import Model

EDGES = np.linspace(0.2, 8, 400)


@pytest.mark.parametrize("depth", [0.0, 1e-9, 1e-3, 0.7, 5.0, 200.0])
def test_grain_shielding_matches_quadrature(depth):
    def absorbed(a):
        return a**-1.5 * -np.expm1(-depth * a)

    volume = quad(lambda a: a**-0.5, 0.025, 0.25)[0]
    expected = quad(absorbed, 0.025, 0.25)[0] / (depth * volume) if depth else 1.0
    # Below 1e-7 the function is 1 to that accuracy.
    assert grain_shielding(np.array(depth)) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("model", ["TBabs", "phabs"])
@pytest.mark.parametrize("table", ["wilm", "angr", "aspl"])
def test_logarithm_is_linear_in_the_column(model, table):
    spectrum = Model(f"{model}*powerlaw", absorption_abundances=table)
    bare = Model("powerlaw").spectrum(EDGES)
    transmission = spectrum.spectrum(EDGES, nH=[0.0, 0.01, 0.1]) / bare
    assert transmission[0] == pytest.approx(np.ones(399), abs=1e-12)
    assert 10 * np.log(transmission[1]) == pytest.approx(np.log(transmission[2]), rel=1e-9)
    assert np.all(np.diff(transmission[:, 50:], axis=0) < 0)


def test_edges_are_kept():
    """The oxygen edge of phabs at 0.538 keV is a step, not a ramp."""
    sigma = cross_section("phabs", "angr")
    below, above = sigma.at(np.array([0.538 * (1 - 1e-6), 0.538 * (1 + 1e-6)]))
    assert above / below > 1.4
    on = sigma.at(np.array([0.538 * (1 - 1e-7)]))[0]
    assert on == pytest.approx(below, rel=1e-4)


def test_bins_average_gas_and_grains_before_shielding():
    sigma = cross_section("TBabs", "wilm")
    edges = np.array([0.70, 0.71])
    gas, grains = sigma.parts(edges)
    expected = gas.mean() + grains.mean() * grain_shielding(sigma.shielding * grains.mean())
    assert sigma.in_bins(edges)[0] == pytest.approx(expected, rel=1e-12)
    # Shielding is concave in the grains' depth, so the mean of the shielded values is smaller.
    assert sigma.in_bins(edges)[0] > sigma.at(edges).mean()


def test_power_law_beyond_the_table():
    sigma = cross_section("TBabs", "wilm")
    inside, outside = sigma.at(np.array([98.0])), sigma.at(np.array([100.0]))
    assert outside == pytest.approx(inside, rel=0.1)
    assert sigma.at(np.array([0.02])) > sigma.at(np.array([0.03]))
    assert np.all(np.diff(sigma.at(np.geomspace(20, 400, 30))) < 0)


def test_grainless_tables_have_no_shielding():
    table = CrossSection(np.log([0.1, 0.2, 0.5, 1, 10, 100]), np.zeros(6), np.zeros(6), 0.0)
    assert table.at(np.array([0.3, 3.0])) == pytest.approx([1.0, 1.0])


def test_unknown_abundances_are_named():
    with pytest.raises(UnknownNameError, match=r"TBabs: unknown absorption abundance table 'lodd'; expected one of"):
        Model("TBabs*apec", absorption_abundances="lodd")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"TBabs_E": np.arange(3.0), "TBabs_wilm_sigma": np.arange(4.0)},
        {"TBabs_E": np.array([2.0, 1.0]), "TBabs_wilm_sigma": np.zeros(2)},
        {"TBabs_wilm_sigma": np.zeros(2)},
    ],
)
def test_bad_file(tmp_path, arrays):
    path = tmp_path / "absorption.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataFileError, match=r"absorption\.npz: not a table of absorption"):
        read_cross_sections(path)


def test_file_that_is_none(tmp_path):
    (tmp_path / "absorption.npz").write_text("no")
    with pytest.raises(DataFileError, match="not a table of absorption"):
        read_cross_sections(tmp_path / "absorption.npz")
