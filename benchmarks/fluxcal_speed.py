"""Speed of a whole calibration: 20 stars x 5000 templates x 4000 pixels from a warm binary cache, beside a naive loop;
frames of 500 and 5000 fibres; a night of frames in files.
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


def frame_of(n_fibres: int, n_stars: int, n_pixels: int, seed: int = 3):
    """A simulated frame and its catalogue; its targets are copies of twenty."""
    catalogue, frames = arms_of(n_fibres, n_stars, [slice(0, n_pixels)], seed)
    return catalogue, frames[0]


def arms_of(n_fibres: int, n_stars: int, cuts: list[slice], seed: int = 3):
    """Frames of one exposure that are these pixels of one simulation, and their catalogue."""
    from dataclasses import replace

    from crosscal.fluxcal.demo import simulate
    from crosscal.fluxcal.types import Fibres

    truth = simulate(n_stars=n_stars, n_targets=20, n_pixels=cuts[-1].stop, seed=seed)
    rows = np.concatenate([np.arange(n_stars), n_stars + np.arange(n_fibres - n_stars) % 20])
    table, frame = truth.frame.fibres, truth.frame
    fibres = Fibres(*(getattr(table, key)[rows] for key in ("name", "ra", "dec", "x", "y", "type")))
    return truth.catalogue, [
        replace(
            frame, flux=frame.flux[:, cut][rows], variance=frame.variance[:, cut][rows], wavelength=frame.grid[cut],
            fibres=fibres,
        )
        for cut in cuts
    ]  # fmt: skip


def three_arms(n_fibres: int, n_stars: int, goal: float | None) -> Record:
    """CPU-seconds of three arms of one exposure that are calibrated together, calibrated spectra included."""
    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.demo import demo_filters, demo_library
    from crosscal.fluxcal.night.arms import calibrate_arms
    from crosscal.fluxcal.options import Options

    cuts = [slice(k * 2625, k * 2625 + 2750) for k in range(3)]
    catalogue, frames = arms_of(n_fibres, n_stars, cuts)
    library, filters, options = demo_library(), demo_filters(), Options(fwhm=5.0, ebv=0.02, position=False)

    def work():
        results = calibrate_arms(Calibrator(catalogue, library, filters, options), frames)
        assert all(r.curve is not None for r in results)
        for result in results:
            result.apply()  # one after another, as they are written

    cpu, _ = cpu_seconds(work)
    judged = {} if goal is None else {"goal": f"<= {goal:g}", "passed": bool(cpu <= goal)}
    size = f"{n_fibres} fibres, {n_stars} standards, three arms of 2750 pixels, with leave-one-star-out"
    return Record(size, "fluxcal", cpu, "CPU-s", **judged)


def large_frames(quick: bool) -> list[Record]:
    """CPU-seconds of whole frames, without and with leave-one-star-out, calibrated spectra included."""
    from dataclasses import replace

    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.demo import demo_filters, demo_library
    from crosscal.fluxcal.options import Options

    made = []
    for n_fibres, n_stars, goals in ((500, 12, (None, None)), (5000, 120, (8.0, 10.0))):
        if quick and n_fibres > 500:
            continue
        catalogue, frame = frame_of(n_fibres, n_stars, 2750)
        own_grids = replace(frame, wavelength=frame.grid * (1 + 1e-5 * np.arange(n_fibres)[:, None] / n_fibres))
        library, options = demo_library(), Options(fwhm=5.0, ebv=0.02)

        def work(loo: bool, catalogue=catalogue, frame=frame, library=library, options=options):
            result = Calibrator(catalogue, library, demo_filters(), options).calibrate(frame, loo=loo)
            return result, result.apply()

        size = f"{n_fibres} fibres, {n_stars} standards, 2750 pixels"
        for loo, goal in zip((False, True), goals, strict=True):
            cpu, (result, _) = cpu_seconds(lambda loo=loo, work=work: work(loo))
            name = f"{size}{', with leave-one-star-out' if loo else ''}"
            judged = {} if goal is None else {"goal": f"<= {goal:g}", "passed": bool(cpu <= goal)}
            made.append(Record(name, "fluxcal", cpu, "CPU-s", **judged))
        shared, _ = cpu_seconds(result.apply)
        own, _ = cpu_seconds(lambda result=result, frame=own_grids: result.apply(frame))
        made.append(
            Record(
                f"curve applied to {n_fibres} fibres with grids of their own", "fluxcal", own, "CPU-s", "one grid",
                shared, own / shared,
            )
        )  # fmt: skip
    return made


def night(frames: int) -> list[Record]:
    """CPU-seconds and memory of a job of many frames of 392 fibres, read, calibrated and written one by one."""
    import os
    import subprocess
    import sys

    from crosscal.core.files import write_ecsv
    from crosscal.fluxcal.demo import demo_filters
    from crosscal.fluxcal.frames.reading import write_frame

    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        from astropy.table import Table, vstack

        tables = []
        for k in range(5):
            catalogue, frame = frame_of(392, 12, 2048, seed=20 + k)
            write_frame(directory / f"base{k}.fits", frame)
            stars = {"name": [f"{n}-{k}" for n in catalogue.name], "ra": catalogue.ra, "dec": catalogue.dec}
            tables.append(Table(stars | dict(zip(catalogue.bands, catalogue.magnitude.T, strict=True))))
        write_ecsv(directory / "stars.ecsv", vstack(tables))
        for k in range(frames):
            os.link(directory / f"base{k % 5}.fits", directory / f"frame{k:03d}.fits")
        for band in demo_filters():
            np.savetxt(directory / f"{band.name}.dat", np.column_stack([band.wavelength, band.response]))
        names = [band.name for band in demo_filters()]
        bands = ", ".join(f'{name} = "{name}"' for name in names)
        files = [f"{name}.dat" for name in names]
        lines = [
            'job = "fluxcal"', 'output = "out"', "[data]", 'frames = "frame*.fits"', "[catalogue]",
            'path = "stars.ecsv"', f"bands = {{ {bands} }}", "[filters]", f"files = {files}", "[templates]",
            'library = "demo"', "[method]", "fwhm = 5.0", "ebv = 0.02",
        ]  # fmt: skip
        (directory / "night.toml").write_text("\n".join(lines) + "\n")
        code = (
            "import resource, sys; from crosscal.cli.main import main\n"
            "try: main(['run', 'night.toml'])\n"
            "except SystemExit: pass\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        cpu, done = cpu_seconds(
            lambda: subprocess.run(
                [sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=True
            )
        )
    memory = float(done.stdout.split()[-1]) / 1e6
    size, whole = f"job of {frames} frames of 392 fibres and 12 standards, files written", frames == 100
    return [
        Record(
            size, "fluxcal", cpu, "CPU-s", goal="<= 120" if whole else "",
            passed=bool(cpu <= 120) if whole else None,
        ),
        Record(
            f"{size}: memory", "fluxcal", memory, "GB", goal="<= 1.5" if whole else "",
            passed=bool(memory <= 1.5) if whole else None,
        ),
    ]  # fmt: skip


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
        *large_frames(quick),
        three_arms(500, 12, None) if quick else three_arms(5000, 120, 25.0),
        *night(3 if quick else 100),
    ]  # fmt: skip
