"""The AtomDB reader on a small release, and what it says about damaged files."""

import gzip
import shutil
import warnings
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits

from crosscal.core.errors import DataFileError
from crosscal.xray.emission.atomdb import find_atomdb, read_atomdb


def edit(path, number, change):
    """Apply ``change`` to one HDU and write the file again."""
    with fits.open(path, memmap=False) as hdus:
        changed = fits.HDUList([hdu.copy() for hdu in hdus])
    change(changed, number)
    changed.writeto(path, overwrite=True)


def set_value(column, value):
    def change(hdus, number):
        hdus[number].data[column][0] = value

    return change


def test_reads_what_was_written(tiny):
    plasma = read_atomdb(tiny.line, tiny.coco)
    assert plasma.version == "AtomDB 9.9.9"
    assert "Foster" in plasma.citation
    assert plasma.kT == pytest.approx(tiny.kT, rel=1e-6)
    rows = sorted(tiny.lines[2])
    node = plasma.nodes[2]
    assert node.line_energy == pytest.approx([r[0] for r in rows], rel=1e-6)
    assert node.line_emissivity == pytest.approx([r[1] for r in rows], rel=1e-6)
    assert node.line_element.tolist() == [r[2] - 1 for r in rows]
    assert len(np.unique(node.line_id)) == len(rows)
    assert {z for z, _, _ in node.continua} == {0, 7, 25}


def test_gzipped_files_and_a_directory_give_the_same(tiny, tmp_path):
    for path in (tiny.line, tiny.coco):
        with open(path, "rb") as source, gzip.open(tmp_path / f"{path.name}.gz", "wb") as target:
            shutil.copyfileobj(source, target)
    edges, weights = np.geomspace(0.3, 8, 50), np.ones(30)
    expected = read_atomdb(tiny.line, tiny.coco).spectra(edges, weights)
    assert np.array_equal(read_atomdb(tmp_path).spectra(edges, weights), expected)


def test_newest_release_of_a_directory(tmp_path):
    for version in ("3.0.8", "3.0.10"):
        for kind in ("line", "coco"):
            (tmp_path / f"apec_v{version}_{kind}.fits").touch()
    (tmp_path / "apec_v3.1.0_line.fits").touch()  # without its continuum file it does not count
    assert find_atomdb(tmp_path)[0].name == "apec_v3.0.10_line.fits"


def test_range_of_temperatures(tiny):
    assert read_atomdb(tiny.line, tiny.coco, kT_range=(0.4, 19)).kT.size == 4
    with pytest.raises(DataFileError, match="at least 4"):
        read_atomdb(tiny.line, tiny.coco, kT_range=(1, 2))


def test_absent_file_and_empty_directory(tiny, tmp_path):
    with pytest.raises(DataFileError, match="no such AtomDB file"):
        read_atomdb(tmp_path / "absent.fits", tiny.coco)
    with pytest.raises(DataFileError, match="no AtomDB files"):
        read_atomdb(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not FITS at all", b"\x1f\x8bnot gzip", gzip.compress(b"SIMPLE  =", mtime=0)]
)
def test_not_fits(tiny, tmp_path, content):
    path = tmp_path / "apec_line.fits"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"apec_line\.fits"):
        read_atomdb(path, tiny.coco)


def test_truncated_gzip(tiny, tmp_path):
    path = tmp_path / "apec_line.fits.gz"
    path.write_bytes(gzip.compress(tiny.line.read_bytes())[:-500])
    with pytest.raises(DataFileError, match="not a readable FITS file"):
        read_atomdb(path, tiny.coco)


def test_truncated_table(own_tiny):
    content = own_tiny.line.read_bytes()
    own_tiny.line.write_bytes(content[: len(content) - 2880 * 2])
    with pytest.raises(DataFileError, match=r"apec_v9\.9\.9_line\.fits"):
        read_atomdb(own_tiny.line, own_tiny.coco)


def test_files_in_the_wrong_order(tiny):
    with pytest.raises(DataFileError, match=r"_coco\.fits\[1\]: HDUCLAS1 is 'COMP CONT MODEL'; expected 'LINE MODEL'"):
        read_atomdb(tiny.coco, tiny.line)


def test_other_fits_file(tiny, tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
    with pytest.raises(DataFileError, match="HDUCLAS1 is None"):
        read_atomdb(path, tiny.coco)


def test_missing_column(own_tiny):
    edit(own_tiny.line, 3, lambda hdus, n: hdus[n].columns.change_name("Epsilon", "Flux"))
    with pytest.raises(DataFileError, match=r"_line\.fits\[3\]: no column Epsilon"):
        read_atomdb(own_tiny.line, own_tiny.coco)


def test_missing_temperature(own_tiny):
    edit(own_tiny.coco, 7, lambda hdus, n: hdus.pop(n))
    with pytest.raises(DataFileError, match=r"_coco\.fits\[7\]: the file ends early"):
        read_atomdb(own_tiny.line, own_tiny.coco)


def test_files_of_two_releases(own_tiny):
    edit(own_tiny.coco, 1, set_value("kT", 0.17))
    with pytest.raises(DataFileError, match="temperatures differ from those of the line file"):
        read_atomdb(own_tiny.line, own_tiny.coco)


def test_temperatures_out_of_order(own_tiny):
    edit(own_tiny.line, 1, set_value("kT", 100.0))
    with pytest.raises(DataFileError, match="not positive and increasing"):
        read_atomdb(own_tiny.line, own_tiny.coco)


@pytest.mark.parametrize(
    ("column", "value"),
    [("Lambda", 0.0), ("Lambda", np.nan), ("Epsilon", -1.0), ("Epsilon", np.inf), ("Element", 31), ("Element", 0)],
)
def test_bad_line(own_tiny, column, value):
    edit(own_tiny.line, 4, set_value(column, value))
    with pytest.raises(DataFileError, match=rf"_line\.fits\[4\], column {column}: values cannot be used"):
        read_atomdb(own_tiny.line, own_tiny.coco)


@pytest.mark.parametrize(("column", "value"), [("Continuum", -1.0), ("E_Cont", np.linspace(2, 1, 160)), ("Z", 77)])
def test_bad_continuum(own_tiny, column, value):
    edit(own_tiny.coco, 4, set_value(column, value))
    with pytest.raises(DataFileError, match=rf"_coco\.fits\[4\], column {column}: values cannot be used"):
        read_atomdb(own_tiny.line, own_tiny.coco)


@pytest.mark.thorough
def test_files_damaged_at_random_are_read_or_refused(own_tiny):
    rng = np.random.default_rng(4)
    originals = {path: path.read_bytes() for path in (own_tiny.line, own_tiny.coco)}
    read = 0
    for k in range(60):
        path = (own_tiny.line, own_tiny.coco)[k % 2]
        content = bytearray(originals[path])
        if k % 3 == 0:
            content = content[: rng.integers(1, len(content))]
        else:
            for _ in range(3):
                content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings(), suppress(DataFileError):
            warnings.simplefilter("ignore")
            read_atomdb(own_tiny.line, own_tiny.coco)
            read += 1
        path.write_bytes(originals[path])
    # A third are truncated and must be refused; changed bytes may fall where they do no harm.
    assert read <= 40
