"""``job = "xray-fit"``: what it takes from the header of the spectrum, and what the job says instead."""

import dataclasses
import shutil
import tomllib

import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.datasets import builtin_directory
from crosscal.jobs.options import input_paths, toml_text, validate
from crosscal.jobs.stages import Stages
from crosscal.xray import Model, Spectrum, example_telescope, fakeit, write_spectrum
from crosscal.xray.jobs.fit import FitJob, run, with_fluxes


def test_a_fit_follows_the_header_of_its_spectrum(tmp_path):
    """RESPFILE, ANCRFILE and BACKFILE need not be repeated; "none" leaves out the background; others replace it."""
    response = example_telescope("a")
    for suffix in (".arf", ".rmf.gz"):
        shutil.copy(builtin_directory() / "xray" / f"example_a{suffix}", tmp_path)
    sky = Spectrum(np.full(response.n_channel, 3.0), 1e5, backscale=10.0, first_channel=response.first_channel)
    model = Model("powerlaw", PhoIndex=1.7, norm=1e-3)
    source = fakeit(response, model, counts=3000, band=(0.7, 7.0), seed=4, background=sky)
    write_spectrum(tmp_path / "sky.pha", source.background)
    links = {"rmf": "example_a.rmf", "arf": "example_a.arf", "background": "sky.pha"}
    write_spectrum(tmp_path / "s.pha", dataclasses.replace(source, links=links))

    def fitted(**spectrum):
        content = {
            "job": "xray-fit",
            "output": "out",
            "model": {"expression": "powerlaw", "free": ["PhoIndex", "norm"]},
            "spectrum": {"pha": "s.pha", **spectrum},
        }
        directory = tmp_path / "out"
        directory.mkdir(exist_ok=True)
        return run(validate(FitJob, content, source=str(tmp_path / "job.toml")), Stages(directory))

    followed, named, without = fitted(), fitted(background="sky.pha"), fitted(background="none")
    assert followed.statistic_name == "wstat"
    assert dict(followed.values) == dict(named.values)
    assert without.statistic_name == "cstat"
    for role, key in (("rmf", "RESPFILE"), ("arf", "ANCRFILE"), ("background", "BACKFILE")):
        assert sum(f"the {role} is" in w and f"which {key} names" in w for w in followed.warnings) == 1
    assert any("sky.pha that BACKFILE names is not used, as requested" in w for w in without.warnings)
    (tmp_path / "sky.pha").rename(tmp_path / "moved.pha")
    with pytest.raises(InputError, match=r"BACKFILE names 'sky\.pha', which is not there"):
        fitted()
    assert fitted(background="moved.pha").values == named.values


def test_words_in_place_of_paths_and_ranges_survive_a_round_trip(tmp_path):
    (tmp_path / "s.pha").touch()
    spectrum = {"pha": "s.pha", "background": "none", "ignored": "**-0.5 7.0-**", "row": 2, "exposure": 10.0}
    content = {"job": "xray-fit", "output": "out", "model": {"expression": "powerlaw"}, "spectrum": spectrum}
    job = validate(FitJob, content, source=str(tmp_path / "job.toml"))
    assert str(job.spectrum.background) == "none"
    assert input_paths(job) == {"spectrum.pha": tmp_path / "s.pha"}
    assert validate(FitJob, tomllib.loads(toml_text(job))) == job


def test_ignore_in_xspec_s_words_replaces_the_band(tmp_path):
    response = example_telescope("a")
    spectrum = fakeit(response, Model("powerlaw", PhoIndex=1.7, norm=1e-3), counts=3000, band=(0.7, 7.0), seed=4)
    write_spectrum(tmp_path / "s.pha", spectrum)
    files = {"arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"}

    def fitted(telescope, **more):
        model = {"expression": "powerlaw", "free": ["PhoIndex", "norm"]}
        content = {"job": "xray-fit", "output": "out", "model": model, "spectrum": {"pha": "s.pha", **more}}
        job = validate(FitJob, {**content, "telescope": {**files, **telescope}}, source=str(tmp_path / "job.toml"))
        return run(job, Stages(tmp_path))

    kept, ignored = fitted({"band": [0.7, 7.0]}), fitted({}, ignored="**-0.71 6.99-**")
    assert len(fitted({}).counts) == len(kept.counts)
    inside = (response.channel_lo > 0.71) & (response.channel_hi < 6.99)
    assert len(ignored.counts) == inside.sum() <= len(kept.counts) - 1
    with pytest.raises(InputError, match="'7:9' cannot be read"):
        fitted({}, ignored="7:9")


def test_fluxes_and_luminosities_of_bands_are_those_of_the_result(tmp_path):
    """The job's keys give what FitResult.flux and .luminosity give, at the probability of the job's intervals."""
    response = example_telescope("a")
    model = Model("TBabs*apec", nH=0.1, kT=5.0, Abundanc=0.3, Redshift=0.05)
    write_spectrum(tmp_path / "s.pha", fakeit(response, model, counts=5000, band=(0.7, 7.0), seed=4))
    content = {
        "job": "xray-fit",
        "output": "out",
        "delta": 2.706,
        "flux_bands": [[0.5, 2.0], [2.0, 10.0]],
        "luminosity_bands": [[0.5, 2.0]],
        "telescope": {"arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
        "model": {"nH": 0.1, "Abundanc": 0.3, "Redshift": 0.05, "free": ["kT", "norm"]},
        "spectrum": {"pha": "s.pha"},
    }

    def fitted(**more):
        return run(validate(FitJob, {**content, **more}, source=str(tmp_path / "job.toml")), Stages(tmp_path))

    found = fitted()
    direct = [found.flux(b, absorbed=a, level=0.9) for b in ((0.5, 2.0), (2.0, 10.0)) for a in (True, False)]
    direct.append(found.luminosity((0.5, 2.0), level=0.9))
    assert [v.named for v in found.fluxes][:2] == ["flux 0.5-2 keV", "unabsorbed flux 0.5-2 keV"]
    for value, own in zip(found.fluxes, direct, strict=True):
        assert value.named == own.named
        # 2.706 is 90 % to three digits.
        np.testing.assert_allclose([value.value, value.low, value.high], [own.value, own.low, own.high], rtol=1e-4)
        assert own.low < own.value < own.high
    table = found.summary()
    row = table[[str(name) == "unabsorbed luminosity 0.5-2 keV" for name in table["parameter"]]][0]
    assert row["value"] == found.fluxes[-1].value
    assert (row["low"], row["high"], row["unit"]) == (found.fluxes[-1].low, found.fluxes[-1].high, "erg / s")
    assert "flux 2-10 keV = " in found.answer
    (told,) = [w for w in found.warnings if "extrapolated" in w]
    listed = "flux 0.5-2 keV, unabsorbed flux 0.5-2 keV, flux 2-10 keV, unabsorbed flux 2-10 keV, unabsorbed luminosity"
    assert told.startswith(f"{listed} 0.5-2 keV: extrapolated beyond the fitted band of 0.7 to 7 keV")
    assert not any("extrapolated" in w for w in fitted(flux_bands=[[1.0, 5.0]], luminosity_bands=[]).warnings)
    other = fitted(cosmology="WMAP9", flux_bands=[])
    assert [v.what for v in other.fluxes] == ["unabsorbed luminosity"]
    assert abs(other.fluxes[0].value / found.fluxes[-1].value - 1) > 1e-3
    with pytest.raises(InputError, match="cosmology"):
        fitted(cosmology="mine")
    none = with_fluxes(
        validate(FitJob, content, source=str(tmp_path / "job.toml")),
        dataclasses.replace(found, covariance=np.full((2, 2), np.nan), fluxes=()),
    )
    assert none.fluxes == ()
    assert any("no fluxes or luminosities are calculated" in text for text in none.warnings)
