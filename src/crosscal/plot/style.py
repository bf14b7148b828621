"""One look for all figures: colours that survive colour blindness and grey printing, quiet axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext

from crosscal.core.errors import encodable
from crosscal.core.files import atomic_path

P = ParamSpec("P")
R = TypeVar("R")

#: Roles used by all parts (Okabe & Ito's palette).
COLOURS = {
    "before": "#999999",
    "after": "#0072B2",
    "truth": "#D55E00",
    "trusted": "#009E73",
    "data": "#222222",
    "prior": "#CC79A7",
    "limit": "#D55E00",
}
#: Cycle for instruments, telescopes, stars: so many can be told apart, also by colour-blind readers. Each has its own
#: symbol too (`instrument_style`).
INSTRUMENT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B2A86")
INSTRUMENT_SYMBOLS = "os^DvPX"

RC: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "errorbar.capsize": 0,
    "svg.fonttype": "none",
    # Names of instruments, sources and files are drawn as they are, whatever they hold: "$", "_", "\\". A text that is
    # meant as mathematics says so by parse_math=True.
    "text.parse_math": False,
    # The same figure gives the same SVG, bit for bit.
    "svg.hashsalt": "crosscal",
}


@contextmanager
def style() -> Iterator[None]:
    """Use the project's look inside a block, whatever the host program has set."""
    with rc_context({**RC, "axes.prop_cycle": cycler(color=INSTRUMENT_COLOURS)}):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function ``draw`` that makes a figure, so that it draws in the project's look."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return wrapper


#: Characters that would break a line or make an SVG invalid, as XML does not allow them.
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def text(name: object) -> str:
    """Return a name as a label that matplotlib shows: a leading underscore would keep it out of legends.

    Everything else that a name may hold is seen to when a figure of ours is drawn.
    """
    label = str(name)
    return "\u200a" + label if label.startswith("_") else label


def _legible(label: str) -> str:
    return _CONTROLS.sub(" ", encodable(label))


class _LegibleNames(FuncFormatter):
    """Names at ticks, with what cannot be drawn replaced."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return _legible(super().__call__(x, pos))


class _PlainPowers(LogFormatterMathtext):
    """Labels 10\u207b\u00b2, 3\u00d710\u2074 of a logarithmic axis without mathematical typesetting."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if x == 0:
            return "0"
        if super().__call__(x, pos) == "":
            return ""
        decade = math.floor(math.log10(abs(x)) + 1e-9)
        factor, power = x / 10.0**decade, f"10{str(decade).translate(SUPERSCRIPTS)}"
        if abs(abs(factor) - 1) < 1e-6:
            return power if factor > 0 else f"\u2212{power}"
        return f"{factor:.3g}\u00d7{power}".replace("-", "\u2212")


def _plain(known: Any) -> Any:
    """Return what labels ticks as ``known`` does, such that the labels can be drawn."""
    if isinstance(known, LogFormatterMathtext) and not isinstance(known, _PlainPowers):
        return _PlainPowers(10.0, known.labelOnlyBase, known.minor_thresholds)
    return _LegibleNames(known.func) if type(known) is FuncFormatter else known


class NotebookFigure(Figure):
    """A figure that notebooks show by itself, and in which any name can stand.

    matplotlib's own waits for pyplot to be imported before notebooks show it, typesets what stands between dollars, and
    fails on bytes of file names that are not UTF-8.
    """

    def draw(self, renderer: Any) -> None:
        """Draw, after labels are made such that they can be drawn."""
        for axis in (axis for axes in self.axes for axis in (axes.xaxis, axes.yaxis)):
            for known, replace in (
                (axis.get_major_formatter(), axis.set_major_formatter),
                (axis.get_minor_formatter(), axis.set_minor_formatter),
            ):
                if (plain := _plain(known)) is not known:
                    replace(plain)
        for label in self.findobj(Text):
            if (legible := _legible(label.get_text())) != label.get_text():
                label.set_text(legible)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        with style():
            self.savefig(stream, format="png", dpi=RC["figure.dpi"])
        return stream.getvalue()


def figure(width: float = 7.0, height: float = 4.2, **options: Any) -> Figure:
    """Return an empty figure (``width`` x ``height`` inches) with a constrained layout; notebooks show it."""
    return NotebookFigure(figsize=(width, height), layout="constrained", **options)


def instrument_style(k: Any) -> dict[str, Any]:
    """Return colour and symbol of instrument ``k``: of any seven in a row both differ, no two of 49 share both."""
    k, n = int(k), len(INSTRUMENT_COLOURS)
    return {"color": INSTRUMENT_COLOURS[k % n], "marker": INSTRUMENT_SYMBOLS[(k + k // n) % len(INSTRUMENT_SYMBOLS)]}


def legend_below(fig: Figure, handles: Sequence[Any], width: int = 100) -> None:
    """Put one legend of ``handles`` under all panels of ``fig``, in as many columns as ``width`` characters hold."""
    if not handles:
        return
    # The symbol of an entry takes about eight characters beside its text.
    longest = max(len(str(h.get_label())) for h in handles)
    fig.legend(
        handles=list(handles), loc="outside lower center", ncols=max(1, min(len(handles), width // (longest + 8)))
    )


#: Labelled places of a logarithmic axis: each decade at these multiples.
MULTIPLES = (1, 2, 3, 5, 7)


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Make the x axis of ``axes`` logarithmic from ``low`` to ``high``, with plain numbers as labels."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    multiples = MULTIPLES if high / low < 300 else (1,)
    ticks = [m * 10.0**d for d in decades for m in multiples if low <= m * 10.0**d <= high]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()


def save_figures(
    figures: Mapping[str, Figure], directory: Path, *, formats: tuple[str, ...] = ("png", "svg")
) -> list[Path]:
    """Write each of ``figures`` as ``directory/name.format``, in all ``formats``, and return the paths."""
    paths = []
    for name, fig in figures.items():
        for kind in formats:
            path = Path(directory) / f"{name}.{kind}"
            with style(), atomic_path(path) as temporary:
                fig.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)
            paths.append(path)
    return paths


def describe_axes(fig: Figure) -> list[dict[str, Any]]:
    """Return where the panels of the drawn figure ``fig`` are (fractions of the figure) and their limits and scales.

    The report uses it to read values off a picture.
    """
    panels = []
    for axes in fig.axes:
        if not axes.get_visible() or not axes.axison:
            continue
        place = axes.get_position()
        sides = {}
        for key, limits, scale in (
            ("x", axes.get_xlim(), axes.get_xscale()),
            ("y", axes.get_ylim(), axes.get_yscale()),
        ):
            sides[key] = {"limits": [float(v) for v in limits], "scale": scale}
        if all(side["scale"] in {"linear", "log"} for side in sides.values()):
            panels.append({"box": [place.x0, place.y0, place.x1, place.y1], **sides})
    return panels
