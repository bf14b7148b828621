"""PyCALI's options, parameter file, steps and text outputs."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.lightcurves.compat.api import Cali, Config, plot_results, simple_plot
from crosscal.lightcurves.compat.helpers import (
    data_rebin,
    format_blocks,
    generate_mock_data,
    load_pycali_data,
    load_pycali_data_flag,
)
from crosscal.lightcurves.compat.job import job_from_param_file
from crosscal.lightcurves.compat.options import Options, is_param_line, read_param_file
from crosscal.lightcurves.compat.outputs import histogram_mode, write_pycali_outputs
from crosscal.lightcurves.formats.pycali import write_pycali
from crosscal.lightcurves.synthetic import simulate

PARAM = """# a comment
FileCont   cont.txt
FileLine   line0.txt
NMcmc      1000
PTol       0.1
ScaleRangeUp\t2.5
FixedSyserr 0    # free
FixedCodes 1,2
FixedScaleCodes 0
FlagNorm 0
"""


@pytest.fixture
def run(tmp_path):
    curves, _ = simulate(seed=1, codes=("A", "B", "C"), points=(30, 20, 15), lines=1)
    write_pycali(tmp_path / "cont.txt", curves.continuum)
    write_pycali(tmp_path / "line0.txt", curves.lines[0])
    return tmp_path


def test_parameter_file(run):
    path = run / "param.txt"
    path.write_text(PARAM)
    o = read_param_file(path)
    assert o.fline == ("line0.txt",)
    assert o.scale_range_up == 2.5
    assert o.fixed_codes == (1, 2)
    assert not o.fixed_syserr
    assert not o.flag_norm
    # Defaults of PyCALI's parameter file.
    assert (o.scale_range_low, o.syserr_range_up, o.errscale_range_low, o.tau_range_up) == (0.5, 0.1, 0.1, 1e4)
    job = job_from_param_file(path)
    assert job.model.fixed_codes == ("B", "C")
    assert job.model.systematic_error
    assert job.model.normalisation == "none"
    assert job.prior.scale == (0.5, 2.5)
    assert job.data.read(None).codes == ("A", "B", "C")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("FileCont cont.txt\nScaleRangeHigh 2\n", UnknownNameError, "ScaleRangeUp"),
        ("FileCont a\nFileCont b\n", ConfigError, "line 2: the tag FileCont repeats"),
        ("FileCont a\nNMcmc many\n", ConfigError, "NMcmc = 'many' cannot be read"),
        ("FileCont a\nPTol\n", ConfigError, "PTol has no value"),
        ("NMcmc 100\n", ConfigError, "no FileCont"),
    ],
)
def test_wrong_parameter_files(tmp_path, text, error, message):
    path = tmp_path / "param.txt"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_param_file(path)


def test_wrong_options(run):
    with pytest.raises(UnknownNameError, match="scale_range_low"):
        Options.setup(scale_range_lo=1)
    curves, _ = simulate(seed=1)
    with pytest.raises(ConfigError, match="0 to 2"):
        Options(fixed_codes=(7,)).settings(curves)
    with pytest.raises(InputError, match="both fixed"):
        Options(fixed_scale=True, fixed_shift=True).settings(curves)
    with pytest.raises(InputError, match="no continuum"):
        Cali(Config())


@pytest.mark.thorough
def test_steps_and_files(run):
    config = Config()
    config.setup(fcont=str(run / "cont.txt"), fline=[str(run / "line0.txt")], fixed_syserr=False, nmcmc=1000)
    assert "nmcmc                = 1000" in config.print_cfg()
    cali = Cali(config, directory=run / "out", seed=1)
    with pytest.raises(InputError, match="mcmc"):
        cali.get_best_params()
    cali.mcmc()
    cali.get_best_params()
    names = {path.relative_to(run / "out").as_posix() for path in cali.output()}
    assert names == {
        "cont.txt_cali", "cont.txt_recon", "cont.txt_sort", "line0.txt_cali", "line0.txt_recon", "line0.txt_sort",
        "data/factor.txt", "data/PyCALI_output.txt", "data/param_input", "data/posterior_sample.txt",
        "data/posterior_sample_info.txt",
    }  # fmt: skip
    table = np.genfromtxt(run / "out" / "cont.txt_cali", dtype=None, encoding="utf-8")
    assert len(table) == 65
    assert np.all(np.diff(table["f0"]) >= 0)
    reference = table["f3"] == "A"
    raw = load_pycali_data(run / "cont.txt")["A"]
    np.testing.assert_allclose(np.sort(table["f1"][reference]), np.sort(raw[:, 1]), rtol=1e-5)
    recon = np.loadtxt(run / "out" / "cont.txt_recon")
    assert recon.shape == (130, 3)
    span = np.ptp(table["f0"])
    assert np.ptp(recon[:, 0]) == pytest.approx(1.1 * span, rel=1e-5)
    order = np.loadtxt(run / "out" / "cont.txt_sort", dtype=int)
    assert sorted(order.tolist()) == list(range(65))
    samples = np.loadtxt(run / "out" / "data" / "posterior_sample.txt")
    assert samples.shape[1] == 2 * 2 + 2 * 3 + 2 * 3 * 2
    assert np.all(samples[:, 4] == 1)
    values = np.loadtxt(run / "out" / "data" / "posterior_sample_info.txt")
    assert len(values) == len(samples)
    assert np.all(np.isfinite(values))
    factor = (run / "out" / "data" / "factor.txt").read_text()
    assert f"{samples[:, 5].mean():.3e}"[:5] in factor
    assert "Syserr_Line" in factor
    assert "normalization factor of line: line0.txt" in (run / "out" / "data" / "PyCALI_output.txt").read_text()
    assert len(cali.recon()) == 2
    assert len(cali.get_norm_cont()) == len(cali.get_norm_line(0)) == 3
    assert plot_results(cali).stat().st_size > simple_plot(cali).stat().st_size > 10_000


def test_mode_of_a_histogram(rng):
    values = np.stack([rng.normal(3.0, 0.1, 20000), np.full(20000, 2.0), rng.gamma(9.0, 1.0, 20000)], axis=1)
    mode = histogram_mode(values)
    # The mode of a histogram with bins of 0.016 of 20000 draws; the gamma's mode is 8.
    assert mode == pytest.approx([3.0, 2.0, 8.0], abs=0.5)
    assert mode[1] == 2.0
    assert mode[0] == pytest.approx(3.0, abs=0.03)


def test_helpers(tmp_path):
    t = np.arange(6.0)
    groups = {"A": np.stack([t, 2 * t + 2, t + 0.1], 1), "B": np.zeros((0, 3)), "C": np.stack([t, t + 1, t + 1], 1)}
    path = format_blocks(tmp_path / "x.txt", groups, trange=(1, 4), unit=2.0, time_start=1.0)
    data = load_pycali_data(path)
    assert list(data) == ["A", "C"]
    np.testing.assert_allclose(data["A"][:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(data["A"][:, 1], [2, 3, 4, 5])
    assert load_pycali_data_flag(path)["A"].shape == (4, 4)
    assert len(data_rebin(t, t, t + 1, 2.5)[0]) == 2
    assert [len(load_pycali_data(path)) for path in generate_mock_data(tmp_path)] == [5, 5, 5]


@pytest.mark.thorough
def test_results_of_another_kernel_have_their_options(result, tmp_path):
    written = write_pycali_outputs(result, tmp_path)
    assert any(path.name == "param_input" for path in written)


def test_parameter_file_as_a_job_of_the_command_line(run):
    from crosscal.jobs.parts import load_job

    (run / "param.txt").write_text(PARAM)
    part, job = load_job(str(run / "param.txt"))
    assert part.name == "lightcurves"
    assert job.data.continuum == run / "cont.txt"


def test_names_of_the_package():
    from crosscal.lightcurves import compat

    assert all(callable(getattr(compat, name)) for name in compat.__all__)
    assert compat.format is compat.format_blocks
    assert set(dir(compat)) == set(compat.__all__)
    with pytest.raises(AttributeError, match="no attribute 'mcmc'"):
        compat.mcmc  # noqa: B018


ECHO = """fname                =
fcont                = cont.txt
fline                = line0.txt
nmcmc                = 10000
scale_range_up       = 2.5
fixed_syserr         = 0
fixed_codes          = 1,2
fixed_scalecodes     = 0
flag_norm            = 0
"""


def test_the_copy_of_the_options_runs_as_the_file_does(run):
    from crosscal.jobs.parts import load_job

    (run / "data").mkdir(exist_ok=True)
    path = run / "data" / "param_input"
    path.write_text(ECHO)
    (run / "param.txt").write_text(PARAM)
    assert replace(read_param_file(path), nmcmc=0) == replace(read_param_file(run / "param.txt"), nmcmc=0)
    part, job = load_job(str(path))
    assert part.name == "lightcurves"
    # PyCALI was started one folder above.
    assert job.data.continuum == (run / "cont.txt").resolve()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("fname =\nfcont =\n", ConfigError, "fcont has no value"),
        ("fname = param.txt\n", ConfigError, "no FileCont; expected a line 'FileCont path' .or 'fcont = path'."),
        ("fcont = a\nscale_range_high = 2\n", UnknownNameError, "line 2: unknown tag 'scale_range_high'"),
    ],
)
def test_wrong_copies(tmp_path, text, error, message):
    path = tmp_path / "param_input"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_param_file(path)


def test_toml_is_no_parameter_file():
    assert not is_param_line('job = "lightcurves"')
    assert not is_param_line("")
    assert is_param_line("fcont=a.txt")
    assert is_param_line("FileCont a.txt")
