"""Tables of pairs that name a response for each source."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from crosscal import xray
from crosscal.core.errors import DataFileError, InputError
from crosscal.datasets import builtin_directory
from crosscal.jobs.options import depends_on, validate
from crosscal.xray.correction.pairs_responses import listed_responses
from crosscal.xray.jobs.pairs_options import XrayJob

WIDE = """source,kT_pn,kT_err_pn,kT_acis,kT_err_acis,arf_acis,rmf_acis,arf_pn,rmf_pn,exposure_acis
A1,5.0,0.1,5.5,0.2,files/b.arf,files/b.rmf.gz,files/a.arf,files/a.rmf.gz,30000
A2,7.0,0.2,7.9,0.3,files/b2.arf,files/b.rmf.gz,,,20000
A3,6.0,0.2,6.9,0.3,,,,,
A4,6.0,0.2,6.8,0.3,files/b.arf,files/b.rmf.gz,,,1e4
"""
LONG = """source,telescope,kT,kT_err,arf,rmf
A1,pn,5.0,0.1,,
A1,acis,5.5,0.2,files/b.arf,files/b.rmf.gz
A2,acis,7.9,0.3,files/b2.arf,files/b.rmf.gz
A2,pn,7.0,0.2,none,none
A4,pn,6.0,0.2,,
A4,acis,6.8,0.3,files/b.arf,files/b.rmf.gz
"""


@pytest.fixture
def place(tmp_path):
    """A directory with tables and, below it, responses; b2 is another ARF."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("a", "b"):
        for suffix in (".arf", ".rmf.gz"):
            shutil.copy(builtin_directory() / "xray" / f"example_{name}{suffix}", files / f"{name}{suffix}")
    response = xray.read_response(files / "b.arf", files / "b.rmf.gz")
    xray.write_arf(files / "b2.arf", response.with_area(1.1 * response.area))
    (tmp_path / "wide.csv").write_text(WIDE)
    (tmp_path / "long.csv").write_text(LONG)
    return tmp_path


def test_wide_and_long_tables_name_responses(place):
    wide = xray.read_pairs(place / "wide.csv", trusted="pn", corrected="acis")
    assert list(wide.responses) == ["acis"]
    first, second, none, last = wide.responses["acis"]
    assert first is last
    assert none is None
    np.testing.assert_allclose(second.area, 1.1 * first.area, rtol=1e-6)
    notes = " ".join(wide.notes)
    assert "exposure_acis of each source is not needed" in notes
    assert "the responses of pn are not needed" in notes
    assert "unused columns" not in notes
    rows = xray.read_pairs(place / "long.csv", trusted="pn", corrected="acis")
    assert [r.files["arf"].split("/")[-1] for r in rows.responses["acis"]] == ["b.arf", "b2.arf", "b.arf"]
    # Where infer is to be told who is corrected, the responses of both are kept.
    assert set(xray.read_pairs(place / "wide.csv").responses) == {"pn", "acis"}
    turned = xray.read_pairs(place / "wide.csv").swapped().take([1, 0])
    np.testing.assert_array_equal(turned.responses["acis"][0].area, second.area)


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".fits"])
def test_responses_are_written_as_their_files(place, suffix):
    pairs = xray.read_pairs(place / "wide.csv", trusted="pn", corrected="acis")
    (place / "out").mkdir()
    again = xray.read_pairs(xray.write_pairs(place / "out" / f"p{suffix}", pairs), trusted="pn", corrected="acis")
    for a, b in zip(pairs.responses["acis"], again.responses["acis"], strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a.area, b.area)


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_what_stands_beside_samples_is_kept(place, suffix):
    """Constants and responses of each source; a column that nobody knows is told."""
    pairs = xray.read_pairs(place / "wide.csv", trusted="pn", corrected="acis")
    rng = np.random.default_rng(1)
    draws = pairs.values[:, :, None, :] * rng.normal(1.0, 0.02, (2, len(pairs), 50, 1))
    constants = {"nH": np.array([0.02, 0.03, 0.04, 0.05]), "Redshift": np.full(4, 0.1)}
    sampled = replace(
        xray.PairedSources.from_samples(pairs.names, pairs.telescopes, ("kT",), draws),
        constants=constants,
        responses=pairs.responses,
    )
    (place / "out").mkdir()
    path = xray.write_pairs(place / "out" / f"p{suffix}", sampled)
    table = Table.read(path)
    table["seeing"] = 1.0
    table.write(path, overwrite=True)
    again = xray.read_pairs(path, trusted="pn", corrected="acis")
    for name, values in constants.items():
        np.testing.assert_array_equal(again.constants[name], values)
    assert [r is None for r in again.responses["acis"]] == [False, False, True, False]
    assert any("columns that are not used: seeing" in note for note in again.notes)
    assert not any("kT" in note for note in again.notes)


def test_a_response_that_is_not_there_is_refused(place):
    (place / "wide.csv").write_text(WIDE.replace("b2.arf", "c.arf"))
    with pytest.raises(DataFileError, match=r"wide\.csv, row 2: .*c\.arf"):
        xray.read_pairs(place / "wide.csv", trusted="pn", corrected="acis")


@pytest.mark.parametrize(
    ("given", "error"),
    [("files/b2.arf,", "an ARF without an RMF"), (",files/b.rmf.gz", "does not include the effective area")],
)
def test_half_a_response_is_completed_by_that_of_the_telescope(place, given, error):
    (place / "alone.csv").write_text(LONG.replace("files/b2.arf,files/b.rmf.gz", given))
    with pytest.raises(InputError, match=rf"alone\.csv, row 3: .*{error}"):
        xray.read_pairs(place / "alone.csv", trusted="pn", corrected="acis")
    own = xray.read_response(place / "files" / "b2.arf", place / "files" / "b.rmf.gz", name="acis")
    pairs = xray.read_pairs(place / "alone.csv", trusted="pn", corrected="acis", response=own)
    whole = xray.read_pairs(place / "long.csv", trusted="pn", corrected="acis")
    for a, b in zip(pairs.responses["acis"], whole.responses["acis"], strict=True):
        np.testing.assert_array_equal(a.area, b.area)
        np.testing.assert_array_equal(a.redistribution.toarray(), b.redistribution.toarray())
    (note,) = [n for n in pairs.notes if "beside it" in n]
    assert "that of acis is used" in note
    # A telescope of one file cannot say which part of it is the RMF.
    whole = replace(own, files={"rsp": "b.rsp"})
    with pytest.raises(InputError, match=error):
        xray.read_pairs(place / "alone.csv", trusted="pn", corrected="acis", response=whole)


def test_a_matrix_with_its_area_stands_alone(place):
    response = xray.read_response(place / "files" / "b.arf", place / "files" / "b.rmf.gz")
    xray.write_rmf(place / "files" / "b.rsp", response, with_area=True)
    own = replace(response, name="acis")
    for given in ("files/b.rsp,", ",files/b.rsp"):
        (place / "alone.csv").write_text(LONG.replace("files/b2.arf,files/b.rmf.gz", given))
        pairs = xray.read_pairs(place / "alone.csv", trusted="pn", corrected="acis", response=own)
        found = pairs.responses["acis"][1]
        folded = [(r.redistribution * r.area).toarray() for r in (found, response)]
        # The file holds float32.
        np.testing.assert_allclose(folded[0], folded[1], rtol=1e-6, atol=1e-6 * folded[1].max())
        assert not any("beside it" in n for n in pairs.notes)


def test_a_job_depends_on_the_responses_of_its_table(place):
    assert len(listed_responses(place / "wide.csv")) == 8
    content = {
        "job": "xray",
        "output": "out",
        "telescope": {"name": "acis", "arf": "files/b.arf", "rmf": "files/b.rmf.gz"},
        "trusted": {"name": "pn"},
        "library": {
            "modifier": {"name": "grey"},
            "scale": {"min": 0.9, "max": 1.1, "n": 3},
            "kT": {"min": 2, "max": 9, "n": 4},
        },
        "inference": {"pairs": "wide.csv"},
    }
    job = validate(XrayJob, content, source=str(place / "job.toml"))
    before = depends_on(job, "inference")
    shutil.copy(place / "files" / "b.arf", place / "files" / "b2.arf")
    assert depends_on(job, "inference") != before


@pytest.mark.parametrize("column", ["arf", "rmf_ACIS", "arf_mos"])
def test_files_of_no_telescope_are_refused(place, column):
    """Without a telescope, in another case, or of a telescope without temperatures."""
    (place / "wide.csv").write_text(WIDE.replace("arf_acis", column))
    with pytest.raises(
        DataFileError, match=f"column {column} names files that belong to none of the telescopes; expected ..._pn or"
    ):
        xray.read_pairs(place / "wide.csv", trusted="pn", corrected="acis")
