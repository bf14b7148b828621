"""Draws of an effective area, and the files that hold them.

One file holds all draws in the layout of the Chandra calibration-uncertainty files (EMETHOD = SIM1DADD:
area = SPECRESP + BIAS + SIMCOMP), which Sherpa and pyBLoCXS read; a directory holds one plain ARF per draw.

References
----------
Lee et al. 2011, ApJ 731, 126, section 3 (ensembles of ARFs); Drake et al. 2006, SPIE 6270, 49.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.correction import Correction
from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import refuse_overwriting
from crosscal.xray.instrument.ogip_arf import Arf, PathLike, read_arf
from crosscal.xray.instrument.ogip_table import find_table, opened
from crosscal.xray.instrument.ogip_write import Column, arf_primary, arf_table, make_table, save, write_arf
from crosscal.xray.instrument.response import Response

_METHOD = "SIM1DADD"


@dataclass(frozen=True, eq=False)
class ArfEnsemble:
    """An effective area and its draws: ``arf`` (n_energy,) and ``draws`` (n_draws, n_energy) in cm2."""

    arf: Arf
    draws: NDArray[np.float64]

    def band_means(self, bands: Mapping[str, tuple[float, float]], *, index: float = 2.0) -> NDArray[np.float64]:
        """Return the mean area of each draw in energy bands, shape (n_draws, n_bands), cm2.

        The mean is over the photons of a power law: the sum of A(E) E^-index dE over that of E^-index dE.

        Parameters
        ----------
        bands : mapping of name to (low, high) in keV
        index : float
            Photon index of the sources that will be compared.

        Raises
        ------
        InputError
            If a band holds no energy bin of the effective area.
        """
        lo, hi = self.arf.energy_lo, self.arf.energy_hi
        centre = 0.5 * (lo + hi)
        columns = []
        for name, (low, high) in bands.items():
            width = np.clip(np.minimum(hi, high) - np.maximum(lo, low), 0.0, None)
            weight = width * centre**-index
            if not weight.sum() > 0:
                raise InputError(
                    f"no energy of the effective area lies in {low:g}-{high:g} keV",
                    where=f"band {name!r}",
                    expected=f"low < high inside {lo[0]:g} to {hi[-1]:g} keV",
                )
            columns.append(self.draws @ weight / weight.sum())
        return np.stack(columns, axis=1)


def area_draws(
    response: Response, correction: Correction, n: int | None = None, *, seed: int = 0
) -> NDArray[np.float64]:
    """Draw effective areas from a correction.

    The posterior draws that the correction carries are used, in order (all of them, or an even selection of
    ``n``); without any, ``n`` (default 100) draws of ln factor from its normal distribution.

    Parameters
    ----------
    response : Response
        With the nominal area, which the draws multiply.
    correction : Correction
        Against energy in keV.

    Returns
    -------
    array, shape (n, n_energy), cm2

    Raises
    ------
    InputError
        If the correction is not against energy in keV, or has fewer draws than ``n``.
    """
    response.corrected(correction)  # checks the axis
    if correction.draws is not None:
        available = len(correction.draws)
        n = available if n is None else n
        if not 1 <= n <= available:
            raise InputError(f"{n} draws are asked for", where="correction", expected=f"1 to {available}, as it holds")
        chosen = replace(correction, draws=correction.draws[np.linspace(0, available - 1, n).astype(int)])
        return _areas(response, chosen)
    n = 100 if n is None else n
    if n < 1:
        raise InputError(f"{n} draws are asked for", where="correction", expected="at least 1")
    rng = np.random.default_rng(seed)
    logs = rng.multivariate_normal(np.log(correction.factor), correction.covariance, size=n, method="eigh")
    return _areas(response, replace(correction, draws=np.exp(logs)))


def _areas(response: Response, correction: Correction) -> NDArray[np.float64]:
    factors = correction.at(response.energy).draws
    assert factors is not None
    return response.area * factors


def write_arf_ensemble(
    path: PathLike,
    response: Response,
    draws: ArrayLike,
    *,
    history: Any = None,
    overwrite: bool = True,
) -> Path:
    """Write draws of the effective area, shape (n_draws, n_energy), beside the area of ``response``.

    A path with a suffix (``.arf``, ``.fits``, ``.gz``) becomes one file; a path without becomes a directory
    with ``mean.arf`` and ``draw_0001.arf``, ``draw_0002.arf``, ...

    Parameters
    ----------
    history : None, str, sequence of str, Correction, or result
        As in `write_arf`.
    overwrite : bool
        Replace what is there; otherwise that is an error.

    Raises
    ------
    InputError
        On draws of wrong shape, negative or not finite; DataFileError if writing fails.

    Examples
    --------
    >>> xray.write_arf_ensemble("draws.arf", telescope, draws)  # doctest: +SKIP
    >>> xray.write_arf_ensemble("draws", telescope, draws)  # doctest: +SKIP
    """
    draws = np.asarray(draws, dtype=float)
    if draws.ndim != 2 or draws.shape[1] != response.n_energy or draws.shape[0] == 0:
        raise InputError(
            f"draws of shape {draws.shape}",
            where=f"response {response.name!r}",
            expected=f"(n_draws, {response.n_energy})",
        )
    if not np.all(np.isfinite(draws)) or np.any(draws < 0):
        raise InputError(
            "a drawn area is negative or not finite",
            where=f"response {response.name!r}",
            expected="values >= 0 cm2",
        )
    if not Path(path).suffix:
        return _write_directory(Path(path), response, draws, history, overwrite)
    area = arf_table(
        response,
        history,
        extra=[Column("BIAS", "D", unit="cm2", array=np.zeros(response.n_energy))],
        cards={"EMETHOD": _METHOD, "ERREXT": "SIMCOMP"},
    )
    columns = [
        Column("COMPONENT", "J", array=np.arange(1, len(draws) + 1)),
        Column("SIMCOMP", f"{response.n_energy}D", unit="cm2", array=draws - response.area),
    ]
    cards = {"HDUCLASS": "CXC", "HDUCLAS1": "CALERR", "HDUCLAS2": "SIMCOMP", "HDUCLAS3": _METHOD}
    simulated = make_table("SIMCOMP", columns, cards)
    return save(
        path, [area, simulated], primary=arf_primary(response), inputs=response.files.values(), overwrite=overwrite
    )


def _write_directory(
    directory: Path, response: Response, draws: NDArray[np.float64], history: Any, overwrite: bool
) -> Path:
    names = [f"draw_{k:04d}.arf" for k in range(1, len(draws) + 1)]
    refuse_overwriting([directory / name for name in ["mean.arf", *names]], response.files.values())
    write_arf(directory / "mean.arf", response, history=history, overwrite=overwrite)
    for name, area in zip(names, draws, strict=True):
        write_arf(directory / name, response.with_area(area), history=history, overwrite=overwrite)
    return directory


def read_arf_ensemble(path: PathLike) -> ArfEnsemble:
    """Read draws of an effective area from a SIM1DADD file or a directory of ARFs.

    Raises
    ------
    DataFileError
        If there are no draws, they do not share one energy grid, or a drawn area is negative.

    Examples
    --------
    >>> ensemble = xray.read_arf_ensemble("acis_ensemble.arf")  # doctest: +SKIP
    >>> ensemble.band_means({"soft": (0.5, 2.0)})  # doctest: +SKIP
    """
    if Path(path).is_dir():
        return _read_directory(Path(path))
    arf = read_arf(path)
    with opened(path, "ARF ensemble") as hdus:
        area = find_table(hdus, str(path), names=("SPECRESP",), hduclas1="RESPONSE", hduclas2=("SPECRESP",))
        table = find_table(hdus, str(path), names=("SIMCOMP",), hduclas1="CALERR", hduclas2=("SIMCOMP",))
        bias = area.values("BIAS", unit="cm2") if area.has("BIAS") else np.zeros(arf.area.size)
        deviations = table.values("SIMCOMP", ndim=2)
    if deviations.shape[1] != arf.area.size:
        raise table.error(
            f"a row holds {deviations.shape[1]} values", column="SIMCOMP", expected=f"{arf.area.size}, as SPECRESP"
        )
    draws = arf.area + bias + deviations
    # Rounding of area + (draw - area) may leave a tiny negative number where a draw is zero.
    draws[np.abs(draws) < 1e-12 * np.max(arf.area)] = 0.0
    if np.any(draws < 0):
        row = int(np.argwhere(draws < 0)[0][0])
        raise table.error(
            f"the area becomes {draws[row].min():g} cm2", column="SIMCOMP", row=row, expected="values >= 0"
        )
    return ArfEnsemble(arf, draws)


def _read_directory(directory: Path) -> ArfEnsemble:
    files = sorted(directory.glob("draw_*.arf"))
    if not files:
        raise DataFileError("there are no draws", where=str(directory), expected="draw_0001.arf, ...")
    arfs = [read_arf(file) for file in files]
    for arf in arfs[1:]:
        same = arf.energy_lo.shape == arfs[0].energy_lo.shape and np.allclose(arf.energy_lo, arfs[0].energy_lo)
        if not same:
            raise DataFileError(
                "the energies differ", where=f"{arf.path}[SPECRESP]", expected=f"those of {arfs[0].path}"
            )
    draws = np.stack([arf.area for arf in arfs])
    mean = directory / "mean.arf"
    centre = read_arf(mean) if mean.is_file() else replace(arfs[0], area=draws.mean(axis=0), path=str(directory))
    return ArfEnsemble(centre, draws)
