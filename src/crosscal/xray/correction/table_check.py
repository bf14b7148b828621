"""Tabulated spectra against the model itself, where the posterior is."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscal.xray.correction.tabulate import spectra

#: Posterior draws at which tables are compared with the model.
DRAWS = 4
#: Difference, in standard deviations of a spectrum, above which the result says so.
SAID = 0.1
#: A source is near an end of its range in this share of it; it is told if this many draws are.
NEAR, MANY = 0.01, 0.02


def table_check(model: Any, posterior: Any) -> tuple[float, tuple[str, ...]]:
    """Return the largest difference between tabulated and direct spectra, and the warnings about the tables.

    The difference of a spectrum is sqrt(sum_g (m_table - m_direct)^2 / m_direct), at a few posterior draws.

    Parameters
    ----------
    model : SpectraModel
    posterior : Posterior
    """
    import jax

    picks = np.linspace(0, posterior.n_draws - 1, DRAWS).round().astype(int)
    sampled = model.sources == "sampled"
    names = [*model.theta_names, *(["v"] if sampled else [])]
    draws = {k: posterior.draws(k)[picks] for k in names}

    @jax.jit
    def tabulated(params: Any) -> Any:
        v = params["v"] if sampled else model.conditional_mode(params)[0]
        return v, model.expected(params, v)

    worst, where = 0.0, ""
    for d in range(DRAWS):
        params = {k: x[d] for k, x in draws.items()}
        v, means = tabulated(params)
        for block, mean in zip(model.data.blocks, means, strict=True):
            for j, difference in enumerate(_differences(model, block, params, np.asarray(v), np.asarray(mean))):
                if difference > worst:
                    worst, where = difference, f"{block.members[j].source}, {block.members[j].telescope}"
    said = []
    if worst > SAID:
        said.append(
            f"Tabulated spectra differ from the model by up to {worst:.2g} standard deviations ({where}): use "
            "interp = 'spline', fewer free parameters, or reference spectra with more counts."
        )
    return worst, (*said, *(_ends(model, posterior) if sampled else ()))


def _differences(model: Any, block: Any, params: Any, v: Any, means: Any) -> list[float]:
    pilot, found = model.data.pilot, []
    theta = np.array([float(params[n]) for n in model.theta_names])
    phi = np.asarray(model.modifier.factor(block.energy, theta)) if block.corrected else 1.0
    inside = np.clip(v[:, : len(pilot.names)], pilot.low, pilot.high)
    for j, (o, i) in enumerate(zip(block.members, block.index, strict=True)):
        scale = float(o.spectrum.areascale) if np.ndim(o.spectrum.areascale) == 0 else 1.0
        if block.corrected and model.norm_scatter is not None:
            scale *= float(np.exp(model.norm_scatter * v[i, -1]))
        photons = spectra(o, i, inside[i][None], pilot, block.edges)[0] * phi * scale
        direct = (block.fold if block.fold.ndim == 2 else block.fold[j]) @ photons
        found.append(float(np.sqrt(np.sum((means[j] - direct) ** 2 / np.maximum(direct, 0.1)))))
    return found


def _ends(model: Any, posterior: Any) -> list[str]:
    """Say which sources' parameters reach an end of their range."""
    pilot = model.data.pilot
    v = posterior.draws("v")[:, :, : len(pilot.names)]
    place = np.where(np.isfinite(pilot.low), pilot.position(v), 0.0)
    share = (np.abs(place) > 1 - 2 * NEAR).mean(axis=0)
    said = []
    for k, name in enumerate(pilot.names):
        reached = [s for s, x in zip(model.data.sources, share[:, k], strict=True) if x > MANY]
        if reached:
            shown = ", ".join(reached[:5]) + (", ..." if len(reached) > 5 else "")
            said.append(f"{name} of {len(reached)} sources reaches the end of its range: {shown}.")
    return said
