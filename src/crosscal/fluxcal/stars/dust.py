"""Galactic E(B-V) at positions from the all-sky maps of Schlegel, Finkbeiner & Davis 1998 (FITS).

A map is two images, one per Galactic hemisphere, in zenithal equal-area (Lambert) projection about the pole with the
keywords LAM_NSGP (+1 north, -1 south) and LAM_SCAL (pixels from the pole to the equator).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.core.units import floats
from crosscal.fluxcal.stars.extinction import SF11
from crosscal.fluxcal.stars.matching import unit_vectors
from crosscal.fluxcal.types import Catalogue

#: Rows: Galactic axes in ICRS. Hipparcos catalogue (ESA SP-1200), vol. 1, eq. 1.5.11.
_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [+0.4941094279, -0.4448296300, +0.7469822445],
        [-0.8676661490, -0.1980763734, +0.4559837762],
    ]
)


@dataclass(frozen=True, eq=False)
class DustMap:
    """E(B-V) of the sky: ``north`` and ``south`` images (ny, nx) with their poles (x, y) and scales in pixels.

    A hemisphere may be absent (None).

    Examples
    --------
    >>> dust = fluxcal.read_dust_map(["SFD_dust_ngp.fits", "SFD_dust_sgp.fits"])  # doctest: +SKIP
    >>> dust.ebv(ra, dec)  # doctest: +SKIP
    """

    images: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]
    poles: tuple[tuple[float, float], tuple[float, float]]
    scales: tuple[float, float]
    factor: float = SF11

    def __post_init__(self) -> None:
        images = tuple(None if i is None else floats(i, where="dust map").astype(np.float32) for i in self.images)
        object.__setattr__(self, "images", images)

    def ebv(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
        """E(B-V) (n,) at positions in degrees (ICRS), interpolated bilinearly; NaN where no image reaches.

        x = x_pole + s sqrt(1 - n sin b) cos l, y = y_pole - n s sqrt(1 - n sin b) sin l, n = +1 north, -1 south
        (Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525, appendix C).
        """
        from scipy.ndimage import map_coordinates

        x, y, z = (np.atleast_2d(unit_vectors(ra, dec)) @ _GALACTIC.T).T
        longitude = np.arctan2(y, x)
        value = np.full(z.shape, np.nan)
        for image, pole, scale, sign in zip(self.images, self.poles, self.scales, (1, -1), strict=True):
            inside = z >= 0 if sign > 0 else z < 0
            if image is None or not inside.any():
                continue
            radius = scale * np.sqrt(1 - sign * z[inside])
            place = [
                pole[1] - sign * radius * np.sin(longitude[inside]),
                pole[0] + radius * np.cos(longitude[inside]),
            ]
            value[inside] = map_coordinates(image, place, order=1, mode="nearest")
        return self.factor * value


def read_dust_map(paths: Sequence[str | os.PathLike[str]], *, factor: float = SF11) -> DustMap:
    """Read one or both hemispheres (``SFD_dust_4096_ngp.fits``, ``SFD_dust_4096_sgp.fits``).

    Parameters
    ----------
    paths : one or two files, in any order
    factor : float
        Multiplies the map: 0.86 as Schlafly & Finkbeiner 2011 recommend, 1 for the original scale.

    Raises
    ------
    ConfigError
        If no file is named or the factor is not positive.
    DataFileError
        If a file is not such an image, or two are of one hemisphere.

    Examples
    --------
    >>> dust = fluxcal.read_dust_map(["SFD_dust_ngp.fits", "SFD_dust_sgp.fits"])  # doctest: +SKIP
    """
    if not paths:
        raise ConfigError("no file", where="dust map", expected="the images of one or both Galactic hemispheres")
    if not factor > 0:
        raise ConfigError(f"factor = {factor}", where="dust map", expected="a positive number")
    images: list[NDArray[np.float32] | None] = [None, None]
    poles, scales = [(0.0, 0.0), (0.0, 0.0)], [1.0, 1.0]
    for path in paths:
        source = existing_file(path, what="dust map")
        with (
            parsing("not a dust map", where=source, expected="an image with LAM_NSGP, LAM_SCAL, CRPIX1 and CRPIX2"),
            fits.open(source, memmap=False) as hdus,
        ):
            header, data = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float32)
            south = float(header["LAM_NSGP"]) < 0
            scale = float(header["LAM_SCAL"])
            pole = (float(header["CRPIX1"]) - 1, float(header["CRPIX2"]) - 1)
        if data.ndim != 2:
            raise DataFileError(f"image of shape {data.shape}", where=str(source), expected="two dimensions")
        if images[south] is not None:
            raise DataFileError("two images of one hemisphere", where=str(source), expected="one north, one south")
        images[south], poles[south], scales[south] = data, pole, scale
    return DustMap((images[0], images[1]), (poles[0], poles[1]), (scales[0], scales[1]), factor)


def with_dust(catalogue: Catalogue, dust: DustMap) -> Catalogue:
    """Fill E(B-V) from a map where the catalogue has none.

    Parameters
    ----------
    catalogue : Catalogue
        Positions in degrees (ICRS); finite values of ``ebv`` are kept.
    dust : DustMap

    Returns
    -------
    Catalogue
        A copy with E(B-V) in magnitudes.

    Raises
    ------
    InputError
        If the map does not reach a star without E(B-V).

    Examples
    --------
    >>> stars = fluxcal.with_dust(stars, dust)  # doctest: +SKIP
    """
    empty = ~np.isfinite(catalogue.ebv)
    value = np.where(empty, dust.ebv(catalogue.ra, catalogue.dec), catalogue.ebv)
    if not np.all(np.isfinite(value)):
        star = str(catalogue.name[int(np.argmin(np.isfinite(value)))])
        raise InputError(
            f"the map does not reach star {star}", where="dust map", expected="the image of its Galactic hemisphere"
        )
    return replace(catalogue, ebv=value)
