"""The parts that jobs can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscal.config import JobModel, Part, validate
from crosscal.core.errors import ConfigError
from crosscal.core.registry import Registry

PARTS = Registry(
    "part",
    {
        "xray": "crosscal.xray.job:PART",
        "xray-spectra": "crosscal.xray.job_spectra:PART",
        "xray-fit": "crosscal.xray.job_fit:PART",
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
    """Read a job file into its part and its validated job."""
    from crosscal.config import read_toml

    content = read_toml(path)
    part = part_of(content, path)
    return part, validate(part.model, content, source=path)
