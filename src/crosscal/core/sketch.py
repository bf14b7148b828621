"""A small line drawing as SVG, for values in notebooks: no plotting package is needed, and dark pages are fine."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

#: Size of the drawing and its margins, in pixels.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 440, 190, 70, 40, 10
#: More points than this cannot be seen.
MOST = 600


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is drawn: y against x, both of shape (n,), with labels that hold their units.

    Attributes
    ----------
    x, y : array (n,)
    x_label, y_label : str
    points : bool
        Dots instead of a line.
    log : bool
        Both axes logarithmic; values that are not positive are left out.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_label: str
    y_label: str
    points: bool = False
    log: bool = False

    def svg(self) -> str:
        """Return the drawing, empty where there are no two finite points."""
        x, y = (np.asarray(v, dtype=float) for v in (self.x, self.y))
        good = np.isfinite(x) & np.isfinite(y)
        if self.log:
            good &= (x > 0) & (y > 0)
        x, y = x[good], y[good]
        if x.size < 2:
            return ""
        step = -(-x.size // MOST)
        u, v = (_placed(np.log(values) if self.log else values)[::step] for values in (x, y))
        u, v = LEFT + u * (WIDTH - LEFT - 10), HEIGHT - BOTTOM - v * (HEIGHT - BOTTOM - TOP)
        pairs = [f"{a:.1f},{b:.1f}" for a, b in zip(u, v, strict=True)]
        if self.points:
            inner = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.8"/>' for a, b in zip(u, v, strict=True))
            curve = f'<g fill="currentColor" fill-opacity="0.6">{inner}</g>'
        else:
            curve = f'<polyline points="{" ".join(pairs)}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        return (
            f'<svg role="img" aria-label="{escape(self.y_label)} against {escape(self.x_label)}" width="{WIDTH}" '
            f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="11" font-family="sans-serif" '
            f'style="max-width: 100%">'
            f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - 10}" height="{HEIGHT - BOTTOM - TOP}" fill="none" '
            f'stroke="currentColor" stroke-opacity="0.4"/>{curve}<g fill="currentColor">{self._words(x, y)}</g></svg>'
        )

    def _words(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
        base = HEIGHT - BOTTOM
        middle = (TOP + base) / 2
        places = [
            (LEFT, base + 14, "start", _number(x.min())),
            (WIDTH - 10, base + 14, "end", _number(x.max())),
            ((LEFT + WIDTH) / 2, base + 30, "middle", escape(self.x_label)),
            (LEFT - 4, base, "end", _number(y.min())),
            (LEFT - 4, TOP + 9, "end", _number(y.max())),
        ]
        words = "".join(f'<text x="{a:g}" y="{b:g}" text-anchor="{c}">{d}</text>' for a, b, c, d in places)
        turned = f'<text x="12" y="{middle:g}" text-anchor="middle" transform="rotate(-90 12 {middle:g})">'
        return f"{words}{turned}{escape(self.y_label)}</text>"


def _placed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between 0 and 1; a constant lies in the middle."""
    low, spread = values.min(), np.ptp(values)
    return (values - low) / spread if spread > 0 else np.full(values.shape, 0.5)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\u2212")
