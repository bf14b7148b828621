"""The parts that jobs can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscal.config import JobModel, Part, validate
from crosscal.core.errors import ConfigError
from crosscal.core.files import existing_file
from crosscal.core.registry import Registry

PARTS = Registry(
    "part",
    {
        "xray": "crosscal.xray.jobs.pairs:PART",
        "xray-spectra": "crosscal.xray.jobs.spectra:PART",
        "xray-fit": "crosscal.xray.jobs.fit:PART",
        "concordance": "crosscal.concordance.job:PART",
        "lightcurves": "crosscal.lightcurves.job:PART",
        "fluxcal": "crosscal.fluxcal.job:PART",
    },
)


def part_of(content: Mapping[str, Any], source: str) -> Part:
    """Return the part that a job file's ``job`` key names.

    Raises
    ------
    ConfigError
        If the key is missing; an unknown name raises UnknownNameError.
    """
    name = content.get("job")
    if not isinstance(name, str):
        raise ConfigError(
            "the key is missing or no text", where=f"{source}: key job", expected=f"one of {', '.join(PARTS.names())}"
        )
    return PARTS.get(name, where=f"{source}: key job")


def load_job(path: str) -> tuple[Part, JobModel]:
    """Read a job file, or a parameter file of PyCALI, into its part and its validated job."""
    from crosscal.config import read_toml

    if _is_pycali(path):
        from crosscal.lightcurves.job import job_from_param_file

        return PARTS.get("lightcurves"), job_from_param_file(path)
    content = read_toml(path)
    part = part_of(content, path)
    return part, validate(part.model, content, source=path)


def _is_pycali(path: str) -> bool:
    """Whether the first line that is no comment is one of PyCALI's (``Tag value``, ``key = value``) and not TOML."""
    from crosscal.lightcurves.compat.options import is_param_line

    with open(existing_file(path, what="job file"), encoding="utf-8", errors="replace") as stream:
        return is_param_line(next((line for line in stream if line.strip() and not line.startswith("#")), ""))
