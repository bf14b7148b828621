"""The job from file to run directory, the result's views, and the figures."""

import numpy as np
import pytest

from crosscal.concordance import conflicts, fit, fluxes, influences, leave_one_out, published_like, ratios, simulate
from crosscal.concordance.job import PART, run
from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.core.progress import SILENT
from crosscal.inference.posterior import Posterior
from crosscal.jobs.options import read_toml, validate, write_toml
from crosscal.jobs.run import demo
from crosscal.jobs.stages import Stages

pytestmark = pytest.mark.thorough

JOB = """
job = "concordance"
output = "out"
seed = 3
[data]
path = "t.csv"
band = "band"
log_flux = "y"
log_error = "e"
time = "t"
[prior]
tau = {{ pn = 0.02, MOS1 = 0.06 }}
[sources]
drift = 0.01
[sampling]
draws = 200
warmup = 100
[noise]
kind = "log-normal"
[bands]
soft = [0.5, 2.0]
hard = [2.0, 10.0]
{more}
"""


def write_job(tmp_path, rng, more=""):
    lines = ["instrument,source,band,y,e,t"]
    for j in range(30):
        for band in ("soft", "hard"):
            g = rng.normal()
            for instrument, b in (("pn", 0.0), ("MOS1", 0.05)):
                lines.append(f"{instrument},s{j},{band},{g + b + rng.normal(0, 0.02)},0.02,{j + rng.random()}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "job.toml").write_text(JOB.format(more=more))
    return validate(PART.model, read_toml(tmp_path / "job.toml"), source=tmp_path / "job.toml")


def test_run_writes_everything(tmp_path, rng):
    (tmp_path / "pn.arf").write_text("not read here")
    job = write_job(tmp_path, rng, '[arf]\ninstruments = ["pn"]\nfiles = ["pn.arf"]')
    result = run(job, Stages(tmp_path / "work"))
    result.write(tmp_path / "out")
    names = {p.name for p in (tmp_path / "out").iterdir()}
    kinds = ("summary", "fluxes", "influence", "conflict", "leave_one_out", "correction", "ratios", "equivalence")
    tables = {f"{n}.ecsv" for n in kinds}
    # One correction against energy an instrument, since the bands have energies.
    assert names == tables | {
        "posterior.nc",
        "provenance.json",
        "correction.nc",
        "diagnostics.txt",
        "correction_pn.nc",
        "correction_MOS1.nc",
    }
    again = Posterior.read(tmp_path / "out" / "posterior.nc")
    assert np.array_equal(again.draws("B"), result.posterior_draws.draws("B"))
    summary = result.summary()
    assert list(summary["instrument"]) == ["pn", "MOS1", "pn", "MOS1"]
    assert {"drift", "sigma", "band", "W", "D"} <= set(summary.colnames)
    assert result.arfs == {"pn": tmp_path / "pn.arf"}
    against_energy = result.correction_for("pn")
    assert np.allclose(against_energy.coordinate, [1.25, 6.0])
    assert against_energy.unit == "keV"
    assert result.correction.axis == "instrument"
    assert "pn" in result.answer or "MOS1" in result.answer
    assert set(result.figures()) == set(result.captions)


def test_job_survives_writing(tmp_path, rng):
    job = write_job(tmp_path, rng)
    write_toml(tmp_path / "again.toml", job)
    assert validate(PART.model, read_toml(tmp_path / "again.toml"), source=tmp_path / "again.toml") == job


def test_same_seed_same_bits(tmp_path, rng):
    job = write_job(tmp_path, rng)
    first, second = (run(job, Stages(tmp_path / name)) for name in ("a", "b"))
    first.write(tmp_path / "a")
    second.write(tmp_path / "b")
    assert np.array_equal(first.posterior_draws.draws("B"), second.posterior_draws.draws("B"))
    assert (tmp_path / "a" / "summary.ecsv").read_bytes() == (tmp_path / "b" / "summary.ecsv").read_bytes()


def test_finished_stages_are_taken_over(tmp_path, rng):
    """A changed check does not sample again; a changed prior does."""
    job = write_job(tmp_path, rng)
    told = []

    class Listener:
        stage = SILENT.stage

        def message(self, text):
            told.append(text)

    def again(change):
        text = (tmp_path / "job.toml").read_text()
        (tmp_path / "job.toml").write_text(text.replace(*change))
        told.clear()
        job = validate(PART.model, read_toml(tmp_path / "job.toml"), source=tmp_path / "job.toml")
        return run(job, Stages(tmp_path / "work", progress=Listener()))

    first = run(job, Stages(tmp_path / "work"))
    second = again(("[bands]", "[checks]\npredictive = 50\n[bands]"))
    assert told == [
        "Sampling: already complete, skipped",
        "Checks: repeated, because its inputs have changed",
    ]
    assert np.array_equal(first.posterior_draws.draws("B"), second.posterior_draws.draws("B"))
    again(("pn = 0.02", "pn = 0.03"))
    assert len(told) == 2
    assert all("repeated, because" in text for text in told)


def test_template_is_a_job(tmp_path):
    import tomllib

    job = validate(PART.model, tomllib.loads(PART.template), source=tmp_path / "job.toml")
    assert job.prior.tau == 0.05
    assert job.data.error == "flux_err"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"data": {"path": "t.csv", "fux": "x"}}, "unknown key 'fux'.*'flux'"),
        ({"data": {"path": "t.csv", "error": 0.1}}, "error is the name of a column"),
        ({"data": {"path": "t.csv"}, "arf": {"instruments": ["pn"]}}, "0 files for 1 instruments"),
        ({}, "data"),
    ],
)
def test_job_refusals(tmp_path, content, sentence):
    with pytest.raises(ConfigError, match=sentence):
        validate(PART.model, {"job": "concordance", "output": "o", **content}, source=tmp_path / "job.toml")


def test_arfs_need_known_instruments_and_bands(tmp_path, rng):
    job = write_job(tmp_path, rng, '[arf]\ninstruments = ["RGS"]\nfiles = ["pn.arf"]')
    with pytest.raises(InputError, match="an ARF is given for 'RGS'"):
        run(job, Stages(tmp_path / "out"))
    text = (tmp_path / "job.toml").read_text().replace("hard = [2.0, 10.0]", "").replace("RGS", "pn")
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(InputError, match="band 'hard' has no energies"):
        run(
            validate(PART.model, read_toml(tmp_path / "job.toml"), source=tmp_path / "job.toml"),
            Stages(tmp_path / "out"),
        )


def test_energies_of_unknown_bands_are_refused(tmp_path, rng):
    write_job(tmp_path, rng)
    text = (tmp_path / "job.toml").read_text().replace("hard = [", "hrad = [")
    (tmp_path / "job.toml").write_text(text)
    job = validate(PART.model, read_toml(tmp_path / "job.toml"), source=tmp_path / "job.toml")
    with pytest.raises(UnknownNameError, match=r"table \[bands\]: unknown band 'hrad'; expected 'hard'"):
        run(job, Stages(tmp_path / "out"))


def test_area_draws_and_tau_matrix_in_a_job(tmp_path, rng):
    job = write_job(tmp_path, rng)
    lines = ["instrument,soft,hard"]
    for name in ("pn", "MOS1"):
        lines += [f"{name},{100 * np.exp(a)},{50 * np.exp(a + b)}" for a, b in rng.normal(0, 0.02, (10, 2))]
    (tmp_path / "draws.csv").write_text("\n".join(lines))
    (tmp_path / "tau.csv").write_text("instrument,0.1-12\npn,2\nMOS1,6\n")
    messages = []

    class Listener:
        stage = SILENT.stage

        def message(self, text):
            messages.append(text)

    text = (tmp_path / "job.toml").read_text()
    both = text.replace("[sources]", 'area_draws = "draws.csv"\n[sources]')
    matrix = text.replace("tau = { pn = 0.02, MOS1 = 0.06 }", 'tau_matrix = "tau.csv"')
    for content in (both, matrix):
        (tmp_path / "job2.toml").write_text(content)
        job = validate(PART.model, read_toml(tmp_path / "job2.toml"), source=tmp_path / "job2.toml")
        result = run(job, Stages(tmp_path / "out", progress=Listener()))
        if content is matrix:
            assert np.allclose(result.model.prior.tau, [0.02, 0.06, 0.02, 0.06])
        else:
            assert result.model.prior.covariance[0, 2] != 0
    assert sum("correlation shrunk" in m for m in messages) == 2


def test_demo_recovers_its_truth(tmp_path):
    done = demo(PART, tmp_path / "demo")
    assert done.result.posterior_draws.converged
    assert "95 % intervals for 3 of 3 instruments" in PART.truth(done.result, tmp_path)


def test_views_of_a_result():
    case = simulate(3, 40, tau=0.05, sigma=0.03, filled=0.8, seed=2)
    result = fit(case.data, draws=500)
    table = fluxes(result)
    assert len(table) == 40
    both = table["n_instruments"] > 1
    assert np.nanmean(table["spread_after"][both]) < np.nanmean(table["spread_before"][both])
    assert np.allclose(result.influence.sum(axis=1), 1, atol=1e-8)
    assert len(influences(result)) == 3
    assert len(conflicts(result)) == 1
    assert len(leave_one_out(result)) == 3
    table = ratios(result)
    assert [(a, b) for a, b in zip(table["instrument"], table["to"], strict=True)] == [
        ("instrument 1", "instrument 2"), ("instrument 1", "instrument 3"), ("instrument 2", "instrument 3"),
    ]  # fmt: skip
    b = result.posterior_draws.draws("B")
    assert table["log_ratio"][1] == pytest.approx((b[:, 0] - b[:, 2]).mean())
    assert table["log_ratio_sd"][1] == pytest.approx((b[:, 0] - b[:, 2]).std(ddof=1))
    single = result.correction_for("instrument 1")
    assert np.allclose(single.factor, result.correction.factor[0])
    with pytest.raises(UnknownNameError, match="instrument"):
        result.correction_for("instrument 9")
    with pytest.raises(UnknownNameError, match="published data set"):
        published_like("XCAL")


def test_band_without_energies_is_refused():
    from crosscal.concordance import Comparison

    data = Comparison.from_cells(
        ["a", "b", "a", "b"] * 5, [f"s{k // 4}" for k in range(20)], band=["x", "x", "y", "y"] * 5,
        log_rate=np.random.default_rng(1).normal(0, 0.1, 20),
    )  # fmt: skip
    result = fit(data, draws=100, leave_one_out=False, predictive=0)
    with pytest.raises(UnknownNameError, match="band with energies"):
        result.correction_for("a")
    given = result.with_energies({"x": (1.0, 2.0), "y": (0.5, 1.0)}).correction_for("a")
    assert np.allclose(given.coordinate, [0.75, 1.5])
    assert np.allclose(given.factor, result.correction.factor[[2, 0]])


def test_simulation_refusals():
    with pytest.raises(UnknownNameError, match="noise model"):
        simulate(2, 3, noise="cauchy")
    with pytest.raises(InputError, match="filled = 0"):
        simulate(2, 3, filled=0.0)


def test_figures_of_single_sources():
    """No source is shared: figures must say so and not fail."""
    from crosscal.concordance import Comparison

    y = np.array([[0.1, np.nan], [np.nan, 0.2], [0.3, np.nan], [np.nan, 0.1]])
    result = fit(Comparison.from_matrix(y), draws=200, beta=1e-3)
    assert "come from" in result.diagnostics or "prior alone" in result.diagnostics
    assert "4 of 4 sources were observed by only one instrument" in result.diagnostics
    assert set(result.figures()) == set(result.captions)
