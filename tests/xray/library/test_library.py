import subprocess
import sys

import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.library.library import Library


def test_shapes_and_names(library):
    assert library.names == ("A", "mu", "sigma")
    assert library.theta.shape == (6, 3)
    assert library.values("kT").shape == library.errors("norm", "modified").shape == (6, 3, 4)
    assert library.band == (0.7, 7.0)
    assert "6 theta" in repr(library)
    assert library.dataset["T_true"].attrs["units"] == "keV"


def test_to_grid(library):
    grid = library.to_grid()
    assert grid["kT_nominal"].dims == ("A", "mu", "sigma", "T_true", "realisation")
    assert grid["covariance_nominal"].dims[-2:] == ("parameter", "parameter_")
    point = grid.sel(A=0.1, mu=4.0, sigma=0.8)["kT_nominal"].values
    k = int(np.flatnonzero(np.all(np.isclose(library.theta, [0.1, 4.0, 0.8]), axis=1))[0])
    assert np.array_equal(point, library.values("kT")[k])
    assert "norm_true" in grid.coords


def test_unknown_names(library):
    with pytest.raises(UnknownNameError, match="'kT'"):
        library.values("KT")
    with pytest.raises(UnknownNameError, match="nominal"):
        library.values("kT", "nominl")
    with pytest.raises(UnknownNameError, match="fitted parameter"):
        library.truth("Abundanc")
    with pytest.raises(InputError, match="no stored profiles"):
        library.profile()
    with pytest.raises(InputError, match="no stored intervals"):
        library.interval()


def test_summary_of_a_noiseless_library(asimov):
    table = asimov.summary()
    assert np.isnan(table["pull_sd"]).all()
    assert table["bias_kT"][1] == pytest.approx(0.0, abs=1e-7)
    assert list(table["failures"]) == ["none", "none"]


def test_scattered_design_has_no_grid(telescope, plasma):
    from crosscal.xray.library.generate import build_library
    from crosscal.xray.modifiers.gaussian import Gaussian

    scattered = Gaussian.scatter(4, A=(-0.1, 0.1), mu=(1.0, 5.0))
    library = build_library(telescope, plasma, scattered, kT=[4.0], band=(0.7, 7.0), counts=1e4)
    assert library.values("kT").shape == (4, 1, 1)
    with pytest.raises(InputError, match="not a product grid"):
        library.to_grid()


@pytest.mark.thorough
def test_reading_needs_no_jax_no_numba_no_xspec(library, telescope, plasma, design, settings, tmp_path):
    from crosscal.xray.library.generate import build_library

    path = tmp_path / "l.zarr"
    build_library(telescope, plasma, design, **settings, store=path, executor="serial")
    code = (
        "import sys\n"
        "from crosscal.xray import Library\n"
        f"l = Library.open({str(path)!r})\n"
        "l.values('kT'), l.errors('kT'), l.failures(), l.modifier\n"
        "assert not {'jax', 'numba', 'xspectrampoline', 'matplotlib'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    opened = Library.open(path)
    with pytest.raises(InputError, match="cannot simulate"):
        opened.simulate([[0.0, 2.0, 1.0]], [4.0])


def test_figures(library):
    assert set(library.figures()) == {"library"}
