"""Chunk files against those that zarr writes from the same arrays."""

import pytest
import zarr

from crosscal.compute.chunkfile import codecs, encode, padded, write_file


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "int64", "uint16", "bool", "complex128", ">f8"])
@pytest.mark.parametrize("n", [8, 6])
def test_same_bytes_as_zarr(tmp_path, rng, dtype, n):
    values = (100 * rng.normal(size=(n, 3))).astype(dtype)
    native = values.dtype.newbyteorder("=")
    zarr.create_array(
        tmp_path / "a", shape=values.shape, chunks=(4, 3), dtype=native, fill_value=native.type(1), compressors=codecs()
    )
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_array(tmp_path / "a", mode="r+")[...] = values
    for block in range(-(-n // 4)):
        whole = padded(values[4 * block : 4 * block + 4], (4, 3), 1)
        assert encode(whole) == (tmp_path / "a" / "c" / str(block) / "0").read_bytes()


def test_a_file_is_written_whole_or_not(tmp_path, monkeypatch):
    path = tmp_path / "c" / "0"
    write_file(path, b"first")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(path, b"third")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["0"]
