"""Calibration concordance: adjust the effective areas of N instruments from M sources that they share.

    from crosscal import concordance

Names are imported on first use. See ``docs/theory/concordance.md`` and ``docs/tutorials/concordance.md``.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
