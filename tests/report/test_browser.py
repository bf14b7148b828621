"""Reports in a real browser (Debian's Chromium, headless): drawn, sortable, zoomable, readable on narrow screens.

Needs the extra ``browser`` (Playwright) and a ``chromium`` on the path or in CROSSCAL_CHROMIUM.
"""

import importlib.util
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from crosscal.report import SECTIONS

pytestmark = pytest.mark.browser

WIDTHS = (400, 1400)
_spec = importlib.util.spec_from_file_location("report_runs", Path(__file__).with_name("runs.py"))
RUNS = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(RUNS)
#: Sections that only some runs need: a demonstration has no job file.
OPTIONAL = {"Configuration", "Figures"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Reports by kind, each run once."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = RUNS.make(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get


@pytest.fixture(scope="session", params=RUNS.KINDS)
def report(request, finished):
    """The report of a made-up run with everything in it, and of a small run of every part."""
    return finished(request.param)


@pytest.fixture(params=WIDTHS)
def page(request, browser, report):
    """The open report; whatever the browser complains about fails the test at its end."""
    page = browser.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.set_viewport_size({"width": request.param, "height": 900})
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.width = request.param
    yield page
    page.close()
    assert complaints == []


def test_a_report_is_small_and_fits_the_screen(page, report):
    assert report.stat().st_size < 5e6
    assert page.evaluate("document.documentElement.scrollWidth") <= page.width
    for image in page.query_selector_all("figure img"):
        box = image.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= page.width
    # Text is at least 12 px and the answer is on the first screen.
    sizes = page.evaluate(
        "[...document.querySelectorAll('p,td,pre,li,a')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    assert page.query_selector("h1").bounding_box()["y"] < 200


def test_figures_are_drawn(page, report):
    sizes = page.evaluate(
        "[...document.images].map((i) => [i.complete, i.naturalWidth, i.getBoundingClientRect().height])"
    )
    assert len(sizes) == len(json.loads((report.parent / "outcome.json").read_text())["figures"]) > 0
    assert all(done and wide > 100 and high > 50 for done, wide, high in sizes)
    # Each has ink: pixels that are not the background, in more than one place.
    inks = page.evaluate(
        """[...document.images].map((image) => {
            const canvas = document.createElement("canvas"); canvas.width = 200; canvas.height = 200;
            const context = canvas.getContext("2d"); context.drawImage(image, 0, 0, 200, 200);
            const seen = context.getImageData(0, 0, 200, 200).data; let dark = 0;
            for (let k = 0; k < seen.length; k += 4) dark += seen[k + 3] > 0 && seen[k] + seen[k+1] + seen[k+2] < 600;
            return dark / (seen.length / 4);
        })"""
    )
    assert all(0.003 < ink < 0.9 for ink in inks), inks
    assert all(image.get_attribute("alt") for image in page.query_selector_all("img"))
    for caption in page.query_selector_all("figcaption"):
        text = re.sub("Enlarge|Reduce", "", caption.inner_text()).strip()
        title = caption.query_selector("b").inner_text()
        assert len(text) > len(title) + 10, f"figure {title} has no caption"


def test_no_sign_is_missing(report):
    """Every letter of page and figures is one that fonts have: no boxes, no marks of a lost encoding."""
    texts = [report.read_text(encoding="utf-8")]
    texts += [path.read_text(encoding="utf-8") for path in (report.parent / "figures").glob("*.svg")]
    for text in texts:
        shown = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
        assert not re.search("[\ufffd\u25a1\ue000-\uf8ff]", shown)
        assert not re.search(r">[^<]*\b(nan|None|inf)\b[^<]*</t[dh]>", shown)
        # Nobody reads 17 digits.
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", shown)
        assert not [cell for cell in cells if re.fullmatch(r"-?\d*\.\d{9,}(e[+-]?\d+)?", cell)]


def test_sections_answer_the_questions_in_order(page, report):
    heads = [h.inner_text() for h in page.query_selector_all("h2")]
    assert heads == [name for name in SECTIONS if name in heads]
    assert set(SECTIONS) - set(heads) <= OPTIONAL
    assert ("Configuration" in heads) == (report.parent / "job.toml").is_file()
    assert page.query_selector("#citations pre").inner_text().startswith("@")
    for link in page.query_selector_all("a[href^='#']"):
        assert page.query_selector(link.get_attribute("href")) is not None
    assert re.search("Configuration:|Command:", page.query_selector("header .facts").inner_text())
    for entry in json.loads((report.parent / "provenance.json").read_text()).get("inputs", {}).values():
        assert entry["sha256"] in page.query_selector("#inputs").inner_text()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert levels.count(1) == 1


def test_every_table_sorts_by_every_column_and_names_itself(page):
    tables = page.query_selector_all("table")
    assert tables
    assert all(t.get_attribute("class") == "sortable" for t in tables)
    assert all(t.query_selector("caption").inner_text() for t in tables)
    assert page.evaluate("[...document.querySelectorAll('th')].every((h) => h.scope === 'col')")
    # One call sorts a table by its first columns both ways and returns what is then shown.
    sorted_cells = """(table) => [...table.tHead.rows[0].cells].slice(0, 6).map((head, k) => {
        const seen = {};
        for (const way of ["ascending", "descending"]) {
            head.querySelector("button").click();
            seen[head.getAttribute("aria-sort")] = [...table.tBodies[0].rows].map((r) => r.cells[k].textContent);
        }
        return seen;
    })"""
    for table in tables:
        for seen in table.evaluate(sorted_cells):
            assert set(seen) == {"ascending", "descending"}
            for way, cells in seen.items():
                known = [cell for cell in cells if cell]
                assert cells[: len(known)] == known, "what is not known stands last"
                try:
                    values = [float(cell) for cell in known]
                except ValueError:
                    assert len(set(known)) == 1 or seen["ascending"] != seen["descending"]
                else:
                    assert values == sorted(values, reverse=way == "descending")


def test_values_are_read_off_and_figures_zoom(page):
    frame = page.query_selector(".zoom")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    panel = json.loads(frame.get_attribute("data-axes"))[0]
    left, low, right, high = panel["box"]
    readoff = page.query_selector(".readoff")

    def point(x, y):
        """Screen position of fractions of the panel."""
        fx, fy = left + x * (right - left), 1 - (low + y * (high - low))
        return box["x"] + 1 + fx * (box["width"] - 2), box["y"] + 1 + fy * (box["height"] - 2)

    def shown():
        return [float(part.split("=")[1]) for part in readoff.inner_text().split(",")]

    def expected(axis, fraction):
        a, b = axis["limits"]
        return a * (b / a) ** fraction if axis["scale"] == "log" else a + (b - a) * fraction

    def close(value, axis, fraction):
        # A few pixels, as the border of the frame and rounding of the pointer shift.
        near = [expected(axis, fraction + d) for d in (-0.02, 0.02)]
        return min(near) <= value <= max(near)

    page.mouse.move(*point(0.5, 0.5))
    x, y = shown()
    assert close(x, panel["x"], 0.5)
    assert close(y, panel["y"], 0.5)
    page.mouse.move(*point(0.25, 0.25))
    page.mouse.down()
    page.mouse.move(*point(0.6, 0.6), steps=4)
    page.mouse.move(*point(0.75, 0.75), steps=4)
    assert frame.query_selector(".box") is not None
    page.mouse.up()
    assert "scale(1)" not in frame.query_selector("img").get_attribute("style")
    # Zoomed by about two, the middle of the frame now reads another value than before, inside the dragged box.
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    x, y = shown()
    limits = sorted(expected(panel["x"], f) for f in (0.24, 0.76))
    assert limits[0] <= x <= limits[1]
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "scale(1)" in frame.query_selector("img").get_attribute("style")
    page.mouse.move(*point(0.5, 0.5))
    assert close(shown()[0], panel["x"], 0.5)


def test_a_tap_or_the_button_shows_a_figure_at_full_size(browser, finished):
    page = browser.new_page()
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(finished("made-up").as_uri())
    frame, button = page.query_selector(".zoom"), page.query_selector(".enlarge")
    tap = (
        "(f) => { for (const type of ['pointerdown', 'pointerup'])"
        " f.dispatchEvent(new PointerEvent(type, { pointerType: 'touch', bubbles: true })); f.click(); }"
    )
    for way in (lambda: frame.evaluate(tap), lambda: (button.focus(), page.keyboard.press("Enter"))):
        for large in (True, False):
            way()
            assert ("enlarged" in page.query_selector("figure").get_attribute("class").split()) == large
            assert button.get_attribute("aria-pressed") == str(large).lower()
            assert page.evaluate("document.querySelector('img').offsetWidth") == pytest.approx(
                820 if large else 375, abs=8
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


def test_dark_pages_have_contrast(browser, finished):
    page = browser.new_page()
    page.emulate_media(color_scheme="dark")
    page.goto(finished("made-up").as_uri())
    colours = page.evaluate(
        """(() => { const rgb = (s) => s.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const paper = rgb(getComputedStyle(document.body).backgroundColor);
        return [...document.querySelectorAll("p,td,th button,pre,li,a,summary,figcaption,dd")].map((e) => [
            rgb(getComputedStyle(e).color),
            e.closest("pre") ? rgb(getComputedStyle(e.closest("pre")).backgroundColor) : paper]);
        })()"""
    )
    page.close()

    def light(rgb):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for ink, paper in colours:
        high, low = sorted((light(ink), light(paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)
        assert max(paper) < 60


def test_print_cuts_nothing(browser, finished):
    """On paper nothing can be scrolled: every table is as wide as the sheet at most."""
    for kind in RUNS.KINDS:
        page = browser.new_page()
        page.goto(finished(kind).as_uri())
        page.set_viewport_size({"width": 690, "height": 1000})  # A4 less its margins
        page.emulate_media(media="print")
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        wide = page.evaluate(
            "[...document.querySelectorAll('table,figure,pre')].map((e) => e.getBoundingClientRect().right)"
        )
        assert max(wide) <= 691, kind
        assert page.evaluate(
            "[...document.querySelectorAll('.scroll')].every((e) => e.scrollWidth <= e.clientWidth + 1)"
        )
        page.close()


#: What makes axe, the checker of accessibility, list its complaints: rule, element and what is wrong.
AXE = """async () => (await axe.run(document)).violations.flatMap(
    (v) => v.nodes.map((n) => `${v.id}: ${n.target}: ${n.failureSummary}`))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page, scheme):
    axe = pytest.importorskip("axe_playwright_python", reason="needs the extra 'browser'")
    page.emulate_media(color_scheme=scheme)
    page.add_script_tag(content=(Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    assert page.evaluate("axe.version") >= "4"
    assert page.evaluate(AXE) == []
