import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import DataFileError
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import LOWEST_ENERGY, read_arf
from crosscal.xray.instrument.ogip_rmf import read_rmf


def test_reads_what_was_written_by_astropy(make):
    response = read_response(make("arf"), make("rmf"))
    assert_allclose(response.area, make.area, rtol=1e-7)  # float32 columns
    assert_array_equal(response.redistribution.toarray(), make.matrix.T)
    assert_allclose(response.energy_edges, make.edges, rtol=1e-7)
    assert response.first_channel == 1
    assert response.name == "test"
    assert set(response.files) == {"arf", "rmf"}
    assert response.mission["TELESCOP"] == "TEST"
    assert response.notes == ()


@pytest.mark.parametrize(
    ("kind", "name", "column", "read"),
    [("rmf", "EBOUNDS", "E_MAX", read_rmf), ("arf", "SPECRESP", "SPECRESP", read_arf)],
)
@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_second_table_of_other_content_is_told(make, kind, name, column, read, factor):
    path = make(kind)
    with fits.open(path) as hdus:
        again = hdus[name].copy()
        again.data[column] *= factor
        fits.append(path, again.data, again.header)
    found = read(path)
    assert any(f"the first of 2 {name} tables is used" in note for note in found.notes) == (factor != 1.0)


def test_reads_gzipped_files(make):
    rmf = make("rmf")
    packed = rmf.with_suffix(".rmf.gz")
    with open(rmf, "rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)
    assert_array_equal(read_rmf(packed).matrix.toarray(), make.matrix.T)


@pytest.mark.parametrize("first", [0, 1, 17])
def test_tlmin_sets_the_channel_of_a_group(make, first):
    def change(spec):
        columns = spec["MATRIX"]["columns"]
        columns["F_CHAN"][2] = np.array([f + first - 1 for f in columns["F_CHAN"][2]], dtype=object)
        spec["MATRIX"]["cards"]["TLMIN4"] = first
        spec["EBOUNDS"]["columns"]["CHANNEL"][2] = np.arange(first, first + 4)

    rmf = read_rmf(make("rmf", change))
    assert rmf.first_channel == first
    assert_array_equal(rmf.matrix.toarray(), make.matrix.T)


def test_missing_tlmin_falls_back_to_ebounds_with_a_note(make):
    rmf = read_rmf(make("rmf", lambda spec: spec["MATRIX"]["cards"].pop("TLMIN4")))
    assert_array_equal(rmf.matrix.toarray(), make.matrix.T)
    assert any("TLMIN" in note for note in rmf.notes)


def test_fixed_length_columns_with_padding(make):
    def change(spec):
        columns = spec["MATRIX"]["columns"]
        for name, width in (("F_CHAN", 2), ("N_CHAN", 2), ("MATRIX", 4)):
            rows = columns[name][2]
            padded = np.zeros((len(rows), width))
            for k, row in enumerate(rows):
                padded[k, : len(row)] = row
            columns[name] = [f"{width}{'D' if name == 'MATRIX' else 'I'}", None, padded]

    assert_array_equal(read_rmf(make("rmf", change)).matrix.toarray(), make.matrix.T)


def test_a_row_without_groups_records_nothing(make):
    def change(spec):
        columns = spec["MATRIX"]["columns"]
        columns["N_GRP"][2][0] = 0
        for name in ("F_CHAN", "N_CHAN", "MATRIX"):
            columns[name][2][0] = columns[name][2][0][:0]

    assert read_rmf(make("rmf", change)).matrix.toarray()[:, 0].sum() == 0


def test_rsp_with_area_is_split(make):
    def change(spec):
        table = spec["MATRIX"]
        table["columns"]["MATRIX"][2] = np.array(
            [row * area for row, area in zip(table["columns"]["MATRIX"][2], make.area, strict=True)], dtype=object
        )
        table["cards"]["HDUCLAS3"] = "FULL"
        spec["SPECRESP MATRIX"] = spec.pop("MATRIX")

    response = read_response(make("rmf", change, "test.rsp"))
    sums = make.matrix.sum(axis=1)
    assert_allclose(response.area, make.area * sums)
    assert_allclose(response.redistribution.toarray(), make.matrix.T / sums)
    photons = np.arange(1.0, 6.0)
    assert_allclose(response.fold(photons), make.matrix.T @ (make.area * photons))


@pytest.mark.parametrize(("unit", "scale"), [("eV", 1000.0), ("keV", 1.0), ("MeV", 1e-3), ("KEV", 1.0)])
def test_energy_units_are_converted(make, unit, scale):
    def change(spec):
        for column in ("ENERG_LO", "ENERG_HI"):
            entry = spec["SPECRESP"]["columns"][column]
            entry[1], entry[2], entry[0] = unit, entry[2] * scale, "D"

    assert_allclose(read_arf(make("arf", change)).energy_lo, make.edges[:-1])


def test_area_in_square_metres(make):
    def change(spec):
        spec["SPECRESP"]["columns"]["SPECRESP"][1:] = ["m2", make.area * 1e-4]

    assert_allclose(read_arf(make("arf", change)).area, make.area, rtol=1e-6)


def test_a_missing_unit_is_noted(make):
    def change(spec):
        spec["SPECRESP"]["columns"]["SPECRESP"][1] = None

    assert "cm2 is assumed" in read_arf(make("arf", change)).notes[0]


def test_grating_files_run_backwards(make):
    def turn(table, names):
        for name in names:
            table["columns"][name][2] = table["columns"][name][2][::-1].copy()

    arf = make("arf", lambda spec: turn(spec["SPECRESP"], spec["SPECRESP"]["columns"]))
    rmf = make("rmf", lambda spec: turn(spec["MATRIX"], spec["MATRIX"]["columns"]))
    response = read_response(arf, rmf)
    assert_allclose(response.area, make.area, rtol=1e-7)
    assert_array_equal(response.redistribution.toarray(), make.matrix.T)


def test_energy_zero_is_replaced(make):
    def change(spec):
        spec["SPECRESP"]["columns"]["ENERG_LO"][2][0] = 0.0

    arf = read_arf(make("arf", change))
    assert arf.energy_lo[0] == LOWEST_ENERGY
    assert "lowest energy is 0" in arf.notes[0]


def test_first_bin_of_the_arf_may_start_elsewhere(make):
    def change(spec):
        spec["SPECRESP"]["columns"]["ENERG_LO"][2][0] = 0.9

    response = read_response(make("arf", change), make("rmf"))
    assert response.energy_lo[0] == 0.5
    assert "the latter is used" in response.notes[0]


def test_scrambled_channel_column_is_mended_from_its_limits(make):
    def change(spec):
        spec["EBOUNDS"]["columns"]["CHANNEL"][2][:] = 0
        spec["EBOUNDS"]["cards"] |= {"TLMIN1": 1, "TLMAX1": 4}

    rmf = read_rmf(make("rmf", change))
    assert rmf.first_channel == 1
    assert any("not consecutive" in note for note in rmf.notes)


def test_name_can_be_given(make):
    assert read_response(make("arf"), make("rmf"), name="acis").name == "acis"


def test_hdus_are_found_by_class_when_named_otherwise(make):
    def change(spec):
        spec["AREA"] = spec.pop("SPECRESP")

    assert_allclose(read_arf(make("arf", change)).area, make.area, rtol=1e-7)


def test_inputs_are_not_touched(make):
    paths = make("arf"), make("rmf")
    before = [path.read_bytes() for path in paths]
    read_response(*paths)
    assert [path.read_bytes() for path in paths] == before


def test_swapped_files_are_recognised(make):
    with pytest.raises(DataFileError, match="looks like an RMF"):
        read_response(make("rmf"), make("arf"))
    with pytest.raises(DataFileError, match="looks like an ARF"):
        read_rmf(make("arf"))
