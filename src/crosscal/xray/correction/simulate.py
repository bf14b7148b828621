"""Pairs with an injected error of the effective area, to try the whole job before trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.core.random import generator
from crosscal.core.units import plain
from crosscal.xray.correction.emulate import CalibrationEmulator
from crosscal.xray.correction.pairs import PairedSources


@keywords
def simulate_pairs(
    emulator: CalibrationEmulator,
    theta: Mapping[str, float] | ArrayLike,
    kT: ArrayLike,
    *,
    relative_error: ArrayLike = 0.03,
    norm: ArrayLike | None = None,
    scatter: float = 0.0,
    cross_norm: float = 1.0,
    telescopes: tuple[str, str] = ("trusted", "other"),
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> PairedSources:
    """Simulate what two telescopes measure of sources of true temperature ``kT`` (n,) keV.

    Parameters
    ----------
    theta : mapping or array (d,)
        The injected error of telescope 1: the truth is area * phi_theta, its analysts use area.
    relative_error : float or array, broadcastable to (2, n, q)
        1-sigma errors: fractions of kT and norm, absolute for the abundance.
    norm : array (n,), optional
        True normalisations (1 by default); abundances are 0.3.
    scatter : float
        Fractional intrinsic scatter of telescope 1's kT and norm.
    cross_norm : float
        Factor of telescope 1's norms.
    names : sequence of str, optional
        Of the sources.

    Raises
    ------
    InputError
        If theta or kT lies outside the emulator's domain.

    Examples
    --------
    >>> error = {"A": 0.1, "mu": 1.8, "sigma": 0.9}  # doctest: +SKIP
    >>> pairs = xray.simulate_pairs(emulator, error, kT=[2, 4, 8], seed=1)  # doctest: +SKIP
    """
    import jax
    import jax.numpy as jnp

    kT = np.atleast_1d(np.asarray(plain(kT, "keV", where="kT"), dtype=float))
    values = [theta[n] for n in emulator.names] if isinstance(theta, Mapping) else theta
    injected = np.asarray(values, dtype=float)
    if injected.shape != (len(emulator.names),):
        raise InputError(f"theta of shape {injected.shape}", where="simulated pairs", expected=f"{emulator.names}")
    inside = emulator.emulator.inside(np.column_stack([np.tile(injected, (len(kT), 1)), kT]))
    if not inside.all():
        raise InputError(
            f"kT = {kT[~inside][0]:g} keV, theta = {injected.tolist()} is outside the emulator's domain",
            where="simulated pairs",
            expected=", ".join(f"{n} {a:g} to {b:g}" for n, (a, b) in emulator.domain.items()),
        )
    quantities = emulator.quantities
    columns: dict[str, Any] = {"kT": kT, "norm": np.ones_like(kT) if norm is None else norm, "Abundanc": 0.3}
    truth = np.stack([np.broadcast_to(columns[q], kT.shape) for q in quantities], axis=1).astype(float)
    expected = np.array(jax.jit(emulator.measure)(jnp.asarray(injected), jnp.asarray(truth)))
    if "norm" in quantities:
        expected[:, quantities.index("norm")] *= cross_norm
    size = np.ones((2, len(kT), len(quantities)))
    size[0], size[1] = (np.where([q == "Abundanc" for q in quantities], 1.0, x) for x in (truth, expected))
    sd = np.broadcast_to(np.asarray(relative_error, dtype=float), size.shape) * size
    extra = np.where([q == "Abundanc" for q in quantities], 0.0, scatter * expected)
    rng = generator(seed, "simulated pairs")
    noise = rng.standard_normal((3, *truth.shape))
    measured = np.stack([truth + sd[0] * noise[0], expected + sd[1] * noise[1] + extra * noise[2]])
    covariance = sd[..., None] ** 2 * np.eye(len(quantities))
    return PairedSources(
        tuple(names or [f"source {i + 1:03d}" for i in range(len(kT))]),
        telescopes,
        quantities,
        measured,
        covariance,
        provenance={
            "simulated": True,
            "theta": dict(zip(emulator.names, injected.tolist(), strict=True)),
            "seed": seed,
        },
    )
