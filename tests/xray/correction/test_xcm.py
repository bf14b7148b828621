"""Save files of XSPEC: files, channels, model and values."""

import pytest

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.correction.xcm import read_xcm

SAVED = """\
# XSPEC 12.14
method leven 10 0.01
abund wilm
xsect vern
cosmo 70 0 0.73
statistic cstat
data 1:1 source.pha
response  1:1 acis.rmf
arf 1:1 acis.arf
backgrnd 1:1 sky.pha
ignore 1:**-0.5 7.0-**
model TBabs*apec
      0.05      -0.001          0          0     100000      1e+06
       4.2       0.01      0.008      0.008         64         64
       0.3     -0.001          0          0          5          5
      0.07      -0.01     -0.999     -0.999         10         10
     0.012       0.01          0          0      1e+20      1e+24
bayes off
"""


def test_a_session_of_one_spectrum(tmp_path):
    (tmp_path / "s.xcm").write_text(SAVED)
    found = read_xcm(tmp_path / "s.xcm")
    assert found.model.free == ("kT", "norm")
    assert {p.name: p.default for p in found.model.parameters} == {
        "nH": 0.05, "kT": 4.2, "Abundanc": 0.3, "Redshift": 0.07, "norm": 0.012,
    }  # fmt: skip
    assert found.model.options["abundances"] == "wilm"
    assert found.files == {
        "pha": tmp_path / "source.pha", "rmf": tmp_path / "acis.rmf", "arf": tmp_path / "acis.arf",
        "background": tmp_path / "sky.pha",
    }  # fmt: skip
    assert (found.ignored, found.statistic) == ("**-0.5 7.0-**", None)
    assert "not used: method, xsect, cosmo, bayes" in found.notes[0]
    assert "not of ignore **-0.5 7.0-**" in found.notes[1]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("model TBabs*apec", "# none", "no model"),
        ("data 1:1 source.pha", "data 1:1 source.pha 2:2 other.pha", "data: several spectra"),
        ("data 1:1 source.pha", "data 1:1 source.pha\ndata 2:2 b.pha", "data: several spectra"),
        ("     0.012 ", "= p2 ", "parameter norm: the parameter is tied"),
        ("       0.3 ", "       hot ", "parameter Abundanc: 'hot .* is not a value and a step"),
        ("bayes off", "model powerlaw\n1 0.1\n1 0.1", "several models"),
        ("bayes off", "model 2:b powerlaw\n1 0.1\n1 0.1", "several models"),
    ],
)
def test_sessions_that_are_refused(tmp_path, old, new, match):
    (tmp_path / "s.xcm").write_text(SAVED.replace(old, new))
    with pytest.raises(DataFileError, match=match):
        read_xcm(tmp_path / "s.xcm")


def test_values_out_of_range_are_refused(tmp_path):
    (tmp_path / "s.xcm").write_text(SAVED.replace("       4.2 ", "       -4.2 "))
    with pytest.raises(InputError, match="kT"):
        read_xcm(tmp_path / "s.xcm")
