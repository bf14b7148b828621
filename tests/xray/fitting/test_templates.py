import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.table import CUBIC, LINEAR
from crosscal.xray.fitting.templates import FoldedTemplates, LinearTables, node_spectra, shape_axis
from crosscal.xray.modifiers.gaussian import Gaussian
from crosscal.xray.modifiers.grey import Grey
from crosscal.xray.modifiers.spline import BSpline

BAND = (0.7, 7.0)
KT = np.array([1.0, 1.37, 2.5, 6.0, 11.0, 40.0])


def explicit(telescope, model, mask, factor=1.0, **values):
    """The slow way: the model's spectrum at the very parameters, folded by the whole response."""
    photons = model.spectrum(telescope.energy_edges, **values)
    return telescope.with_area(telescope.area * factor).fold(photons)[..., mask]


@pytest.mark.parametrize("interp", ["spline", "xspec"])
def test_counts_equal_explicit_folding(telescope, plasma, interp):
    model = plasma.replace(interp=interp)
    t = FoldedTemplates.build(telescope, model, band=BAND, free=("kT", "norm", "Abundanc"), exposure=2.0)
    ours = t.counts(kT=KT, norm=2e-3, Abundanc=0.7)
    expected = 2.0 * explicit(telescope, model, t.mask, kT=KT, norm=2e-3, Abundanc=0.7)
    # Rounding: interpolation and folding commute exactly.
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_cold_plasma_differs_where_there_is_no_flux_only(telescope, plasma):
    """The model clips a spline that undershoots; the templates cannot, energy by energy. It happens at e^-20."""
    t = FoldedTemplates.build(telescope, plasma, band=BAND)
    ours = t.counts(kT=0.2, norm=1.0)
    expected = explicit(telescope, plasma, t.mask, kT=0.2, norm=1.0)
    assert np.abs(ours - expected).sum() < 1e-4 * expected.sum()


def test_factor_multiplies_the_area(telescope, plasma, templates):
    factor = 1 + 0.2 * np.exp(-((telescope.energy - 1.8) ** 2))
    part = telescope.energy_slice(templates.mask)
    table = templates.folded(factor[part])
    ours = templates.counts(table, kT=KT, norm=1.0, Abundanc=0.3)
    expected = 1e4 * explicit(telescope, plasma, templates.mask, factor, kT=KT, norm=1.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("which", ["templates", "linear_templates"])
def test_derivatives(request, which):
    t = request.getfixturevalue(which)
    values = {"kT": 5.1, "norm": 2e-3, "Abundanc": 0.4}
    values = {n: values[n] for n in t.names}
    _, jacobian = t.evaluate(**values)
    for j, name in enumerate(t.names):
        h = 1e-5 * values[name]
        up, down = (t.counts(**{**values, name: values[name] + s * h}) for s in (1, -1))
        # Rounding of a difference: 1e-16 / 1e-5, and the cubic's third derivative.
        np.testing.assert_allclose(jacobian[j], (up - down) / (2 * h), rtol=1e-6, atol=1e-9 * np.abs(jacobian[j]).max())


def test_more_axes(telescope):
    """nH and redshift by tensor-product splines beside kT."""
    model = Model("TBabs*apec", Abundanc=0.3)
    free = ("kT", "norm", "nH", "Redshift")
    axes = {"nH": (0.0, 0.3, 7), "Redshift": (0.04, 0.06, 5)}
    t = FoldedTemplates.build(telescope, model, band=BAND, free=free, axes=axes)
    assert set(t.names) == set(free)
    assert t.nodes.axes[-1].name == "kT"
    node = t.counts(kT=3.3, norm=1.0, nH=0.1, Redshift=0.05)
    np.testing.assert_allclose(
        node, explicit(telescope, model, t.mask, kT=3.3, norm=1.0, nH=0.1, Redshift=0.05), rtol=1e-10
    )
    between = t.counts(kT=3.3, norm=1.0, nH=0.13, Redshift=0.05)
    expected = explicit(telescope, model, t.mask, kT=3.3, norm=1.0, nH=0.13, Redshift=0.05)
    # exp(-nH sigma) on nodes 0.05 apart: h^4 sigma^4 / 384 with sigma <= 4 at 0.7 keV.
    np.testing.assert_allclose(between, expected, rtol=1e-4)
    _, jacobian = t.evaluate(kT=3.3, norm=1.0, nH=0.13, Redshift=0.052)
    j, h = t.names.index("nH"), 1e-5
    up, down = (t.counts(kT=3.3, norm=1.0, nH=0.13 + s * h, Redshift=0.052) for s in (1, -1))
    np.testing.assert_allclose(jacobian[j], (up - down) / (2 * h), rtol=1e-6, atol=1e-6 * np.abs(jacobian[j]).max())


def test_parts_of_two_components(telescope):
    """Multi-linear parts are found from the model itself."""
    model = Model("TBabs*(apec+powerlaw)", nH=0.1, PhoIndex=1.7, Redshift=0.05)
    free = ("kT", "norm", "Abundanc", "norm_2")
    t = FoldedTemplates.build(telescope, model, band=BAND, free=free)
    assert t.nodes.linear == ("norm", "Abundanc", "norm_2")
    assert {tuple(m) for m in t.nodes.monomials.tolist()} == {(1, 0, 0), (1, 1, 0), (0, 0, 1)}
    values = {"kT": 4.0, "norm": 1e-3, "Abundanc": 0.6, "norm_2": 3e-4}
    np.testing.assert_allclose(t.counts(**values), explicit(telescope, model, t.mask, **values), rtol=1e-11)


def test_only_linear_parameters(telescope, plasma):
    t = FoldedTemplates.build(telescope, plasma.replace(kT=3.0), band=BAND, free=("norm",))
    np.testing.assert_allclose(t.counts(norm=0.1), explicit(telescope, plasma, t.mask, kT=3.0, norm=0.1), rtol=1e-12)


def test_a_parameter_that_the_model_does_not_tabulate(telescope):
    model = Model("TBabs*powerlaw", nH=0.1)
    t = FoldedTemplates.build(telescope, model, band=BAND, free=("PhoIndex", "norm"), axes={"PhoIndex": (0.5, 3.5, 13)})
    ours = t.counts(PhoIndex=1.83, norm=1.0)
    # E^-Gamma on nodes 0.25 apart, ln E <= 2: h^4 (ln E)^4 / 384.
    np.testing.assert_allclose(ours, explicit(telescope, model, t.mask, PhoIndex=1.83, norm=1.0), rtol=3e-4)


def test_photons_are_the_models(telescope, plasma, templates):
    ours = templates.photons(kT=[2.0, 5.0], norm=1e-3, Abundanc=0.3)
    part = telescope.energy_slice(templates.mask)
    expected = plasma.spectrum(telescope.energy_edges, kT=[2.0, 5.0], norm=1e-3, Abundanc=0.3)[:, part]
    np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-18)


def test_kinds_of_axes(plasma):
    spline, linear = shape_axis(plasma, "kT", None), shape_axis(plasma.replace(interp="xspec"), "kT", None)
    assert (spline.kind, spline.log) == (CUBIC, True)
    assert (linear.kind, linear.log) == (LINEAR, False)
    few = shape_axis(plasma, "nH", (0.0, 0.2, 3))
    assert few.kind == LINEAR


def test_engine_coordinates_round_trip(templates, truth):
    x = templates.nodes.to_engine(truth)
    back = dict(zip(templates.names, templates.nodes.from_engine(x), strict=True))
    for name, value in truth.items():
        assert np.isclose(back[name], value, rtol=1e-14)
    covariance = np.diag([1e-4, 1.0, 1.0])
    assert np.isclose(templates.nodes.covariance_from_engine(x, covariance)[0, 0], 1e-4 * truth["kT"] ** 2)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"free": ("kT", "norm", "nH")}, "nH' is not tabulated"),
        ({"free": ()}, "no free parameter"),
        ({"free": ("kT", "norm", "nH"), "axes": {"nH": [0.1, 0.1]}}, "do not increase"),
        ({"free": ("kT", "norm", "nH"), "axes": {"nH": (-1.0, 1.0, 5)}}, "out of range"),
        ({"axes": {"PhoIndex": (1, 2, 3)}}, "unknown free parameter"),
        ({"free": ("kT", "nrm")}, "unknown parameter"),
        ({"free": ("kT", "norm", "nH"), "axes": {"nH": (0.0, 1.0, 20000)}}, "at most 2 GiB"),
    ],
)
def test_bad_requests(telescope, plasma, keywords, message):
    with pytest.raises(InputError, match=message):
        FoldedTemplates.build(telescope, plasma, band=BAND, **keywords)


def test_a_model_without_flux_is_refused():
    model = Model("gaussian", LineE=1.0, Sigma=1e-3)
    with pytest.raises(InputError, match="emits nothing"):
        node_spectra(model, np.array([20.0, 30.0, 40.0]), free=("norm",))


def test_bad_values(templates):
    with pytest.raises(InputError, match="kT outside the nodes"):
        templates.counts(kT=100.0, norm=1.0, Abundanc=0.3)
    with pytest.raises(InputError, match="no value for norm"):
        templates.counts(kT=1.0, Abundanc=0.3)
    with pytest.raises(UnknownNameError, match="norm"):
        templates.counts(kT=1.0, nrom=1.0)


@pytest.mark.parametrize("modifier", [Grey(), BSpline(knots=6)])
def test_linear_modifiers_are_folded_once(telescope, templates, modifier):
    tables = templates.linear_in(modifier)
    theta = np.linspace(-0.1, 0.2, len(modifier.names)) + np.array(modifier.null)
    ours = templates.counts(tables.at(theta), kT=KT, norm=1.0, Abundanc=0.3)
    expected = templates.counts(
        templates.folded(modifier.factor(templates.energy, theta)), kT=KT, norm=1.0, Abundanc=0.3
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    assert LinearTables.pays(templates.nodes, templates.matrix, modifier)


def test_other_modifiers_are_not(templates):
    assert not LinearTables.pays(templates.nodes, templates.matrix, Gaussian())
    with pytest.raises(InputError, match="not linear"):
        templates.linear_in(Gaussian())
