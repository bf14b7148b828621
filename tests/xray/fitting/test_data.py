"""Errors of the file: who uses them, who refuses, who warns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosscal.core.errors import InputError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.data import data_of, default_statistic, error_notes
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.statistics import kind_of
from crosscal.xray.instrument.grouping import Groups
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

COUNTS = np.array([40.0, 60.0, 0.0, 25.0])
ERRORS = np.array([12.0, 9.0, 3.0, 8.0])
SYSTEMATIC = np.array([0.1, 0.1, 0.1, 0.2])
GROUPS = Groups(np.array([0, 0, 1, 2]))


def spectrum(**change):
    return Spectrum(COUNTS, 100.0, **change)


def background(**change):
    return Spectrum(COUNTS[::-1], 400.0, backscale=2.0, **change)


def test_chi2_takes_the_errors_of_the_file():
    data, _ = data_of(spectrum(stat_error=ERRORS, sys_error=SYSTEMATIC), GROUPS, "chi2")
    # Statistical errors of a group in quadrature; systematic ones stay 10 % of the group.
    assert_allclose(data.variance, [12**2 + 9**2 + 10**2, 9, 64 + 5**2])


def test_chi2_adds_the_background_s_errors():
    ratio = 100.0 / 800.0
    data, expected = data_of(spectrum(background=background(stat_error=ERRORS)), GROUPS, "chi2")
    assert_allclose(expected, np.array([25, 60, 40]) * ratio)
    assert_allclose(data.variance, [100 + (144 + 81) * ratio**2, 9 * ratio**2, 25 + 64 * ratio**2])
    both = spectrum(stat_error=ERRORS, background=background(sys_error=SYSTEMATIC))
    data, _ = data_of(both, GROUPS, "chi2")
    assert_allclose(
        data.variance, [225 + ratio**2 * (25 + 2.5**2), 9 + ratio**2 * (60 + 36), 64 + ratio**2 * (40 + 64)]
    )


def test_named_variances_leave_the_errors_and_say_so():
    one = spectrum(stat_error=3 * ERRORS)
    plain = spectrum()
    for name in ("chi2-gehrels", "chi2-model"):
        assert_allclose(data_of(one, GROUPS, name)[0].variance, data_of(plain, GROUPS, name)[0].variance)
        assert f"{name} does not use the file's errors" in next(error_notes(one, kind_of(name), name))


def test_pgstat_takes_the_background_s_errors():
    own = spectrum(background=background(stat_error=ERRORS, sys_error=np.full(4, 0.1)))
    data, _ = data_of(own, GROUPS, "pgstat")
    assert_allclose(data.variance, [144 + 81 + 2.5**2, 9 + 6**2, 64 + 4**2])
    assert_allclose(data_of(own, GROUPS, "pgstat", np.ones(4))[0].variance, [2 + 2.5**2, 1 + 6**2, 1 + 4**2])
    assert_allclose(data_of(spectrum(background=background()), GROUPS, "pgstat")[0].variance, [25, 60, 40])


@pytest.mark.parametrize(
    ("change", "statistic", "words"),
    [
        ({"stat_error": 3 * ERRORS}, "cstat", "the file's errors (STAT_ERR) are not those of Poisson counts"),
        ({"sys_error": SYSTEMATIC}, "cstat", "the file's systematic errors (SYS_ERR) are not used by cstat"),
        ({"background": background(stat_error=3 * ERRORS)}, "wstat", "the background's errors (STAT_ERR) are not"),
        ({"sys_error": SYSTEMATIC}, "chi2", "are added in quadrature as fractions of the counts"),
        ({"stat_error": 3 * ERRORS}, "chi2", ""),
        ({"stat_error": np.sqrt(COUNTS)}, "cstat", ""),
        ({"background": background(stat_error=3 * ERRORS)}, "pgstat", ""),
    ],
)
def test_a_poisson_statistic_on_other_errors_warns(change, statistic, words):
    notes = list(error_notes(spectrum(**change), kind_of(statistic), statistic))
    assert len(notes) == bool(words)
    assert all(words in note for note in notes)


def test_poisson_errors_of_empty_channels_count_as_one():
    counts = np.array([4.0, 0.0, 9.0, 1.0])
    one = Spectrum(counts, 1.0, stat_error=np.sqrt(counts))
    alone = Groups(np.arange(4))
    assert_allclose(data_of(one, alone, "chi2")[0].variance, data_of(Spectrum(counts, 1.0), alone, "chi2")[0].variance)
    other = Spectrum(counts, 1.0, stat_error=np.array([1.0, 0.0, 1.0, 1.0]), first_channel=5)
    with pytest.raises(InputError, match="the error of the group from channel 6 is 0; expected errors above 0"):
        data_of(other, alone, "chi2")


def test_net_counts_need_chi2():
    net = Spectrum(COUNTS - 10, 1.0, stat_error=ERRORS)
    assert default_statistic(net, GROUPS) == "chi2"
    assert default_statistic(spectrum(), GROUPS) == "cstat"
    assert default_statistic(spectrum(background=background()), GROUPS) == "wstat"
    with pytest.raises(InputError, match="negative counts with cstat; expected the statistic chi2"):
        data_of(net, GROUPS, "cstat")
    below = background(stat_error=ERRORS)
    below = Spectrum(below.counts - 10, 400.0, stat_error=ERRORS)
    with pytest.raises(InputError, match="negative background counts with wstat"):
        data_of(spectrum(background=below), GROUPS, "wstat")
    data_of(spectrum(background=below), GROUPS, "pgstat")


def test_errors_of_a_fit_follow_those_of_the_file():
    """Three times the errors make parameters three times less certain, and chi2 nine times smaller."""
    edges = np.linspace(1.0, 5.0, 41)
    response = Response(edges[:-1], edges[1:], np.full(40, 100.0), np.eye(40), edges[:-1], edges[1:])
    model = Model("powerlaw", PhoIndex=1.5, norm=0.01)
    counts = np.random.default_rng(1).poisson(response.fold(model.spectrum(edges)) * 1e4).astype(float)
    results = [
        fit(Spectrum(counts, 1e4, stat_error=scale * np.sqrt(counts)), response, model, statistic="chi2")
        for scale in (1.0, 3.0)
    ]
    plain = fit(Spectrum(counts, 1e4), response, model, statistic="chi2")
    assert results[0].statistic == pytest.approx(plain.statistic, rel=1e-9)
    assert results[1].statistic == pytest.approx(plain.statistic / 9, rel=1e-6)
    assert results[1].errors["PhoIndex"] == pytest.approx(3 * plain.errors["PhoIndex"], rel=1e-6)
    assert_allclose(results[1].residuals, (counts - results[1].expected) / (3 * np.sqrt(counts)))


def test_pgstat_s_p_value_follows_the_background_s_errors():
    """A background whose errors are wider than Poisson's is drawn as such."""
    edges = np.linspace(1.0, 5.0, 41)
    response = Response(edges[:-1], edges[1:], np.full(40, 100.0), np.eye(40), edges[:-1], edges[1:])
    model = Model("powerlaw", PhoIndex=1.5, norm=0.01)
    rng = np.random.default_rng(2)
    mean = response.fold(model.spectrum(edges)) * 1e4
    errors = np.full(40, 30.0)
    back = Spectrum(np.maximum(100 + errors * rng.normal(size=40), 0), 1e4, stat_error=errors)
    source = Spectrum(rng.poisson(mean + 100), 1e4, background=back)
    assert 0.01 < fit(source, response, model, statistic="pgstat").pvalue < 0.99
