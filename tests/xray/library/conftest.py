"""One small library that the tests here read."""

import numpy as np
import pytest

from crosscal.xray.emission.expression import Model
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.library.generate import build_library
from crosscal.xray.modifiers.gaussian import Gaussian

BAND = (0.7, 7.0)
KT = np.array([2.0, 5.0, 9.0])


@pytest.fixture(scope="session")
def telescope():
    return example_telescope("a")


@pytest.fixture(scope="session")
def plasma():
    return Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)


@pytest.fixture(scope="session")
def design():
    return Gaussian.grid(A=(-0.1, 0.1, 3), mu=(1.5, 4.0, 2), sigma=0.8)


@pytest.fixture(scope="session")
def settings():
    """Arguments of a noisy library."""
    return {"kT": KT, "band": BAND, "counts": 2e4, "noise": "poisson", "realisations": 4, "seed": 7}


@pytest.fixture(scope="session")
def library(telescope, plasma, design, settings):
    return build_library(telescope, plasma, design, **settings)


@pytest.fixture(scope="session")
def asimov(telescope, plasma, design):
    return build_library(telescope, plasma, design, kT=KT, band=BAND, counts=2e4)


@pytest.fixture
def same():
    def check(a, b):
        assert set(a.dataset.data_vars) == set(b.dataset.data_vars)
        for name in a.dataset.variables:
            x, y = np.asarray(a.dataset[name]), np.asarray(b.dataset[name])
            assert x.dtype.kind == y.dtype.kind
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), name

    return check
