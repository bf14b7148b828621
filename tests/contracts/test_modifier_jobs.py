"""Every family of modifiers runs from a job file, as `crosscal list modifiers` writes it."""

import sys
import tomllib

import numpy as np
import pytest
from astropy.io import fits

from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.datasets import builtin_directory
from crosscal.jobs.options import input_paths, toml_text, validate
from crosscal.xray import build_library
from crosscal.xray.jobs.pairs_options import XrayJob
from crosscal.xray.modifiers.examples import example, job_lines
from crosscal.xray.modifiers.registry import MODIFIERS

pytestmark = pytest.mark.thorough

FILES = {"arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """The files that the examples name, beside the job file."""
    (tmp_path / "factors.txt").write_text("0.5 1.0\n2.0 0.9\n8.0 1.0\n")
    (tmp_path / "clusters.csv").write_text("source\n")
    (tmp_path / "my_module.py").write_text("def ripple(energy, xp, *, depth):\n    return 1 + depth * xp.cos(energy)\n")
    library = example("pca").library
    columns = [("ENERG_LO", "keV", library.energy_lo), ("ENERG_HI", "keV", library.energy_hi)]
    columns += [("SPECRESP", "cm**2", library.area), ("BIAS", "cm**2", library.offset)]
    area = fits.BinTableHDU.from_columns(
        [fits.Column(name, "D", unit=unit, array=values) for name, unit, values in columns], name="SPECRESP"
    )
    area.header.update({"HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "EMETHOD": "PCA1DADD"})
    parts = [("EIGENVAL", "D", library.scale), ("EIGENVEC", f"{library.area.size}D", library.vectors)]
    components = fits.BinTableHDU.from_columns([fits.Column(n, f, array=v) for n, f, v in parts], name="PCACOMP")
    components.header.update({"HDUCLAS1": "CALERR", "HDUCLAS2": "PCACOMP"})
    fits.HDUList([fits.PrimaryHDU(), area, components]).writeto(tmp_path / "aref_Cedge.fits")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    yield tmp_path
    sys.modules.pop("my_module", None)


def job_of(directory, library):
    content = {
        "job": "xray",
        "output": "out",
        "telescope": FILES,
        "model": {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05},
        "library": {"kT": {"min": 2.0, "max": 8.0, "n": 2, "scale": "log"}, **library},
        "inference": {"pairs": "clusters.csv"},
    }
    return validate(XrayJob, content, source=str(directory / "job.toml"))


def fewer(library):
    """Two values on each axis, so that libraries are small."""
    return {k: {**v, "n": 2} if isinstance(v, dict) and "n" in v and "name" not in v else v for k, v in library.items()}


@pytest.mark.parametrize("name", MODIFIERS.names())
def test_every_family_runs_from_a_job_file(directory, name):
    library = fewer(tomllib.loads("\n".join(job_lines(name))))
    job = job_of(directory, library)
    # The file that a run leaves makes the same job.
    again = validate(XrayJob, tomllib.loads(toml_text(job)), source=str(directory / "elsewhere" / "job.toml"))
    assert again == job
    modifier = job.library.modifier.modifier()
    assert modifier.name == name
    found = build_library(
        job.telescope.response(),
        job.model.model().replace(free=job.library.free),
        job.library.theta_design(),
        kT=job.library.temperatures().values,
        band=job.telescope.band,
        counts=job.library.counts,
    )
    # All fits end well; a change of the area other than a grey one moves the nominal temperature, and the modified
    # calibration finds the truth.
    assert found.names == modifier.names
    assert found.good("nominal").all()
    np.testing.assert_allclose(
        found.values("kT", "modified"), np.broadcast_to(found.T_true[:, None], found.values("kT").shape), rtol=1e-4
    )
    assert np.ptp(found.values("kT"), axis=0).max() > 1e-4 or name == "grey"


def test_parts_take_options_and_files(directory):
    parts = ["grey", {"name": "table", "path": "factors.txt"}, {"name": "function", "function": "my_module:ripple"}]
    job = job_of(directory, {"modifier": {"name": "product", "parts": parts}, "amplitude": [0.0, 1.0]})
    modifier = job.library.modifier.modifier()
    assert modifier.names == ("scale", "amplitude", "depth")
    assert modifier.factor(np.array([2.0]), [1.0, 1.0, 0.0]) == pytest.approx(0.9)
    assert input_paths(job)["library.modifier.parts[1].path"] == directory / "factors.txt"


def test_a_function_s_parameters_may_be_described(directory):
    plan = {"name": "function", "function": "my_module:ripple", "parameters": {"depth": [0.0, -0.5, 0.5]}}
    modifier = job_of(directory, {"modifier": plan, "depth": [-0.1, 0.1]}).library.modifier.modifier()
    assert (modifier.parameters[0].low, modifier.parameters[0].high) == (-0.5, 0.5)
    with pytest.raises(InputError, match="depth"):
        job_of(directory, {"modifier": plan, "depth": [-1.0, 1.0]})


def test_another_text_of_a_function_is_another_modifier(directory):
    """What was computed with an earlier text must not be taken for its own."""
    plan = {"modifier": {"name": "function", "function": "my_module:ripple"}, "depth": [-0.1, 0.1]}
    first = repr(job_of(directory, plan).library.modifier.modifier())
    assert repr(job_of(directory, plan).library.modifier.modifier()) == first
    sys.modules.pop("my_module")
    (directory / "my_module.py").write_text(
        "def ripple(energy, xp, *, depth):\n    return 1 + depth * xp.sin(2 * energy)\n"
    )
    assert repr(job_of(directory, plan).library.modifier.modifier()) != first


@pytest.mark.parametrize(
    ("library", "words"),
    [
        (
            {"modifier": "contamination"},
            "the modifier 'contamination' varies; expected a range .* tau_C",
        ),
        ({"modifier": "gaussian", "A": [0.1]}, "no parameter of the modifier 'gaussian' varies"),
        ({"modifier": {"name": "pca"}}, "modifier 'pca': the option 'path' is missing"),
        ({"modifier": {"name": "pca", "path": "absent.fits"}}, r"absent\.fits: no such PCA library"),
        ({"modifier": {"name": "table", "path": "factors.txt", "depth": 1}}, "unknown option 'depth'"),
        ({"modifier": {"name": "table", "path": "absent.txt"}}, r"absent\.txt: no such table of factors"),
        ({"modifier": {"name": "function", "function": "nowhere:f"}}, "the module 'nowhere' cannot be imported"),
        ({"modifier": {"name": "function", "function": "my_module:f"}}, "the module 'my_module' has no 'f'"),
        ({"modifier": {"name": "function", "function": "no colon"}}, "the function 'no colon'"),
        ({"modifier": {"name": "product", "parts": "grey"}}, "parts are 'grey'"),
        ({"modifier": {"name": "product", "parts": ["grey"]}}, "1 parts; expected two or more"),
        ({"modifier": {"name": "sum", "parts": ["grey", "gausian"]}}, "unknown modifier 'gausian'"),
        ({"modifier": {"name": "sum", "parts": ["grey", 3]}}, "3 is not a modifier"),
        ({"modifier": {"name": "sum", "parts": ["grey", "gain"]}}, "changes the matrix, not the area"),
        ({"modifier": {"name": "matrix-scaling", "scaling": "gain"}}, "changes the matrix itself"),
        ({"modifier": {"name": "gaussian", "n": "two"}}, "options of a wrong type"),
    ],
)
def test_what_cannot_run_is_refused_when_the_job_is_read(directory, library, words):
    with pytest.raises((ConfigError, UnknownNameError, InputError), match=words):
        job_of(directory, library)


def test_the_list_shows_the_examples():
    from click.testing import CliRunner

    from crosscal.cli.list import command

    shown = CliRunner().invoke(command, ["modifiers"]).output
    for name in MODIFIERS.names():
        assert all(f"    {line}\n" in shown for line in job_lines(name))
    assert builtin_directory().is_dir()


def test_a_function_without_the_array_module_is_refused(directory):
    (directory / "plain_module.py").write_text("def ripple(energy, depth=0.0):\n    return 1 + depth * energy\n")
    library = {"modifier": {"name": "function", "function": "plain_module:ripple"}, "depth": [-0.1, 0.1]}
    with pytest.raises(ConfigError, match=r"the function takes \(energy, depth\); expected energy and xp, then its"):
        job_of(directory, library)
