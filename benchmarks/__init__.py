"""Measured figures of the project, each beside its peer where there is one.

A benchmark module is called ``<part>_<topic>.py`` and has ``records(quick: bool) -> list[Record]``.
Run ``python -m benchmarks [part ...] [--quick] [--json FILE] [--measured FILE]``.
"""

from benchmarks.record import Record

__all__ = ["Record"]
