"""The calibration emulator: error on newly simulated points and speed."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.record import Record, cpu_seconds


def records(quick: bool) -> list[Record]:
    """Train on a built-in telescope and judge on newly simulated points."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from crosscal import xray
    from crosscal.core.grid import Axis

    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=("kT", "norm", "Abundanc"))
    size = (7, 25, 7, 24) if quick else (13, 43, 13, 48)
    design = xray.Gaussian.grid(
        A=(-0.2, 0.2, size[0]),
        mu=Axis("mu", np.geomspace(0.6, 7.5, size[1]), "keV", "log"),
        sigma=Axis("sigma", np.geomspace(0.3, 2.0, size[2]), "keV", "log"),
    )
    seconds, library = cpu_seconds(
        lambda: xray.build_library(
            xray.example_telescope("a"), model, design, kT=np.geomspace(1, 15, size[3]), counts=5e4, band=(0.7, 7.0)
        )
    )
    found = [Record(f"library of {np.prod(size)} points", "xray", seconds, "CPU s")]
    for kind in ("spline",):
        seconds, emulator = cpu_seconds(lambda k=kind: xray.train(library, k, fresh=0))
        check = emulator.validate(500 if quick else 2000)
        found.append(Record(f"{kind}: training", "xray", seconds, "CPU s"))
        worst = float(check.percentile_99.max())
        required = kind == "spline" and not quick
        found.append(
            Record(
                f"{kind}: 99 % error on {len(check.errors)} fresh points",
                "xray",
                worst,
                "smallest sigma",
                goal="< 0.1" if required else "",
                passed=worst < 0.1 if required else None,
                note=", ".join(f"{o} {p:.3f}" for o, p in zip(check.outputs, check.percentile_99, strict=True)),
            )
        )
        points = np.repeat(check.points, 1_000_000 // len(check.points) + 1, axis=0)[:1_000_000]
        emulator.emulator.predict(points[:20_000])
        start = time.process_time()
        emulator.emulator.predict(points)
        rate = len(points) / (time.process_time() - start)
        found.append(Record(f"{kind}: predictions", "xray", rate, "1 / CPU s", goal=">= 1e6", passed=rate >= 1e6))
    return found if quick else [*found, *perceptrons(), *two_bumps()]


def perceptrons() -> list[Record]:
    """The perceptron on the tutorial's grid and on a Sobol design of the same size, as a spline has it there."""
    from crosscal import xray

    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    limits = {"A": (-0.15, 0.15), "mu": (0.7, 5.0), "sigma": (0.5, 2.0)}
    sizes = (11, 17, 9)
    designs = {
        "grid": xray.Gaussian.grid(**{n: (*ends, k) for (n, ends), k in zip(limits.items(), sizes, strict=True)}),
        "Sobol": xray.Gaussian().scatter(int(np.prod(sizes)), method="sobol", seed=1, **limits),
    }
    found = []
    for name, design in designs.items():
        kT = np.geomspace(1.5, 14, 20)
        library = xray.build_library(xray.example_telescope("b"), model, design, kT=kT, counts=5e4, band=(0.7, 7.0))
        seconds, emulator = cpu_seconds(lambda library=library: xray.train(library, "mlp", fresh=64))
        check = emulator.validate(2000)
        worst = float(check.percentile_99.max())
        found += [
            Record(f"mlp, tutorial's {name}: training", "xray", seconds, "CPU s", goal="<= 60", passed=seconds <= 60),
            Record(
                f"mlp, tutorial's {name}: 99 % error on {len(check.errors)} fresh points",
                "xray",
                worst,
                "smallest sigma",
                goal="<= 0.3",
                passed=worst <= 0.3,
            ),
        ]
    return found


def two_bumps() -> list[Record]:
    """Two Gaussians and T, seven inputs: the kind that "auto" takes on a Sobol design of 2e4 points."""
    from crosscal import xray

    limits = {"A": (-0.15, 0.15), "mu": (0.7, 5.0), "sigma": (0.5, 2.0)}
    box = {f"{name}{k}": ends for k in (1, 2) for name, ends in limits.items()}
    library = xray.build_library(
        xray.example_telescope("b"),
        xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05),
        xray.Gaussian(n=2).scatter(1024, method="sobol", seed=1, **box),
        kT=np.geomspace(1.5, 14, 20),
        counts=5e4,
        band=(0.7, 7.0),
    )
    seconds, emulator = cpu_seconds(lambda: xray.train(library))
    kind = emulator.emulator.report["kind"]
    check = emulator.validate(2000)
    worst = float(check.percentile_99.max())
    return [
        Record("7 inputs, 2e4 points: training", "xray", seconds, "CPU s", note=f"kind chosen: {kind}"),
        Record(
            f"7 inputs, {kind}: 99 % error on {len(check.errors)} fresh points",
            "xray",
            worst,
            "smallest sigma",
            goal="<= 0.5",
            passed=worst <= 0.5 and kind == "mlp",
        ),
    ]
