"""Which parameters are free, where they are, and what their priors are."""

import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.lightcurves.layout import make_layout
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves, curve_from_arrays


def column(n, level=1.0, start=0.0):
    t = start + np.arange(n, dtype=float)
    return t, level + 0.1 * np.sin(t), np.full(n, 0.05)


@pytest.fixture
def curves():
    """A: reference; B: many points; C: two points; D: line only; E: nothing; F: one point with a line."""
    continuum = curve_from_arrays(
        {"A": column(20), "B": column(10, 2.0), "C": column(2), "D": column(0), "E": column(0), "F": column(1)},
        name="continuum",
    )
    line = curve_from_arrays(
        {
            "A": column(8, 4.0),
            "B": column(6, 8.0),
            "C": column(0),
            "D": column(7, 12.0),
            "E": column(0),
            "F": column(3),
        },
        name="line",
    )
    return LightCurves(continuum, (line,))


def layout(curves, **changes):
    settings = Settings(**changes)
    norm = Normalisation.of(curves, settings.normalisation)
    return make_layout(curves, settings, norm), norm


def test_order_and_size(curves):
    lay, _ = layout(curves)
    assert lay.size == 2 * 2 + 2 * 6 + 2 * 6 * 1 * 2
    assert lay.kernel.tolist() == [[0, 1], [2, 3]]
    assert lay.scale.tolist() == list(range(4, 10))
    assert lay.shift.tolist() == list(range(10, 16))
    assert lay.syserr[0, :, 0].tolist() == list(range(16, 22))
    assert lay.errscale[0, :, 0].tolist() == list(range(22, 28))
    assert lay.syserr[1, :, 0].tolist() == list(range(28, 34))
    assert lay.labels[10] == "shift[A]"


def test_default_rules(curves):
    lay, _ = layout(curves)
    # Reference; two points without a line (C); empty continuum (D, E).
    assert lay.free[lay.shift].tolist() == [False, True, False, False, False, True]
    # E is nowhere, so its scale is held, too.
    assert lay.free[lay.scale].tolist() == [False, True, True, True, False, True]
    assert not lay.free[lay.syserr].any()
    assert not lay.free[lay.errscale].any()


def test_fixed_scale_and_shift(curves):
    lay, _ = layout(curves, fixed_scale=True)
    assert not lay.free[lay.scale].any()
    assert lay.free[lay.shift].tolist() == [False, True, True, False, False, True]
    lay, _ = layout(curves, fixed_shift=True)
    assert not lay.free[lay.shift].any()
    with pytest.raises(InputError, match="both fixed"):
        Settings(fixed_scale=True, fixed_shift=True)


def test_fixed_codes(curves):
    lay, norm = layout(curves, fixed_codes=("B",), fixed_scale_codes=("F",), systematic_error=True)
    assert not lay.free[lay.scale[[1, 5]]].any()
    physical = np.exp(lay.fixed[lay.scale]) * norm.scale_to_physical()
    assert physical[1] == pytest.approx(1.0)
    assert lay.fixed[lay.scale[5]] == 0
    assert not lay.free[lay.shift[1]]
    assert lay.free[lay.shift[5]]
    assert not lay.free[lay.syserr[:, 1]].any()
    with pytest.raises(UnknownNameError, match="fixed_codes"):
        layout(curves, fixed_codes=("Z",))


def test_systematic_errors_only_where_there_are_points(curves):
    lay, _ = layout(curves, systematic_error=True, error_scale=True)
    assert lay.free[lay.syserr[0, :, 0]].tolist() == [True, True, True, False, False, True]
    assert lay.free[lay.errscale[1, :, 0]].tolist() == [True, True, False, True, False, True]
    half = np.isfinite(lay.half_normal[lay.syserr[:, :, 0]])
    assert half.tolist() == [[False, False, True, True, True, True], [False, False, True, False, True, True]]
    assert lay.half_normal[lay.syserr[0, 2, 0]] == pytest.approx(0.2 / 3)


def test_tau_limits(curves):
    span, n = curves.continuum.span, len(curves.continuum)
    lay, _ = layout(curves, tau=(0.01, 1e4))
    assert np.exp(lay.low[1]) == pytest.approx(span / n)
    assert np.exp(lay.high[1]) == pytest.approx(span)
    with pytest.warns(UserWarning, match="beyond the time span"):
        lay, _ = layout(curves, tau=(1e3, 1e4))
    assert np.exp(lay.low[1]) == pytest.approx(span / n)
    lay, _ = layout(curves, tau=(1e-3, 1e-2))
    assert np.exp(lay.high[1]) == pytest.approx(span)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"scale": (2.0, 0.5)}, "low < high"),
        ({"sigma": (0.0, 1.0)}, "limit > 0"),
        ({"syserr": (-0.1, 0.1)}, "limit >= 0"),
        ({"errors": "cauchy"}, "student-t"),
        ({"degrees": 1.0}, "degrees of freedom"),
        ({"syserr": (0.3, 0.2), "systematic_error": True}, "low < high"),
    ],
)
def test_impossible_settings(changes, text):
    with pytest.raises(InputError, match=text):
        Settings(**changes)


def test_normalisation_by_means(curves):
    norm = Normalisation.of(curves)
    f = curves.continuum
    means = [f.flux[f.code == c].mean() for c in (0, 1)]
    assert norm.factors[0, :2] == pytest.approx(means)
    line_level = curves.lines[0].flux[curves.lines[0].code == 0].mean()
    np.testing.assert_allclose(norm.factors[1], line_level * norm.factors[0] / norm.factors[0, 0])
    # D is seen in the line only, three times brighter there than A.
    assert norm.factors[0, 3] / norm.factors[0, 0] == pytest.approx(3.0, rel=0.05)
    assert norm.factors[0, 4] == 1.0


def test_normalisation_none_and_spread(curves):
    none = Normalisation.of(curves, "none")
    assert np.ptp(none.factors[0]) == 0
    spread = Normalisation.of(curves, "spread")
    f = curves.continuum
    assert spread.factors[0, 1] == pytest.approx(f.flux[f.code == 1].std())
    assert spread.shift_centre[0] == 0
    assert spread.shift_centre[1] == pytest.approx(
        f.flux[f.code == 1].mean() / spread.factors[0, 1] - f.flux[f.code == 0].mean() / spread.factors[0, 0]
    )
    with pytest.raises(UnknownNameError):
        Normalisation.of(curves, "median")
    with pytest.raises(InputError, match="divisor"):
        Normalisation.fixed(np.array([[1.0, -1.0]]))


def test_impossible_data():
    good = column(5)
    with pytest.raises(InputError, match="mean flux is"):
        Normalisation.of(LightCurves.from_arrays({"A": good, "B": (good[0], -good[1], good[2])}))
    with pytest.raises(InputError, match="reference 'A' has no continuum"):
        Normalisation.of(LightCurves.from_arrays({"A": column(0), "B": good}))
    one_time = LightCurves.from_arrays({"A": (np.zeros(3), np.ones(3), np.ones(3))})
    with pytest.raises(InputError, match="same time"):
        make_layout(one_time, Settings(), Normalisation.of(one_time))
