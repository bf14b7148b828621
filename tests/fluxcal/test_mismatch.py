"""Templates do not fit real stars: libraries are corrected for what is known, and the rest is in the stated errors."""

from __future__ import annotations

import numpy as np
import pytest

from crosscal.fluxcal.curve.combine import combine
from crosscal.fluxcal.curve.position import PlatePrior, fit_plate
from crosscal.fluxcal.demo import demo_library
from crosscal.fluxcal.stars.mismatch import SCALE, Mismatch, correlated_modes, known_mismatch
from crosscal.fluxcal.types import CalibrationVector

WAVE = np.arange(4000.0, 7000.0, 20.0)


def test_modes_have_the_stated_covariance():
    sd = np.interp(WAVE, [4000, 7000], [0.03, 0.01])
    modes = correlated_modes(WAVE, sd)
    apart = WAVE[:, None] - WAVE[None, :]
    stated = np.outer(sd, sd) * np.exp(-0.5 * (apart / SCALE) ** 2)
    # linear interpolation between nodes at half the correlation length
    np.testing.assert_allclose(modes.T @ modes, stated, atol=0.05 * 0.03**2)
    assert len(correlated_modes(WAVE, 0 * sd)) == 0


def test_a_library_is_corrected_by_metallicity():
    library = demo_library()
    table = {
        "wavelength": [4000, 7000], "mean": [100, 0], "slope": [50, 0], "common": [1, 1], "star": [2, 2], "feh": -1.0,
        "source": "",
    }  # fmt: skip
    made = library.corrected(Mismatch.of(table))
    shift = 2.5 * np.log10(made.flux / library.flux)
    expected = np.interp(library.wavelength, [4000, 7000], [0.1, 0.0])
    away = np.clip(library.parameters[:, 2], -2, 0) + 1.0
    np.testing.assert_allclose(shift, expected * (1 + 0.5 * away[:, None]), atol=1e-5)
    assert made.mismatch is not None
    assert made.mismatch.errors(WAVE).shape == (2, WAVE.size)


def test_libraries_that_were_not_compared_have_bounds():
    kurucz, other = known_mismatch("kurucz-sdss"), known_mismatch("of my own")
    assert kurucz.mean.any()
    assert not other.mean.any()
    # the bounds are not less than what was found where there is a comparison
    assert np.all(other.errors(kurucz.wavelength)[0] >= kurucz.errors(kurucz.wavelength)[0] - 1e-3)


def vectors(rng, n, own, common):
    """``n`` stars whose spectra differ from their models by smooth errors of these standard deviations (ln)."""
    shared = rng.normal(size=correlated_modes(WAVE, np.full(WAVE.size, 1.0)).shape[0]) @ correlated_modes(WAVE, common)
    made = []
    for k in range(n):
        modes = correlated_modes(WAVE, own)
        model = np.full(WAVE.size, 100.0)
        truth = model * np.exp(shared + rng.normal(size=len(modes)) @ modes + rng.normal(0, 0.1))
        rate = truth * (1 + rng.normal(0, 0.01, WAVE.size))
        noise, zero = np.full(WAVE.size, (0.01 * 100) ** 2), np.zeros(WAVE.size)
        good = np.ones(WAVE.size, dtype=bool)
        made.append(
            CalibrationVector(
                WAVE, model / rate, noise / rate**2, good, f"s{k}", rate, noise, model, zero, zero[None],
                mismatch=np.stack([common, own]),
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("n", [5, 12])
def test_stated_errors_cover_what_stars_and_templates_differ_by(n):
    own, common = np.interp(WAVE, [4000, 5000, 7000], [0.04, 0.01, 0.01]), np.full(WAVE.size, 0.01)
    bands = np.stack([(low <= WAVE) & (low + 500 > WAVE) for low in range(4000, 7000, 500)]).astype(float)
    bands = bands / bands.sum(axis=1, keepdims=True) - 1 / WAVE.size
    ratio = []
    for seed in range(16):
        curve = combine(vectors(np.random.default_rng([n, seed]), n, own, common), common_grey=0, common_slope=0)
        error = bands @ np.log(curve.value)
        sd = np.sqrt(np.sum((bands @ curve.modes.T) ** 2, axis=1))
        ratio.append(error / sd)
    held = np.mean(np.abs(ratio) < 1)
    # 16 frames of six bands, which are not independent: 0.68 to 0.07
    assert held > 0.54
    assert held < 0.84
    first = np.mean(np.abs(np.array(ratio)[:, 0]) < 1)
    assert first > 0.4, "the blue end, where stars differ most"


def test_what_templates_share_does_not_average_down():
    zero, common = np.zeros(WAVE.size), np.full(WAVE.size, 0.02)
    sd = {}
    for n in (4, 64):
        curve = combine(vectors(np.random.default_rng(n), n, zero, common), common_grey=0, common_slope=0)
        shape = curve.modes - curve.modes.mean(axis=1, keepdims=True)
        sd[n] = np.median(np.sqrt(np.sum(shape**2, axis=0)))
    # Of an error correlated over 800 A that much is left when its mean over 3000 A is subtracted.
    assert sd[64] > 0.6 * 0.02
    assert sd[4] < 2 * sd[64]


def place(rng, n):
    return rng.uniform(-2e5, 2e5, n), rng.uniform(-2e5, 2e5, n)


@pytest.mark.parametrize("smooth", [True, False])
def test_a_field_must_predict_left_out_stars(smooth):
    kept = {True: 0, False: 0}
    for seed in range(20):
        rng = np.random.default_rng([7, seed])
        x, y = place(rng, 25)
        field = 0.1 * np.sin(x / 1e5) * np.cos(y / 1.2e5) if smooth else 0.0
        slope = field + rng.normal(0, 0.01 if smooth else 0.07, x.size)
        c = np.stack([rng.normal(0, 0.1, x.size), slope], axis=1)
        for judged in kept:
            prior = PlatePrior((0.0, 0.07), judged=judged)
            kept[judged] += fit_plate(x, y, c, np.full(c.shape, 0.005), prior) is not None
    assert kept[True] >= 18 if smooth else kept[True] <= 3
    assert kept[True] <= kept[False]


def test_a_job_can_keep_the_published_fluxes(monkeypatch, tmp_path):
    from crosscal.core.errors import InputError
    from crosscal.fluxcal import job as module
    from crosscal.fluxcal.job_options import CatalogueTable, Data, FluxcalJob, Templates

    seen = []

    def load(name, file, **choices):
        seen.append(choices)
        raise InputError("enough", where="here", expected="nothing")

    monkeypatch.setattr(module, "load_templates", load)
    monkeypatch.setattr(module, "read_stars", lambda table: None)
    monkeypatch.setattr(module, "_filters", lambda names, files: [])
    for correct in (True, False):
        table = CatalogueTable(path=tmp_path / "x.csv", bands={"a": "b"})
        made = FluxcalJob(
            data=Data(frames=(tmp_path / "f.fits",)),
            catalogue=table,
            templates=Templates(correct=correct),
            output=tmp_path,
        )
        with pytest.raises(InputError, match="enough"):
            module.make_calibrator(made)
        assert seen[-1]["correct"] is correct
