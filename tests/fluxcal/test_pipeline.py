"""The drop-in for KSPECDR and the job."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from crosscal import fluxcal
from crosscal.core.errors import ConfigError, DataFileError, InputError, UnknownNameError
from crosscal.core.progress import SILENT
from crosscal.fluxcal import kspecdr
from crosscal.fluxcal.curve.curve import MAG
from crosscal.fluxcal.job_options import FluxcalJob
from crosscal.jobs.options import plain, validate, write_toml
from crosscal.jobs.parts import PARTS
from crosscal.jobs.run import demo, run

from .conftest import write_catalogue, write_raw


@pytest.fixture
def bands(tmp_path, filters):
    """Filter files, and the arguments that name them."""
    directory = tmp_path / "filters"
    directory.mkdir()
    for f in filters:
        np.savetxt(directory / f"{f.name}.dat", np.column_stack([f.wavelength, f.response]))
    return {
        "CALIBFLUX": True,
        "CALIBFLUX_CATALOG": str(write_catalogue(tmp_path / "stars.csv", _truth(tmp_path))),
        "CALIBFLUX_FILTERS": [f.name for f in filters],
        "CALIBFLUX_FILTER_DIR": str(directory),
        "CALIBFLUX_TEMPLATES": "demo",
        "CALIBFLUX_FWHM": 5.0,
    }


def _truth(_):
    from crosscal.fluxcal.demo import simulate

    return simulate(seed=2, n_stars=8, n_targets=3, n_pixels=1000, snr=25.0)


def test_drop_in_calibrates_in_place(raw, bands, truth):
    before = fits.getdata(raw)
    outcome = kspecdr.apply_fluxcal(raw, bands)
    assert outcome.calibrated
    assert outcome.output == raw
    with fits.open(raw) as hdus:
        assert hdus[0].header["FLUXCAL"] is True
        assert hdus[0].header["BUNIT"].startswith("1e-17")
        k = int(np.flatnonzero(truth.frame.fibres.type == "P")[0])
        good = hdus["MASK"].data[k] == 0
        ratio = np.median(hdus[0].data[k][good] / truth.flux[k][good])
        assert 0.6 < ratio < 1.6  # one fibre's loss: 0.15 mag
        assert not np.allclose(hdus[0].data, before)


@pytest.mark.parametrize("flag", [False, "F", "no", 0])
def test_false_leaves_the_file(raw, bands, flag):
    before = raw.read_bytes()
    outcome = kspecdr.apply_fluxcal(raw, {**bands, "CALIBFLUX": flag})
    assert not outcome.calibrated
    assert raw.read_bytes() == before


@pytest.mark.thorough
def test_kspecdr_arguments(raw, bands, tmp_path):
    out = tmp_path / "out.fits"
    before = raw.read_bytes()
    args = {
        **bands,
        "CALIBFLUX_METRIC": "HUBER",
        "CALIBFLUX_SMOOTH": "False",
        "CALIBFLUX_OUTPUT": str(out),
        "TELCOR": True,
    }
    assert kspecdr.apply_fluxcal(raw, args).calibrated
    assert out.exists()
    assert raw.read_bytes() == before
    with pytest.raises(UnknownNameError, match="CALIBFLUX_CATALOGUE"):
        kspecdr.apply_fluxcal(raw, {"CALIBFLUX_CATALOGUE": "x"})
    with pytest.raises(ConfigError, match="CALIBFLUX_CATALOG is empty"):
        kspecdr.apply_fluxcal(raw, {"CALIBFLUX": True})
    with pytest.raises(ConfigError, match="CALIBFLUX_FWHM"):
        kspecdr.apply_fluxcal(raw, {**bands, "CALIBFLUX_FWHM": -1})
    with pytest.raises(ConfigError, match="CALIBFLUX = 'maybe'"):
        kspecdr.apply_fluxcal(raw, {**bands, "CALIBFLUX": "maybe"})
    with pytest.raises(UnknownNameError, match="metric"):
        kspecdr.apply_fluxcal(raw, {**bands, "CALIBFLUX_METRIC": "l1"})
    with pytest.raises(DataFileError, match="no such frame"):
        kspecdr.apply_fluxcal(tmp_path / "none.fits", bands)


def test_types_of_fibres_as_arguments(raw, bands, tmp_path):
    args = {**bands, "CALIBFLUX_OUTPUT": str(tmp_path / "out.fits"), "FIB1": "P", "fib2": "u", "FIBRES": "x"}
    assert "of 6 stars" in kspecdr.apply_fluxcal(raw, args).text
    with pytest.raises(InputError, match="FIB99 = 'C'"):
        kspecdr.apply_fluxcal(raw, {**bands, "FIB99": "C"})


def test_a_failed_frame_stays_as_it_was(tmp_path, truth, bands):
    path = write_raw(tmp_path / "x.fits", truth, change=_all_program)
    before = path.read_bytes()
    outcome = kspecdr.apply_fluxcal(path, bands)
    assert not outcome.calibrated
    assert "stars used: 0" in outcome.text
    assert path.read_bytes() == before
    copy = tmp_path / "copy.fits"
    assert kspecdr.apply_fluxcal(path, {**bands, "CALIBFLUX_OUTPUT": str(copy)}).output == copy
    assert path.read_bytes() == before
    header = fits.getheader(copy)
    assert header["FLUXCAL"] is False
    assert "stars used: 0" in header["FCALFAIL"]
    np.testing.assert_array_equal(fits.getdata(copy), fits.getdata(path))


def _all_program(hdus):
    hdus["FIBRES"].data["TYPE"] = "P"


@pytest.mark.thorough
def test_a_list_of_frames(tmp_path, truth, bands):
    good = write_raw(tmp_path / "a.fits", truth)
    failed = write_raw(tmp_path / "b.fits", truth, change=_all_program)
    unreadable = write_raw(tmp_path / "c.fits", truth, change=lambda h: h.__delitem__("WAVELA"))
    content = [p.read_bytes() for p in (good, failed, unreadable)]
    told = []
    outcomes = kspecdr.calibrate_list([good, failed, unreadable], bands, tmp_path / "out", each=told.append)
    assert told == outcomes
    assert [o.calibrated for o in outcomes] == [True, False, False]
    assert fits.getheader(tmp_path / "out" / "a_cal.fits")["FLUXCAL"] is True
    assert fits.getheader(tmp_path / "out" / "b_cal.fits")["FLUXCAL"] is False
    assert "stars used: 0" in fits.getheader(tmp_path / "out" / "b_cal.fits")["FCALFAIL"]
    assert "no data in HDU WAVELA" in outcomes[2].text
    assert [p.read_bytes() for p in (good, failed, unreadable)] == content
    with pytest.raises(ConfigError, match="same name"):
        kspecdr.calibrate_list([good, good], bands, tmp_path / "out")


def test_the_command_names_a_frame_once(capsys):
    from pathlib import Path

    from crosscal.cli.fluxcal import _tell

    _tell(kspecdr.Outcome(Path("a.fits"), None, False, "a.fits: no such frame."))
    _tell(kspecdr.Outcome(Path("b.fits"), Path("c.fits"), False, "stars used: 0 (< 1)"))
    _tell(kspecdr.Outcome(Path("d.fits"), Path("e.fits"), True, "d.fits: calibrated."))
    assert capsys.readouterr().out.splitlines() == [
        "a.fits: no such frame.", "b.fits: stars used: 0 (< 1)", "d.fits: calibrated. -> e.fits"
    ]  # fmt: skip


def job_content(tmp_path, bands, frames):
    return {
        "job": "fluxcal",
        "output": str(tmp_path / "run"),
        "data": {"frames": [str(f) for f in frames]},
        "catalogue": {"path": bands["CALIBFLUX_CATALOG"], "bands": {b: b for b in bands["CALIBFLUX_FILTERS"]}},
        "filters": {"files": [str(tmp_path / "filters" / "*.dat")]},
        "templates": {"library": "demo"},
        "method": {"fwhm": 5.0},
    }


@pytest.mark.thorough
def test_job_writes_the_run_directory(tmp_path, truth, bands):
    write_raw(tmp_path / "a.fits", truth)
    write_raw(tmp_path / "b.fits", truth, change=_all_program)
    write_raw(tmp_path / "c.fits", truth, change=lambda h: h.__delitem__("WAVELA"))
    content = job_content(tmp_path, bands, [tmp_path / "[abc].fits"])
    job = validate(FluxcalJob, content)
    assert [p.name for p in job.data.frames] == ["a.fits", "b.fits", "c.fits"]
    done = run(job)
    assert (job.output / "frames" / "a_cal.fits").exists()
    assert (job.output / "frames" / "b_cal.fits").exists()  # by its neighbour's curve
    assert fits.getheader(job.output / "frames" / "b_cal.fits")["FCALSRC"].startswith("neighbours")
    assert not (job.output / "frames" / "c_cal.fits").exists()
    summary = Table.read(job.output / "summary.ecsv")
    assert len(summary) == 8
    assert set(summary["frame"]) == {"a.fits"}
    frames = Table.read(job.output / "frames.ecsv")
    assert frames["passed"].tolist() == [True, True]
    assert "n_stars" in Table.read(job.output / "correction.ecsv").colnames
    assert "2 of 3 frames calibrated" in done.answer
    assert any("not read" in w for w in done.warnings)
    assert [c.name for c in done.checks if not c.passed] == [str(tmp_path / "c.fits")]
    # a job written back gives the same job
    write_toml(tmp_path / "job.toml", job)
    import tomllib

    assert validate(FluxcalJob, tomllib.loads((tmp_path / "job.toml").read_text())) == job


@pytest.mark.thorough
def test_a_frame_is_calibrated_once(tmp_path, truth, bands):
    write_raw(tmp_path / "a.fits", truth)
    job = validate(FluxcalJob, job_content(tmp_path, bands, [tmp_path / "a.fits"]))
    first = run(job)
    assert run(job).repeated
    write_raw(tmp_path / "b.fits", truth)
    both = validate(FluxcalJob, job_content(tmp_path, bands, [tmp_path / "a.fits", tmp_path / "b.fits"]))
    messages = []

    class Listener(type(SILENT)):
        def message(self, text):
            messages.append(text)

    second = run(both, progress=Listener())
    assert "Frame a.fits: already complete, skipped" in messages
    a, b = second.result.results
    assert np.array_equal(a.curve.value, b.curve.value)
    assert np.array_equal(a.curve.value, first.result.results[0].curve.value)
    assert a.loaded is None
    np.testing.assert_allclose(a.frame.flux, truth.frame.flux.astype("f4"))


def test_frames_of_one_name_are_refused(tmp_path, truth, bands):
    (tmp_path / "night").mkdir()
    paths = [write_raw(tmp_path / "a.fits", truth), write_raw(tmp_path / "night" / "a.fits", truth)]
    with pytest.raises(ConfigError, match="2 frames are called 'a'"):
        validate(FluxcalJob, job_content(tmp_path, bands, paths))


@pytest.mark.thorough
def test_job_retypes_targets_and_needs_a_frame(tmp_path, truth, bands):
    path = write_raw(tmp_path / "a.fits", truth)
    content = job_content(tmp_path, bands, [path])
    content["data"]["targets"] = 0.5
    content["fallback"] = content["leave_one_out"] = False
    night = run(content).result
    assert len(night.results[0].stars) == 4
    table = Table.read(tmp_path / "run" / "targets.ecsv")
    assert len(table) == 4
    assert not set(table["star"]) & {s.name for s in night.results[0].stars}
    # a target's grey offset is its fibre's loss (0.15 mag) relative to the mean of four others
    losses = truth.grey[np.array(table["fibre"]) - 1]
    np.testing.assert_allclose(table["grey"] - np.median(table["grey"]), losses - np.median(losses), atol=0.06)
    assert np.all(np.abs(table["colour"]) < 0.3)
    assert "targets" in night.figures()
    several = type(night)((*night.results, night.results[0]))
    assert "8 targets against the catalogue" in several.answer
    failed = write_raw(tmp_path / "b.fits", truth, change=_all_program)
    content["data"]["frames"] = [str(failed)]
    before = failed.read_bytes()
    assert not run(content, output=tmp_path / "run3").passed
    assert fits.getheader(tmp_path / "run3" / "frames" / "b_cal.fits")["FLUXCAL"] is False
    assert failed.read_bytes() == before
    broken = write_raw(tmp_path / "c.fits", truth, change=lambda h: h.__delitem__("WAVELA"))
    with pytest.raises(DataFileError, match="no frame could be read"):
        run(job_content(tmp_path, bands, [broken]), output=tmp_path / "run2")


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("data", "frames", [], "no frame"),
        ("data", "targets", 1.0, "targets"),
        ("data", "frames", ["nothing-*.fits"], "no file matches"),
        ("method", "metric", "l1", "metric"),
        ("method", "fmwh", 1.0, "unknown key 'fmwh'"),
    ],
)
def test_job_refuses(tmp_path, bands, table, key, value, message):
    content = job_content(tmp_path, bands, [tmp_path / "a.fits"])
    content[table][key] = value
    with pytest.raises(InputError, match=message):
        validate(FluxcalJob, content)


def test_template_is_a_valid_job_with_all_keys():
    import tomllib

    text = PARTS.get("fluxcal").template
    job = validate(FluxcalJob, tomllib.loads(text))
    assert job.method == fluxcal.Options()
    assert job.quality == fluxcal.Limits()
    for table, keys in plain(job).items():
        for key in keys if isinstance(keys, dict) else ():
            assert f"{key} = " in text, (table, key)


@pytest.mark.slow
def test_demo_runs_offline(tmp_path):
    messages = []

    class Listener(type(SILENT)):
        def message(self, text):
            messages.append(text)

    done = demo(PARTS.get("fluxcal"), tmp_path, progress=Listener())
    assert done.passed
    assert (tmp_path / "summary.ecsv").exists()
    assert any("differs from the true curve" in m for m in messages)
    # the error of the scale is that of the mean loss of twelve fibres (Student's factor 1.05) and 1 % in common
    curve = done.result.results[0].curve
    loss = np.std(curve.coefficients[:, 0] * MAG, ddof=1)
    stated = np.median(np.sqrt(np.sum(curve.modes**2, axis=0))[curve.covered])
    assert stated == pytest.approx(np.hypot(1.05 * loss / np.sqrt(12), 0.01 * MAG), rel=0.15)
    assert demo(PARTS.get("fluxcal"), tmp_path).repeated


def test_command_line(tmp_path, truth, bands):
    from click.testing import CliRunner

    from crosscal.cli.fluxcal import command

    good = write_raw(tmp_path / "a.fits", truth)
    names = [option for b in bands["CALIBFLUX_FILTERS"] for option in ("--band", f"{b}={b}")]
    args = ["-c", bands["CALIBFLUX_CATALOG"], "--filter-dir", bands["CALIBFLUX_FILTER_DIR"], *names]
    args += ["--templates", "demo", "--fwhm", "5", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(command, [str(good), *args])
    assert done.exit_code == 0, done.output
    assert "calibrated with" in done.output
    assert (tmp_path / "out" / "a_cal.fits").exists()
    failed = write_raw(tmp_path / "b.fits", truth, change=_all_program)
    done = CliRunner().invoke(command, [str(failed), *args])
    assert done.exit_code == 3
    assert "stars used: 0" in done.output
    done = CliRunner().invoke(command, [str(good), *args, "--band", "nonsense"])
    assert isinstance(done.exception, ConfigError)


def test_a_run_with_a_failed_frame_exits_with_3(tmp_path, truth, bands):
    from click.testing import CliRunner

    from crosscal.cli.run import command

    write_raw(tmp_path / "b.fits", truth, change=_all_program)
    write_toml(tmp_path / "job.toml", validate(FluxcalJob, job_content(tmp_path, bands, [tmp_path / "b.fits"])))
    done = CliRunner().invoke(command, [str(tmp_path / "job.toml"), "-q"])
    assert done.exit_code == 3
    assert "not calibrated: stars used: 0" in done.output
    assert fits.getheader(tmp_path / "run" / "frames" / "b_cal.fits")["FLUXCAL"] is False
