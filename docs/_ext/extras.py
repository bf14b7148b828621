"""What the finished site offers beside its pages: executed notebooks to download, ``llms.txt``, and accessible pages.

An image without an alternative text is a warning, so that a site with one is not built. What the theme and Sphinx leave
out for screen readers is added to the finished pages (checked with axe by ``tests/docs/test_site.py``).
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)
FIRST_ITALIC = re.compile(r"^\*(?P<text>[^*].*?)\*$", flags=re.DOTALL | re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\}", flags=re.MULTILINE)
#: Images and drawings inside HTML that an object shows of itself.
DRAWING = re.compile(r"<(?:img|svg)\b[^>]*>")
TEXT_OF_DRAWING = re.compile(r"\b(?:alt|aria-label|aria-hidden|aria-labelledby)=")

#: What is written and what it becomes: levels of headings, names of landmarks, tables that scroll by the keyboard.
REPAIRS = (
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="All pages">'),
    ('<aside class="toc-drawer">', '<aside class="toc-drawer" aria-label="On this page">'),
    ('<aside class="toc-drawer no-toc">', '<aside class="toc-drawer no-toc" aria-label="On this page">'),
)
TABLE = re.compile(r'<div class="table-wrapper(?![^>]*tabindex)')
#: Tables that objects of a notebook show of themselves scroll, too.
SHOWN_TABLE = re.compile(r'<table id="(?=table\d)')
#: Parameters of a signature of several lines, which Sphinx writes as definitions of nothing.
PARAMETERS = re.compile(r"<dl>\n(?P<lines>(?:<dd>.*?</dd>\n?)+)</dl>", flags=re.DOTALL)


def offer_notebook(app: Sphinx, docname: str, content: list[str]) -> None:
    """Put a link to the executed notebook under the first paragraph of a page that has several cells."""
    if len(CELL.findall(content[0])) < 2:
        return
    name = docname.rsplit("/", 1)[-1]
    link = f"{{nb-download}}`Download this page as an executed notebook <{name}.ipynb>`"
    found = FIRST_ITALIC.search(content[0])
    if found:
        content[0] = f"{content[0][: found.end()]}\n\n{link}\n{content[0][found.end() :]}"


def require_texts(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn of images that a screen reader could not tell."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            LOG.warning("image %s has no alternative text", image["uri"], location=image, type="extras")
    for raw in doctree.findall(nodes.raw):
        if "html" in raw.get("format", ""):
            for tag in DRAWING.findall(raw.astext()):
                if not TEXT_OF_DRAWING.search(tag):
                    LOG.warning("drawing without alternative text: %s", tag[:80], location=raw, type="extras")


def write_llms(app: Sphinx, error: Exception | None) -> None:
    """Write ``llms.txt`` (https://llmstxt.org): every page with a line on what it is for, linked as plain text."""
    if error or app.builder.format != "html":
        return
    index = Path(app.srcdir, "index.md").read_text(encoding="utf-8")
    summary = " ".join(index.split("\n\n")[1].split())
    lines = [f"# {app.config.project} {app.config.release}", "", f"> {summary}", ""]
    for caption, names in re.findall(r":caption: (.+?)\n\n(.*?)```", index, flags=re.DOTALL):
        lines += [f"## {caption}", ""]
        for name in names.split():
            text = Path(app.srcdir, f"{name}.md").read_text(encoding="utf-8")
            title = nodes.Text(app.env.titles[name].astext())
            audience = FIRST_ITALIC.search(text)
            note = f": {' '.join(audience['text'].split())}" if audience else ""
            lines.append(f"- [{title}](_sources/{name}.md.txt){note}")
        lines.append("")
    Path(app.outdir, "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def fill_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Put the outputs into notebooks whose page came from the cache: myst-nb writes those without them."""
    if error or app.builder.format != "html":
        return
    cache = get_cache(app.env.mystnb_config.execution_cache_path)
    for path in Path(app.outdir, "_downloads").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        if not any(cell.get("outputs") for cell in notebook.cells):
            with suppress(KeyError):  # the page was not executed
                _, notebook = cache.merge_match_into_notebook(notebook)
                nbformat.write(notebook, path)


def repair_pages(app: Sphinx, error: Exception | None) -> None:
    """Add what screen readers need to the written pages."""
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        before = text = path.read_text(encoding="utf-8")
        for written, wanted in REPAIRS:
            text = text.replace(written, wanted)
        text = TABLE.sub('<div tabindex="0" role="group" aria-label="table" class="table-wrapper', text)
        text = SHOWN_TABLE.sub('<table tabindex="0" id="', text)
        text = PARAMETERS.sub(_parameters, text)
        if text != before:
            path.write_text(text, encoding="utf-8")


def _parameters(found: re.Match[str]) -> str:
    lines = found["lines"].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect."""
    app.connect("source-read", offer_notebook)
    app.connect("doctree-resolved", require_texts)
    app.connect("build-finished", write_llms)
    app.connect("build-finished", fill_notebooks)
    app.connect("build-finished", repair_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
