"""Every section of a report: text in, whole and escaped HTML out, for a rich run and for one with nothing to say."""

import inspect
import json
from html.parser import HTMLParser

import pytest

from crosscal.core.check import Check
from crosscal.core.files import write_text
from crosscal.report import SECTIONS, RunRecord

HOSTILE = '<script>alert("1")</script>&'
VOID = {"img", "br", "hr", "input", "meta", "link"}


class Balance(HTMLParser):
    """Raises where an element is closed that is not open; what stays open is in ``open``."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(params=["rich", "bare"])
def record(request, tmp_path):
    if request.param == "bare":
        return RunRecord(tmp_path, "xray", "Done.")
    from astropy.table import QTable

    QTable({"name": [HOSTILE], "value": [1.5]}).write(tmp_path / "summary.ecsv")
    write_text(tmp_path / "job.toml", f"# {HOSTILE}\njob = 'toy'\n")
    write_text(tmp_path / "run.log", HOSTILE)
    (tmp_path / "figures").mkdir()
    for name in ("one", "two"):
        write_text(tmp_path / "figures" / f"{name}.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    entry = {"path": HOSTILE, "sha256": "0" * 64}
    provenance = {"inputs": {HOSTILE: entry}, "versions": {HOSTILE: HOSTILE}, "seed": 1}
    write_text(tmp_path / "provenance.json", json.dumps(provenance))
    return RunRecord(
        tmp_path,
        HOSTILE,
        HOSTILE,
        (HOSTILE,),
        f"known from the prior: {HOSTILE}",  # not what a warning says already
        [Check(HOSTILE, False, HOSTILE)],
        [{"name": name, "title": HOSTILE, "caption": HOSTILE, "axes_json": "[]"} for name in ("one", "two")],
        (HOSTILE, "nuts"),
        2.0,
    )


@pytest.mark.parametrize("name", list(SECTIONS))
def test_a_section_is_whole_and_escaped(name, record):
    section = SECTIONS.get(name)
    assert inspect.getdoc(section)
    body = section(record)
    assert isinstance(body, str)
    reader = Balance()
    reader.feed(body)
    reader.close()
    assert not reader.open
    assert "script" not in reader.seen
    if record.answer == HOSTILE:
        assert body, "a run with everything has something for each section"
