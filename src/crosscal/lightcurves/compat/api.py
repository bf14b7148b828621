"""PyCALI's way of working: ``Config().setup(...)``, then ``Cali(cfg).mcmc()`` and its outputs.

cfg = Config()
cfg.setup(fcont="ngc5548_cont.txt", fline=["ngc5548_line.txt"], nmcmc=10000)
cali = Cali(cfg, directory="run")
cali.mcmc()
cali.get_best_params()
cali.output()
cali.recon()
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.files import atomic_path, write_text
from crosscal.core.progress import SILENT, Progress
from crosscal.lightcurves.compat.options import Options, data_path, read_param_file
from crosscal.lightcurves.compat.outputs import factor_text, param_text, write_pycali_outputs
from crosscal.lightcurves.formats.pycali import read_pycali
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.reconstruction import Reconstruction
from crosscal.lightcurves.result import Intercalibration


class Config:
    """Options of a run, from a parameter file or from `setup`."""

    def __init__(self, param_file: str | os.PathLike[str] | None = None) -> None:
        self.param_file = None if param_file is None else Path(param_file)
        self.options = Options() if param_file is None else read_param_file(param_file)

    def setup(self, **arguments: Any) -> None:
        """Set options by the argument names of PyCALI; its ``setup()`` defaults are nmcmc = 2000, ptol = 0.7."""
        self.options = Options.setup(**{"nmcmc": 2000, "ptol": 0.7, **arguments})

    def print_cfg(self) -> str:
        """Return the options as ``key = value`` lines (PyCALI prints them)."""
        return param_text(self.options)


class Cali:
    """A run with PyCALI's steps; everything is written below ``directory``."""

    def __init__(
        self, config: Config, *, directory: str | os.PathLike[str] = ".", seed: int = 0, progress: Progress = SILENT
    ) -> None:
        o = config.options
        if not o.fcont:
            raise InputError("no continuum file", where="Config", expected="setup(fcont=...)")
        beside = config.param_file or Path(o.fcont)
        paths = [data_path(name, beside) for name in (o.fcont, *o.fline)]
        self.options, self.directory, self.seed, self.progress = o, Path(directory), seed, progress
        self.curves = read_pycali(paths[0], paths[1:])
        self._result: Intercalibration | None = None

    @property
    def result(self) -> Intercalibration:
        """The result, once `mcmc` has run."""
        if self._result is None:
            raise InputError("nothing has been sampled", where="Cali", expected="a call of mcmc() first")
        return self._result

    def mcmc(self) -> None:
        """Sample the posterior; nothing is written yet."""
        draws = int(np.clip(self.options.nmcmc, 500, 20000))
        settings = self.options.settings(self.curves)
        self._result = intercalibrate(
            self.curves, settings=settings, draws=draws, seed=self.seed, progress=self.progress
        )

    def get_best_params(self) -> Path:
        """Write ``data/factor.txt`` and return its path."""
        return write_text(self.directory / "data" / "factor.txt", factor_text(self.result))

    def output(self) -> list[Path]:
        """Write all text outputs and return their paths."""
        return write_pycali_outputs(self.result, self.directory, self.options)

    def recon(self) -> list[Reconstruction]:
        """Return the reconstruction of each file (`output` has written them)."""
        return [self.result.reconstruct(file=i) for i in range(len(self.curves.files))]

    def get_norm_cont(self) -> NDArray[np.float64]:
        """Return the divisors of the continuum, per code."""
        return self.result.model.norm.factors[0].copy()

    def get_norm_line(self, i: int) -> NDArray[np.float64]:
        """Return the divisors of line ``i`` (0-based), per code."""
        return self.result.model.norm.factors[1 + i].copy()


def plot_results(cali: Cali) -> Path:
    """Write ``PyCALI_results.pdf``: the figures of the run, one a page (no LaTeX needed)."""
    return _book(cali.directory / "PyCALI_results.pdf", cali.result.figures())


def simple_plot(cali: Cali) -> Path:
    """Write ``PyCALI_simple.pdf``: each light curve as measured, and calibrated with the reconstruction."""
    from crosscal.lightcurves.figures import light_curve

    pages = {curve.name: light_curve(cali.result, i) for i, curve in enumerate(cali.curves.files)}
    return _book(cali.directory / "PyCALI_simple.pdf", pages)


def _book(path: Path, figures: Mapping[str, Any]) -> Path:
    from matplotlib.backends.backend_pdf import PdfPages

    with atomic_path(path) as temporary, PdfPages(temporary) as book:
        for figure in figures.values():
            book.savefig(figure)
    return path
