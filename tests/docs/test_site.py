"""The built documentation in a browser: no fault of accessibility, code and output fit the column, search and copy.

CROSSCAL_SITE names a built site; without it, the site is built here without running its examples.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
#: Search reads files of its own site.
CHROMIUM_FLAGS = ("--allow-file-access-from-files",)
#: One page of each kind: first page, tutorial, how-to guides, case study, theory, reference, a name, measured tables.
PAGES = (
    "index.html",
    "tutorials/xray.html",
    "tutorials/concordance.html",
    "howto/runs.html",
    "howto/spectra.html",
    "cases/ramp.html",
    "theory/xray.html",
    "reference/xray.html",
    "reference/command-line.html",
    "reference/generated/xray.infer.html",
    "measured.html",
    "faq.html",
)
AXE = """async () => (await axe.run(document)).violations.flatMap(
    (v) => v.nodes.map((n) => `${v.id}: ${n.target}: ${n.failureSummary}`))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Directory of the built site."""
    if given := os.environ.get("CROSSCAL_SITE"):
        return Path(given)
    target = tmp_path_factory.mktemp("site")
    source = target / "docs"
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("_build", "generated", "jupyter_execute"))
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-D", "nb_execution_mode=off"]
    subprocess.run([*command, str(source), str(target / "html")], check=True, capture_output=True, timeout=900)
    return target / "html"


@pytest.fixture
def page(browser):
    """An empty page of 1400 pixels."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1400, "height": 900})
    yield page
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(page, site, name, scheme):
    axe = pytest.importorskip("axe_playwright_python", reason="needs the extra 'browser'")
    page.emulate_media(color_scheme=scheme)
    page.goto((site / name).as_uri())
    page.add_script_tag(content=(Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    assert page.evaluate(AXE) == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_the_screen(page, site, name):
    page.goto((site / name).as_uri())
    wide = "[...document.querySelectorAll('article pre')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map((e) => e.textContent.slice(0, 80))") == []
    assert page.evaluate("[...document.images].every((i) => i.alt.trim().length > 0)")
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_code_can_be_copied(page, site):
    page.goto((site / "index.html").as_uri())
    assert page.locator("article button.copybtn").count() >= 4


def test_search_finds_a_page(page, site):
    page.goto((site / "search.html").as_uri() + "?q=contamination")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    assert page.locator("ul.search li a").count() > 0


def test_the_reference_leads_to_sources_and_to_other_packages(page, site):
    page.goto((site / "reference/generated/xray.infer.html").as_uri())
    assert page.locator("a[href*='_modules/crosscal/xray/correction/infer.html']").count() == 1
    assert page.locator("a[href^='https://docs.python.org/3/']").count() >= 1


def test_notebooks_and_the_list_for_language_models_are_offered(page, site):
    page.goto((site / "tutorials/xray.html").as_uri())
    link = page.locator("a[download]").get_by_text("notebook")
    assert link.count() == 1
    if "CROSSCAL_SITE" in os.environ:  # the examples were run
        for path in (site / "_downloads").rglob("*.ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert any(cell.get("outputs") for cell in cells), path.name
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# CrossCal")
    linked = [line.split("](")[1].split(")")[0] for line in text.splitlines() if "](" in line]
    assert len(linked) > 30
    assert all((site / name).is_file() for name in linked)
