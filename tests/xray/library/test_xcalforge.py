import h5py
import numpy as np
import pytest

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.library.generate import build_library
from crosscal.xray.library.xcalforge import read_xcalforge, write_xcalforge
from crosscal.xray.modifiers.gaussian import Gaussian
from crosscal.xray.modifiers.grey import Grey

A, MU, SIGMA, T = np.array([-0.1, 0.0, 0.1]), np.array([1.0, 4.0]), np.array([0.5]), np.array([2.0, 6.0])


def results():
    """Best fits that say where they stand: 1 + A index, mu index, T index as digits."""
    i, j, k, t = np.meshgrid(range(3), range(2), range(1), range(2), indexing="ij")
    best = 1 + i + 0.1 * j + 0.01 * t + 0 * k
    return np.stack([best - 0.2, best, best + 0.3], axis=-1).astype(float)


@pytest.fixture
def make(tmp_path):
    def write(name="library.h5", **changed):
        content = {
            "PARAMS/A": A, "PARAMS/mu": MU, "PARAMS/sigma": SIGMA, "LIBRARY/temps": T, "LIBRARY/results": results()
        } | {k.replace("__", "/"): v for k, v in changed.items()}  # fmt: skip
        path = tmp_path / name
        with h5py.File(path, "w") as f:
            for key, value in content.items():
                if value is not None:
                    f[key] = value
        return path

    return write


def test_axes_are_alphabetical(make):
    library = read_xcalforge(make())
    assert library.names == ("A", "mu", "sigma")
    assert library.calibrations == ("nominal",)
    grid = library.to_grid()["kT_nominal"].isel(realisation=0)
    assert float(grid.sel(A=0.1, mu=4.0, sigma=0.5, T_true=6.0)) == pytest.approx(3.11)
    assert float(grid.sel(A=-0.1, mu=1.0, sigma=0.5, T_true=2.0)) == pytest.approx(1.0)
    np.testing.assert_allclose(library.errors("kT"), 0.25)
    np.testing.assert_allclose(library.dataset["kT_nominal_high"] - library.dataset["kT_nominal"], 0.3)


def test_modifier_is_in_xcalforges_convention(make):
    modifier = read_xcalforge(make()).modifier
    # exp(-((E - mu) / sigma)^2), without the 1/2.
    assert np.isclose(modifier.factor(np.array([2.5]), [0.1, 2.0, 0.5])[0], 1 + 0.1 * np.exp(-1))


def test_directory_and_unsorted_axes(make):
    order = [2, 0, 1]
    path = make(PARAMS__A=A[order], LIBRARY__results=results()[order])
    library = read_xcalforge(path.parent)
    np.testing.assert_array_equal(library.to_grid()["A"], A)
    np.testing.assert_allclose(library.values("kT"), read_xcalforge(make("other.h5")).values("kT"))


def test_failed_and_missing_fits_are_statuses(make):
    r = results()
    r[0, 0, 0, 0] = 0.0
    r[1, 0, 0, 0] = [0.0, 2.0, 0.0]
    r[2, 0, 0, 0] = [np.nan, 2.0, 3.0]
    library = read_xcalforge(make(LIBRARY__results=r))
    assert library.failures() == {"nominal": {"OK": 9, "NO_CONVERGENCE": 2, "NOT_DONE": 1}}
    assert np.isnan(library.values("kT")).sum() == 3
    assert library.summary()["failed"][0] == 3


def test_round_trip(asimov, tmp_path):
    path = write_xcalforge(tmp_path / "out.h5", asimov)
    again = read_xcalforge(path)
    np.testing.assert_allclose(again.values("kT"), asimov.values("kT"))
    np.testing.assert_allclose(again.errors("kT"), asimov.errors("kT"), rtol=1e-9)
    # The same factor under the other convention: sigma sqrt(2).
    np.testing.assert_allclose(again.theta[:, 2], np.sqrt(2) * asimov.theta[:, 2])
    e = np.linspace(0.5, 8, 20)
    np.testing.assert_allclose(
        again.modifier.factor(e, again.theta[1]), asimov.modifier.factor(e, asimov.theta[1]), rtol=1e-12
    )


def test_only_gaussian_grids_are_written(library, telescope, plasma, tmp_path):
    with pytest.raises(InputError, match="4 realisations"):
        write_xcalforge(tmp_path / "x.h5", library)
    other = build_library(telescope, plasma, Grey.grid(), kT=[4.0], band=(0.7, 7.0), counts=1e4)
    with pytest.raises(InputError, match="one Gaussian"):
        write_xcalforge(tmp_path / "x.h5", other)
    two = Gaussian(n=2)
    scattered = build_library(telescope, plasma, two.grid(A1=0.1), kT=[4.0], band=(0.7, 7.0), counts=1e4)
    with pytest.raises(InputError, match="one Gaussian"):
        write_xcalforge(tmp_path / "x.h5", scattered)
    design = Gaussian().scatter(2, method="sobol", seed=1, A=(-0.1, 0.1))
    scattered = build_library(telescope, plasma, design, kT=[4.0], band=(0.7, 7.0), counts=1e4)
    with pytest.raises(InputError, match=r"points are scattered; expected a grid.*Gaussian\(\)\.grid\(A="):
        write_xcalforge(tmp_path / "x.h5", scattered)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"PARAMS__A": None}, r"PARAMS/A\]: no such data set"),
        ({"LIBRARY__results": None}, r"LIBRARY/results\]: no such data set; expected a generated library"),
        ({"LIBRARY__temps": None}, r"LIBRARY/temps\]: no such data set"),
        ({"PARAMS__kT": A}, "unknown parameters kT"),
        ({"PARAMS__A": A[:2]}, r"shape \(3, 2, 1, 2, 3\)"),
        ({"PARAMS__A": A[:, None]}, "expected one dimension"),
        ({"PARAMS__mu": np.array([1.0, np.nan])}, "not finite"),
        ({"PARAMS__mu": np.array([1.0, 1.0])}, "values repeat"),
        ({"LIBRARY__temps": np.array([-1.0, 2.0])}, "not positive"),
        ({"PARAMS__sigma": np.array(["a"], dtype="S1")}, "expected numbers"),
        ({"LIBRARY__results": results()[..., :2]}, r"shape \(3, 2, 1, 2, 2\)"),
    ],
)
def test_bad_files(make, changed, message):
    with pytest.raises(DataFileError, match=message):
        read_xcalforge(make(**changed))


def test_absent_and_foreign_files(tmp_path):
    with pytest.raises(DataFileError, match="no such XCalForge library"):
        read_xcalforge(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataFileError, match="not an HDF5 file"):
        read_xcalforge(tmp_path / "text.h5")
