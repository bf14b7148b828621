"""A finished library: what fits find when the calibration is changed. Reading one needs neither XSPEC nor JAX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, StoreError, UnknownNameError
from crosscal.core.reading import parsing

if TYPE_CHECKING:
    import xarray
    from astropy.table import QTable
    from matplotlib.figure import Figure

    from crosscal.compute.store import Store
    from crosscal.xray.library.task import LibraryTask

Array = NDArray[np.float64]

#: What the columns of the table mean.
COLUMNS = {
    "calibration": "the calibration that spectra were fitted with",
    "fits": "number of fits",
    "failed": "fits without a result",
    "failures": "why",
    "bias_kT": "mean of kT / T_true - 1",
    "bias_ln_kT": "mean of ln(kT / T_true)",
    "pull_mean": "mean of (kT - T_true) / error",
    "pull_sd": "standard deviation of (kT - T_true) / error",
}
DIMS = ("theta", "T_true", "realisation")
KIND = "crosscal.xray.library"
# Statuses as they are stored; the engine's names, without importing the engine (and numba) to read a file.
STATUS = ("OK", "AT_BOUND", "NO_CONVERGENCE", "SINGULAR", "BAD_DATA", "NOT_DONE", "INACCURATE")
USABLE = (0,)
REPAIR = "an intact file; Store.verify(repair=True) marks such chunks to be computed again"


@dataclass(frozen=True, eq=False)
class Library:
    """Best fits over theta x T_true x realisation, with the nominal and with the modified calibration.

    Attributes
    ----------
    dataset : xarray.Dataset
        ``<parameter>_<calibration>`` best fits, ``covariance_<calibration>`` of shape ``(..., parameter, parameter_)``,
        ``statistic_``, ``status_``, and, where asked for, ``profile_<calibration>`` (..., offset) and the ends of the
        profile interval ``kT_<calibration>_low`` and ``_high``. Coordinates: the
        modifier's parameters along theta, T_true [keV], ``norm_true`` along T_true. Lazy for stored libraries.
    job : mapping
        What was computed (model, band, counts, noise, seed, modifier, checksums).
    store : Store or None
    task : LibraryTask or None
        What computes more points; only in the session that built the library.

    Examples
    --------
    >>> library = xray.Library.open("library.zarr")  # doctest: +SKIP
    >>> library.bias("kT")  # doctest: +SKIP
    """

    dataset: xarray.Dataset
    job: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    store: Store | None = None
    task: LibraryTask | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Library:
        """Open a stored library; values are read when used.

        Raises
        ------
        StoreError
            If nothing is there, it is damaged or foreign, or it is not finished.
        """
        from crosscal.compute.store import Store

        store = Store.open(path)
        job = store.header.job
        if not isinstance(job, Mapping) or job.get("kind") != KIND:
            raise StoreError("the store is not an X-ray library", where=str(path), expected=f"kind {KIND!r}")
        missing = int(np.count_nonzero(~store.done()))
        if missing:
            raise StoreError(
                f"{missing} of {len(store.layout)} chunks are not computed",
                where=str(path),
                expected="a finished run (build_library with the same arguments resumes)",
            )
        with parsing("its description is damaged", where=path, expected="an X-ray library", error=StoreError):
            library = cls.of_store(store)
            library._require_parts()
        return library

    @classmethod
    def of_store(cls, store: Store, task: LibraryTask | None = None) -> Library:
        """Wrap a finished store."""
        dataset = store.dataset().drop_vars("done", errors="ignore")
        # Text is stored with variable length, which NumPy before version 2 does not know.
        text = {n: (n, np.array([str(v) for v in dataset[n].values])) for n in ("parameter", "parameter_")}
        dataset = dataset.assign_coords(text)
        return cls(dataset, store.header.job, store.header.provenance, store, task)

    # ---- what it is about -----------------------------------------------------------------------

    @property
    def parameters(self) -> tuple[str, ...]:
        """Fitted parameters, in the order of the covariance."""
        return tuple(self.job["parameters"])

    @property
    def calibrations(self) -> tuple[str, ...]:
        """With which calibrations spectra were fitted: "nominal" and "modified", or "nominal" alone."""
        return tuple(c for c in ("nominal", "modified") if f"status_{c}" in self.dataset)

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters theta of the modifier, in order."""
        return tuple(self.job["theta"])

    @cached_property
    def theta(self) -> Array:
        """Points theta, shape (n_theta, d)."""
        return np.stack([self._array(name) for name in self.names], axis=-1)

    @cached_property
    def T_true(self) -> Array:
        """True temperatures, shape (n_T,), keV."""
        return self._array("T_true").astype(float)

    @property
    def band(self) -> tuple[float, float] | None:
        """Energy band of the fits, keV; None where the library does not say."""
        band = self.job.get("band")
        return None if band is None else (float(band[0]), float(band[1]))

    @property
    def dof(self) -> int | None:
        """Degrees of freedom: channels in the band less free parameters; None where the library does not say."""
        return self.job.get("dof")

    @cached_property
    def modifier(self) -> Any:
        """The modifier, rebuilt from its description; None where it was a user's own function."""
        from crosscal.xray.modifiers.describe import build_modifier

        if self.task is not None:
            return self.task.modifier
        return build_modifier(self.job.get("modifier"))

    @property
    def is_asimov(self) -> bool:
        """Whether the spectra were noiseless."""
        return self.job["noise"] == "asimov"

    def truth(self, name: str) -> Array:
        """Return the true value of a fitted parameter, shape (n_T,)."""
        self._check(name)
        if name == "kT":
            return self.T_true
        return self._array(f"{name}_true").astype(float)

    # ---- values ---------------------------------------------------------------------------------

    def values(self, name: str, calibration: str = "nominal") -> Array:
        """Return best fits of a parameter, shape (n_theta, n_T, n_realisation); NaN where the fit failed."""
        self._check(name, calibration)
        return self._array(f"{name}_{calibration}")

    def errors(self, name: str, calibration: str = "nominal") -> Array:
        """Return 1-sigma errors from the Fisher matrix, same shape as ``values``."""
        self._check(name, calibration)
        k = self.parameters.index(name)
        variance = self._array(f"covariance_{calibration}", (..., k, k))
        return np.sqrt(variance)

    def status(self, calibration: str = "nominal") -> NDArray[np.int8]:
        """Return how each fit ended (see ``STATUS``)."""
        self._check(self.parameters[0], calibration)
        return self._array(f"status_{calibration}")

    def good(self, calibration: str = "nominal") -> NDArray[np.bool_]:
        """Return which fits converged inside the limits."""
        return np.isin(self.status(calibration), USABLE)

    def bias(self, name: str = "kT") -> Array:
        """Return fitted minus true value with the nominal calibration, shape (n_theta, n_T, n_realisation)."""
        return self.values(name) - self.truth(name)[None, :, None]

    def profile(self, calibration: str = "nominal") -> tuple[Array, Array]:
        """Return the stored profile of the statistic: kT and C - C_min, each (n_theta, n_T, n_realisation, n_offset).

        The curve is taken at ``kT exp(offset sd/kT)``.

        Raises
        ------
        InputError
            If the library was built without profiles.
        """
        if f"profile_{calibration}" not in self.dataset:
            raise InputError("no stored profiles", where="library", expected="build_library(..., profile=(-3, 3, 13))")
        offsets = self._array("offset").astype(float)
        best, sd = self.values("kT", calibration), self.errors("kT", calibration)
        kT = best[..., None] * np.exp(offsets * (sd / best)[..., None])
        return kT, self._array(f"profile_{calibration}")

    def interval(self, calibration: str = "nominal") -> tuple[Array, Array]:
        """Return the ends of the stored profile-likelihood interval of kT, (n_theta, n_T, n_realisation) each.

        Raises
        ------
        InputError
            If the library was built without intervals.
        """
        if f"kT_{calibration}_low" not in self.dataset:
            raise InputError("no stored intervals", where="library", expected="build_library(..., interval=1.0)")
        low, high = (self._array(f"kT_{calibration}_{end}") for end in ("low", "high"))
        return low, high

    def to_grid(self) -> xarray.Dataset:
        """Return the data set with theta unfolded into one dimension a modifier parameter.

        Raises
        ------
        InputError
            If the design is not a product grid.
        """
        import xarray

        axes = self.job.get("axes")
        if not axes:
            raise InputError("the design is not a product grid", where="library", expected="a Grid")
        shape = [len(v) for v in axes.values()]
        out = self.dataset.drop_vars(list(self.names)).load()
        variables: dict[Any, Any] = {}
        for name, v in out.data_vars.items():
            if "theta" in v.dims:
                variables[name] = ((*axes, *v.dims[1:]), v.values.reshape(*shape, *v.shape[1:]), v.attrs)
            else:
                variables[name] = v
        coords = {n: c for n, c in out.coords.items() if "theta" not in c.dims}
        grid = {n: np.asarray(v, dtype=float) for n, v in axes.items()}
        return xarray.Dataset(variables, coords={**coords, **grid}, attrs=out.attrs)

    def simulate(self, theta: ArrayLike, kT: ArrayLike) -> dict[str, Array]:
        """Compute noiseless best fits at new points, for validating an emulator.

        Parameters
        ----------
        theta : (n, d)
        kT : (n,) keV

        Returns
        -------
        mapping of ``<parameter>_<calibration>``, ``<parameter>_true`` and ``status_<calibration>`` to arrays (n,)

        Raises
        ------
        InputError
            If the library was opened from a file.
        """
        if self.task is None:
            raise InputError(
                "an opened library cannot simulate", where="library", expected="the one build_library returned"
            )
        return self.task.at(np.atleast_2d(np.asarray(theta, float)), np.atleast_1d(np.asarray(kT, float)))

    # ---- reports --------------------------------------------------------------------------------

    def failures(self) -> dict[str, dict[str, int]]:
        """Return how often each status occurs, by calibration."""
        out = {}
        for calibration in self.calibrations:
            found, number = np.unique(self.status(calibration), return_counts=True)
            out[calibration] = {STATUS[int(k)]: int(n) for k, n in zip(found, number, strict=True)}
        return out

    def summary(self) -> QTable:
        """Return one row per calibration: fits, how many failed and why, bias and pull of kT over converged fits.

        ``bias_kT`` is the mean of kT/T_true - 1 and ``bias_ln_kT`` that of ln(kT/T_true); ``pull_mean`` and ``pull_sd``
        are of (kT - T_true)/sd. Only the modified calibration should have no bias, apart from the half squared error
        (sd/T)^2/2 by which the two means must differ. Noiseless libraries have no pull (NaN).
        """
        from crosscal.core.tables import ResultTable, describe

        rows = []
        counts = self.failures()
        for calibration in self.calibrations:
            total = sum(counts[calibration].values())
            ok = counts[calibration].get("OK", 0)
            reasons = ", ".join(f"{n} {k}" for k, n in counts[calibration].items() if k != "OK") or "none"
            kT, sd, T = self.values("kT", calibration), self.errors("kT", calibration), self.T_true[None, :, None]
            good = self.good(calibration)
            pull = ((kT - T) / sd)[good]
            ratio = (kT / T)[good] if good.any() else np.array([np.nan])
            noisy = good.any() and not self.is_asimov
            rows.append(
                {
                    "calibration": calibration,
                    "fits": total,
                    "failed": total - ok,
                    "failures": reasons,
                    "bias_kT": float(ratio.mean()) - 1.0,
                    "bias_ln_kT": float(np.log(ratio).mean()),
                    "pull_mean": float(pull.mean()) if noisy else np.nan,
                    "pull_sd": float(pull.std()) if noisy else np.nan,
                }
            )
        return describe(ResultTable(rows=rows), COLUMNS)

    def figures(self) -> dict[str, Figure]:
        """Draw slices of the library: kT_nominal / T_true against temperature."""
        from crosscal.xray.figures.results import library

        return {"library": library(self)}

    def _array(self, name: str, index: Any = ...) -> NDArray[Any]:
        """Read a variable; damage of a stored one is a StoreError."""
        if self.store is None:
            return np.asarray(self.dataset[name][index])
        # Zarr fills what it does not find with NaN.
        if not os.path.isdir(self.store.path):
            raise StoreError("the library is no longer here", where=str(self.store.path), expected="Library.open again")
        with parsing(f"variable {name!r} is damaged", where=self.store.path, expected=REPAIR, error=StoreError):
            return np.asarray(self.dataset[name][index])

    def _require_parts(self) -> None:
        """Raise ValueError unless job and data set hold what every library has."""
        if not self.parameters or self.job["noise"] not in ("asimov", "poisson"):
            raise ValueError("parameters or noise")
        for calibration in self.calibrations:
            for name in (*(f"{p}_{calibration}" for p in self.parameters), f"status_{calibration}"):
                if self.dataset[name].dims != DIMS:
                    raise ValueError(f"dimensions of {name}")
            if self.dataset[f"covariance_{calibration}"].dims != (*DIMS, "parameter", "parameter_"):
                raise ValueError("dimensions of the covariance")
        if self.dataset["T_true"].dims != ("T_true",) or any(self.dataset[n].dims != ("theta",) for n in self.names):
            raise ValueError("dimensions of the coordinates")
        n = self.dataset.sizes["parameter"]
        if n != len(self.parameters) or n != self.dataset.sizes["parameter_"]:
            raise ValueError("number of parameters")

    def _check(self, name: str, calibration: str = "nominal") -> None:
        if name not in self.parameters:
            raise UnknownNameError("fitted parameter", name, self.parameters, where="library")
        if calibration not in self.calibrations:
            raise UnknownNameError("calibration", calibration, self.calibrations, where="library")

    def __repr__(self) -> str:
        n, t, r = (self.dataset.sizes[d] for d in DIMS)
        theta, fitted = ", ".join(self.names), ", ".join(self.parameters)
        return f"<Library: {n} theta ({theta}) x {t} T_true x {r} realisations, {fitted}>"
