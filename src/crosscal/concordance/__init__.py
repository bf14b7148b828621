"""Calibration concordance: adjust the effective areas of N instruments from M sources that they share.

    from crosscal import concordance

Names are imported on first use. See ``docs/theory/concordance.md`` and ``docs/tutorials/concordance.md``.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "algebra": ("AreaPosterior", "closed_form", "prior_weight", "shrinkage_areas", "shrinkage_fluxes"),
    "checks": ("Checks", "Conflict", "conflict_tests", "leave_one_out"),
    "fitting": ("fit", "solve"),
    "gig": ("draw_gig", "draw_many"),
    "graph": ("components",),
    "job": ("PART", "ConcordanceJob", "run", "demo", "TEMPLATE"),
    "model": ("Model", "make_model"),
    "predictive": ("PredictiveCheck", "predictive_check"),
    "priors": ("AreaPrior", "TauTable", "covariance_from_draws", "make_prior"),
    "result": ("Result",),
    "routes": ("ROUTES",),
    "synthetic": ("Simulation", "PUBLISHED", "published_like", "simulate"),
    "tables": ("iachec_tau", "read_area_draws", "read_matrix", "read_table", "read_tau_matrix"),
    "types": ("Comparison",),
    "variability": ("Walk", "random_walk"),
    "variance": ("VarianceModel", "make_variance_model", "shrinkage_variance"),
}
_EXPORTS = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.concordance' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
