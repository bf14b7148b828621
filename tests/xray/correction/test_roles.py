"""Who is trusted is decided by names, whatever the order of columns, and told."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.infer import infer
from crosscal.xray.correction.pairs_io import as_table, read_pairs
from crosscal.xray.correction.point import minimise_divergence
from crosscal.xray.correction.roles import with_roles
from crosscal.xray.correction.simulate import simulate_pairs

INJECTED = {"A": 0.12}


@pytest.fixture(scope="module")
def pairs(amplitude_only):
    return simulate_pairs(
        amplitude_only.only("kT"), INJECTED, np.geomspace(2, 12, 12), relative_error=0.01, telescopes=("pn", "acis")
    )


def table_of(pairs, tmp_path, order, extra=()):
    """Write the columns of telescopes in some order, without metadata."""
    table = as_table(pairs)
    del table.meta["telescopes"]
    for name in extra:
        table[f"kT_{name}"], table[f"kT_err_{name}"] = table["kT_acis"] * 2, table["kT_err_acis"]
    columns = [c for t in order for c in table.colnames if c.endswith(f"_{t}")]
    path = tmp_path / "p.csv"
    table[["source", *columns]].write(path, format="ascii.csv", overwrite=True)
    return path


@pytest.mark.parametrize("order", list(itertools.permutations(("acis", "pn", "mos"))))
@pytest.mark.parametrize("names", [{"trusted": "pn", "corrected": "acis"}, {"telescopes": ("pn", "acis")}])
def test_names_decide_in_any_order_of_columns(pairs, tmp_path, order, names):
    found = read_pairs(table_of(pairs, tmp_path, order, extra=("mos",)), **names)
    assert found.telescopes == ("pn", "acis")
    np.testing.assert_allclose(found.values, pairs.values, rtol=1e-12)
    (note,) = found.provenance["notes"]
    assert "pn is the reference and acis is corrected; mos is not used" in note


@pytest.mark.parametrize("order", [("acis", "pn"), ("pn", "acis")])
@pytest.mark.parametrize("names", [{"trusted": "pn"}, {"corrected": "acis"}])
def test_one_name_is_enough_of_two(pairs, tmp_path, order, names):
    assert read_pairs(table_of(pairs, tmp_path, order), **names).telescopes == ("pn", "acis")


@pytest.mark.parametrize(
    ("names", "extra", "match"),
    [
        ({"trusted": "mos"}, (), "no column 'kT_mos'; expected a telescope of acis, pn"),
        ({"corrected": "aciss"}, (), "no column 'kT_aciss'"),
        ({"trusted": "pn", "corrected": "pn"}, (), "'pn' is both the reference and the telescope to correct"),
        ({"corrected": "acis"}, ("mos",), "which is the reference telescope"),
        ({"trusted": "pn"}, ("mos",), "which is the telescope to be corrected"),
        ({}, ("mos",), "it is not stated which is"),
    ],
)
def test_names_that_do_not_decide_are_refused(pairs, tmp_path, names, extra, match):
    with pytest.raises(InputError, match=match):
        read_pairs(table_of(pairs, tmp_path, ("acis", "pn", *extra), extra), **names)


@pytest.mark.parametrize("order", [("acis", "pn"), ("pn", "acis")])
def test_the_order_of_columns_never_decides(pairs, amplitude_only, tmp_path, order):
    read = read_pairs(table_of(pairs, tmp_path, order))
    # The emulator is of acis, so that pn is trusted; one of an unknown telescope leaves the question open.
    assert HierarchicalModel(read, amplitude_only).pairs.telescopes == ("pn", "acis")
    with pytest.raises(InputError, match="the order of columns does not say"):
        HierarchicalModel(read, replace(amplitude_only, telescope="x"))
    with pytest.raises(InputError, match="the order of columns does not say"):
        minimise_divergence(read, replace(amplitude_only, telescope="x"))
    for trusted, emulator in (("pn", amplitude_only), ("acis", replace(amplitude_only, telescope="pn"))):
        assert HierarchicalModel(read, emulator, trusted=trusted).pairs.telescopes[0] == trusted


def test_an_emulator_of_the_trusted_telescope_is_refused(pairs, amplitude_only):
    with pytest.raises(InputError, match=r"the emulator is of acis, which is the reference .* expected trusted='pn'"):
        infer(pairs.swapped(), amplitude_only)
    with pytest.raises(InputError, match="the emulator is of acis, which is the reference"):
        infer(pairs, amplitude_only, trusted="acis")
    with pytest.raises(UnknownNameError, match="telescope 'mos'"):
        infer(pairs, amplitude_only, trusted="mos")


def test_metadata_that_disagree_with_the_names_are_told(pairs, tmp_path):
    from crosscal.xray.correction.pairs_io import write_pairs

    path = write_pairs(tmp_path / "p.ecsv", pairs)
    assert read_pairs(path).provenance["notes"] == []
    turned = read_pairs(path, trusted="acis")
    assert turned.telescopes == ("acis", "pn")
    assert "The table names pn as the reference" in turned.provenance["notes"][0]


def test_samples_keep_their_telescope(pairs):
    with_samples = replace(pairs, samples=np.repeat(pairs.values[:, :, None], 3, axis=2))
    turned = with_roles(with_samples, "", "acis")
    np.testing.assert_array_equal(turned.samples[0, :, 0], pairs.values[1])
    np.testing.assert_array_equal(turned.covariance[0], pairs.covariance[1])


@pytest.mark.thorough
def test_answer_and_effective_area_name_both_telescopes(pairs, amplitude_only, tmp_path):
    from astropy.io import fits

    from crosscal import xray

    path = table_of(pairs, tmp_path, ("acis", "pn"))
    result = infer(read_pairs(path), amplitude_only, trusted="pn", tau=0.1, sampler="laplace", draws=200)
    assert result.telescopes == ("pn", "acis")
    assert abs(result.posterior_draws.mean("A") - 0.12) < 4 * result.posterior_draws.sd("A")
    assert result.answer.startswith("Relative to pn, the effective area of acis should be multiplied by")
    area = xray.example_telescope("a")
    xray.write_arf(tmp_path / "c.arf", area.corrected(result.correction), history=result)
    history = " ".join(fits.getheader(tmp_path / "c.arf", 1)["HISTORY"])
    assert "reference telescope: pn" in history
    assert "corrected telescope: acis" in history
