"""Tables of what there is: models with their parameters, and abundance tables."""

from __future__ import annotations

from typing import Any

from crosscal.xray.emission.component import Settings
from crosscal.xray.emission.registry import MODELS
from crosscal.xray.emission.tablefile import plasma_table


def list_models() -> list[dict[str, Any]]:
    """Return one row per registered model: name, kind, description, and its parameters as Parameter objects."""
    rows = []
    for name in MODELS.names():
        component = MODELS.get(name)(Settings(load_table=plasma_table))
        rows.append(
            {
                "name": name,
                "kind": component.kind,
                "description": (type(component).__doc__ or "").strip().splitlines()[0],
                "parameters": component.parameters,
            }
        )
    return rows
