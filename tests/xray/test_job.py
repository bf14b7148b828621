"""The X-ray jobs: what their files accept and refuse, and a small run from end to end."""

import copy
import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from crosscal.core.errors import ConfigError, InputError
from crosscal.core.progress import SILENT
from crosscal.jobs.options import validate
from crosscal.jobs.parts import PARTS
from crosscal.jobs.run import run_job
from crosscal.jobs.stages import Stages
from crosscal.xray.jobs.fit import FitJob
from crosscal.xray.jobs.pairs import DEMO
from crosscal.xray.jobs.pairs_options import XrayJob
from crosscal.xray.jobs.spectra import SpectraJob

PAIRS = {
    "job": "xray",
    "output": "out",
    "telescope": {"arf": "a.arf", "rmf": "a.rmf"},
    "model": {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05},
    "library": {
        "A": [-0.1, 0.1],
        "mu": [1.0, 2.0],
        "sigma": [1.0],
        "kT": {"min": 1, "max": 15, "n": 5, "scale": "log"},
    },
    "inference": {"pairs": "clusters.ecsv"},
}

#: (table, key, value, what the sentence must say)
BAD = [
    ("model", "nh", 0.3, "unknown parameter 'nh'; expected 'nH'"),
    ("model", "nH", "much", "key model.nH: input should be a valid number"),
    ("model", "nH", -1.0, "nH = -1 is out of range"),
    ("model", "expression", "TBabs*apce", "unknown model 'apce'; expected 'apec'"),
    ("model", "expression", "TBabs*(apec", "model 'TBabs*(apec'"),
    ("model", "expression", "__import__('os')", "key model"),
    ("model", "abundances", "angrr", "'angr'"),
    ("model", "interp", "cubic", "key model.interp"),
    ("model", "free", ["kTT"], "unknown parameter 'kTT'; expected 'kT'"),
    ("library", "Aa", [1.0], "unknown parameter 'Aa'; expected 'A'"),
    ("library", "A", {"min": -0.1, "max": 0.1}, "give either min, max and n, or a list"),
    ("library", "A", [0.1, -0.1], "values do not increase"),
    ("library", "kT", [0.0, 1.0, -1.0], "values do not increase"),
    ("library", "modifier", "gausian", "unknown modifier 'gausian'; expected 'gaussian'"),
    ("library", "modifier", {"name": "gaussian", "conv": "x"}, "unknown option 'conv'; expected 'convention'"),
    ("library", "modifier", {"name": "gaussian", "convention": "ours"}, "convention 'ours'"),
    ("library", "counts", -3, "key library.counts: input should be greater than 0, got -3"),
    ("library", "noise", "gauss", "key library.noise"),
    ("telescope", "rnf", "x", "key telescope.rnf: unknown key 'rnf'; expected 'rmf', 'arf'"),
    ("telescope", "band", [7.0, 0.7], "key telescope.band: low < high"),
    ("inference", "sampler", "nutz", "unknown sampler 'nutz'; expected 'nuts'"),
    ("inference", "draws", 100, "draws need a named sampler"),
    ("inference", "confidence", 90, "key inference.confidence: input should be less than 1"),
    ("inference", "quantities", ["T"], "key inference.quantities"),
    ("compute", "executor", "locl", "unknown executor 'locl'; expected 'local'"),
    ("compute", "wrkers", 2, "unknown option 'wrkers'; expected 'workers'"),
    (
        "simulation",
        "injected",
        {"A": 0.1},
        "give one of inference.pairs, inference.observations or a [simulation] table",
    ),
    ("simulation", "injected", {"A": 0.1, "m": 1}, "unknown parameter 'm'"),
]


@pytest.mark.parametrize(("table", "key", "value", "message"), BAD, ids=[f"{b[0]}.{b[1]}={b[2]}" for b in BAD])
def test_bad_jobs_are_one_sentence_with_file_and_key(table, key, value, message):
    content = copy.deepcopy(PAIRS)
    content.setdefault(table, {})[key] = value
    with pytest.raises(ConfigError) as caught:
        validate(XrayJob, content, source="dir/job.toml")
    text = str(caught.value)
    assert message in text
    assert text.startswith("dir/job.toml: key ")
    assert "\n" not in text


def test_a_simulation_needs_a_trusted_telescope():
    content = {**PAIRS, "inference": {}, "simulation": {"injected": {"A": 0.1}}}
    with pytest.raises(ConfigError, match="needs a \\[trusted\\] telescope"):
        validate(XrayJob, content, source="job.toml")


def test_spectra_come_from_one_place():
    content = {k: PAIRS[k] for k in ("output", "telescope")} | {"trusted": {"arf": "b.arf"}}
    with pytest.raises(ConfigError, match=r"give either inference\.observations"):
        validate(SpectraJob, content, source="job.toml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("grouping", "counst", r"key spectrum\.grouping"),
        ("statistic", "wstta", r"key spectrum: unknown statistic 'wstta'; expected 'wstat'"),
    ],
)
def test_fit_jobs_know_their_groupings_and_statistics(key, value, message):
    content = {"output": "o", "telescope": {"arf": "a"}, "spectrum": {"pha": "p", key: value}}
    with pytest.raises(ConfigError, match=message):
        validate(FitJob, content, source="job.toml")


@pytest.mark.parametrize(
    ("value", "below", "above", "shown"),
    [
        (6.0294, 0.1038, 0.1072, "6.03 (-0.10 +0.11)"),
        (0.99383, 0.00777, 0.0077, "0.9938 (-0.0078 +0.0077)"),
        (1234.5, 56.0, 60.0, "1234 (-56 +60)"),
        (3e-9, 1e-10, 2e-10, "3e-09 (-1e-10 +2e-10)"),
        (2.0, 0.0, np.inf, "2 (-0 +inf)"),
    ],
)
def test_values_have_the_digits_of_their_errors(value, below, above, shown):
    from crosscal.core.rounding import with_sides

    assert with_sides(value, below, above) == shown


def test_a_fit_tells_its_checks_and_what_goes_together():
    from types import SimpleNamespace

    from crosscal.xray.fitting.engine import Status
    from crosscal.xray.fitting.result import FitResult

    names = ("kT", "norm")
    model = SimpleNamespace(parameters=[SimpleNamespace(name=n) for n in ("nH", *names)])
    empty = np.zeros(0)
    outcome = FitResult(
        names=names, values={}, errors={}, covariance=np.array([[4.0, -1.0], [-1.0, 1.0]]), statistic=10.0,
        statistic_name="cstat", dof=8, status=Status.AT_BOUND, pvalue=1e-5, model=model, energy_lo=empty,
        energy_hi=empty, counts=empty, background=empty, expected=empty, exposure=1.0, notes=("few counts",),
        _problem=None, name="a",
    )  # fmt: skip
    assert [check.passed for check in outcome.checks] == [False, False]
    assert not outcome.passed
    assert outcome.checks[0].why == "a parameter reached its limit"
    assert "correlation of kT and norm: -0.50" in outcome.diagnostics
    assert "Fixed: nH" in outcome.diagnostics
    assert len(outcome.warnings) == 3
    assert all(warning.endswith(".") for warning in outcome.warnings)
    assert set(outcome.captions) == {"spectrum"}


def small(output, **changes):
    """A job small enough for a test: 3 x 4 x 3 thetas, no cross-norm, Laplace instead of a sampler."""
    content = copy.deepcopy(DEMO)
    content["library"] |= {"A": [-0.2, 0.0, 0.2], "mu": [1.0, 1.7, 2.4, 3.1], "sigma": [0.6, 1.1, 1.6]}
    content["library"]["kT"] = {"min": 1.5, "max": 15, "n": 8, "scale": "log"}
    content["emulator"] = {"kind": "spline", "validation": 0}
    content["inference"] = {"sampler": "laplace", "cross_norm": 0, "draws": 300}
    content["simulation"]["sources"] = 12
    content["compute"] = {"executor": "serial"}
    content["ensemble"] = 5
    return validate(XrayJob, {**content, "output": str(output), "seed": 3, **changes}, source="small")


class Ear:
    """Hears what a run says."""

    def __init__(self):
        self.heard, self.stages = [], []

    def stage(self, name, total=None):
        self.stages.append(name)
        return SILENT.stage(name, total)

    def message(self, text):
        self.heard.append(text)


def run(job, **options):
    return run_job(PARTS.get(job.job), job, source=None, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("xray")
    return output, run(small(output)).result


@pytest.mark.slow
def test_a_run_writes_what_a_user_needs(finished):
    output, outcome = finished
    names = {p.name for p in output.iterdir()}
    assert {
        "job.toml",
        "outcome.json",
        "report.html",
        "correction.nc",
        "clusters_corrected.ecsv",
        "library.zarr",
        "emulator.npz",
        "posterior.nc",
        "summary.ecsv",
        "correction.ecsv",
        "bias.ecsv",
        "example_b_corrected.arf",
        "example_b_ensemble.arf",
        "diagnostics.txt",
    } <= names
    assert outcome.answer.endswith(".")
    assert "injected error lies within" in outcome.answer


@pytest.mark.slow
def test_the_corrected_area_removes_the_bias_of_the_spectra(finished):
    _, outcome = finished

    def mean_ratio(pairs):
        ratio = np.log(pairs.values[1, :, 0] / pairs.values[0, :, 0])
        sd = np.hypot(*(pairs.sd[k, :, 0] / pairs.values[k, :, 0] for k in (0, 1)))
        return np.average(ratio, weights=sd**-2), np.sum(sd**-2) ** -0.5

    before, error = mean_ratio(outcome.fitted)
    after, _ = mean_ratio(outcome.refitted)
    assert before < -5 * error
    assert abs(after) < 3.5 * error


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_and_still_gives_its_result(finished):
    output, outcome = finished
    ear = Ear()
    again = run(small(output), progress=ear)
    assert again.repeated
    assert ear.stages == []
    assert again.answer == outcome.answer
    np.testing.assert_array_equal(again.correction.factor, outcome.correction.factor)
    np.testing.assert_array_equal(again.result.correction.factor, outcome.correction.factor)
    assert set(again.figures()) == set(outcome.figures())


@pytest.mark.slow
def test_results_read_their_library_where_it_is(finished):
    _, outcome = finished
    assert np.all(np.isfinite(outcome.library.values("kT")))


@pytest.mark.slow
def test_a_stage_runs_again_where_what_it_depends_on_has_changed(finished, tmp_path, monkeypatch):
    class EnoughError(Exception):
        """Inference has begun: what comes after is not what this test is about."""

    def begun(*arguments, **options):
        raise EnoughError

    monkeypatch.setattr("crosscal.xray.jobs.pairs.infer_model", begun)
    output, _ = finished

    def heard(**changes):
        ear, place = Ear(), tmp_path / str(len(list(tmp_path.iterdir())))
        place.mkdir()
        with pytest.raises(EnoughError):
            PARTS.get("xray").run(small(place, **changes), Stages(place, output, ear))
        return ear.heard

    told = heard(inference={"sampler": "laplace", "cross_norm": 0, "draws": 300, "scatter": 0.02})
    assert "Library: already complete, skipped" in told
    assert "Emulator: already complete, skipped" in told
    assert "Inference: repeated, because its inputs have changed" in told
    content = copy.deepcopy(DEMO["library"]) | {"A": [-0.2, 0.0, 0.1, 0.2], "mu": [1.0, 1.7, 2.4], "sigma": [0.6, 1.1]}
    content["kT"] = {"min": 1.5, "max": 15, "n": 6, "scale": "log"}
    told = heard(library=content)
    for stage in ("Library", "Emulator", "Inference"):
        assert f"{stage}: repeated, because its inputs have changed" in told


def test_the_level_of_errors_may_stand_in_the_job(tmp_path, monkeypatch):
    from crosscal.xray import read_pairs

    rows = ["source,kT_a,kT_err_a,kT_b,kT_err_b", "A1,3.0,0.1,3.1,0.1", "A2,6.0,0.2,6.2,0.3"]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    heard = []

    class EnoughError(Exception):
        """The pairs are read."""

    def reading(*arguments, **options):
        heard.append(read_pairs(*arguments, **options))
        raise EnoughError

    monkeypatch.setattr("crosscal.xray.jobs.pairs.read_pairs", reading)
    content = copy.deepcopy(PAIRS) | {"telescope": DEMO["telescope"] | {"name": "b"}, "trusted": {"name": "a"}}
    for level, sigmas in ((0.9, 1.645), (None, 1.0)):
        inference = {"pairs": str(tmp_path / "p.csv")} | ({} if level is None else {"confidence": level})
        job = validate(XrayJob, content | {"inference": inference}, source=tmp_path / "job.toml")
        with pytest.raises(EnoughError):
            PARTS.get("xray").run(job, Stages(tmp_path))
        np.testing.assert_allclose(heard[-1].sd[0, :, 0], np.array([0.1, 0.2]) / sigmas, rtol=1e-3)


@pytest.mark.thorough
def test_spectra_are_fitted_before_the_library_is_built(tmp_path, monkeypatch):
    from crosscal import xray

    class EnoughError(Exception):
        """The library would be built now."""

    def begun(*arguments, **options):
        raise EnoughError

    monkeypatch.setattr("crosscal.xray.jobs.pairs.build", begun)
    rows = ["source,telescope,pha,arf,rmf,z,region"]
    for t in "ab":
        response = xray.example_telescope(t)
        xray.write_arf(tmp_path / f"{t}.arf", response)
        xray.write_rmf(tmp_path / f"{t}.rmf", response)
        for k, (kT, z) in enumerate(((3.0, 0.05), (6.0, 0.1))):
            model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=z, kT=kT)
            spectrum = xray.fakeit(response, model, counts=5000, band=(0.7, 7.0), seed=k)
            xray.write_spectrum(tmp_path / f"{t}{k}.pha", spectrum)
            rows.append(f"A{k},{t},{t}{k}.pha,{t}.arf,{t}.rmf,{z},circle(1)")
    (tmp_path / "spectra.csv").write_text("\n".join(rows))
    content = copy.deepcopy(PAIRS) | {
        "output": str(tmp_path / "out"),
        "telescope": {"name": "b", "arf": "b.arf", "rmf": "b.rmf"},
        "trusted": {"name": "a"},
        "inference": {"observations": "spectra.csv"},
        "compute": {"executor": "serial"},
    }
    with pytest.raises(ConfigError, match=r"telescope\.name and trusted\.name"):
        validate(XrayJob, {**content, "trusted": {}}, source=tmp_path / "job.toml")
    job = validate(XrayJob, content, source=tmp_path / "job.toml")
    assert len(job.linked_inputs()) == 12
    place, ear = tmp_path / "out", Ear()
    place.mkdir()
    for _ in range(2):
        with pytest.raises(EnoughError):
            PARTS.get("xray").run(job, Stages(place, progress=ear))
    assert "Fits: already complete, skipped" in ear.heard
    pairs = xray.read_pairs(place / "pairs.ecsv")
    assert pairs.telescopes == ("a", "b")
    np.testing.assert_array_equal(pairs.constants["Redshift"], [0.05, 0.1])
    assert np.all(np.abs(pairs.values[:, :, 0] / [3.0, 6.0] - 1) < 0.2)
    assert (place / "fits.ecsv").is_file()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(finished, tmp_path):
    _, outcome = finished
    again = PARTS.get("xray").run(small(tmp_path), Stages(tmp_path))
    np.testing.assert_array_equal(again.correction.factor, outcome.correction.factor)


@pytest.mark.slow
def test_a_correction_from_elsewhere_is_used(finished, tmp_path):
    """Given to the tenth of a per cent at 1.8 keV, it holds the posterior there; the emulator is not made again."""
    from crosscal.core.correction import Correction
    from crosscal.core.errors import DataFileError
    from crosscal.datasets import write_correction

    output, outcome = finished
    known = Correction(np.array([1.8]), np.array([1.03]), np.array([[1e-6]]), "energy", unit="keV")
    path = write_correction(tmp_path / "known.nc", known)
    inference = {"sampler": "laplace", "cross_norm": 0, "prior_correction": str(path)}
    job = small(tmp_path / "held", inference=inference)
    ear = Ear()
    (tmp_path / "place").mkdir()
    held = PARTS.get("xray").run(job, Stages(tmp_path / "place", output, ear)).correction.at([1.8])
    assert "Emulator: already complete, skipped" in ear.heard
    assert abs(np.log(held.factor[0] / 1.03)) < 0.004
    assert held.sd[0] < 0.3 * outcome.correction.at([1.8]).sd[0]
    path.unlink()
    with pytest.raises((InputError, DataFileError), match=r"known\.nc"):
        run(job)


def fit_content(output, **spectrum):
    return {
        "job": "xray-fit",
        "output": str(output),
        "telescope": {**DEMO["trusted"], "band": [0.7, 7.0]},
        "model": {"expression": "powerlaw", "free": ["PhoIndex", "norm"]},
        "spectrum": {"pha": str(output / "s.pha"), **spectrum},
    }


def fit_job(output, **spectrum):
    """A fit job of a simulated power law."""
    from crosscal.xray import Model, example_telescope, fakeit, write_spectrum

    model = Model("powerlaw", PhoIndex=1.7, norm=1e-3)
    write_spectrum(output / "s.pha", fakeit(example_telescope("a"), model, counts=3000, band=(0.7, 7.0), seed=4))
    return validate(FitJob, fit_content(output, **spectrum), source="job.toml")


def run_fit(job, place):
    place.mkdir()
    return PARTS.get("xray-fit").run(job, Stages(place))


def test_ignored_ranges_are_left_out_of_the_fit(tmp_path):
    whole = run_fit(fit_job(tmp_path), tmp_path / "a")
    cut = run_fit(fit_job(tmp_path, ignored=[[1.7, 2.0], [5.0, 5.5]]), tmp_path / "b")
    middle = 0.5 * (whole.energy_lo + whole.energy_hi)
    inside = ((middle > 1.7) & (middle < 2.0)) | ((middle > 5.0) & (middle < 5.5))
    assert inside.sum() > 10
    kept = 0.5 * (cut.energy_lo + cut.energy_hi)
    assert not (((kept > 1.71) & (kept < 1.99)) | ((kept > 5.01) & (kept < 5.49))).any()
    # A channel that straddles an end may stay or go.
    assert abs(len(whole.counts) - len(cut.counts) - inside.sum()) <= 4
    with pytest.raises(ConfigError, match=r"key spectrum\.ignored"):
        validate(FitJob, fit_content(tmp_path, ignored=[1.7, 2.0]), source="job.toml")


def test_the_notes_of_a_fit_are_warnings_of_its_job(tmp_path):
    from dataclasses import replace

    outcome = run_fit(fit_job(tmp_path, statistic="chi2"), tmp_path / "out")
    assert any("many groups have few counts, which biases chi2" in w for w in outcome.warnings)
    told = replace(outcome, notes=("the moon was up",))
    assert "the moon was up." in told.warnings


@pytest.mark.slow
def test_what_was_tolerated_in_the_telescope_s_files_is_told(finished):
    _, outcome = finished
    response = dataclasses.replace(outcome.response, notes=("a.rmf[MATRIX]: F_CHAN has no TLMIN",))
    told = dataclasses.replace(outcome, response=response).warnings
    assert told == (*outcome.warnings, "a.rmf[MATRIX]: F_CHAN has no TLMIN.")


def test_the_users_own_function_belongs_to_what_makes_a_run_the_same(tmp_path):
    """Else a run with another function in the same file would pass for complete."""
    from crosscal.jobs.options import depends_on

    Table({"name": ["A2029"], "kT_acis": [8.1], "kT_pn": [7.9]}).write(tmp_path / "clusters.ecsv")
    source = tmp_path / "my_ripple_of_a_test.py"
    source.write_text("def ripple(energy, xp, *, depth=0.0):\n    return 1 + depth * xp.sin(energy)\n")
    library = {"modifier": {"name": "function", "function": f"{tmp_path}/my_ripple_of_a_test:ripple"}}
    library |= {"depth": {"min": -0.1, "max": 0.1, "n": 5}, "kT": [2.0, 4.0, 8.0]}
    job = validate(XrayJob, {**PAIRS, "library": library}, source=tmp_path / "job.toml")
    assert list(job.linked_inputs().values()) == [source]
    arfs = {"telescope": {"arf": "data:xray/example_b.arf", "rmf": "data:xray/example_b.rmf.gz"}}
    job = validate(XrayJob, {**PAIRS, **arfs, "library": library}, source=tmp_path / "job.toml")
    before = depends_on(job, "library")
    source.write_text(source.read_text().replace("sin", "cos"))
    assert depends_on(job, "library") != before
