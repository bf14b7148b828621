"""Families phi_theta(E) that change an effective area or a response matrix.

from crosscal.xray import modifiers

modifiers.Gaussian() * modifiers.Grey()
"""

import lazy_loader as lazy

# Defines what * and + of modifiers mean.
from crosscal.xray.modifiers import combine as combine

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
