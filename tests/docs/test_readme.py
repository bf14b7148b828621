"""The README stays true: its Python examples run, and its links exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_is_an_example_for_every_part():
    for part in ("xray", "concordance", "lightcurves", "fluxcal"):
        assert any(part in block for block in BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=[b.split(" import ")[1].split()[0] for b in BLOCKS])
def test_the_examples_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = compile(block, "README.md", "exec")
    exec(code, {"__name__": "readme"})  # our own text
    assert capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT))))
def test_links_exist(target):
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("block", BLOCKS, ids=[b.split("from crosscal import ")[1].split()[0] for b in BLOCKS])
def test_every_example_asks_for_double_precision_in_the_same_way(block):
    assert "\nimport crosscal\n" in f"\n{block}"
    assert block.count("\ncrosscal.enable_x64()\n") == 1
