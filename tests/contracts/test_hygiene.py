"""The project's own files: lock, extras, typed package, citation, pre-commit, and a wheel that works elsewhere."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / ".ci" / "lock.txt").read_text(encoding="utf-8")


def name_of(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def test_the_extras_that_the_documentation_names_exist():
    extras = PROJECT["optional-dependencies"]
    assert {"xspec", "cluster", "optical", "test", "docs", "peers", "lint", "browser", "gpu"} <= set(extras)
    # What is under the GPL is optional, and the README says so.
    gpl = {"sherpa", "xspectrampoline", "spectres"}
    assert not gpl & {name_of(r) for r in PROJECT["dependencies"]}
    holders = {extra for extra, wanted in extras.items() if gpl & {name_of(r) for r in wanted}}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    licence = readme[readme.index("licensed under BSD-3-Clause") :]
    assert holders == {"xspec", "peers"}
    assert all(f"`{extra}`" in licence for extra in holders)
    assert "GPL" in licence


def test_the_lock_pins_every_dependency_and_names_no_place():
    lines = [line for line in LOCK.splitlines() if line.strip() and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; .+)?$", line) for line in lines)
    pinned = {name_of(line) for line in lines}
    wanted = [r for extra, rs in PROJECT["optional-dependencies"].items() if extra != "gpu" for r in rs]
    missing = {name_of(r) for r in [*PROJECT["dependencies"], *wanted]} - pinned
    assert not missing
    assert "://" not in LOCK
    assert "file:" not in LOCK


#: Imported where a host program has loaded it already: a notebook.
HOSTS = {"ipython"}
#: Named instead of imported: xarray's engine for netCDF; what the packages' public names are loaded by.
NAMED = {"h5netcdf", "lazy-loader"}


def imported_names():
    """Top-level names of what the package imports, lazily too, without the standard library."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"crosscal"}


@pytest.mark.thorough
def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    """A package that another one happens to bring along may be gone with its next version."""
    providers = packages_distributions()
    imported = {name_of(d) for name in imported_names() for d in providers.get(name, [name])} - HOSTS
    required = {name_of(r) for r in PROJECT["dependencies"]}
    optional = {name_of(r) for extra, rs in PROJECT["optional-dependencies"].items() if extra != "gpu" for r in rs}
    assert imported - required - optional == set()
    assert required - imported - NAMED == set()


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {PROJECT['version']}\n" in citation
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["license"] == "BSD-3-Clause"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")


#: Where conda's name of a package is another one.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "lazy-loader": "lazy_loader"}


def test_the_conda_recipe_needs_what_the_package_needs():
    text = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    listed = re.search(r"^  run:\n(.*?)^\w", text, flags=re.DOTALL | re.MULTILINE)[1]
    asked = {re.sub(r"\s", "", line) for line in re.findall(r"- (\S+ >=\S+)", listed)}
    wanted = {f"python{PROJECT['requires-python']}"}
    for requirement in PROJECT["dependencies"]:
        name, version = requirement.split(">=")
        wanted.add(f"{CONDA_NAMES.get(name, name)}>={version}")
    assert asked == wanted
    assert f'version: "{PROJECT["version"]}"' in text


def test_what_a_published_repository_has_is_there():
    for name in (
        "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "MAINTAINERS.md", "SECURITY.md",
        ".readthedocs.yaml", ".github/workflows/ci.yml", ".github/pull_request_template.md",
        "packaging/containers/Dockerfile", "packaging/containers/crosscal.def", "paper/paper.md", "paper/paper.bib",
    ):  # fmt: skip
        assert (ROOT / name).stat().st_size > 200, name


def test_placeholders_are_listed_with_files_that_exist():
    text = (ROOT / "MAINTAINERS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*? \| (.*) \|$", text, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w./-]+\.\w+)`", row)}
    assert len(named) >= 6
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_commit_hooks_download_nothing():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    lint = {name_of(r) for r in PROJECT["optional-dependencies"]["lint"]}
    assert {"ruff", "mypy", "import-linter"} <= lint


def test_the_walk_through_the_house_names_the_real_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "crosscal"
    floors = {p.name for p in source.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert {name for name in floors if name not in text} == set()
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    named = set(re.findall(r"\w+", " ".join(contract["contracts"][0]["layers"])))
    assert named <= floors | {p.stem for p in source.glob("*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as it would be published."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(target), str(ROOT)]
    subprocess.run(command, check=True)
    (found,) = target.glob("crosscal-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    files = [p.relative_to(source) for p in source.rglob("*") if p.is_file()]
    expected = {p.as_posix() for p in files if "__pycache__" not in p.parts}
    assert expected <= names
    assert "crosscal/py.typed" in names
    others = {name for name in names - expected if ".dist-info/" not in name}
    assert not others
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_works_elsewhere(wheel, tmp_path):
    """Installed into an environment of its own, far from the sources; only its dependencies are borrowed."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip())
    # After the environment's own packages on the path, and without what editable installations add.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CROSSCAL_", "PYTHON"))}
    environment["CROSSCAL_CACHE"] = str(tmp_path / "cache")

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(python, "-c", "import crosscal; print(crosscal.__file__)").startswith(str(site))
    crosscal = tmp_path / "venv" / "bin" / "crosscal"
    assert "gaussian" in run(crosscal, "list", "modifiers")
    assert "xray/example_a.arf  [built-in]" in run(crosscal, "data", "list")
    for part in ("concordance", "fluxcal"):
        assert "Report:" in run(crosscal, "demo", part, "--quiet")
        assert (tmp_path / f"crosscal-demo-{part}" / "report.html").stat().st_size > 50_000


def test_the_lock_satisfies_the_ranges():
    from packaging.requirements import Requirement

    pinned = {}
    for line in LOCK.splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate():
                pinned[name_of(pin.name)] = next(iter(pin.specifier)).version
    extras = [r for extra, rs in PROJECT["optional-dependencies"].items() if extra != "gpu" for r in rs]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        version = pinned[name_of(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but {version} in the lock"


def test_the_lowest_versions_are_those_that_are_declared():
    """CI tests what `.ci/lowest.txt` pins; a bound that nobody tests would soon be false."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "://" in line or "file:" in line]
    pins = {name_of(r.name): r.specifier for r in map(Requirement, (x for x in lines if x and x[0] != "#"))}
    for wanted in map(Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]):
        (bound,) = (part for part in wanted.specifier if part.operator == ">=")
        (pin,) = pins[name_of(wanted.name)]
        assert Version(pin.version) == Version(bound.version), wanted
