"""A small telescope and model that all fitting tests share."""

import numpy as np
import pytest

from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.instrument.examples import example_telescope

BAND = (0.7, 7.0)


@pytest.fixture(scope="session")
def telescope():
    return example_telescope("a")


@pytest.fixture(scope="session")
def plasma():
    return Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)


@pytest.fixture(scope="session")
def templates(telescope, plasma):
    return FoldedTemplates.build(telescope, plasma, band=BAND, free=("kT", "norm", "Abundanc"), exposure=1e4)


@pytest.fixture(scope="session")
def linear_templates(telescope, plasma):
    model = plasma.replace(interp="xspec")
    return FoldedTemplates.build(telescope, model, band=BAND, free=("kT", "norm"), exposure=1e4)


@pytest.fixture
def truth(templates):
    """Values that give 20 000 counts."""
    unit = templates.counts(kT=4.0, norm=1.0, Abundanc=0.3).sum()
    return {"kT": 4.0, "norm": 2e4 / float(unit), "Abundanc": 0.3}


@pytest.fixture(scope="session")
def flat_response():
    """Five channels, six energies, a matrix that is easy to multiply by hand."""
    from scipy.sparse import csr_array

    from crosscal.xray.instrument.response import Response

    rng = np.random.default_rng(3)
    edges = np.linspace(1.0, 7.0, 7)
    matrix = rng.uniform(size=(5, 6)) * (rng.uniform(size=(5, 6)) > 0.3)
    return Response(
        edges[:-1], edges[1:], np.linspace(10, 60, 6), csr_array(matrix), np.arange(1.0, 6.0), np.arange(2.0, 7.0)
    )
