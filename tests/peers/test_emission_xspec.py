"""Components against the XSPEC library (package xspectrampoline)."""

import gzip
import shutil

import numpy as np
import pytest

from crosscal.xray.emission.expression import Model

pytestmark = pytest.mark.peers

EDGES = np.linspace(0.2, 11.0, 2161)
METALS = {"He": 0.5, "C": 1.2, "N": 0.3, "O": 2.0, "Ne": 0.7, "Mg": 0.1, "Al": 3.0, "Si": 0.4} | {
    "S": 0.5, "Ar": 0.6, "Ca": 0.7, "Fe": 0.8, "Ni": 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def xspec():
    pytest.importorskip("xspectrampoline")
    from crosscal.xray.emission.xspec_library import library

    return library()


@pytest.fixture(scope="module")
def atomdb(xspec, data_dir, tmp_path_factory):
    """AtomDB's files unpacked: the XSPEC library reads no gzipped ones."""
    folder = tmp_path_factory.mktemp("atomdb")
    for path in (data_dir / "xray").glob("apec_v3.0.8_*.fits.gz"):
        with gzip.open(path) as source, open(folder / path.stem, "wb") as target:
            shutil.copyfileobj(source, target)
    xspec.set_string("APECROOT", str(folder / "apec_v3.0.8"))
    return folder


def call(xspec, function, parameters, abundances="angr", edges=EDGES):
    xspec.set_abundances(abundances)
    return xspec.call(function, edges, [float(p) for p in parameters], np.zeros(edges.size - 1))


def bright(spectrum, share=1e-9):
    return spectrum > share * spectrum.max()


@pytest.mark.parametrize("index", [-1.0, 0.0, 1.0, 1.7, 3.0])
def test_powerlaw(xspec, index):
    expected = call(xspec, "C_powerLaw", [index])
    assert Model("powerlaw").spectrum(EDGES, PhoIndex=index) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("energy", "sigma"), [(6.4, 0.1), (1.0, 0.0), (6.4, 0.0), (0.5, 0.3), (0.3, 0.4), (20.0, 0.1)])
def test_gaussian(xspec, energy, sigma):
    expected = call(xspec, "C_gaussianLine", [energy, sigma])
    found = Model("gaussian").spectrum(EDGES, LineE=energy, Sigma=sigma)
    # XSPEC interpolates a table of the error function.
    assert found == pytest.approx(expected, abs=3e-6 * max(expected.max(), 1e-10))


@pytest.mark.parametrize("kT", [0.1, 0.5, 1.0, 3.0, 8.0, 40.0, 150.0])
def test_bremss(xspec, kT):
    expected = call(xspec, "C_bremss", [kT])
    found = Model("bremss").spectrum(EDGES, kT=kT)
    seen = EDGES[1:] < 25 * kT
    # Bilinear in a table of the Gaunt factor; at E = kT and 5 kT XSPEC's own curve has steps of 0.2 %.
    error = np.abs(found[seen] / expected[seen] - 1)
    assert error.max() < 2e-3
    assert np.sqrt(np.mean(error**2)) < 4e-4


@pytest.mark.parametrize(("name", "function"), [("TBabs", "C_tbabs"), ("phabs", "C_phabs")])
@pytest.mark.parametrize("abundances", ["wilm", "angr", "aspl"])
@pytest.mark.parametrize("nH", [0.01, 0.1, 1.0, 10.0])
def test_absorption(xspec, name, function, abundances, nH):
    bare = Model("powerlaw").spectrum(EDGES)
    for edges in (EDGES, np.geomspace(0.3, 9.0, 700)):
        expected = call(xspec, function, [nH], abundances, edges)
        bare = Model("powerlaw").spectrum(edges)
        found = Model(f"{name}*powerlaw", absorption_abundances=abundances).spectrum(edges, nH=nH) / bare
        assert np.max(np.abs(found - expected)) < 1e-5


def test_absorption_of_any_column_has_one_cross_section(xspec):
    """-ln TBabs is linear in nH, which is what the tables rest on."""
    one, ten = (-np.log(call(xspec, "C_tbabs", [nH], "wilm")) for nH in (0.02, 0.2))
    assert ten == pytest.approx(10 * one, rel=1e-6)


@pytest.mark.parametrize("table", ["angr", "wilm", "lodd", "grsa"])
@pytest.mark.parametrize("kT", [0.7, 3.0, 9.0])
def test_apec(xspec, atomdb, table, kT):
    expected = call(xspec, "C_apec", [kT, 0.4, 0.1], table)
    model = Model("apec", table=atomdb, abundances=table, interp="xspec")
    found = model.spectrum(EDGES, kT=kT, Abundanc=0.4, Redshift=0.1)
    # XSPEC's abundances are in single precision.
    assert found[bright(expected)] == pytest.approx(expected[bright(expected)], rel=2e-7)


@pytest.mark.parametrize("kT", [0.7, 5.0])
def test_vapec(xspec, atomdb, kT):
    expected = call(xspec, "C_vapec", [kT, *METALS.values(), 0.05])
    found = Model("vapec", table=atomdb, interp="xspec").spectrum(EDGES, kT=kT, Redshift=0.05, **METALS)
    assert found[bright(expected)] == pytest.approx(expected[bright(expected)], rel=1e-10)


@pytest.mark.parametrize("velocity", [0.0, 100.0, 1000.0])
@pytest.mark.parametrize("kT", [1.0, 5.0])
def test_bapec(xspec, atomdb, kT, velocity):
    expected = call(xspec, "C_bapec", [kT, 0.4, 0.05, velocity])
    model = Model("bapec", table=atomdb, interp="xspec", Abundanc=0.4, Redshift=0.05)
    found = model.spectrum(EDGES, kT=kT, Velocity=velocity)
    # XSPEC cuts profiles where 1e-5 or so of a line is left.
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 * expected.max())
    assert found.sum() == pytest.approx(expected.sum(), rel=1e-6)


def test_bapec_resolves_the_iron_lines(xspec, atomdb):
    fine = np.arange(6.0, 7.0, 0.0005)
    expected = call(xspec, "C_bapec", [5.0, 0.4, 0.05, 150.0], edges=fine)
    found = Model("bapec", table=atomdb, interp="xspec").spectrum(
        fine, kT=5.0, Abundanc=0.4, Redshift=0.05, Velocity=150.0
    )
    assert found == pytest.approx(expected, abs=1e-4 * expected.max())


def test_zashift(xspec):
    edges = np.geomspace(0.05, 20.0, 4001)
    power = Model("powerlaw", PhoIndex=1.7)
    expected = xspec.call("C_zashift", edges, [0.3], power.spectrum(edges))
    found = Model("zashift*powerlaw", PhoIndex=1.7, Redshift=0.3).spectrum(edges)
    inside = (edges[:-1] > 0.1) & (edges[1:] < 10)
    # XSPEC rebins what it is given; a power law is curved inside a bin.
    assert found[inside] == pytest.approx(expected[inside], rel=1e-5)


def test_other_models_through_the_library(xspec):
    model = Model("zTBabs*(cutoffpl+diskbb)", HighECut=5.0, free=("PhoIndex",))
    batch = model.spectrum(EDGES, PhoIndex=[1.0, 2.0])
    parts = [
        call(xspec, "C_cutoffPowerLaw", [index, 5.0]) + xspec.call("xsdskb", EDGES, [1.0], np.zeros(2160))
        for index in (1.0, 2.0)
    ]
    absorbed = call(xspec, "C_ztbabs", [1.0, 0.0], "wilm")
    # Some of XSPEC's functions compute in single precision.
    assert batch == pytest.approx(absorbed * np.array(parts), rel=1e-5)


def test_library_plasma_model_with_atomdb(xspec, atomdb):
    """bvapec is not among CrossCal's own; with equal metals it is bapec."""
    metals = dict.fromkeys(("C", "N", "O", "Ne", "Mg", "Al", "Si", "S", "Ar", "Ca", "Fe", "Ni"), 0.4)
    through = Model("bvapec", table=atomdb).spectrum(EDGES, kT=4.0, Velocity=300.0, **metals)
    own = Model("bapec", table=atomdb, interp="xspec").spectrum(EDGES, kT=4.0, Velocity=300.0, Abundanc=0.4)
    assert own == pytest.approx(through, rel=1e-4, abs=1e-5 * through.max())


def test_library_plasma_model_without_data(xspec, monkeypatch):
    from crosscal.core.errors import InputError

    with pytest.raises(InputError, match="returned no photons"):
        Model("mekal").spectrum(EDGES)


def test_names_are_those_of_the_library(xspec):
    from crosscal.xray.emission.xspec import known_models

    assert known_models() == {name: d["type"] for name, d in xspec.definitions.items()}
