"""``{measured} part``: the benchmark records of one part as a table, from the file that the benchmarks wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILE = Path(__file__).parents[1] / "measured.json"
#: The entry of a run of all benchmarks, which has no module of its own.
WHOLE = "whole_run"
HEADINGS = ("measured", "CrossCal", "peer", "ratio", "goal", "met")


def number(value: float | None, unit: str = "") -> str:
    """Three or four digits, with thousands apart, and the unit."""
    if value is None:
        return ""
    size = abs(value)
    if value == int(value) and size < 1e6:
        text = f"{int(value):,}".replace(",", "\u202f")
    elif size >= 1e5 or (value and size < 1e-3):
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa} × 10{superscript(int(exponent))}"
    else:
        text = f"{value:.4g}" if size < 1000 else f"{value:,.0f}".replace(",", "\u202f")
    return f"{text} {unit}".strip()


def superscript(n: int) -> str:
    """An integer in raised digits."""
    return str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def row(record: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a record."""
    what = record["name"] + (f" ({record['note']})" if record["note"] else "")
    peer = " ".join(part for part in (record["peer"], number(record["peer_value"])) if part)
    met = {None: "", True: "yes", False: "no"}[record["passed"]]
    value = number(record["value"], record["unit"])
    return what, value, peer, number(record["ratio"]), record["goal"], met


class Measured(SphinxDirective):
    """Tables of one part's records, one per benchmark module, each under the command that reproduces it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the tables."""
        self.env.note_dependency(str(FILE))
        content = json.loads(FILE.read_text(encoding="utf-8"))
        part = self.arguments[0]
        modules = {name: entry for name, entry in content.items() if name.split("_")[0] == part}
        if not modules:
            raise self.error(f"{FILE.name} holds no benchmark of {part}")
        lines: list[str] = []
        for name, entry in modules.items():
            command = ["python -m benchmarks", "" if name == WHOLE else name, "--quick" if entry["quick"] else ""]
            lines += [f"`{' '.join(filter(None, command))}`, run on {entry['date']}:", ""]
            lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "|".join("---" for _ in HEADINGS) + "|"]
            for record in entry["records"]:
                cells = [cell.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<") for cell in row(record)]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return self.parse_content_to_nodes_of(lines)

    def parse_content_to_nodes_of(self, lines: list[str]) -> list[nodes.Node]:
        """Parse Markdown made here as if it stood in the page."""
        box = nodes.container(classes=["measured"])
        self.state.nested_parse(StringList(lines, source=str(FILE)), self.content_offset, box)
        return [box]


def falls_short(record: dict[str, Any]) -> bool:
    """Whether a record missed its goal, or is worse than its peer where no goal was set."""
    slower = record["ratio"] is not None and record["ratio"] < 1 and record["passed"] is None
    return record["passed"] is False or slower


class Shortfalls(SphinxDirective):
    """The records that missed their goal or are behind their peer, of all parts, with what they are compared with."""

    def run(self) -> list[nodes.Node]:
        """Write a list; a sentence where there are none."""
        self.env.note_dependency(str(FILE))
        items = nodes.bullet_list()
        for name, entry in json.loads(FILE.read_text(encoding="utf-8")).items():
            for record in filter(falls_short, entry["records"]):
                what, value, peer, ratio, goal, _ = row(record)
                against = f"; {peer}, ratio {ratio}" if peer and ratio else f"; peer: {peer}" if peer else ""
                text = f"{what}: {value}{against}" + (f"; goal: {goal}" if goal else "") + f" ({name})."
                items += nodes.list_item("", nodes.paragraph(text=text))
        return [items if items.children else nodes.paragraph(text="None in this run.")]


class Machines(SphinxDirective):
    """The machine on which the records were measured; several are listed with their benchmarks."""

    def run(self) -> list[nodes.Node]:
        """Write a paragraph, or a list."""
        self.env.note_dependency(str(FILE))
        found: dict[str, list[str]] = {}
        for name, entry in json.loads(FILE.read_text(encoding="utf-8")).items():
            text = "; ".join(f"{key}: {value}" for key, value in entry["machine"].items())
            found.setdefault(text, []).append(name)
        if len(found) == 1:
            return [nodes.paragraph(text=f"{next(iter(found))}.")]
        items = nodes.bullet_list()
        for text, names in found.items():
            items += nodes.list_item("", nodes.paragraph(text=f"{text} ({', '.join(names)})."))
        return [items]


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directives."""
    app.add_directive("measured", Measured)
    app.add_directive("machines", Machines)
    app.add_directive("shortfalls", Shortfalls)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
