"""Which libraries each floor may use, read from the source: numerics need no FITS, plots, stores or terminals."""

import ast
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "crosscal"

#: Library to the modules (as paths below src/crosscal) that may import it, at the top or inside a function.
ALLOWED = {
    "matplotlib": ["plot/*", "*/figures*.py", "lightcurves/compat/api.py"],
    "zarr": ["compute/*"],
    "dask": ["compute/*"],
    "distributed": ["compute/*"],
    "dask_jobqueue": ["compute/*"],
    "click": ["cli/*"],
    "rich": ["cli/*"],
    "tqdm": ["compute/progress.py", "inference/jaxconfig.py"],
    "jinja2": ["report/*"],
    "tomli_w": ["jobs/*.py"],
    "pydantic": ["jobs/*.py", "*/job*.py", "*/config.py", "cli/*"],
    "astropy.io": [
        "core/sizes.py",
        "datasets/*",
        "report/record.py",
        "*/*_io.py",
        "*/*/*_io.py",
        "xray/instrument/ogip*.py",
        "xray/instrument/ensemble.py",
        "xray/emission/atomdb.py",
        "lightcurves/formats/*",
        "concordance/table_columns.py",
        "fluxcal/frames/*",
        "fluxcal/products.py",
        "fluxcal/stars/catalogue.py",
        "fluxcal/stars/dust.py",
        "fluxcal/stars/template_files.py",
    ],
    "h5py": ["core/sizes.py", "emulator/storage.py", "xray/library/xcalforge.py"],
    "xspectrampoline": ["xray/emission/*"],
    "sherpa": [],
    # Between a run and its own worker processes only; no file is unpickled.
    "pickle": ["compute/job.py", "compute/worker.py"],
    "yaml": [],
    "requests": [],
}

FILES = sorted(SOURCE.rglob("*.py"))


@cache
def imported(path: Path) -> set[str]:
    """Return the dotted names of everything a file imports, wherever in the file, but not for annotations only."""
    names = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_on_their_floor(library):
    offenders = []
    for path in FILES:
        place = path.relative_to(SOURCE).as_posix()
        uses = any(name == library or name.startswith(library + ".") for name in imported(path))
        if uses and not any(fnmatch(place, pattern) for pattern in ALLOWED[library]):
            offenders.append(place)
    assert not offenders, f"{library} is imported by {offenders}"


def test_the_check_sees_imports():
    assert any("matplotlib" in name for path in FILES for name in imported(path))


def test_nothing_is_evaluated_or_unpickled():
    offenders = []
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        offenders += [f"{path.name}:{c.lineno}" for c in calls if getattr(c.func, "id", "") in {"eval", "exec"}]
        pickled = [k for c in calls for k in c.keywords if k.arg == "allow_pickle"]
        offenders += [f"{path.name}:{k.lineno}" for k in pickled if getattr(k.value, "value", True) is not False]
    assert not offenders


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= 450, "split the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Docstrings may be long; compiled kernels pay for every call that crosses a function.
            documented = ast.get_docstring(node) is not None and isinstance(node.body[0], ast.Expr)
            docstring = node.body[0].end_lineno - node.body[0].lineno if documented else 0
            compiled = any("njit" in ast.dump(d) or "JIT" in ast.dump(d) for d in node.decorator_list)
            length = node.end_lineno - node.lineno - docstring
            assert length <= (120 if compiled else 80), f"split {node.name} ({length} lines)"
            body = [b for b in node.body if not (isinstance(b, ast.Expr) and isinstance(b.value, ast.Constant))]
            assert not any(isinstance(b, ast.Raise) and "NotImplementedError" in ast.dump(b) for b in body), node.name
