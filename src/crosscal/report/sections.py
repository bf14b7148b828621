"""The sections of a report: a function from a run's record to HTML, or an empty string to leave it out.

Add one with a line in `SECTIONS` (or through the entry-point group ``crosscal.report_sections``).
"""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path
from typing import Any

from crosscal.core.registry import Registry
from crosscal.core.rounding import error_formats
from crosscal.core.signs import typeset
from crosscal.report.citations import bibtex
from crosscal.report.record import RunRecord
from crosscal.report.words import cell, counted, table

SECTIONS = Registry(
    "report section",
    {
        "Warnings": "crosscal.report.sections:warnings",
        "Checks": "crosscal.report.sections:checks",
        "Diagnostics and identifiability": "crosscal.report.sections:diagnostics",
        "Figures": "crosscal.report.sections:figures",
        "Tables": "crosscal.report.sections:tables",
        "Configuration": "crosscal.report.sections:configuration",
        "Inputs": "crosscal.report.sections:inputs",
        "Files": "crosscal.report.sections:files",
        "How to reproduce": "crosscal.report.sections:reproduce",
        "Citations": "crosscal.report.sections:citations",
    },
)

MAX_ROWS = 300
#: An SVG larger than this is shown as PNG, so that the report stays small.
MAX_SVG = 350_000
#: A figure drawn wider than this (points) takes a line of its own, where its labels stay readable.
BROAD = 560.0
#: How diagnostics begin a line that repeats a check or a warning.
_REPEATS = re.compile(r"^(?:ok|FAIL|note|warning:)\s+")


def warnings(record: RunRecord) -> str:
    """Warnings that a reader must know before using the answer."""
    if not record.warnings:
        return '<p class="good">No warnings.</p>'
    return "<ul>" + "".join(f'<li class="warn">{escape(typeset(w))}</li>' for w in record.warnings) + "</ul>"


def checks(record: RunRecord) -> str:
    """The checks of the run: name, passed or failed, detail."""
    rows = [(c.name, "passed" if c.passed else "FAILED", typeset(c.why)) for c in record.checks]
    if not rows:
        return ""
    failed = sum(not c.passed for c in record.checks)
    caption = f"Checks: {failed} of {len(rows)} failed"
    return table(("check", "result", "detail"), rows, name="checks", caption=caption).replace(
        "<td>FAILED</td>", '<td class="warn"><b>FAILED</b></td>'
    )


def figures(record: RunRecord) -> str:
    """All figures but the first, which stands at the top."""
    body = "".join(figure(record, entry) for entry in record.figures[1:])
    return f'<div class="figures">{body}</div>' if body else ""


def diagnostics(record: RunRecord) -> str:
    """What the data constrain and what they do not, as the result describes it.

    Lines that repeat a check or a warning above are omitted.
    """
    told = {*record.warnings, *(c.why for c in record.checks)}
    lines = [line for line in record.diagnostics.splitlines() if _REPEATS.sub("", line) not in told]
    text = "\n".join(lines).strip()
    return f"<pre>{escape(typeset(text))}</pre>" if text else ""


def tables(record: RunRecord) -> str:
    """The tables of results; click on a column's head to sort."""
    parts = []
    for name, content in record.tables().items():
        units = [f" [{c.unit}]" if getattr(c, "unit", None) else "" for c in content.itercols()]
        header = [f"{c}{u}" for c, u in zip(content.colnames, units, strict=True)]
        rounded = error_formats({c.info.name: c for c in content.itercols()})
        forms = [rounded.get(c, "") for c in content.colnames]
        rows = [[cell(value, form) for value, form in zip(row, forms, strict=True)] for row in content[:MAX_ROWS]]
        note = (
            f"<p>First {MAX_ROWS} of {len(content)} rows; the full table is in {escape(name)}.ecsv.</p>"
            if len(content) > MAX_ROWS
            else ""
        )
        opened = " open" if name == "summary" else ""
        size = counted(len(content), "row")
        body = table(header, rows, name=name, caption=f"{name}, {size}")
        parts.append(
            f"<details{opened}><summary>{escape(name)} ({size})</summary>{body}{note}{_columns(content)}</details>"
        )
    return "".join(parts)


def _columns(content: Any) -> str:
    """What the columns of a table mean, for those that say so."""
    found: dict[str, list[str]] = {}
    for column in content.itercols():
        found.setdefault(column.info.description or "", []).append(column.info.name)
    found.pop("", None)
    items = [f"<dt>{escape(', '.join(k))}</dt><dd>{escape(typeset(v))}</dd>" for v, k in found.items()]
    legend = f'<dl class="columns">{"".join(items)}</dl>'
    return f"<details><summary>Description of the columns</summary>{legend}</details>" if items else ""


def configuration(record: RunRecord) -> str:
    """The job file as run, with all defaults filled in."""
    return (
        f"<details><summary>job.toml</summary><pre>{escape(record.job_text)}</pre></details>" if record.job_text else ""
    )


def inputs(record: RunRecord) -> str:
    """Input files with their SHA-256."""
    entries = record.provenance.get("inputs", {})
    rows = [(role, entry["path"], entry["sha256"]) for role, entry in entries.items()]
    if not rows:
        return "<p>Only built-in data were used.</p>"
    return table(("role", "file", "SHA-256"), rows, name="inputs", caption="Input files with their SHA-256")


def files(record: RunRecord) -> str:
    """What the run directory holds."""
    rows = [(name, f"{size / 1024:.1f}") for name, size in record.listing()]
    body = table(("file", "size (kB)"), rows, name="files", caption="Files of this run")
    entries = "1 entry" if len(rows) == 1 else f"{len(rows)} entries"
    return f"<details><summary>{entries}</summary>{body}</details>"


def reproduce(record: RunRecord) -> str:
    """Commands, versions and the log."""
    versions = record.provenance.get("versions", {})
    lines = [f"python -m pip install crosscal=={versions.get('crosscal', '')}".rstrip("=")]
    # The job file names its inputs; where it is copied together with them, those beside it are used.
    again = "crosscal run job.toml --output again"
    lines.append(again if record.job_text else f"crosscal demo {record.part}")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    seed = record.provenance.get("seed")
    about = (
        f"<p>{'' if seed is None else f'Seed {seed}; '}{escape(listed)}; run time {record.seconds:.0f} s.</p>"
        if versions
        else f"<p>Run time {record.seconds:.0f} s.</p>"
    )
    log = f"<details><summary>run.log</summary><pre>{escape(record.log)}</pre></details>" if record.log else ""
    return f"<pre>{escape(chr(10).join(lines))}</pre>{about}{log}"


def citations(record: RunRecord) -> str:
    """BibTeX of what this run used."""
    return f"<details open><summary>BibTeX</summary><pre>{escape(bibtex(record.citations))}</pre></details>"


def figure(record: RunRecord, entry: Any) -> str:
    """One figure with its caption, as inline SVG or, where that is large, PNG; both can be zoomed and read off."""
    name = entry["name"]
    svg = record.directory / "figures" / f"{name}.svg"
    png = record.directory / "figures" / f"{name}.png"
    source = svg if svg.is_file() and svg.stat().st_size <= MAX_SVG else png
    if not source.is_file():
        return ""
    kind = "svg+xml" if source.suffix == ".svg" else "png"
    data = base64.b64encode(source.read_bytes()).decode()
    axes = escape(entry.get("axes_json", "[]"), quote=True)
    title, caption = escape(entry.get("title", name)), escape(typeset(entry.get("caption", "")))
    width = _width(svg)
    broad, natural = (" broad" if width > BROAD else ""), (f' style="--natural: {width:.0f}pt"' if width else "")
    told = f"{title}. {caption}".strip()
    return (
        f'<figure id="figure-{escape(name)}" class="plot{broad}"{natural}><div class="zoom" data-axes="{axes}">'
        f'<img src="data:image/{kind};base64,{data}" alt="{told}" draggable="false"></div>'
        f"<figcaption><b>{title}</b> {caption} "
        '<button type="button" class="enlarge" aria-pressed="false">Enlarge</button> '
        '<output class="readoff"></output></figcaption></figure>'
    )


def _width(svg: Path) -> float:
    """Width of a drawing in points, 0 where its head does not say."""
    if not svg.is_file():
        return 0.0
    with open(svg, encoding="utf-8", errors="replace") as stream:
        found = re.search(r'<svg [^>]*?width="([\d.]+)pt"', stream.read(2000))
    return float(found[1]) if found else 0.0
