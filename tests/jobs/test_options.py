from pathlib import Path
from typing import ClassVar, Literal

import pytest

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, OpenTable, Positive, meanings, option, options
from crosscal.jobs import options as module
from crosscal.jobs.options import AxisTable, depends_on, input_paths, read_toml, validate, write_toml
from crosscal.jobs.template import template


@options
class Library:
    """What is simulated.

    Attributes
    ----------
    A : axis
        Amplitudes.
    counts : float
        Expected counts.
    """

    A: AxisTable = option(example={"min": -0.1, "max": 0.1, "n": 3})
    counts: Positive = 5e4


@options
class Job(module.Job):
    """A job of this test.

    Attributes
    ----------
    arf : Path
        An OGIP ARF.
    """

    job: Literal["test"]
    library: Library
    band: Band = (0.7, 7.0)
    arf: Path | None = None
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


def test_nothing_in_a_job_file_is_evaluated(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('job = "test"\noutput = "__import__(\'os\').getcwd()"\n[library]\nA = [1.0]\n')
    assert str(validate(Job, read_toml(path), source=path).output) == "__import__('os').getcwd()"


def test_paths_in_lists_of_tables_are_inputs(tmp_path):
    @options
    class Star:
        path: Path

    @options
    class Stars(module.Job):
        job: str = "stars"
        known: tuple[Star, ...] = ()
        inputs: ClassVar[tuple[str, ...]] = ("known.path",)

    content = {"job": "stars", "output": "o", "known": [{"path": "a.fits"}, {"path": "data:b.fits"}]}
    job = validate(Stars, content, source=tmp_path / "job.toml")
    assert input_paths(job) == {"known[0].path": tmp_path / "a.fits", "known[1].path": Path("data:b.fits")}
    # What the caller gave stays as it was.
    assert content["known"][0] == {"path": "a.fits"}


def test_limits_hold_in_python_too():
    axis = AxisTable(values=(1.0,))
    with pytest.raises(ConfigError, match=r"Library, counts: -1; expected a number > 0\."):
        Library(A=axis, counts=-1)
    with pytest.raises(ConfigError, match=r"Job, band: low < high, got 7\.0, 0\.7"):
        Job(job="test", output=Path("o"), library=Library(A=axis), band=(7.0, 0.7))


def test_what_a_stage_depends_on_is_the_content_of_inputs(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.arf").write_text("same")
    jobs = [validate(Job, {**GOOD, "arf": str(tmp_path / name / "x.arf")}) for name in ("a", "b")]
    assert depends_on(jobs[0], "arf", "band") == depends_on(jobs[1], "arf", "band")
    (tmp_path / "b" / "x.arf").write_text("other")
    assert depends_on(jobs[0], "arf") != depends_on(jobs[1], "arf")
    assert depends_on(jobs[0], "band") == depends_on(jobs[1], "band")


def test_inputs_that_have_moved_with_the_job_file_are_found_beside_it(tmp_path):
    (tmp_path / "x.arf").write_text("here")
    job = validate(Job, {**GOOD, "arf": "/gone/long/ago/x.arf"}, source=tmp_path / "job.toml")
    assert job.arf == tmp_path / "x.arf"


def test_deep_nesting_and_endless_numbers_are_one_sentence(tmp_path):
    for text in ("a = " + "[" * 10000, "a = " + "9" * 5000):
        (tmp_path / "a.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"a\.toml: "):
            read_toml(tmp_path / "a.toml")


@options
class Open(OpenTable):
    """A table with free keys."""

    name: str = "x"


def test_open_tables_keep_their_keys_and_round_trip():
    table = module.validate_value(Open, {"name": "y", "A": 0.1, "z": [1, 2]})
    assert table.rest == {"A": 0.1, "z": [1, 2]}
    assert module.plain(table) == {"name": "y", "A": 0.1, "z": [1, 2]}


def test_templates_say_what_each_key_means_and_are_valid(tmp_path):
    text = template(Job)
    assert "# Expected counts" in text
    assert meanings(Job)["arf"] == "An OGIP ARF."
    (tmp_path / "job.toml").write_text(text)
    job = validate(Job, read_toml(tmp_path / "job.toml"), source=tmp_path / "job.toml")
    assert job.library.counts == 5e4
