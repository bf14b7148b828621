"""Light curves as objects and as PyCALI's block files, good and bad."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.lightcurves.formats.pycali import read_block_file, read_pycali, write_pycali
from crosscal.lightcurves.seasons import split_seasons
from crosscal.lightcurves.types import LightCurve, LightCurves, curve_from_arrays

GOOD = "# A 3\n3 1.0 0.1 7\n1 1.1 0.1 5\n2 1.2 0.1 7\n# B 0\n#C 2\n1 2.0 0.2 5\n1 2.1 0.2 9\n\nnever read\n"


@pytest.fixture
def write(tmp_path):
    def make(text, name="curve.txt"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def test_blocks(write):
    curve = read_block_file(write(GOOD))
    assert curve.codes == ("A", "B", "C")
    assert curve.time.tolist() == [1, 1, 1, 2, 3]
    # Ties keep the order of the file.
    assert curve.order.tolist() == [1, 3, 4, 2, 0]
    assert curve.counts.tolist() == [3, 0, 2]
    # Flags are numbered by first appearance inside each code.
    assert curve.flag_labels == ((7, 5), (0,), (5, 9))
    assert curve.flag.tolist() == [1, 0, 1, 0, 0]
    assert LightCurves(curve).n_flags == 2


def test_round_trip(write, tmp_path):
    curve = read_block_file(write(GOOD))
    again = read_block_file(write_pycali(tmp_path / "again.txt", curve))
    np.testing.assert_allclose(again.flux, curve.flux)
    assert again.codes == curve.codes
    labels = [curve.flag_labels[c][k] for c, k in zip(curve.code, curve.flag, strict=True)]
    assert [again.flag_labels[c][k] for c, k in zip(again.code, again.flag, strict=True)] == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A 2\n1 1 1\n2 1 1\n", "line 1: not a header"),
        ("# A two\n1 1 1\n", "line 1: wrong header"),
        ("# A\n1 1 1\n", "wrong header"),
        ("# A 3\n1 1 1\n2 1 1\n", "line 4: code 'A' has 2 rows; expected 3"),
        ("# A 3\n1 1 1\n# B 1\n1 1 1\n", "line 3: code 'A' has 1 rows"),
        ("# A 1\n1 1 1\n# A 1\n1 1 1\n", "repeats"),
        ("# A 2\n1 1 1\n2 1 1 1\n", "line 3: 4 columns; expected 3 columns"),
        ("# A 2\n1 1 1 1\n2 1 1\n", "line 3: 3 columns; expected 4 columns"),
        ("# A 1\n1 1\n", "2 columns; expected time flux error"),
        ("# A 1\n1 x 1\n", "not numbers"),
        ("# A 1\n1 1 1 1.5\n", "the flag is 1.5"),
        ("# A 2\n1 1 1\n2 nan 1\n", "line 3: flux is not finite"),
        ("# A 2\n1 1 1\n2 1 0\n", "line 3: error is not positive"),
        ("# A 2\n1 1 1\n2 1 -0.1\n", "error is not positive"),
        ("# A 1\ninf 1 1\n", "time is not finite"),
        ("# A 0\n", "no data points"),
        ("", "no data points"),
    ],
)
def test_wrong_files(write, text, message):
    with pytest.raises(DataFileError, match=message):
        read_block_file(write(text))


def test_unreadable_files(tmp_path):
    with pytest.raises(DataFileError, match="no such light-curve file"):
        read_block_file(tmp_path / "absent.txt")
    (tmp_path / "binary").write_bytes(b"# A 1\n\xff\xfe\n")
    with pytest.raises(DataFileError, match="not text"):
        read_block_file(tmp_path / "binary")


def test_lines_must_list_the_same_codes(write):
    continuum = write("# A 1\n1 1 1\n# B 1\n2 1 1\n")
    line = write("# B 1\n1 1 1\n# A 1\n2 1 1\n", "line.txt")
    with pytest.raises(InputError, match="same order: A, B"):
        read_pycali(continuum, [line])


def test_duplicated_rows_are_kept(write):
    curve = read_block_file(write("# A 3\n1 1 1\n1 1 1\n2 1 1\n"))
    assert len(curve) == 3


def test_from_arrays_checks():
    t = np.arange(3.0)
    with pytest.raises(InputError, match="2 columns"):
        curve_from_arrays({"A": (t, t)}, name="x")
    with pytest.raises(InputError, match="differ in length"):
        curve_from_arrays({"A": (t, t[:2], t)}, name="x")
    with pytest.raises(InputError, match="code 'A', point 1"):
        curve_from_arrays({"A": (t, t, np.array([1.0, np.nan, 1.0]))}, name="x")
    with pytest.raises(InputError, match="no telescopes"):
        curve_from_arrays({}, name="x")
    with pytest.raises(InputError, match="no points"):
        curve_from_arrays({"A": ([], [], [])}, name="x")
    with pytest.raises(InputError, match="name repeats"):
        LightCurve.build("x", ("A", "A"), t, t, t + 1, [0, 1, 1])
    with pytest.raises(InputError, match="differ in length"):
        LightCurve.build("x", ("A",), t, t[:2], t + 1, [0, 0, 0])


def test_between_reordered_and_of_code(write):
    curves = LightCurves(read_block_file(write(GOOD)))
    assert len(curves.between(1.5, 3.0)) == 2
    other = curves.reordered("C")
    assert other.codes == ("C", "A", "B")
    assert other.continuum.counts.tolist() == [2, 3, 0]
    assert other.continuum.flag_labels == ((5, 9), (7, 5), (0,))
    assert other.reordered("C") is other
    assert curves.continuum.of_code("C").tolist() == [1, 2]
    with pytest.raises(UnknownNameError):
        curves.reordered("Z")
    with pytest.raises(UnknownNameError):
        curves.continuum.of_code("Z")


def test_quantities_are_put_into_one_unit():
    from astropy import units as u

    parts = ([24, 48] * u.h, [1.0, 2.0] * u.mJy, [100.0, 200.0] * u.uJy)
    curve = curve_from_arrays({"A": parts}, name="c")
    assert curve.unit == "mJy"
    np.testing.assert_allclose(curve.time, [1, 2])
    np.testing.assert_allclose(curve.error, [0.1, 0.2])
    with pytest.raises(InputError, match="code 'A': a quantity in s; expected one in mJy"):
        curve_from_arrays({"A": (*parts[:2], [1, 2] * u.s)}, name="c")


def test_times_may_be_quantities_or_astropy_times():
    from astropy import units as u
    from astropy.time import Time

    days = np.array([0.0, 1.0, 2.0, 40.0, 41.0])
    curves = LightCurves.from_arrays({c: (days, days + 1, np.ones(5)) for c in "AB"})
    np.testing.assert_allclose(curves.times([24, 48] * u.h, where="here"), [1, 2])
    with pytest.raises(InputError, match="here: a quantity in m; expected one in d"):
        curves.times([1.0] * u.m, where="here")
    with pytest.raises(InputError, match="here: astropy Times; expected numbers"):
        curves.times(Time([59000.0], format="mjd"), where="here")
    known = replace(curves, time_format="mjd", time_zero=59000.0)
    np.testing.assert_allclose(known.times(Time([2459011.5], format="jd"), where="here"), [11.0])
    expected = split_seasons(curves, gap=10.0).codes
    assert expected == ("A", "B@1", "B@2")
    assert split_seasons(curves, gap=240 * u.h).codes == expected
    assert split_seasons(curves, edges=[240] * u.h).codes == expected
    assert split_seasons(known, edges=Time([59010.0], format="mjd")).codes == expected
