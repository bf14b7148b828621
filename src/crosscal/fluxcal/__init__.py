"""Spectrophotometric flux calibration of fibre spectra from standard stars.

    from crosscal import fluxcal

Names are imported on first use (``__init__.pyi``). See ``docs/`` for a tutorial.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
