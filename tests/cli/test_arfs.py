"""A concordance job that names nominal ARFs ends with corrected ones."""

import numpy as np
import pytest
from scipy.sparse import eye_array

from crosscal.cli.arfs import write_corrected_arfs
from crosscal.concordance import Comparison, fit
from crosscal.core.errors import DataFileError
from crosscal.xray import Response, read_arf, write_arf


def nominal(path):
    edges = np.linspace(0.3, 10, 50)
    area = 400 * np.exp(-(((edges[1:] - 2) / 3) ** 2))
    grid = edges[:-1], edges[1:]
    write_arf(path, Response(*grid, area, eye_array(49, format="csr"), *grid, mission={"TELESCOP": "XMM"}))
    return read_arf(path)


def result_with(arfs):
    from dataclasses import replace

    rng = np.random.default_rng(1)
    rows = [(i, f"s{j}", band) for band in ("soft", "hard") for j in range(30) for i in ("pn", "MOS1")]
    y = [0.1 * (i == "pn") * (1 if b == "soft" else -1) + rng.normal(0, 0.01) for i, _, b in rows]
    data = Comparison.from_cells([r[0] for r in rows], [r[1] for r in rows], band=[r[2] for r in rows], log_rate=y)
    result = fit(data, draws=300, predictive=0, leave_one_out=False)
    return replace(result, arfs=arfs, band_energies={"soft": (0.5, 2.0), "hard": (2.0, 8.0)})


def test_corrected_arf(tmp_path):
    before = nominal(tmp_path / "pn.arf")
    result = result_with({"pn": tmp_path / "pn.arf"})
    (path,) = write_corrected_arfs(result, tmp_path / "out")
    after = read_arf(path)
    ratio = after.area / before.area
    factor = result.correction_for("pn").factor
    assert path.name == "pn_corrected.arf"
    assert np.allclose(ratio[0], factor[0])
    assert np.allclose(ratio[-1], factor[1])
    assert after.mission["TELESCOP"] == "XMM"


def test_no_arfs_no_files(tmp_path):
    assert write_corrected_arfs(object(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_arf_is_an_error(tmp_path):
    with pytest.raises(DataFileError, match=r"none\.arf"):
        write_corrected_arfs(result_with({"pn": tmp_path / "none.arf"}), tmp_path)
