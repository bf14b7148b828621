"""What a result remembers of its frame, and how the frame itself is read again: results do not keep spectra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.display import brief
from crosscal.core.errors import InputError
from crosscal.fluxcal.frames.reading import read_frame
from crosscal.fluxcal.frames.red import retyped
from crosscal.fluxcal.types import Fibres, Frame


@dataclass(frozen=True, eq=False)
class FrameFile:
    """A file and how it is read.

    ``targets`` are numbers (0-based) of standards that are calibrated as targets; ``types`` are pairs of a number (from
    1) and the type that a fibre has instead of the file's; ``layout`` is its name, where it is not to be recognised.
    """

    path: Path
    exposure: float | None = None
    airmass: float | None = None
    medium: str | None = None
    wavela: str = "rebuild"
    targets: tuple[int, ...] = ()
    types: tuple[tuple[int, str], ...] = ()
    layout: str | None = None

    __repr__ = brief

    def read(self) -> Frame:
        """Read the frame."""
        frame = read_frame(
            self.path, exposure=self.exposure, airmass=self.airmass, medium=self.medium, wavela=self.wavela,
            layout=self.layout,
        )  # fmt: skip
        for number, kind in self.types:
            if not 1 <= number <= len(frame.fibres):
                raise InputError(
                    f"FIB{number} = {kind!r}", where=str(self.path), expected=f"fibres 1 to {len(frame.fibres)}"
                )
            frame = retyped(frame, [number - 1], kind)
        if self.types:
            frame = replace(
                frame, notes=(*frame.notes, f"{len(self.types)} fibre types were given as FIB<n> arguments")
            )
        return retyped(frame, np.array(self.targets, dtype=int), "P") if self.targets else frame


@dataclass(frozen=True, eq=False)
class FrameInfo:
    """A frame without its spectra: name, grid (n_pix,), fibres, exposure in s, airmass, mjd, medium, notes."""

    name: str
    grid: NDArray[np.float64]
    fibres: Fibres
    exposure: float
    airmass: float
    mjd: float
    medium: str
    notes: tuple[str, ...] = ()
    file: FrameFile | None = None

    __repr__ = brief

    @classmethod
    def of(cls, frame: Frame, file: FrameFile | None = None) -> FrameInfo:
        """What to remember of a frame."""
        return cls(
            frame.name, frame.grid, frame.fibres, frame.exposure, frame.airmass, frame.mjd, frame.medium,
            frame.notes, file,
        )  # fmt: skip

    def at(self, file: FrameFile) -> FrameInfo:
        """The same frame, whose file lies elsewhere now."""
        return replace(self, file=file)
