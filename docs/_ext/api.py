"""``{api} package``: the named public objects of a package, as a table with links and then one by one.

The order is that of the page. Functions and classes are documented from their docstrings, registries as the table of
their members, other data from the comment that stands above them in the source.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from crosscal.core.registry import Registry


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


def registry_table(module: str, name: str, registry: Registry) -> list[str]:
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
        return registry_table(module, name, value)
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {name}", ""]
    return [f".. py:data:: {name}", "", f"   {comment_of(module, name)}", ""]


class Api(SphinxDirective):
    """The objects named in the content, one a line."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Document them."""
        module = self.arguments[0]
        names = [line.strip() for line in self.content if line.strip()]
        members = [n for n in names if callable(getattr(import_module(module), n))]
        lines = ["````{eval-rst}", f".. currentmodule:: {module}", ""]
        if len(members) > 1:
            lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in members), ""]
        for name in names:
            lines += directive_of(module, name)
        lines.append("````")
        box = nodes.container(classes=["api"])
        self.state.nested_parse(StringList(lines, source=self.env.docname), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive."""
    app.add_directive("api", Api)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
