"""Any survey's table: recognised by its columns, its rules applied, and everything that was assumed told."""

import numpy as np
import pytest
from tests.lightcurves import samples

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.raw import raw_table
from crosscal.lightcurves.formats.registry import LAYOUTS, layout_of
from crosscal.lightcurves.formats.selection import AB_ZERO, Selection
from crosscal.lightcurves.reading import merge, read, read_table, read_ztf
from crosscal.lightcurves.timesystem import TimeSystem, moved
from crosscal.lightcurves.types import LightCurves

#: Layout, system, unit, points by telescope.
FOUND = {
    "asassn": ("HJD (UTC)", "erg / (s cm2 Angstrom)", {"asas_V": 2}),
    "asassn-v2": ("JD (UTC)", "erg / (s cm2 Angstrom)", {"asas_V": 1}),
    "asassn-client": ("JD (UTC)", "erg / (s cm2 Angstrom)", {"asas_g": 2}),
    "ztf": ("HJD (UTC)", "erg / (s cm2 Angstrom)", {"ztf_zg_644": 1, "ztf_zg_777": 1, "ztf_zr": 1}),
    "ztf-tbl": ("HJD (UTC)", "erg / (s cm2 Angstrom)", {"ztf_zg": 2}),
    "ztf-forced": ("JD (UTC)", "uJy", {"ztf_zg": 1, "ztf_zr": 1}),
    "ztf-alerts": ("MJD (UTC)", "erg / (s cm2 Angstrom)", {"ztf_zg": 1, "ztf_zr": 1}),
    "ztf-alerts-difference": ("JD (UTC)", "uJy", {"ztf_zg": 2}),
    "atlas": ("MJD (UTC)", "uJy", {"atlas_o": 1, "atlas_t": 1}),
    "gaia": ("BJD (TCB) - 2455197.5", "electron / s", {"gaia_G": 1, "gaia_BP": 1}),
    "crts": ("MJD (UTC)", "mJy", {"crts": 2}),
    "panstarrs": ("MJD (TAI)", "Jy", {"ps1_g": 1, "ps1_r": 1}),
    "aavso": ("JD (UTC)", "erg / (s cm2 Angstrom)", {"aavso_V_AAA": 1, "aavso_V_BBB": 1}),
    "cosmograil": ("heliocentric MJD", "mJy", {"Mercator": 1, "Euler": 1}),
    "cds": ("MJD", "mJy", {"LCO": 1, "LT1": 1}),
    "tess": ("BJD (TDB)", "electron / s", {"tess_s7": 3}),
    "aavso-extended": ("HJD (UTC)", "erg / (s cm2 Angstrom)", {"aavso_V": 1}),
    "ztf-lasair": ("MJD (UTC)", "uJy", {"ztf_zg": 1, "ztf_zr": 1}),
    "rubin": ("MJD (TAI)", "nJy", {"rubin_g": 2}),
    "rubin-difference": ("MJD (TAI)", "nJy", {"rubin_g": 1, "rubin_r": 1}),
    "neowise": ("MJD (UTC)", "mJy", {"wise_W1": 2, "wise_W2": 1}),
    "fermi-lat": ("JD (UTC)", "photon / (s cm2)", {"fermi": 1}),
    "uvot": ("MJD (TT)", "erg / (s cm2 Angstrom)", {"uvot_UVW2": 2}),
    "parquet": ("MJD", "", {"parquet": 2}),
    "ecsv": ("MJD", "mJy", {"ecsv": 2}),
}


@pytest.fixture
def sample(tmp_path):
    def make(name, text=None):
        path = tmp_path / f"{name}.txt"
        if name in samples.BINARY:
            if not path.exists():
                samples.BINARY[name](path)
            return path
        path.write_text(samples.TEXTS[name] if text is None else text)
        return path

    return make


@pytest.mark.parametrize("name", FOUND)
def test_every_layout_is_found_by_looking_into_the_file(sample, name):
    curves = read(sample(name))
    system, unit, counts = FOUND[name]
    assert str(curves.system) == system
    assert curves.continuum.unit == unit
    assert dict(zip(curves.codes, curves.continuum.counts.tolist(), strict=True)) == counts


def test_every_layout_has_a_sample_and_no_sample_has_two():
    recognised = set()
    for name in LAYOUTS:
        layout = LAYOUTS.get(name)
        assert isinstance(layout, Layout)
        assert layout.__doc__ == layout.source
    for name in ("tess-kepler", "swift-uvot", *samples.TEXTS):
        recognised.add({"ztf-tbl": "ztf"}.get(name, name))
    assert set(LAYOUTS) <= recognised


def test_values_of_layouts_by_hand(sample):
    zg = read(sample("ztf"), merge_objects=True)
    assert zg.codes == ("ztf_zg", "ztf_zr")
    np.testing.assert_allclose(zg.continuum.flux[:2], 4.75e-9 * 10 ** (-0.4 * np.array([15.0, 15.1])))
    # zpdiff 26.2: 1000 DN are 3631 Jy 10^(-0.4 26.2) 1000.
    forced = read(sample("ztf-forced")).continuum
    np.testing.assert_allclose(forced.flux, 3631e6 * 10 ** (-0.4 * 26.2) * np.array([1000.0, -500.0]))
    alerts = read(sample("ztf-alerts-difference")).continuum
    np.testing.assert_allclose(alerts.flux, 3631e6 * 10 ** (-0.4 * 18.0) * np.array([1.0, -1.0]))
    np.testing.assert_allclose(alerts.error, np.abs(alerts.flux) * 0.05 * np.log(10) / 2.5)
    cds = read(sample("cds")).continuum
    np.testing.assert_allclose(cds.error, 0.02)
    # The mission clock starts at MJD 51910.00074287 (TT).
    uvot = read(sample("uvot")).continuum
    np.testing.assert_allclose(uvot.time, 51910.00074287037 + np.array([1.0, 2.0]), rtol=0, atol=1e-9)


def test_values_of_further_layouts_by_hand(sample):
    np.testing.assert_allclose(read(sample("ztf-lasair")).continuum.flux, [-120.5, 80.5])
    np.testing.assert_allclose(read(sample("rubin")).continuum.flux, [30500.0, 31600.0])
    np.testing.assert_allclose(read(sample("rubin-difference")).continuum.flux, [-500.0, 600.0])
    np.testing.assert_allclose(read(sample("fermi-lat")).continuum.flux, [1.1e-7])
    np.testing.assert_allclose(read(sample("neowise")).continuum.flux[0], AB_ZERO * 10 ** (-0.4 * 12.0))
    with pytest.raises(DataFileError, match="#DATE=EXCEL"):
        read(sample("aavso-extended", samples.AAVSO_EXTENDED.replace("#DATE=HJD", "#DATE=EXCEL")))


def test_what_is_left_out_and_assumed_is_told(sample):
    notes = {name: " ".join(read(sample(name)).notes) for name in ("atlas", "aavso", "ztf", "ztf-forced", "crts")}
    assert "1 rows that repeat others exactly are used once" in notes["atlas"]
    assert "1 with err other than 0" in notes["atlas"]
    assert "1 limits, 1 without an error" in notes["aavso"]
    assert "aavso_V has 2 objects, fields or observers" in notes["aavso"]
    assert "ztf_zg has 2 objects" in notes["ztf"]
    assert "1 with procstatus other than 0, 1 with sciinpseeing > 4" in notes["ztf-forced"]
    assert "difference fluxes" in notes["ztf-forced"]
    assert "assumed to be AB" in notes["crts"]


def test_errors_that_a_table_lacks_are_asked_for_or_given(sample):
    with pytest.raises(DataFileError, match="no errors; expected a column of errors, or error ="):
        read(sample("gaia-alerts"))
    curves = read(sample("gaia-alerts"), error=0.02)
    assert len(curves) == 2
    np.testing.assert_allclose(curves.continuum.error / curves.continuum.flux, 0.02 * np.log(10) / 2.5)
    assert any("points without an error get 0.02" in note for note in curves.notes)


@pytest.mark.parametrize(
    ("text", "flux", "error"),
    [
        ("mjd,flux,err\n58000,2,0.1\n58001,3,0.1\n", [2, 3], [0.1, 0.1]),
        ("MJD;Flux (mJy);Error (uJy)\n58000;2;100\n58001;3;100\n", [2, 3], [0.1, 0.1]),
        ("mjd\tflux_mjy\tflux_err_ujy\n58000\t2\t100\n58001\t3\t100\n", [2, 3], [0.1, 0.1]),
        ("# MJD flux[mJy] err_up[mJy] err_lo[mJy]\n58000 2 0.3 0.1\n58001 3 0.1 0.3\n", [2, 3], [0.05**0.5] * 2),
        ("mjd,flux,e_flux\r\n58000,2D0,1.0d-1\r\n58001,3D+0,1D-1\r\n", [2, 3], [0.1, 0.1]),
        ("\ufeffmjd,flux,flux_error\n58000,2,0.1\n58001,3,0.1\n", [2, 3], [0.1, 0.1]),
        ("mjd,flux,err,quality\n58000,2,0.1,0\n58001,3,0.1,9\n", [2, 3], [0.1, 0.1]),
        ("mjd|flux|err (%)\n58000|2|5\n58001|4|5\n", [2, 4], [0.1, 0.2]),
        ("mjd,flux,err\n58000,2,0.1\n58001,null,0.1\n58002,3,nan\n58003,3,0.1\n", [2, 3], [0.1, 0.1]),
        ("58000 2 0.1\n58001 3 0.1\n", [2, 3], [0.1, 0.1]),
    ],
)
def test_named_columns_in_any_shape(tmp_path, text, flux, error):
    path = tmp_path / "t.dat"
    path.write_bytes(text.encode())
    curve = read(path).continuum
    assert curve.codes == ("t",)
    np.testing.assert_allclose(curve.flux, flux)
    np.testing.assert_allclose(curve.error, error)


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("mjd mag mag_err", 1.0),
        ("jd Vmag e_Vmag", 1.0),
        ("hjd flux(mag) err(mag)", 1.0),
        ("mjd m_ab(mmag) err(mmag)", 1e3),
    ],
)
def test_magnitudes_are_never_taken_as_fluxes(tmp_path, header, scale):
    path = tmp_path / "m.dat"
    path.write_text(f"# {header}\n58000 {15.0 * scale} {0.02 * scale}\n58001 {16.0 * scale} {0.02 * scale}\n")
    curves = read(path)
    np.testing.assert_allclose(curves.continuum.flux, AB_ZERO * 10 ** (-0.4 * np.array([15.0, 16.0])))
    np.testing.assert_allclose(curves.continuum.error / curves.continuum.flux, 0.02 * np.log(10) / 2.5)
    assert any("assumed to be AB" in note for note in curves.notes)


def test_foreign_encodings(tmp_path):
    text = "# 观测 MJD\n58000 2 0.1\n58001 3 0.1\n"
    for encoding in ("utf-8", "gb18030", "utf-16"):
        path = tmp_path / f"{encoding}.dat"
        path.write_bytes(text.encode(encoding))
        assert read(path).continuum.flux.tolist() == [2.0, 3.0]
    (tmp_path / "latin.csv").write_bytes("mjd,flux,err,site\n58000,2,0.1,Observatório\n".encode("latin-1"))
    assert len(read(tmp_path / "latin.csv")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", "no column of times among a, b, c"),
        ("mjd,a,b\n1,2,3\n", "no column of fluxes or magnitudes"),
        ("mjd,gmag,rmag,err\n1,2,3,4\n", "several columns could be the magnitude: gmag, rmag"),
        ("mjd,flux,err\n1,2\n", "row 2: 2 columns"),
        ("mjd,flux,err\n1,x,3\n", "column 'flux', row 2: 'x' is not a number"),
        ("mjd,flux\n1,2\n", "no errors"),
        ("mjd,flux,flux\n1,2,3\n", "the column 'flux' repeats"),
        ("mjd,flux,err\n", "no rows"),
        ("mjd,flux (mJy),err (s)\n1,2,3\n", "values in 's'; expected values that convert to mJy"),
        ("mjd,mag,err (mJy)\n1,2,3\n", "errors in mJy of magnitudes"),
        ("time (kg),flux,err\n1,2,3\n", "values in 'kg'"),
        ("mjd,flux,err\n1,2,-3\n", "no points are left"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises((DataFileError, InputError), match=message.replace("(", "\\(").replace(")", "\\)")):
        read(path)


def test_columns_may_be_named_by_the_user(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("when,gmag,rmag,err\n58000,15,14,0.02\n58001,15.1,14.1,0.02\n")
    curves = read(path, columns={"time": "when", "magnitude": "rmag"}, time_format="mjd")
    np.testing.assert_allclose(curves.continuum.flux[0], AB_ZERO * 10 ** (-0.4 * 14))
    assert str(curves.system) == "MJD"
    with pytest.raises(UnknownNameError, match="unknown role of a column 'when'"):
        read(path, columns={"when": "when"})
    with pytest.raises(UnknownNameError, match="unknown column 'imag'"):
        read(path, columns={"magnitude": "imag"})
    with pytest.raises(InputError, match="flux and magnitude"):
        read(path, columns={"magnitude": "gmag", "flux": "rmag"})
    other = tmp_path / "other.csv"
    other.write_text("mjd,flux,err\n1,2,3\n")
    with pytest.raises(InputError, match="expected none: the file says MJD"):
        read(other, time_format="jd")


def test_telescopes_and_filters_in_columns(tmp_path):
    path = tmp_path / "lco.csv"
    path.write_text("MJD,flux,err,telescope,filter\n1,2,0.1,1m003,g\n2,3,0.1,1m004,g\n3,4,0.1,1m003,r\n")
    assert read(path).codes == ("1m003_g", "1m004_g", "1m003_r")


def test_several_files(sample, tmp_path):
    both = read(sample("ztf"), sample("atlas"))
    assert both.codes == ("ztf_zg_644", "ztf_zg_777", "ztf_zr", "atlas_o", "atlas_t")
    # One system of times, one unit.
    assert str(both.system) == "HJD (UTC)"
    assert both.continuum.span < 40
    mine = both.continuum.code == 3
    # 687 uJy at 6790 A.
    np.testing.assert_allclose(both.continuum.flux[mine], 687e-29 * 2.99792458e18 / 6790.0**2, rtol=1e-9)
    assert any("fluxes are converted from uJy" in note for note in both.notes)
    assert any("atlas_t (uJy) do not convert" in note for note in both.notes)
    second = tmp_path / "other.csv"
    second.write_text(samples.ZTF)
    twice = read(sample("ztf"), second)
    assert twice.codes[3:] == ("ztf_zg_644_other", "ztf_zg_777_other", "ztf_zr_other")
    assert any("are exactly those of ztf_zr and count twice" in note for note in twice.notes)
    with pytest.raises(InputError, match="nothing to read"):
        read()
    with pytest.raises(InputError, match="in two files; expected a keylabel"):
        merge(read_ztf(second), read_ztf(second))
    assert merge(read_ztf(second), read_ztf(second, Selection(keylabel="b_"))).codes[3] == "b_ztf_zg_644"


def test_curves_and_light_curves_are_merged(sample):
    days = np.array([58000.0, 58001.0])
    mine = LightCurves.from_arrays({"mine": (days, days * 0 + 1, days * 0 + 0.1)})
    joined = merge(read_ztf(sample("ztf")), mine)
    assert joined.codes[-1] == "mine"
    assert joined.continuum.span < 5
    assert any("times are assumed to be MJD" in note for note in joined.notes)
    flagged = LightCurves.from_arrays({"f": (days + 2400000.5, days * 0 + 1, days * 0 + 0.1, [3, 7])})
    assert merge(mine, flagged).continuum.flag_labels == ((0,), (3, 7))
    odd = LightCurves.from_arrays({"odd": (days - 58000, days * 0 + 1, days * 0 + 0.1)})
    with pytest.raises(InputError, match="it is not known what its times count"):
        merge(read_ztf(sample("ztf")), odd)
    lines = LightCurves(mine.continuum, (mine.continuum,))
    with pytest.raises(InputError, match="the lines continuum; expected light curves of one quantity"):
        merge(mine, lines)


def test_frames_need_a_position(sample, tmp_path):
    atlas = samples.ATLAS.replace("RA Dec", "RA1 Dec1")
    ztf = samples.ZTF.replace("ra,dec", "ra1,dec1")
    paths = sample("ztf", ztf), sample("atlas", atlas)
    with pytest.raises(InputError, match=r"MJD \(UTC\) is to be joined with HJD .* expected position = \[ra, dec\]"):
        read(*paths)
    curves = read(*paths, position=(10.0, 20.0))
    geocentric = read(paths[1]).continuum.time[0] + 2400000.5
    delay = curves.continuum.time[curves.continuum.code == 3][0] - geocentric
    assert 0 < abs(delay) < 500 / 86400
    with pytest.raises(InputError, match="position"):
        Selection(position=(10.0, 120.0))


def test_time_systems_against_astropy():
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    dates = np.array([58000.0, 58090.25, 58200.5, 58300.0])
    geo = TimeSystem("mjd", scale="utc", frame="geocentric")
    centre = EarthLocation.from_geocentric(0 * u.m, 0 * u.m, 0 * u.m)
    star = SkyCoord(10 * u.deg, 20 * u.deg)
    for frame in ("heliocentric", "barycentric"):
        there = moved(dates, geo, TimeSystem("jd", 2450000.0, "tdb", frame), (10.0, 20.0), "x")
        time = Time(dates, format="mjd", scale="utc", location=centre)
        # astropy adds the aberration-free delay at TDB; its own ephemeris of the Earth is the same one.
        expected = (time.tdb + time.light_travel_time(star, frame, ephemeris="builtin")).jd - 2450000.0
        np.testing.assert_allclose(there, expected, rtol=0, atol=0.05 / 86400)
        back = moved(there, TimeSystem("jd", 2450000.0, "tdb", frame), geo, (10.0, 20.0), "x")
        # Julian Dates hold 4e-10 d.
        np.testing.assert_allclose(back, dates, rtol=0, atol=2e-9)
    with pytest.raises(InputError, match="not known what the times count"):
        moved(dates, TimeSystem(), geo, None, "x")
    with pytest.raises(InputError, match="time scale 'ut'"):
        TimeSystem("jd", scale="ut")


def test_tables_in_memory():
    import pandas as pd
    from astropy import units as u
    from astropy.table import Table
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

    columns = {"mjd": [58000.0, 58001.0, 58002.0], "flux": [1.0, np.nan, 3.0], "flux_err": [0.1, 0.1, 0.1]}
    for table in (columns, Table(columns), pd.DataFrame(columns), pd.DataFrame(columns).set_index("mjd")):
        curves = read(table)
        assert curves.continuum.flux.tolist() == [1.0, 3.0]
        assert curves.time_format == "mjd"
    named = read({"A": Table(columns), "B": pd.DataFrame(columns)})
    assert named.codes == ("A", "B")
    assert read([Table(columns), {"B": columns}]).codes == ("telescope", "B")
    series = TimeSeries(time=Time([2458000.5, 2458001.5], format="jd", scale="tdb"))
    series["flux"], series["flux_err"] = [1.0, 2.0] * u.mJy, [100.0, 100.0] * u.uJy
    curves = read(series)
    assert (curves.time_scale, curves.continuum.unit) == ("tdb", "mJy")
    np.testing.assert_allclose(curves.continuum.error, 0.1)
    with pytest.raises(InputError, match="of type int; expected the path of a file"):
        read(3)


def test_astropy_times_and_missing_values_in_arrays():
    from astropy.time import Time

    time = Time([58000.0, 58001.0, 58002.0], format="mjd", scale="utc")
    flux = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    curves = LightCurves.from_arrays(
        {"A": (time, flux, np.full(3, 0.1)), "B": (time.tdb, [1.0, np.nan, 1.0], np.full(3, 0.1))}
    )
    assert curves.continuum.counts.tolist() == [2, 2]
    assert (curves.time_format, curves.time_scale) == ("mjd", "utc")
    np.testing.assert_allclose(curves.continuum.time, [58000, 58000, 58002, 58002], rtol=0, atol=1e-9)
    assert curves.notes == (
        "A: 1 of 3 points are masked or NaN and are not used", "B: 1 of 3 points are masked or NaN and are not used",
    )  # fmt: skip
    with pytest.raises(InputError, match="expected astropy Times, as other codes have"):
        LightCurves.from_arrays({"A": (time, flux, flux), "B": ([1.0, 2.0, 3.0], flux, flux)})


def test_rules_say_what_they_drop(sample):
    table = raw_table(sample("ztf"))
    assert layout_of(table) is LAYOUTS.get("ztf")
    assert layout_of(raw_table(sample("cds"))) is None
    for rule, holds, text in (
        (Keep("mag", "<", 15.0), [False, False, False, True], "with mag >= 15"),
        (Keep("mag", "<=", 15.0), [True, False, True, True], "with mag > 15"),
        (Keep("mag", ">", 15.0), [False, True, False, False], "with mag <= 15"),
        (Keep("mag", "==", 15.0), [True, False, True, False], "with mag other than 15"),
        (Keep("filtercode", "is", ("zg",)), [True, True, True, False], "with filtercode other than zg"),
        (Keep("absent", "==", 1.0), [True] * 4, "with absent other than 1"),
    ):
        assert rule.holds(table).tolist() == holds
        assert str(rule) == text


def test_a_layout_may_be_named(sample):
    together = Selection(merge_objects=True)
    assert set(read_table(sample("ztf"), together, layout="columns")) == {"ztf_zg", "ztf_zr"}
    with pytest.raises(DataFileError, match="no column 'mjd'; expected the columns"):
        read_table(sample("ztf", samples.ZTF.replace("mjd", "day")), layout="atlas")
    with pytest.raises(UnknownNameError):
        read_table(sample("ztf"), layout="zft")
