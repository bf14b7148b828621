"""What is not said means the same everywhere: in one call, in two, and in a job file."""

from inspect import Parameter, signature

from crosscal.concordance.config import CheckTable, Noise, PriorTable, Sampling, Sources
from crosscal.concordance.fitting import fit, solve
from crosscal.concordance.model import make_model


def defaults(function):
    found = {name: p.default for name, p in signature(function).parameters.items()}
    return {name: value for name, value in found.items() if value is not Parameter.empty}


def test_one_call_is_two_calls():
    assert defaults(fit) == defaults(make_model) | defaults(solve)


def test_a_job_file_that_says_nothing_is_a_call_that_says_nothing():
    called = defaults(fit)
    tables = (Noise(), Sources(), Sampling(), CheckTable())
    written = {k: v for table in tables for k, v in table.model_dump().items()}
    written["noise"] = written.pop("kind")
    assert written == {name: called[name] for name in written}
    assert (PriorTable().tau, PriorTable().mean) == (called["tau"], called["mean"])
