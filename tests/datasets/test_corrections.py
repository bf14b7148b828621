"""A correction survives the disk whole, and a foreign file is one sentence."""

import numpy as np
import pytest

from crosscal.core.correction import Correction
from crosscal.core.errors import DataFileError
from crosscal.datasets import read_correction, write_correction


def curve(rng) -> Correction:
    draws = np.exp(0.02 * rng.standard_normal((50, 4)))
    facts = {"unit": "keV", "target": "effective area of pn", "provenance": {"seed": 3, "inputs": {"arf": "a"}}}
    return Correction.from_draws([1.0, 2.0, 4.0, 8.0], draws, axis="energy", **facts)


def named(_) -> Correction:
    return Correction(np.array(["HEG", "LEG"]), np.array([1.0, 1.05]), np.diag([1e-4, 4e-4]), "instrument")


@pytest.mark.parametrize("make", [curve, named])
def test_round_trip(make, rng, tmp_path):
    correction = make(rng)
    back = read_correction(write_correction(tmp_path / "correction.nc", correction))
    np.testing.assert_array_equal(back.coordinate, correction.coordinate)
    np.testing.assert_array_equal(back.factor, correction.factor)
    np.testing.assert_array_equal(back.covariance, correction.covariance)
    if correction.draws is None:
        assert back.draws is None
    else:
        np.testing.assert_array_equal(back.draws, correction.draws)
    assert (back.axis, back.unit, back.target) == (correction.axis, correction.unit, correction.target)
    assert back.provenance == correction.provenance


def test_a_run_directory_stands_for_its_file(rng, tmp_path):
    write_correction(tmp_path / "correction.nc", curve(rng))
    assert read_correction(tmp_path).target == "effective area of pn"


def test_absent_and_foreign_files(tmp_path):
    with pytest.raises(DataFileError, match=r"correction\.nc"):
        read_correction(tmp_path)
    (tmp_path / "text.nc").write_text("factor 1.0")
    with pytest.raises(DataFileError, match="not a correction file"):
        read_correction(tmp_path / "text.nc")


def test_an_invalid_correction_says_what_is_wrong(rng, tmp_path):
    import xarray

    path = write_correction(tmp_path / "correction.nc", curve(rng))
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        data.load()
    data["factor"][1] = -1.0
    data.to_netcdf(tmp_path / "negative.nc", engine="h5netcdf")
    with pytest.raises(DataFileError, match="a factor is not a positive number"):
        read_correction(tmp_path / "negative.nc")
    data.drop_vars("factor").to_netcdf(tmp_path / "without.nc", engine="h5netcdf")
    with pytest.raises(DataFileError, match="not a correction file"):
        read_correction(tmp_path / "without.nc")
