from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.instrument.grouping import (
    Groups,
    from_flags,
    group,
    grouped,
    ignore,
    min_counts,
    notice,
    optimal,
    optimal_width,
    resolution,
)
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum


def test_sum_and_flags():
    groups = Groups(np.array([-1, 0, 0, 1, -1, 2]))
    values = np.arange(12.0).reshape(2, 6)
    assert_array_equal(groups.sum(values), [[3, 3, 5], [15, 9, 11]])
    assert_array_equal(groups.flags, [0, 1, -1, 1, 0, 1])
    assert (groups.n_group, groups.n_channel) == (3, 6)
    assert_array_equal(groups.mask, [False, True, True, True, False, True])


def test_energies_of_groups(small):
    low, high = Groups(np.array([-1, 0, 0, 1])).energies(small)
    assert_array_equal(low, [1.5, 3.5])
    assert_array_equal(high, [3.5, 6.0])


def test_groups_are_checked():
    with pytest.raises(InputError, match="no channel is used"):
        Groups(np.array([-1, -1]))
    for wrong in ([1, 2], [0, 2], [0, 1, 0]):
        with pytest.raises(InputError, match="out of order"):
            Groups(np.array(wrong))
    with pytest.raises(InputError, match="a last axis of 2"):
        Groups(np.array([0, 1])).sum(np.ones(3))


def test_notice_and_ignore(small):
    assert_array_equal(notice(small), [True] * 4)
    assert_array_equal(notice(small, (0.6, 1.0), (4.0, 5.0)), [True, False, False, True])
    assert_array_equal(ignore(small, (0.6, 1.0)), [False, True, True, True])
    assert_array_equal(ignore(small), [True] * 4)


def test_min_counts_tails():
    counts = [5, 6, 3, 20, 2, 2]
    assert_array_equal(min_counts(counts, 10).index, [0, 0, 1, 1, -1, -1])
    assert_array_equal(min_counts(counts, 10, tail="merge").index, [0, 0, 1, 1, 1, 1])
    assert_array_equal(min_counts(counts, 10, tail="keep").index, [0, 0, 1, 1, 2, 2])


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    bad=st.lists(st.integers(0, 59), max_size=6),
    minimum=st.integers(1, 40),
)
def test_min_counts_invariants(counts, bad, minimum):
    counts = np.array(counts)
    mask = ~np.isin(np.arange(counts.size), bad)
    try:
        groups = min_counts(counts, minimum, mask)
    except InputError:
        runs = np.split(np.where(mask, counts, 0), np.flatnonzero(~mask))
        assert max(run.sum() for run in runs) < minimum
        return
    assert not np.any(groups.mask & ~mask)
    assert np.all(groups.sum(counts) >= minimum)
    for k in range(groups.n_group):
        used = np.flatnonzero(groups.index == k)
        assert np.all(np.diff(used) == 1)
        # No group is longer than needed.
        assert counts[used[:-1]].sum() < minimum


def test_min_counts_is_checked():
    with pytest.raises(InputError, match="a minimum of 0 counts"):
        min_counts([1, 2], 0)
    with pytest.raises(InputError, match="no group reaches 100 counts"):
        min_counts([1, 2], 100)
    with pytest.raises(UnknownNameError, match="merge"):
        min_counts([1, 2], 1, tail="merged")
    with pytest.raises(InputError, match="2 booleans"):
        min_counts([1, 2], 1, np.array([True]))


def test_flags_of_a_file(spectrum):
    # The last channel has bad quality; its group of one goes.
    assert_array_equal(from_flags(spectrum).index, [0, 0, 1, -1])
    # A group is used whole as soon as one of its channels is asked for.
    assert_array_equal(from_flags(spectrum, np.array([False, True, False, False])).index, [0, 0, -1, -1])


def test_grouped_writes_flags(spectrum):
    flagged = grouped(spectrum, Groups(np.array([0, 0, -1, -1])))
    assert_array_equal(flagged.grouping, [1, -1, 0, 0])
    assert_array_equal(flagged.quality, [0, 0, 2, 1])
    assert_array_equal(from_flags(flagged).index, [0, 0, -1, -1])


def gaussian_camera(fwhm, n=200, width=0.01):
    """A camera whose response to each energy is a Gaussian of known width."""
    edges = width * np.arange(n + 1) + 0.5
    centre = 0.5 * (edges[1:] + edges[:-1])
    sigma = fwhm / 2.3548
    cdf = 0.5 * (1 + erf((edges[:, None] - centre) / sigma / np.sqrt(2)))
    return Response(edges[:-1], edges[1:], np.full(n, 100.0), np.diff(cdf, axis=0), edges[:-1], edges[1:])


def test_resolution_of_a_gaussian():
    # Half-maximum points are interpolated between channels a tenth of the width: 1 %.
    found = resolution(gaussian_camera(0.1))
    assert_allclose(found[20:-20], 10.0, rtol=0.01)


def test_resolution_of_an_insensitive_camera(small):
    blind = Response(small.energy_lo, small.energy_hi, small.area, np.zeros((4, 5)), small.channel_lo, small.channel_hi)
    assert_array_equal(resolution(blind), 1.0)


def test_optimal_width_follows_the_paper():
    # Worked by hand from Eq. 36: x = ln(1000) with one resolution element.
    x = np.log(1000.0)
    assert_allclose(optimal_width(1000.0, 1.0), (0.08 + 7 / x + 1.8 / x**2) / (1 + 5.9 / x))
    # Both branches meet at x = 2.119 (the paper's constants leave 1e-4), and no counts means one FWHM.
    assert_allclose(optimal_width(np.exp(2.1191), 1.0), 1.0, atol=1e-3)
    assert optimal_width(0.0, 100.0) == 1.0
    widths = optimal_width(np.geomspace(1, 1e6, 50), 30.0)
    assert np.all(np.diff(widths) <= 0)


def test_optimal_groups_of_a_gaussian_camera():
    camera = gaussian_camera(0.1)
    counts = np.full(200, 50.0)
    groups = optimal(camera, counts)
    # N_r = 500 counts per FWHM of 10 channels, R = 20 elements.
    expected = int(optimal_width(500.0, 20.0) * 10)
    sizes = np.bincount(groups.index)[5:-5]
    assert set(sizes) == {expected}
    assert_array_equal(groups.mask, np.ones(200, dtype=bool))


def test_optimal_with_a_minimum_respects_gaps():
    camera = gaussian_camera(0.1)
    counts = np.full(200, 1.0)
    mask = np.ones(200, dtype=bool)
    mask[100] = False
    groups = optimal(camera, counts, mask, minimum=30)
    assert groups.index[100] == -1
    assert groups.index[99] != groups.index[101]
    assert np.sum(groups.sum(counts) < 30) <= 2  # the tails of the two runs are kept
    assert np.all(optimal(camera, counts, mask, minimum=30, tail="drop").sum(counts) >= 30)
    with pytest.raises(InputError, match="3 counts; expected 200"):
        optimal(camera, np.ones(3))


def test_methods_by_name(spectrum):
    response = example_telescope("a")
    rng = np.random.default_rng(1)
    counts = rng.poisson(response.fold(response.energy**-1.7 * 1e-4) * 1e5)
    bright = Spectrum(counts, 1e5, first_channel=response.first_channel)
    sizes = {m: group(bright, response, (0.7, 7.0), method=m).n_group for m in ("none", "file", "counts", "optimal")}
    assert sizes["none"] == sizes["file"] == response.band(0.7, 7.0).sum()
    assert sizes["counts"] <= sizes["none"]
    assert 20 < sizes["optimal"] < sizes["none"]
    assert group(bright, response).n_group == response.n_channel
    with pytest.raises(UnknownNameError, match="optimal"):
        group(bright, response, method="optimum")


def test_ranges_inside_the_band_are_left_out():
    response = example_telescope("a")
    spectrum = Spectrum(np.ones(response.n_channel), 1.0, first_channel=response.first_channel)
    mask = group(spectrum, response, (0.7, 7.0), ignored=[(1.7, 2.0), (5.0, 5.2)]).mask
    assert_array_equal(mask, response.band(0.7, 7.0) & ~response.band(1.7, 2.0) & ~response.band(5.0, 5.2))
    with pytest.raises(InputError, match="no channel is used"):
        group(spectrum, response, (0.7, 7.0), ignored=[(0.1, 20.0)])


def flagged(n=8):
    edges = np.arange(n + 1.0)
    response = Response(edges[:-1] + 0.5, edges[1:] + 0.5, np.ones(n), np.eye(n), edges[:-1] + 0.5, edges[1:] + 0.5)
    flags = np.array([1, -1, 1, -1, -1, 1, 0, 0])
    return response, Spectrum(np.arange(n) + 1.0, 1.0, grouping=flags, name="a")


def test_the_file_s_own_grouping_is_the_default_and_told():
    response, spectrum = flagged()
    groups = group(spectrum, response)
    assert_array_equal(groups.index, [0, 0, 1, 1, 1, 2, 3, 4])
    assert groups.note == "a: the file's own grouping is applied (5 groups of 8 channels)"
    assert_array_equal(group(spectrum, response, method="none").index, np.arange(8))
    plain = group(replace(spectrum, grouping=None), response)
    assert_array_equal(plain.index, np.arange(8))
    assert plain.note == ""
    # A group that reaches into the band is used as a whole.
    assert_array_equal(group(spectrum, response, (4.6, 6.0)).index, [-1, -1, 0, 0, 0, 1, -1, -1])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("**-0.5 7.0-**", [0, 1, 2, 3, 4, 5]),
        ("**-1.0,7.0-**", [1, 2, 3, 4, 5]),
        ("**-2 8-**", [2, 3, 4, 5, 6]),
        ("3", [0, 1, 3, 4, 5, 6, 7]),
        ("3.0-4", [0, 1, 4, 5, 6, 7]),
        ("", list(range(8))),
    ],
)
def test_ignore_in_the_words_of_xspec(text, kept):
    """Channels of 1 keV from 0.5 keV, numbered from 1: one that holds an end is ignored."""
    response, spectrum = flagged()
    assert np.flatnonzero(group(spectrum, response, method="none", ignored=text).mask).tolist() == kept


def test_a_band_keeps_what_ignore_leaves_out():
    response, spectrum = flagged()
    spectrum = replace(spectrum, grouping=None)
    assert group(spectrum, response, (1.0, 7.0)).n_group == 7
    assert group(spectrum, response, ignored="**-1.0 7.0-**").n_group == 5


@pytest.mark.parametrize("method", ["auto", "file"])
def test_a_group_that_an_ignored_range_touches_is_dropped(method):
    """Channels of 1 keV from 0.5 keV in groups of two: a band keeps a group that it touches, ignoring drops it."""
    response, spectrum = flagged()
    spectrum = replace(spectrum, grouping=np.array([1, -1] * 4), quality=np.zeros(8, dtype=int))
    for ignored in ("**-0.6 7.0-**", [(0.1, 0.6), (7.0, 20.0)]):
        kept = group(spectrum, response, ignored=ignored, method=method).mask
        assert np.flatnonzero(kept).tolist() == [2, 3, 4, 5]
    kept = group(spectrum, response, (2.0, 6.0), method=method).mask
    assert np.flatnonzero(kept).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("text", ["0.5:7", "a-b", "1-2-3", "-1.0"])
def test_what_ignore_cannot_read(text):
    response, spectrum = flagged()
    with pytest.raises(InputError, match="cannot be read; expected ranges such as"):
        group(spectrum, response, ignored=text)
    with pytest.raises(InputError, match="no channel is left"):
        group(spectrum, response, ignored="**-**")
