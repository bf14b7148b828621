"""Reading calibration-uncertainty libraries of Chandra's kind (EMETHOD = PCA1DADD).

References
----------
Lee et al. 2011, ApJ 731, 126; Drake et al. 2006, SPIE 6270, 49.
"""

from __future__ import annotations

import numpy as np

from crosscal.xray.instrument.ogip_arf import PathLike, energies
from crosscal.xray.instrument.ogip_table import find_table, opened
from crosscal.xray.instrument.pca_library import PcaLibrary

_METHOD = "PCA1DADD"


def read_pca_library(path: PathLike) -> PcaLibrary:
    """Read a PCA library of effective areas (``aref_Cedge.fits`` and its kin).

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.
    """
    with opened(path, "PCA library") as hdus:
        area = find_table(hdus, str(path), names=("SPECRESP",), hduclas1="RESPONSE", hduclas2=("SPECRESP",))
        method = str(area.header.get("EMETHOD") or "").strip().upper()
        if method and method != _METHOD:
            raise area.error(f"EMETHOD is {method!r}", expected=repr(_METHOD))
        table = find_table(hdus, str(path), names=("PCACOMP",), hduclas1="CALERR", hduclas2=("PCACOMP",))
        lo, hi, rows = energies(area)
        default = area.values("SPECRESP", unit="cm2", low=0.0)[rows]
        offset = area.values("BIAS", unit="cm2")[rows]
        vectors = table.values("EIGENVEC", ndim=2)
        if vectors.shape[1] != area.rows:
            raise table.error(
                f"a row holds {vectors.shape[1]} values", column="EIGENVEC", expected=f"{area.rows}, as SPECRESP"
            )
        vectors = vectors[:, rows]
        scale = table.values("EIGENVAL", low=0.0)
        share = table.values("FVARIANCE", low=0.0) if table.has("FVARIANCE") else scale**2 / np.sum(scale**2)
        return PcaLibrary(lo, hi, default, offset, scale, vectors, share, str(path))
