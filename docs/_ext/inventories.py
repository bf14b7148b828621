"""Where objects of other packages are documented, without a download: an inventory for each, made of these names.

Sphinx reads inventories from the network. A build must not depend on that, so the names that CrossCal's signatures and
docstrings use are listed here with their pages, and written in Sphinx's own format (version 2).
"""

from __future__ import annotations

import zlib
from pathlib import Path

#: Package: address, and for each name its page below the address ("$" is the name itself).
PACKAGES: dict[str, tuple[str, dict[str, str]]] = {
    "python": (
        "https://docs.python.org/3/",
        {
            "pathlib.Path": "library/pathlib.html#$",
            "collections.abc.Callable": "library/collections.abc.html#$",
            "collections.abc.Iterable": "library/collections.abc.html#$",
            "collections.abc.Iterator": "library/collections.abc.html#$",
            "collections.abc.Mapping": "library/collections.abc.html#$",
            "collections.abc.Sequence": "library/collections.abc.html#$",
            "os.PathLike": "library/os.html#$",
            "typing.Any": "library/typing.html#$",
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "numpy.ndarray": "reference/generated/$.html",
            "numpy.float64": "reference/arrays.scalars.html#$",
            "numpy.random.Generator": "reference/random/generator.html#$",
            "numpy.typing.ArrayLike": "reference/typing.html#$",
            "numpy.typing.NDArray": "reference/typing.html#$",
        },
    ),
    "astropy": (
        "https://docs.astropy.org/en/stable/",
        {
            "astropy.coordinates.SkyCoord": "api/$.html",
            "astropy.io.fits.HDUList": "io/fits/api/hdulists.html#$",
            "astropy.table.Table": "api/$.html",
            "astropy.table.QTable": "api/$.html",
            "astropy.time.Time": "api/$.html",
            "astropy.units.Quantity": "api/$.html",
            "astropy.units.Unit": "api/$.html",
        },
    ),
    "xarray": (
        "https://docs.xarray.dev/en/stable/",
        {
            "xarray.DataArray": "generated/$.html",
            "xarray.DataTree": "generated/$.html",
            "xarray.Dataset": "generated/$.html",
        },
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        {
            "matplotlib.axes.Axes": "api/_as_gen/$.html",
            "matplotlib.figure.Figure": "api/_as_gen/$.html",
        },
    ),
    "pandas": ("https://pandas.pydata.org/docs/", {"pandas.DataFrame": "reference/api/$.html"}),
}


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the inventories and return the value of ``intersphinx_mapping``."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for package, (address, names) in PACKAGES.items():
        lines = [
            f"{name} {'py:data' if name.startswith('numpy.typing') or name == 'typing.Any' else 'py:class'} 1 "
            f"{page.replace('$', name) if '#' not in page else page} -"
            for name, page in sorted(names.items())
        ]
        head = f"# Sphinx inventory version 2\n# Project: {package}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        path = folder / f"{package}.inv"
        path.write_bytes(head.encode() + zlib.compress("\n".join([*lines, ""]).encode()))
        mapping[package] = (address, str(path))
    return mapping
