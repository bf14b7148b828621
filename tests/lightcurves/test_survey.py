"""Survey tables: formats, cuts that mean what they say, binning, zero points per filter."""

import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.reading import (
    ZEROPOINTS,
    Selection,
    from_timeseries,
    merge,
    read_asassn,
    read_atlas,
    read_columns,
    read_ztf,
    rebin,
)
from crosscal.lightcurves.types import LightCurves

OLD = """HJD,UT Date,Camera,FWHM,Limit,mag,mag_err,flux(mJy),flux_err,Filter
2458019.9,x,bd,1.5,16.3,14.0,0.03,9.6,0.3,V
2458020.2,x,bd,1.5,16.3,14.0,0.06,9.6,0.3,V
2458030.0,x,bB,1.5,16.3,>15.0,99.99,99.99,99.99,g
2458031.0,x,bB,1.5,16.3,14.5,0.05,6.0,0.3,g
2458032.0,x,bD,1.5,16.3,14.5,0.20,6.0,0.3,g
"""
NEW = """# a comment of the server
JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera
2458019.9,9.6,0.3,14.0,0.03,16,1,V,G,bd
2458020.9,9.6,0.3,14.0,0.03,16,1,V,B,bd
"""
ZTF = """oid,hjd,mag,magerr,catflags,filtercode
1,2458000.5,15.0,0.01,0,zg
1,2458001.5,15.0,0.01,32768,zg
1,2458002.5,14.8,0.01,0,zr
"""
ATLAS = """###MJD          m      dm  uJy   duJy F err chi/N
59000.1  17.0  0.1   -30    10 o  0  1.2
59000.2  17.0  0.1    50    10 o  1  1.2
59000.3  17.0  0.1    50    10 c  0  99
59000.4  17.0  0.1    60    10 c  0  1
"""


@pytest.fixture
def write(tmp_path):
    def make(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def test_old_asassn(write):
    found = read_asassn(write(OLD))
    assert set(found) == {"asas_V", "asas_g"}
    time, flux, error = found["asas_V"]
    assert time.tolist() == [2458019.9, 2458020.2]
    np.testing.assert_allclose(flux, ZEROPOINTS["V"] * 10 ** (-0.4 * 14.0))
    np.testing.assert_allclose(error / flux, np.array([0.03, 0.06]) * np.log(10) / 2.5)
    # 99.99 is no detection; 0.20 is beyond the default limit of 0.1.
    assert len(found["asas_g"][0]) == 1
    assert set(read_asassn(write(OLD), by_camera=True)) == {"asas_bdV", "asas_bBg"}


def test_new_asassn_keeps_good_quality(write):
    found = read_asassn(write(NEW))
    assert len(found["asas_V"][0]) == 1


def test_fluxes_of_asassn(write):
    found = read_asassn(write(OLD), use_flux=True)
    # 9.6 mJy at 5500 A: F_lambda = F_nu c / lambda^2 = 9.6e-26 * 3e18 / 5500^2 erg/s/cm2/A.
    assert found["asas_V"][1][0] == pytest.approx(9.6e-26 * 2.99792458e18 / 5500**2, rel=1e-9)


def test_cuts(write):
    path = write(OLD)
    both = Selection(time_range=(2458020.0, 2458031.5), time_start=2450000.0, keylabel="x_", unit=1e-15)
    found = read_asassn(path, both)
    assert found["x_asas_V"][0].tolist() == pytest.approx([8020.2])
    assert found["x_asas_V"][1][0] == pytest.approx(ZEROPOINTS["V"] * 10 ** (-5.6) / 1e-15)
    # The limit is inclusive and in magnitudes.
    assert len(read_asassn(path, Selection(errlimit=0.03))["asas_V"][0]) == 1
    assert len(read_asassn(path, Selection(errlimit=None))["asas_g"][0]) == 2
    assert set(read_asassn(path, Selection(codes=("asas_g",)))) == {"asas_g"}
    with pytest.raises(DataFileError, match="no points are left"):
        read_asassn(path, Selection(time_range=(0.0, 1.0)))


def test_zero_points_per_filter(write):
    path = write(OLD)
    found = read_asassn(path, Selection(zeropoint={"V": 1.0}))
    assert found["asas_V"][1][0] == pytest.approx(10 ** (-5.6))
    assert found["asas_g"][1][0] == pytest.approx(ZEROPOINTS["g"] * 10 ** (-5.8))
    assert read_asassn(path, Selection(zeropoint=2.0))["asas_g"][1][0] == pytest.approx(2 * 10 ** (-5.8))
    with pytest.raises(InputError, match="no zero point for filter 'B'"):
        read_asassn(write(OLD.replace(",V\n", ",B\n")))


def test_ztf(write):
    found = read_ztf(write(ZTF))
    assert set(found) == {"ztf_zg", "ztf_zr"}
    assert len(found["ztf_zg"][0]) == 1


def test_atlas_difference_fluxes(write):
    found = read_atlas(write(ATLAS, "atlas.txt"))
    assert found["atlas_o"][1].tolist() == [-30.0]
    assert found["atlas_c"][1].tolist() == [60.0]


def test_columns(write):
    found = read_columns(write("# t f e\n1 2 0.1 x\n2,3,0.1,y\n"), "mine")
    assert found["mine"][1].tolist() == [2.0, 3.0]
    for text, message in (
        ("1 2\n", "no errors"),
        ("1 2 0.1\n1 2\n", "row 2: 2 columns"),
        ("1 2 x\n", "'x' is not a number"),
        ("# nothing\n", "table is empty"),
    ):
        with pytest.raises(DataFileError, match=message):
            read_columns(write(text), "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table is empty"),
        ("HJD,mag\n1,2\n", "no column 'mag_err'"),
        (OLD.replace("14.0,0.03", "abc,0.03"), "'abc' is not a number"),
        ("HJD,mag\n1,2,3\n", "row 2: 3 columns"),
    ],
)
def test_wrong_tables(write, text, message):
    with pytest.raises(DataFileError, match=message):
        read_asassn(write(text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": 0.0}, "unit: 0.0; expected a number > 0"),
        ({"time_range": (2.0, 1.0)}, "time_range: low < high"),
        ({"rebin": -1.0}, "bin width"),
        ({"errlimit": 0.0}, "errlimit: 0.0; expected a number > 0"),
    ],
)
def test_impossible_selection(arguments, message):
    with pytest.raises(InputError, match=message):
        Selection(**arguments)


def test_rebin_against_a_plain_loop(rng):
    t = np.sort(rng.uniform(0, 50, 200))
    f, e = rng.normal(1, 0.1, 200), rng.uniform(0.05, 0.2, 200)
    found = rebin(t, f, e, 1.3)
    expected, i = [], 0
    while i < len(t):
        j = i
        while j < len(t) and t[j] < t[i] + 1.3:
            j += 1
        w = 1 / e[i:j] ** 2
        expected.append((np.sum(t[i:j] * w) / w.sum(), np.sum(f[i:j] * w) / w.sum(), w.sum() ** -0.5))
        i = j
    np.testing.assert_allclose(np.array(found), np.array(expected).T, rtol=1e-12)
    with pytest.raises(InputError, match="bin width"):
        rebin(t, f, e, 0.0)
    with pytest.raises(InputError, match="not sorted"):
        rebin(t[::-1], f, e, 1.0)


def test_rebin_false_keeps_every_point(write):
    assert len(read_asassn(write(OLD), Selection(rebin=False))["asas_V"][0]) == 2
    assert len(read_asassn(write(OLD), Selection(rebin=1.0))["asas_V"][0]) == 1


def test_merge(write):
    groups = read_ztf(write(ZTF)), read_asassn(write(OLD, "b.csv"))
    curves = merge(*groups, time_format="jd")
    assert curves.codes == ("ztf_zg", "ztf_zr", "asas_V", "asas_g")
    with pytest.raises(InputError, match="in two files"):
        merge(groups[0], groups[0])
    assert merge(list(groups)).codes == curves.codes
    with pytest.raises(InputError, match="a group of type str; expected what read_ztf"):
        merge("b.csv")


def test_what_a_reader_gives_is_short_to_see_and_goes_straight_into_the_verb(write):
    curves = read_ztf(write(ZTF))
    assert (
        repr(curves) == f"<Curves ztf_zg: {len(curves['ztf_zg'][0])} points, ztf_zr: {len(curves['ztf_zr'][0])} points>"
    )
    assert LightCurves.of(curves).codes == tuple(curves)
    joined = LightCurves.of(curves)
    assert LightCurves.of(joined) is joined
    with pytest.raises(InputError, match=r"curves of type int; expected LightCurves"):
        LightCurves.of(3)
    with pytest.raises(InputError, match=r"absent\.csv"):
        intercalibrate("absent.csv")


def test_time_series():
    from astropy import units as u
    from astropy.table import MaskedColumn, QTable
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

    series = TimeSeries(time=Time([58000.0, 58001.0, 58002.0], format="mjd"))
    series["flux"], series["error"] = [1.0, 2.0, 3.0] * u.mJy, [0.1, 0.1, 0.1] * u.mJy
    series["telescope"] = ["B", "A", "B"]
    curves = from_timeseries(series)
    assert curves.codes == ("B", "A")
    assert curves.time_format == "mjd"
    assert curves.continuum.unit == "mJy"
    np.testing.assert_allclose(curves.continuum.time, [58000, 58001, 58002])
    with pytest.raises(UnknownNameError, match="mag"):
        from_timeseries(series, flux="mag")
    table = QTable({"time": [1.0, 2.0], "flux": MaskedColumn([1.0, 2.0], mask=[False, True]), "error": [1.0, 1.0]})
    kept = from_timeseries(table)
    assert len(kept) == 1
    assert any("1 of 2 rows are excluded (1 without a value)" in note for note in kept.notes)
