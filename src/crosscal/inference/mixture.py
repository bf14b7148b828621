"""Mixtures of multivariate Student t distributions, fitted to weighted draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Least share of the draws that keeps a component, in units of an equal share.
LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class StudentMixture:
    """Sum of K Student t distributions of common degrees of freedom nu in d dimensions.

    Attributes
    ----------
    shares : array (K,)
        Weights of the components, adding up to one.
    centres : array (K, d)
    roots : array (K, d, d)
        Lower roots of the scale matrices.
    degrees : float
        nu.
    """

    shares: Floats
    centres: Floats
    roots: Floats
    degrees: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw (n, d) vectors."""
        k = rng.choice(len(self.shares), n, p=self.shares)
        scale = np.sqrt(rng.chisquare(self.degrees, n) / self.degrees)
        normal = rng.standard_normal((n, self.centres.shape[1]))
        return self.centres[k] + np.einsum("nab,nb->na", self.roots[k], normal) / scale[:, None]

    def components(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Return ln (share times density) and the squared Mahalanobis distance of each component: (n, K) each."""
        from scipy.special import gammaln

        n, d = vectors.shape
        nu = self.degrees
        inverse = np.linalg.inv(self.roots)
        # One matrix product for all components.
        white = (vectors @ inverse.reshape(-1, d).T).reshape(n, -1, d) - np.einsum("kab,kb->ka", inverse, self.centres)
        distance = np.einsum("nka,nka->nk", white, white)
        constant = gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu) - 0.5 * d * np.log(nu * np.pi)
        size = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return np.log(self.shares) + constant - size - 0.5 * (nu + d) * np.log1p(distance / nu), distance

    def log_density(self, vectors: Floats) -> Floats:
        """Log density of (n, d) vectors."""
        from scipy.special import logsumexp

        return logsumexp(self.components(vectors)[0], axis=1)

    def guarded(self, share: float = 0.1, factor: float = 2.0) -> StudentMixture:
        """Give a share of the draws to the same components with their widths multiplied: weights stay bounded."""
        return StudentMixture(
            np.concatenate([(1 - share) * self.shares, share * self.shares]),
            np.concatenate([self.centres, self.centres]),
            np.concatenate([self.roots, factor * self.roots]),
            self.degrees,
        )

    @classmethod
    def fitted(
        cls,
        vectors: Floats,
        weights: Floats,
        components: int,
        rng: np.random.Generator,
        *,
        degrees: float = 6.0,
        steps: int = 12,
    ) -> StudentMixture:
        """Fit by weighted expectation-maximisation (Cappe et al. 2008, Stat. Comput. 18, 447, sect. 3.2).

        Components start at draws picked by weight. A component of few draws is shrunk towards the common scale, so
        that it keeps a volume; one that loses its draws is dropped.
        """
        n, d = vectors.shape
        centre = weights @ vectors
        steps_from = vectors - centre
        whole = (steps_from * weights[:, None]).T @ steps_from + 1e-10 * np.eye(d)
        prior = whole * components ** (-2.0 / d)
        mixture = cls(
            np.full(components, 1.0 / components),
            vectors[rng.choice(n, components, p=weights)],
            np.repeat(np.linalg.cholesky(prior)[None], components, axis=0),
            degrees,
        )
        for _ in range(steps):
            mixture = mixture._improved(vectors, weights, prior, LEAST_SHARE / components)
        return mixture

    def _improved(self, vectors: Floats, weights: Floats, prior: Floats, least: float) -> StudentMixture:
        """Take one step of expectation-maximisation."""
        from scipy.special import softmax

        d = vectors.shape[1]
        log_parts, distance = self.components(vectors)
        member = softmax(log_parts, axis=1) * weights[:, None]
        keep = member.sum(axis=0) > least
        member, distance = member[:, keep], distance[:, keep]
        share = member.sum(axis=0)
        scaled = member * (self.degrees + d) / (self.degrees + distance)
        centres = scaled.T @ vectors / scaled.sum(axis=0)[:, None]
        scatter = np.stack(
            [(vectors - c).T @ ((vectors - c) * w[:, None]) for c, w in zip(centres, scaled.T, strict=True)]
        )
        effective = share**2 / np.sum(member**2, axis=0)
        pull = ((d + 1) / (effective + d + 1))[:, None, None]
        covariance = (1 - pull) * scatter / share[:, None, None] + pull * prior
        return StudentMixture(share / share.sum(), centres, np.linalg.cholesky(covariance), self.degrees)
