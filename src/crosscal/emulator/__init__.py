"""Floor: learn a smooth map from points, know its domain and its error, evaluate it fast.

from crosscal.emulator import TrainingTable, train, save, load, validate
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
