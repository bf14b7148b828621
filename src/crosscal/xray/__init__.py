"""X-ray effective areas: learn the correction of a telescope from sources it shares with another.

    from crosscal import xray

Names are imported on first use. See ``docs/`` for a tutorial.
"""

from importlib import import_module

import lazy_loader as lazy

_listed, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

# Names that scripts for earlier versions use; they are found here, but listed in their own modules only.
_EARLIER = {
    "Observation": "correction.observations",
    "Grey": "modifiers",
    "BSpline": "modifiers",
    "GaussianProcess": "modifiers",
    "Polynomial": "modifiers",
    "BrokenPowerLaw": "modifiers",
    "PCA": "modifiers",
    "Contamination": "modifiers",
    "EdgeDepth": "modifiers",
    "Step": "modifiers",
    "Gain": "modifiers",
    "MatrixScaling": "modifiers",
    "UserFunction": "modifiers",
    "UserTable": "modifiers",
    "Product": "modifiers",
    "Sum": "modifiers",
}


def __getattr__(name: str) -> object:
    if name in _EARLIER:
        return getattr(import_module(f"{__name__}.{_EARLIER[name]}"), name)
    return _listed(name)
