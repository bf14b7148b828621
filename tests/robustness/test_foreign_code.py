"""Nothing that is read is ever executed: no pickle, no eval, no unsafe loaders anywhere in the package."""

import ast
from pathlib import Path

import pytest

import crosscal

SOURCES = sorted(Path(crosscal.__file__).parent.rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "read_pickle", "to_pickle", "from_pickle"}
#: Where worker processes of our own exchange tasks over pipes that nobody else can write to: no file is read so.
PIPES = {"compute/worker.py", "compute/job.py"}


def offences(tree: ast.AST) -> list[str]:
    """Return what in a module could execute content."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(f"from {node.module} import")
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            owner = getattr(getattr(node.func, "value", None), "id", "")
            if name in CALLS and not (name == "compile" and owner == "re"):
                found.append(f"{name}()")
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.append("allow_pickle")
                if keyword.arg == "shell" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.append("shell=True")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(Path(crosscal.__file__).parent).as_posix())
def test_no_content_is_executed(path):
    found = offences(ast.parse(path.read_text(encoding="utf-8")))
    name = path.relative_to(Path(crosscal.__file__).parent).as_posix()
    if name in PIPES:
        found = [text for text in found if "pickle" not in text or text == "allow_pickle"]
    assert not found


def test_the_check_finds_offences():
    bad = ("import pickle", "from yaml import load", "eval('1')", "np.load(f, allow_pickle=True)", "run(c, shell=True)")
    code = "\n".join((*bad, "re.compile('x')", "np.load(f, allow_pickle=False)"))
    assert len(offences(ast.parse(code))) == 5


def test_pipes_exist():
    assert {p.relative_to(Path(crosscal.__file__).parent).as_posix() for p in SOURCES} >= PIPES
