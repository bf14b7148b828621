"""Put the sections of a run into one self-contained HTML file."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files
from pathlib import Path

from crosscal.core.files import write_text
from crosscal.core.signs import typeset
from crosscal.report.record import RunRecord
from crosscal.report.sections import SECTIONS, figure
from crosscal.report.words import counted, moment

TITLES = {
    "xray": "X-ray effective-area cross-calibration",
    "xray-spectra": "X-ray effective-area cross-calibration from spectra",
    "xray-fit": "X-ray spectral fit",
    "concordance": "Calibration concordance",
    "lightcurves": "Light-curve intercalibration",
    "fluxcal": "Fibre flux calibration",
}


def write_report(directory: str | Path) -> Path:
    """Write ``report.html`` into a run directory and return its path.

    Raises
    ------
    DataFileError
        If the directory holds no finished run, or files that are not that run's.
    """
    record = RunRecord.read(directory)
    record.require_whole()
    return write_text(Path(directory) / "report.html", render(record))


def render(record: RunRecord) -> str:
    """Return the HTML of a run: answer and first figure at the top, then every section that has something to say."""
    from jinja2 import Environment

    assets = files("crosscal.report") / "assets"
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (assets / "report.html.j2").read_text(encoding="utf-8")
    )
    sections = []
    for name in SECTIONS:
        body = SECTIONS.get(name)(record)
        if body:
            sections.append({"name": name, "id": escape(name.lower().replace(" ", "-")), "body": body})
    headline, *rest = re.split(r"(?<=[.!?])\s+(?=[A-Z])", typeset(record.answer), maxsplit=1)
    return template.render(
        headline=headline,
        lead=rest[0] if rest else "",
        warning=typeset(record.warnings[0]) if record.warnings else "",
        title=TITLES.get(record.part, record.part),
        record=record,
        first=figure(record, record.figures[0]) if record.figures else "",
        sections=sections,
        style=(assets / "report.css").read_text(encoding="utf-8"),
        script=(assets / "report.js").read_text(encoding="utf-8"),
        facts=_facts(record),
        created=moment(str(record.provenance.get("created", ""))),
        version=record.provenance.get("versions", {}).get("crosscal", ""),
    )


def _facts(record: RunRecord) -> list[str]:
    """The configuration, inputs, seed and date in a few words; the sections below give the details."""
    inputs = len(record.provenance.get("inputs", {}))
    asked = "job.toml" if record.job_text else f"crosscal demo {record.part}"
    found = [
        f'Configuration: <a href="#configuration">{asked}</a>' if record.job_text else f"Command: {escape(asked)}",
        f'<a href="#inputs">{counted(inputs, "input")}</a>' if inputs else "built-in data",
    ]
    seed, created = record.provenance.get("seed"), moment(str(record.provenance.get("created", "")))
    return [*found, *([] if seed is None else [f"seed {escape(str(seed))}"]), *([escape(created)] if created else [])]
