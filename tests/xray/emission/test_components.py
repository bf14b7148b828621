"""Closed-form components against quadrature, and the plasma components on the built-in table."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.emission import bremss
from crosscal.xray.emission.expression import Model
from crosscal.xray.emission.lines import ATOMIC_MASS_KEV

EDGES = np.geomspace(0.3, 10, 200)
METALS = ("C", "N", "O", "Ne", "Mg", "Al", "Si", "S", "Ar", "Ca", "Fe", "Ni")


@pytest.mark.parametrize("index", [-2.0, 0.0, 1.0, 1.0 + 1e-13, 1.7, 4.0])
def test_powerlaw(index):
    found = Model("powerlaw").spectrum(EDGES, PhoIndex=index, norm=3.0)
    expected = [3 * quad(lambda e: e**-index, a, b)[0] for a, b in pairwise(EDGES)]
    assert found == pytest.approx(expected, rel=1e-10)


def test_powerlaw_is_smooth_through_one():
    found = Model("powerlaw").spectrum(EDGES, PhoIndex=1 + np.array([-1e-9, 0, 1e-9]))
    assert found[0] + found[2] == pytest.approx(2 * found[1], rel=1e-14)


def test_gaussian_holds_its_photons():
    model = Model("gaussian", norm=2.0)
    found = model.spectrum(EDGES, LineE=[2.0, 5.0], Sigma=[0.05, 0.2])
    assert found.sum(axis=1) == pytest.approx([2.0, 2.0], rel=1e-9)
    assert found[0] == pytest.approx(2 * np.diff(norm.cdf(EDGES, 2.0, 0.05)), abs=1e-14)


def test_sharp_gaussian_falls_into_one_bin():
    found = Model("gaussian", Sigma=0.0).spectrum(EDGES, LineE=2.5)
    assert found.sum() == 1.0
    k = int(np.argmax(found))
    assert EDGES[k] < 2.5 <= EDGES[k + 1]
    assert not Model("gaussian", Sigma=0.0).spectrum(EDGES, LineE=20.0).any()


def test_gaussian_near_zero_energy_is_normalised_to_positive_energies():
    edges = np.linspace(1e-9, 5, 2001)
    assert Model("gaussian").spectrum(edges, LineE=0.2, Sigma=0.3).sum() == pytest.approx(1.0, rel=1e-8)


def test_constant_and_numbers_scale():
    one = Model("powerlaw").spectrum(EDGES)
    assert Model("constant*powerlaw", factor=2.5).spectrum(EDGES) == pytest.approx(2.5 * one)
    assert Model("2.5*powerlaw").spectrum(EDGES) == pytest.approx(2.5 * one)
    assert Model("constant*powerlaw").spectrum(EDGES, factor=[[1.0], [2.0]]).shape == (2, 1, 199)


def test_bremss_on_fine_bins_is_the_integral():
    edges = np.linspace(1.0, 2.0, 401)
    found = Model("bremss").spectrum(edges, kT=3.0)

    def density(e):
        return float(bremss.gaunt_factor(np.array(e / 3.0), np.array(3.0))) * np.exp(-e / 3.0) / (e * np.sqrt(3.0))

    assert found.sum() == pytest.approx(quad(density, 1.0, 2.0, limit=200)[0], rel=1e-5)


def test_gaunt_factor_is_smooth_but_for_its_two_joints():
    u = np.geomspace(1e-3, 30, 4001)
    for kT in (0.3, 3.0, 30.0):
        step = np.abs(np.diff(np.log(bremss.gaunt_factor(u, np.array(kT)))))
        joints = np.minimum(np.abs(np.log(u[:-1])), np.abs(np.log(u[:-1] / 5))) < 0.01
        assert step[~joints].max() < 0.002
        assert step.max() < 0.006


def test_gaunt_factor_on_a_joint_takes_the_upper_branch():
    on, above = (bremss.gaunt_factor(np.array(u), np.array(2.0)) for u in (5.0, 5.0 * (1 + 1e-9)))
    assert on == pytest.approx(above, rel=1e-6)


@pytest.mark.parametrize("arrays", [{}, {"log_u": np.arange(3.0), "log_kT": np.arange(2.0), "factor": np.ones((3, 2))}])
def test_bad_gaunt_file(tmp_path, arrays):
    np.savez(tmp_path / "gaunt.npz", **arrays)
    with pytest.raises(DataFileError, match=r"gaunt\.npz: not a table of Gaunt factors"):
        bremss.read_gaunt(tmp_path / "gaunt.npz")


def test_zashift_of_a_power_law_is_a_factor():
    bare = Model("powerlaw", PhoIndex=1.7)
    shifted = Model("zashift*powerlaw", PhoIndex=1.7)
    z = np.array([0.0, 0.5])
    # integral of (E (1+z))^-1.7 d(E (1+z)) / (1+z)
    expected = bare.spectrum(EDGES) * ((1 + z) ** (1 - 1.7) / (1 + z))[:, None]
    assert shifted.spectrum(EDGES, Redshift=z) == pytest.approx(expected, rel=1e-10)


def test_zashift_acts_on_all_that_follows_and_broadcasts():
    model = Model("TBabs*zashift(phabs*powerlaw)", nH=0.1, nH_2=0.2)
    batch = model.spectrum(EDGES, Redshift=[0.1, 0.3], PhoIndex=[[1.0], [2.0], [3.0]])
    assert batch.shape == (3, 2, 199)
    assert batch[1, 1] == pytest.approx(model.spectrum(EDGES, Redshift=0.3, PhoIndex=2.0), rel=1e-13)
    z = 0.3
    inner = Model("phabs*powerlaw", nH=0.2, PhoIndex=2.0).spectrum(EDGES * (1 + z)) / (1 + z)
    outer = Model("TBabs*powerlaw", nH=0.1).spectrum(EDGES) / Model("powerlaw").spectrum(EDGES)
    assert batch[1, 1] == pytest.approx(outer * inner, rel=1e-12)


def test_zashift_of_a_plasma_is_its_redshift():
    shifted = Model("zashift*apec").spectrum(EDGES, Redshift=0.1, kT=4.0)
    assert shifted == pytest.approx(Model("apec").spectrum(EDGES, Redshift=0.1, kT=4.0), rel=1e-9)


def test_redshift_moves_a_bright_line():
    fine = np.linspace(5.5, 7, 1501)
    model = Model("apec", kT=5.0)
    for z in (0.0, 0.05, 0.1):
        spectrum = model.spectrum(fine, Redshift=z)
        # He-like iron's resonance line at 6.700 keV.
        assert fine[np.argmax(spectrum)] * (1 + z) == pytest.approx(6.700, abs=0.003)


def test_vapec_with_equal_metals_is_apec():
    apec = Model("apec").spectrum(EDGES, kT=2.0, Abundanc=0.4, Redshift=0.05)
    vapec = Model("vapec").spectrum(EDGES, kT=2.0, Redshift=0.05, **dict.fromkeys(METALS, 0.4))
    assert vapec == pytest.approx(apec, rel=1e-12)


def test_iron_abundance_changes_only_iron_and_linearly():
    model = Model("vapec", kT=4.0)
    zero, one, two = model.spectrum(EDGES, Fe=[0.0, 1.0, 2.0])
    assert one - zero == pytest.approx(two - one, rel=1e-9, abs=1e-18)
    hard = EDGES[:-1] > 3  # iron's L shell at 1 keV is brighter still
    brightest = np.argmax(np.where(hard, (one - zero) / np.diff(EDGES), 0.0))
    assert brightest == np.searchsorted(EDGES, 6.7) - 1


def test_bapec_conserves_photons_and_broadens():
    fine = np.linspace(6.4, 7.1, 1401)
    narrow = Model("bapec", kT=5.0).spectrum(fine)
    wide = Model("bapec", kT=5.0).spectrum(fine, Velocity=[0.0, 1000.0])
    assert wide.sum(axis=1) == pytest.approx(np.full(2, narrow.sum()), rel=1e-2)  # some leave the band
    assert wide[0].max() > 2 * wide[1].max()
    thermal = 6.7 * np.sqrt(5.0 / (55.845 * ATOMIC_MASS_KEV))
    assert 0.0015 < thermal < 0.0025  # the narrow profile spans several bins of 0.5 eV
    assert narrow.max() < 0.5 * Model("apec", kT=5.0).spectrum(fine).max()


@pytest.mark.parametrize("interp", ["spline", "xspec"])
def test_batch_equals_loop(interp):
    model = Model("TBabs*apec", nH=0.05, interp=interp)
    kT, metals, z = np.array([0.7, 3.0, 11.0]), np.array([0.2, 0.5, 1.0]), np.array([0.0, 0.05, 0.05])
    batch = model.spectrum(EDGES, kT=kT, Abundanc=metals, Redshift=z)
    for k in range(3):
        single = model.spectrum(EDGES, kT=kT[k], Abundanc=metals[k], Redshift=z[k])
        assert batch[k] == pytest.approx(single, rel=1e-10)


@pytest.mark.parametrize("interp", ["spline", "xspec"])
def test_nodes_reproduce_the_spectrum(interp):
    """What a fit builds on: node spectra and the declared interpolation give every temperature."""
    model = Model("TBabs*apec", nH=0.05, Redshift=0.1, interp=interp)
    nodes = model.nodes("kT")
    spectra = model.spectrum(EDGES, kT=nodes)
    kT = np.geomspace(0.5, 20, 13)
    if model.interpolation("kT") == "linear":
        expected = np.stack([np.interp(kT, nodes, column) for column in spectra.T], axis=1)
    else:
        from scipy.interpolate import CubicSpline

        expected = np.maximum(CubicSpline(np.log(nodes), spectra)(np.log(kT)), 0)
    assert model.spectrum(EDGES, kT=kT) == pytest.approx(expected, rel=1e-9, abs=1e-20)


def test_cold_plasma_is_never_negative():
    found = Model("apec").spectrum(EDGES, kT=np.geomspace(0.09, 0.5, 40))
    assert found.min() >= 0


def test_temperature_outside_the_table():
    model = Model("apec")
    with pytest.raises(
        InputError, match=r"model 'apec': kT = 0\.05 keV is outside the plasma table; expected 0\.08617"
    ):
        model.spectrum(EDGES, kT=[1.0, 0.05])
    with pytest.raises(InputError, match="outside the plasma table"):
        Model("apec", kT=90.0)
    # The end of the table itself is inside.
    model.spectrum(EDGES, kT=model.nodes("kT")[[0, -1]])
