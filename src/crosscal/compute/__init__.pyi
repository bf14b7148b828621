from .executors import EXECUTORS, make_executor
from .layout import ChunkLayout
from .progress import display
from .schema import Coordinate, Variable, fingerprint
from .store import Store
from .sweeps import SweepReport, array_part, sweep

__all__ = [
    "EXECUTORS",
    "ChunkLayout",
    "Coordinate",
    "Store",
    "SweepReport",
    "Variable",
    "array_part",
    "display",
    "fingerprint",
    "make_executor",
    "sweep",
]
