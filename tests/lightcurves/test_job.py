"""The job file, from TOML to run directory; the demonstration."""

import tomllib

import numpy as np
import pytest

from crosscal.core.errors import ConfigError
from crosscal.core.progress import Silent
from crosscal.jobs.options import validate, write_toml
from crosscal.jobs.parts import PARTS
from crosscal.jobs.run import demo, run
from crosscal.lightcurves.compat.helpers import convert_asassn, convert_mydata, convert_ztf, remove_outliers
from crosscal.lightcurves.formats.pycali import read_block_file, write_pycali
from crosscal.lightcurves.options import LightcurvesJob
from crosscal.lightcurves.synthetic import simulate


@pytest.fixture
def files(tmp_path):
    curves, _ = simulate(seed=1, codes=("A", "B"), points=(40, 30), lines=1)
    write_pycali(tmp_path / "c.txt", curves.continuum)
    write_pycali(tmp_path / "l.txt", curves.lines[0])
    return tmp_path


def content(files, **tables):
    data = {"continuum": "c.txt", "lines": ["l.txt"]}
    return {"job": "lightcurves", "output": "out", "seed": 3, "data": data, **tables}


def load(files, **tables):
    return validate(LightcurvesJob, content(files, **tables), source=files / "job.toml")


def test_template_is_a_job(files):
    text = PARTS.get("lightcurves").template
    job = validate(LightcurvesJob, tomllib.loads(text), source=files / "job.toml")
    assert job.data.continuum == files / "continuum.txt"
    for key in ("kernel", "tau", "remove_outliers", "position", "merge_objects"):
        assert f"\n# {key} = " in text


@pytest.mark.thorough
def test_run(files):
    job = load(
        files,
        model={"systematic_error": True, "reference": "B"},
        sampling={"draws": 1000, "remove_outliers": 4.0, "compare_kernels": ["drw"]},
    )
    result = run(job, output=files / "out").result
    assert result.reference == "B"
    names = {path.name for path in (files / "out").iterdir()}
    assert {
        "posterior.nc", "summary.ecsv", "correction.ecsv", "overlap.ecsv", "kernels.ecsv", "diagnostics.txt", "pycali",
        "calibrated_continuum.ecsv", "calibrated_continuum.nc", "reconstruction_line1.ecsv", "input",
    } <= names  # fmt: skip
    assert run(job, output=files / "out").repeated
    again = run(job, output=files / "out2").result
    np.testing.assert_array_equal(again.factors.scale, result.factors.scale)
    from astropy.table import QTable

    table = QTable.read(files / "out" / "calibrated_continuum.ecsv", format="ascii.ecsv")
    assert len(table) <= 70
    import xarray

    with xarray.open_dataset(files / "out" / "calibrated_continuum.nc", engine="h5netcdf") as stored:
        assert stored["draws"].shape == (200, len(table))
    assert remove_outliers(result, files / "new", dev=0.5)[0].exists()


def test_job_round_trip(files):
    job = load(files, data={"continuum": "c.txt", "time_range": [0.0, 500.0], "season_edges": [300.0]})
    path = write_toml(files / "again.toml", job)
    assert validate(LightcurvesJob, tomllib.loads(path.read_text()), source=path) == job
    curves = job.data.read("A")
    assert curves.codes == ("A", "B@1", "B@2")
    assert curves.continuum.time.max() <= 500


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"data": {}}, "give either continuum"),
        ({"data": {"continuum": "c.txt", "ztf": ["z.csv"]}}, "give either continuum"),
        ({"data": {"ztf": ["z.csv"], "lines": ["l.txt"]}}, "lines need a continuum"),
        ({"data": {"columns": ["a.txt"]}}, "column_codes"),
        ({"data": {"continuum": "c.txt", "season_gap": 9.0, "season_edges": [1.0]}}, "not both"),
        ({"model": {"fixed_scale": True, "fixed_shift": True}}, "both fixed"),
        ({"model": {"kernel": "dwr"}}, "drw"),
        ({"model": {"kernle": "drw"}}, "kernel"),
        ({"prior": {"scale": [2.0, 1.0]}}, "low < high"),
        ({"sampling": {"draws": 1}}, "draws"),
        ({"data": {"ztf": ["z.csv"], "selection": {"unit": -1.0}}}, "selection.unit: input should be greater than 0"),
    ],
)
def test_wrong_jobs(files, tables, message):
    with pytest.raises(ConfigError, match=message):
        load(files, **tables)


def test_survey_job(tmp_path):
    from tests.lightcurves.test_survey import OLD, ZTF

    (tmp_path / "a.csv").write_text(OLD)
    (tmp_path / "z.csv").write_text(ZTF)
    (tmp_path / "m.txt").write_text("2458000 1e-15 1e-17\n2458003 1.1e-15 1e-17\n")
    data = {
        "ztf": ["z.csv"],
        "asassn": ["a.csv"],
        "columns": ["m.txt"],
        "column_codes": ["mine"],
        "selection": {"time_start": 2450000.0, "zeropoint": 3.92e-9, "unit": 1e-15},
    }
    job = validate(LightcurvesJob, content(tmp_path, data=data), source=tmp_path / "job.toml")
    assert job.data.read(None).codes == ("ztf_zg", "ztf_zr", "asas_V", "asas_g", "mine")
    assert job.data.read("mine").codes[0] == "mine"
    assert set(convert_asassn(tmp_path / "a.csv")) == {"asas_V", "asas_g"}
    assert convert_ztf(tmp_path / "z.csv")["ztf_zg"].shape == (1, 3)
    assert convert_mydata(tmp_path / "m.txt", "mine")["mine"].shape == (2, 3)


@pytest.mark.thorough
def test_demo(tmp_path):
    said = []

    class Listener(Silent):
        def message(self, text):
            said.append(text)

    found = demo(PARTS.get("lightcurves"), tmp_path / "demo", progress=Listener())
    assert any("2 of 2 telescopes" in line for line in said)
    assert read_block_file(tmp_path / "demo" / "input" / "continuum.txt").codes == ("A", "B", "C")
    assert found.result.diagnostics.effective_size > 400
    assert found.passed


@pytest.mark.thorough
def test_a_finished_stage_is_not_done_again(files, monkeypatch):
    job = load(files, sampling={"draws": 500})
    first = run(job, output=files / "out")
    monkeypatch.setattr("crosscal.lightcurves.job._draw", lambda *_: pytest.fail("sampled again"))
    again = run(load(files, sampling={"draws": 500}), output=files / "out").result
    for name in ("scale", "shift", "kernel", "mean"):
        np.testing.assert_array_equal(getattr(again.factors, name), getattr(first.result.factors, name))
    np.testing.assert_array_equal(again.posterior_draws.matrix()[1], first.result.posterior_draws.matrix()[1])
    assert str(again.diagnostics) == str(first.result.diagnostics)
