"""Reports in a real browser (Debian's Chromium, headless): drawn, sortable, zoomable, readable on narrow screens.

Needs the extra ``browser`` (Playwright) and a ``chromium`` on the path or in CROSSCAL_CHROMIUM.
"""

import json
import os
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.browser

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium with a profile of its own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    program = os.environ.get("CROSSCAL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium is installed")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=program, headless=True, args=list(FLAGS)
        )
        context.set_offline(True)
        yield context
        context.close()


@pytest.fixture(scope="module", params=["run", "concordance", "fluxcal"])
def report(request, tmp_path_factory):
    """The report of a made-up run with everything in it, and those of two demonstrations."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "run":
        make_run(directory)
    else:
        from crosscal.cli.demo import command

        command.callback(request.param, str(directory), True)
    return directory / "report.html"


def make_run(directory):
    """A finished run with figures (one as SVG, one as PNG), wide tables, long words and every section."""
    from astropy.table import QTable

    from crosscal.core.files import write_text
    from crosscal.plot import describe_axes, figure, save_figures
    from crosscal.report import RunRecord, write_report

    fig = figure(7, 4)
    axes = fig.subplots()
    axes.loglog([1, 10, 100], [1, 3, 1000])
    axes.set(xlim=(1, 100), ylim=(1, 1000), xlabel="Energy (keV)", ylabel="Area")
    save_figures({"first": fig, "second": fig, "third": fig}, directory / "figures")
    (directory / "figures" / "third.svg").unlink()
    wide = {f"a_rather_long_name_{k}": np.arange(12.0) * (-1) ** k for k in range(15)}
    QTable({"name": [f"source {k}" for k in range(12)], "value": np.arange(12.0)[::-1] * 1e3, **wide}).write(
        directory / "summary.ecsv"
    )
    write_text(directory / "job.toml", 'job = "toy"\npath = "' + "long/" * 60 + '"\n')
    digest = {"path": "/some/where/a_telescope.arf", "sha256": "ab" * 32}
    provenance = {"inputs": {"telescope.arf": digest}, "versions": {"crosscal": "9"}, "seed": 5, "created": "2026"}
    write_text(directory / "provenance.json", json.dumps(provenance))
    write_text(directory / "run.log", "done\n")
    entries = [
        {"name": n, "title": n.title(), "caption": "What it shows.", "axes_json": json.dumps(describe_axes(fig))}
        for n in ("first", "second", "third")
    ]
    gates = [{"gate": "stars", "passed": False, "why": "too few"}]
    RunRecord(
        directory,
        "xray",
        "The area is 5 +- 1 % off. More follows.",
        ("beware",),
        "w" * 300,
        gates,
        entries,
        ("nuts",),
        1.5,
    ).write()
    write_report(directory)


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
    page.width = request.param
    yield page
    page.close()
    assert complaints == []


def test_a_report_is_small_and_fits_the_screen(page, report):
    assert report.stat().st_size < 5e6
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
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


def test_figures_are_drawn(page):
    sizes = page.evaluate(
        "[...document.images].map((i) => [i.complete, i.naturalWidth, i.getBoundingClientRect().height])"
    )
    assert sizes
    assert all(done and wide > 100 and high > 50 for done, wide, high in sizes)


def test_sections_answer_the_questions_in_order(page):
    heads = [h.inner_text() for h in page.query_selector_all("h2")]
    for name in (
        "Warnings",
        "Quality gates",
        "Diagnostics and identifiability",
        "Tables",
        "Inputs",
        "How to reproduce",
    ):
        assert name in heads
    assert page.query_selector("#citations pre").inner_text().startswith("@")
    for link in page.query_selector_all("nav a"):
        assert page.query_selector(link.get_attribute("href")) is not None


def test_tables_sort_on_click(page):
    table = page.query_selector("details[open] table.sortable, #quality-gates table.sortable")
    heads = table.query_selector_all("th button")
    for k in range(min(2, len(heads))):
        for direction in ("ascending", "descending"):
            heads[k].click()
            assert table.query_selector_all("th")[k].get_attribute("aria-sort") == direction
            cells = [row.query_selector_all("td")[k].inner_text() for row in table.query_selector_all("tbody tr")]
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                values = [cell.casefold() for cell in cells]
            assert values == sorted(values, reverse=direction == "descending")


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


def test_a_tap_shows_a_figure_at_full_size(browser, report):
    if report.parent.name.startswith("run"):
        page = browser.new_page()
        page.set_viewport_size({"width": 400, "height": 900})
        page.goto(report.as_uri())
        frame = page.query_selector(".zoom")
        for wide in (True, False):
            frame.evaluate(
                "(f) => { for (const type of ['pointerdown', 'pointerup'])"
                " f.dispatchEvent(new PointerEvent(type, { pointerType: 'touch', bubbles: true })); f.click(); }"
            )
            assert ("wide" in frame.get_attribute("class").split()) == wide
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.close()
