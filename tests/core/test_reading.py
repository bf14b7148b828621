"""What parsers of others raise becomes one sentence; our own mistakes stay visible."""

import csv

import pytest

from crosscal.core.errors import DataFileError, InputError, StoreError
from crosscal.core.reading import parsing, read_text, reason
from crosscal.core.seal import check_seal, seal


@pytest.mark.parametrize(
    "error", [ValueError("a\nb."), KeyError("x"), csv.Error("odd"), OSError(5, "Input/output error")]
)
def test_errors_of_parsers_become_one_sentence(error):
    with (
        pytest.raises(DataFileError, match=r"^f\.csv: not a table \(.+\); expected CSV\.$") as caught,
        parsing("not a table", where="f.csv", expected="CSV"),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


def test_errors_of_the_project_pass_and_the_kind_can_be_chosen():
    with pytest.raises(InputError, match=r"^mine\.$"), parsing("not a table", where="f"):
        raise InputError("mine")
    with (
        pytest.raises(StoreError, match=r"^s: damaged\.$"),
        parsing("damaged", where="s", told=False, error=StoreError),
    ):
        raise ValueError("secret")


def test_mistakes_of_the_program_are_not_hidden():
    class Mistake(Exception):
        """Not what a parser raises."""

    with pytest.raises(Mistake), parsing("not a table", where="f"):
        raise Mistake
    with pytest.raises(KeyboardInterrupt), parsing("not a table", where="f"):
        raise KeyboardInterrupt


def test_a_mistake_in_a_function_of_ours_is_not_told_as_a_damaged_file(monkeypatch):
    """TypeError and AttributeError in the block or below a foreign parser: content; in a function of ours: a fault."""
    from crosscal.report import words

    def fails(call):
        with parsing("damaged", where="f"):
            call()

    monkeypatch.setattr(words, "np", None)
    with pytest.raises(AttributeError, match="bool_"):
        fails(lambda: words.cell(1.0))
    with pytest.raises(DataFileError), parsing("damaged", where="f"):
        {}["x"]["y"]
    with pytest.raises(DataFileError), parsing("damaged", where="f"):
        [entry["path"] for entry in [3]]
    with pytest.raises(DataFileError), parsing("damaged", where="f"):
        csv.reader(3)


#: A module of the package that reads: in the block itself, and in a context manager that its readers share.
READERS = """
from contextlib import ExitStack, contextmanager
from crosscal.core.reading import parsing

def plain(content):
    return parsing("damaged", where="f")

@contextmanager
def opened(content):
    with parsing("damaged", where="f"):
        yield content

@contextmanager
def opened_twice(content):
    with opened(content) as inner:
        yield inner

def name(entry):
    return entry["path"]

def read(manager, content):
    with manager(content):
        SHAPE

def read_stacked(manager, content):
    with ExitStack() as stack:
        stack.enter_context(manager(content))
        SHAPE
"""
SHAPES = {
    "statement": "content[0]['path']",
    "list": "[entry['path'] for entry in content]",
    "set": "{entry['path'] for entry in content}",
    "mapping": "{entry: entry['path'] for entry in content}",
    "generator": "sum(entry['path'] for entry in content)",
    "nested": "[[entry['path'] for entry in content] for _ in content]",
    "lambda": "sorted(content, key=lambda entry: entry.size)",
    "function": "f = lambda entry: entry['path']; list(map(f, content))",
}


def reader_module(shape):
    """A module of the package with READERS."""
    module = {"__name__": "crosscal.made_for_a_test"}
    exec(READERS.replace("SHAPE", shape), module)
    return module


@pytest.mark.parametrize("manager", ["plain", "opened", "opened_twice"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_of_frames_does_not_matter(manager, shape):
    """Whether a comprehension has a frame of its own depends on Python's version: a wrong type in it is content."""
    module = reader_module(SHAPES[shape])
    for read in ("read", "read_stacked"):
        with pytest.raises(DataFileError, match=r"^f: damaged \("):
            module[read](module[manager], [3, None])


@pytest.mark.parametrize("manager", ["plain", "opened", "opened_twice"])
@pytest.mark.parametrize("shape", ["name(3)", "[name(entry) for entry in content]", "list(map(name, content))"])
def test_mistakes_in_functions_that_a_block_calls_stay_visible(manager, shape):
    module = reader_module(shape)
    for read in ("read", "read_stacked"):
        with pytest.raises(TypeError, match="not subscriptable"):
            module[read](module[manager], [3, None])


def test_reasons_are_short_lines():
    assert reason(ValueError("")) == "ValueError"
    assert reason(ValueError("one.\n  two;")) == "one. two"
    assert len(reason(ValueError("x" * 5000))) < 250


def test_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfab\n")
    assert read_text(path) == "ab\n"
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(DataFileError, match=r"a\.txt: the table is not text; expected text in UTF-8\.$"):
        read_text(path, what="table")
    with pytest.raises(DataFileError, match="no such table"):
        read_text(tmp_path / "none", what="table")


def test_a_seal_finds_every_change_of_the_content(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"content")
    check_seal(path)  # of another program
    seal(path)
    check_seal(path)
    whole = path.read_bytes()
    for k in range(len(b"content")):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 4]) + whole[k + 1 :])
        with pytest.raises(DataFileError, match="the table is damaged: its checksum differs"):
            check_seal(path, what="table")
    for changed in (whole[:-1], whole + b"x", whole[1:]):
        path.write_bytes(changed)
        with pytest.raises(DataFileError, match="checksum differs"):
            check_seal(path)


def test_unchecked_content_given_to_our_functions_is_told_as_content():
    from crosscal.xray.modifiers.spline import Spline

    with (
        pytest.raises(DataFileError, match=r"options of a wrong type \("),
        parsing("options of a wrong type", where="a job", unchecked=True),
    ):
        Spline(low=(1, 2))
    with pytest.raises(TypeError), parsing("options of a wrong type", where="a job"):
        Spline(low=(1, 2))
