"""What a telescope is: effective area and redistribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, eye_array, issparse

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError
from crosscal.core.sketch import Sketch
from crosscal.core.units import energies, plain
from crosscal.xray.instrument.checks import GAP, LARGEST_PROBABILITY, Floats, band_mask, frozen_vector

if TYPE_CHECKING:
    from crosscal.core.correction import Correction

# A matrix with more than this share of non-zero elements is multiplied faster by BLAS than as a sparse one.
_DENSE_FILL = 0.05
_DENSE_BYTES = 256 * 2**20


class Changes(Protocol):
    """What changes a response: a modifier."""

    def apply(self, response: Response, theta: Any = None) -> Response:
        """Return the changed response."""


@dataclass(frozen=True, eq=False)
class Response:
    """A telescope: effective area and redistribution of photon energies into channels.

    The expected count rate in channel c of a photon spectrum s(E), in photons / cm2 / s per energy bin j, is

        rate_c = sum_j P(c | j) area_j s_j                                                   [count / s]

    Parameters
    ----------
    energy_lo, energy_hi : array, shape (n_energy,), keV
        Photon energy bins, increasing and without gaps.
    area : array, shape (n_energy,), cm2
    redistribution : sparse array, shape (n_channel, n_energy)
        P(channel | photon energy bin); a column sums to the share of photons that is recorded.
    channel_lo, channel_hi : array, shape (n_channel,), keV
        Nominal energies of the channels (EBOUNDS).
    first_channel : int
        Number of the first channel in files.
    name : str
    files : mapping of str to str
        Role ("arf", "rmf"; "rsp" where one file holds both) to path, for provenance.
    notes : tuple of str
        What a reader had to mend in the files.
    mission : mapping of str to str
        TELESCOP, INSTRUME and FILTER, for the headers of files.
    headers : mapping of HDU name to cards (key, value, comment)
        Of the ARF, or of the RSP; a changed one keeps them.

    Raises
    ------
    InputError
        On wrong shapes, values that are not finite, negative area or probability, energy bins with gaps.

    References
    ----------
    George et al. 1992, OGIP memo CAL/GEN/92-002 (files); Davis 2001, ApJ 548, 1010, Eq. 1 (folding).

    Examples
    --------
    >>> telescope = xray.read_response("acis.arf", "acis.rmf")  # doctest: +SKIP
    >>> counts = telescope.fold(photons)  # doctest: +SKIP
    """

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    redistribution: csr_array
    channel_lo: Floats
    channel_hi: Floats
    first_channel: int = 1
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mission: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, tuple[tuple[str, Any, str], ...]] = field(default_factory=dict, repr=False)

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        where = f"response {self.name!r}" if self.name else "response"
        lo = frozen_vector(self.energy_lo, "energy_lo", where)
        hi = frozen_vector(self.energy_hi, "energy_hi", where, lo.shape)
        area = frozen_vector(self.area, "area", where, lo.shape)
        channel_lo = frozen_vector(self.channel_lo, "channel_lo", where)
        channel_hi = frozen_vector(self.channel_hi, "channel_hi", where, channel_lo.shape)
        if np.any(lo >= hi) or np.any(lo < 0):
            raise InputError("an energy bin is empty or negative", where=where, expected="0 <= lower < upper")
        if lo.size > 1 and np.any(np.abs(lo[1:] - hi[:-1]) > GAP * (hi - lo)[1:] + 1e-6 * hi[:-1]):
            raise InputError("the energy bins have gaps or overlap", where=where, expected="contiguous bins")
        if np.any(area < 0):
            raise InputError("negative effective area", where=where, expected="values >= 0 cm2")
        matrix = self.redistribution
        matrix = csr_array(matrix if issparse(matrix) else np.asarray(matrix, dtype=float), dtype=float)
        if matrix.shape != (channel_lo.size, lo.size):
            raise InputError(
                f"the redistribution has shape {matrix.shape}",
                where=where,
                expected=f"(n_channel, n_energy) = ({channel_lo.size}, {lo.size})",
            )
        if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
            raise InputError("a negative or not finite probability", where=where, expected="values >= 0")
        values: dict[str, Any] = {
            "energy_lo": lo, "energy_hi": hi, "area": area, "redistribution": matrix,
            "channel_lo": channel_lo, "channel_hi": channel_hi, "first_channel": int(self.first_channel),
            "files": dict(self.files), "notes": tuple(self.notes), "mission": dict(self.mission),
        }  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_arrays(
        cls,
        edges: ArrayLike,
        area: ArrayLike,
        redistribution: Any = None,
        *,
        channel_edges: ArrayLike | None = None,
        first_channel: int = 1,
        name: str = "",
        mission: Mapping[str, str] | None = None,
    ) -> Response:
        """Make a response of arrays in memory: an effective area alone, or with a redistribution matrix.

        Parameters
        ----------
        edges : array, shape (n_energy + 1,), keV or a Quantity
            Edges of the photon energy bins; a Quantity may be a wavelength. They may rise or fall.
        area : array, shape (n_energy,), cm2 or a Quantity
            In the order of ``edges``.
        redistribution : array or sparse array, shape (n_channel, n_energy), optional
            P(channel | photon energy bin). Without it, each energy bin is a channel and the resolution is perfect.
        channel_edges : array, shape (n_channel + 1,), keV or a Quantity
            Nominal energies between which channels lie; needed with ``redistribution``.
        first_channel : int
        name : str
        mission : mapping, optional
            TELESCOP, INSTRUME and FILTER, for the headers of files.

        Raises
        ------
        InputError
            On wrong shapes, edges that neither rise nor fall, or a matrix that includes the effective area.

        Examples
        --------
        >>> response = Response.from_arrays([1.0, 2.0, 4.0], [300.0, 200.0], name="ideal")
        >>> response.fold([0.1, 0.2])
        array([30., 40.])
        """
        where = f"response {name!r}" if name else "response"
        lo, hi, falling = _bins(edges, "edges", where)
        area = np.atleast_1d(np.asarray(plain(area, "cm2", where=f"{where}, area"), dtype=float))
        if redistribution is None:
            if channel_edges is not None:
                raise InputError(
                    "channel_edges without a redistribution", where=where, expected="both, or edges and area alone"
                )
            channel_lo, channel_hi = lo, hi
            matrix = csr_array(eye_array(lo.size))
        else:
            if channel_edges is None:
                raise InputError("no channel_edges", where=where, expected="the energies between the channels, keV")
            channel_lo, channel_hi, _ = _bins(channel_edges, "channel_edges", where)
            matrix = csr_array(redistribution if issparse(redistribution) else np.asarray(redistribution, dtype=float))
            largest = float(np.max(matrix.sum(axis=0), initial=0.0))
            if largest > LARGEST_PROBABILITY:
                raise InputError(
                    f"a column of the redistribution sums to {largest:g}", where=where,
                    expected="probabilities; divide a matrix in cm2 by its sum over channels and give that as area",
                )  # fmt: skip
        if falling and area.size == lo.size == matrix.shape[1]:
            lo, hi, area, matrix = lo[::-1], hi[::-1], area[::-1], matrix[:, ::-1]
        return cls(
            lo, hi, area, matrix, channel_lo, channel_hi, first_channel=first_channel, name=name, mission=mission or {}
        )

    def _sketch_(self) -> Sketch:
        return Sketch(self.energy, self.area, "energy (keV)", "effective area (cm\u00b2)", log=True)

    @property
    def n_energy(self) -> int:
        """Number of photon energy bins."""
        return self.energy_lo.size

    @property
    def n_channel(self) -> int:
        """Number of channels."""
        return self.channel_lo.size

    @cached_property
    def energy(self) -> Floats:
        """Mid-points of the photon energy bins, shape (n_energy,), keV."""
        return 0.5 * (self.energy_lo + self.energy_hi)

    @cached_property
    def energy_edges(self) -> Floats:
        """Edges of the photon energy bins, shape (n_energy + 1,), keV."""
        return np.append(self.energy_lo, self.energy_hi[-1])

    @property
    def channels(self) -> NDArray[np.int64]:
        """Channel numbers, shape (n_channel,)."""
        return np.arange(self.first_channel, self.first_channel + self.n_channel)

    @cached_property
    def dense(self) -> Floats | None:
        """The redistribution as a full (n_channel, n_energy) array, or None where it is sparse or too big."""
        n = self.n_channel * self.n_energy
        if self.redistribution.nnz < _DENSE_FILL * n or 8 * n > _DENSE_BYTES:
            return None
        return self.redistribution.toarray()

    def fold(self, photons: ArrayLike) -> Floats:
        """Turn photon spectra into count rates.

        Parameters
        ----------
        photons : array, shape (..., n_energy), photon / cm2 / s per energy bin

        Returns
        -------
        array, shape (..., n_channel), count / s per channel
        """
        photons = np.asarray(photons, dtype=float)
        if photons.shape[-1:] != (self.n_energy,):
            raise InputError(
                f"a photon spectrum of shape {photons.shape}",
                where=f"response {self.name!r}",
                expected=f"a last axis of {self.n_energy} energy bins",
            )
        rows = (photons * self.area).reshape(-1, self.n_energy)
        if rows.shape[0] > 4 and self.dense is not None:
            folded = rows @ self.dense.T
        else:
            folded = (self.redistribution @ rows.T).T
        return np.ascontiguousarray(folded).reshape(*photons.shape[:-1], self.n_channel)

    def with_area(self, area: ArrayLike) -> Response:
        """Return the same response with another effective area, shape (n_energy,), cm2."""
        return replace(self, area=np.asarray(plain(area, "cm2", where="area"), dtype=float))

    def modified(self, modifier: Changes, theta: ArrayLike | Mapping[str, float] | None = None) -> Response:
        """Return the response that ``modifier`` makes with the parameters ``theta`` (defaults where None)."""
        return modifier.apply(self, theta)

    def corrected(self, correction: Correction) -> Response:
        """Return the response whose area is multiplied by a correction against energy in keV.

        The factor is interpolated at the mid-points of the energy bins and constant beyond its ends.

        Raises
        ------
        InputError
            If the correction is against anything but energy in keV.
        """
        if (correction.axis, correction.unit) != ("energy", "keV"):
            raise InputError(
                f"a correction against {correction.axis} [{correction.unit}]",
                where=f"response {self.name!r}",
                expected="one against energy [keV]",
            )
        return self.with_area(correction.apply(self.energy, self.area))

    def band(self, low: float, high: float, *, rule: str = "overlap") -> NDArray[np.bool_]:
        """Return the channels of the band ``low`` to ``high`` keV, shape (n_channel,).

        ``rule`` "overlap" (default) keeps every channel that has a part in the band, as ``notice`` of
        Sherpa and XSPEC does; "inside" keeps whole channels, "centre" goes by mid-points.
        """
        return band_mask(self.channel_lo, self.channel_hi, low, high, rule)

    def restricted(self, mask: ArrayLike) -> Response:
        """Keep the channels in ``mask`` and the energy bins that can reach them.

        The result folds to exactly the same rates in these channels, from fewer elements. Its energy bins
        are a contiguous piece of the original ones: ``energy_slice`` says which.
        """
        mask = self._channel_mask(mask)
        part = self.energy_slice(mask)
        index = np.flatnonzero(mask)
        return replace(
            self,
            energy_lo=self.energy_lo[part],
            energy_hi=self.energy_hi[part],
            area=self.area[part],
            redistribution=self.redistribution[index][:, part],
            channel_lo=self.channel_lo[index],
            channel_hi=self.channel_hi[index],
            first_channel=self.first_channel + int(index[0]),
        )

    def energy_slice(self, mask: ArrayLike) -> slice:
        """Return the smallest slice of energy bins outside which no photon reaches the channels in ``mask``."""
        mask = self._channel_mask(mask)
        reached = np.zeros(self.n_energy, dtype=bool)
        rows = self.redistribution[np.flatnonzero(mask)]
        reached[rows.indices[rows.data > 0]] = True
        if not reached.any():
            raise InputError(
                "no photon reaches these channels", where=f"response {self.name!r}", expected="another band"
            )
        index = np.flatnonzero(reached)
        return slice(int(index[0]), int(index[-1]) + 1)

    def _channel_mask(self, mask: ArrayLike) -> NDArray[np.bool_]:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.n_channel,) or not mask.any():
            raise InputError(
                f"a channel mask of type {mask.dtype} and shape {mask.shape}",
                where=f"response {self.name!r}",
                expected=f"{self.n_channel} booleans, at least one true",
            )
        return mask


def _bins(edges: ArrayLike, what: str, where: str) -> tuple[Floats, Floats, bool]:
    """Return lower and upper ends of the bins between ``edges`` in their order, and whether they fall.

    Raises
    ------
    InputError
        If the edges are not a rising or falling vector.
    """
    values = energies(edges, where=f"{where}, {what}")
    step = np.diff(values) if values.ndim == 1 else np.zeros(0)
    if not step.size or not (np.all(step > 0) or np.all(step < 0)):
        raise InputError(
            f"{what} of shape {values.shape} neither rise nor fall", where=where, expected="n + 1 edges of n bins, keV"
        )
    return np.minimum(values[1:], values[:-1]), np.maximum(values[1:], values[:-1]), bool(step[0] < 0)
