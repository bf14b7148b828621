"""What a script of Sherpa's ``save_all`` holds: files, a model with its values; nothing in it is executed."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

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
_SILENT = frozenset({"set_method", "set_method_opt", "set_coord", "set_xschatter"})
# Sherpa's statistics, and those that are the same here.
_STATISTICS = MappingProxyType({
    "cash": "cstat", "cstat": "cstat", "wstat": "wstat", "chi2": "chi2", "chi2datavar": "chi2",
    "chi2xspecvar": "chi2", "chi2gehrels": "chi2-gehrels", "chi2modvar": "chi2-model",
})  # fmt: skip
# Commands without which a fit would be another one.
_NEEDED = ("set_bkg_source", "set_bkg_full_model", "set_pileup_model", "set_psf", "set_syserror", "set_staterror",
           "ignore_id", "set_exposure", "set_backscal", "set_areascal", "set_counts")  # fmt: skip


@dataclass
class _Component:
    """A component as the script makes it."""

    kind: str
    values: dict[str, float] = field(default_factory=dict)
    frozen: dict[str, bool] = field(default_factory=dict)
    limits: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class _Script:
    """What the statements of a script said so far."""

    where: str
    directory: Path
    components: dict[str, _Component] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    source: ast.expr | None = None
    abundances: str = "angr"
    statistic: str = "chi2gehrels"
    unused: list[str] = field(default_factory=list)
    flags: dict[str, NDArray[np.int16]] = field(default_factory=dict)
    noticed: str | None = None
    quantity: str = "energy"
    grouped: bool = False
    subtracted: bool = False

    def error(self, what: str, node: ast.AST, expected: str) -> DataFileError:
        """Make the error that names the line."""
        return DataFileError(what, where=f"{self.where}, line {getattr(node, 'lineno', 0)}", expected=expected)


def read_sherpa(path: str | os.PathLike[str]) -> Xcm:
    """Read the script that Sherpa's ``save_all`` writes for one spectrum; nothing in it is executed.

    Models are those of XSPEC (``xsapec``, ``xstbabs``, ...) and Sherpa's powlaw1d, scale1d and const1d.

    Raises
    ------
    DataFileError
        If it is the binary file of ``save``, not Python, or has no model, several spectra, linked parameters or other
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
    with parsing("this is not a script of Sherpa's save_all", where=str(path), expected="what save_all writes"):
        tree = ast.parse(read_text(source))
    script = _Script(str(path), source.parent)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            _assign(script, statement)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            _command(script, statement.value)
    if script.source is None:
        raise DataFileError("no model", where=str(path), expected="a script of save_all after set_source")
    chi2 = script.statistic.startswith("chi2")
    notes = [statistic_note(path, script.statistic)] if chi2 else []
    if script.unused:
        notes.append(f"{path}: commands that are not used: {', '.join(dict.fromkeys(script.unused))}")
    if script.noticed is not None:
        notes.append(f"{path}: channels are those of the band, not of notice {script.noticed}")
    if script.flags:
        notes.append(f"{path}: of the spectrum's file, not of the script: {', '.join(script.flags)}")
    barred = [f"the command {name}" for name in dict.fromkeys(script.unused) if name in _NEEDED]
    if script.statistic not in _STATISTICS:
        barred.append(f"the statistic {script.statistic}")
    noticed = None
    if script.noticed is not None and script.quantity == "energy":
        noticed = _ranges(script)
    elif script.noticed is not None:
        barred.append(f"a range of {script.quantity}")
    model, limits = _model(script, script.source)
    return Xcm(
        model, script.files, "", script.statistic if chi2 else None, tuple(notes),
        choice=_STATISTICS.get(script.statistic), noticed=noticed, flags=script.flags, grouped=script.grouped,
        background="auto" if script.subtracted or script.statistic == "wstat" else "none", limits=limits,
        commands=tuple(dict.fromkeys(script.unused)), barred=tuple(barred),
    )  # fmt: skip


def _ranges(script: _Script) -> tuple[tuple[float, float], ...]:
    """Return the ranges of Sherpa's filter "0.5:2.0,2.3:7.0"."""
    with parsing("the filter cannot be read", where=script.where, expected='ranges such as "0.5:7.0"'):
        ends = [part.split(":") for part in str(script.noticed).split(",")]
        return tuple((float(low or 0), float(high or np.inf)) for low, high in ends)


def _assign(script: _Script, statement: ast.Assign) -> None:
    """Take ``component.parameter.val = 1.0`` and ``.frozen = True``."""
    names = ast.unparse(statement.targets[0]).split(".")
    if len(names) != 3 or names[0] not in script.components or names[2] not in ("val", "frozen", "min", "max"):
        return
    component = script.components[names[0]]
    try:
        value = ast.literal_eval(statement.value)
        if names[2] == "val":
            component.values[names[1]] = float(value)
        elif names[2] in ("min", "max"):
            component.limits.setdefault(names[1], {})[names[2]] = float(value)
        else:
            component.frozen[names[1]] = bool(value)
    except (ValueError, TypeError):
        text = ast.unparse(statement.value)
        raise script.error(f"{'.'.join(names)} is {text:.60}", statement, "a number") from None


def _command(script: _Script, call: ast.Call) -> None:
    """Take what a function of Sherpa's says."""
    name = ast.unparse(call.func).rpartition(".")[2]
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    words = [k.arg for k in call.keywords]
    if "bkg_id" in words and name != "load_bkg":
        # A background has the source's channels and groups here, and no response of its own.
        script.unused.append(f"{name} of the background")
    elif name in _FILES:
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
        script.statistic = texts[0]
    elif name in ("group", "ungroup"):
        script.grouped = name == "group"
    elif name in ("subtract", "unsubtract"):
        script.subtracted = name == "subtract"
    elif name == "set_analysis":
        quantity = next((k.value for k in call.keywords if k.arg == "quantity"), None)
        script.quantity = str(quantity.value) if isinstance(quantity, ast.Constant) else (texts or ["energy"])[-1]
    elif name == "notice_id" and texts:
        script.noticed = texts[-1]
    elif name in ("set_grouping", "set_quality"):
        script.flags[name.removeprefix("set_")] = _flags(script, call)
    elif name not in _SILENT:
        script.unused.append(name)


def _flags(script: _Script, call: ast.Call) -> NDArray[np.int16]:
    """Return the list of whole numbers in ``val=numpy.array([1, -1, ...], numpy.int16)``."""
    value = next((k.value for k in call.keywords if k.arg == "val"), call.args[-1] if call.args else None)
    if isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    try:
        assert value is not None
        return np.array(ast.literal_eval(value), dtype=np.int16)
    except (ValueError, TypeError, AssertionError, OverflowError):
        raise script.error("the flags are not a list of whole numbers", call, "what save_all writes") from None


def _model(script: _Script, source: ast.expr) -> tuple[Model, dict[str, tuple[float, float]]]:
    """Translate the source expression: components become XSPEC's names, in the order in which they stand."""
    order: list[str] = []
    expression = _expression(script, source, order)
    bare = Model(expression, abundances=script.abundances, absorption_abundances=script.abundances)
    values: dict[str, float] = {}
    free: list[str] = []
    limits: dict[str, tuple[float, float]] = {}
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
                ends = component.limits.get(parameter, {})
                limits[spelled[label]] = (ends.get("min", -np.inf), ends.get("max", np.inf))
    ordered = [parameter for parameter in bare.names if parameter in free]
    return bare.replace(free=tuple(ordered), **values), limits


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
