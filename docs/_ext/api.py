"""``{api} package``: the named public objects of a package as a table of links, and a page for each of them.

The order is that of the page. Functions and classes are documented from their docstrings, registries as the table of
their members, other data from the comment that stands above them in the source. The pages are written to
``reference/generated`` before Sphinx reads its sources; they belong to no table of contents, so that the side bar stays
short.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from crosscal.core.registry import Registry

BLOCK = re.compile(r"^```\{api\} (?P<module>\S+)\n(?P<names>.*?)^```", flags=re.DOTALL | re.MULTILINE)
FOLDER = "reference/generated"


def comment_of(module: str, name: str) -> str:
    """The ``#:`` comment above a name, looked for in the modules that the package takes it from."""
    package = import_module(module)
    exports = getattr(package, "_EXPORTS", {})
    source = exports.get(name, module)
    source = source if source.startswith("crosscal.") else f"{module}.{source}"
    for candidate in (source, *(f"{module}.{m}" for m in ("style", "fetch", "corrections"))):
        try:
            found = ModuleAnalyzer.for_module(candidate).find_attr_docs()
        except Exception as error:  # Sphinx's own PycodeError, raised where there is no such module
            if type(error).__name__ != "PycodeError":
                raise
            continue
        if ("", name) in found:
            return " ".join(found["", name]).strip()
    return ""


def registry_table(name: str, registry: Registry) -> list[str]:
    """A registry as its members with a line each."""
    lines = [f".. py:data:: {name}", "", f"   The registered {registry.kind}s by name.", ""]
    lines += ["   .. list-table::", "      :widths: 25 75", ""]
    for member, text in registry.describe().items():
        plain = text.replace("*", "\\*").replace("|", "\\|")
        lines += [f"      * - ``{member}``", f"        - {plain}"]
    return [*lines, ""]


def directive_of(module: str, name: str) -> list[str]:
    """The lines of reStructuredText that document one object."""
    value = getattr(import_module(module), name)
    if isinstance(value, Registry):
        return registry_table(name, value)
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {name}", ""]
    return [f".. py:data:: {name}", "", f"   {comment_of(module, name)}", ""]


def summary_of(module: str, name: str) -> str:
    """The first sentence about an object."""
    value = getattr(import_module(module), name)
    if isinstance(value, Registry):
        return f"the registered {value.kind}s by name"
    described = inspect.isclass(value) or inspect.isroutine(value)
    text = (inspect.getdoc(value) or "") if described else comment_of(module, name)
    first = re.split(r"(?<=[.:])\s", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0]
    return first.rstrip(":")


def address_of(module: str, name: str) -> str:
    """The page of an object below ``FOLDER``; names that differ in case only must not share a file."""
    case = "-class" if name[:1].isupper() and not name.isupper() else ""
    return f"{module.removeprefix('crosscal.')}.{name}{case}"


def page_of(module: str, name: str, parent: str) -> str:
    """The source of one object's page."""
    title = f"{module}.{name}"
    lines = [":orphan:", "", title, "=" * len(title), "", f"Part of :doc:`/{parent}`.", ""]
    return "\n".join([*lines, f".. currentmodule:: {module}", "", *directive_of(module, name)])


def write_pages(app: Sphinx) -> None:
    """Write the pages that are new or changed, and remove those of names that no longer exist."""
    source = Path(app.srcdir)
    folder = source / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wanted: dict[Path, str] = {}
    for path in sorted((source / "reference").glob("*.md")):
        for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
            for name in block["names"].split():
                target = folder / f"{address_of(block['module'], name)}.rst"
                wanted[target] = page_of(block["module"], name, f"reference/{path.stem}")
    for path in set(folder.glob("*.rst")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


class Api(SphinxDirective):
    """A table of the objects named in the content, one a line, with links to their pages."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Write the table."""
        module = self.arguments[0]
        lines = ["````{eval-rst}", ".. list-table::", "   :widths: 32 68", "   :class: api", ""]
        for name in (line.strip() for line in self.content if line.strip()):
            page = f"/{FOLDER}/{address_of(module, name)}"
            lines += [f"   * - :doc:`{name} <{page}>`", f"     - {summary_of(module, name)}"]
        lines.append("````")
        box = nodes.container(classes=["api"])
        self.state.nested_parse(StringList(lines, source=self.env.docname), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive."""
    app.add_directive("api", Api)
    app.connect("builder-inited", write_pages)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
