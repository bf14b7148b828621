from . import concordance as concordance
from . import fluxcal as fluxcal
from . import lightcurves as lightcurves
from . import xray as xray
from .compute.progress import show_progress as show_progress
from .core.correction import Correction as Correction
from .datasets.corrections import read_correction as read_correction
from .inference.jaxconfig import enable_x64 as enable_x64
from .jobs.finished import Run as Run
from .jobs.run import run as run

__version__: str
