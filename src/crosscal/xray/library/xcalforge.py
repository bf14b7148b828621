"""Libraries of XCalForge: ``library.h5`` in, and out for those who go on with it.

The file holds ``PARAMS/A``, ``PARAMS/mu``, ``PARAMS/sigma`` (one-dimensional axes of its Gaussian, without the factor
2 in the exponent), ``LIBRARY/temps`` (true kT, keV) and ``LIBRARY/results`` of shape (n_A, n_mu, n_sigma, n_T, 3): axes
in alphabetical order, then lower limit, best fit and upper limit of kT with the unmodified response.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import atomic_path, check_path_first, existing_file, sha256
from crosscal.xray.library.library import DIMS, KIND, STATUS, Library

Array = NDArray[np.float64]

# As HDF5 lists them: capital letters first.
NAMES = ("A", "mu", "sigma")


def read_xcalforge(path: str | os.PathLike[str]) -> Library:
    """Import ``library.h5`` (or the directory that holds it) as a :class:`Library`.

    Only the nominal calibration is stored in it. Errors are half the width of XSPEC's interval; the limits themselves
    are the variables ``kT_nominal_low`` and ``kT_nominal_high``. A fit whose interval XSPEC could not find (limits of
    zero, or not around the best fit) has status NO_CONVERGENCE; one that was never written NOT_DONE.

    Raises
    ------
    DataFileError
        If the file is absent, is not HDF5, lacks a group or data set, or the shapes do not fit together.

    Examples
    --------
    >>> library = xray.read_xcalforge("library.h5")  # doctest: +SKIP
    """
    import h5py

    target = Path(path)
    target = existing_file(target / "library.h5" if target.is_dir() else target, what="XCalForge library")
    try:
        handle = h5py.File(target, "r")
    except OSError as error:
        raise DataFileError("not an HDF5 file", where=str(target), expected="XCalForge's library.h5") from error
    with handle:
        axes = {name: _axis(handle, f"PARAMS/{name}", target) for name in NAMES}
        extra = sorted(set(handle["PARAMS"]) - set(NAMES))
        if extra:
            raise DataFileError(
                f"unknown parameters {', '.join(extra)}", where=f"{target}[PARAMS]", expected=", ".join(NAMES)
            )
        temperatures = _axis(handle, "LIBRARY/temps", target)
        results = _dataset(handle, "LIBRARY/results", target)
    shape = (*(a.size for a in axes.values()), temperatures.size, 3)
    if results.shape != shape:
        raise DataFileError(
            f"shape {results.shape}", where=f"{target}[LIBRARY/results]", expected=f"{shape}: A, mu, sigma, temps, 3"
        )
    if np.any(temperatures <= 0) or np.any(axes["sigma"] <= 0):
        raise DataFileError("a temperature or sigma is not positive", where=str(target), expected="positive numbers")
    # The grid of XCalForge may be in any order; ours increases.
    for k, values in enumerate((*axes.values(), temperatures)):
        results = np.take(results, np.argsort(values, kind="stable"), axis=k)
    axes = {name: np.sort(values) for name, values in axes.items()}
    return _library(target, axes, np.sort(temperatures), results)


def _dataset(handle: Any, key: str, target: Path) -> Array:
    import h5py

    item = handle.get(key)
    if not isinstance(item, h5py.Dataset):
        hint = "a generated library" if key.startswith("LIBRARY") else "a data set"
        raise DataFileError("no such data set", where=f"{target}[{key}]", expected=hint)
    if item.dtype.kind not in "fiu":
        raise DataFileError(f"type {item.dtype}", where=f"{target}[{key}]", expected="numbers")
    return np.asarray(item[...], dtype=float)


def _axis(handle: Any, key: str, target: Path) -> Array:
    values = _dataset(handle, key, target)
    where = f"{target}[{key}]"
    if values.ndim != 1 or values.size == 0:
        raise DataFileError(f"shape {values.shape}", where=where, expected="one dimension")
    if not np.all(np.isfinite(values)):
        raise DataFileError("values are not finite", where=where, expected="finite numbers")
    if np.unique(values).size < values.size:
        raise DataFileError("values repeat", where=where, expected="each value once")
    return values


def _library(target: Path, axes: dict[str, Array], temperatures: Array, results: Array) -> Library:
    import xarray

    from crosscal.xray.modifiers.describe import describe_modifier
    from crosscal.xray.modifiers.gaussian import Gaussian

    low, best, high = (results[..., k].reshape(-1, temperatures.size, 1) for k in range(3))
    untouched = (low == 0) & (best == 0) & (high == 0)
    good = np.isfinite(low) & np.isfinite(high) & (low < best) & (best < high) & (low > 0)
    status = np.where(good, STATUS.index("OK"), STATUS.index("NO_CONVERGENCE")).astype(np.int8)
    status[untouched] = STATUS.index("NOT_DONE")
    half = np.where(good, 0.5 * (high - low), np.nan)
    points = np.stack([g.ravel() for g in np.meshgrid(*axes.values(), indexing="ij")], axis=-1)
    names = np.array(["kT"])
    dataset = xarray.Dataset(
        {
            "kT_nominal": (DIMS, np.where(good, best, np.nan), {"units": "keV"}),
            "kT_nominal_low": (DIMS, np.where(good, low, np.nan), {"units": "keV"}),
            "kT_nominal_high": (DIMS, np.where(good, high, np.nan), {"units": "keV"}),
            "covariance_nominal": ((*DIMS, "parameter", "parameter_"), (half**2)[..., None, None]),
            "status_nominal": (DIMS, status),
        },
        coords={
            **{n: ("theta", points[:, k]) for k, n in enumerate(NAMES)},
            "T_true": ("T_true", temperatures, {"units": "keV"}),
            "realisation": ("realisation", np.arange(1)),
            "parameter": ("parameter", names),
            "parameter_": ("parameter_", names),
        },
    )
    job = {
        "kind": KIND,
        "source": "XCalForge",
        "parameters": ["kT"],
        "theta": list(NAMES),
        "modifier": describe_modifier(Gaussian(convention="xcalforge")),
        "axes": {n: a.tolist() for n, a in axes.items()},
        "bounds": {n: [float(a[0]), float(a[-1])] for n, a in axes.items()},
        "noise": "poisson",
        "realisations": 1,
    }
    record = {"inputs": {"library": {"path": str(target), "sha256": sha256(target)}}}
    return Library(dataset, job, record)


def write_xcalforge(path: str | os.PathLike[str], library: Library) -> Path:
    """Write a library of one realisation as XCalForge's ``library.h5``, with symmetric 1-sigma limits of kT.

    A Gaussian in the standard convention is written with sigma multiplied by sqrt(2), which is what XCalForge calls it.

    Raises
    ------
    InputError
        If the library is not over a product grid of one Gaussian's A, mu, sigma, or has several realisations, or
        if the arguments are swapped.

    Examples
    --------
    >>> xray.write_xcalforge("library.h5", library)  # doctest: +SKIP
    """
    check_path_first(path, library, Library, where="write_xcalforge")
    import h5py

    axes = library.job.get("axes")
    modifier = library.modifier
    if modifier is None or modifier.name != "gaussian" or library.names != NAMES:
        raise InputError(
            f"a library over {', '.join(library.names)}",
            where="XCalForge library",
            expected="a grid of one Gaussian's A, mu, sigma",
        )
    if not axes:
        raise InputError(
            "the library's points are scattered",
            where="XCalForge library",
            expected="a grid, which its file holds: build the library over Gaussian().grid(A=..., mu=..., sigma=...)",
        )
    values, sd = library.values("kT"), library.errors("kT")
    if values.shape[2] != 1:
        raise InputError(
            f"{values.shape[2]} realisations", where="XCalForge library", expected="1: noise='asimov' or realisations=1"
        )
    scale = 1.0 if modifier.convention == "xcalforge" else np.sqrt(2.0)
    shape = (*(len(axes[n]) for n in NAMES), values.shape[1])
    results = np.stack([values - sd, values, values + sd], axis=-1)[:, :, 0].reshape(*shape, 3)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as handle:
        for name in NAMES:
            handle[f"PARAMS/{name}"] = np.asarray(axes[name], dtype=float) * (scale if name == "sigma" else 1.0)
        handle["LIBRARY/temps"] = library.T_true
        handle.create_dataset("LIBRARY/results", data=results, compression="gzip")
    return Path(path)
