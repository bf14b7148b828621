"""Files damaged at random are read or refused; nothing else ever escapes."""

import warnings

import numpy as np
import pytest

from crosscal.core.errors import CrossCalError
from crosscal.xray.instrument.ogip_arf import read_arf
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_spectrum import read_spectra

READERS = {"arf": read_arf, "rmf": read_rmf, "pha": read_spectra, "pha2": read_spectra}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite, cut out or repeat a few bytes, mostly in headers."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data)))
        kind = rng.integers(0, 4)
        if kind == 0:
            data[at] = int(rng.integers(0, 256))
        elif kind == 1:
            data[at : at + 4] = rng.bytes(4)
        elif kind == 2:
            card = 80 * (at // 80)
            data[card + 10 : card + 30] = f"{rng.integers(-5, 2000):>20d}".encode()
        else:
            del data[at : at + int(rng.integers(1, 3000))]
    return bytes(data)


def survive(make, kind, n, seed):
    content = make(kind).read_bytes()
    rng = np.random.default_rng(seed)
    path = make.directory / f"damaged.{kind}"
    complaints = []
    for _ in range(n):
        path.write_bytes(damaged(content, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                READERS[kind](path)
            except CrossCalError as error:
                complaints.append(str(error))
    assert [text for text in complaints if str(path) not in text] == []
    return len(complaints)


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files(make, kind):
    assert survive(make, kind, 40, seed=5) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_many_times(make, kind):
    assert survive(make, kind, 3000, seed=6) > 0
