from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field

from crosscal.config import (
    AxisSpec,
    Band,
    JobModel,
    StrictModel,
    as_value_error,
    input_paths,
    read_toml,
    validate,
    write_toml,
)
from crosscal.core.errors import ConfigError, InputError


class Library(StrictModel):
    A: AxisSpec
    counts: float = 5e4


class Job(JobModel):
    job: Literal["test"]
    library: Library
    band: Band = (0.7, 7.0)
    arf: Path | None = Field(None, description="an OGIP ARF")
    more: tuple[Path, ...] = ()
    inputs: ClassVar[tuple[str, ...]] = ("arf", "more", "library.absent")


GOOD = {"job": "test", "output": "out", "library": {"A": [1.0, 2.0]}}


def test_a_good_job_keeps_its_values_and_resolves_paths(tmp_path):
    content = GOOD | {"arf": "a.arf", "more": ["b.arf", "data:xray/c.arf"]}
    job = validate(Job, content, source=tmp_path / "job.toml")
    assert job.arf == tmp_path / "a.arf"
    assert input_paths(job) == {
        "arf": tmp_path / "a.arf",
        "more[0]": tmp_path / "b.arf",
        "more[1]": Path("data:xray/c.arf"),
    }
    assert job.library.A.axis("A").values.tolist() == [1.0, 2.0]


def test_a_job_round_trips_through_toml(tmp_path):
    job = validate(Job, GOOD | {"library": {"A": {"min": 1, "max": 15, "n": 20, "scale": "log"}}}, source="x")
    again = validate(Job, read_toml(write_toml(tmp_path / "job.toml", job)), source=tmp_path / "job.toml")
    assert again == job
    assert len(again.library.A.axis("T")) == 20


BAD = {
    "unknown top key": ({"libary": 1}, "key libary: unknown key 'libary'"),
    "unknown nested key": ({"library": {"A": [1.0], "cuonts": 1}}, "unknown key 'cuonts'; expected 'counts'"),
    "unknown axis key": ({"library": {"A": {"min": 1, "max": 2, "m": 3}}}, "key library.A.m: unknown key 'm'"),
    "half an axis": ({"library": {"A": {"min": 1, "max": 2}}}, "give either min, max and n, or a list"),
    "falling axis": ({"library": {"A": [2.0, 1.0]}}, "key library.A: values do not increase; expected strictly"),
    "log axis at zero": (
        {"library": {"A": {"min": 0, "max": 2, "n": 3, "scale": "log"}}},
        "logarithmic axis from 0 to 2; expected positive limits",
    ),
    "half a band": ({"band": [0.7]}, "key band: two numbers low < high, got [0.7]"),
    "a band in words": ({"band": ["low", "high"]}, "key band: two numbers low < high, got ['low', 'high']"),
    "falling band": ({"band": [7.0, 0.7]}, "key band: low < high, got 7.0, 0.7"),
    "wrong type": ({"library": {"A": [1.0], "counts": "many"}}, "valid number"),
    "wrong part": ({"job": "tset"}, "input should be 'test', got 'tset'"),
    "not a table": ({"library": 3}, "key library"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_jobs_are_one_sentence_with_file_and_key(change, message):
    with pytest.raises(ConfigError) as caught:
        validate(Job, GOOD | change, source="dir/job.toml")
    text = str(caught.value)
    assert message in text
    assert text.startswith("dir/job.toml: key ")
    assert "\n" not in text


def test_missing_keys_are_named():
    with pytest.raises(ConfigError, match=r"key library: the key is missing"):
        validate(Job, {"job": "test", "output": "x"}, source="j.toml")


def test_several_problems_are_counted():
    with pytest.raises(ConfigError, match=r"and 1 more problem: band\)"):
        validate(Job, GOOD | {"outptu": 1, "band": [2, 1]}, source="j.toml")


def test_broken_toml_names_line_and_column(tmp_path):
    (tmp_path / "a.toml").write_text("job = \n")
    with pytest.raises(ConfigError, match=r"not valid TOML .*line 1"):
        read_toml(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text"):
        read_toml(tmp_path / "b.toml")


def test_own_errors_become_the_keys_error():
    def convert(value):
        raise InputError("bad thing", expected="good thing")

    with pytest.raises(ValueError, match=r"bad thing; expected good thing$"):
        as_value_error(convert)(1)


def test_nothing_in_a_job_file_is_evaluated(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('job = "test"\noutput = "__import__(\'os\').getcwd()"\n[library]\nA = [1.0]\n')
    assert str(validate(Job, read_toml(path), source=path).output) == "__import__('os').getcwd()"


def test_paths_in_lists_of_tables_are_inputs(tmp_path):
    class Star(StrictModel):
        path: Path

    class Stars(JobModel):
        known: tuple[Star, ...] = ()
        inputs: ClassVar[tuple[str, ...]] = ("known.path",)

    content = {"job": "stars", "output": "o", "known": [{"path": "a.fits"}, {"path": "data:b.fits"}]}
    job = validate(Stars, content, source=tmp_path / "job.toml")
    assert input_paths(job) == {"known[0].path": tmp_path / "a.fits", "known[1].path": Path("data:b.fits")}
    # What the caller gave stays as it was.
    assert content["known"][0] == {"path": "a.fits"}
