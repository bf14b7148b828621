from .html import write_report as write_report
from .record import RunRecord as RunRecord
from .sections import SECTIONS as SECTIONS
