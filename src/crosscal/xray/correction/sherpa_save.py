"""What a script of Sherpa's ``save_all`` holds: files, a model with its values; nothing in it is executed."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing, read_text
from crosscal.xray.correction.xcm import Xcm, statistic_note
from crosscal.xray.emission.expression import Model

_FILES = MappingProxyType({"load_pha": "pha", "load_arf": "arf", "load_rmf": "rmf", "load_bkg": "background"})
_SOURCES = ("set_source", "set_model", "set_full_model")
# Sherpa's own models that are those of XSPEC under other names: type and parameters.
_OWN = MappingProxyType({
    "powlaw1d": ("powerlaw", {"gamma": "PhoIndex", "ampl": "norm"}),
    "scale1d": ("constant", {"c0": "factor"}),
    "const1d": ("constant", {"c0": "factor"}),
})  # fmt: skip
# Commands of every script that change nothing here.
_SILENT = frozenset({"set_analysis", "set_method", "set_method_opt", "set_stat", "group", "set_coord"})


@dataclass
class _Component:
    """A component as the script makes it."""

    kind: str
    values: dict[str, float] = field(default_factory=dict)
    frozen: dict[str, bool] = field(default_factory=dict)


@dataclass
class _Script:
    """What the statements of a script said so far."""

    where: str
    directory: Path
    components: dict[str, _Component] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    source: ast.expr | None = None
    abundances: str = "angr"
    statistic: str | None = None
    unused: list[str] = field(default_factory=list)

    def error(self, what: str, node: ast.AST, expected: str) -> DataFileError:
        """Make the error that names the line."""
        return DataFileError(what, where=f"{self.where}, line {getattr(node, 'lineno', 0)}", expected=expected)


def read_sherpa(path: str | os.PathLike[str]) -> Xcm:
    """Read the script that Sherpa's ``save_all`` writes for one spectrum; nothing in it is executed.

    Models are those of XSPEC (``xsapec``, ``xstbabs``, ...) and Sherpa's powlaw1d, scale1d and const1d.

    Raises
    ------
    DataFileError
        If it is the binary file of ``save``, no Python, or has no model, several spectra, linked parameters or other
        models.
    """
    source = existing_file(path, what="Sherpa save file")
    with source.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80" or source.suffix.lower() == ".save":
        raise DataFileError(
            "this is Sherpa's binary save file, which runs code when it is read", where=str(path),
            expected='the script of save_all: sherpa> restore("file"); save_all("file.py")',
        )  # fmt: skip
    with parsing("this is no script of Sherpa", where=str(path), expected="what save_all writes"):
        tree = ast.parse(read_text(source))
    script = _Script(str(path), source.parent)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            _assign(script, statement)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            _command(script, statement.value)
    if script.source is None:
        raise DataFileError("no model", where=str(path), expected="a script of save_all after set_source")
    notes = [] if script.statistic is None else [statistic_note(path, script.statistic)]
    if script.unused:
        notes.append(f"{path}: commands that are not used: {', '.join(dict.fromkeys(script.unused))}")
    return Xcm(_model(script, script.source), script.files, "", script.statistic, tuple(notes))


def _assign(script: _Script, statement: ast.Assign) -> None:
    """Take ``component.parameter.val = 1.0`` and ``.frozen = True``."""
    names = ast.unparse(statement.targets[0]).split(".")
    if len(names) != 3 or names[0] not in script.components or names[2] not in ("val", "frozen"):
        return
    component = script.components[names[0]]
    try:
        value = ast.literal_eval(statement.value)
        if names[2] == "val":
            component.values[names[1]] = float(value)
        else:
            component.frozen[names[1]] = bool(value)
    except (ValueError, TypeError):
        text = ast.unparse(statement.value)
        raise script.error(f"{'.'.join(names)} is {text:.60}", statement, "a number") from None


def _command(script: _Script, call: ast.Call) -> None:
    """Take what a function of Sherpa's says."""
    name = ast.unparse(call.func).rpartition(".")[2]
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if name in _FILES:
        role = _FILES[name]
        if not texts or role in script.files:
            raise script.error("several spectra", call, "the script of a session of one")
        script.files[role] = script.directory / texts[-1]
    elif name in ("create_model_component", "create_xspec_model") and len(texts) == 2:
        script.components[texts[1]] = _Component(texts[0])
    elif name == "link":
        linked = ast.unparse(call.args[0]) if call.args else "a parameter"
        raise script.error(f"the parameter {linked} is linked", call, "a value: unlink it before save_all")
    elif name in _SOURCES and len(call.args) == 2:
        if script.source is not None:
            raise script.error("several models", call, "one")
        script.source = call.args[1]
    elif name == "set_xsabund" and texts:
        script.abundances = texts[0]
    elif name == "set_stat" and texts:
        script.statistic = texts[0] if texts[0].startswith("chi2") else None
    elif name not in _SILENT:
        script.unused.append(name)


def _model(script: _Script, source: ast.expr) -> Model:
    """Translate the source expression: components become XSPEC's names, in the order in which they stand."""
    order: list[str] = []
    expression = _expression(script, source, order)
    bare = Model(expression, abundances=script.abundances, absorption_abundances=script.abundances)
    values: dict[str, float] = {}
    free: list[str] = []
    for name, (_, own) in zip(order, bare.parts, strict=True):
        component = script.components[name]
        spelled = {label.lower(): given for label, given in own.items()}
        translated = _OWN.get(component.kind, ("", {}))[1]
        for parameter, value in component.values.items():
            label = translated.get(parameter, parameter).lower()
            if component.kind == "powlaw1d" and parameter == "ref":
                if value != 1.0:
                    raise DataFileError(
                        f"{name}.ref is {value:g}", where=script.where, expected="1 keV, at which powerlaw has its norm"
                    )
                continue
            if label not in spelled:
                raise DataFileError(
                    f"no parameter {parameter!r} of {component.kind}", where=f"{script.where}, {name}",
                    expected=", ".join(own),
                )  # fmt: skip
            values[spelled[label]] = value
            if not component.frozen.get(parameter, False):
                free.append(spelled[label])
    ordered = [parameter for parameter in bare.names if parameter in free]
    return bare.replace(free=tuple(ordered), **values)


def _expression(script: _Script, node: ast.expr, order: list[str]) -> str:
    """Return the expression in XSPEC's words; ``order`` collects its components as they come."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        left, right = (_expression(script, side, order) for side in (node.left, node.right))
        return f"({left}+{right})" if isinstance(node.op, ast.Add) else f"{left}*{right}"
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return f"{_expression(script, node.func, order)}*({_expression(script, node.args[0], order)})"
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return repr(float(node.value))
    # A component is written by its name, or after its type: xsapec.p1.
    name = ast.unparse(node).rpartition(".")[2]
    if name not in script.components:
        raise script.error(f"the model holds {ast.unparse(node):.60}", node, "a sum or product of its components")
    if name in order:
        raise script.error(f"the component {name} appears twice", node, "each component once")
    order.append(name)
    kind = script.components[name].kind
    if kind in _OWN:
        return _OWN[kind][0]
    if not re.fullmatch(r"xs[a-z0-9]+", kind):
        raise script.error(f"the model {kind} of {name} is not XSPEC's", node, f"xs..., {', '.join(_OWN)}")
    return kind[2:]
