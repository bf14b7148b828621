"""Spectra to pairs: the fits are those of the public function, troubles are counted, a store is gone on with."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal import xray
from crosscal.core.errors import FitError, InputError
from crosscal.xray.correction.fit_pairs import FitTask, _described, fit_spectra, pairs_of
from crosscal.xray.correction.observations import Observation
from crosscal.xray.fitting.engine import Status

BAND = (0.7, 7.0)


@pytest.fixture(scope="module")
def observations():
    """Three sources in two telescopes; the third was seen by one, the second twice by the other."""
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    found = []
    for k, (name, kT, z, telescopes) in enumerate(
        (("A1", 3.0, 0.05, "ab"), ("A2", 6.0, 0.1, "abb"), ("A3", 5.0, 0.2, "a"))
    ):
        model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=z)
        for j, t in enumerate(telescopes):
            response = a if t == "a" else b
            seed = 10 * k + j
            spectrum = xray.fakeit(response, model.replace(kT=kT), counts=2e4, band=BAND, seed=seed)
            found.append(Observation(name, t, spectrum, response, model, BAND))
    return found


@pytest.fixture(scope="module")
def fitted(observations):
    return fit_spectra(observations)


@pytest.mark.thorough
def test_each_fit_is_that_of_the_public_function(observations, fitted):
    o = observations[3]
    direct = xray.fit(o.spectrum, o.response, o.model, band=o.band)
    for p, name in enumerate(fitted.names):
        assert fitted.value[3, p] == direct.values[name]
        assert fitted.covariance[3, p, p] == pytest.approx(direct.errors[name] ** 2)
    table = fitted.table()
    assert len(table) == 6
    assert set(table["status"]) == {"OK"}
    assert str(table["kT"].unit) == "keV"
    assert table["dof"][0] > 100


def test_pairs_hold_what_both_telescopes_measured(fitted):
    pairs = pairs_of(fitted, "a", "b")
    assert pairs.names == ("A1", "A2")
    assert pairs.telescopes == ("a", "b")
    np.testing.assert_array_equal(pairs.constants["Redshift"], [0.05, 0.1])
    np.testing.assert_array_equal(pairs.constants["nH"], [0.05, 0.05])
    assert pairs.notes == ("source 'A3' is left out: no spectrum of b",)
    assert [r.name for r in pairs.responses["b"]] == ["example_b", "example_b"]
    kT = fitted.value[3:5, 0]
    weight = 1 / fitted.covariance[3:5, 0, 0]
    # With norms nearly uncorrelated with temperatures, the joint mean is close to that of temperatures alone.
    assert pairs.values[1, 1, 0] == pytest.approx(np.average(kT, weights=weight), rel=2e-3)
    assert pairs.covariance[1, 1, 0, 0] < fitted.covariance[3:5, 0, 0].min()
    assert np.all(np.abs(pairs.values[:, :, 0] / [3.0, 6.0] - 1) < 0.1)


def test_of_several_responses_of_a_source_one_is_taken_and_told(observations, fitted):
    last = replace(observations[4], response=replace(observations[4].response, name="later"))
    several = replace(fitted, observations=(*observations[:4], last, *observations[5:]))
    pairs = pairs_of(several, "a", "b")
    counts = fitted.counts[3:5]
    assert pairs.responses["b"][1].name == ("later" if counts[1] > counts[0] else "example_b")
    assert "source 'A2': exact fits use the response of its spectrum with most counts in b" in pairs.notes


def test_pairs_keep_absorption_and_redshift_in_their_file(fitted, tmp_path):
    pairs = pairs_of(fitted, "a", "b")
    again = xray.read_pairs(xray.write_pairs(tmp_path / "p.ecsv", pairs))
    np.testing.assert_array_equal(again.constants["Redshift"], pairs.constants["Redshift"])


def test_fits_that_say_nothing_are_left_out_with_a_word(fitted):
    status, covariance = fitted.status.copy(), fitted.covariance.copy()
    status[0] = Status.BAD_DATA.value
    covariance[2, 0, 0] = 20.0
    bad = replace(fitted, status=status, covariance=covariance, pvalue=np.full(6, 1e-5))
    with pytest.raises(FitError, match="no source has good fits with both telescopes"):
        pairs_of(bad, "a", "b")
    assert bad.trouble[0] == "the fit ended with BAD_DATA"
    assert "is not constrained" in bad.trouble[2]
    covariance[5] = 0.0
    assert "at its limit" in replace(bad, covariance=covariance).trouble[5]
    covariance = fitted.covariance.copy()
    covariance[2, 0, 0] = 20.0
    pairs = pairs_of(replace(fitted, covariance=covariance, pvalue=np.full(6, 1e-5)), "a", "b")
    assert pairs.names == ("A1",)
    assert any("'A2' is left out" in n and "with a" in n for n in pairs.notes)
    assert any("6 spectra are improbable" in n for n in pairs.notes)


def test_a_store_is_gone_on_with(observations, fitted, tmp_path, monkeypatch):
    original, done = FitTask.__call__, []

    def fails(self, chunk):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk)
        return original(self, chunk)

    monkeypatch.setattr(FitTask, "__call__", fails)
    with pytest.raises(KeyboardInterrupt):
        fit_spectra(observations, store=tmp_path / "f.zarr", executor="serial")
    monkeypatch.setattr(FitTask, "__call__", lambda self, chunk: done.append(chunk) or original(self, chunk))
    found = fit_spectra(observations, store=tmp_path / "f.zarr", executor="serial")
    assert sorted(done) == list(range(6))
    np.testing.assert_array_equal(found.value, fitted.value)
    np.testing.assert_array_equal(found.status, fitted.status)


def test_spectra_without_counts_are_a_status(observations):
    o = observations[0]
    empty = replace(o, spectrum=replace(o.spectrum, counts=np.zeros_like(o.spectrum.counts)))
    found = fit_spectra([empty])
    assert found.status[0] > Status.AT_BOUND
    assert found.trouble[0]


def test_bad_requests(observations, fitted):
    with pytest.raises(InputError, match="no spectra of 'mos'"):
        pairs_of(fitted, "a", "mos")
    with pytest.raises(InputError, match="free parameters"):
        fit_spectra([])
    other = replace(observations[0], model=observations[0].model.replace(free=("norm",)))
    with pytest.raises(InputError, match="the same ones for all"):
        fit_spectra([other, *observations])


@pytest.mark.parametrize("what", ["background", "errors", "redistribution", "abundances"])
def test_a_store_of_other_data_is_not_gone_on_with(observations, what):
    """Whatever a fit depends on makes another job; names of files and notes do not."""
    o = observations[0]
    counts = np.asarray(o.spectrum.counts)
    changed = {
        "background": replace(o, spectrum=replace(o.spectrum, background=replace(o.spectrum, backscale=2.0))),
        "errors": replace(o, spectrum=replace(o.spectrum, stat_error=np.sqrt(counts + 1.0))),
        "redistribution": replace(o, response=replace(o.response, redistribution=o.response.redistribution * 0.5)),
        "abundances": replace(o, model=o.model.replace(abundances="wilm")),
    }[what]
    assert _described(changed) != _described(o)
    renamed = replace(o, spectrum=replace(o.spectrum, notes=("a note",), files={"pha": "elsewhere.pha"}))
    assert _described(renamed) == _described(o)
