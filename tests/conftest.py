"""Shared fixtures: double precision for JAX, the real-data directory, seeded randomness."""

import atexit
import os
import shutil
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "true")
os.environ.setdefault("MPLBACKEND", "Agg")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Workers of pytest-xdist and the commands that tests start share what one of them has compiled.
    COMPILED = tempfile.mkdtemp(prefix="crosscal-tests-")
    atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": COMPILED, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
# Arrays that a function holds are passed to its compiled program: the same program serves other data.
os.environ.setdefault("JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS", "true")

import numpy as np
import pytest

#: What ``--budget`` counts from.
STARTED = time.monotonic()


def pytest_addoption(parser):
    """Add the option with which CI makes sure that real-data tests do run."""
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as a failure")
    parser.addoption("--budget", type=float, metavar="SECONDS", help="skip tests that would start later than this")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Under ``--budget``, take the folders in turn, so that each has its share of a bounded time."""
    if config.getoption("--budget") is None:
        return
    folders: dict[Path, list] = {}
    for item in items:
        folders.setdefault(item.path.parent, []).append(item)
    turns = zip_longest(*folders.values())
    items[:] = [item for turn in turns for item in turn if item is not None]


def pytest_runtest_setup(item):
    """Skip what the time budget no longer allows; the closing line counts it."""
    budget = item.config.getoption("--budget")
    if budget is not None and time.monotonic() - STARTED > budget:
        pytest.skip(f"the budget of {budget:g} s is spent")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn skips into failures under ``--no-skips``."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but --no-skips is given: {report.longrepr}"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of real data; skips the test where CROSSCAL_DATA is unset."""
    value = os.environ.get("CROSSCAL_DATA")
    if not value:
        pytest.skip("CROSSCAL_DATA is not set: this test reads real data")
    path = Path(value)
    if not path.is_dir():
        pytest.fail(f"CROSSCAL_DATA={value} is not a directory")
    return path


@pytest.fixture(scope="session")
def slow_scale() -> float:
    """Size of the long checks: 1 is the full size; CI runs a fraction (CROSSCAL_SLOW_SCALE)."""
    return float(os.environ.get("CROSSCAL_SLOW_SCALE", "1"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20190)


@pytest.fixture(scope="module")
def browser(request, tmp_path_factory):
    """A Chromium with a profile of its own; a module adds flags by ``CHROMIUM_FLAGS``."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    program = os.environ.get("CROSSCAL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium is installed")
    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", *getattr(request.module, "CHROMIUM_FLAGS", ()),
    ]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=program, headless=True, args=flags
        )
        context.set_offline(True)
        yield context
        context.close()
