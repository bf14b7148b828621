"""The linear response of fitted parameters to the area, against noiseless fits with a changed area."""

import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.xray.correction.kernel import linear_kernel
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.library.generate import build_library
from crosscal.xray.modifiers.gaussian import Gaussian

BAND, KT, FREE = (0.7, 7.0), np.array([2.0, 5.0, 9.0]), ("kT", "norm", "Abundanc")
SMALL = 1e-4


@pytest.fixture(scope="module")
def telescope():
    return example_telescope("a")


@pytest.fixture(scope="module")
def plasma():
    return Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)


@pytest.fixture(scope="module")
def kernel(telescope, plasma):
    return linear_kernel(telescope, plasma, {"kT": KT}, band=BAND, free=FREE, counts=5e4)


@pytest.mark.parametrize("mu", [1.0, 2.0, 5.0])
def test_against_finite_differences_of_noiseless_fits(telescope, plasma, kernel, mu):
    design = Gaussian.grid(A=[-SMALL, SMALL], mu=mu, sigma=0.5)
    library = build_library(telescope, plasma, design, kT=KT, band=BAND, counts=5e4, free=FREE)
    change = kernel.shift(np.log(Gaussian().factor(kernel.energy, [SMALL, mu, 0.5])))
    for name in FREE:
        fitted = library.values(name)[:, :, 0]
        # Second-order terms are of relative size SMALL; fits stop at 1e-4 of an error that is 100 times the change.
        np.testing.assert_allclose(
            change[:, kernel.names.index(name)],
            (fitted[1] - fitted[0]) / 2,
            rtol=2e-3,
            atol=2e-4 * np.abs(change).max(0)[kernel.names.index(name)],
        )


def test_covariance_is_the_fits(telescope, plasma, kernel):
    library = build_library(telescope, plasma, Gaussian.grid(A=0.0), kT=KT, band=BAND, counts=5e4, free=FREE)
    for name in FREE:
        j = kernel.names.index(name)
        np.testing.assert_allclose(np.sqrt(kernel.covariance[:, j, j]), library.errors(name)[0, :, 0], rtol=1e-5)


def test_a_grey_change_is_a_change_of_norm_only(kernel):
    change = kernel.shift(np.full(kernel.energy.size, 0.01))
    j = kernel.names.index("norm")
    np.testing.assert_allclose(np.delete(change, j, axis=1), 0.0, atol=1e-9)
    assert np.all(change[:, j] > 0)


def test_basis_is_the_same_in_other_coordinates(telescope, plasma, kernel):
    basis = np.stack([np.ones(kernel.energy.size), np.log(kernel.energy)])
    coarse = linear_kernel(telescope, plasma, {"kT": KT}, band=BAND, free=FREE, counts=5e4, basis=basis)
    np.testing.assert_allclose(coarse.kernel, kernel.kernel @ basis.T, rtol=1e-9, atol=1e-12)
    scale = np.abs(coarse.information).max()
    np.testing.assert_allclose(coarse.information, basis @ kernel.information @ basis.T, atol=1e-10 * scale)


def test_information_of_spectra_lacks_what_parameters_absorb(kernel):
    """A grey factor cannot be told from a norm, whatever the spectrum."""
    grey = np.ones(kernel.energy.size)
    tilt = np.log(kernel.energy / 2)
    for information in kernel.information:
        assert abs(grey @ information @ grey) < 1e-8 * (tilt @ information @ tilt)


def test_fisher_of_fitted_values(kernel):
    everything, temperature = kernel.fisher(), kernel.fisher(("kT",))
    assert np.linalg.matrix_rank(temperature, tol=1e-9 * np.abs(temperature).max()) == KT.size
    j = kernel.names.index("kT")
    by_hand = sum(np.outer(k[j], k[j]) / c[j, j] for k, c in zip(kernel.kernel, kernel.covariance, strict=True))
    np.testing.assert_allclose(temperature, by_hand, rtol=1e-9, atol=1e-12 * np.abs(by_hand).max())
    x = np.log(kernel.energy)
    assert x @ everything @ x > x @ temperature @ x


def test_exposure_and_templates(telescope, plasma, kernel):
    templates = FoldedTemplates.build(telescope, plasma, band=BAND, free=FREE)
    same = linear_kernel(telescope, plasma, {"kT": KT}, band=BAND, counts=5e4, templates=templates)
    np.testing.assert_allclose(same.kernel, kernel.kernel, rtol=1e-12)
    long, short = (
        linear_kernel(telescope, plasma, {"kT": 4.0, "norm": 1e-3}, band=BAND, exposure=t, templates=templates)
        for t in (4e5, 1e5)
    )
    np.testing.assert_allclose(long.kernel, short.kernel, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(short.covariance, 4 * long.covariance, rtol=1e-9)


def test_bad_requests(telescope, plasma):
    with pytest.raises(InputError, match="'nH' is not a free parameter"):
        linear_kernel(telescope, plasma, {"nH": 0.1}, band=BAND)
    with pytest.raises(InputError, match="basis functions at 3 energies"):
        linear_kernel(telescope, plasma, {"kT": 2.0}, band=BAND, basis=np.ones((1, 3)))
