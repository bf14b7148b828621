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
