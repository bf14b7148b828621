"""The sections of a report: a function from a run's record to HTML, or an empty string to leave it out.

Add one with a line in `SECTIONS` (or through the entry-point group ``crosscal.report_sections``).
"""

from __future__ import annotations

import base64
import re
from html import escape
from typing import Any

import numpy as np

from crosscal.core.registry import Registry
from crosscal.report.citations import bibtex
from crosscal.report.record import RunRecord

SECTIONS = Registry(
    "report section",
    {
        "Warnings": "crosscal.report.sections:warnings",
        "Quality gates": "crosscal.report.sections:quality",
        "Figures": "crosscal.report.sections:figures",
        "Diagnostics and identifiability": "crosscal.report.sections:diagnostics",
        "Tables": "crosscal.report.sections:tables",
        "What was asked": "crosscal.report.sections:asked",
        "Inputs": "crosscal.report.sections:inputs",
        "Files": "crosscal.report.sections:files",
        "How to reproduce": "crosscal.report.sections:reproduce",
        "Citations": "crosscal.report.sections:citations",
    },
)

MAX_ROWS = 300
#: An SVG larger than this is shown as PNG, so that the report stays small.
MAX_SVG = 350_000


def warnings(record: RunRecord) -> str:
    """What must be known before the answer is trusted."""
    if not record.warnings:
        return '<p class="good">None: no check of this run raised a warning.</p>'
    return "<ul>" + "".join(f'<li class="warn">{escape(typeset(w))}</li>' for w in record.warnings) + "</ul>"


def quality(record: RunRecord) -> str:
    """Quality gates, passed or failed and why."""
    rows = [(g["gate"], "passed" if g["passed"] else "FAILED", g.get("why", "")) for g in record.quality]
    if not rows:
        return ""
    return table(("gate", "verdict", "why"), rows, name="quality").replace(
        "<td>FAILED</td>", '<td class="warn"><b>FAILED</b></td>'
    )


def figures(record: RunRecord) -> str:
    """All figures but the first, which stands at the top."""
    body = "".join(figure(record, entry) for entry in record.figures[1:])
    return f'<div class="figures">{body}</div>' if body else ""


def diagnostics(record: RunRecord) -> str:
    """What the data constrain and what they do not, in the result's own words."""
    return f"<pre>{escape(record.diagnostics)}</pre>" if record.diagnostics.strip() else ""


def tables(record: RunRecord) -> str:
    """The tables of results; click on a column's head to sort."""
    parts = []
    for name, content in record.tables().items():
        units = [f" [{c.unit}]" if getattr(c, "unit", None) else "" for c in content.itercols()]
        header = [f"{c}{u}" for c, u in zip(content.colnames, units, strict=True)]
        rows = [[_cell(value) for value in row] for row in content[:MAX_ROWS]]
        note = (
            f"<p>First {MAX_ROWS} of {len(content)} rows; all are in {escape(name)}.ecsv.</p>"
            if len(content) > MAX_ROWS
            else ""
        )
        opened = " open" if name == "summary" else ""
        body = table(header, rows, name=name)
        parts.append(f"<details{opened}><summary>{escape(name)} ({len(content)} rows)</summary>{body}{note}</details>")
    return "".join(parts)


def asked(record: RunRecord) -> str:
    """The job file as run, with all defaults filled in."""
    return (
        f"<details><summary>job.toml</summary><pre>{escape(record.job_text)}</pre></details>" if record.job_text else ""
    )


def inputs(record: RunRecord) -> str:
    """Input files with their SHA-256."""
    entries = record.provenance.get("inputs", {})
    rows = [(role, entry["path"], entry["sha256"]) for role, entry in entries.items()]
    return table(("role", "file", "SHA-256"), rows, name="inputs") if rows else "<p>Built-in data only.</p>"


def files(record: RunRecord) -> str:
    """What the run directory holds."""
    rows = [(name, f"{size / 1024:.1f}") for name, size in record.files()]
    return f"<details><summary>{len(rows)} entries</summary>{table(('file', 'kB'), rows, name='files')}</details>"


def reproduce(record: RunRecord) -> str:
    """Commands, versions and the log."""
    versions = record.provenance.get("versions", {})
    lines = [f"python -m pip install crosscal=={versions.get('crosscal', '')}".rstrip("=")]
    lines.append("crosscal run job.toml" if record.job_text else f"crosscal demo {record.part}")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    seed = record.provenance.get("seed")
    about = (
        f"<p>{'' if seed is None else f'Seed {seed}; '}{escape(listed)}; {record.seconds:.0f} s.</p>"
        if versions
        else f"<p>{record.seconds:.0f} s.</p>"
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
    return (
        f'<figure id="figure-{escape(name)}"><div class="zoom" data-axes="{axes}">'
        f'<img src="data:image/{kind};base64,{data}" alt="{title}" draggable="false"></div>'
        f'<figcaption><b>{title}</b> {caption} <output class="readoff"></output></figcaption></figure>'
    )


def typeset(text: str) -> str:
    """Return a sentence with the signs that plain text spells out."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text.replace("+-", "\u00b1"))


def table(header: Any, rows: Any, *, name: str) -> str:
    """A sortable table."""
    head = "".join(f"<th scope='col'><button type='button'>{escape(str(h))}</button></th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="sortable" id="table-{escape(name)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if getattr(value, "mask", None) is not None and bool(np.all(value.mask)):
        return ""
    if isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
        try:
            return f"{float(value):.5g}"
        except TypeError:
            return str(value)
    return str(value)
