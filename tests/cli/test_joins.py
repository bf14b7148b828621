"""A concordance job that names nominal ARFs ends with corrected ones."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import eye_array

from crosscal.concordance import Comparison, fit
from crosscal.core.errors import DataFileError
from crosscal.joins import write_corrected_arfs
from crosscal.xray import Response, read_arf, write_arf

pytestmark = pytest.mark.thorough


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
    assert write_corrected_arfs(SimpleNamespace(kind="xray-fit"), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_arf_is_an_error(tmp_path):
    with pytest.raises(DataFileError, match=r"none\.arf"):
        write_corrected_arfs(result_with({"pn": tmp_path / "none.arf"}), tmp_path)


def ensemble(path, n=60):
    """An ensemble of ``path``'s ARF whose soft and hard areas move together."""
    from crosscal.xray import write_arf_ensemble

    arf = nominal(path.with_name("nominal.arf"))
    rng = np.random.default_rng(3)
    factor = np.exp(0.05 * rng.standard_normal((n, 1)) + 0.02 * rng.standard_normal((n, 1)) * np.log(arf.energy_lo))
    grid = arf.energy_lo, arf.energy_hi
    response = Response(*grid, arf.area, eye_array(len(arf.area), format="csr"), *grid)
    write_arf_ensemble(path, response, arf.area * factor)
    return arf, factor


def test_band_means_are_photon_weighted(tmp_path):
    from crosscal.xray import read_arf_ensemble

    arf, factor = ensemble(tmp_path / "pn.fits")
    found = read_arf_ensemble(tmp_path / "pn.fits").band_means({"soft": (0.5, 2.0), "one": (2.9, 3.0)}, index=1.5)
    fine = np.linspace(0.5, 2.0, 4001)
    bins = np.searchsorted(arf.energy_hi, fine, side="right")
    weight = (0.5 * (arf.energy_lo + arf.energy_hi))[bins] ** -1.5
    slow = (arf.area * factor)[:, bins] @ weight / weight.sum()
    # The sum over 4001 points resolves the ends of the band to 1e-3.
    np.testing.assert_allclose(found[:, 0], slow, rtol=2e-3)
    inside = np.searchsorted(arf.energy_hi, 2.95)
    np.testing.assert_allclose(found[:, 1], (arf.area * factor)[:, inside], rtol=1e-6)


def test_area_draws_feed_a_concordance(tmp_path, crosscal):
    from crosscal.concordance import covariance_from_draws, read_area_draws

    ensemble(tmp_path / "pn.fits")
    ensemble(tmp_path / "mos.fits")
    bands = ["--band", "soft", "0.5", "2.0", "--band", "hard", "2.0", "8.0"]
    given = [f"pn={tmp_path / 'pn.fits'}", f"MOS1={tmp_path / 'mos.fits'}"]
    code, out, _ = crosscal("data", "area-draws", *given, *bands, "-o", str(tmp_path / "draws.ecsv"))
    assert code == 0
    assert "draws.ecsv" in out
    draws = read_area_draws(tmp_path / "draws.ecsv")
    assert {name: values.shape for name, values in draws.items()} == {"pn": (60, 2), "MOS1": (60, 2)}
    covariance, shrinkage = covariance_from_draws(result_with({}).data, draws)
    # Both bands share the grey part of 5 %.
    assert np.sqrt(np.diag(covariance)) == pytest.approx(0.05, abs=0.02)
    assert covariance[0, 2] + covariance[0, 1] > 0.5 * 0.05**2
    assert max(shrinkage.values()) < 0.2


@pytest.mark.parametrize(
    ("entry", "band", "sentence"),
    [
        ("pn.fits", ("soft", "0.5", "2"), "expected NAME=FILE"),
        ("pn={}", ("soft", "20", "30"), "no energy of the effective area lies in 20-30 keV"),
        ("pn=absent.fits", ("soft", "0.5", "2"), "absent.fits"),
    ],
)
def test_area_draws_refuse(tmp_path, crosscal, entry, band, sentence):
    ensemble(tmp_path / "pn.fits")
    target = tmp_path / "out" / "draws.ecsv"
    code, _, error = crosscal(
        "data", "area-draws", entry.format(tmp_path / "pn.fits"), "--band", *band, "-o", str(target)
    )
    assert code == 1
    assert sentence in error
    assert not target.parent.exists()


def test_a_concordance_leaves_corrections_against_energy(tmp_path):
    from crosscal.datasets import read_correction

    result = result_with({})
    result.write(tmp_path)
    for instrument in ("pn", "MOS1"):
        found = read_correction(tmp_path / f"correction_{instrument}.nc")
        assert list(found.coordinate) == [1.25, 5.0]
        np.testing.assert_allclose(found.factor, result.correction_for(instrument).factor)
