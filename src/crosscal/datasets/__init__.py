"""Floor: built-in data, the data search path, downloads with checksums, and corrections on disk.

A data name is a relative path such as ``xray/example_a.arf``. It is looked for in the directory named by the
environment variable ``CROSSCAL_DATA``, then in the user cache (downloads), then in the package.
"""

from crosscal.datasets.corrections import CORRECTION_FILE, read_correction, write_correction
from crosscal.datasets.fetch import DOWNLOADS, Download, fetch
from crosscal.datasets.search import builtin_directory, cache_directory, find, listing, resolve, search_path

__all__ = [
    "CORRECTION_FILE",
    "DOWNLOADS",
    "Download",
    "builtin_directory",
    "cache_directory",
    "fetch",
    "find",
    "listing",
    "read_correction",
    "resolve",
    "search_path",
    "write_correction",
]
