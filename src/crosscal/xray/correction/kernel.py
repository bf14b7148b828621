"""How an error of the effective area moves what a fit measures, to first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray.fitting.templates import FoldedTemplates, Range

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearKernel:
    """First-order response of fitted parameters to ln area(E), for n sources.

    Attributes
    ----------
    names : fitted parameters, q of them
    energy : (n_energy,) mid-points of the energy bins, keV
    kernel : (n, q, k)
        d parameter / d ln area in each energy bin (k = n_energy), or along each basis function.
    covariance : (n, q, q)
        Fisher covariance of the parameters of each source.
    information : (n, k, k)
        Information of the whole spectrum about the same k directions, the parameters profiled out.
    values : (n, q), optional
        True values of the parameters.
    """

    names: tuple[str, ...]
    energy: Floats
    kernel: Floats
    covariance: Floats
    information: Floats
    values: Floats | None = None

    def shift(self, log_factor: ArrayLike) -> Floats:
        """Return the change (n, q) of the fitted parameters if the true area is ``area * exp(log_factor)``.

        ``log_factor`` is (k,): ln phi in each energy bin, or the coefficients of the basis.
        """
        return self.kernel @ np.asarray(log_factor, dtype=float)

    def fisher(self, names: Sequence[str] | None = None) -> Floats:
        """Return the information (k, k) in the fitted values of ``names`` (all by default), summed over sources.

        The true values are known from the reference telescope: only the errors of this one count.
        """
        chosen = [self.names.index(n) for n in (self.names if names is None else names)]
        kernel = self.kernel[:, chosen]
        covariance = self.covariance[:, chosen][:, :, chosen]
        return np.einsum("nqk,nql->kl", kernel, np.linalg.solve(covariance, kernel))


def linear_kernel(
    response: Response,
    model: Model,
    params: Mapping[str, ArrayLike],
    *,
    band: tuple[float, float],
    free: Sequence[str] | None = None,
    counts: ArrayLike | None = None,
    exposure: float = 1e5,
    basis: ArrayLike | None = None,
    axes: Mapping[str, Range] | None = None,
    templates: FoldedTemplates | None = None,
) -> LinearKernel:
    """Return ``d p / d ln area(E) = F^-1 J' W R A S`` of a Poisson fit with the nominal area.

    S is the photon spectrum, A the area times exposure, R the redistribution, J = d counts / d p, W = 1 / counts,
    F = J' W J. If the true area is ``area (1 + x(E))``, expected counts change by R A S x and the fit by F^-1 J' W
    times that.

    Parameters
    ----------
    response, model
    params : mapping of name to number or array (n,)
        True values of free parameters; the model's own where absent.
    band : (low, high), keV
    free : sequence of str
        Fitted parameters, by default the model's.
    counts : float or array (n,), optional
        Expected counts in the band, to which the norms are scaled; without it ``exposure`` and the norms count.
    basis : array (k, n_energy of ``LinearKernel.energy``), optional
        Functions of energy; without it every energy bin is a direction.
    axes : mapping
        Ranges of free parameters that the model does not tabulate.
    templates : FoldedTemplates, optional
        Made before for the same response, model, band and free parameters, with ``exposure=1``.

    Raises
    ------
    InputError, UnknownNameError
    """
    if templates is None:
        templates = FoldedTemplates.build(response, model, band=band, free=free, axes=axes)
    names = templates.names
    given = {n: np.asarray(params.get(n, model.parameter(n).default), dtype=float) for n in names}
    for name in params:
        if name not in names:
            raise InputError(f"{name!r} is not a free parameter", where="linear kernel", expected=", ".join(names))
    values = dict(zip(names, np.broadcast_arrays(*(np.atleast_1d(v) for v in given.values())), strict=True))
    mean, jacobian = templates.evaluate(None, **values)
    if counts is not None:
        # Scaled norms: the kernel and the errors are those of the parameters after scaling.
        factor = np.asarray(counts, dtype=float) / (mean.sum(axis=-1) * exposure)
        values = {n: v * factor if n.split("_")[0] == "norm" else v for n, v in values.items()}
        mean, jacobian = templates.evaluate(None, **values)
    mean, jacobian = mean * exposure, jacobian * exposure
    photons = templates.photons(**values) * templates.area * exposure
    matrix = templates.redistribution
    directions = None if basis is None else _checked(basis, templates.energy.size)
    k = templates.energy.size if directions is None else len(directions)
    n, q = mean.shape[0], len(names)
    kernel, covariance, information = np.empty((n, q, k)), np.empty((n, q, q)), np.empty((n, k, k))
    for i in range(n):
        weight = 1.0 / np.maximum(mean[i], 1e-25)
        if directions is None:
            change = matrix.multiply(photons[i]).toarray()
        else:
            change = matrix @ (photons[i] * directions).T
        weighted = weight[:, None] * change
        cross = jacobian[i] @ weighted
        covariance[i] = np.linalg.inv((jacobian[i] * weight) @ jacobian[i].T)
        kernel[i] = covariance[i] @ cross
        information[i] = change.T @ weighted - cross.T @ kernel[i]
    truth = np.stack([values[n] for n in names], axis=1)
    return LinearKernel(names, templates.energy, kernel, covariance, information, truth)


def _checked(basis: ArrayLike, n_energy: int) -> Floats:
    array = np.atleast_2d(np.asarray(basis, dtype=float))
    if array.shape[1] != n_energy:
        raise InputError(
            f"basis functions at {array.shape[1]} energies", where="linear kernel", expected=f"{n_energy} energies"
        )
    return array
