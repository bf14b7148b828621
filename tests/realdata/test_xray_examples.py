"""The X-ray examples on real responses, as a user runs them; the long one is shortened (its full size is slow)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crosscal.jobs.parts import load_job
from crosscal.jobs.stages import Stages

pytestmark = pytest.mark.realdata
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, output: Path, **sampling):
    """Run an example into ``output``, with other numbers of draws where some are given."""
    part, job = load_job(str(EXAMPLES / name))
    if sampling:
        job = replace(job, inference=replace(job.inference, **sampling))
    return part.run(replace(job, output=output), Stages(output))


@pytest.fixture(scope="module")
def pair(data_dir, tmp_path_factory):
    return run("acis_pair.toml", tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def spectra(data_dir, tmp_path_factory):
    # A sixth of the example's draws: some 200 effective ones, whose quantiles are good to a tenth of the sd.
    return run("acis_spectra.toml", tmp_path_factory.mktemp("spectra"), draws=400, warmup=250, chains=2)


def in_band(outcome):
    energy = outcome.correction.coordinate
    return (energy >= outcome.band[0]) & (energy <= outcome.band[1])


@pytest.mark.parametrize("route", ["pair", "spectra"])
def test_the_injected_error_lies_in_the_bands(route, request):
    outcome = request.getfixturevalue(route)
    # Energies are correlated, so one realisation may miss 68 % by much, but hardly leaves the 95 % band.
    assert outcome.coverage(0.95) >= 0.85
    assert outcome.coverage(0.68) >= 0.35


@pytest.mark.parametrize("route", ["pair", "spectra"])
def test_the_corrected_arf_removes_the_bias(route, request):
    outcome = request.getfixturevalue(route)
    for pairs, biased in ((outcome.fitted, True), (outcome.refitted, False)):
        ratio = np.log(pairs.values[1, :, 0] / pairs.values[0, :, 0])
        sd = np.hypot(*(pairs.sd[k, :, 0] / pairs.values[k, :, 0] for k in (0, 1)))
        mean, error = np.average(ratio, weights=sd**-2), np.sum(sd**-2) ** -0.5
        assert (abs(mean) > 8 * error) == biased
        if not biased:
            assert abs(mean) < 3 * error


def test_the_two_routes_agree(pair, spectra):
    """Both see the same clusters; the pair route is wider, so its own error is the scale of the difference."""
    keep = in_band(pair)
    energy = pair.correction.coordinate[keep]
    narrow = np.log(spectra.correction.at(energy).draws)
    wide = np.log(pair.correction.at(energy).draws)
    low, high = np.quantile(wide, [0.025, 0.975], axis=0)
    middle = np.median(narrow, axis=0)
    assert np.mean((middle >= low) & (middle <= high)) > 0.9
    assert narrow.std(axis=0).mean() < wide.std(axis=0).mean()


def test_the_posterior_of_pairs_converged(pair):
    assert pair.diagnostics.converged


@pytest.mark.slow
def test_the_example_on_spectra_converges_as_shipped(data_dir, tmp_path):
    spectra = run("acis_spectra.toml", tmp_path)
    assert spectra.diagnostics.converged
    # The two files of pn begin at different energies, which is told; nothing else is.
    assert [w for w in spectra.warnings if "the first bin starts at" not in w] == []


def test_corrected_arfs_read_back(pair, tmp_path):
    from crosscal.xray import read_arf, read_arf_ensemble

    replace(pair, ensemble=7).write(tmp_path)
    arf = read_arf(tmp_path / "acis_corrected.arf")
    factor = pair.correction.at(pair.response.energy).factor
    # OGIP areas are stored in single precision.
    np.testing.assert_allclose(arf.area, pair.response.area * factor, rtol=1e-6)
    assert len(read_arf_ensemble(tmp_path / "acis_ensemble.arf").draws) == 7


def test_asca_a2029(data_dir, tmp_path):
    outcome = run("asca_a2029.toml", tmp_path)
    low, high = outcome.intervals["kT"]
    # XSPEC and Sherpa find 8.06 +- 0.16 keV for this spectrum and model; agreement to a tenth of the error.
    assert abs(outcome.values["kT"] - 8.06) < 0.02
    assert abs((high - low) / 2 - 0.16) < 0.02
