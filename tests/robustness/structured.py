"""Damage to what binary formats hold, written back in the format: FITS, npz, npy, HDF5, Parquet."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator

NUMBERS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, -1e-300, 1e-320, 1e12, 32767.0, -32768.0)


def for_content(content: bytes) -> tuple[str, Callable[[bytes, Rng], bytes]] | None:
    """Return the damage that suits a file, by its first bytes."""
    if content[:2] == b"\x1f\x8b":
        try:
            inner = for_content(gzip.decompress(content))
        except (OSError, EOFError, ValueError, zlib.error):
            return None
        if inner is None:
            return None
        name, way = inner
        return f"{name}.gz", lambda data, rng: gzip.compress(way(gzip.decompress(data), rng), 1)
    for magic, name, way in (
        (b"SIMPLE", "fits", damage_fits),
        (b"PK\x03\x04", "npz", damage_npz),
        (b"\x93NUMPY", "npy", damage_npy),
        (b"\x89HDF", "hdf5", damage_hdf5),
        (b"PAR1", "parquet", damage_parquet),
    ):
        if content.startswith(magic):
            return name, way
    return None


def _pick(items: Any, rng: Rng) -> Any:
    items = list(items)
    return items[int(rng.integers(len(items)))]


def change_array(array: np.ndarray, rng: Rng) -> np.ndarray:
    """Change values, type, shape or length of an array."""
    array = np.array(array)
    kind = int(rng.integers(11))
    if kind <= 3 and array.size and array.dtype.kind in "fiu":
        value = _pick(NUMBERS, rng)
        flat = array.astype(float).ravel() if rng.random() < 0.5 or not np.isfinite(value) else array.ravel()
        with np.errstate(all="ignore"):
            flat[int(rng.integers(flat.size))] = value if flat.dtype.kind == "f" else int(np.clip(value, 0, 120))
        return flat.reshape(array.shape)
    if kind == 4:
        return np.full(array.shape, _pick(NUMBERS, rng))
    if kind == 5:
        return array[: int(rng.integers(array.shape[0]))] if array.ndim and array.shape[0] else np.array(3.0)
    if kind == 6:
        return array[::-1] if array.ndim else array[None]
    if kind == 7:
        return array.reshape(*array.shape, 1) if rng.random() < 0.5 else array.ravel()[None]
    if kind == 8:
        return np.array(["x", "nan", "1"])[np.zeros(array.shape, dtype=int)]
    if kind == 9:
        return _pick([np.array([]), np.array(1.0), np.zeros((0, 3)), np.array([True]), np.array([1 + 2j])], rng)
    return np.concatenate([array, array]) if array.ndim else -array.astype(float)


def damage_npy(content: bytes, rng: Rng) -> bytes:
    """Change the array."""
    stream = io.BytesIO()
    np.save(stream, change_array(np.load(io.BytesIO(content), allow_pickle=False), rng), allow_pickle=False)
    return stream.getvalue()


def damage_npz(content: bytes, rng: Rng) -> bytes:
    """Change, drop, rename or add an array; rarely an object array, which only pickle could read."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = _pick(arrays, rng)
    kind = int(rng.integers(8))
    pickled = False
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name + "x"] = arrays.pop(name)
    elif kind == 2:
        arrays[name], pickled = np.array([{"a": 1}], dtype=object), True
    elif kind == 3:
        other = _pick(arrays, rng)
        arrays[name], arrays[other] = arrays[other], arrays[name]
    else:
        arrays[name] = change_array(arrays[name], rng)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=pickled, **arrays)
    return stream.getvalue()


# ---- FITS ------------------------------------------------------------------------------------------

CARDS = (
    None, True, False, 0, -1, 1, 99, 10**9, -5.5, 1e-300, 1e300, "", "x", "NONE", "keV", "furlong", "erg/s", "2D", "A",
    "counts", "SPECRESP", "TYPE:II", "TOTAL", "10**3 cm**2",
)  # fmt: skip


def damage_fits(content: bytes, rng: Rng) -> bytes:
    """Change columns, units, headers, images and the order of HDUs."""
    from astropy.io import fits

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), lazy_load_hdus=False) as opened:
            hdus = [hdu.copy() for hdu in opened]
        hdus = _change_hdus(hdus, rng)
        try:
            fits.HDUList(hdus).writeto(stream, output_verify="ignore")
        except fits.VerifyError as error:
            raise ValueError(str(error)) from error
    return stream.getvalue()


def _change_hdus(hdus: list[Any], rng: Rng) -> list[Any]:
    from astropy.io import fits

    k = int(rng.integers(len(hdus)))
    kind = int(rng.integers(12))
    if kind == 0 and len(hdus) > 1:
        del hdus[int(rng.integers(1, len(hdus)))]
    elif kind == 1 and len(hdus) > 2:
        i, j = (int(n) for n in rng.integers(1, len(hdus), 2))
        hdus[i], hdus[j] = hdus[j], hdus[i]
    elif kind == 2 and len(hdus) > 1:
        hdus.append(_pick(hdus[1:], rng).copy())
    elif kind <= 5:
        _change_card(hdus[k].header, rng)
    else:
        tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)]
        if tables and (kind < 10 or hdus[k].data is None):
            i = _pick(tables, rng)
            hdus[i] = _change_table(hdus[i], rng)
        elif hdus[k].data is not None and not isinstance(hdus[k], fits.BinTableHDU):
            hdus[k].data = change_array(hdus[k].data, rng)
    return hdus


def _change_card(header: Any, rng: Rng) -> None:
    # The writer counts up to NAXIS; what describes the bytes themselves is damaged as bytes.
    key = _pick([k for k in header if not k.startswith(("NAXIS", "BITPIX", "PCOUNT", "GCOUNT"))], rng)
    kind = int(rng.integers(5))
    if kind == 0:
        del header[key]
    elif kind == 1:
        names = ("TLMIN1", "TLMIN4", "DETCHANS", "BUNIT", "EXPOSURE", "TUNIT1", "LAM_SCAL", "SCRUNCH", "CDELT1", "FIB1")
        header[_pick(names, rng)] = _pick(CARDS, rng)
    else:
        header[key] = _pick(CARDS, rng)


def _change_table(hdu: Any, rng: Rng) -> Any:
    from astropy.io import fits

    columns = list(hdu.columns)
    names = [c.name for c in columns]
    k = int(rng.integers(len(columns)))
    data = hdu.data[names[k]]
    kind = int(rng.integers(9))
    made = [fits.Column(c.name, c.format, unit=c.unit, array=hdu.data[c.name]) for c in columns]
    if kind == 0:
        del made[k]
    elif kind == 1:
        made[k] = fits.Column(names[k] + "X", columns[k].format, unit=columns[k].unit, array=data)
    elif kind == 2:
        made[k] = fits.Column(
            names[k], columns[k].format, unit=_pick(("Hz", "m2", "furlong", "1e3 keV", ""), rng), array=data
        )
    elif kind == 3:
        return fits.BinTableHDU(hdu.data[: int(rng.integers(len(hdu.data) + 1)) // 2], hdu.header, name=hdu.name)
    elif kind == 4:
        made.append(fits.Column(_pick(names, rng), columns[k].format, array=data))
    elif kind == 5:
        made[k] = fits.Column(names[k], "5A", array=np.array(["x", "nan"])[np.arange(len(hdu.data)) % 2])
    elif kind == 6:
        order = rng.permutation(len(hdu.data))
        return fits.BinTableHDU(hdu.data[order], hdu.header, name=hdu.name)
    elif np.asarray(data).dtype == object:
        rows = [change_array(np.asarray(row), rng) if i == k else row for i, row in enumerate(data)]
        array = np.empty(len(rows), dtype=object)
        array[:] = rows
        made[k] = fits.Column(names[k], columns[k].format, unit=columns[k].unit, array=array)
    else:
        changed = change_array(np.asarray(data), rng)
        width = int(np.prod(changed.shape[1:])) if changed.ndim > 1 else 1
        if changed.dtype.kind in "fiu":
            made[k] = fits.Column(names[k], f"{width}D", unit=columns[k].unit, array=changed.astype(float))
        else:
            made[k] = fits.Column(names[k], columns[k].format, array=changed)
    new = fits.BinTableHDU.from_columns(made, name=hdu.name)
    skip = {
        "TTYPE",
        "TFORM",
        "TUNIT",
        "TFIELDS",
        "NAXIS",
        "TDIM",
        "TNULL",
        "TSCAL",
        "TZERO",
        "TDISP",
        "XTENSION",
        "BITPIX",
    }
    for card in hdu.header.cards:
        if card.keyword.rstrip("0123456789") not in skip and card.keyword not in ("PCOUNT", "GCOUNT", "EXTNAME", ""):
            new.header.append(card, end=True)
    return new


# ---- HDF5 and Parquet --------------------------------------------------------------------------------


def damage_hdf5(content: bytes, rng: Rng) -> bytes:
    """Change, remove or replace a data set, a group or an attribute."""
    import h5py

    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as handle:
        names: list[str] = []
        handle.visit(names.append)
        name = _pick(names or ["/"], rng)
        item = handle[name]
        kind = int(rng.integers(8))
        owner = _pick([handle, item], rng)
        if kind == 0:
            del handle[name]
        elif kind == 1:
            handle.move(name, name + "x")
        elif kind <= 3 and len(owner.attrs):
            attribute = _pick(owner.attrs.keys(), rng)
            if rng.random() < 0.3:
                del owner.attrs[attribute]
            else:
                owner.attrs[attribute] = _pick(["", "{}", "[1]", '{"a": null}', 3.5, -1, np.array([1, 2]), "x"], rng)
        elif isinstance(item, h5py.Dataset):
            array = item[...]
            del handle[name]
            changed = change_array(array, rng) if array.dtype.kind in "fiub" else np.array([1.0, 2.0])
            handle[name] = changed.astype("S5") if changed.dtype.kind == "U" else changed
        else:
            del handle[name]
            handle[name] = np.arange(3.0)
    return stream.getvalue()


def damage_parquet(content: bytes, rng: Rng) -> bytes:
    """Change, drop or rename a column."""
    import pyarrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO(content))
    columns = {name: table[name].to_pylist() for name in table.column_names}
    name = _pick(columns, rng)
    rows = columns[name]
    kind = int(rng.integers(6))
    if kind == 0:
        del columns[name]
    elif kind == 1:
        columns[name + "x"] = columns.pop(name)
    elif kind == 2:
        columns[name] = [None] * len(rows)
    elif kind == 3:
        columns[name] = [[1, 2]] * len(rows)
    elif kind == 4:
        columns = {key: values[:0] for key, values in columns.items()}
    else:
        columns[name] = [float(_pick(NUMBERS, rng))] * len(rows)
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()
