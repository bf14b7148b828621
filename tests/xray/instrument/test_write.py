import errno
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.correction import Correction
from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.instrument.ensemble import area_draws, read_arf_ensemble, write_arf_ensemble
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import read_arf
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_spectrum import read_spectrum
from crosscal.xray.instrument.ogip_write import history_lines, write_arf, write_rmf, write_spectrum
from crosscal.xray.products import write_corrected


@pytest.fixture
def correction() -> Correction:
    """A correction with posterior draws."""
    rng = np.random.default_rng(7)
    draws = np.exp(rng.normal([0.0, 0.05, 0.1], 0.02, (50, 3)))
    return Correction.from_draws(
        [0.5, 2.0, 6.0], draws, axis="energy", unit="keV", target="effective area of small", provenance={"seed": 1}
    )


def history_of(path, hdu=1):
    return "\n".join(str(card) for card in fits.getheader(path, hdu)["HISTORY"])


def test_response_round_trip_is_exact(small, tmp_path):
    arf = write_arf(tmp_path / "new.arf", small)
    rmf = write_rmf(tmp_path / "new.rmf", small)
    again = read_response(arf, rmf)
    assert_array_equal(again.area, small.area)
    assert_array_equal(again.energy_edges, small.energy_edges)
    assert_array_equal(again.redistribution.toarray(), small.redistribution.toarray())
    assert_array_equal(again.channel_lo, small.channel_lo)
    assert_array_equal(again.channel_hi, small.channel_hi)
    assert again.first_channel == small.first_channel
    assert again.mission == small.mission | {"FILTER": "none"}
    assert again.notes == ()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_rsp_round_trip(small, tmp_path, suffix):
    path = write_rmf(tmp_path / f"new.rsp{suffix}", small, with_area=True)
    photons = np.arange(1.0, 6.0)
    # The matrix is multiplied by the area and divided by its sum again: rounding only.
    assert_allclose(read_response(path).fold(photons), small.fold(photons), rtol=1e-14)


def test_single_precision_halves_the_matrix(tmp_path):
    response = example_telescope("a")
    long, short = write_rmf(tmp_path / "d.rmf", response), write_rmf(tmp_path / "e.rmf", response, single=True)
    assert short.stat().st_size < 0.6 * long.stat().st_size
    # The built-in files hold float32 already.
    assert_array_equal(read_rmf(short).matrix.toarray(), response.redistribution.toarray())


def test_spectrum_round_trip(spectrum, tmp_path):
    again = read_spectrum(write_spectrum(tmp_path / "new.pha", spectrum))
    for name in ("counts", "exposure", "backscale", "areascale", "quality", "grouping", "first_channel"):
        assert_array_equal(getattr(again, name), getattr(spectrum, name))


def test_spectrum_with_errors_and_scale_columns(make, tmp_path):
    from dataclasses import replace

    spectrum = replace(
        read_spectrum(make("pha")), counts=np.array([1.5, 2.0, 3.0, 4.0]), stat_error=np.ones(4),
        sys_error=np.full(4, 0.1), areascale=np.array([1.0, 0.9, 0.8, 0.7]),
        quality=np.zeros(4, dtype=int), grouping=np.zeros(4, dtype=int),
    )  # fmt: skip
    again = read_spectrum(write_spectrum(tmp_path / "new.pha", spectrum))
    for name in ("counts", "stat_error", "sys_error", "areascale", "quality", "grouping"):
        assert_array_equal(getattr(again, name), getattr(spectrum, name))
    assert again.links == spectrum.links


def test_history_of_a_correction(small, correction, tmp_path):
    path = write_arf(tmp_path / "new.arf", small.corrected(correction), history=correction)
    text = history_of(path)
    assert "Written by crosscal" in text
    assert "Correction of effective area of small against energy [keV]" in text
    assert "  2: 1.0" in text
    assert "seed: 1" in text


def test_history_of_other_things(small, correction, tmp_path):
    class Result:
        pass

    result = Result()
    result.correction = correction
    assert history_lines(result) == history_lines(correction)

    class Teller:
        def history(self):
            return ["first", "second"]

    assert history_lines(Teller()) == ["first", "second"]
    assert history_lines(None) == []
    path = write_arf(tmp_path / "new.arf", small, history=("long " * 40).strip() + "\nzweite Zeile: Ångström")
    text = history_of(path)
    assert "zweite Zeile: ?ngstr?m" in text
    assert all(len(str(card)) <= 72 for card in fits.getheader(path, 1)["HISTORY"])
    with pytest.raises(InputError, match="a history of type int; expected text"):
        write_arf(tmp_path / "bad.arf", small, history=3)
    assert not (tmp_path / "bad.arf").exists()


def test_same_content_same_bytes(small, tmp_path):
    first = write_rmf(tmp_path / "a.rmf.gz", small).read_bytes()
    assert write_rmf(tmp_path / "b.rmf.gz", small).read_bytes() == first


def test_inputs_are_not_overwritten(make):
    response = read_response(make("arf"), make("rmf"))
    for writer in (write_arf, write_rmf):
        with pytest.raises(InputError, match="would overwrite an input"):
            writer(response.files["arf"], response)
    spectrum = read_spectrum(make("pha"))
    with pytest.raises(InputError, match="would overwrite an input"):
        write_spectrum(spectrum.files["pha"], spectrum)
    with pytest.raises(InputError, match="would overwrite an input"):
        write_arf_ensemble(response.files["arf"], response, response.area[None, :])


def test_existing_outputs_are_kept_on_request(small, tmp_path):
    path = write_arf(tmp_path / "new.arf", small)
    with pytest.raises(DataFileError, match="already exists"):
        write_arf(path, small, overwrite=False)


def test_a_full_disk_leaves_nothing_behind(small, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DataFileError, match=r"new\.rmf: writing failed \(No space left on device\)"):
        write_rmf(tmp_path / "new.rmf", small)
    assert list(tmp_path.iterdir()) == []


def test_ensemble_in_one_file(small, correction, tmp_path):
    draws = area_draws(small, correction, 20)
    path = write_arf_ensemble(tmp_path / "ensemble.fits", small.corrected(correction), draws, history=correction)
    ensemble = read_arf_ensemble(path)
    # draw = area + (draw - area) in float64.
    assert_allclose(ensemble.draws, draws, rtol=1e-12)
    assert_array_equal(ensemble.arf.area, small.corrected(correction).area)
    # The first table of the file is a plain ARF.
    assert_array_equal(read_arf(path).area, ensemble.arf.area)


def test_ensemble_in_a_directory(small, correction, tmp_path):
    draws = area_draws(small, correction, 3)
    path = write_arf_ensemble(tmp_path / "draws", small, draws)
    assert sorted(p.name for p in path.iterdir()) == ["draw_0001.arf", "draw_0002.arf", "draw_0003.arf", "mean.arf"]
    assert_array_equal(read_arf_ensemble(path).draws, draws)
    assert_array_equal(read_arf_ensemble(path).arf.area, small.area)
    (path / "mean.arf").unlink()
    assert_allclose(read_arf_ensemble(path).arf.area, draws.mean(axis=0))


def test_draws_of_area(small, correction):
    draws = area_draws(small, correction)
    assert draws.shape == (50, 5)
    assert_allclose(draws[3], small.area * np.exp(np.interp(small.energy, [0.5, 2, 6], np.log(correction.draws[3]))))
    with pytest.raises(InputError, match="51 draws are asked for; expected 1 to 50"):
        area_draws(small, correction, 51)
    normal = Correction(correction.coordinate, correction.factor, correction.covariance, "energy", "keV")
    assert area_draws(small, normal).shape == (100, 5)
    with pytest.raises(InputError, match="0 draws are asked for; expected at least 1"):
        area_draws(small, normal, 0)
    many = np.log(area_draws(small, normal, 20000, seed=2) / small.area)
    expected = normal.at(small.energy)
    # 20000 draws: the mean of ln factor is known to sd/141, its sd to 0.5 %; five times that.
    assert_allclose(many.mean(axis=0), np.log(expected.factor), atol=5 * expected.sd.max() / 141)
    assert_allclose(many.std(axis=0), expected.sd, rtol=0.025)
    assert_array_equal(area_draws(small, normal, 5, seed=3), area_draws(small, normal, 5, seed=3))


def test_bad_draws(small, tmp_path):
    with pytest.raises(InputError, match=r"draws of shape \(2, 4\); expected \(n_draws, 5\)"):
        write_arf_ensemble(tmp_path / "x.fits", small, np.ones((2, 4)))
    with pytest.raises(InputError, match="a drawn area is negative or not finite"):
        write_arf_ensemble(tmp_path / "x.fits", small, -np.ones((2, 5)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="Debian's fitsverify is not installed")
def test_fitsverify_accepts_all_outputs(small, spectrum, correction, tmp_path):
    write_arf(tmp_path / "a.arf", small, history=correction)
    write_rmf(tmp_path / "a.rmf", small)
    write_rmf(tmp_path / "a.rsp", small, with_area=True)
    write_rmf(tmp_path / "b.rmf", example_telescope("b"), single=True)
    write_spectrum(tmp_path / "a.pha", spectrum)
    write_arf_ensemble(tmp_path / "a.fits", small, area_draws(small, correction))
    for path in tmp_path.iterdir():
        done = subprocess.run(["fitsverify", "-q", str(path)], capture_output=True, text=True, check=False)
        assert "verification OK" in done.stdout, done.stdout


def test_a_corrected_arf_keeps_the_header_of_its_original(make, tmp_path):
    """All cards but those of the layout, their comments, and HISTORY before ours."""
    source = make("arf")
    with fits.open(source, mode="update") as hdus:
        header = hdus["SPECRESP"].header
        header["OBS_ID"] = ("9774", "observation")
        header["TLMIN1"] = 0.1
        header["HIERARCH LONG KEYWORD"] = 3.5
        header.add_history("made by mkarf")
        header.add_comment("a comment")
        hdus[0].header["ORIGIN"] = ("ASC", "of the file")
        hdus[0].header.add_history("first HDU")
    response = read_response(source, make("rmf"))
    for target in (
        write_arf(tmp_path / "new.arf", response.with_area(2 * response.area), history="corrected"),
        write_arf_ensemble(tmp_path / "draws.arf", response, np.stack([response.area] * 2), history="corrected"),
    ):
        with fits.open(target) as hdus, fits.open(source) as original:
            for name in ("PRIMARY", "SPECRESP"):
                new, old = hdus[name].header, original[name].header
                for card in old.cards:
                    if card.keyword not in LAYOUT and not card.keyword.startswith(("TTYPE", "TFORM", "TUNIT")):
                        assert card.keyword in new
                        if card.keyword not in ("HISTORY", "COMMENT"):
                            assert (new[card.keyword], new.comments[card.keyword]) == (card.value, card.comment)
            history = list(hdus["SPECRESP"].header["HISTORY"])
            assert history[0] == "made by mkarf"
            assert history[-1] == "corrected"
            assert "a comment" in list(hdus["SPECRESP"].header["COMMENT"])
            assert list(hdus[0].header["HISTORY"]) == ["first HDU"]
    again = read_response(tmp_path / "new.arf", make("rmf"))
    assert_array_equal(again.area, 2 * response.area)
    # Written, read and written again, the file stays the same but for one more line of history.
    assert again.headers["PRIMARY"] == response.headers["PRIMARY"]


LAYOUT = (
    "XTENSION",
    "SIMPLE",
    "EXTEND",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "PCOUNT",
    "GCOUNT",
    "TFIELDS",
    "EXTNAME",
)


def test_a_corrected_rsp_keeps_its_header_and_its_arf_has_a_matrix_of_its_own(make, tmp_path):
    """An ARF beside the original RSP would count the area twice: the matrix without area is written too."""
    from types import SimpleNamespace

    from .missions import with_area

    original = make("rmf", with_area, "gbm.rsp")
    with fits.open(original, mode="update") as hdus:
        hdus["SPECRESP MATRIX"].header["OBSERVER"] = ("someone", "who observed")
        hdus["SPECRESP MATRIX"].header.add_history("made by gbmrsp 1.9")
        hdus[0].header["CREATOR"] = "gbmrsp"
        hdus["SPECRESP MATRIX"].header["NUMGRP"] = 999
    response = read_response(original, name="n3")
    assert response.files == {"rsp": str(original)}
    energy = np.array([0.5, 6.0])
    correction = Correction.from_draws(energy, np.full((50, 2), 1.2), axis="energy", unit="keV", target="area of n3")
    result = SimpleNamespace(correction=correction, theta=np.zeros((50, 1)))
    write_corrected(result, response, tmp_path, 5)
    whole = read_response(tmp_path / "n3_corrected.rsp")
    parts = read_response(tmp_path / "n3_corrected.arf", tmp_path / "n3.rmf")
    photons = np.linspace(1.0, 2.0, response.n_energy)
    for made in (whole, parts):
        np.testing.assert_allclose(made.fold(photons), 1.2 * response.fold(photons), rtol=1e-12)
    header = fits.getheader(tmp_path / "n3_corrected.rsp", 1)
    assert (header["OBSERVER"], header.comments["OBSERVER"]) == ("someone", "who observed")
    assert header["HISTORY"][0] == "made by gbmrsp 1.9"
    assert any("Correction of area of n3" in line for line in header["HISTORY"])
    assert header["NUMGRP"] < 999
    assert fits.getheader(tmp_path / "n3_corrected.rsp")["CREATOR"] == "gbmrsp"
    assert fits.getheader(tmp_path / "n3_corrected.arf", 1)["RESPFILE"] == "n3.rmf"
    assert fits.getheader(tmp_path / "n3_ensemble.arf", 1)["RESPFILE"] == "n3.rmf"
    assert fits.getheader(tmp_path / "n3_corrected.arf")["CREATOR"] == "gbmrsp"
