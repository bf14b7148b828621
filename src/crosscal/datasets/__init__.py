"""Floor: built-in data, the data search path, and downloads with checksums.

A data name is a relative path such as ``xray/example_a.arf``. It is looked for in the directory named by the
environment variable ``CROSSCAL_DATA``, then in the user cache (downloads), then in the package.
"""

from crosscal.datasets.fetch import DOWNLOADS, Download, fetch
from crosscal.datasets.search import builtin_directory, cache_directory, find, listing, resolve, search_path

__all__ = [
    "DOWNLOADS",
    "Download",
    "builtin_directory",
    "cache_directory",
    "fetch",
    "find",
    "listing",
    "resolve",
    "search_path",
]
