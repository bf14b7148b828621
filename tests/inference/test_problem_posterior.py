import os
import subprocess
import sys

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, DataFileError, InputError, UnknownNameError
from crosscal.inference.jaxconfig import enable_compilation_cache, require_x64
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem


@pytest.fixture
def mixed():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    return Problem(
        {"s": dist.HalfNormal(2.0), "x": dist.Normal(jnp.zeros((2, 2)), 1.0), "u": dist.Uniform(1.0, 3.0)},
        lambda p: -jnp.sum(p["x"] ** 2),
    )


@pytest.mark.thorough
def test_transforms_go_there_and_back(mixed):
    draws = mixed.draw_prior(0, 3)
    params = {n: v[1] for n, v in draws.items()}
    vector = mixed.unconstrain(params)
    assert vector.shape == (mixed.size,) == (6,)
    back = mixed.constrain(vector)
    for name in mixed.names:
        np.testing.assert_allclose(back[name], params[name], rtol=1e-12)


def test_labels_follow_the_shapes(mixed):
    assert mixed.labels() == ["s", "x[0, 0]", "x[0, 1]", "x[1, 0]", "x[1, 1]", "u"]


@pytest.mark.thorough
def test_the_unconstrained_density_has_the_jacobian(mixed):
    from scipy.stats import halfnorm

    params = {"s": 1.3, "x": np.zeros((2, 2)), "u": 2.0}
    vector = mixed.unconstrain(params)
    # s = exp(v): Jacobian s. u = 1 + 2 sigmoid(v): Jacobian 2 / 4 at the middle, prior 1/2.
    expected = halfnorm(scale=2).logpdf(1.3) + np.log(1.3) - 2 * np.log(2 * np.pi) + np.log(0.5) + np.log(0.5)
    np.testing.assert_allclose(mixed.log_density(vector), expected, rtol=1e-12)


@pytest.mark.thorough
def test_the_unit_cube_maps_through_the_priors(mixed):
    params = mixed.from_unit(np.full(6, 0.5))
    np.testing.assert_allclose(params["u"], 2.0)
    np.testing.assert_allclose(params["x"], 0.0, atol=1e-12)
    np.testing.assert_allclose(params["s"], 2 * 0.6744897501960817, rtol=1e-6)


def test_impossible_problems_are_refused():
    import numpyro.distributions as dist

    with pytest.raises(InputError, match="without parameters"):
        Problem({}, lambda p: 0.0)
    with pytest.raises(UnknownNameError, match="dims: unknown parameter 'y'"):
        Problem({"x": dist.Normal()}, lambda p: 0.0, dims={"y": ["k"]})


def test_single_precision_is_refused_with_the_remedy(monkeypatch):
    import jax

    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ConfigError, match="enable_x64"):
            require_x64()
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.thorough
def test_jax_is_configured_without_being_imported(tmp_path):
    code = (
        "import sys; from crosscal.inference.jaxconfig import *; enable_x64(); enable_compilation_cache(sys.argv[1])\n"
        "assert 'jax' not in sys.modules\n"
        "import jax; c = jax.config\n"
        "require_x64(); print(c.jax_compilation_cache_dir, c.jax_persistent_cache_min_compile_time_secs)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-c", code, str(tmp_path / "jax")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [str(tmp_path / "jax"), "0.5"]


def test_the_compilation_cache_is_made(tmp_path):
    import jax

    before = jax.config.jax_compilation_cache_dir
    enable_compilation_cache(tmp_path / "jax")
    assert (tmp_path / "jax").is_dir()
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def posterior(rng):
    draws = {"b": rng.normal(size=(4, 300)), "a": rng.normal(size=(4, 300, 2))}
    return Posterior.from_draws(
        draws, method="nuts", units={"a": "keV"}, log_evidence=-3.5, messages=("beware",), provenance={"seed": 1}
    )


def test_a_posterior_round_trips_through_netcdf(posterior, tmp_path):
    path = posterior.write(tmp_path / "posterior.nc")
    again = Posterior.read(path)
    np.testing.assert_array_equal(again.draws("a"), posterior.draws("a"))
    assert (again.method, again.log_evidence, again.messages) == ("nuts", -3.5, ("beware",))
    assert again.summary()["unit"][1] == "keV"
    assert again.names == posterior.names == ("b", "a")


def test_netcdf_opens_without_crosscal(posterior, tmp_path):
    import xarray

    tree = xarray.open_datatree(posterior.write(tmp_path / "p.nc"), engine="h5netcdf")
    assert tree["posterior"]["a"].shape == (4, 300, 2)
    tree.close()


def test_accessors(posterior):
    assert posterior.n_draws == 1200
    labels, matrix = posterior.matrix()
    assert labels == ["b", "a[0]", "a[1]"]
    assert matrix.shape == (1200, 3)
    np.testing.assert_allclose(posterior.mean("a"), matrix[:, 1:].mean(axis=0))
    np.testing.assert_allclose(posterior.sd("b"), matrix[:, 0].std(ddof=1))
    with pytest.raises(UnknownNameError, match="unknown parameter 'c'"):
        posterior.draws("c")


def test_impossible_draws_are_refused():
    with pytest.raises(InputError, match="one common"):
        Posterior.from_draws({"a": np.zeros((2, 3)), "b": np.zeros((2, 4))}, method="x")
    with pytest.raises(InputError, match="not finite"):
        Posterior.from_draws({"a": np.full((2, 3), np.nan)}, method="x")


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "x.nc").write_text("no netCDF")
    with pytest.raises(DataFileError, match="not a posterior file"):
        Posterior.read(tmp_path / "x.nc")
    with pytest.raises(DataFileError, match="no such posterior"):
        Posterior.read(tmp_path / "none.nc")


def test_notebooks_without_widgets_are_not_warned():
    import subprocess
    import sys

    code = """
import sys, types
notebook = types.ModuleType("IPython")
notebook.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = notebook
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["ipywidgets"] = None
FIRST
import tqdm.auto
"""
    quiet = "import crosscal; crosscal.enable_x64()"
    for first, warned in ((quiet, False), ("", True)):
        run = subprocess.run([sys.executable, "-c", code.replace("FIRST", first)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert ("TqdmWarning" in run.stderr) == warned


def test_elements_are_labelled_by_the_names_along_their_axes():
    from crosscal.inference.diagnostics import convergence
    from crosscal.inference.posterior import Posterior

    rng = np.random.default_rng(1)
    draws = {"sigma": rng.normal(size=(2, 30, 2)) + np.array([0.0, 50.0])[:, None, None] * np.array([0, 1]),
             "mu": rng.normal(size=(2, 30)), "plain": rng.normal(size=(2, 30, 2))}  # fmt: skip
    posterior = Posterior.from_draws(
        draws, method="test", dims={"sigma": ("instrument",)}, coords={"instrument": ["pn", "MOS1"]}
    )
    labels, columns = posterior.matrix()
    assert labels == ["sigma[pn]", "sigma[MOS1]", "mu", "plain[0]", "plain[1]"]
    assert columns.shape == (60, 5)
    _, messages = convergence(posterior)
    assert "worst: sigma[MOS1]" in messages[0]
