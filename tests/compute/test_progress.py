"""Displays: bars, lines, notebooks."""

import io
import sys
import types

import pytest
from rich.console import Console

from crosscal.compute import display
from crosscal.compute.progress import Bars, Lines, Notebook
from crosscal.core.progress import SILENT, Progress


@pytest.mark.parametrize("listener", [SILENT, Bars(), Lines(), Notebook()])
def test_all_speak_the_protocol(listener):
    assert isinstance(listener, Progress)


def test_bars_count_and_nest():
    stream = io.StringIO()
    bars = Bars(Console(file=stream, force_terminal=True, width=100))
    with bars.stage("library", total=3) as outer:
        outer(2)
        with bars.stage("inner [x]") as inner:
            inner(1)
        bars.message("news [of] 1")
        outer()
    text = stream.getvalue()
    assert "library" in text
    assert "3/3" in text
    assert "inner" in text
    assert "news [of] 1" in text
    with bars.stage("again", total=1):
        pass
    assert "again" in stream.getvalue()


def test_bars_end_where_the_work_fails():
    bars = Bars(Console(file=io.StringIO()))
    with pytest.raises(ValueError, match="no"), bars.stage("a", total=2):
        raise ValueError("no")
    assert bars._display is None


def test_lines_are_few():
    stream = io.StringIO()
    lines = Lines(stream, every=3600)
    with lines.stage("library", total=1000) as advance:
        for _ in range(1000):
            advance()
    lines.message("done")
    assert stream.getvalue().splitlines() == ["library: begun", "library: 1000 of 1000 (100 %), 0 s", "done"]


def test_lines_come_while_work_goes_on(capsys):
    with Lines(every=0).stage("sampling") as advance:
        advance(5)
        advance(5)
    assert capsys.readouterr().err.splitlines() == [
        "sampling: begun",
        "sampling: 5, 0 s",
        "sampling: 10, 0 s",
        "sampling: 10, 0 s",
    ]


@pytest.fixture
def notebook(monkeypatch):
    """A stand-in for IPython's display machinery."""
    shown = []
    module = types.ModuleType("IPython.display")
    module.HTML = lambda text: text
    module.display = lambda item, display_id: types.SimpleNamespace(update=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_notebook_shows_html(notebook, capsys):
    listener = Notebook(every=0)
    with listener.stage("a < b", total=4) as advance:
        advance(2)
    assert notebook[0] == 'a &lt; b <progress value="2" max="4"></progress> 2 of 4 (50 %), 0 s'
    with listener.stage("unknown") as advance:
        advance()
    assert "<progress></progress> 1, 0 s" in notebook[-1]
    listener.message("news")
    assert capsys.readouterr().out == "news\n"


def test_the_display_suits_the_place(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert isinstance(display(), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(display(), Bars)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert isinstance(display(), Notebook)


def test_show_progress_lets_silent_work_speak(capsys):
    import crosscal

    assert repr(SILENT) == "SILENT"
    crosscal.show_progress()
    try:
        with SILENT.stage("outer", total=2) as advance, SILENT.stage("inner", total=1) as unseen:
            unseen(1)
            advance(2)
        SILENT.message("news")
    finally:
        crosscal.show_progress(False)
    shown = capsys.readouterr().err
    assert "outer: 2 of 2" in shown
    assert "inner" not in shown
    assert "news" in shown
    with SILENT.stage("quiet") as advance:
        advance()
    assert capsys.readouterr().err == ""
