"""The display: bars in terminals and notebooks, lines in logs."""

import io
import sys
import types

import pytest

from crosscal.compute import display
from crosscal.compute.progress import Display
from crosscal.core.progress import SILENT, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("listener", [SILENT, Display(bars=True), Display(bars=False)])
def test_all_speak_the_protocol(listener):
    assert isinstance(listener, Progress)


def test_bars_count_and_nest(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = display()
    with bars.stage("library", total=3) as outer:
        outer(2)
        with bars.stage("inner [x]") as inner:
            inner(1)
        bars.message("news [of] 1")
        outer()
    text = sys.stderr.getvalue()
    for part in ("library: 100%", "3/3", "inner [x]: 1it", "news [of] 1\n"):
        assert part in text


@pytest.mark.parametrize("bars", [True, False])
def test_a_stage_ends_where_the_work_fails(capsys, bars):
    listener = Display(bars=bars)

    def work():
        with listener.stage("a", total=2) as advance:
            advance()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    shown = capsys.readouterr().err
    assert ("50%|" if bars else "a: 1 of 2 (50 %), 00:00\n") in shown
    with listener.stage("again", total=1):
        pass
    assert "again" in capsys.readouterr().err


def test_lines_are_few(capsys):
    lines = Display(bars=False, every=3600)
    with lines.stage("library", total=1000) as advance:
        for _ in range(1000):
            advance()
    lines.message("done")
    assert capsys.readouterr().err.splitlines() == [
        "library: 0 of 1000 (0 %), 00:00",
        "library: 1000 of 1000 (100 %), 00:00",
        "done",
    ]


def test_lines_come_while_work_goes_on(capsys):
    with Display(bars=False, every=0).stage("sampling") as advance:
        advance(5)
        advance(5)
    shown = capsys.readouterr().err.splitlines()
    assert shown == [f"sampling: {n}, 00:00" for n in (0, 5, 10, 10)]


@pytest.mark.parametrize("bars", [True, False])
def test_without_standard_error_nothing_is_shown(monkeypatch, capsys, bars):
    monkeypatch.setattr(sys, "stderr", None)
    listener = Display(bars=bars)
    with listener.stage("a", total=1) as advance:
        advance()
    listener.message("news")
    display().message("news")
    assert capsys.readouterr().out == ""


def test_the_display_suits_the_place(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not display()._bars
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert display()._bars
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert display()._bars


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
