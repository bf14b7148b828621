import numpy as np
import pytest
from astropy import units as u

from crosscal.core.errors import InputError
from crosscal.core.units import energies, plain


def test_plain_numbers_pass_through():
    values = np.array([1.0, 2.0])
    assert plain(values, "keV") is values
    assert plain(3, "s") == 3


def test_quantities_are_converted():
    np.testing.assert_allclose(plain([500, 1000] * u.eV, "keV"), [0.5, 1.0])
    assert plain(1 * u.ks, "s") == pytest.approx(1000)
    assert plain(10 * u.percent, "") == pytest.approx(0.1)
    assert plain(12.39841984 * u.AA, "keV", spectral=True) == pytest.approx(1.0)


def test_wrong_dimensions_are_refused():
    with pytest.raises(InputError, match="band: a quantity in s; expected one in keV"):
        plain(3 * u.s, "keV", where="band")
    with pytest.raises(InputError, match="a quantity in Angstrom; expected one in keV"):
        plain(3 * u.AA, "keV")


def test_energies_may_be_wavelengths():
    np.testing.assert_allclose(energies([12.39841984, 6.19920992] * u.AA, where="x"), [1.0, 2.0])
    np.testing.assert_array_equal(energies([1, 2], where="x"), [1.0, 2.0])
    with pytest.raises(InputError, match="x: a quantity in s"):
        energies(3 * u.s, where="x")
