"""A place for caches where the home directory cannot be written: containers, cron, system accounts, cluster modules."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path

#: Variables that say where caches are: ours (compiled JAX programs, downloads, parsed templates) and matplotlib's.
_VARIABLES = {"CROSSCAL_CACHE": ".", "MPLCONFIGDIR": "matplotlib"}


def provide_caches() -> Path | None:
    """Lead caches to a private temporary directory where there is no writable home, and say so in one line.

    Numba keeps compiled functions beside the package or in the home directory, and refuses to import a module if it can
    write neither; astropy needs to know some home directory. Variables that the user has set are left alone. Child
    processes inherit the place, so that it is chosen, and told, once.

    Returns
    -------
    Path or None
        The place, if one was needed.
    """
    home = os.path.expanduser("~")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"))
    if os.path.isdir(home) and _writable(cache):
        return None
    wanted = {name: inside for name, inside in _VARIABLES.items() if not os.environ.get(name)}
    if not os.environ.get("NUMBA_CACHE_DIR") and not os.access(Path(__file__).parents[1], os.W_OK):
        wanted["NUMBA_CACHE_DIR"] = "numba"
    if not os.path.isabs(home):
        wanted["HOME"] = "."
    if not wanted:
        return None
    place = _private_directory()
    for name, inside in wanted.items():
        (place / inside).mkdir(exist_ok=True)
        os.environ[name] = str(place / inside)
    logging.getLogger("crosscal").warning(
        "crosscal: note: the home directory cannot be written, so caches are kept in %s (CROSSCAL_CACHE, MPLCONFIGDIR "
        "and NUMBA_CACHE_DIR choose other places).",
        place,
    )
    return place


def _writable(path: Path) -> bool:
    """Whether a directory can be written, or made below the nearest one that exists."""
    if not path.is_absolute():
        return False
    while not path.exists():
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _private_directory() -> Path:
    """A directory that lasts between runs and that no other user can write: Numba executes what its cache holds."""
    place = Path(tempfile.gettempdir()) / f"crosscal-cache-{os.geteuid()}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="crosscal-cache-"))
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return place if ours else Path(tempfile.mkdtemp(prefix="crosscal-cache-"))
