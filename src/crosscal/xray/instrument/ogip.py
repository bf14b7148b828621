"""Reading an OGIP response: an ARF and an RMF, or both in one file.

References
----------
George et al. 1992, CAL/GEN/92-002 and its addendum 92-002a (ARF, RMF).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from crosscal.core.errors import DataFileError
from crosscal.core.keywords import keywords
from crosscal.xray.instrument.checks import LARGEST_PROBABILITY, Floats
from crosscal.xray.instrument.ogip_arf import Arf, Headers, PathLike, read_arf
from crosscal.xray.instrument.ogip_rmf import Rmf, read_rmf
from crosscal.xray.instrument.response import Response


@keywords
def read_response(
    arf: PathLike,
    rmf: PathLike | None = None,
    *,
    name: str | None = None,
    time: float | None = None,
    block: int | None = None,
) -> Response:
    """Read a telescope's response from an ARF and an RMF, or from one file that holds both.

    Parameters
    ----------
    arf : path
        The ARF; or, if ``rmf`` is None, an RSP or RMF whose matrix includes the effective area.
    rmf : path, optional
    name : str, optional
        By default the name of the first file without its suffixes.
    time, block : optional
        Choose among matrices of different times (see :func:`read_rmf`).

    Notes
    -----
    The energy grid is the RMF's; the ARF's must be the same, except that the lower edge of its first bin
    may differ (EPIC-pn files do). ``notes`` of the result tells what was mended.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.

    Examples
    --------
    >>> telescope = xray.read_response("acis.arf", "acis.rmf")  # doctest: +SKIP
    """
    label = name or Path(arf).name.split(".")[0]
    if rmf is None:
        matrix = read_rmf(arf, time=time, block=block)
        if not matrix.has_area:
            raise DataFileError(
                "the matrix does not include the effective area", where=str(arf), expected="an ARF beside it"
            )
        area, redistribution = _split(matrix.matrix)
        files, notes, mission = {"rsp": str(arf)}, matrix.notes, matrix.mission
        headers: Headers = matrix.headers
    else:
        ancillary, matrix = read_arf(arf), read_rmf(rmf, time=time, block=block)
        largest = float(matrix.matrix.sum(axis=0).max())
        if largest > LARGEST_PROBABILITY:
            raise DataFileError(
                f"the matrix includes the effective area already (a row sums to {largest:g})",
                where=str(rmf), expected="this file alone, without the ARF",
            )  # fmt: skip
        notes = ancillary.notes + matrix.notes + _same_grid(ancillary, matrix)
        area, redistribution = ancillary.area, matrix.matrix
        mission, headers = {**matrix.mission, **ancillary.mission}, ancillary.headers
        files = {"arf": str(arf), "rmf": str(rmf)}
    return Response(
        matrix.energy_lo, matrix.energy_hi, area, redistribution, matrix.channel_lo, matrix.channel_hi,
        first_channel=matrix.first_channel, name=label, files=files, notes=notes, mission=mission,
        headers=headers,
    )  # fmt: skip


def _split(matrix: csr_array) -> tuple[Floats, csr_array]:
    """Split a matrix in cm2 into area (its sum over channels) and probabilities."""
    area = np.asarray(matrix.sum(axis=0)).ravel()
    inverse = np.divide(1.0, area, out=np.zeros_like(area), where=area > 0)
    return area, csr_array(matrix.multiply(inverse[None, :]))


def _same_grid(arf: Arf, rmf: Rmf) -> tuple[str, ...]:
    where = f"{arf.path}[SPECRESP]"
    if arf.energy_lo.size != rmf.energy_lo.size:
        raise DataFileError(
            f"the ARF has {arf.energy_lo.size} energy bins", where=where,
            expected=f"{rmf.energy_lo.size}, as {rmf.path}",
        )  # fmt: skip
    # A hundredth of a bin: far below what folding resolves, far above the rounding of float32 edges.
    slack = 1e-2 * (rmf.energy_hi - rmf.energy_lo) + 1e-6 * rmf.energy_hi
    for column, ours, theirs in (
        ("ENERG_LO", arf.energy_lo, rmf.energy_lo),
        ("ENERG_HI", arf.energy_hi, rmf.energy_hi),
    ):
        apart = np.abs(ours - theirs) > slack
        if column == "ENERG_LO":
            apart[0] = False
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            raise DataFileError(
                f"the energy is {ours[row]:g} keV", where=f"{where}, column {column}, row {row + 1}",
                expected=f"{theirs[row]:g} keV, as in {rmf.path}",
            )  # fmt: skip
    if abs(arf.energy_lo[0] - rmf.energy_lo[0]) > slack[0]:
        starts = f"{arf.energy_lo[0]:g} keV, that of {rmf.path} at {rmf.energy_lo[0]:g} keV"
        return (f"{where}: the first bin starts at {starts}; the latter is used",)
    return ()
