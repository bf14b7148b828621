import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from crosscal.xray.fitting.folding import PackedMatrix


@pytest.mark.parametrize("shape", [(5, 6), (1, 1), (40, 3), (433, 102), (17, 64)])
@pytest.mark.parametrize("n_spectrum", [1, 2, 5])
def test_fold_is_the_matrix_product(shape, n_spectrum):
    rng = np.random.default_rng(1)
    matrix = csr_array(random_array(shape, density=0.3, rng=rng))
    spectra, factor = rng.uniform(size=(n_spectrum, shape[1])), rng.uniform(0.5, 2, shape[1])
    out = PackedMatrix.pack(matrix).fold(spectra, factor)
    assert out.shape == (n_spectrum, (shape[0] + 7) // 8 * 8)
    expected = (spectra * factor) @ matrix.toarray().T
    # Up to 100 additions of numbers below 2 in another order.
    np.testing.assert_allclose(out[:, : shape[0]], expected, rtol=1e-13, atol=1e-14)
    assert not out[:, shape[0] :].any()


def test_energies_without_channels():
    dense = np.zeros((9, 12))
    dense[4, 11] = 2.0
    out = PackedMatrix.pack(csr_array(dense)).fold(np.ones((1, 12)))
    assert out[0, 4] == 2.0
    assert out.sum() == 2.0


def test_output_can_be_reused():
    packed = PackedMatrix.pack(csr_array(np.eye(8)))
    out = packed.fold(np.full((2, 8), 3.0))
    again = packed.fold(np.ones((2, 8)), out=out)
    assert again is out
    np.testing.assert_array_equal(out, 1.0)


def test_real_response(telescope):
    """The whole matrix of a telescope, tails included."""
    spectra = np.random.default_rng(2).uniform(size=(3, telescope.n_energy))
    ours = PackedMatrix.pack(telescope.redistribution).fold(spectra, telescope.area)[:, : telescope.n_channel]
    np.testing.assert_allclose(ours, telescope.fold(spectra), rtol=1e-12)
