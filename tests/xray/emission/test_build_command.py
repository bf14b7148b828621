"""``crosscal data build-plasma`` and ``crosscal list models``."""

import pytest

from crosscal.cli.main import main
from crosscal.xray.emission.expression import Model
from crosscal.xray.emission.registry import MODELS
from crosscal.xray.emission.tablefile import read_table


def run(*arguments) -> int:
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main([str(a) for a in arguments])
    return leaving.value.code


def test_builds_a_table_that_a_model_uses(tiny, tmp_path, capsys):
    output = tmp_path / "tiny.npz"
    options = ["--bins", 100, "--all-lines", "--kT", 0.4, 25, "--velocity", 200, "--thermal"]
    assert run("data", "build-plasma", tiny.directory, output, *options) == 0
    assert "tiny.npz" in capsys.readouterr().out
    table = read_table(output)
    assert (table.kT.size, table.line_energy.size, table.velocity, table.thermal) == (5, 95, 200.0, True)
    assert Model("apec", table=output, kT=2.0).spectrum([0.5, 1.0, 2.0]).min() > 0
    assert run("data", "build-plasma", tiny.line, output, "--coco", tiny.coco) == 1
    assert "already exists" in capsys.readouterr().err
    assert run("data", "build-plasma", tiny.line, output, "--coco", tiny.coco, "--bins", 50, "--force") == 0


def test_wrong_input_leaves_nothing(tmp_path, capsys):
    assert run("data", "build-plasma", tmp_path / "absent", tmp_path / "out.npz") == 1
    assert "no AtomDB files" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_models_are_listed(capsys):
    assert run("list", "models") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in MODELS)
