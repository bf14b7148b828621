"""Scripts of Sherpa's save_all: files, model and values; nothing is executed."""

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import DataFileError
from crosscal.xray.correction.observations_io import listed_files, read_observations
from crosscal.xray.correction.sherpa_save import read_sherpa
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.instrument.ogip_write import write_arf, write_rmf, write_spectrum


def parameter(component, name, value, frozen):
    """The lines of one parameter."""
    own = f"{component}.{name}"
    return f"""
{own}.default_val = 9.9
{own}.val     = {value}
{own}.min     = 0.0
{own}.max     = 3.4028234663852886e+38
{own}.units   = ""
{own}.frozen  = {frozen}
"""


SAVED = (
    """\
import numpy
from sherpa.astro.ui import *

######### Load Data Sets

load_pha(1, "source.pha")
set_grouping(1, val=numpy.array([1, -1, 1], numpy.int16))
group(1)
load_arf(1, "acis.arf", resp_id=1)
load_rmf(1, "acis.rmf", resp_id=1)
load_bkg(1, "sky.pha", bkg_id=1)
set_analysis(1, quantity="energy", type="rate", factor=0)
notice_id(1, "0.496:7.212")
set_stat("chi2gehrels")
set_method("levmar")
set_method_opt("ftol", 1.1920928955078125e-07)

create_model_component("xstbabs", "gal")
gal.integrate = True
"""
    + parameter("gal", "nH", 0.05, frozen=True)
    + """
create_model_component("xsapec", "p1")
p1.integrate = True
"""
    + parameter("p1", "kT", 4.2, frozen=False)
    + parameter("p1", "Abundanc", 0.3, frozen=True)
    + parameter("p1", "Redshift", 0.07, frozen=True)
    + parameter("p1", "norm", 0.012, frozen=False)
    + """
create_model_component("powlaw1d", "bump")
"""
    + parameter("bump", "gamma", 1.6, frozen=True)
    + parameter("bump", "ref", 1.0, frozen=True)
    + parameter("bump", "ampl", 1e-4, frozen=False)
    + """
set_xsabund("wilm")
set_source(1, xstbabs.gal * (xsapec.p1 + powlaw1d.bump))
"""
)


def saved(tmp_path, text=SAVED, name="s.py"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_session_of_one_spectrum(tmp_path):
    path = saved(tmp_path)
    found = read_sherpa(path)
    assert found.model.components == ("TBabs", "apec", "powerlaw")
    assert {p.name: p.default for p in found.model.parameters} == {
        "nH": 0.05, "kT": 4.2, "Abundanc": 0.3, "Redshift": 0.07, "norm": 0.012, "PhoIndex": 1.6, "norm_2": 1e-4,
    }  # fmt: skip
    assert found.model.free == ("kT", "norm", "norm_2")
    assert found.model.options["abundances"] == "wilm"
    assert found.files == {
        "pha": tmp_path / "source.pha", "rmf": tmp_path / "acis.rmf", "arf": tmp_path / "acis.arf",
        "background": tmp_path / "sky.pha",
    }  # fmt: skip
    assert found.held(Model("TBabs*apec")) == {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.07}
    assert len(found.notes) == 3
    assert "the statistic chi2gehrels is not used" in found.notes[0]
    assert "channels are those of the band, not of notice 0.496:7.212" in found.notes[1]
    assert "of the spectrum's file, not of the script: grouping" in found.notes[2]


def test_expressions_keep_their_meaning(tmp_path):
    """Calls as in XSPEC, numbers and bare names; the order of components is that of the expression."""
    for source, expected in (
        ("gal(p1)", ("TBabs", "apec")),
        ("2.0 * gal * (bump + p1)", ("TBabs", "powerlaw", "apec")),
        ("p1", ("apec",)),
    ):
        path = saved(tmp_path, SAVED.replace("xstbabs.gal * (xsapec.p1 + powlaw1d.bump)", source))
        found = read_sherpa(path).model
        assert found.components == expected
        assert found.parameter("kT").default == 4.2
    edges = np.array([1.0, 2.0, 4.0])
    doubled = read_sherpa(saved(tmp_path, SAVED.replace("xstbabs.gal * (", "2 * gal * ("))).model
    plain = read_sherpa(saved(tmp_path)).model
    np.testing.assert_allclose(doubled.spectrum(edges), 2 * plain.spectrum(edges))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("set_source(1,", "set_nothing(1,", "no model"),
        ('load_arf(1, "acis.arf"', 'load_pha(2, "other.pha")\nload_arf(1, "acis.arf"', "line 9: several spectra"),
        ("set_xsabund", "link(p1.norm, bump.ampl * 2)\nset_xsabund", "the parameter p1.norm is linked"),
        ("set_source(1,", "set_source(2, gal * p1)\nset_source(1,", "several models"),
        ("p1.kT.val     = 4.2", "p1.kT.val     = hot", "p1.kT.val is hot; expected a number"),
        ("p1.kT.", "p1.heat.", "p1: no parameter 'heat' of xsapec; expected kT, Abundanc, Redshift, norm"),
        ("bump.ref.val     = 1.0", "bump.ref.val     = 2.0", "bump.ref is 2; expected 1 keV"),
        ('"powlaw1d", "bump"', '"gauss1d", "bump"', "the model gauss1d of bump is not XSPEC's"),
        ("gal * (xsapec.p1 + powlaw1d.bump)", "gal * (p1 + gal * bump)", "the component gal appears twice"),
        ("gal * (xsapec.p1 + powlaw1d.bump)", "gal / p1", "the model holds xstbabs.gal / p1"),
        ("import numpy", "import numpy as", "this is not a script of Sherpa"),
    ],
)
def test_scripts_that_are_refused(tmp_path, old, new, match):
    assert old in SAVED
    with pytest.raises(DataFileError, match=match):
        read_sherpa(saved(tmp_path, SAVED.replace(old, new)))


@pytest.mark.parametrize("name", ["s.save", "s.py"])
def test_the_binary_file_is_refused_and_not_loaded(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04\x95\x00")
    with pytest.raises(DataFileError, match=r"binary save file, which runs code.*expected the script of save_all"):
        read_sherpa(tmp_path / name)


def test_a_table_of_spectra_names_scripts(tmp_path):
    response = example_telescope("a")
    model = Model("TBabs*apec", nH=0.05, kT=4.2, Abundanc=0.3, Redshift=0.07, free=("kT", "norm"))
    spectrum = fakeit(response, model, counts=1e3, band=(0.7, 7.0), seed=1)
    write_arf(tmp_path / "acis.arf", response)
    write_rmf(tmp_path / "acis.rmf", response)
    write_spectrum(tmp_path / "source.pha", spectrum)
    write_spectrum(tmp_path / "sky.pha", replace(spectrum, counts=0 * spectrum.counts + 1.0))
    saved(tmp_path)
    table = tmp_path / "list.csv"
    table.write_text("source,telescope,pha\nA,acis,s.py\n")
    (found,) = read_observations(table, Model("TBabs*apec", free=("kT", "norm")))
    assert found.model.fixed == {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.07}
    assert found.spectrum.background.counts.max() == 1.0
    assert any("not of notice 0.496:7.212" in note for note in found.spectrum.notes)
    assert {p.name for p in listed_files(table).values()} >= {"source.pha", "acis.arf", "acis.rmf", "sky.pha"}
