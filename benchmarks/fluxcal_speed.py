"""Speed of a whole calibration: 20 stars x 5000 templates x 4000 pixels from a warm binary cache,
beside a naive loop.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.record import Record, cpu_seconds, wall_seconds


def library_of(n_templates: int):
    """A library of invented templates on a grid of Teff, log g and [M/H], with about ``n_templates`` members."""
    from crosscal.fluxcal.demo import demo_spectrum
    from crosscal.fluxcal.stars.resample import log_grid
    from crosscal.fluxcal.stars.templates import TemplateLibrary

    wave = log_grid(3650.0, 9300.0, 2.0e-4)
    n_teff = max(n_templates // 100, 2)
    nodes = [
        (t, g, m)
        for t in np.linspace(5500.0, 7000.0, n_teff)
        for g in np.linspace(3.5, 5.0, 5)
        for m in np.linspace(-2.5, 0.3, 20)
    ]
    flux = np.empty((len(nodes), wave.size), dtype=np.float32)
    for row, node in zip(flux, nodes, strict=True):
        spectrum = demo_spectrum(wave, *node)
        row[:] = spectrum / spectrum.mean()
    return TemplateLibrary("speed", wave, flux, np.array(nodes), tuple(str(k) for k in range(len(nodes))))


def naive(prepared, data, weight, position, x, n_terms: int, templates) -> np.ndarray:
    """One template and one star at a time, with an explicit least squares for the continuum."""
    from crosscal.fluxcal.stars.score import fit_continuum

    grid = np.arange(prepared.wavelength.size)
    chi2 = np.empty((len(data), len(templates)))
    for s in range(len(data)):
        for j, t in enumerate(templates):
            model = np.interp(position[s], grid, prepared.flux[t].astype(float))
            best = fit_continuum(model, data[s], weight[s], x[s], n_terms)
            chi2[s, j] = np.sum(weight[s] * (data[s] - best) ** 2)
    return chi2


def records(quick: bool) -> list[Record]:
    """CPU-seconds of all steps, of the scores alone, and of a naive loop (a sample of templates, scaled)."""
    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.demo import demo_filters, simulate
    from crosscal.fluxcal.options import Options
    from crosscal.fluxcal.stars.score import score_templates, unit_interval
    from crosscal.fluxcal.stars.template_files import read_cache, write_cache

    n_templates, n_stars, n_pixels = (1000, 10, 2000) if quick else (5000, 20, 4000)
    truth = simulate(n_stars=n_stars, n_targets=10, n_pixels=n_pixels, seed=5)
    options = Options(fwhm=5.0, ebv=0.02)
    with tempfile.TemporaryDirectory() as directory:
        slot = Path(directory) / "speed"
        write_cache(library_of(n_templates), slot)
        small = Calibrator(truth.catalogue, read_cache(slot).take(np.arange(50)), demo_filters(), options)
        small.calibrate(truth.frame, loo=False)  # compiles the solver and imports what is imported late

        def everything():
            calibrator = Calibrator(truth.catalogue, read_cache(slot), demo_filters(), options)
            result = calibrator.calibrate(truth.frame, loo=False)
            result.apply()
            return calibrator, result

        cpu, (calibrator, result) = cpu_seconds(everything)
        wall, _ = wall_seconds(everything)
        with_loo, _ = cpu_seconds(lambda: calibrator.calibrate(truth.frame, loo=True))
        prepared = calibrator.prepared(truth.frame)
        rows = np.array([s.fibre for s in result.stars])
        data = np.where(truth.frame.good[rows], truth.frame.flux[rows], 0.0)
        weight = np.where(
            truth.frame.good[rows], 1 / np.where(truth.frame.good[rows], truth.frame.variance[rows], 1), 0
        )
        wave = truth.frame.wavelength[rows]
        x = unit_interval(wave, wave.min(), wave.max())
        position = np.interp(wave, prepared.wavelength, np.arange(prepared.wavelength.size, dtype=float))
        fast, scores = cpu_seconds(lambda: score_templates(prepared.flux, data, weight, x, 12, position))
        sample = np.linspace(0, len(prepared.flux) - 1, 25).astype(int)
        slow, loop = cpu_seconds(lambda: naive(prepared, data, weight, position, x, 12, sample))
        slow *= len(prepared.flux) / sample.size
        worst = float(np.nanmax(np.abs(scores[:, sample] - loop) / loop))
    size = f"{n_stars} stars x {n_templates} templates x {n_pixels} pixels"
    goal = "" if quick else "<= 3"
    return [
        Record(
            "all steps from a warm cache, two passes", "fluxcal", cpu, "CPU-s", "naive loop of chi2 alone", slow,
            slow / cpu,
            goal, None if quick else bool(cpu <= 3.0), f"{size}; {wall:.1f} s elapsed, one thread, shared cores",
        ),
        Record("calibration with leave-one-star-out, library prepared", "fluxcal", with_loo, "CPU-s", note=size),
        Record(
            "chi2 with a 12-term continuum, batched", "fluxcal", fast, "CPU-s", "naive loop", slow, slow / fast,
            note=f"loop over {sample.size} templates, scaled; largest relative difference {worst:.1e}",
        ),
    ]  # fmt: skip
