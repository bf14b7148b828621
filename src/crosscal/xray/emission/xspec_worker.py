"""The process that runs XSPEC's functions: `main` answers messages until its input ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import CrossCalError, MissingDependencyError
from crosscal.xray.emission.component import Array
from crosscal.xray.emission.xspec_process import receive, send


def main() -> None:
    """Answer on the standard output as it was; what XSPEC prints goes nowhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    while (message := receive(sys.stdin.buffer)) is not None:
        answer, array = respond(*message)
        send(answers, answer, array)


def respond(header: dict[str, Any], array: Array) -> tuple[dict[str, Any], Array | None]:
    """Do what a message asks for; return the answer."""
    from crosscal.xray.emission.xspec_library import library

    try:
        xspec = library()
        if header["ask"] == "definitions":
            return {"path": str(xspec.definitions_path)}, None
        rows, columns, n_edges = header["shape"]
        edges, parameters, flux = np.split(array, [n_edges, n_edges + rows * columns])
        xspec.use_data(model_data())
        xspec.set_abundances(header["abundances"])
        for key, value in header["strings"].items():
            xspec.set_string(key, value)
        table, inputs = parameters.reshape(rows, columns), flux.reshape(rows, n_edges - 1)
        out = [xspec.call(header["function"], edges, table[i].tolist(), inputs[i]) for i in range(rows)]
        return {}, np.stack(out)
    except MissingDependencyError:
        return {"missing": True}, None
    except (AttributeError, CrossCalError) as error:
        return {"error": str(error)}, None


def model_data() -> str:
    """Return the directory of XSPEC's model data in an installed HEASoft (variable HEADAS), or ""."""
    root = os.environ.get("HEADAS")
    places = [Path(root, "../spectral/modelData"), Path(root, "spectral/modelData")] if root else []
    return next((str(place.resolve()) for place in places if place.is_dir()), "")
