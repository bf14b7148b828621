"""Make the two built-in example telescopes: synthetic, physically plausible, free to ship.

    python tools/make_example_telescopes.py [directory]

Telescope A resembles a front-illuminated CCD behind a small sharp mirror, telescope B a thick back-illuminated
CCD behind a large mirror. Neither describes a real instrument. Each ingredient has a formula below; the numbers
were chosen so that areas, edges and resolutions look like those of today's missions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.special import erf, erfc

from crosscal.xray.instrument.ogip_write import write_arf, write_rmf
from crosscal.xray.instrument.response import Response

HERE = Path(__file__).resolve().parents[1] / "src" / "crosscal" / "datasets" / "data" / "xray"

PAIR_ENERGY = 3.65e-3  # keV per electron-hole pair in silicon
FANO = 0.115  # Fano factor of silicon
SILICON_EDGE, SILICON_LINE = 1.839, 1.740  # keV: K edge, K alpha line that escapes


@dataclass(frozen=True)
class Design:
    """The numbers that make a telescope."""

    name: str
    area: float  # cm2, of the mirror at low energy
    cutoff: float  # keV, where reflectivity falls
    steepness: float
    mirror_edges: tuple[tuple[float, float], ...]  # (keV, relative drop) of the coating's M edges
    layers: tuple[tuple[float, float, float], ...]  # (edge in keV, optical depth above it, jump) of filters
    thickness: float  # optical depth of the active silicon just above the Si K edge
    dead: float  # optical depth of the dead silicon layer just above the Si K edge
    noise: float  # keV, electronic noise (sigma)
    degradation: float  # keV at 1 keV, broadening from charge loss (sigma, proportional to sqrt(E))
    shelf: float  # share of events in the flat shelf at 1 keV
    tail: tuple[float, float]  # share and length (keV) of the exponential tail
    escape: float  # share of events in the escape peak just above the Si K edge
    channel_width: float
    n_channel: int
    first_channel: int
    energy_edges: np.ndarray


def optical_depth(energy: np.ndarray, edge: float, above: float, jump: float) -> np.ndarray:
    """Photoabsorption as E^-2.9 on either side of one edge, ``jump`` times deeper above it."""
    return np.where(energy >= edge, above, above / jump) * (energy / edge) ** -2.9


def effective_area(design: Design, energy: np.ndarray) -> np.ndarray:
    """Mirror x filters x quantum efficiency, cm2."""
    mirror = design.area / (1 + (energy / design.cutoff) ** design.steepness)
    for edge, drop in design.mirror_edges:
        recovery = np.exp(-np.maximum(energy - edge, 0) / 1.5)
        mirror = mirror * (1 - drop * np.where(energy >= edge, recovery, 0.0))
    depth = sum(optical_depth(energy, *layer) for layer in design.layers)
    silicon = optical_depth(energy, SILICON_EDGE, 1.0, 11.0)
    efficiency = np.exp(-design.dead * silicon) * -np.expm1(-design.thickness * silicon)
    return mirror * np.exp(-depth) * efficiency


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + erf(x / np.sqrt(2)))


def tail_cdf(x: np.ndarray, sigma: float, length: float) -> np.ndarray:
    """Return the CDF at x of a normal (0, sigma) minus an exponential of mean ``length``."""
    shifted = normal_cdf(x / sigma)
    exponent = np.minimum(x / length + 0.5 * (sigma / length) ** 2, 600.0)
    return shifted + np.exp(exponent) * 0.5 * erfc((x / sigma + sigma / length) / np.sqrt(2))


def redistribution(design: Design, energy: np.ndarray, channel_edges: np.ndarray) -> np.ndarray:
    """Return P(channel | energy), shape (n_channel, n_energy)."""
    columns = []
    for e in energy:
        sigma = np.sqrt(design.noise**2 + FANO * PAIR_ENERGY * e + design.degradation**2 * e)
        tail_share, tail_length = design.tail
        tail = tail_share * np.sqrt(0.5 / max(e, 0.5)) if e > 0 else 0.0
        shelf = min(design.shelf / e, 0.05)
        escape = design.escape * (e / SILICON_EDGE) ** -1.5 if e > SILICON_EDGE else 0.0
        peak = 1 - tail - shelf - escape
        x = channel_edges - e
        cdf = peak * normal_cdf(x / sigma) + tail * tail_cdf(x, sigma, tail_length)
        cdf += shelf * np.clip(channel_edges / e, 0, 1)
        cdf += escape * normal_cdf((x + SILICON_LINE) / sigma)
        column = np.diff(cdf)
        column[column < 1e-6] = 0.0
        columns.append(column)
    matrix = np.array(columns).T
    # Ten bits of mantissa: a millionth of the peak is noise, and files compress four times better.
    mantissa, exponent = np.frexp(matrix)
    return np.ldexp(np.round(mantissa * 2**10) / 2**10, exponent)


def telescope(design: Design) -> Response:
    """Build the response."""
    lo, hi = design.energy_edges[:-1], design.energy_edges[1:]
    energy = 0.5 * (lo + hi)
    channels = design.channel_width * np.arange(design.n_channel + 1)
    matrix = redistribution(design, energy, channels)
    return Response(
        *(np.float32(a) for a in (lo, hi, effective_area(design, energy))), csr_array(matrix),
        np.float32(channels[:-1]), np.float32(channels[1:]), first_channel=design.first_channel, name=design.name,
        mission={"TELESCOP": "EXAMPLE", "INSTRUME": design.name.upper(), "FILTER": "none"},
    )  # fmt: skip


DESIGNS = (
    Design(
        name="example_a", area=700.0, cutoff=6.3, steepness=4.6,
        mirror_edges=((2.04, 0.12), (2.09, 0.10), (2.29, 0.06)),
        layers=((0.284, 1.6, 18.0), (0.543, 0.35, 16.0), (0.697, 0.06, 14.0), (1.560, 0.09, 12.0)),
        thickness=55.0, dead=0.08, noise=0.018, degradation=0.020, shelf=0.004, tail=(0.04, 0.10), escape=0.018,
        channel_width=0.02, n_channel=540, first_channel=1,
        energy_edges=np.concatenate([np.arange(0.20, 2.99, 0.015), np.linspace(2.99, 10.49, 301)]),
    ),
    Design(
        name="example_b", area=1450.0, cutoff=8.2, steepness=4.2,
        mirror_edges=((2.21, 0.14), (2.29, 0.08), (2.74, 0.04)),
        layers=((0.284, 0.35, 18.0), (0.543, 0.15, 16.0), (1.560, 0.12, 12.0)),
        thickness=220.0, dead=0.02, noise=0.020, degradation=0.025, shelf=0.006, tail=(0.10, 0.06), escape=0.012,
        channel_width=0.025, n_channel=480, first_channel=0,
        energy_edges=np.concatenate([np.arange(0.15, 3.0, 0.016), np.linspace(3.0, 11.5, 284)]),
    ),
)  # fmt: skip


def main(directory: Path) -> None:
    """Write all telescopes into ``directory`` and say how large the files are."""
    for design in DESIGNS:
        response = telescope(design)
        history = f"Synthetic telescope {design.name} made by tools/make_example_telescopes.py; not a real instrument"
        files = [
            write_rmf(directory / f"{design.name}.rmf.gz", response, history=history, single=True),
            write_arf(directory / f"{design.name}.arf", response, history=history, single=True),
        ]
        for file in files:
            print(f"{file} {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
