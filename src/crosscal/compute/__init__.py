"""Sweeps over grids: a resumable store, executors, and the loop between them; names are loaded on first use.

from crosscal.compute import Store, Variable, sweep
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
