import pickle

import pytest

from crosscal.core.errors import (
    ConfigError,
    CrossCalError,
    DataFileError,
    FitError,
    InputError,
    MissingDependencyError,
    StoreError,
    UnknownNameError,
)


def test_message_is_one_sentence_with_where_what_expected():
    error = InputError("negative area", where="a.arf[SPECRESP], row 3", expected="values >= 0")
    assert str(error) == "a.arf[SPECRESP], row 3: negative area; expected values >= 0."


def test_unknown_name_offers_the_closest():
    assert "expected 'gaussian'" in str(UnknownNameError("modifier", "gausian", ["grey", "gaussian"]))


def test_few_names_are_all_told_the_closest_first():
    error = UnknownNameError("variance model", "known", ["quoted", "unknown", "quoted+excess"])
    assert "expected 'unknown', 'quoted' or 'quoted+excess'." in str(error)


def test_of_many_names_the_closest_are_told():
    many = [f"model{i}" for i in range(20)]
    assert "expected 'gaussian'." in str(UnknownNameError("model", "gausian", [*many, "gaussian"]))


def test_unknown_name_without_a_near_one_lists_all():
    assert "one of a, b" in str(UnknownNameError("thing", "zzzz", ["b", "a"]))


def test_unknown_name_in_an_empty_family():
    assert "none is registered" in str(UnknownNameError("thing", "x", []))


@pytest.mark.parametrize("kind", [InputError, ConfigError, DataFileError, StoreError])
def test_errors_survive_a_process_boundary(kind):
    error = pickle.loads(pickle.dumps(kind("what", where="here", expected="that")))
    assert (type(error), str(error)) == (kind, "here: what; expected that.")


def test_unknown_name_survives_a_process_boundary():
    error = UnknownNameError("thing", "x", ["y"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_missing_dependency_says_how_to_install():
    error = pickle.loads(pickle.dumps(MissingDependencyError("dynesty", extra="samplers", purpose="Evidences")))
    assert "pip install 'crosscal[samplers]'" in str(error)
    assert isinstance(error, ImportError)


def test_all_are_crosscal_errors():
    assert all(issubclass(k, CrossCalError) for k in (InputError, FitError, MissingDependencyError))


def test_quoted_names_and_foreign_messages_cannot_break_the_line():
    text = str(InputError("bad \x00\x1b[31m value", where="a\nb.fits", expected="one\r\nline\u2028only"))
    assert text == "a b.fits: bad [31m value; expected one line only."
    assert len(str(InputError("x" * 5000))) < 700
