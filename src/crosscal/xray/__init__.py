"""X-ray effective areas: learn the correction of a telescope from sources it shares with another.

    from crosscal import xray

Names are imported on first use. See ``docs/`` for a tutorial.
"""

from importlib import import_module
from typing import Any

_EXPORTS: dict[str, str] = {
    # instrument and modifiers
    "Response": "crosscal.xray.instrument.response",
    "Spectrum": "crosscal.xray.instrument.spectrum",
    "read_arf": "crosscal.xray.instrument.ogip_arf",
    "read_rmf": "crosscal.xray.instrument.ogip_rmf",
    "read_response": "crosscal.xray.instrument.ogip",
    "Modifier": "crosscal.xray.modifiers.base",
    "Gaussian": "crosscal.xray.modifiers.gaussian",
    "Grey": "crosscal.xray.modifiers.grey",
    "BSpline": "crosscal.xray.modifiers.spline",
    "Spline": "crosscal.xray.modifiers.spline",
    "read_spectrum": "crosscal.xray.instrument.ogip_spectrum",
    "read_spectra": "crosscal.xray.instrument.ogip_spectrum",
    "read_observation": "crosscal.xray.instrument.ogip_spectrum",
    "write_arf": "crosscal.xray.instrument.ogip_write",
    "write_rmf": "crosscal.xray.instrument.ogip_write",
    "write_spectrum": "crosscal.xray.instrument.ogip_write",
    "ArfEnsemble": "crosscal.xray.instrument.ensemble",
    "area_draws": "crosscal.xray.instrument.ensemble",
    "read_arf_ensemble": "crosscal.xray.instrument.ensemble",
    "write_arf_ensemble": "crosscal.xray.instrument.ensemble",
    "read_pca_library": "crosscal.xray.instrument.ogip_pca",
    "Groups": "crosscal.xray.instrument.grouping",
    "group": "crosscal.xray.instrument.grouping",
    "min_counts": "crosscal.xray.instrument.grouping",
    "GaussianProcess": "crosscal.xray.modifiers.gaussian_process",
    "Polynomial": "crosscal.xray.modifiers.polynomial",
    "BrokenPowerLaw": "crosscal.xray.modifiers.powerlaw",
    "PCA": "crosscal.xray.modifiers.pca",
    "PcaLibrary": "crosscal.xray.instrument.pca_library",
    "Contamination": "crosscal.xray.modifiers.contamination",
    "EdgeDepth": "crosscal.xray.modifiers.edge",
    "Step": "crosscal.xray.modifiers.edge",
    "Gain": "crosscal.xray.modifiers.gain",
    "MatrixScaling": "crosscal.xray.modifiers.gain",
    "UserFunction": "crosscal.xray.modifiers.user",
    "UserTable": "crosscal.xray.modifiers.table",
    "Product": "crosscal.xray.modifiers.combine",
    "Sum": "crosscal.xray.modifiers.combine",
    "example_telescope": "crosscal.xray.instrument.examples",
    "MODIFIERS": "crosscal.xray.modifiers.registry",
    # fitting and libraries
    "fit": "crosscal.xray.fitting.fit",
    "FitResult": "crosscal.xray.fitting.result",
    "fakeit": "crosscal.xray.fitting.simulate",
    "FoldedTemplates": "crosscal.xray.fitting.templates",
    "linear_kernel": "crosscal.xray.correction.kernel",
    "build_library": "crosscal.xray.library.generate",
    "Library": "crosscal.xray.library.library",
    "read_xcalforge": "crosscal.xray.library.xcalforge",
    "write_xcalforge": "crosscal.xray.library.xcalforge",
    # emission
    "Model": "crosscal.xray.emission.expression",
    "MODELS": "crosscal.xray.emission.registry",
    "PlasmaTable": "crosscal.xray.emission.plasma",
    "plasma_table": "crosscal.xray.emission.tablefile",
    "read_atomdb": "crosscal.xray.emission.atomdb",
    "build_plasma": "crosscal.xray.emission.build",
    # correction
    "CalibrationEmulator": "crosscal.xray.correction.emulate",
    "CalibrationResult": "crosscal.xray.correction.result",
    "DIVERGENCES": "crosscal.xray.correction.divergence",
    "HierarchicalModel": "crosscal.xray.correction.hierarchical",
    "PairedSources": "crosscal.xray.correction.pairs",
    "TemperatureBias": "crosscal.xray.correction.bias",
    "Observation": "crosscal.xray.correction.observations",
    "infer_spectra": "crosscal.xray.correction.infer_spectra",
    "observations_of": "crosscal.xray.correction.observations",
    "infer": "crosscal.xray.correction.infer",
    "minimise_divergence": "crosscal.xray.correction.point",
    "read_pairs": "crosscal.xray.correction.pairs_io",
    "simulate_clusters": "crosscal.xray.correction.clusters",
    "simulate_pairs": "crosscal.xray.correction.simulate",
    "train": "crosscal.xray.correction.train",
    "write_pairs": "crosscal.xray.correction.pairs_io",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.xray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
