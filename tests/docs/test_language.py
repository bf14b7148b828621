"""Texts that users read keep to the style page: no invented metaphors, no odd phrases that were replaced before.

Scanned are the pages, README, CONTRIBUTING and CHANGELOG, the comments of the examples, and all string literals and
docstrings under ``src`` (found through ``ast``, so comments and names in code are not).
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Words and phrases (regular expressions) that must not come back, with what to write instead.
BANNED = {
    r"a walk through the house|\bthe house\b": "the project, or the layer by its name",
    r"\b(shared|common) kernel\b|\bjobs on one kernel\b": "the shared core",
    r"\bspoil(t|ed|s|ing)?\b": "contaminated, damaged, biased",
    r"\bgates?\b": "quality checks",
    r"\bweigh(ed|s|ing)?\b": "weighted, importance-weighting, ranked",
    r"\bways? out\b": "workaround, solution",
    r"\bbegun\b": "started",
    r"\bso many independent\b": "equivalent number of independent draws",
    r"\btrusted (telescope|spectr|spectra|temperature|counts|one)": "reference telescope (job key `[trusted]`)",
    r"\bplant(ed|s|ing)?\b": "injected",
    r"\bbridged? (over|across|masked|its|gaps)\b|\bbridges\b": "interpolated across masked pixels",
    r"\bheld at (its|their|the) (value|values|given)\b": "fixed",
    r"\bsimulated afresh\b|\bfreshly simulated\b": "newly simulated",
    r"\bnot to be believed\b|\bbelieve it\b": "unreliable; check",
    r"\bmeant from\b": "relative to",
    r"\bwhere (is|are) looked\b|\blooks? where\b": "the directories searched",
    r"\b(written|writes?) over\b": "overwritten; left unchanged",
    r"\bcomes? on top\b": "additional files",
    r"\b(none|nothing) but the chunks\b": "only the chunks in progress",
    r"\bdone (already|before|again)\b|\bmade again\b": "already complete; repeated",
    r"\bput in the names\b|\bnames of your files\b": "edit the file names",
    r"\bcriteria are (not )?met\b": "converged: R-hat, ESS, k-hat",
    r"\bfits? as well\b": "degenerate solutions",
    r"\b(temperatures|fluxes|colours|areas|counts) (are|were) off by\b": "biased by",
    r"\bloses? another amount\b|\bmore or less light\b": "a different amount; fibre-to-fibre scatter",
    r"\bWhat was asked\b": "Configuration",
    r"\bWhere to (read|go) on\b": "Documentation; Next steps",
    r"\bonly the prior knows\b|\bthe data say nothing\b": "constrained by the prior only",
    r"\bbeside the\b.*\bof it\b": "compared with",
    r"(?<!there )\b(is|are) no (?!longer\b|more\b|worse\b|such\b|narrower\b|less\b)": "is not a",
    r"\b(is|are|be) taken (as|in)\b": "treated as, read as, assumed to be",
    r"\bmust be said\b|\bit (is|must be) said\b": "must be stated",
    r"\bthe same job resumes\b": "run the same job again to resume",
    r"\bnobody\b": "the passive, or who it is",
    r"\bwhat became of\b": "status, outcome",
    r"\bno news\b": "messages",
    r"\bstands? for yours\b": "this example uses a simulated frame",
}
#: Pages that are not scanned, with the reason.
ALLOWED = {"docs/style.md": "the page lists the words"}
#: Names in code are not prose.
CODE = re.compile(r"`[^`\n]*`")
PAGES = [p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts]
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


def python_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string in a Python file that has more than one word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of the comments of a TOML file."""
    text = path.read_text(encoding="utf-8")
    tomllib.loads(text)
    for number, line in enumerate(text.splitlines(), 1):
        if "#" in line:
            yield number, line.split("#", 1)[1]


def found(pieces: Iterator[tuple[int, str]], path: Path) -> list[str]:
    """What is found of the banned words, each with its place and what to write instead."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {match.group(0)!r}; write {better}"
        for number, text in pieces
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, " ".join(CODE.sub("", text).split()), flags=re.IGNORECASE)
    ]


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """First line and text of the paragraphs of a page, so that phrases are found across lines."""
    number, lines = 1, path.read_text(encoding="utf-8").split("\n")
    for k, line in enumerate([*lines, ""], 1):
        if not line.strip():
            yield number, " ".join(lines[number - 1 : k - 1])
            number = k + 1


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_pages_keep_to_the_style(path):
    if path.relative_to(ROOT).as_posix() not in ALLOWED:
        assert not found(paragraphs(path), path)


def test_examples_keep_to_the_style():
    assert not [text for path in sorted((ROOT / "examples").glob("*.toml")) for text in found(comments(path), path)]
    assert not [text for path in sorted((ROOT / "examples").glob("*.py")) for text in found(python_texts(path), path)]


@pytest.mark.parametrize("part", sorted(p.name for p in (ROOT / "src" / "crosscal").iterdir() if p.is_dir()))
def test_messages_and_docstrings_keep_to_the_style(part):
    folder = ROOT / "src" / "crosscal" / part
    assert not [text for path in sorted(folder.rglob("*.py")) for text in found(python_texts(path), path)]


def test_odd_words_are_found(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page, code, job = tmp_path / "page.md", tmp_path / "code.py", tmp_path / "job.toml"
    page.write_text("A frame must pass\ngates.\n\nThe draws are worth so\nmany independent ones.\n")
    code.write_text('"""Weighing proposals."""\nmessage = f"{1} chunks were done already"\n# spoilt, but a comment\n')
    job.write_text("a = 1  # with the trusted telescope\n")
    assert len(found(paragraphs(page), page)) == 2
    assert len(found(python_texts(code), code)) == 2
    assert len(found(comments(job), job)) == 1
