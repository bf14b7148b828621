"""Sentences on terminals: signs that the encoding has, lines that end between words; pipes get the text unchanged."""

import io
import os

import pytest

from crosscal.cli import lines

TEXT = "B is biased by -9.5 +/- 0.5 % at 10 keV (p = 0.03); give `--set prior.shift=-1` to fix it."


class Terminal(io.StringIO):
    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    encoding = property(lambda self: self._encoding)

    def isatty(self):
        return True


@pytest.fixture
def width(monkeypatch):
    def set_width(columns):
        monkeypatch.setattr(lines.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))

    set_width(200)
    return set_width


def test_signs_follow_the_encoding(width):
    told = lines.shown(TEXT, Terminal("UTF-8"))
    assert "\u22129.5\u00a0\u00b1\u00a00.5\u00a0%" in told
    assert "`--set prior.shift=-1`" in told
    assert lines.shown(TEXT, Terminal("ascii")) == TEXT
    assert lines.shown(TEXT, Terminal("utf-8"), signs=False) == TEXT


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_pipes_and_files_get_the_text_unchanged(width, stream):
    width(40)
    assert lines.shown(TEXT, stream) == TEXT


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_no_word_is_broken_at_the_edge(width, columns):
    width(columns)
    told = lines.shown("  warning: " + TEXT, Terminal("ascii"))
    assert told.split() == ("warning: " + TEXT).split()
    assert max(map(len, told.splitlines())) <= columns
    assert all(line.startswith("  ") for line in told.splitlines())


def test_a_path_stays_whole(width):
    width(40)
    path = "/data/" + "a-long-name/" * 6
    assert path in lines.shown(f"Results in {path} and more words that follow it.", Terminal("ascii")).split()


def test_messages_of_a_run_are_shown_so(width, monkeypatch):
    terminal = Terminal("UTF-8")
    monkeypatch.setattr("sys.stdout", terminal)
    lines.say("-9.5 +/- 0.5 %")
    assert terminal.getvalue() == "\u22129.5\u00a0\u00b1\u00a00.5\u00a0%\n"


def test_a_zero_has_no_sign(width):
    told = lines.shown("by -0.0 +/- 2.9 %, MOS2 by +0.0, MOS1 by -0.04 and +0.5 since 2014-01", Terminal("utf-8"))
    assert told.replace("\u00a0", " ") == "by 0.0 \u00b1 2.9 %, MOS2 by 0.0, MOS1 by \u22120.04 and +0.5 since 2014-01"
