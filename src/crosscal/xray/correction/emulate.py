"""From a library to the map f(theta, T_true) that inference inverts, with the modifier it belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.units import energies
from crosscal.emulator.base import Emulator
from crosscal.emulator.validation import Validation, validate
from crosscal.xray.correction.pairs import QUANTITIES, PairedSources
from crosscal.xray.correction.roles import with_roles
from crosscal.xray.modifiers.describe import build_modifier, describe_modifier

Floats = NDArray[np.float64]

#: What is emulated: smooth numbers of order 0.1. Abundance enters as a difference because it may be near zero.
OUTPUTS = {"kT": "ln(kT_nominal/kT_true)", "norm": "ln(norm_nominal/norm_true)", "Abundanc": "Abundanc shift"}
T_TRUE = "T_true"


@dataclass(frozen=True, eq=False)
class CalibrationEmulator:
    """What the nominal calibration measures of a source, if phi_theta is the truth.

    Attributes
    ----------
    emulator : Emulator
        Inputs: the varying parameters theta of the modifier, then ``T_true`` (keV).
    modifier : Modifier or None
        The family phi_theta(E); None where a file names one that is not installed here.
    fixed : mapping
        Parameters of the modifier that the library kept constant.
    telescope : str
    sigma : mapping
        Smallest statistical error per output over the library: the yardstick of validation.
    simulator : callable, optional
        (theta (n, d), kT (n,)) -> values (n, q) computed afresh; kept in memory, not in files.
    exact : CalibrationEmulator, optional
        The same map by fits (`ExactMap`), by which a posterior is re-weighted; kept in memory, not in files.

    Examples
    --------
    >>> emulator = xray.train(library)  # doctest: +SKIP
    >>> emulator.domain, emulator.factor(energy, theta)  # doctest: +SKIP
    >>> emulator.save("emulator.npz")  # doctest: +SKIP
    """

    emulator: Emulator
    modifier: Any = None
    fixed: Mapping[str, float] | None = None
    telescope: str = ""
    sigma: Mapping[str, float] | None = None
    simulator: Any = None
    exact: CalibrationEmulator | None = None

    def __post_init__(self) -> None:
        if self.emulator.names[-1] != T_TRUE or len(self.emulator.names) < 2:
            raise InputError(
                f"inputs {self.emulator.names}", where="calibration emulator", expected=f"theta..., {T_TRUE}"
            )
        known = {text: name for name, text in OUTPUTS.items()}
        if any(output not in known for output in self.emulator.outputs):
            raise InputError(
                f"outputs {self.emulator.outputs}", where="calibration emulator", expected=", ".join(known)
            )

    def __repr__(self) -> str:
        """Say what is emulated, how, and how well: the numbers of the map itself would fill screens."""
        known = {text: name for name, text in OUTPUTS.items()}
        relative = self.relative_errors
        found = [
            f"{known[output]} (rms error " + (f"{relative[output]:.2g} sigma)" if output in relative else f"{sd:.2g})")
            for output, sd in zip(self.emulator.outputs, self.emulator.residual_sd, strict=True)
        ]
        judged = self.emulator.report.get("judged")
        return (
            f"<CalibrationEmulator {self.telescope!r}: {self.emulator.kind} map of {', '.join(self.emulator.names)} "
            f"to {', '.join(found)}{f'; tested on {judged}' if judged else ''}>"
        )

    @property
    def relative_errors(self) -> dict[str, float]:
        """Reported rms error of each output in units of the smallest statistical error of the library."""
        errors = zip(self.emulator.outputs, self.emulator.residual_sd, strict=True)
        return {o: float(sd / self.sigma[o]) for o, sd in errors if self.sigma and o in self.sigma}

    @property
    def names(self) -> tuple[str, ...]:
        """Varying parameters theta, in order."""
        return self.emulator.names[:-1]

    @property
    def quantities(self) -> tuple[str, ...]:
        """Measured quantities that are emulated, in the order of `PairedSources`."""
        known = {text: name for name, text in OUTPUTS.items()}
        return tuple(known[o] for o in self.emulator.outputs)

    @property
    def domain(self) -> dict[str, tuple[float, float]]:
        """Training range of theta and of T_true [keV]."""
        return self.emulator.domain

    def shift(self, theta: Any, kT: Any) -> Any:
        """Return ln kT ratio, ln norm ratio and abundance shift with JAX: theta (d,), kT (n,) -> (n, q)."""
        return self.emulator.at(theta, kT)

    def measure(self, theta: Any, truth: Any) -> Any:
        """Return what the nominal calibration measures: truth (n, q) in physical units -> (n, q), with JAX."""
        import jax.numpy as jnp

        shift = self.shift(theta, truth[:, 0])
        columns = [
            truth[:, k] + shift[:, k] if name == "Abundanc" else truth[:, k] * jnp.exp(shift[:, k])
            for k, name in enumerate(self.quantities)
            if k < truth.shape[1]
        ]
        return jnp.stack(columns, axis=1)

    def measure_with_slope(self, theta: Any, truth: Any) -> tuple[Any, Any]:
        """Return `measure` and its derivative with respect to the truth, (n, q) and (n, q, q), with JAX.

        The shifts depend on kT only, so that one tangent gives all: dF_T/dT = (F_T / T)(1 + f_T'), dF_N/dT =
        F_N f_N' / T, dF_Z/dT = f_Z' / T with f' = df / d ln kT.
        """
        import jax
        import jax.numpy as jnp

        kT = truth[:, 0]
        shift, slope = jax.jvp(lambda y: self.shift(theta, jnp.exp(y)), (jnp.log(kT),), (jnp.ones_like(kT),))
        values, derivative = [], jnp.zeros((*truth.shape, truth.shape[1]))
        for k, name in enumerate(self.quantities[: truth.shape[1]]):
            if name == "Abundanc":
                values.append(truth[:, k] + shift[:, k])
                along, own = slope[:, k] / kT, 1.0
            else:
                ratio = jnp.exp(shift[:, k])
                values.append(truth[:, k] * ratio)
                along, own = values[-1] * slope[:, k] / kT, ratio
            derivative = derivative.at[:, k, 0].add(along).at[:, k, k].add(own)
        return jnp.stack(values, axis=1), derivative

    def correct(self, theta: Any, measured: Any, steps: int = 6) -> Any:
        """Invert `measure` with JAX: what the corrected calibration would have found, (n, q) -> (n, q).

        Newton's method in ln kT; the ratio f changes slowly with kT, so that six steps reach rounding error.
        """
        import jax
        import jax.numpy as jnp

        target = jnp.log(measured[:, 0])

        def step(t: Any, goal: Any, x: Any) -> Any:
            value, slope = jax.jvp(lambda y: y + self.shift(t, jnp.exp(y))[:, 0], (x,), (jnp.ones_like(x),))
            return x - (value - goal) / jnp.clip(slope, 0.2, 5.0)

        # The last step alone carries the derivative, which is that of the root (implicit function theorem).
        held, goal = jax.lax.stop_gradient((theta, target))
        x = jax.lax.fori_loop(0, steps - 1, lambda _, y: step(held, goal, y), goal)
        x = step(theta, target, x)
        shift = self.shift(theta, jnp.exp(x))
        columns = [jnp.exp(x)]
        for k, name in enumerate(self.quantities[1 : measured.shape[1]], start=1):
            columns.append(
                measured[:, k] - shift[:, k] if name == "Abundanc" else measured[:, k] * jnp.exp(-shift[:, k])
            )
        return jnp.stack(columns, axis=1)

    def temperature_bias(self, theta: ArrayLike, kT: ArrayLike) -> Floats:
        """Return T_nominal / T_true for theta (m, d) and kT (n,) keV: (m, n)."""
        theta, kT = np.atleast_2d(np.asarray(theta, dtype=float)), np.atleast_1d(np.asarray(kT, dtype=float))
        points = np.concatenate([np.repeat(theta, len(kT), axis=0), np.tile(kT, len(theta))[:, None]], axis=1)
        return np.exp(self.emulator.predict(points, outside="clip")[:, 0]).reshape(len(theta), len(kT))

    def full_theta(self, theta: Any, xp: Any = np) -> Any:
        """Return parameters of the modifier (..., D) from the varying ones (..., d), the constant ones filled in."""
        theta = xp.asarray(theta)
        columns = []
        for name in self.modifier.names:
            if name in self.names:
                columns.append(theta[..., self.names.index(name)])
            else:
                columns.append(xp.full(theta.shape[:-1], (self.fixed or {})[name]))
        return xp.stack(columns, axis=-1)

    def factor(self, energy: ArrayLike, theta: Any, xp: Any = np) -> Any:
        """Return phi_theta(E): energy (n,) keV, theta (..., d) varying parameters -> (..., n).

        Raises
        ------
        InputError
            If the modifier is not known.
        """
        if self.modifier is None:
            raise InputError(
                "the modifier is not known", where="calibration emulator", expected="load(path, modifier=...)"
            )
        return self.modifier.factor(energies(energy, where="factor, energy"), self.full_theta(theta, xp), xp)

    def only(self, *quantities: str) -> CalibrationEmulator:
        """Return the emulator of some quantities (kT first)."""
        if any(q not in self.quantities for q in quantities):
            raise InputError(
                f"quantities {quantities}", where="calibration emulator", expected=", ".join(self.quantities)
            )
        if quantities == self.quantities:
            return self
        chosen = self.emulator.select([self.quantities.index(q) for q in quantities])
        return replace(self, emulator=chosen, exact=self.exact and self.exact.only(*quantities))

    @property
    def error_sd(self) -> Floats:
        """The emulator's own rms error of each output (q,), as it enters the likelihood; 0 where it is not known.

        See `error_gain`.
        """
        return np.nan_to_num(np.asarray(self.emulator.residual_sd, dtype=float), nan=0.0) / self.error_gain

    @property
    def error_gain(self) -> float:
        """8 where the error was measured with every second node of a grid (cubic splines gain 16), else 1."""
        return 8.0 if str(self.emulator.report.get("judged", "")).startswith("every second node") else 1.0

    def validate(self, n: int = 2000, *, seed: int = 0) -> Validation:
        """Compare with ``n`` off-grid newly simulated points, in units of the smallest statistical error.

        Raises
        ------
        InputError
            If the emulator was loaded from a file, so that nothing can be simulated.
        """
        if self.simulator is None or self.sigma is None:
            raise InputError(
                "no simulator", where="calibration emulator", expected="an emulator trained in this session"
            )
        return validate(
            self.emulator,
            lambda p: self.simulator(p[:, :-1], p[:, -1]),
            {name: self.sigma[name] for name in self.emulator.outputs},
            n=n,
            seed=seed,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one file that `load` reads without the library."""
        from crosscal.emulator.storage import save

        facts = {
            "modifier": describe_modifier(self.modifier),
            "fixed": dict(self.fixed or {}),
            "telescope": self.telescope,
            "sigma": dict(self.sigma or {}),
        }
        tagged = replace(self.emulator, provenance={**self.emulator.provenance, "calibration": facts})
        return save(tagged, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, modifier: Any = None) -> CalibrationEmulator:
        """Read what `save` wrote.

        Parameters
        ----------
        modifier : Modifier, optional
            For families that a file cannot describe (a user's own function).

        Raises
        ------
        DataFileError
            If the file is absent, damaged, or holds another kind of emulator.
        """
        from crosscal.core.errors import DataFileError
        from crosscal.emulator.storage import load
        from crosscal.xray.correction import kernel_mlp  # noqa: F401, its class joins those that load knows

        emulator = load(path)
        facts = emulator.provenance.get("calibration")
        if not isinstance(facts, dict):
            raise DataFileError(
                "not an emulator of a calibration", where=str(path), expected="CalibrationEmulator.save"
            )
        return cls(
            emulator,
            modifier or build_modifier(facts["modifier"], where=str(path)),
            facts["fixed"],
            facts["telescope"],
            facts["sigma"],
        )


def matched(
    emulator: CalibrationEmulator, pairs: PairedSources, trusted: str | None = None
) -> tuple[CalibrationEmulator, PairedSources]:
    """Return the emulator of exactly the quantities of the pairs, and the pairs as (trusted, corrected).

    Raises
    ------
    InputError
        If the pairs hold a quantity that is not emulated, or the roles of their telescopes are not known.
    """
    missing = [q for q in pairs.quantities if q not in emulator.quantities]
    if missing:
        raise InputError(
            f"the pairs hold {missing[0]}, the emulator does not",
            where="inference",
            expected=f"pairs.only({', '.join(repr(q) for q in QUANTITIES if q in emulator.quantities)})",
        )
    return emulator.only(*pairs.quantities), with_roles(pairs, emulator.telescope, trusted)
