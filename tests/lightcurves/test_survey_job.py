"""A survey of sources: files or one table, failures counted, interrupted and resumed, the same on every executor."""

import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

from crosscal.compute import sweep
from crosscal.core.errors import ConfigError, DataFileError, FitError, UnknownNameError
from crosscal.jobs.options import validate
from crosscal.jobs.parts import PARTS
from crosscal.jobs.run import run
from crosscal.jobs.stages import Stages
from crosscal.lightcurves.survey import job as survey
from crosscal.lightcurves.survey.one import NOT_CONVERGED, REFUSED, UNREADABLE
from crosscal.lightcurves.survey.options import SurveyJob
from crosscal.lightcurves.survey.sources import joint_sources, listed_sources
from crosscal.lightcurves.synthetic import simulate

GOOD_SOURCES = ("S0", "S1", "S2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three sources as files and as one table; with the files, one that is missing and one that is no table."""
    folder = tmp_path_factory.mktemp("survey")
    rows, joint = ["source,file"], ["source,mjd,flux,error,telescope"]
    for k, name in enumerate(GOOD_SOURCES):
        curve = simulate(seed=k, codes=("A", "B"), points=25)[0].continuum
        lines = [f"{58000 + t:.5f},{f:.9g},{e:.9g},{curve.codes[c]}"
                 for t, f, e, c in zip(curve.time, curve.flux, curve.error, curve.code, strict=True)]  # fmt: skip
        (folder / f"{name}.csv").write_text("mjd,flux,error,telescope\n" + "\n".join(lines) + "\n")
        rows.append(f"{name},{name}.csv")
        joint += [f"{name},{line}" for line in lines]
    (folder / "bad.csv").write_text("mjd,flux,error,telescope\n1,x,y,A\n")
    rows += ["missing,nothing.csv", "bad,bad.csv"]
    (folder / "sources.csv").write_text("\n".join(rows) + "\n")
    (folder / "all.csv").write_text("\n".join(joint) + "\n")
    return folder


def load(place, data=None, **tables):
    content = {
        "job": "lightcurves-survey", "output": "out", "seed": 3, "data": data or {"sources": "sources.csv"},
        "model": {"reference": "A"}, "sampling": {"sampler": "laplace", "draws": 100, "chunk": 2},
        "compute": {"executor": "serial"}, **tables,
    }  # fmt: skip
    return validate(SurveyJob, content, source=place / "job.toml")


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    job = load(place, results={"curves": True, "worst": 1})
    return run(job, output=tmp_path_factory.mktemp("run") / "out")


@pytest.mark.thorough
def test_every_source_has_rows_and_no_failure_stops_the_run(finished):
    result = finished.result
    assert result.names == (*GOOD_SOURCES, "missing", "bad")
    assert np.all(result.status[:3] <= NOT_CONVERGED)
    assert result.status[3:].tolist() == [UNREADABLE, UNREADABLE]
    table = finished.summary()
    assert [str(n) for n in table["source"]] == ["S0", "S0", "S1", "S1", "S2", "S2", "missing", "bad"]
    assert "nothing.csv" in table["warnings"][6]
    assert np.all(table["scale"][:6:2] == 1)
    assert np.all(table["scale_sd"][1:6:2] > 0)
    assert "3 of 5 sources" in finished.answer
    assert any(w.startswith("2 sources are unreadable") for w in finished.warnings)
    assert not finished.passed  # two of five failed
    names = {path.name for path in finished.directory.iterdir()}
    assert {"summary.ecsv", "covariances.json", "report.html", "curves"} <= names
    assert "processor time" in finished.diagnostics


def test_a_source_of_a_survey_is_the_source_alone(finished):
    result = finished.result
    alone = result.source("S1")
    np.testing.assert_array_equal(result.records[1]["scale"], alone.factors.scale.mean(0))
    with pytest.raises(UnknownNameError, match="S1"):
        result.source("S11")
    with pytest.raises(FitError, match="keeps no draws"):
        _ = result.posterior_draws
    assert result.correction is None


def test_merged_curves_have_the_errors_of_the_full_result(finished):
    from astropy.table import QTable

    (path,) = sorted((finished.directory / "curves").glob("*S1*"))
    table = QTable.read(path, format="ascii.ecsv")
    full = finished.result.source("S1").curve(0)
    # Means against medians of 100 draws.
    np.testing.assert_allclose(table["flux"], full.flux, atol=0.3 * np.median(full.error))
    np.testing.assert_allclose(table["error"], full.error, rtol=0.2)


def test_one_table_gives_what_files_give(place, finished, tmp_path):
    job = load(place, data={"table": "all.csv"})
    result = survey.run(job, Stages(tmp_path))
    for mine, other in zip(result.records, finished.result.records[:3], strict=True):
        assert mine["scale"] == other["scale"]
        assert mine["covariance"] == other["covariance"]


def test_a_folder_of_parquet_files(place, tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    whole = joint_sources(place / "all.csv", "source")
    assert [s.name for s in whole] == list(GOOD_SOURCES)
    points = {"mjd": [1.0, 2.0], "flux": [1.0, 2.0], "error": [0.1, 0.1]}
    for name in ("a", "b"):
        (tmp_path / f"source={name}").mkdir()
        parquet.write_table(pa.table(points), tmp_path / f"source={name}" / "0.parquet")
    found = joint_sources(tmp_path, "source")
    assert [s.name for s in found] == ["a", "b"]
    assert len(found[0].curves(load(place).data.selection)) == 2


@pytest.mark.thorough
def test_an_interrupted_run_goes_on_with_the_same_bits(place, finished, tmp_path, monkeypatch):
    """The first run dies after every second chunk; the second one does the others."""
    job = load(place, results={"curves": True, "worst": 1})

    def interrupted(*args, **options):
        sweep(*args, part=(0, 2), **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("crosscal.compute.sweep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(job, output=tmp_path / "out")
    again = run(job, output=tmp_path / "out").result
    assert again.records == finished.result.records
    np.testing.assert_array_equal(again.status, finished.result.status)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_executors_give_the_same_bits(place, finished, tmp_path, executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    job = load(place, compute={"executor": executor, "workers": 2})
    assert survey.run(job, Stages(tmp_path)).records == finished.result.records


@pytest.mark.slow
def test_a_run_killed_by_a_signal_goes_on_with_the_same_bits(place, finished, tmp_path):
    """The process dies, without a chance to tidy up, once the first chunk is stored."""
    text = (
        'job = "lightcurves-survey"\noutput = "out"\nseed = 3\n'
        f'[data]\nsources = "{place / "sources.csv"}"\n[model]\nreference = "A"\n'
        '[sampling]\nsampler = "laplace"\ndraws = 100\nchunk = 2\n[compute]\nexecutor = "serial"\n'
        "[results]\ncurves = true\nworst = 1\n"
    )
    (tmp_path / "job.toml").write_text(text)
    process = subprocess.Popen([sys.executable, "-m", "crosscal", "run", "job.toml"], cwd=tmp_path,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 300
    while not any(path.is_file() for path in tmp_path.rglob("sources.zarr/record/c/0/*")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "summary.ecsv").exists()
    job = validate(SurveyJob, tomllib.loads(text), source=tmp_path / "job.toml")
    again = run(job, output=tmp_path / "out").result
    assert again.records == finished.result.records
    np.testing.assert_array_equal(again.status, finished.result.status)


def test_a_reference_that_a_source_lacks_is_refused(place, tmp_path):
    result = survey.run(load(place, data={"table": "all.csv"}, model={"reference": "C"}), Stages(tmp_path))
    assert set(result.status.tolist()) == {REFUSED}
    assert set(result.figures()) == {"outcome"}
    assert "Factors of 0 of 3 sources (3 refused)." in result.answer


def test_wrong_tables(place, tmp_path):
    def written(text):
        path = tmp_path / "s.csv"
        path.write_text(text)
        return path

    with pytest.raises(DataFileError, match="no column of files"):
        listed_sources(written("source,place\na,b\nc,d\n"))
    with pytest.raises(DataFileError, match="without a name or file"):
        listed_sources(written("source,file\na,b\nc,\n"))
    with pytest.raises(DataFileError, match="no column 'object'"):
        joint_sources(place / "all.csv", "object")
    with pytest.raises(DataFileError, match="no Parquet file"):
        joint_sources(tmp_path, "source")
    with pytest.raises(ConfigError, match="give either sources"):
        load(place, data={"sources": "sources.csv", "table": "all.csv"})
    with pytest.raises(ConfigError, match="workres"):
        load(place, compute={"executor": "local", "workres": 2})


def test_template_is_a_job(place):
    text = PARTS.get("lightcurves-survey").template
    job = validate(SurveyJob, tomllib.loads(text), source=place / "job.toml")
    assert job.data.sources == place / "sources.csv"
    assert len(job.linked_inputs()) == 4
