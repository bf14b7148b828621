import matplotlib as mpl
import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.plot import COLOURS, band, corner, describe_axes, envelope, figure, quantile_band, save_figures, styled


def test_bands_contain_their_probability(rng):
    low, high = quantile_band(rng.normal(size=(20000, 2)), 0.95)
    np.testing.assert_allclose(high, 1.96, atol=0.06)  # sd of that quantile from 20000 draws: 0.019
    np.testing.assert_allclose(low, -1.96, atol=0.06)


def test_curves_with_bands_are_drawn(rng):
    fig = figure()
    axes = fig.subplots()
    band(axes, [1, 2, 3], rng.normal(size=(50, 3)), colour=COLOURS["after"], label="x")
    envelope(axes, [1, 2, 3], [0, 1, 2], [1, 1, 1], colour=COLOURS["before"], label="y")
    assert len(axes.collections) == 4
    assert [t.get_text() for t in axes.get_legend_handles_labels()[0] and axes.legend().get_texts()] == [
        "x (68, 95 %)",
        "y (68, 95 %)",
    ]


def test_corner_has_a_panel_for_each_pair_and_marks_truth_and_limits(rng):
    draws = rng.normal(size=(2000, 3))
    fig = corner(draws, ["a", "b", "c"], truth={"a": 0.1, "b": 99.0}, limits={"c": (-1.0, 50.0)}, title="t")
    panels = [axes for axes in fig.axes if axes.axison]
    assert len(panels) == 6
    # a's truth: one line in each panel of its column; b's truth and c's upper limit lie outside.
    assert len(fig.axes[0].lines) == 2
    assert len(fig.axes[6].lines) == 2


def test_corner_of_constants_and_few_draws_does_not_fail():
    panels = [axes for axes in corner(np.ones((10, 2)), ["a", "b"]).axes if axes.axison]
    assert len(panels) == 3


def test_corner_refuses_what_it_cannot_draw():
    with pytest.raises(InputError, match="expected \\(n_draws, 2\\)"):
        corner(np.zeros((5, 3)), ["a", "b"])
    with pytest.raises(InputError, match="at most 12"):
        corner(np.zeros((5, 13)), [str(k) for k in range(13)])


def test_the_style_does_not_leak():
    before = mpl.rcParams["font.size"], mpl.rcParams["axes.grid"]

    @styled
    def draw():
        return mpl.rcParams["axes.grid"]

    assert draw()
    assert (mpl.rcParams["font.size"], mpl.rcParams["axes.grid"]) == before


def test_figures_are_saved_and_described(tmp_path):
    fig = figure()
    axes = fig.subplots(1, 3)
    axes[1].set_axis_off()
    axes[2].set_yscale("symlog")
    paths = save_figures({"f": fig}, tmp_path / "new", formats=("png",))
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert len(describe_axes(fig)) == 1


def test_a_notebook_shows_a_figure_without_pyplot():
    from crosscal.plot import figure

    fig = figure(3.0, 2.0)
    fig.subplots().plot([0, 1], [1, 2])
    picture = fig._repr_png_()
    assert picture.startswith(b"\x89PNG")
    width = int.from_bytes(picture[16:20], "big")
    assert width == 330  # 3 inches at the 110 dots an inch of the project's look


def test_log_axis_has_plain_labels_inside_its_limits():
    from crosscal.plot import figure, log_axis

    axes = figure(3, 2).subplots()
    for low, high, labels in ((0.5, 8.0, "0.5 0.7 1 2 3 5 7"), (0.05, 60.0, "0.1 1 10")):
        log_axis(axes, low, high)
        assert axes.get_xlim() == (low, high)
        assert " ".join(t.get_text() for t in axes.get_xticklabels()) == labels


def test_instruments_are_told_apart():
    from crosscal.plot import INSTRUMENT_COLOURS, instrument_style

    looks = [tuple(instrument_style(k).values()) for k in range(49)]
    assert len(set(looks)) == 49
    assert looks[0] != looks[len(INSTRUMENT_COLOURS)]
    assert looks[0] == tuple(instrument_style(49).values())


def test_a_legend_below_fits_the_width_and_hides_nothing():
    from matplotlib.lines import Line2D

    from crosscal.plot import legend_below

    fig = figure(7.0, 4.0)
    axes = fig.subplots()
    legend_below(fig, [])
    assert not fig.legends
    legend_below(fig, [Line2D([], [], label=f"a long name of instrument {k}") for k in range(13)])
    fig.draw_without_rendering()
    box, panel = fig.legends[0].get_window_extent(), axes.get_window_extent()
    assert box.y1 <= panel.y0
    assert box.x0 >= 0
    assert box.x1 <= fig.bbox.x1


def test_densities_are_smooth_and_keep_their_probability(rng):
    """A few thousand draws of a normal: one peak, 68 % inside the inner contour's level."""
    x, y = rng.normal(size=(2, 3000))
    fig = corner(np.stack([x, 0.98 * x + 0.2 * y], axis=1), ["a", "b"])
    curve = fig.axes[0].lines[0].get_ydata()
    turns = np.sum(np.diff(np.sign(np.diff(curve[curve > 0.05 * curve.max()]))) != 0)
    assert turns == 1
    # The contour of a correlated pair is not widened: its height at a = 0 is that of the conditional, within 25 %.
    paths = [c.get_paths() for c in fig.axes[2].collections]
    inner = max((p for group in paths for p in group), key=lambda p: len(p.vertices))
    points = inner.vertices[np.abs(inner.vertices[:, 0]) < 0.1]
    half = np.ptp(points[:, 1]) / 2
    assert 1.2 * 0.2 < half < 2.45 * 0.2 * 1.25 + 0.98 * 0.1


#: Names that mathematical typesetting, legends, SVG or an encoding could stumble over.
ODD_NAMES = (
    "$x_{$", "$$", "$", "$\\sqrt$", "$\\unknown{x}$", "a_b^c", "100 %", "<b>&amp;", "\\alpha{", "_hidden", "\x01\x00",
    "two\nlines", "\udcff", "\u2028", "\ufffe", "µ ☃", "", " ",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_drawn_as_it_is(name, tmp_path):
    """As a title, a label, in a legend and at a tick, on linear and logarithmic axes; the SVG is valid XML."""
    from xml.etree import ElementTree

    from matplotlib.lines import Line2D

    from crosscal.plot import legend_below, text

    @styled
    def draw():
        fig = figure(5, 4)
        left, right = fig.subplots(1, 2)
        left.plot([0, 1], [1, 200], label=text(name))
        left.set(xlabel=name, ylabel=name, title=f"{name} against {name}", yscale="log")
        left.set_xticks([0, 1], [name, f"{name} 2"])
        right.text(0.5, 0.5, name)
        right.set(xscale="symlog", xlim=(-20, 20))
        left.legend(title=name)
        legend_below(fig, [Line2D([], [], label=text(name))])
        return fig

    fig = draw()
    paths = save_figures({"f": fig}, tmp_path)
    shown = "".join(ElementTree.parse(paths[1]).getroot().itertext())
    legible = " ".join(
        name.replace("\udcff", "\\xff").split("\n")[0].replace("\x01\x00", "").replace("\u2028", "").split()
    )
    assert legible.replace("\ufffe", "") in " ".join(shown.split())
    assert "mathdefault" not in shown
    assert "10²" in shown
    legend = fig.axes[0].get_legend()
    assert len(legend.get_texts()) == (1 if name else 0)


def test_the_same_figure_is_the_same_file(tmp_path):
    @styled
    def draw():
        fig = figure(3, 2)
        axes = fig.subplots()
        axes.plot([1, 2], [3, 1000], label="a")
        axes.set_yscale("log")
        axes.legend()
        return fig

    for folder in ("one", "two"):
        save_figures({"f": draw()}, tmp_path / folder)
    for kind in ("svg", "png"):
        first, second = ((tmp_path / folder / f"f.{kind}").read_bytes() for folder in ("one", "two"))
        assert first == second
        assert b"dc:date" not in first


def test_labels_of_logarithmic_axes_are_plain():
    fig = styled(figure)(3, 2)
    axes = fig.subplots()
    axes.set_yscale("log")
    for low, high, labels in ((0.5, 2000, "10⁻¹ 10⁰ 10¹ 10² 10³ 10⁴"), (2.0, 7.0, "2×10⁰ 3×10⁰ 4×10⁰ 6×10⁰")):
        axes.set_ylim(low, high)
        fig.draw_without_rendering()
        found = [t.get_text() for which in ("major", "minor") for t in axes.get_yticklabels(which=which)]
        assert set(labels.split()) <= set(found)
    axes.set_yscale("symlog")
    axes.set_ylim(-200, 200)
    fig.draw_without_rendering()
    assert {"\u221210²", "0", "10²"} <= {t.get_text() for t in axes.get_yticklabels()}
