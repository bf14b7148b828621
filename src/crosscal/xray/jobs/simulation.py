"""The ``[simulation]`` table of a job: clusters with an injected error, the same for the pair and the spectra route."""

from __future__ import annotations

from typing import Any

from crosscal.core.random import integer_seed


def simulated_clusters(job: Any, telescope: Any, model: Any) -> Any:
    """Simulate the clusters of a job, or return None where it has no simulation.

    The same seed, telescopes and simulation table give the same clusters in every kind of job.
    """
    from crosscal.xray.correction.clusters import draw_temperatures, simulate_clusters

    if job.simulation is None or job.trusted is None:
        return None
    plan = job.simulation
    return simulate_clusters(
        job.trusted.response(),
        telescope,
        model,
        plan.injected.modifier.modifier(),
        plan.injected.theta(),
        draw_temperatures(plan.sources, plan.kT[0], plan.kT[1], job.seed),
        counts=(plan.trusted_counts or plan.counts, plan.counts),
        bands=(job.trusted.band, job.telescope.band),
        seed=integer_seed(job.seed, "clusters"),
    )
