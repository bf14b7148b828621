"""X-ray effective areas: learn the correction of a telescope from sources it shares with another.

    from crosscal import xray

Names are imported on first use. See ``docs/`` for a tutorial.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
