"""Floor: a finished run directory becomes one HTML file that needs nothing else.

from crosscal.report import write_report
write_report("runs/acis")
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
