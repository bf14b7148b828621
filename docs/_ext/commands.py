"""``{commands}``: the help of every command as the terminal shows it; a warning where an example failed or warned."""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from crosscal.cli.main import group

LOG = logging.getLogger(__name__)
#: Pages that show an error of the command line on purpose.
SHOWS_AN_ERROR = {"howto/runs"}


def pages(command: click.Command, path: tuple[str, ...]) -> list[tuple[str, str]]:
    """Name and help of a command and of the commands below it."""
    context = click.Context(command, info_name=" ".join(path), max_content_width=90, terminal_width=90)
    found = [(" ".join(path), command.get_help(context))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                found += pages(below, (*path, name))
    return found


class Commands(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Write the sections."""
        sections: list[nodes.Node] = []
        for name, text in pages(group, ("crosscal",)):
            section = nodes.section(ids=[nodes.make_id(name)])
            section += nodes.title(text=name)
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


def failed_commands(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of cells whose shell command failed or that printed a warning: a notebook goes on after them."""
    for block in doctree.findall(nodes.literal_block):
        text = block.astext()
        failed = "command not found" in text or "Warning: " in text
        if failed or ("crosscal: error:" in text and app.env.docname not in SHOWS_AN_ERROR):
            LOG.warning("an example failed or warned: %s", text.strip()[:200], location=block, type="commands")


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive."""
    app.add_directive("commands", Commands)
    app.connect("doctree-read", failed_commands)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
