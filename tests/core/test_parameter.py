import pytest

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter


def test_values_are_checked_against_the_range():
    kt = Parameter("kT", 2.0, 0.08, 86.0, unit="keV")
    assert kt.check(3) == 3.0
    assert kt.with_value(5).default == 5.0
    with pytest.raises(InputError, match=r"kT = 100 is out of range; expected 0\.08 to 86 keV"):
        kt.check(100)
    with pytest.raises(InputError):
        kt.check(float("nan"))
    with pytest.raises(InputError, match="out of range"):
        kt.with_value(0.0)


def test_scales_are_known():
    with pytest.raises(InputError, match="unknown parameter scale 'cubic'"):
        Parameter("x", 1.0, scale="cubic")
