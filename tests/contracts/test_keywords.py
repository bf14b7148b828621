"""A mistyped name of an argument is answered with the closest one; a new verb joins by a line."""

import inspect

import pytest

import crosscal
from crosscal import concordance, fluxcal, lightcurves, xray
from crosscal.core.errors import UnknownNameError
from crosscal.core.keywords import check_keywords, keywords

#: Verb, a mistyped argument, and the one that is meant.
MISTYPED = [
    (crosscal.run, "otput", "output"),
    (concordance.fit, "chainz", "chains"),
    (concordance.fit, "rout", "route"),
    (concordance.make_model, "nois", "noise"),
    (concordance.make_prior, "taau", "tau"),
    (concordance.read_table, "instument", "instrument"),
    (concordance.read_matrix, "logarithmc", "logarithmic"),
    (concordance.simulate, "sead", "seed"),
    (concordance.Noise, "bta", "beta"),
    (concordance.Sampling, "chainz", "chains"),
    (lightcurves.intercalibrate, "kernal", "kernel"),
    (lightcurves.intercalibrate, "referense", "reference"),
    (lightcurves.compare_kernels, "kernals", "kernels"),
    (lightcurves.remove_outliers, "treshold", "threshold"),
    (lightcurves.read_table, "layot", "layout"),
    (lightcurves.simulate, "cods", "codes"),
    (lightcurves.Settings, "kernal", "kernel"),
    (fluxcal.calibrate, "fwmh", "fwhm"),
    (fluxcal.calibrate_frames, "lo", "loo"),
    (fluxcal.read_catalogue, "band", "bands"),
    (fluxcal.load_templates, "pth", "path"),
    (xray.fit, "bandd", "band"),
    (xray.read_pairs, "trustd", "trusted"),
    (xray.read_response, "rmff", "rmf"),
    (xray.simulate_pairs, "sed", "seed"),
]


@pytest.mark.parametrize(
    ("verb", "wrong", "right"), MISTYPED, ids=[f"{v.__module__.split('.')[1]}.{v.__name__}-{w}" for v, w, _ in MISTYPED]
)
def test_a_mistyped_argument_is_answered_with_the_closest(verb, wrong, right):
    assert right in inspect.signature(verb).parameters
    with pytest.raises(UnknownNameError) as error:
        verb(**{wrong: 1})
    assert isinstance(error.value, TypeError)
    assert str(error.value).startswith(f"{verb.__name__}: unknown argument {wrong!r}; expected ")
    assert repr(right) in str(error.value)


@pytest.mark.thorough
def test_options_of_samplers_are_checked_too():
    from crosscal.inference.registry import sample

    curves, _ = lightcurves.simulate(seed=1, codes=("A", "B"), points=(12, 10), lines=0)
    wrongs = {"importance": ("proposal", "proposals"), "laplace": ("start", "starts"), "nuts": ("chainz", "chains")}
    for route, (wrong, right) in wrongs.items():
        with pytest.raises(UnknownNameError, match=rf"unknown (argument|option) '{wrong}'; expected .*'{right}'"):
            lightcurves.intercalibrate(curves, sampler=route, sampler_options={wrong: 3})
    with pytest.raises(UnknownNameError, match=r"unknown argument 'chainz'; expected .*'chains'"):
        lightcurves.intercalibrate(curves, errors="student-t", sampler_options={"chainz": 3})
    with pytest.raises(UnknownNameError, match=r"sampler 'nuts': unknown option 'warmupp'; expected .*'warmup'"):
        sample(None, "nuts", warmupp=3)


def test_a_checked_function_is_itself_in_every_other_way():
    @keywords
    def add(one: int, *, two: int = 2) -> int:
        """Add."""
        return one + two

    assert add(1, two=3) == 4
    assert add.__doc__ == "Add."
    assert list(inspect.signature(add).parameters) == ["one", "two"]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()
    with pytest.raises(UnknownNameError, match="add: unknown argument 'tow'; expected 'two' or 'one'"):
        add(1, tow=3)
    check_keywords(lambda **anything: anything, {"x": 1})


#: What other packages call it, and the name that all parts share.
ELSEWHERE = [("n_chains", "chains"), ("tune", "warmup"), ("burn_in", "warmup"), ("num_samples", "draws")]
SAMPLING_VERBS = [
    (concordance.fit, (None,)),
    (lightcurves.intercalibrate, (None,)),
    (xray.infer, (None, None)),
    (xray.infer_spectra, ((), None)),
]


@pytest.mark.parametrize(("verb", "data"), SAMPLING_VERBS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize(("theirs", "ours"), [*ELSEWHERE, ("random_state", "seed")])
def test_names_of_other_packages_are_answered_with_ours(verb, data, theirs, ours):
    needed = {"trusted": "pn"} if verb is xray.infer_spectra else {}
    with pytest.raises(UnknownNameError) as error:
        verb(*data, **needed, **{theirs: 4})
    assert str(error.value) == f"{verb.__name__}: unknown argument {theirs!r}; expected {ours!r}."


@pytest.mark.parametrize(("verb", "data"), SAMPLING_VERBS, ids=lambda v: getattr(v, "__name__", ""))
def test_chains_draws_warm_up_and_seed_are_asked_for_alike(verb, data):
    from crosscal.inference.registry import options_of

    known = set(inspect.signature(verb).parameters)
    if "options" in known:  # what the function hands on to its sampler
        known |= set(options_of("nuts"))
    assert {"chains", "draws", "warmup", "seed"} <= known


@pytest.mark.parametrize(("wrong", "right"), [("scater", "scatter"), ("priorz", "priors"), ("chainz", "chains")])
@pytest.mark.parametrize("sampler", ["auto", "nuts"])
def test_arguments_of_an_inference_are_offered_beside_those_of_its_sampler(sampler, wrong, right):
    with pytest.raises(UnknownNameError, match=rf"^infer: unknown argument '{wrong}'; expected .*'{right}'"):
        xray.infer(None, None, sampler=sampler, **{wrong: 1})


def test_chains_of_light_curves_ask_for_nuts(monkeypatch):
    from crosscal.lightcurves import intercalibration

    asked = {}

    def stop(model, route, **options):
        asked.update(options, route=route)
        raise RuntimeError("asked")

    monkeypatch.setattr(intercalibration, "draw_posterior", stop)
    curves, _ = lightcurves.simulate(seed=1, codes=("A", "B"), points=(12, 10), lines=0)
    with pytest.raises(RuntimeError, match="asked"):
        lightcurves.intercalibrate(curves, chains=2, warmup=50)
    assert asked["route"] == "nuts"
    assert asked["options"] == {"warmup": 50, "chains": 2}
    with pytest.raises(RuntimeError, match="asked"):
        lightcurves.intercalibrate(curves)
    assert asked["route"] == "auto"
    assert asked["options"] == {}


def test_job_files_of_light_curves_ask_for_chains_too():
    from crosscal.lightcurves.intercalibration import with_chains
    from crosscal.lightcurves.options import Sampling

    plan = Sampling(chains=2, warmup=100)
    assert with_chains(plan.sampler, plan.warmup, plan.chains) == ("nuts", {"warmup": 100, "chains": 2})
    assert with_chains("nested", None, None) == ("nested", {})
