"""Where a result comes from: inputs with checksums, versions, configuration, seed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crosscal.core.files import sha256, write_text

PACKAGES = ("crosscal", "numpy", "scipy", "numba", "jax", "numpyro", "astropy", "xarray", "zarr")


def fingerprint(content: Any) -> str:
    """Return a SHA-256 of JSON-like content that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def record(
    *,
    inputs: Mapping[str, str | os.PathLike[str]] | None = None,
    config: Any = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return a JSON-ready record of a run.

    Parameters
    ----------
    inputs : mapping of role to path
        Each file is stored with its SHA-256.
    config : JSON-like
    seed : int

    Raises
    ------
    DataFileError
        If an input does not exist.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]) if sys.argv[0] else "",
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "inputs": {role: {"path": str(path), "sha256": sha256(path)} for role, path in (inputs or {}).items()},
        "config": config,
        "seed": seed,
    }


def write_provenance(directory: str | os.PathLike[str], provenance: Mapping[str, Any]) -> Path:
    """Write ``provenance.json`` into a directory and return its path."""
    return write_text(Path(directory) / "provenance.json", json.dumps(dict(provenance), indent=1, default=str) + "\n")
