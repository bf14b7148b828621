"""Without a writable home everything runs: caches go to a private temporary place, told in one line."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import crosscal
from crosscal.core.caches import provide_caches

VARIABLES = ("CROSSCAL_CACHE", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """No variable is set and the home directory does not exist."""
    for name in (*VARIABLES, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_a_writable_home_is_left_alone(homeless, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(homeless))
    assert provide_caches() is None
    assert not any(name in os.environ for name in VARIABLES)
    assert not caplog.records
    assert not (homeless / ".cache").exists()


def test_without_a_home_caches_go_to_one_private_place(homeless, monkeypatch, caplog):
    place = provide_caches()
    assert place == homeless / "tmp" / f"crosscal-cache-{os.geteuid()}"
    assert place.stat().st_mode & 0o777 == 0o700
    assert Path(os.environ["MPLCONFIGDIR"]).is_dir()
    (record,) = caplog.records
    assert str(place) in record.getMessage()
    assert "\n" not in record.getMessage()
    # A child inherits the place and says nothing.
    assert provide_caches() is None
    assert len(caplog.records) == 1
    assert os.environ["HOME"] == str(homeless / "none")


def test_what_the_user_chose_is_left_alone(homeless, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "chosen")
    assert provide_caches() is None


def test_a_home_that_nobody_knows_becomes_the_place(homeless, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    place = provide_caches()
    assert os.environ["HOME"] == str(place)


@pytest.mark.parametrize("trap", ["link", "open to others", "file"])
def test_a_place_that_others_could_have_made_is_not_used(homeless, trap):
    """Numba executes what it finds in its cache."""
    place = homeless / "tmp" / f"crosscal-cache-{os.geteuid()}"
    if trap == "link":
        (homeless / "theirs").mkdir()
        place.symlink_to(homeless / "theirs")
    elif trap == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    found = provide_caches()
    assert found != place
    assert found.stat().st_mode & 0o777 == 0o700


def unprivileged():
    """Let root obey permissions, in a child process."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def installed(tmp_path):
    """The package where it cannot be written, without its compiled files."""
    site = tmp_path / "site"
    source = Path(crosscal.__file__).parent
    shutil.copytree(source, site / "crosscal", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*site.rglob("*"), site):
        path.chmod(0o500 if path.is_dir() else 0o400)
    yield site
    for path in (site, *site.rglob("*")):
        path.chmod(0o700)


@pytest.mark.parametrize(
    "home", ["absent", *(pytest.param(h, marks=pytest.mark.thorough) for h in ("read-only", "unknown"))]
)
def test_a_part_with_compiled_functions_runs_from_a_read_only_installation(home, installed, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in (*VARIABLES, "XDG_CACHE_HOME", "HOME")}
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "read-only").mkdir(mode=0o500)
    environment |= {"PYTHONPATH": str(installed), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    forget = ""
    if home == "unknown":  # a user number without an entry, as containers give
        forget = "import pwd\ndef none(n): raise KeyError(n)\npwd.getpwuid = none\n"
    else:
        environment["HOME"] = str(tmp_path / home)
    script = (
        f"{forget}from crosscal.core.robust import mad_sd\nimport crosscal.concordance.gig\n"
        "import astropy.table, crosscal.plot\nfrom crosscal.datasets import cache_directory\n"
        "assert crosscal.__file__.startswith({site!r})\nprint(cache_directory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script.format(site=str(installed))],
        capture_output=True, text=True, cwd=tmp_path / "work", env=environment, preexec_fn=unprivileged,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "tmp" / f"crosscal-cache-{os.geteuid()}")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crosscal: note: the home directory cannot be written")
    assert not list((tmp_path / "work").iterdir())
