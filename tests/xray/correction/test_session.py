"""Saved sessions of XSPEC and Sherpa as fits: the same model, channels, groups and statistic; the rest is told."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.jobs.options import depends_on, validate
from crosscal.jobs.stages import Stages
from crosscal.xray import Model, example_telescope, fakeit, fit, write_arf, write_rmf, write_spectrum
from crosscal.xray.correction.session import fit_session, raw_channels, read_session
from crosscal.xray.instrument.grouping import group, grouped
from crosscal.xray.jobs.fit import FitJob, run

XCM = """\
cd .
statistic {statistic}
weight {weight}
data 1:1 s.pha
response  1:1 a.rmf
arf 1:1 a.arf
backgrnd 1:1 sky.pha
ignore 1:{ignored}
method leven 10 0.01
abund wilm
xsect vern
systematic {systematic}
model  TBabs*apec
            0.05     -0.001          0          0     100000      1e+06
             4.0       0.01      {low}      {low}        {high}         {high}
             0.3     -0.001          0          0          5          5
            0.05      -0.01     -0.999     -0.999         10         10
           0.003       0.01          0          0      1e+20      1e+24
bayes off
"""
SHERPA = """\
from sherpa.astro.ui import *
load_pha(1, "s.pha")
{group}
load_arf(1, "a.arf", resp_id=1)
load_rmf(1, "a.rmf", resp_id=1)
load_bkg(1, "sky.pha", bkg_id=1)
load_arf(1, "a.arf", resp_id=1, bkg_id=1)
set_analysis(1, quantity="{quantity}", type="rate", factor=0)
{more}
notice_id(1, "{ranges}")
set_stat("{statistic}")
create_model_component("xstbabs", "gal")
gal.nH.val = 0.05
gal.nH.frozen = True
create_model_component("xsapec", "p1")
p1.kT.val = 4.0
p1.kT.min = 0.1
p1.kT.max = 64.0
p1.kT.frozen = False
p1.Abundanc.val = 0.3
p1.Abundanc.frozen = True
p1.redshift.val = 0.05
p1.redshift.frozen = True
p1.norm.val = 0.003
p1.norm.frozen = False
set_xsabund("wilm")
set_source(1, xstbabs.gal * xsapec.p1)
"""
USUAL = {
    "statistic": "cstat",
    "weight": "standard",
    "ignored": "**-0.5 7.0-**",
    "systematic": "0",
    "low": 0.008,
    "high": 64,
}
SCRIPT = {"group": "group(1)", "quantity": "energy", "more": "", "ranges": "0.5:2.0,2.5:7.0", "statistic": "wstat"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A grouped spectrum with its background and response."""
    directory = tmp_path_factory.mktemp("session")
    response = example_telescope("a")
    model = Model("TBabs*apec", nH=0.05, kT=6.0, Abundanc=0.3, Redshift=0.05, free=("kT", "norm"))
    source = fakeit(response, model, counts=4000, band=(0.7, 7.0), seed=1)
    sky = replace(source, counts=np.full(response.n_channel, 4.0), backscale=100.0)
    flagged = grouped(source, group(source, response, None, method="counts", minimum=20))
    write_spectrum(directory / "s.pha", flagged)
    write_spectrum(directory / "sky.pha", sky)
    write_arf(directory / "a.arf", response)
    write_rmf(directory / "a.rmf", response)
    return directory


@pytest.fixture(scope="module")
def parts(place):
    """Spectrum, response and model, read by hand."""
    from crosscal.xray import read_observation

    model = Model("TBabs*apec", nH=0.05, kT=4.0, Abundanc=0.3, Redshift=0.05, norm=0.003, free=("kT", "norm"),
                  abundances="wilm", absorption_abundances="wilm")  # fmt: skip
    return *read_observation(place / "s.pha", place / "a.arf", place / "a.rmf", place / "sky.pha"), model


def xcm(place, name="s.xcm", **changed):
    (place / name).write_text(XCM.format(**{**USUAL, **changed}))
    return place / name


def script(place, name="s.py", **changed):
    (place / name).write_text(SHERPA.format(**{**SCRIPT, **changed}))
    return place / name


def same(found, other):
    assert found.statistic_name == other.statistic_name
    assert found.names == other.names
    np.testing.assert_array_equal(found.counts, other.counts)
    assert dict(found.values) == dict(other.values)
    return True


def test_a_session_of_xspec_is_fitted_as_it_says(place, parts):
    spectrum, response, model = parts
    for statistic, weight, ours in (
        ("cstat", "standard", "wstat"),
        ("chi", "standard", "chi2"),
        ("chi", "gehrels", "chi2-gehrels"),
    ):
        found = fit_session(xcm(place, statistic=statistic, weight=weight))
        groups = group(spectrum, response, None, ignored="**-0.5 7.0-**")
        assert same(found, fit(spectrum, response, model, statistic=ours, groups=groups))
        (told,) = [n for n in found.notes if "not used" in n]
        assert told.endswith("not used: method leven 10 0.01; xsect vern; systematic 0; bayes off")


def test_whole_numbers_are_xspecs_channels(place, parts):
    """XSPEC counts the groups of the file from 1; here the first channel of the file is another number."""
    spectrum, response, _ = parts
    starts = np.flatnonzero(spectrum.grouping >= 0)
    text = raw_channels("1-3 10 **-2 100000-**", spectrum)
    first = spectrum.first_channel
    ends = starts[1:] - 1 + first
    end = f"{starts[-1] + first}-**"
    assert text == f"{first}-{ends[2]} {starts[9] + first}-{ends[9]} **-{ends[1]} {end}"
    found = fit_session(xcm(place, ignored="1-3,1:0.3-0.5 7.0-**"))
    all_groups = group(spectrum, response, (0.01, 100.0))
    kept = group(spectrum, response, None, ignored="7.0-**")
    assert len(found.counts) < kept.n_group
    assert found.counts[0] != all_groups.sum(spectrum.counts)[0]
    plain = replace(spectrum, grouping=np.zeros(spectrum.n_channel, dtype=np.int16), first_channel=0)
    assert raw_channels("1-5", plain) == "0-4"


def test_a_script_of_sherpa_is_fitted_as_it_says(place, parts):
    spectrum, response, model = parts
    none = replace(spectrum, background=None)
    flags = "numpy.array([" + "1, " * spectrum.n_channel + "], numpy.int16)"
    for changed, data, ours in (
        ({}, spectrum, "wstat"),
        ({"statistic": "cstat"}, none, "cstat"),
        ({"statistic": "chi2gehrels"}, none, "chi2-gehrels"),
        ({"statistic": "chi2gehrels", "more": "subtract(1)"}, spectrum, "chi2-gehrels"),
        ({"statistic": "cstat", "group": ""}, replace(none, grouping=0 * none.grouping), "cstat"),
        (
            {"group": f"set_grouping(1, val={flags})\ngroup(1)"},
            replace(spectrum, grouping=0 * none.grouping + 1),
            "wstat",
        ),
    ):
        found = fit_session(script(place, **changed))
        groups = group(data, response, (0.5 + 1e-6, 7.0 - 1e-5), ignored=[(2.0 + 1e-5, 2.5 - 1e-5)])
        assert same(found, fit(data, response, model, statistic=ours, groups=groups))
        assert any("without its background" in n for n in found.notes) == (data.background is None)
        assert any("load_arf of the background" in n for n in found.notes)


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("xcm", {"statistic": "chi", "systematic": "0.05"}, "the command systematic 0.05 of the session cannot be"),
        ("xcm", {"statistic": "lstat"}, "the statistic lstat of the session"),
        ("xcm", {"statistic": "chi", "weight": "churazov"}, "weight churazov"),
        ("xcm", {"ignored": "**-0.5\nnotice 1:0.6-0.7"}, "the command notice"),
        ("py", {"statistic": "leastsq"}, "the statistic leastsq"),
        ("py", {"quantity": "channel"}, "a range of channel"),
        ("py", {"more": "set_bkg_source(1, p1)"}, "the command set_bkg_source"),
        ("py", {"ranges": "a:b"}, "the filter cannot be read"),
        ("py", {"group": "set_grouping(1, val=[1, x])"}, "the flags are not a list of whole numbers"),
    ],
)
def test_sessions_that_cannot_be_followed(place, name, changed, told):
    path = (xcm if name == "xcm" else script)(place, f"refused.{name}", **changed)
    with pytest.raises(DataFileError, match=told):
        read_session(path)


def test_other_files_and_flags_are_refused(place):
    (place / "s.txt").write_text("model")
    with pytest.raises(DataFileError, match=r"a session with suffix '\.txt'"):
        read_session(place / "s.txt")
    with pytest.raises(InputError, match="3 flags of grouping"):
        fit_session(script(place, group="set_grouping(1, val=[1, -1, 1])\ngroup(1)"))


def test_a_best_fit_beyond_the_limits_of_the_session_is_told(place):
    found = fit_session(xcm(place, low=1.0, high=4.5))
    assert found.values["kT"] > 4.5
    (text,) = [n for n in found.notes if "beyond" in n]
    assert text.endswith("is beyond the session's limits 1 to 4.5, which are not used")


def test_a_job_takes_what_it_does_not_say_from_its_session(place, tmp_path):
    xcm(place)

    def job(**content):
        return validate(FitJob, {"job": "xray-fit", "output": "out", **content}, source=str(place / "job.toml"))

    assert same(run(job(session="s.xcm"), Stages(tmp_path)), fit_session(place / "s.xcm"))
    script(place)
    assert same(run(job(session="s.py"), Stages(tmp_path)), fit_session(place / "s.py"))
    other = run(job(session="s.xcm", telescope={"band": [1.0, 5.0]}, spectrum={"statistic": "chi2"}), Stages(tmp_path))
    assert other.statistic_name == "chi2"
    assert other.energy_hi.max() < 5.5
    without = run(job(session="s.xcm", spectrum={"background": "none"}), Stages(tmp_path))
    assert without.statistic_name == "cstat"
    before = depends_on(job(session="s.xcm"), "session")
    xcm(place, ignored="**-0.6 7.0-**")
    assert depends_on(job(session="s.xcm"), "session") != before
    with pytest.raises(ConfigError, match="a \\[model\\] and a session"):
        job(session="s.xcm", model={"nH": 0.2})
    with pytest.raises(ConfigError, match="no pha"):
        job()
