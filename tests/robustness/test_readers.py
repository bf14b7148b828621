"""Damaged input of every reader: it is read or refused with one sentence, and nothing else ever happens."""

import pytest

from crosscal.core.errors import CrossCalError, DataFileError

from .harness import Report, attempt, fuzz
from .registry import NO_READERS, READERS, fuzzed, public_readers

#: Cases per reader at full size: with the job files more than 10 000 altogether.
FULL = 200


def test_every_public_reader_is_fuzzed():
    found = public_readers()
    assert len(found) > 50
    missing = found - fuzzed() - set(NO_READERS)
    assert not missing, f"readers without a corpus in tests/robustness: {sorted(missing)}"


@pytest.mark.thorough
def test_exceptions_to_fuzzing_exist():
    assert set(NO_READERS) <= public_readers()


def test_the_sweep_is_large_enough():
    assert sum(max(1, round(FULL * reader.share)) for reader in READERS) > 10_000


def test_damaged_input(reader, tmp_path):
    report = fuzz(reader, max(3, round(12 * reader.share)), tmp_path, seed=1)
    assert not report.failures, str(report)


@pytest.mark.slow
def test_damaged_input_many_times(reader, tmp_path, slow_scale):
    report = fuzz(reader, max(5, round(FULL * reader.share * slow_scale)), tmp_path, seed=2)
    assert not report.failures, str(report)
    assert report.cases == report.refused + report.accepted
    # A reader that refuses nothing does not look at its input.
    assert report.refused > 0 or report.cases < 50 or reader.name == "jobs.stages.Stages"


def test_the_harness_sees_foreign_errors_and_bad_sentences():
    def call(error):
        def fail():
            raise error

        return fail

    def hungry():
        return bytearray(1 << 40)

    report = Report()
    for problem in (KeyError("x"), CrossCalError("two\nlines."), CrossCalError(""), CrossCalError("no stop")):
        attempt(report, call(problem), "case")
    attempt(report, hungry, "case")
    attempt(report, call(DataFileError("bad", where="f")), "case")
    assert report.cases == 6
    assert report.refused == 4
    kinds = " ".join(report.failures)
    assert all(word in kinds for word in ("KeyError", "more than one line", "empty", "no full stop", "MemoryError"))
    assert "### KeyError" in str(report)
