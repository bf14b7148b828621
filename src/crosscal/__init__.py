"""CrossCal: find what must change so that astronomical instruments agree, and how sure we are.

The four parts are imported on first use, so that ``import crosscal`` stays light:

    from crosscal import xray, concordance, lightcurves, fluxcal
"""

import lazy_loader as lazy

from crosscal.core.caches import provide_caches

__version__ = "0.1.0"

provide_caches()

__getattr__, __dir__, _names = lazy.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]
