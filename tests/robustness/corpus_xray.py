"""Readers of the X-ray part with small valid inputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.reading import read_text

from .harness import Reader
from .sibling import sibling


def _ogip() -> Any:
    return sibling("xray/instrument/conftest.py")


def _file(kind: str, change: Any = None) -> Any:
    def build(directory: Path) -> Path:
        spec = _ogip().SPECS[kind]()
        if change is not None:
            change(spec)
        return _ogip().write_spec(spec, directory / f"test.{kind}")

    return build


def _type_two(directory: Path) -> Path:
    """Three spectra in one file; the second has a background."""
    _ogip().write_spec(_ogip().pha_spec(), directory / "bkg2.pha")
    return _file("pha2")(directory)


def _observation(directory: Path) -> Path:
    """A spectrum beside the files that its header names."""
    for kind in ("arf", "rmf"):
        _file(kind)(directory)
    ogip = _ogip()
    spec = ogip.pha_spec()
    ogip.write_spec(spec, directory / "test.bkg")
    spec["SPECTRUM"]["cards"]["BACKFILE"] = "test.bkg"
    return ogip.write_spec(spec, directory / "test.pha")


def _pca(spec: Any) -> None:
    spec["SPECRESP"]["columns"]["BIAS"] = ["E", "cm**2", np.zeros(5)]
    spec["SPECRESP"]["cards"]["EMETHOD"] = "PCA1DADD"
    spec["PCACOMP"] = {
        "columns": {
            "COMPONENT": ["I", None, np.array([1, 2])],
            "FVARIANCE": ["E", None, np.array([0.9, 0.1])],
            "EIGENVAL": ["E", None, np.array([2.0, 1.0])],
            "EIGENVEC": ["5E", None, np.eye(5)[:2]],
        },
        "cards": {"HDUCLAS1": "CALERR", "HDUCLAS2": "PCACOMP"},
    }


def _ensemble(suffix: str) -> Any:
    def build(directory: Path) -> Path:
        from crosscal.xray.instrument.ensemble import write_arf_ensemble
        from crosscal.xray.instrument.ogip import read_response

        (directory / "source").mkdir()
        _observation(directory / "source")
        response = read_response(directory / "source/test.arf", directory / "source/test.rmf")
        draws = response.area * np.array([[0.9], [1.0], [1.1]])
        return write_arf_ensemble(directory / f"draws{suffix}", response, draws)

    return build


def _pairs(suffix: str, *, samples: bool = False) -> Any:
    def build(directory: Path) -> Path:
        from crosscal.xray.correction.pairs import PairedSources
        from crosscal.xray.correction.pairs_io import write_pairs

        rng = np.random.default_rng(3)
        names, telescopes, quantities = ["a", "b", "c"], ("pn", "acis"), ("kT", "norm")
        draws = 5 + 0.1 * rng.normal(size=(2, 3, 40, 2))
        if samples:
            pairs = PairedSources.from_samples(names, telescopes, quantities, draws)
        else:
            covariance = np.tile(np.diag([0.01, 0.02]), (2, 3, 1, 1))
            pairs = PairedSources(tuple(names), telescopes, quantities, draws[:, :, 0], covariance)
        return write_pairs(directory / f"pairs{suffix}", pairs)

    return build


def _published(name: str, file: str) -> Any:
    def build(directory: Path) -> Path:
        text = getattr(sibling("xray/correction/test_published_pairs.py"), name)
        path = directory / file
        path.write_text(text.format(kT=5.0, error=0.2, low=4.8, high=5.2) if name == "LOG" else text)
        return path

    return build


def _saved(directory: Path) -> Path:
    path = directory / "s.xcm"
    path.write_text(sibling("xray/correction/test_xcm.py").SAVED)
    return path


def _sherpa(directory: Path) -> Path:
    path = directory / "s.py"
    path.write_text(sibling("xray/correction/test_sherpa_save.py").SAVED)
    return path


def _logs(directory: Path) -> Path:
    """A table that names a log of XSPEC for each source and telescope."""
    _published("LOG", "a.log")(directory)
    path = directory / "rows.csv"
    path.write_text("source,telescope,log\nA,pn,a.log\nA,acis,a.log\n")
    return path


def _observations(directory: Path) -> Path:
    _observation(directory)
    path = directory / "observations.csv"
    path.write_text(
        "source,telescope,pha,arf,rmf,background,nH\n"
        "a,pn,test.pha,test.arf,test.rmf,test.bkg,0.05\nb,pn,test.pha,test.arf,test.rmf,none,0.1\n"
    )
    return path


def _read_observations(path: Path) -> object:
    from crosscal.xray.correction.observations_io import read_observations
    from crosscal.xray.emission.expression import Model

    return read_observations(path, Model("TBabs*powerlaw"))


def _atomdb(directory: Path) -> Path:
    sibling("xray/emission/conftest.py").make(directory, n_kT=4)
    return directory


def _plasma(directory: Path) -> Path:
    from crosscal.xray.emission.build import build_plasma

    source = directory / "atomdb"
    source.mkdir(parents=True)
    path = build_plasma(_atomdb(source), None, directory / "plasma.npz", bins=40, lines=20)
    for file in source.iterdir():
        file.unlink()
    return path


def _use_plasma(path: Path) -> object:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.emission.tablefile import plasma_table

    return Model("apec", table=plasma_table(path)).spectrum(np.linspace(0.5, 8, 20), kT=2.0)


def _packaged(name: str) -> Any:
    def build(directory: Path) -> Path:
        from importlib.resources import files

        path = directory / name
        path.write_bytes(files("crosscal.xray.emission").joinpath(f"data/{name}").read_bytes())
        return path

    return build


def _factors(suffix: str) -> Any:
    texts = {
        ".txt": "# energy factor\n0.5 1.0\n1.0 0.9\n4.0 1.1\n",
        ".csv": "energy,factor\n0.5,1.0\n1.0,0.9\n4.0,1.1\n",
        ".ecsv": (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: energy, unit: eV, datatype: float64}\n"
            "# - {name: factor, datatype: float64}\nenergy factor\n500 1.0\n1000 0.9\n4000 1.1\n"
        ),
    }

    def build(directory: Path) -> Path:
        path = directory / f"factors{suffix}"
        path.write_text(texts[suffix])
        return path

    return build


def _xcalforge(directory: Path) -> Path:
    import h5py

    a, mu, sigma, kT = np.array([-0.1, 0.0, 0.1]), np.array([1.0, 4.0]), np.array([0.5, 1.0]), np.array([2.0, 6.0])
    best = np.full((3, 2, 2, 2), 3.0)
    with h5py.File(directory / "library.h5", "w") as handle:
        for name, values in (("A", a), ("mu", mu), ("sigma", sigma)):
            handle[f"PARAMS/{name}"] = values
        handle["LIBRARY/temps"] = kT
        handle["LIBRARY/results"] = np.stack([best - 0.2, best, best + 0.3], axis=-1)
    return directory


def _use_library(library: Any) -> object:
    library.summary()
    return library.values("kT"), library.errors("kT"), library.theta, library.modifier, library.failures()


@lru_cache
def _library_files() -> dict[Path, bytes]:
    import tempfile

    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.examples import example_telescope
    from crosscal.xray.library.generate import build_library
    from crosscal.xray.modifiers.gaussian import Gaussian

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "library.zarr"
        design = Gaussian.grid(A=(-0.1, 0.1, 3), mu=(1.5, 4.0, 2), sigma=0.8)
        build_library(
            example_telescope("a"), Model("TBabs*apec", nH=0.05), design, kT=[2.0, 6.0], band=(0.7, 7.0), counts=2e4,
            store=path, executor="serial",
        )  # fmt: skip
        return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def _library(directory: Path) -> Path:
    for name, content in _library_files().items():
        path = directory / "library.zarr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory / "library.zarr"


def _open_library(path: Path) -> object:
    from crosscal.xray.library.library import Library

    return _use_library(Library.open(path))


def _read_xcalforge(path: Path) -> object:
    from crosscal.xray.library.xcalforge import read_xcalforge

    return _use_library(read_xcalforge(path))


def _calibration(directory: Path) -> Path:
    from crosscal.core.grid import Axis, Grid
    from crosscal.emulator import TrainingTable, train
    from crosscal.xray.correction.emulate import OUTPUTS, CalibrationEmulator
    from crosscal.xray.modifiers.gaussian import Gaussian

    grid = Grid(
        (
            Axis.from_range("A", -0.3, 0.3, 4),
            Axis.from_range("mu", 0.7, 7.0, 4, unit="keV"),
            Axis.from_range("sigma", 0.4, 2.0, 4, unit="keV"),
            Axis.from_range("T_true", 1.0, 15.0, 4, unit="keV", scale="log"),
        )
    )
    values = grid.points @ np.array([[1.0, 0.1, 0.2, 0.0]]).T
    table = TrainingTable.from_grid(grid, [OUTPUTS["kT"]], values)
    emulator = CalibrationEmulator(train(table, "spline"), Gaussian(), {}, "pn", {OUTPUTS["kT"]: 0.01})
    return emulator.save(directory / "calibration.npz")


def _use_calibration(path: Path) -> object:
    from crosscal.xray.correction.emulate import CalibrationEmulator

    loaded = CalibrationEmulator.load(path)
    theta = np.array([[0.1, 2.0, 1.0]])
    return loaded.factor(np.array([1.0, 2.0]), theta), loaded.emulator(np.array([[0.1, 2.0, 1.0, 4.0]]))


MODEL_DAT = """powerlaw       1   0.         1.e20           C_powerlaw  add  0
PhoIndex " "    1.0   -3.      -2.      9.      10.     0.01

apec           3   0.         1.e20           C_apec  add  0
kT      keV     1.    0.008   0.008   64.0      64.0      .01
Abundanc " "    1.    0.      0.      5.        5.        -0.001
*redshift " "   0.
"""


def _definitions(directory: Path) -> Path:
    path = directory / "model.dat"
    path.write_text(MODEL_DAT)
    return path


def _read(name: str) -> Any:
    """Call a public reader by its dotted name."""

    def call(path: Path) -> object:
        from importlib import import_module

        module, _, attribute = f"crosscal.{name}".rpartition(".")
        try:
            return getattr(import_module(module), attribute)(path)
        except ModuleNotFoundError:
            module, _, owner = module.rpartition(".")
            return getattr(getattr(import_module(module), owner), attribute)(path)

    return call


def _response(path: Path) -> object:
    from crosscal.xray.instrument.ogip import read_response

    return read_response(path.with_suffix(".arf"), path.with_suffix(".rmf")).fold(np.ones(5))


def _definitions_text(path: Path) -> object:
    from crosscal.xray.emission.xspec_library import read_definitions

    return read_definitions(read_text(path))


def simple(name: str, build: Any, tag: str = "", **options: Any) -> Reader:
    """A reader that is called with the path alone."""
    return Reader(name, build, _read(name), tag, **options)


READERS = [
    simple("xray.instrument.ogip_arf.read_arf", _file("arf"), covers=("xray.instrument.ogip_table.opened",)),
    simple("xray.instrument.ogip_rmf.read_rmf", _file("rmf")),
    Reader("xray.instrument.ogip.read_response", _observation, _response),
    simple("xray.instrument.ogip_spectrum.read_spectra", _file("pha"), "type1"),
    simple("xray.instrument.ogip_spectrum.read_spectra", _type_two, "type2"),
    simple("xray.instrument.ogip_spectrum.read_spectrum", _file("pha")),
    simple(
        "xray.instrument.ogip_spectrum.read_observation",
        _observation,
        covers=("xray.instrument.links.linked", "xray.instrument.ogip_spectrum.read_linked"),
    ),
    simple("xray.instrument.ogip_pca.read_pca_library", _file("arf", _pca)),
    simple("xray.instrument.ensemble.read_arf_ensemble", _ensemble(".arf"), "file"),
    simple("xray.instrument.ensemble.read_arf_ensemble", _ensemble(""), "directory"),
    simple("xray.correction.pairs_io.read_pairs", _pairs(".ecsv"), "ecsv"),
    simple(
        "xray.correction.pairs_io.read_pairs",
        _pairs(".csv"),
        "csv",
        covers=("xray.correction.pairs_table.read_sheet",),
    ),
    simple("xray.correction.pairs_io.read_pairs", _published("VIZIER", "v.tsv"), "vizier"),
    simple("xray.correction.pairs_io.read_pairs", _published("LATEX", "t.tex"), "latex"),
    simple("xray.correction.pairs_io.read_pairs", _published("MRT", "t.mrt"), "machine-readable"),
    simple("xray.correction.pairs_io.read_pairs", _logs, "logs"),
    simple("xray.correction.xcm.read_xcm", _saved),
    simple("xray.correction.sherpa_save.read_sherpa", _sherpa),
    simple("xray.correction.session.read_session", _sherpa),
    simple("xray.correction.fit_logs.read_fit_log", _published("LOG", "a.log")),
    simple("xray.correction.pairs_io.read_pairs", _pairs(".fits"), "fits"),
    simple("xray.correction.pairs_io.read_pairs", _pairs(".ecsv", samples=True), "samples"),
    Reader(
        "xray.correction.observations_io.read_observations",
        _observations,
        _read_observations,
        covers=("xray.instrument.ogip_spectrum.read_linked",),
    ),
    simple("xray.emission.atomdb.read_atomdb", _atomdb, covers=("xray.emission.atomdb.find_atomdb",)),
    simple("xray.emission.tablefile.read_table", _plasma, covers=("xray.emission.npz.read_arrays",)),
    Reader("xray.emission.tablefile.plasma_table", _plasma, _use_plasma),
    simple("xray.emission.absorption.read_cross_sections", _packaged("absorption.npz"), share=0.3),
    simple("xray.emission.bremss.read_gaunt", _packaged("gaunt.npz")),
    simple("xray.emission.elements.read_abundances", _packaged("abundances.json")),
    Reader("xray.emission.xspec_library.read_definitions", _definitions, _definitions_text),
    simple("xray.modifiers.table.UserTable.read", _factors(".txt"), "txt"),
    simple("xray.modifiers.table.UserTable.read", _factors(".csv"), "csv"),
    simple("xray.modifiers.table.UserTable.read", _factors(".ecsv"), "ecsv"),
    Reader("xray.library.xcalforge.read_xcalforge", _xcalforge, _read_xcalforge),
    Reader("xray.library.library.Library.open", _library, _open_library, share=0.5),
    Reader("xray.correction.emulate.CalibrationEmulator.load", _calibration, _use_calibration),
]
