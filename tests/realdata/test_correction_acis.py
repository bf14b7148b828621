"""The whole job on real ACIS-I responses: both routes find a planted error, the corrected ARF removes the bias."""

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.grid import Axis
from crosscal.xray.correction.clusters import draw_temperatures, simulate_clusters

PLANTED = {"A": 0.1, "mu": 1.7, "sigma": 0.9}

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def clusters(request):
    data = request.getfixturevalue("data_dir") / "xray"
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=("kT", "norm", "Abundanc"))
    trusted, other = (
        xray.read_response(data / f"acisi_aimpt_{c}.arf", data / f"acisi_aimpt_{c}.rmf.gz") for c in ("cy0", "cy18")
    )
    kT = draw_temperatures(30, 2.0, 11.0, 3)
    return simulate_clusters(trusted, other, model, xray.Gaussian(), PLANTED, kT, counts=5e4, seed=5)


def log_ratio(pairs):
    """Weighted mean of ln(T_1 / T_0) and its error."""
    ratio = np.log(pairs.values[1, :, 0] / pairs.values[0, :, 0])
    weight = 1 / ((pairs.sd[:, :, 0] / pairs.values[:, :, 0]) ** 2).sum(axis=0)
    return np.sum(weight * ratio) / weight.sum(), weight.sum() ** -0.5


def test_both_routes_find_the_planted_error(clusters, tmp_path):
    other = clusters.responses[1]
    design = xray.Gaussian.grid(
        A=(-0.2, 0.2, 7), mu=Axis("mu", np.geomspace(0.7, 7, 15), "keV", "log"), sigma=(0.4, 2.0, 6)
    )
    library = xray.build_library(
        other, clusters.model, design, kT=np.geomspace(1, 16, 20), counts=5e4, band=(0.7, 7.0), noise="asimov"
    )
    emulator = xray.train(library, "spline")
    pairs = clusters.pairs()
    mean, error = log_ratio(pairs)
    assert abs(mean) > 5 * error
    by_pairs = xray.infer(pairs, emulator, tau=0.1, sampler="importance", seed=1)
    observations = xray.observations_of(clusters)
    family = xray.Spline(knots=8, low=0.7, high=7.0)
    by_spectra = xray.infer_spectra(
        observations, family, trusted=observations[0].telescope, tau=0.1, seed=1, draws=400, chains=2
    )
    energy = np.geomspace(0.8, 6.0, 30)
    planted = clusters.planted(energy)
    for result in (by_pairs, by_spectra):
        low, high = result.correction.at(energy).interval(0.95)
        # Energies are correlated: a 95 % band holds all or most of a smooth curve.
        assert np.mean((planted >= low - 1e-3) & (planted <= high + 1e-3)) > 0.8
        assert result.diagnostics.p_value > 0.001
        after, after_error = log_ratio(clusters.pairs(response=other.corrected(result.correction)))
        assert abs(after) < 4 * after_error
    a, b = (r.correction.at(energy) for r in (by_pairs, by_spectra))
    assert np.all(np.abs(np.log(a.factor) - np.log(b.factor)) < 4 * np.hypot(a.sd, b.sd) + 0.005)
    by_spectra.write(tmp_path, response=other, draws=20)
    arf = xray.read_arf(tmp_path / f"{other.name}_corrected.arf")
    np.testing.assert_allclose(arf.area, other.corrected(by_spectra.correction).area, rtol=1e-12)
    ensemble = xray.read_arf_ensemble(tmp_path / f"{other.name}_ensemble.arf")
    assert ensemble.draws.shape[0] == 20
    for name in ("posterior.nc", "summary.ecsv", "correction.ecsv", "bias.ecsv", "diagnostics.txt", "provenance.json"):
        assert (tmp_path / name).stat().st_size > 100
    assert set(by_spectra.figures()) == {"area", "bias", "spectra", "corner", "modes"}
    assert set(by_pairs.figures()) == {"area", "bias", "pairs", "corner", "modes"}
