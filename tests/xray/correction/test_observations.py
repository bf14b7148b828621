"""Tables of spectra against the model itself, whatever is known of a source; who is trusted, and who is left out."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import FitError, InputError
from crosscal.xray import modifiers
from crosscal.xray.correction.bias import fitted_bias
from crosscal.xray.correction.infer_spectra import infer_spectra
from crosscal.xray.correction.observations import Observation, prepare
from crosscal.xray.correction.observations_io import read_observations
from crosscal.xray.correction.spectra import SpectraModel
from crosscal.xray.correction.table_check import SAID, _differences

pytestmark = pytest.mark.thorough

BAND = (0.7, 7.0)
FREE = ("kT", "norm", "Abundanc")


def pairs(counts, kTs=(1.5, 3.0, 6.0, 9.0), *, free=FREE, expression="TBabs*apec", others=2e4, seed=0, **values):
    """Spectra of one source a temperature: ``counts`` in telescope A, ``others`` in B."""
    given = {"nH": 0.05, "Redshift": 0.05, "Abundanc": 0.3, **values} if "apec" in expression else values
    model = xray.Model(expression, free=free, **given)
    found = []
    for i, kT in enumerate(kTs):
        truth = model.replace(**({"kT": kT} if "apec" in expression else {}))
        for name, n in (("A", counts), ("B", others)):
            telescope = xray.example_telescope(name.lower())
            spectrum = xray.fakeit(telescope, truth, counts=n, band=BAND, seed=seed + 10 * i + (name == "B"))
            found.append(Observation(f"s{i}", name, spectrum, telescope, model, BAND))
    return found


def largest_difference(data, modifier, params, rng, reach=3.0):
    """Between tables and model, at places within ``reach`` sigma of the trusted fit, in sigma of a spectrum."""
    model = SpectraModel(data, modifier, "sampled", None, 0.1)
    worst = 0.0
    for _ in range(5):
        v = np.clip(rng.normal(size=data.pilot.centre.shape), -reach, reach)
        v = np.clip(v, data.pilot.low, data.pilot.high)
        for block, mean in zip(data.blocks, model.expected(params, v), strict=True):
            worst = max(worst, *_differences(model, block, params, v, np.asarray(mean)))
    return worst


@pytest.mark.thorough
@pytest.mark.parametrize("counts", [pytest.param(200, marks=pytest.mark.slow), 1000, 20000])
def test_tables_are_the_model_however_poor_the_trusted_spectrum(counts, rng):
    data = prepare(pairs(counts), "A", most_left_out=0.6)
    assert len(data.sources) >= 3
    # A tenth of a sigma in 400 spectra would be two in what they share. A larger difference than SAID is told.
    most = SAID if counts == 200 else 0.05
    assert largest_difference(data, modifiers.Grey(), {"scale": 1.03}, rng) < most


@pytest.mark.thorough
@pytest.mark.parametrize("free", [("kT", "norm", "nH"), ("kT", "norm", "Abundanc", "nH")])
def test_tables_of_parameters_that_the_model_does_not_tabulate(free, rng):
    data = prepare(pairs(2000, (3.0, 6.0), free=free), "A")
    assert largest_difference(data, xray.Gaussian(), {"A": 0.1, "mu": 1.8, "sigma": 1.0}, rng) < 0.05


@pytest.mark.thorough
def test_tables_of_a_power_law(rng):
    data = prepare(pairs(500, (1.0, 2.0), free=("PhoIndex", "norm", "nH"), expression="TBabs*powerlaw", nH=0.3), "A")
    assert largest_difference(data, modifiers.Grey(), {"scale": 1.03}, rng) < 0.05


@pytest.mark.thorough
def test_each_observation_has_its_own_response(rng):
    """Other areas, other matrices, an AREASCAL a channel: spectra of one telescope stay in one block."""
    observations = pairs(3000)
    changed = []
    for k, o in enumerate(observations):
        area = o.response.area * (1 + 0.1 * k * np.exp(-((o.response.energy - 2.0) ** 2)))
        matrix = o.response.redistribution * (1 - 0.05 * k / len(observations))
        response = replace(o.response, area=area, redistribution=matrix)
        scale = np.linspace(0.8, 1.0, response.n_channel) if k in (2, 3) else 1.0
        changed.append(replace(o, response=response, spectrum=replace(o.spectrum, areascale=scale)))
    data = prepare(changed, "A")
    assert len(data.blocks) == 2
    assert all(b.fold.ndim == 3 for b in data.blocks)
    bump = {"A": 0.1, "mu": 1.8, "sigma": 1.0}
    for family, params in ((xray.Gaussian(), bump), (modifiers.Grey(), {"scale": 1.1})):
        assert largest_difference(data, family, params, rng) < 0.05
    o, block = changed[2], data.blocks[0]
    j = [m.source for m in block.members].index(o.source)
    photons = o.model.spectrum(o.response.energy_edges, norm=1e-3)
    direct = (o.response.fold(photons) * o.spectrum.areascale)[o.mask].sum()
    inside = o.response.energy_slice(o.mask)
    assert (block.fold[j] @ photons[inside]).sum() == pytest.approx(direct, rel=1e-12)


def test_three_telescopes():
    observations = pairs(3000, (3.0, 6.0))
    third = [replace(o, telescope="C") for o in observations if o.telescope == "B"]
    data = prepare([*observations, *third], "A", "B")
    assert data.telescopes == ("A", "B")
    assert "Spectra of C are not used" in data.notes[0]
    both = prepare([*observations, *third], ("A", "C"), "B")
    assert both.telescopes == ("A + C", "B")
    assert sorted(m.telescope for b in both.blocks if not b.corrected for m in b.members) == ["A", "A", "C", "C"]
    alone = prepare([*observations, replace(observations[0], source="only A")], "A")
    assert alone.sources == ("s0", "s1")
    assert "only one telescope observed them: only A" in alone.notes[0]


def test_sources_that_cannot_be_fitted_are_left_out_with_a_word():
    observations = pairs(5000, (2.0, 3.0, 4.0, 5.0, 6.0))
    empty = replace(observations[2].spectrum, counts=np.zeros(observations[2].spectrum.n_channel))
    broken = [*observations[:2], replace(observations[2], spectrum=empty), *observations[3:]]
    data = prepare(broken, "A")
    assert data.sources == ("s0", "s2", "s3", "s4")
    assert data.notes == (
        "1 of 5 sources are excluded: their reference spectrum cannot be used (s1: no usable counts).",
    )
    with pytest.raises(FitError, match=r"1 of 5 sources cannot be used .* most_left_out"):
        prepare(broken, "A", most_left_out=0.1)


def test_a_temperature_on_its_limit_is_left_out_and_an_abundance_of_zero_is_not():
    hot = [replace(o, model=o.model.replace(kT=4.0)) for o in pairs(3000, (4.0, 5.0, 6.0, 7.0, 8.0))]
    # Flatter than any plasma, in telescope A.
    flat = xray.Model("TBabs*powerlaw", nH=0.05, PhoIndex=0.3)
    a = xray.example_telescope("a")
    hot[0] = replace(hot[0], spectrum=xray.fakeit(a, flat, counts=3e3, band=BAND, seed=3))
    no_metals = hot[2].model.replace(kT=5.0, Abundanc=0.0)
    hot[2] = replace(hot[2], spectrum=xray.fakeit(a, no_metals, counts=2e3, band=BAND, seed=5))
    data = prepare(hot, "A")
    assert data.sources == ("s1", "s2", "s3", "s4")
    assert "s0: kT reached a limit" in data.notes[0]


def test_bias_with_a_parameter_that_the_model_does_not_tabulate():
    """Against direct fits of the model, without tables."""
    telescope = xray.example_telescope("b")
    model = xray.Model("TBabs*apec", nH=0.05, Redshift=0.05, Abundanc=0.3, free=("kT", "norm", "nH"))
    theta = {"A": 0.1, "mu": 1.8, "sigma": 1.0}
    ratio = fitted_bias(telescope, model, lambda e: xray.Gaussian().factor(e, theta), [3.0, 8.0], BAND).ratio[0]
    for kT, found in zip((3.0, 8.0), ratio, strict=True):
        true = telescope.with_area(telescope.area * xray.Gaussian().factor(telescope.energy, theta))
        spectrum = xray.fakeit(true, model, counts=1e5, band=BAND, noise="asimov", kT=kT)
        direct = xray.fit(spectrum, telescope, model, band=BAND)
        assert found == pytest.approx(direct.values["kT"] / kT, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("free", [("kT", "norm", "nH"), ("PhoIndex", "norm", "nH")])
def test_everything_is_answered_with_parameters_that_the_model_does_not_tabulate(free, tmp_path):
    expression = "TBabs*apec" if "kT" in free else "TBabs*powerlaw"
    observations = pairs(2e4, (4.0, 5.0, 6.0), free=free, expression=expression)
    result = infer_spectra(observations, modifiers.Grey(), trusted="A", tau=0.1, draws=60, warmup=60, chains=2)
    assert "should be multiplied by" in result.answer
    assert abs(result.posterior_draws.mean("scale") - 1) < 0.03
    assert (result.biases is None) == ("kT" not in free)
    assert {"area", "spectra"} <= set(result.figures())
    result.write(tmp_path)
    assert (tmp_path / "correction.ecsv").exists()
    assert result.diagnostics.figures["largest difference between tabulated and direct spectra (sigma)"] < 0.05


def test_bands_of_telescopes_and_rows(tmp_path):
    a = xray.example_telescope("a")
    spectrum = xray.fakeit(a, xray.Model("powerlaw"), counts=1e4, seed=1)
    xray.write_spectrum(tmp_path / "s.pha", spectrum)
    from crosscal.datasets import resolve

    arf, rmf = resolve("data:xray/example_a.arf"), resolve("data:xray/example_a.rmf.gz")
    table = tmp_path / "t.csv"
    table.write_text(
        "source,telescope,pha,arf,rmf,band_low,band_high\n"
        f"s,A,s.pha,{arf},{rmf},,\ns,B,s.pha,{arf},{rmf},,\nr,B,s.pha,{arf},{rmf},2,5\nq,C,s.pha,{arf},{rmf},,5\n"
    )
    model = xray.Model("TBabs*powerlaw")
    found = read_observations(table, model, bands={"A": (0.5, 6.0), "B": (1.0, 4.0)})
    assert [o.band for o in found] == [(0.5, 6.0), (1.0, 4.0), (2.0, 5.0), (0.7, 5.0)]
    table.write_text(f"source,telescope,pha,arf,rmf,band_low,band_high\ns,A,s.pha,{arf},{rmf},5,2\n")
    with pytest.raises(InputError, match=r"row 1: band: a band of 5 to 2 keV"):
        read_observations(table, model)
    table.write_text(f"source,telescope,pha,arf,rmf,band_low\ns,A,s.pha,{arf},{rmf},x\n")
    with pytest.raises(InputError, match=r"t\.csv, row 1: a band is not a number \(.*'x'\)") as error:
        read_observations(table, model)
    assert str(error.value).count("row 1") == 1


def test_errors_that_are_not_those_of_counting(rng):
    """Net counts are refused, as the likelihood is Poisson; other errors are told once for all spectra."""
    found = pairs(2000, (3.0, 6.0))
    errors = 3 * np.sqrt(found[0].spectrum.counts + 1)
    wide = [replace(o, spectrum=replace(o.spectrum, stat_error=3 * np.sqrt(o.spectrum.counts + 1))) for o in found]
    notes = [n for n in prepare(wide, "A").notes if "not those of Poisson counts" in n]
    assert len(notes) >= 1
    net = replace(found[0].spectrum, counts=found[0].spectrum.counts - 1, stat_error=errors)
    with pytest.raises(InputError, match="negative counts; expected counts with their background, not net counts"):
        prepare([replace(found[0], spectrum=net), *found[1:]], "A")
