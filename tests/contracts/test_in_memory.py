"""Every verb that reads a table takes it in memory too, whatever package it comes from; a new verb joins by a line."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.time import Time
from astropy.timeseries import TimeSeries

from crosscal import concordance, fluxcal, lightcurves, xray
from crosscal.core.errors import CrossCalError, InputError
from crosscal.core.memory import as_table


class Polars:
    """The methods of polars' DataFrame that are used, for machines without polars."""

    schema = None

    def __init__(self, columns):
        self.columns = list(columns)
        self._columns = columns

    def get_columns(self):
        """The columns."""
        return [
            SimpleNamespace(name=k, to_numpy=lambda v=v: np.asarray(v), to_list=lambda v=v: list(v))
            for k, v in self._columns.items()
        ]


def real_polars(columns):
    return pytest.importorskip("polars").DataFrame({k: list(v) for k, v in columns.items()})


def lazy_polars(columns):
    return real_polars(columns).lazy()


def pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def pandas_with_index(columns):
    frame = pandas(columns)
    return frame.set_index(frame.columns[0])


def xarray_dataset(columns):
    xarray = pytest.importorskip("xarray")
    return xarray.Dataset({name: ("row", np.asarray(values)) for name, values in columns.items()})


def arrow(columns):
    return pytest.importorskip("pyarrow").table({k: list(v) for k, v in columns.items()})


def structured(columns):
    return Table(columns).as_array()


def series(columns):
    frame = pandas(columns)
    return {name: frame[name] for name in frame}


CONTAINERS = (
    dict, Table, QTable, pandas, pandas_with_index, series, Polars, real_polars, lazy_polars, xarray_dataset, arrow,
    structured,
)  # fmt: skip

N = 6
LONG = {
    "source": np.repeat([f"s{k}" for k in range(N)], 2),
    "instrument": np.tile(["pn", "mos"], N),
    "flux": np.linspace(1.0, 2.0, 2 * N),
    "error": np.full(2 * N, 0.1),
}
WIDE = {"source": [f"s{k}" for k in range(N)], "pn": np.linspace(1, 2, N), "mos": np.linspace(1.1, 2.1, N)}
DRAWS = {
    "instrument": ["pn"] * N + ["mos"] * N,
    "soft": np.linspace(0.9, 1.1, 2 * N),
    "hard": np.linspace(1.1, 0.9, 2 * N),
}
PAIRS = {
    "source": [f"s{k}" for k in range(N)], "kT_a": np.linspace(2.0, 8.0, N), "kT_err_a": np.full(N, 0.1),
    "kT_b": np.linspace(2.1, 8.1, N), "kT_err_b": np.full(N, 0.2),
}  # fmt: skip
STARS = {
    "name": [f"s{k}" for k in range(N)],
    "ra": np.linspace(10, 11, N),
    "dec": np.linspace(-1, 1, N),
    "g": np.full(N, 18.5),
}
CURVES = {
    "time": np.linspace(5.8e4, 5.9e4, 2 * N), "flux": np.linspace(1, 2, 2 * N), "error": np.full(2 * N, 0.1),
    "telescope": np.tile(["A", "B"], N),
}  # fmt: skip


class Reached(Exception):
    """What a verb had read when its work would have begun."""


@pytest.fixture
def caught(monkeypatch):
    """Call a verb and return what it has read, without the work that follows."""

    def stop(content, *_, **__):
        raise Reached(content)

    monkeypatch.setattr("crosscal.lightcurves.intercalibration.Model", stop)
    monkeypatch.setattr("crosscal.fluxcal.calibrator.Calibrator", stop)

    def call(verb, *arguments, **options):
        try:
            return verb(*arguments, **options)
        except Reached as reached:
            return reached.args[0]

    return call


def calibrate(table):
    return fluxcal.calibrate(SimpleNamespace(), table, SimpleNamespace(), ["decam2014-g"])


#: Verb, columns, and what is read of them as an array.
VERBS = {
    "concordance.read_table": (concordance.read_table, LONG, lambda data: data.log_rate),
    "concordance.read_matrix": (partial(concordance.read_matrix, logarithmic=False), WIDE, lambda data: data.log_rate),
    "concordance.read_area_draws": (concordance.read_area_draws, DRAWS, lambda draws: np.stack(list(draws.values()))),
    "xray.read_pairs": (
        lambda t: xray.read_pairs(t, trusted="a", corrected="b"), PAIRS, lambda p: np.stack([p.values, p.sd])
    ),
    "fluxcal.read_catalogue": (
        lambda t: fluxcal.read_catalogue(t, bands={"decam2014-g": "g"}),
        STARS,
        lambda c: np.stack([c.ra, c.magnitude[:, 0]]),
    ),
    "fluxcal.calibrate": (calibrate, STARS, lambda c: np.stack([c.ra, c.magnitude[:, 0]])),
    "lightcurves.read": (lightcurves.read, CURVES, lambda c: np.stack([c.continuum.time, c.continuum.flux])),
    "lightcurves.from_timeseries": (
        lambda t: lightcurves.read(t) if hasattr(t, "suffix") else lightcurves.from_timeseries(t),
        CURVES,
        lambda c: np.stack([c.continuum.time, c.continuum.flux]),
    ),
    "lightcurves.intercalibrate": (
        lightcurves.intercalibrate, CURVES, lambda c: np.stack([c.continuum.time, c.continuum.flux])
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def any_frame_and_templates(monkeypatch):
    for name in ("TemplateLibrary", "Frame"):
        monkeypatch.setattr(f"crosscal.fluxcal.calibrator.{name}", SimpleNamespace)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", VERBS)
def test_a_table_in_memory_is_read_as_a_file_is(caught, tmp_path, name, container):
    verb, columns, numbers = VERBS[name]
    file = tmp_path / "table.csv"
    Table(columns).write(file, format="ascii.csv")
    expected = numbers(caught(verb, file))
    assert np.isfinite(expected).all()
    # CSV holds every digit.
    np.testing.assert_array_equal(numbers(caught(verb, container(columns))), expected)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("wrong", [3, [1, 2], {"a": [1, 2], "b": [1]}, None], ids=repr)
def test_what_is_no_table_is_one_sentence(caught, name, wrong):
    with pytest.raises(InputError) as error:
        caught(VERBS[name][0], wrong)
    assert "expected" in str(error.value)


def test_units_are_used_wherever_they_stand(caught):
    kev = {"kT_a", "kT_err_a", "kT_b", "kT_err_b"}
    joule = {k: (np.asarray(v) * u.keV).to(u.J) if k in kev else v for k, v in PAIRS.items()}
    plain = {k: getattr(v, "value", v) for k, v in joule.items()}
    frame = pandas(plain)
    frame.attrs["units"] = dict.fromkeys(kev, "J")
    dataset = xarray_dataset(plain)
    for name in kev:
        dataset[name].attrs["units"] = "J"
    for table in (joule, QTable(joule), frame, dataset):
        pairs = xray.read_pairs(table, trusted="a", corrected="b")
        np.testing.assert_allclose(pairs.values[0, :, 0], PAIRS["kT_a"], rtol=1e-12)


def test_times_and_positions_are_taken(caught):
    times = Time(CURVES["time"], format="mjd", scale="tdb")
    flux, error = CURVES["flux"] * u.mJy, CURVES["error"] * u.mJy
    for table in (
        {**CURVES, "time": times},
        QTable({**CURVES, "time": times, "flux": flux, "error": error}),
        TimeSeries(time=times, data={k: v for k, v in CURVES.items() if k != "time"}),
        {"A": (times[::2], flux[::2], error[::2]), "B": (times[1::2], flux[1::2], error[1::2])},
    ):
        curves = caught(lightcurves.intercalibrate, table)
        assert curves.codes == ("A", "B")
        assert curves.time_scale == "tdb"
        np.testing.assert_allclose(np.sort(curves.continuum.time), CURVES["time"], rtol=1e-14)
    sky = SkyCoord(STARS["ra"], STARS["dec"], unit="deg")
    for table in (
        {"name": STARS["name"], "g": STARS["g"], "sky": sky},
        QTable({"sky": sky, "g": STARS["g"] * u.ABmag}),
    ):
        np.testing.assert_allclose(caught(calibrate, table).ra, STARS["ra"], rtol=1e-12)


def test_missing_values_stay_missing():
    frame = pandas({"a": [1.0, None, 3.0], "b": ["x", None, "z"]})
    for table in (
        as_table(frame),
        as_table({"a": frame["a"], "b": frame["b"]}),
        as_table(arrow({"a": [1.0, None, 3.0], "b": ["x", None, "z"]})),
    ):
        numbers = np.ma.filled(np.ma.asarray(table["a"]), np.nan)
        np.testing.assert_array_equal(numbers, [1.0, np.nan, 3.0])
        assert np.ma.getmaskarray(np.ma.asarray(table["b"]))[1] or table["b"][1] in ("", None)


def test_a_light_curve_object_with_columns_is_a_table(caught):
    """lightkurve's LightCurve is a TimeSeries with flux and flux_err."""
    times = Time(CURVES["time"], format="mjd")
    curve = TimeSeries(time=times, data={"flux": CURVES["flux"], "flux_err": CURVES["error"]})
    curves = caught(lightcurves.intercalibrate, {"tess": curve, "kepler": curve})
    assert curves.codes == ("tess", "kepler")


def test_errors_are_of_the_project():
    with pytest.raises(
        CrossCalError,
        match="the table: an object of type list; expected the path of a file, an astropy, pandas or polars",
    ):
        concordance.read_table([1, 2])
