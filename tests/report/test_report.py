import json
import re

import numpy as np
import pytest

from crosscal.core.check import Check
from crosscal.core.errors import DataFileError
from crosscal.core.files import write_text
from crosscal.report import SECTIONS, RunRecord, write_report
from crosscal.report.citations import BIBLIOGRAPHY, bibtex


@pytest.fixture
def directory(tmp_path):
    from astropy.table import QTable

    from crosscal.plot import describe_axes, figure, save_figures

    fig = figure(4, 3)
    axes = fig.subplots()
    axes.semilogx([1, 10], [0, 1])
    save_figures({"first": fig, "second": fig}, tmp_path / "figures")
    QTable({"name": ["a<b>", "c"], "value": [1.23456789, 2e-12]}).write(tmp_path / "summary.ecsv")
    QTable({"x": np.arange(500.0)}).write(tmp_path / "other.ecsv")
    write_text(tmp_path / "job.toml", 'job = "toy"\n')
    provenance = {"inputs": {"arf": {"path": "a.arf", "sha256": "ab" * 32}}, "versions": {"crosscal": "9"}, "seed": 5}
    write_text(tmp_path / "provenance.json", json.dumps(provenance))
    entries = [
        {"name": n, "title": n.title(), "caption": "c", "axes_json": json.dumps(describe_axes(fig))}
        for n in ("first", "second")
    ]
    record = RunRecord(
        tmp_path,
        "xray",
        "The area is <5 % off.",
        ("beware",),
        "one mode",
        [Check("stars", False, "too few")],
        entries,
        ("nuts", "unknown-key"),
        1.5,
    )
    record.write()
    return tmp_path


def test_the_report_is_self_contained_escaped_and_small(directory):
    text = write_report(directory).read_text()
    assert "The area is &lt;5\u00a0% off." in text
    assert "a&lt;b&gt;" in text
    assert len(text) < 5e6
    # Nothing is loaded from elsewhere.
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert not re.search(r"@import|url\(\s*['\"]?http", text)


def test_every_section_that_has_content_is_there_in_order(directory):
    text = write_report(directory).read_text()
    places = [text.index(f">{name}</h2>") for name in SECTIONS]
    assert places == sorted(places)
    for expected in (
        "beware",
        "FAILED",
        "one mode",
        "ab" * 32,
        "crosscal run job.toml",
        "hoffman2014",
        "First 300 of 500",
    ):
        assert expected in text


def test_the_first_figure_stands_at_the_top_and_each_is_shown_once(directory):
    text = write_report(directory).read_text()
    assert text.index('id="figure-first"') < text.index("<section")
    assert text.count('id="figure-second"') == 1


def test_panels_are_described_for_reading_values_off(directory):
    entry = json.loads((directory / "outcome.json").read_text())["figures"][0]
    (panel,) = json.loads(entry["axes_json"])
    assert panel["x"]["scale"] == "log"
    assert 0 < panel["box"][0] < panel["box"][2] < 1


def test_large_drawings_become_png(directory):
    svg = directory / "figures" / "first.svg"
    svg.write_text(svg.read_text() + "<!--" + "x" * 400_000 + "-->")
    assert "data:image/png" in write_report(directory).read_text()


def test_a_run_without_anything_to_add_leaves_sections_out(tmp_path):
    RunRecord(tmp_path, "xray", "Done.").write()
    text = write_report(tmp_path).read_text()
    assert "No warnings." in text
    assert ">Checks</h2>" not in text
    assert ">Configuration</h2>" not in text


def test_foreign_and_damaged_directories_are_refused(tmp_path):
    with pytest.raises(DataFileError, match="not a directory of a finished run"):
        write_report(tmp_path)
    write_text(tmp_path / "outcome.json", "{")
    with pytest.raises(DataFileError, match="damaged"):
        write_report(tmp_path)
    RunRecord(tmp_path, "xray", "Done.").write()
    write_text(tmp_path / "provenance.json", "{")
    with pytest.raises(DataFileError, match="damaged JSON"):
        write_report(tmp_path)


def test_what_the_parts_cite_is_in_the_bibliography():
    from crosscal.concordance import ConcordanceFit as Concordance
    from crosscal.fluxcal.result import CITATIONS
    from crosscal.xray.correction.result import CalibrationResult
    from crosscal.xray.fitting.result import FitResult

    cited = {*Concordance.citations, *CITATIONS, "kurucz", "calspec", "pycali", "drw", "running-mean"}
    assert cited | {*FitResult.citations, *CalibrationResult.citations} <= set(BIBLIOGRAPHY)
    assert bibtex(("Nobody 1900",)).startswith("% Nobody 1900")


def test_the_answer_is_a_headline_and_a_lead(tmp_path):
    RunRecord(tmp_path, "xray", "kT is off by -3 +- 1 %. The injected error was found.", ("2 +- 1 is not 3.",)).write()
    text = write_report(tmp_path).read_text()
    assert "<h1>kT is off by \u22123\u00a0\u00b1\u00a01\u00a0%.</h1>" in text
    assert '<p class="lead">The injected error was found.</p>' in text
    assert "2\u00a0\u00b1\u00a01 is not 3." in text


def test_damaged_records_are_refused(directory):
    content = json.loads((directory / "outcome.json").read_text())
    for change in (
        {"answer": 3}, {"figures": [{"name": "../../x"}]}, {"figures": [{}]}, {"seconds": "long"}, {"checks": [1]},
        {"unknown": 1},
    ):  # fmt: skip
        write_text(directory / "outcome.json", json.dumps(content | change))
        with pytest.raises(DataFileError, match="the files that describe the run are damaged"):
            write_report(directory)
    write_text(directory / "outcome.json", json.dumps(content))
    write_text(directory / "provenance.json", '{"inputs": 3}')
    with pytest.raises(DataFileError, match="damaged provenance"):
        write_report(directory)
    write_text(directory / "provenance.json", "{}")
    write_text(directory / "other.ecsv", "nothing")
    with pytest.raises(DataFileError, match="damaged table"):
        write_report(directory)


def test_bibtex_entries_are_balanced_and_cited_once():
    for key, entry in BIBLIOGRAPHY.items():
        assert entry.startswith("@"), key
        assert entry.count("{") == entry.count("}"), key
        assert re.search(r"year = \d{4}", entry), key
    assert bibtex(("nuts", "nuts", "astropy")).count("@article") == 2


def test_plain_text_gets_the_signs_of_the_field():
    from crosscal.core.signs import typeset
    from crosscal.report.words import counted, moment

    assert typeset("p = 0.3 (>= 0.001)") == "p\u00a0=\u00a00.3 (\u2265 0.001)"
    assert (
        typeset("scatter 3.5%, delta chi2 < 7.8 of phi(E)")
        == "scatter 3.5\u00a0%, \u0394\u03c7\u00b2\u00a0<\u00a07.8 of \u03c6(E)"
    )
    # Names with a hyphen or a number stay names.
    assert typeset("chi2-gehrels at 2026-11-28, 0-based, a-1") == "chi2-gehrels at 2026-11-28, 0-based, a-1"
    assert (counted(1, "row"), counted(0, "row")) == ("1 row", "0 rows")
    assert moment("2026-11-28T13:54:24+00:00") == "2026-11-28 13:54 UTC"
    assert moment("yesterday") == "yesterday"


def test_cells_are_short_and_keep_what_matters():
    from crosscal.report.words import cell

    values = [
        1.23456789,
        2458025.12345,
        10001.25,
        1e-12,
        np.float32(0.1),
        np.nan,
        np.inf,
        True,
        np.bool_(False),
        7,
        "a",
    ]
    shown = ["1.2346", "2458025.123", "10001.25", "1e-12", "0.1", "", "inf", "yes", "no", "7", "a"]
    assert [cell(value) for value in values] == shown
    assert cell(np.ma.masked) == ""
    assert cell(np.array([1.0, 2.0])) == "[1. 2.]"


def test_diagnostics_do_not_repeat_checks_and_warnings(tmp_path):
    said = "stars\nok   enough stars (>= 1)\nwarning: beware\nlevel known to 5 %"
    checks = [Check("stars", True, "enough stars (>= 1)")]
    RunRecord(tmp_path, "fluxcal", "Done.", ("beware",), said, checks).write()
    text = write_report(tmp_path).read_text()
    assert "<pre>stars\nlevel known to 5\u00a0%</pre>" in text
    assert text.count("enough stars") == 1


def test_columns_say_what_they_are_and_tables_what_they_hold(tmp_path):
    from astropy.table import QTable

    table = QTable({"q2.5": [1.0], "W": [0.2], "name": ["x"]})
    table["W"].info.description = "published prior influence"
    table.write(tmp_path / "summary.ecsv")
    RunRecord(tmp_path, "concordance", "Done.").write()
    text = write_report(tmp_path).read_text()
    assert "<dt>W</dt><dd>published prior influence</dd>" in text
    assert "<summary>Description of the columns</summary>" in text
    assert "<dt>q2.5</dt>" not in text  # it does not say
    assert "summary (1 row)" in text
    assert '<caption class="unseen">summary, 1 row</caption>' in text
    assert "<td class='num'>0.2</td>" in text
    assert "<td>x</td>" in text


def test_the_head_says_what_was_asked_of_what(directory, tmp_path):
    text = write_report(directory).read_text()
    facts = text[text.index('class="facts"') : text.index("<nav")]
    assert all(part in facts for part in ("#configuration", "1 input", "seed 5"))
    other = tmp_path / "other"
    other.mkdir()
    RunRecord(other, "xray-fit", "Done.").write()
    text = write_report(other).read_text()
    assert "Command: crosscal demo xray-fit &middot; built-in data" in text
    assert "X-ray spectral fit" in text


def test_a_broad_figure_takes_a_line_of_its_own(directory):
    svg = directory / "figures" / "second.svg"
    svg.write_text(svg.read_text().replace('width="288pt"', 'width="720pt"', 1))
    text = write_report(directory).read_text()
    assert 'id="figure-second" class="plot broad"' in text
    assert 'id="figure-first" class="plot"' in text


def test_tables_with_times_and_relative_errors_are_shown():
    from types import SimpleNamespace

    from astropy.table import QTable
    from astropy.time import Time

    from crosscal.report.sections import tables

    table = QTable(
        {"time": Time([58000.0, 58001.0], format="mjd"), "flux": [1.23456, 2.0], "flux_err": [0.0123, 0.05],
         "scale": [2e-16, 3e-16], "scale_error": [0.04, 0.05]}
    )  # fmt: skip
    shown = tables(SimpleNamespace(tables=lambda: {"summary": table}))
    assert all(f">{text}</td>" in shown for text in ("58000.0", "1.235", "0.012", "2e-16"))
