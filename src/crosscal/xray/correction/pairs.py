"""The same sources measured by two telescopes: the input of the emulator route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError, UnknownNameError

Floats = NDArray[np.float64]

#: Quantities of a pair in their fixed order, with units.
QUANTITIES = {"kT": "keV", "norm": "", "Abundanc": ""}
#: Quantities that are positive and act as scales.
POSITIVE = ("kT", "norm")
#: With more sources than these the likelihood of each is not kept for every draw.
MOST_POINTWISE = 3000


@dataclass(frozen=True, eq=False)
class PairedSources:
    """N sources, two telescopes, q quantities (kT; kT, norm; or kT, norm, Abundanc).

    Attributes
    ----------
    names : tuple of str, length N
    telescopes : (trusted, other)
    quantities : tuple of str, length q
        From ``QUANTITIES``, kT first.
    values : array (2, N, q)
        Best fits with the nominal calibrations: kT in keV.
    covariance : array (2, N, q, q)
    samples : array (2, N, n_samples, q), optional
        Posterior samples, where the input had them; values and covariance are then their moments.
    provenance : mapping
    constants : mapping of "nH" or "Redshift" to array (N,)
        What the table says of each source, in 1e22 / cm2.
    notes : tuple of str
        What was assumed of the table and which sources were left out.
    responses : mapping of telescope name to N responses
        The `Response` with which each source was observed (None: that of the library). Emulator kind "exact" and the
        re-weighting with exact fits use those of the corrected telescope; sources may share one.

    Raises
    ------
    InputError
        Naming the source and quantity of the first impossible number.

    Examples
    --------
    >>> pairs = xray.read_pairs("clusters.csv", trusted="pn")  # doctest: +SKIP
    >>> pairs.values[:, :, 0]  # doctest: +SKIP
    >>> hot = pairs.take(pairs.values[0, :, 0] > 5)  # doctest: +SKIP
    """

    names: tuple[str, ...]
    telescopes: tuple[str, str]
    quantities: tuple[str, ...]
    values: Floats
    covariance: Floats
    samples: Floats | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    responses: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        names, quantities = tuple(map(str, self.names)), tuple(self.quantities)
        values, covariance = np.asarray(self.values, dtype=float), np.asarray(self.covariance, dtype=float)
        for quantity in quantities:
            if quantity not in QUANTITIES:
                raise UnknownNameError("quantity", quantity, QUANTITIES, where="paired sources")
        if not quantities or quantities != tuple(q for q in QUANTITIES if q in quantities) or quantities[0] != "kT":
            raise InputError(f"quantities {quantities}", where="paired sources", expected="kT, then norm, Abundanc")
        n, q = len(names), len(quantities)
        if n == 0 or values.shape != (2, n, q) or covariance.shape != (2, n, q, q):
            raise InputError(
                f"shapes {values.shape}, {covariance.shape}",
                where="paired sources",
                expected=f"(2, {n}, {q}) and (2, {n}, {q}, {q}) for {n} >= 1 sources",
            )
        if len(set(names)) != n:
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"the source {twice!r} appears twice", where="paired sources", expected="each once")
        if len(self.telescopes) != 2 or self.telescopes[0] == self.telescopes[1]:
            raise InputError(f"telescopes {self.telescopes}", where="paired sources", expected="two different names")
        for key, value in {
            "names": names,
            "quantities": quantities,
            "values": values,
            "covariance": covariance,
        }.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "telescopes", tuple(self.telescopes))
        self._check_numbers()
        self._check_responses()
        if self.samples is not None:
            samples = np.asarray(self.samples, dtype=float)
            if samples.ndim != 4 or samples.shape[:2] != (2, n) or samples.shape[3] != q:
                raise InputError(
                    f"samples of shape {samples.shape}", where="paired sources", expected=f"(2, {n}, n_samples, {q})"
                )
            object.__setattr__(self, "samples", samples)

    def _check_numbers(self) -> None:
        positive = np.array([q in POSITIVE for q in self.quantities])
        bad = ~np.isfinite(self.values) | (positive & ~(self.values > 0))
        for t, i, k in np.argwhere(bad)[:1]:
            wanted = "a positive number" if positive[k] else "a finite number"
            what = f"{self.quantities[k]} = {self.values[t, i, k]:g}"
            raise InputError(what, where=self._place(t, i), expected=wanted)
        turned = np.swapaxes(self.covariance, 2, 3)
        ordinary = np.isfinite(self.covariance) & (np.abs(self.covariance - turned) <= 1e-6 * np.abs(turned))
        for t, i in np.argwhere(~ordinary.all(axis=(2, 3)))[:1]:
            raise InputError("the covariance is not symmetric and finite", where=self._place(t, i))
        scale = np.sqrt(np.abs(np.diagonal(self.covariance, axis1=2, axis2=3)))
        safe = np.where(scale > 0, scale, 1.0)
        least = np.linalg.eigvalsh(self.covariance / (safe[..., :, None] * safe[..., None, :]))[..., 0]
        for t, i in np.argwhere((scale == 0).any(axis=2) | (least <= 1e-12))[:1]:
            where = self._place(t, i)
            raise InputError("the covariance is not positive definite", where=where, expected="errors > 0")

    def _check_responses(self) -> None:
        responses = {name: tuple(own) for name, own in self.responses.items()}
        for name, own in responses.items():
            if name not in self.telescopes:
                raise UnknownNameError("telescope", name, self.telescopes, where="paired sources, responses")
            if len(own) != len(self.names):
                what = f"{len(own)} responses of {name}"
                raise InputError(what, where="paired sources", expected=f"{len(self.names)}, one a source, or None")
            wrong = next((r for r in own if r is not None and not hasattr(r, "redistribution")), None)
            if wrong is not None:
                what = f"a {type(wrong).__name__} as a response of {name}"
                raise InputError(what, where="paired sources", expected="a Response, as read_response returns it")
        object.__setattr__(self, "responses", responses)

    def _place(self, t: int, i: int) -> str:
        return f"source {self.names[i]!r}, {self.telescopes[t]}"

    @classmethod
    def from_samples(
        cls, names: Sequence[str], telescopes: tuple[str, str], quantities: Sequence[str], samples: Any
    ) -> PairedSources:
        """Take posterior samples (2, N, n_samples, q); moments are computed from them."""
        array = np.asarray(samples, dtype=float)
        if array.ndim != 4 or array.shape[2] < 2:
            raise InputError(
                f"samples of shape {array.shape}", where="paired sources", expected="(2, N, n_samples >= 2, q)"
            )
        mean = array.mean(axis=2)
        centred = array - mean[:, :, None]
        covariance = np.einsum("tisa,tisb->tiab", centred, centred) / (array.shape[2] - 1)
        return cls(tuple(names), telescopes, tuple(quantities), mean, covariance, array)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sd(self) -> Floats:
        """Standard deviations, shape (2, N, q)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=2, axis2=3))

    def only(self, *quantities: str) -> PairedSources:
        """Return the pairs of some quantities (``pairs.only("kT")``)."""
        for quantity in quantities:
            if quantity not in self.quantities:
                raise UnknownNameError("quantity", quantity, self.quantities, where="paired sources")
        index = [self.quantities.index(q) for q in quantities]
        samples = None if self.samples is None else self.samples[..., index]
        return replace(
            self,
            quantities=tuple(quantities),
            values=self.values[..., index],
            covariance=self.covariance[..., index, :][..., index],
            samples=samples,
        )

    def swapped(self) -> PairedSources:
        """Return the pairs with the roles of the two telescopes exchanged."""
        return replace(
            self,
            telescopes=self.telescopes[::-1],
            values=self.values[::-1],
            covariance=self.covariance[::-1],
            samples=None if self.samples is None else self.samples[::-1],
        )

    def take(self, index: Any) -> PairedSources:
        """Return the pairs of some sources, by a mask or by numbers."""
        picked = np.arange(len(self))[index]
        return replace(
            self,
            names=tuple(self.names[i] for i in picked),
            values=self.values[:, picked],
            covariance=self.covariance[:, picked],
            samples=None if self.samples is None else self.samples[:, picked],
            constants={name: values[picked] for name, values in self.constants.items()},
            responses={name: tuple(own[i] for i in picked) for name, own in self.responses.items()},
        )
