"""Inference of phi(E): the full-spectra posterior of 60 clusters, and predicted modes."""

from __future__ import annotations

import numpy as np

from benchmarks.record import Record, cpu_seconds, wall_seconds


def records(quick: bool) -> list[Record]:
    """Sample 60 clusters x 2 telescopes x 50k counts with a 10-coefficient spline (quick: 12 clusters)."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from crosscal import xray
    from crosscal.inference.diagnostics import effective_sizes
    from crosscal.xray.correction.clusters import draw_temperatures, simulate_clusters
    from crosscal.xray.correction.identifiability import predicted_modes
    from crosscal.xray.correction.kernel import linear_kernel

    n = 12 if quick else 60
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=("kT", "norm", "Abundanc"))
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    injected = {"A": 0.1, "mu": 1.7, "sigma": 0.93}
    kT = draw_temperatures(n, 2, 12, 1)
    clusters = simulate_clusters(a, b, model, xray.Gaussian(), injected, kT, counts=5e4, seed=4)
    observations = xray.observations_of(clusters)
    family = xray.Spline(knots=10, low=0.7, high=7.0)

    def run():
        return wall_seconds(
            lambda: xray.infer_spectra(
                observations, family, trusted=observations[0].telescope, tau=0.1, seed=1, draws=600
            )
        )

    cpu, (wall, result) = cpu_seconds(run)
    sizes = effective_sizes(result.posterior, family.names)
    low, high = result.correction.interval(0.95)
    truth = clusters.injected(result.energy)
    inside = float(np.mean((truth >= low) & (truth <= high)))
    good = bool(sizes["rhat"].max() < 1.01 and sizes["ess_bulk"].min() > 400)
    found = [
        Record(f"spectra of {n} clusters x 2, spline of 10", "xray", wall, "s", goal="<= 300", passed=wall <= 300),
        Record("the same", "xray", cpu, "CPU s"),
        Record("largest R-hat of a coefficient", "xray", float(sizes["rhat"].max()), "", goal="< 1.01", passed=good),
        Record("smallest bulk ESS", "xray", float(sizes["ess_bulk"].min()), "", goal="> 400", passed=good),
        Record("injected phi inside the 95 % band", "xray", inside, "of energies"),
    ]
    kernels = [linear_kernel(t, model, {"kT": np.geomspace(2, 12, 60)}, band=(0.7, 7.0), counts=5e4) for t in (a, b)]
    for label, names in (
        ("kT", ("kT",)),
        ("kT, norm", ("kT", "norm")),
        ("kT, norm, Z", ("kT", "norm", "Abundanc")),
        ("spectra", None),
    ):
        _, modes = predicted_modes(*kernels, names=names, band=(0.6, 7.5))
        shown = ", ".join(f"{s:.1f}" for s in modes.signal_to_noise[:4])
        found.append(
            Record(f"constrained modes from {label}", "xray", float(modes.n_constrained), "", note=f"S/N {shown}")
        )
    return found
