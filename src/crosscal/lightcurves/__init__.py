"""Light curves of one source from many telescopes: scale, shift and error model of each, and the merged curve.

    from crosscal import lightcurves

Names are imported on first use. See ``docs/`` for a tutorial.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
