"""Each family against its formula, written out again."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import Axis, Grid
from crosscal.core.parameter import Parameter
from crosscal.xray.instrument.examples import example_telescope
from crosscal.xray.modifiers import gaussian_process
from crosscal.xray.modifiers.combine import Product, Sum
from crosscal.xray.modifiers.contamination import EDGES, Contamination, k_shell
from crosscal.xray.modifiers.edge import EdgeDepth, Step
from crosscal.xray.modifiers.examples import example
from crosscal.xray.modifiers.gaussian import Gaussian
from crosscal.xray.modifiers.gaussian_process import GaussianProcess
from crosscal.xray.modifiers.grey import Grey
from crosscal.xray.modifiers.pca import PCA
from crosscal.xray.modifiers.polynomial import Polynomial
from crosscal.xray.modifiers.powerlaw import BrokenPowerLaw
from crosscal.xray.modifiers.spline import BSpline
from crosscal.xray.modifiers.user import UserFunction

E = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0])


def test_gaussian_conventions():
    theta = {"A": 0.08, "mu": 1.8, "sigma": 1.0}
    assert_allclose(Gaussian().factor(E, theta), 1 + 0.08 * np.exp(-((E - 1.8) ** 2) / 2))
    foreign = Gaussian(convention="xcalforge")
    assert_allclose(foreign.factor(E, theta), 1 + 0.08 * np.exp(-((E - 1.8) ** 2)))
    narrower = theta | {"sigma": 1 / np.sqrt(2)}
    assert_allclose(foreign.factor(E, theta), Gaussian().factor(E, narrower))


def test_several_gaussians_add():
    pair = Gaussian(n=2)
    assert pair.names == ("A1", "mu1", "sigma1", "A2", "mu2", "sigma2")
    theta = [0.1, 1.0, 0.5, -0.2, 5.0, 1.0]
    expected = Gaussian().factor(E, theta[:3]) + Gaussian().factor(E, theta[3:]) - 1
    assert_allclose(pair.factor(E, theta), expected)


def test_gaussian_is_checked():
    with pytest.raises(UnknownNameError, match="xcalforge"):
        Gaussian(convention="xcalfrge")
    with pytest.raises(InputError, match="0 Gaussians"):
        Gaussian(n=0)


def test_spline_is_a_partition_of_unity():
    basis = BSpline(knots=9, low=0.5, high=8.0).basis(E)
    assert basis.shape == (9, 7)
    assert_allclose(basis.sum(axis=0), 1.0)
    assert np.all(basis >= 0)


def test_spline_reproduces_cubics_in_log_energy():
    from scipy.interpolate import make_interp_spline

    spline = BSpline(knots=8, low=0.5, high=8.0)
    energy = np.geomspace(0.5, 8.0, 50)
    target = 0.1 * np.log(energy) ** 3 - 0.05 * np.log(energy)
    coefficients = np.linalg.lstsq(spline.basis(energy).T, target, rcond=None)[0]
    assert_allclose(spline.factor(energy, coefficients), 1 + target, atol=1e-12)
    # Against scipy's own evaluation of the same spline.
    fitted = make_interp_spline(np.log(energy), target, k=3)
    assert_allclose(spline.factor(energy[1:-1], coefficients) - 1, fitted(np.log(energy[1:-1])), atol=1e-12)


def test_spline_holds_its_ends_and_can_be_logarithmic():
    c = np.linspace(-0.1, 0.2, 10)
    spline, log = BSpline(), BSpline(log=True)
    assert_allclose(spline.factor([0.1, 0.3], c)[0], spline.factor([0.1, 0.3], c)[1])
    assert_allclose(spline.factor([10.0, 30.0], c), 1 + c[-1])
    assert_allclose(np.log(log.factor(E, c)), spline.factor(E, c) - 1)
    assert (spline.linear, log.linear) == (True, False)
    assert spline.peaks[0] == pytest.approx(0.3)
    assert spline.peaks[-1] == pytest.approx(10.0)


def test_spline_is_checked():
    with pytest.raises(InputError, match="3 knots; expected at least 4"):
        BSpline(knots=3)
    with pytest.raises(InputError, match="range 5 to 1 keV"):
        BSpline(low=5, high=1)


def test_gaussian_process_has_the_covariance_of_its_kernel():
    x = np.log(np.geomspace(0.35, 9.0, 12))
    for kernel, formula in {
        "squared-exponential": lambda r: np.exp(-0.5 * r**2),
        "matern32": lambda r: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
    }.items():
        process = GaussianProcess(sd=0.1, length=0.7, kernel=kernel, share=0.9999)
        functions = process.basis(np.exp(x))
        expected = 0.01 * formula(np.abs(x[:, None] - x) / 0.7)
        # The expansion is cut where 1e-4 of the variance is left, less evenly at the ends.
        assert_allclose(functions.T @ functions, expected, atol=0.01 * 2e-3)


@pytest.mark.parametrize("length", [0.4, 0.7, 2.0])
def test_gaussian_process_coefficients_mean_the_same_on_every_machine(monkeypatch, length):
    """LAPACK may return each eigenvector with either sign, by processor and number of threads."""
    eigh, found = np.linalg.eigh, []
    for sign in (1.0, -1.0):
        # An odd eigenvector's sum is a rounding error: 1e-14 of it is what another processor may add.
        monkeypatch.setattr(np.linalg, "eigh", lambda a, s=sign: (eigh(a)[0], s * (eigh(a)[1] + s * 1e-14)))
        gaussian_process._expansion.cache_clear()
        found.append(GaussianProcess(length=length).functions(E))
    gaussian_process._expansion.cache_clear()
    # Terms of small eigenvalues amplify that 1e-14 by their inverse, at most 1e4 here.
    assert_allclose(found[1], found[0], atol=1e-9)


def test_gaussian_process_terms():
    few = GaussianProcess(n=3)
    assert few.names == ("z1", "z2", "z3")
    many = GaussianProcess(share=0.99999)
    assert_allclose(many.basis(E)[:3], few.basis(E), atol=1e-12)
    assert len(many.names) > len(GaussianProcess(share=0.9).names)
    assert_array_equal(few.prior_covariance, np.eye(3))
    assert_allclose(
        np.log(GaussianProcess(n=3, log=True).factor(E, [1, 2, 3])), np.array([1, 2, 3]) @ few.basis(E), atol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": "matern"}, "matern32"),
        ({"low": 3.0, "high": 1.0}, "range 3 to 1 keV"),
        ({"sd": 0.0}, "standard deviation 0"),
        ({"length": 0.01}, "correlation length 0.01 in ln E; expected at least"),
        ({"share": 1.0}, "share 1"),
        ({"n": 0}, "0 terms"),
        ({"n": 40}, "40 terms; expected at most"),
    ],
)
def test_gaussian_process_is_checked(options, words):
    with pytest.raises(InputError) as caught:
        GaussianProcess(**options)
    assert words in str(caught.value)


def test_polynomial():
    x = np.log(E / 1.5)
    assert_allclose(Polynomial(degree=2).factor(E, [0.1, 0.2, 0.3]), 1 + 0.1 + 0.2 * x + 0.3 * x**2)
    assert_allclose(Polynomial(degree=1, log=True).factor(E, [0.0, -0.5]), (E / 1.5) ** -0.5)
    with pytest.raises(InputError, match="degree -1"):
        Polynomial(degree=-1)
    with pytest.raises(InputError, match="pivot 0 keV"):
        Polynomial(pivot=0)


def test_broken_power_law():
    found = BrokenPowerLaw().factor(E, {"scale": 1.1, "slope1": 0.2, "slope2": -0.4, "E_break": 2.0})
    assert_allclose(found, 1.1 * np.where(E < 2, (E / 2) ** 0.2, (E / 2) ** -0.4))


def test_contamination_depth_and_growth():
    layer = Contamination(time=5.0, reference=10.0)
    just_above = np.array([EDGES["C"] * (1 + 1e-9)])
    # Only carbon absorbs below the oxygen edge; half the depth at half the time.
    assert_allclose(np.log(layer.factor(just_above, [1.6, 0.3, 0.1])), -0.8, rtol=1e-6)
    assert_allclose(Contamination().factor([0.2], [1.6, 0.3, 0.1]), 1.0)
    saturating = Contamination(time=20.0, reference=10.0, growth_time=5.0)
    assert_allclose(saturating.growth, (1 - np.exp(-4)) / (1 - np.exp(-2)))
    assert Contamination(time=0.0).factor([0.3], [9, 9, 9]) == 1.0


def test_contamination_cross_sections():
    # Verner & Yakovlev 1995 written out for carbon at 1 keV, relative to 0.2842 keV.
    def carbon(ev):
        y = ev / 86.55
        return (y - 1) ** 2 * y ** (0.5 * 1.503 - 5.5) * (1 + np.sqrt(y / 54.98)) ** -1.503

    assert_allclose(k_shell("C", np.array([1.0]))[0], carbon(1000) / carbon(284.2))
    # Far above the edge every K shell falls about as E^-2.9 to E^-3.1 (the textbook cube).
    for element in EDGES:
        a, b = k_shell(element, np.array([4.0, 8.0]))
        assert 2.75 < np.log2(a / b) < 3.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"elements": ("C", "Xe")}, "contaminant element 'Xe'"),
        ({"elements": ()}, "each element once"),
        ({"elements": ("C", "C")}, "each element once"),
        ({"time": -1.0}, "time -1 years"),
        ({"reference": 0.0}, "reference 0 years"),
        ({"growth_time": 0.0}, "growth time 0 years"),
    ],
)
def test_contamination_is_checked(options, words):
    with pytest.raises(InputError) as caught:
        Contamination(**options)
    assert words in str(caught.value)


def test_edge_and_step():
    found = EdgeDepth().factor(E, {"edge": 1.839, "tau": 0.3})
    assert_allclose(found, np.where(E >= 1.839, np.exp(-0.3 * (E / 1.839) ** -3), 1.0))
    step = Step(width=0.02).factor([0.5, 1.0, 2.0], {"edge": 1.0, "height": -0.1})
    assert_allclose(step, [1.0, 0.95, 0.9], atol=1e-10)
    with pytest.raises(InputError, match="width 0 keV"):
        Step(width=0)


def test_pca_library_formula():
    pca = example("pca")
    library = pca.library
    e = np.array([0.7, -1.2])
    area = library.area + library.offset + (e * library.scale) @ library.vectors
    assert_allclose(library.area * pca.factor(library.energy, e), area)
    assert pca.factor([0.05, 50.0], e).tolist() == [1.0, 1.0]
    assert PCA(library, n=1).names == ("e1",)
    with pytest.raises(InputError, match="3 components; expected 1 to 2"):
        PCA(library, n=3)
    with pytest.raises(InputError, match=r"a library of type str; expected what read_pca_library\(path\) returns"):
        PCA("aref.fits")
    assert repr(library) == "<PcaLibrary in memory: 2 components, 77 energies>"


def test_pca_bias_is_the_offset():
    from dataclasses import replace

    library = replace(example("pca").library, offset=0.05 * example("pca").library.area)
    assert_allclose(PCA(library).offset([1.0, 2.0]), 1.05)
    assert_allclose(PCA(library).factor([1.0, 2.0]), 1.05)
    assert_allclose(PCA(library, bias=False).factor([1.0, 2.0]), 1.0)


def test_pca_draws_have_the_stated_variance():
    pca = example("pca")
    rng = np.random.default_rng(0)
    areas = pca.library.area * pca.factor(pca.library.energy, rng.standard_normal((40000, 2)))
    expected = np.sqrt(np.sum((pca.library.scale[:, None] * pca.library.vectors) ** 2, axis=0))
    # The sd of 40000 draws is known to 0.35 %; five times that.
    assert_allclose(areas.std(axis=0), expected, rtol=0.018)


def ripple(energy, xp, *, depth, period):
    return 1 + depth * xp.sin(2 * xp.pi * energy / period)


def test_user_function():
    wave = UserFunction(ripple, {"depth": (0.0, -1.0, 1.0), "period": (2.0, 0.1, 10.0)})
    theta = np.array([[0.1, 1.5], [0.2, 3.0]])
    expected = [ripple(E, np, depth=a, period=p) for a, p in theta]
    assert_allclose(wave.factor(E, theta), expected)
    given = (Parameter("depth", 0.5, -1, 1), Parameter("period", 2, 1, 3))
    assert UserFunction(ripple, given, neutral=(0.0, 2.0)).null == (0.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("E**2", {"a": (0, -1, 1)}), "the function is a str"),
        ((ripple, {}), "the parameters are not described"),
        ((ripple, ("depth",)), "the parameters are not described"),
        ((ripple, {"depth": (0, -1, 1), "period": (2, 1, 3)}, (0.0,)), "1 neutral values"),
        ((lambda energy, xp, *, a: 1.0, {"a": (0, -1, 1)}), "gives shape ()"),
        ((lambda energy, xp, *, a: energy * np.nan, {"a": (0, -1, 1)}), "3 finite factors"),
    ],
)
def test_user_function_is_checked(arguments, words):
    with pytest.raises(InputError) as caught:
        UserFunction(*arguments)
    assert words in str(caught.value)


def test_negative_factors_are_refused():
    with pytest.raises(InputError, match=r"the factor is -0\.[0-9]+ at .* keV; expected a finite factor >= 0"):
        (Gaussian() + Gaussian()).apply(example_telescope("a"), {"gaussian_A": -0.9, "gaussian2_A": -0.9})


def test_names_in_products():
    both = Gaussian() * Grey() * Gaussian()
    assert isinstance(both, Product)
    assert both.names == (
        "gaussian_A", "gaussian_mu", "gaussian_sigma", "scale", "gaussian2_A", "gaussian2_mu", "gaussian2_sigma",
    )  # fmt: skip
    a, b, s = [0.1, 1.0, 0.5], [0.2, 4.0, 1.0], [0.9]
    expected = Gaussian().factor(E, a) * 0.9 * Gaussian().factor(E, b)
    assert_allclose(both.factor(E, a + s + b), expected)


def test_linear_sums():
    total = BSpline(knots=5) + example("pca") + Grey()
    assert isinstance(total, Sum)
    assert total.linear
    theta = np.concatenate([np.full(5, 0.1), [0.3, -0.2], [1.05]])
    assert_allclose(total.factor(E, theta), total.offset(E) + theta @ total.basis(E))
    assert not (BSpline() + Gaussian()).linear
    assert not (BSpline() * Grey()).linear


def test_combinations_are_checked():
    with pytest.raises(InputError, match="a int"):
        Product((Grey(), 2))
    with pytest.raises(InputError, match="1 parts; expected two or more"):
        Sum((Grey(),))


def test_grid_from_ranges_lists_and_numbers():
    grid = Gaussian.grid(A=(-0.2, 0.2, 5), mu=[1.0, 2.0, 4.0], sigma=0.5)
    assert isinstance(grid, Grid)
    assert grid.shape == (5, 3, 1)
    assert isinstance(grid.modifier, Gaussian)
    assert grid.axis("mu").unit == "keV"
    axis = Axis("anything", [1.0, 10.0], scale="log")
    assert Gaussian(convention="xcalforge").grid(mu=axis).axis("mu").scale == "log"
    assert BrokenPowerLaw.grid(E_break=(1.0, 4.0, 3)).axis("E_break").values[1] == pytest.approx(2.0)
    with pytest.raises(InputError, match="axis 'A': A = -2 is out of range"):
        Gaussian.grid(A=(-2, 0.2, 5))
    with pytest.raises(InputError, match="expected \\(low, high, number of values\\)"):
        Gaussian.grid(A=(-0.2, 0.2))


def test_scatter_fills_a_box():
    design = Gaussian.scatter(16, A=(-0.2, 0.2), mu=(0.7, 7.0))
    assert design.bounds()["mu"] == (0.7, 7.0)
    assert design.bounds()["sigma"] == (1.0, 1.0)
    log = BrokenPowerLaw.scatter(64, E_break=(0.5, 8.0)).points[:, 3]
    assert np.median(log) == pytest.approx(2.0, rel=0.1)
    with pytest.raises(InputError, match="an empty box"):
        Gaussian.scatter(4)
    with pytest.raises(InputError, match="out of range"):
        Gaussian.scatter(4, A=(-5, 1))


def test_quantities_are_accepted():
    from astropy import units as u

    plain = Gaussian().factor(E, {"A": 0.1, "mu": 1.8, "sigma": 0.5})
    given = Gaussian().factor(E * 1000 * u.eV, {"A": 10 * u.percent, "mu": 1800 * u.eV, "sigma": 0.5 * u.keV})
    assert_allclose(given, plain)
    grid = Gaussian.grid(mu=(700 * u.eV, 7 * u.keV, 3), sigma=[300, 600] * u.eV)
    assert_allclose(grid.axis("mu").values, [0.7, 3.85, 7.0])
    assert_allclose(grid.axis("sigma").values, [0.3, 0.6])
    assert Gaussian.scatter(4, mu=(700 * u.eV, 7 * u.keV)).bounds()["mu"] == pytest.approx((0.7, 7.0))
    with pytest.raises(InputError, match="axis 'mu': a quantity in s; expected one in keV"):
        Gaussian.grid(mu=(1 * u.s, 2 * u.s, 3))
    with pytest.raises(InputError, match=r"units on the limits alone: \(low \* unit, high \* unit, number\)"):
        Gaussian.grid(mu=(700, 7000, 11) * u.eV)
    assert np.allclose(Gaussian.grid(mu=[700, 1000, 7000] * u.eV).axes[1].values, [0.7, 1.0, 7.0])
    with pytest.raises(InputError, match="a quantity in s"):
        Gaussian().factor(E, {"mu": 3 * u.s})
