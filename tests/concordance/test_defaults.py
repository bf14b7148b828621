"""What is not said means the same everywhere: in one call and in a job file."""

from dataclasses import fields
from inspect import signature

from crosscal.concordance import Checks, Noise, Sampling, Sources, fit
from crosscal.concordance.options import Prior


def test_a_job_file_that_says_nothing_is_a_call_that_says_nothing():
    called = {name: p.default for name, p in signature(fit).parameters.items()}
    written = {
        f.name: getattr(table, f.name) for table in (Noise(), Sources(), Sampling(), Checks()) for f in fields(table)
    }
    written["noise"] = written.pop("kind")
    assert written == {name: called[name] for name in written}
    prior = Prior()
    assert (prior.tau, prior.mean, prior.areas) == (called["tau"], called["mean"], called["areas"])
