"""What the documentation shows is true: names and options exist, job files are valid, references are complete.

The examples themselves are run when the site is built: ``sphinx-build -W --keep-going -b html docs docs/_build/html``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from crosscal.cli.main import group
from crosscal.core.options import hints
from crosscal.jobs.options import validate, validate_value
from crosscal.jobs.parts import PARTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```\s*$", flags=re.DOTALL | re.MULTILINE)
#: Parts whose reference page must hold every public name.
REFERENCES = {
    "crosscal.xray": "reference/xray.md",
    "crosscal.concordance": "reference/concordance.md",
    "crosscal.lightcurves": "reference/lightcurves.md",
    "crosscal.fluxcal": "reference/fluxcal.md",
    "crosscal.compute": "reference/core.md",
    "crosscal.emulator": "reference/core.md",
    "crosscal.datasets": "reference/core.md",
    "crosscal.plot": "reference/core.md",
    "crosscal.report": "reference/core.md",
}


def blocks(kind: str) -> list[tuple[str, str]]:
    """Page and text of the fenced blocks of a kind."""
    found = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text(encoding="utf-8")):
            if match["kind"].strip() == kind:
                text = re.sub(r"\A(?:(:\w+:.*\n)+|---\n.*?^---\n)", "", match["text"], flags=re.DOTALL | re.MULTILINE)
                found.append((page.relative_to(DOCS).as_posix(), text))
    return found


def labelled(kind: str) -> list:
    return [pytest.param(text, id=f"{page}-{k}") for k, (page, text) in enumerate(blocks(kind))]


def python_of(text: str) -> ast.Module:
    """Parse a cell, without the lines that only a notebook understands."""
    if text.startswith("%%"):
        return ast.Module([], [])
    return ast.parse("\n".join(line for line in text.splitlines() if not line.startswith(("!", "%"))))


class Names(ast.NodeVisitor):
    """Looks up what is imported from CrossCal, its attributes, and the keywords of calls."""

    def __init__(self) -> None:
        self.known: dict[str, object] = {}
        self.checked = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] == "crosscal":
                module = importlib.import_module(alias.name)
                self.known[alias.asname or "crosscal"] = module if alias.asname else importlib.import_module("crosscal")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").split(".")[0] != "crosscal":
            return
        module = importlib.import_module(node.module)
        for alias in node.names:
            value = getattr(module, alias.name, None)
            if value is None:
                value = importlib.import_module(f"{node.module}.{alias.name}")
            self.known[alias.asname or alias.name] = value
            self.checked += 1

    def value_of(self, node: ast.AST) -> object | None:
        """The object that an expression names, if that can be told without running it."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.value_of(node.value)
            if owner is None or not (inspect.ismodule(owner) or inspect.isclass(owner)):
                return None
            self.checked += 1
            assert hasattr(owner, node.attr), f"{ast.unparse(node)} does not exist"
            return getattr(owner, node.attr)
        return None

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.value_of(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = self.value_of(node.func)
        if callable(function):
            parameters = inspect.signature(function).parameters
            open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            for keyword in node.keywords:
                if keyword.arg is not None and not open_ended:
                    assert keyword.arg in parameters, f"{ast.unparse(node.func)}() has no argument {keyword.arg!r}"
                    self.checked += 1
        self.generic_visit(node)


def test_names_that_do_not_exist_are_found():
    for wrong in (
        "from crosscal import xray\nxray.no_such_function()",
        "from crosscal import concordance\nconcordance.fit(data, no_such_argument=1)",
        "from crosscal.fluxcal import no_such_name",
    ):
        with pytest.raises((AssertionError, ImportError)):
            Names().visit(ast.parse(wrong))


@pytest.mark.parametrize("page", [p.relative_to(DOCS).as_posix() for p in PAGES])
def test_python_on_a_page_names_what_exists(page):
    names = Names()
    for kind in ("python", "{code-cell}"):
        for where, text in blocks(kind):
            if where == page:
                names.visit(python_of(text))


def test_the_pages_have_examples_enough_to_check():
    names = Names()
    for kind in ("python", "{code-cell}"):
        for _, text in blocks(kind):
            names.visit(python_of(text))
    assert names.checked > 150


def written_files() -> list[tuple[str, str]]:
    """Job files that cells write with ``%%writefile NAME.toml``."""
    return [(page, text.split("\n", 1)[1]) for page, text in blocks("{code-cell}") if text.startswith("%%writefile")]


JOBS = [
    pytest.param(text, id=f"{page}-{k}")
    for k, (page, text) in enumerate([*blocks("toml"), *written_files()])
    if "=" in text and "project.entry-points" not in text
]


@pytest.mark.parametrize("text", JOBS)
def test_job_files_are_valid(text, tmp_path):
    """A whole job file is validated; a piece of one is validated table by table by a part that has these tables."""
    content = tomllib.loads(text) if "FileCont" not in text else None
    if content is None:  # a parameter file of PyCALI
        from crosscal.lightcurves.compat.options import TAGS

        assert {line.split()[0] for line in text.splitlines() if line.strip()} <= set(TAGS)
        return
    if "job" in content:
        validate(PARTS.get(content["job"]).model, content, source=tmp_path / "job.toml")
        return
    able = [PARTS.get(name).model for name in PARTS if set(content) <= set(hints(PARTS.get(name).model))]
    assert able, f"no part has the tables {', '.join(content)}"
    failures = []
    for model in able:
        try:
            for key, value in content.items():
                validate_value(hints(model)[key], value)
        except ValueError as error:
            failures.append(str(error))
        else:
            return
    raise AssertionError(failures[0])


def commands() -> list[tuple[str, str]]:
    """Page and command line of everything that starts with ``crosscal``."""
    found = []
    for kind in ("bash", "console", "{code-cell}"):
        for page, text in blocks(kind):
            for line in text.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:\$ |!)?(?:[A-Z_]+=\S+ )?crosscal( .*)", line)
                if match:
                    found.append((page, match[1].split(">")[0].split("#")[0].strip()))
    return found


@pytest.mark.parametrize("line", sorted({line for _, line in commands()}))
def test_commands_and_options_exist(line):
    words = shlex.split(line)
    command, name = group, "crosscal"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(click.Context(group), name)
        assert command is not None, f"no command {name}"
    if words in (["--help"], ["--version"]):
        return
    command.make_context(name, words, resilient_parsing=False)  # parses and converts; runs nothing


def test_there_are_commands_on_the_pages():
    assert len(commands()) > 15


@pytest.mark.parametrize(("package", "page"), REFERENCES.items())
def test_the_reference_holds_every_public_name_once(package, page):
    listed: list[str] = []
    for match in FENCE.finditer((DOCS / page).read_text(encoding="utf-8")):
        if match["kind"].strip() == f"{{api}} {package}":
            listed += match["text"].split()
    assert len(listed) == len(set(listed))
    assert set(listed) == set(importlib.import_module(package).__all__)


def test_every_argument_of_the_older_packages_is_explained():
    from crosscal.fluxcal.kspecdr import ARGUMENTS
    from crosscal.lightcurves.compat.options import TAGS, Options

    kspecdr, pycali = ((DOCS / "howto" / f"{name}.md").read_text(encoding="utf-8") for name in ("kspecdr", "pycali"))
    assert not [key for key in ARGUMENTS if f"`{key}`" not in kspecdr]
    assert not [tag for tag in TAGS if f"`{tag}" not in pycali]
    short = [name.removesuffix("_up") for name in Options.__dataclass_fields__]
    assert not [name for name in short if f"`{name}" not in pycali]


@pytest.mark.parametrize("page", [p.relative_to(DOCS).as_posix() for p in PAGES])
def test_links_between_pages_lead_somewhere(page):
    text = FENCE.sub("", (DOCS / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(((?!https?://)[^)#\s]+)(?:#[^)]*)?\)", text):
        assert ((DOCS / page).parent / target).is_file(), target


#: Characters of code that fit the column of text on a screen of 1400 pixels.
WIDEST_CODE = 88
FIGURE = re.compile(r"figures(?:\(\))?\[|^area\(", flags=re.MULTILINE)


@pytest.mark.parametrize("page", [p.relative_to(DOCS).as_posix() for p in PAGES])
def test_code_fits_the_column(page):
    for match in FENCE.finditer((DOCS / page).read_text(encoding="utf-8")):
        shown = re.sub(r"\A---\n.*?^---\n", "", match["text"], flags=re.DOTALL | re.MULTILINE)
        assert not [line for line in shown.splitlines() if len(line) > WIDEST_CODE]


@pytest.mark.parametrize("page", [p.relative_to(DOCS).as_posix() for p in PAGES])
def test_figures_and_images_have_a_text(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    cells = [match["text"] for match in FENCE.finditer(text) if match["kind"].strip() == "{code-cell}"]
    drawn = [cell for cell in cells if FIGURE.match(cell.strip().splitlines()[-1]) or "figures()[" in cell]
    assert all(re.search(r"^    alt: \S.{15,}$", cell, flags=re.MULTILINE) for cell in drawn)
    assert all(len(alt) > 15 for alt in re.findall(r"!\[([^\]]*)\]\(", FENCE.sub("", text)))


def test_figures_of_cells_are_recognised():
    cells = [text for _, text in blocks("{code-cell}")]
    assert sum("figures[" in cell or "figures()[" in cell or "area(" in cell for cell in cells) >= 16


SAMPLES = DOCS / "samples"


def test_every_sample_is_linked_from_the_first_page():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert {p.name for p in SAMPLES.iterdir()} == set(re.findall(r"<samples/([^>]+)>", text))


def test_samples_are_read_as_they_are(tmp_path):
    from crosscal import concordance, fluxcal, lightcurves, xray

    pairs = xray.read_pairs(SAMPLES / "clusters.csv", trusted="pn", corrected="acis")
    assert pairs.telescopes == ("pn", "acis")
    assert pairs.quantities == ("kT", "norm")
    assert concordance.read_table(SAMPLES / "fluxes.csv").channel_names == ("pn", "MOS1", "MOS2")
    curves = lightcurves.read(SAMPLES / "telescope_A.csv", SAMPLES / "telescope_B.csv")
    assert curves.codes == ("telescope_A", "telescope_B")
    stars = fluxcal.read_catalogue(SAMPLES / "stars.csv", bands={"decam2014-g": "mag_g", "decam2014-r": "mag_r"})
    assert len(stars.name) == 20


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^([a-z/_-]+)$", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE))
    pages = {p.relative_to(DOCS).with_suffix("").as_posix() for p in PAGES} - {"index"}
    assert pages <= listed


@pytest.mark.parametrize("page", [p.relative_to(DOCS).as_posix() for p in PAGES if p.name != "index.md"])
def test_every_page_says_for_whom_it_is(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    body = text.split("---\n", 2)[-1] if text.startswith("---\n") else text
    after_title = body.split("\n\n", 2)[1].strip()
    assert after_title.startswith("*"), "the first paragraph says in italics who the page is for"


def feature_rows() -> list:
    """Columns "id", "done by" and "proved by" of the feature table."""
    rows = re.findall(r"^\| ([A-Z]\d+) \|.*\| (.*) \| (.*) \|$", (DOCS / "features.md").read_text(), flags=re.MULTILINE)
    return [pytest.param(done, proved, id=name) for name, done, proved in rows]


SOURCES = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize(("done", "proved"), feature_rows())
def test_a_feature_names_what_exists(done, proved):
    tests = {p.name for p in (ROOT / "tests").rglob("*.py")}
    for path in re.findall(r"`([^`]*\.py)`", proved):
        place = ROOT / path if path.startswith(("tests/", "benchmarks/")) else ROOT / "tests" / path
        assert place.is_file() if "/" in path else path in tests, path
    for name in re.findall(r"`((?:xray|concordance|lightcurves|fluxcal|compute)_\w+)`", proved):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
    for name in re.findall(r"[A-Za-z]+_[a-z_]+", " ".join(re.findall(r"`([^`]*)`", done))):
        assert name.strip("_") in SOURCES or list((ROOT / "examples").glob(f"{name.rstrip('_')}*")), name


def test_every_row_of_the_feature_table_is_read():
    assert len(feature_rows()) > 25
