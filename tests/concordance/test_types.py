"""Building comparisons, and the sentence for each thing that can be wrong."""

import numpy as np
import pytest

from crosscal.concordance.graph import components, lonely_columns, require_anchors
from crosscal.concordance.priors import make_prior
from crosscal.concordance.types import Comparison
from crosscal.concordance.variability import random_walk
from crosscal.core.errors import InputError, UnknownNameError

from .stating import make_model


def cells(**changes):
    content = {
        "instrument": ["pn", "MOS1", "pn", "MOS1"],
        "source": ["a", "a", "b", "b"],
        "flux": [1.0, 1.1, 2.0, 2.2],
    }
    content.update(changes)
    return Comparison.from_cells(content.pop("instrument"), content.pop("source"), **content)


def test_cells_and_matrix_agree():
    data = cells(error=[0.1, 0.1, 0.1, 0.1])
    same = Comparison.from_matrix(
        np.log([[1.0, 1.1], [2.0, 2.2]]), instruments=["pn", "MOS1"], sources=["a", "b"], variance=1.0
    )
    assert data.channels == same.channels
    assert data.columns == same.columns
    assert np.allclose(data.log_rate, same.log_rate)
    assert np.allclose(data.variance[0], np.log1p(0.01))
    assert data.complete
    assert np.allclose(data.matrix(), np.log([[1.0, 1.1], [2.0, 2.2]]))


def test_exposure_divides():
    data = cells(flux=None, counts=[10, 22, 20, 44], exposure=[10, 20, 10, 20])
    assert np.allclose(np.exp(data.log_rate), [1.0, 1.1, 2.0, 2.2])


def test_bands_make_channels_and_columns():
    data = cells(band=["soft", "soft", "hard", "hard"], source=["a", "a", "a", "a"])
    assert data.channel_names == ("pn [soft]", "MOS1 [soft]", "pn [hard]", "MOS1 [hard]")
    assert data.n_columns == 2
    assert data.instruments == ("pn", "MOS1")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"flux": [1.0, -1.0, 2.0, 2.0]}, r"row 2, column 'flux': flux is -1; expected a positive number"),
        ({"flux": [1.0, np.nan, 2.0, 2.0]}, r"row 2, column 'flux': flux is nan; expected a finite number"),
        ({"flux": None, "counts": [1, 2, -3, 4]}, r"row 3, column 'counts': counts is -3; expected counts >= 0"),
        ({"error": [0.1, 0.0, 0.1, 0.1]}, r"row 2, column 'error': error is 0"),
        ({"exposure": [1, 1, 1, 0]}, r"row 4, column 'exposure'"),
        ({"time": [1, 1, 1, np.inf]}, r"row 4, column 'time'"),
        ({"source": ["a", "a", "a", "b"]}, r"rows 1 and 3 both give source 'a' in instrument 'pn'"),
        ({"source": ["a", " ", "b", "b"]}, r"row 2, column 'source': an empty name"),
        ({"counts": [1, 1, 1, 1]}, r"2 of flux, counts and log_rate are given; expected exactly one"),
        ({"error": [0.1] * 4, "log_error": [0.1] * 4}, r"error and log_error are both given"),
        (
            {"flux": None, "log_rate": [1.0] * 4, "error": [0.1] * 4},
            r"log_rate is given with error; expected log_error",
        ),
        ({"flux": None, "log_rate": [1.0] * 4, "scale": "log10"}, r"log_rate with scale = 'log10'"),
        ({"flux": [1.0, 2.0]}, r"flux has shape \(2,\); expected \(4,\)"),
        ({"flux": ["x", "y", "z", "w"]}, r"'flux' is not numeric"),
        ({"source": ["a"]}, r"1 sources for 4 rows"),
        ({"instrument": [], "source": []}, r"no measurement"),
        ({"campaign": ["x", "y", "z", "z"]}, r"row 1, column 'campaign': one source belongs to campaigns"),
    ],
)
def test_one_clear_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        cells(**changes)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"log_rate": [1.0]}, r"shape \(1,\)"),
        ({"log_rate": [[1.0, 2.0]], "instruments": ["a", "a"]}, "1 different instrument names for 2 columns"),
        ({"log_rate": [[1.0, 2.0]], "sources": ["a", "b"]}, "2 different source names for 1 rows"),
        ({"log_rate": [[1.0, np.inf]]}, r"row 1, column 'instrument 2': an infinite value"),
        ({"log_rate": [[1.0, np.nan]]}, r"instrument 'instrument 2' has no data"),
        ({"log_rate": [[1.0, 1.0], [np.nan, np.nan]]}, r"source 'source 2' has no data"),
        ({"log_rate": [[1.0, 1.0]], "variance": -1.0}, "variance is not positive"),
    ],
)
def test_matrix_refusals(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Comparison.from_matrix(**arguments)


def test_zero_counts_are_for_poisson_only():
    data = cells(flux=None, counts=[0, 1, 2, 3])
    with pytest.raises(InputError, match=r"counts of source 'a' in 'pn' are zero.*poisson"):
        make_model(data)
    assert make_model(data, noise="poisson").data.n_cells == 4


def test_components_and_anchors():
    y = np.full((4, 4), np.nan)
    y[:2, :2], y[2:, 2:] = 0.0, 0.0
    data = Comparison.from_matrix(y, instruments=["a", "b", "c", "d"])
    assert list(components(data)) == [0, 0, 1, 1]
    require_anchors(data, make_prior(data, {"a": 0.1, "b": np.inf, "c": np.inf, "d": 0.0}))
    with pytest.raises(InputError, match="common area factor of c, d: each has an infinite tau"):
        require_anchors(data, make_prior(data, {"a": 0.1, "b": np.inf, "c": np.inf, "d": np.inf}))


def test_lonely_columns_and_removal():
    y = np.array([[0.0, 0.1, 0.2], [0.0, np.nan, np.nan], [np.nan, 0.0, 0.1]])
    data = Comparison.from_matrix(y)
    assert lonely_columns(data) == 1
    rest = data.without_channel(0)
    assert rest.n_channels == 2
    assert rest.n_columns == 2
    assert np.allclose(rest.matrix(), [[0.1, 0.2], [0.0, 0.1]])


def timed(time, source=("a", "b", "c", "d")):
    return cells(instrument=["x", "x", "y", "y"], source=list(source), time=time, campaign=["k", "k", "k", "k"])


def test_random_walk_orders_in_time():
    walk = random_walk(timed([3.0, 1.0, 2.0, 5.0]))
    assert [name for name, _ in walk.data.columns] == ["b", "c", "a", "d"]
    assert np.allclose(walk.gap, [0, 1, 1, 2])
    assert np.allclose(walk.links(np.array([0.5])), [0, 2, 2, 1])
    # Linked in time, all instruments of a campaign are compared.
    assert components(walk.data, linked=True).max() == 0


def test_random_walk_refusals():
    with pytest.raises(InputError, match="needs times and campaigns"):
        random_walk(cells())
    with pytest.raises(InputError, match="'a' and 'b' of one campaign have the same time"):
        random_walk(timed([1.0, 1.0, 2.0, 3.0]))


def test_model_refusals():
    data = cells()
    with pytest.raises(UnknownNameError, match="log-normal"):
        make_model(data, noise="lognormal")
    with pytest.raises(InputError, match="Noise, nu: 0"):
        make_model(data, noise="log-t", nu=0.0)
    with pytest.raises(InputError, match="needs counts"):
        make_model(data, noise="poisson")
    counted = cells(flux=None, counts=[1.0, 2.5, 3.0, 4.0])
    with pytest.raises(InputError, match=r"counts 2\.5 in 'MOS1'"):
        make_model(counted, noise="poisson")
    whole = cells(flux=None, counts=[1, 2, 3, 4])
    with pytest.raises(InputError, match="Poisson noise with drift"):
        make_model(whole, noise="poisson", drift=0.1)
    empty = cells(flux=None, counts=[0, 0, 1, 1], instrument=["p", "q", "r", "s"], source=["a", "a", "b", "b"])
    with pytest.raises(InputError, match="'p' sees only sources without counts"):
        make_model(empty, noise="poisson")
    late = cells(time=[1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="drift needs a finite tau"):
        make_model(late, tau={"pn": 0.1, "MOS1": np.inf}, drift=0.1)


def test_quantities_are_put_into_one_unit():
    from astropy import units as u

    flux, error = [1.0, 2.0] * u.Unit("1e-12 erg / (s cm2)"), [1.0, 2.0] * u.Unit("1e-13 erg / (s cm2)")
    made = Comparison.from_cells(["a", "b"], ["s", "s"], flux=flux, error=error, time=[1, 2] * u.day)
    plain = Comparison.from_cells(["a", "b"], ["s", "s"], flux=[1.0, 2.0], error=[0.1, 0.2], time=[1, 2])
    np.testing.assert_allclose(made.variance, plain.variance)
    np.testing.assert_allclose(made.log_rate, plain.log_rate)
    assert (made.flux_unit, made.time_unit) == ("1e-12 erg / (s cm2)", "d")
    with pytest.raises(InputError, match="a quantity in s"):
        Comparison.from_cells(["a", "b"], ["s", "s"], flux=flux, error=[1, 2] * u.s)
