"""Linear-Gaussian recursions of a stationary process in state-space form, compiled, with a hand-written adjoint.

A kernel of state dimension d is given by an observation vector h (d), a stationary covariance P0 (d, d) and a
transition matrix A_j (d, d) per step: x_j = A_j x_{j-1} + noise of covariance P0 - A_j P0 A_j', and each column of
W (N, r) is observed as h'x_j + noise of variance R_j. One pass carries all columns (the light curve and the design
columns of its linear parameters) and gives ln|C| and the Gram matrix W' C^-1 W in O(N); the reverse pass gives the
derivatives. Infinite R_j marks a time without an observation.

References: Kalman 1960; Hartikainen & Sarkka 2010 (IEEE MLSP, 379) for the state-space form of kernels; Bryson &
Frazier 1963 for the adjoint form of the smoother. No 2 pi factors here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.lightcurves import kalman_scalar
from crosscal.lightcurves.kalman_scalar import _OPTIONS

#: The observation vector of states of one element, which have passes of their own.
_SCALAR = (1.0,)
# Parts of a pass that are written out where they are used: a call a step would cost more than the step.
_PART: dict[str, Any] = {**_OPTIONS, "inline": "always"}


@njit(**_OPTIONS)
def _copy(source, target):
    """Copy a matrix. ``target[:, :] = source`` does the same, and takes seconds to compile for its error message."""
    for i in range(source.shape[0]):
        for k in range(source.shape[1]):
            target[i, k] = source[i, k]


@njit(**_OPTIONS)
def _step_covariance(A, j, P, P0, Pp):
    """Predict the covariance: Pp = P0 + A_j (P - P0) A_j'."""
    d = Pp.shape[0]
    for i in range(d):
        for k in range(d):
            total = P0[i, k]
            for m in range(d):
                for n in range(d):
                    total += A[j, i, m] * (P[m, n] - P0[m, n]) * A[j, k, n]
            Pp[i, k] = total


@njit(**_PART)
def _predict(A, j, P0, P, M, Pp, Mp):
    """Predict step j from the filtered covariance P and means M (d, r)."""
    d, r = M.shape
    _step_covariance(A, j, P, P0, Pp)
    for i in range(d):
        for c in range(r):
            total = 0.0
            for k in range(d):
                total += A[j, i, k] * M[k, c]
            Mp[i, c] = total


@njit(**_PART)
def _keep(Pp, Mp, j, Pp_all, Mp_all):
    """Store the predictions of step j."""
    d, r = Mp.shape
    for i in range(d):
        for k in range(d):
            Pp_all[j, i, k] = Pp[i, k]
        for c in range(r):
            Mp_all[j, i, c] = Mp[i, c]


@njit(**_OPTIONS)
def forward(h, A, P0, R, W, gram, keep, S_all, V_all, Pp_all, Mp_all):
    """Filter all columns; add to ``gram`` (r, r) and return ln|C|, or NaN where a variance is not positive.

    With ``keep`` the innovations V (N, r), their variances S (N) and the predictions Pp (N, d, d), Mp (N, d, r)
    are stored for the reverse passes.
    """
    N, r = W.shape
    d = len(h)
    P = P0.copy()
    Pp = P0.copy()
    M = np.zeros((d, r))
    Mp = np.zeros((d, r))
    u = np.empty(d)
    v = np.empty(r)
    logdet = 0.0
    product = 1.0  # logarithms of products: one log for many steps
    for j in range(N):
        if j > 0:
            _predict(A, j, P0, P, M, Pp, Mp)
        S = R[j]
        for i in range(d):
            total = 0.0
            for k in range(d):
                total += Pp[i, k] * h[k]
            u[i] = total
            S += h[i] * total
        if keep:
            S_all[j] = S
            _keep(Pp, Mp, j, Pp_all, Mp_all)
        if np.isinf(S):
            _copy(Pp, P)
            _copy(Mp, M)
            if keep:
                V_all[j, :] = 0.0
            continue
        if not S > 0.0:
            return np.nan
        product *= S
        if product > 1e200 or product < 1e-200:
            logdet += np.log(product)
            product = 1.0
        inverse = 1.0 / S
        for c in range(r):
            value = W[j, c]
            for i in range(d):
                value -= h[i] * Mp[i, c]
            v[c] = value
            if keep:
                V_all[j, c] = value
        for c in range(r):
            scaled = v[c] * inverse
            for e in range(c, r):
                gram[c, e] += scaled * v[e]
            for i in range(d):
                M[i, c] = Mp[i, c] + u[i] * scaled
        for i in range(d):
            for k in range(d):
                P[i, k] = Pp[i, k] - u[i] * u[k] * inverse
    for c in range(r):
        for e in range(c):
            gram[c, e] = gram[e, c]
    return logdet + np.log(product)


@njit(**_PART)
def _predict_adjoint(A, j, P0, u, inverse, V_all, Pp_all, Mp_all, Pp_b, Mp_b, D, T, P_b, M_b, A_bar, P0_bar):
    """Adjoint of the prediction of step j + 1: from (Pp_b, Mp_b) to (P_b, M_b) of step j, A_bar and P0_bar."""
    d, r = M_b.shape
    for i in range(d):
        for k in range(d):
            D[i, k] = Pp_all[j, i, k] - u[i] * u[k] * inverse - P0[i, k]
    for i in range(d):  # T = Pp_b A
        for k in range(d):
            total = 0.0
            for m in range(d):
                total += Pp_b[i, m] * A[j + 1, m, k]
            T[i, k] = total
    for i in range(d):
        for k in range(d):
            total = 0.0
            for m in range(d):
                total += 2.0 * T[i, m] * D[m, k]
            for c in range(r):
                total += Mp_b[i, c] * (Mp_all[j, k, c] + u[k] * V_all[j, c] * inverse)
            A_bar[j + 1, i, k] = total
            total = 0.0
            for m in range(d):
                total += A[j + 1, m, i] * T[m, k]
            P_b[i, k] = total
            P0_bar[i, k] += Pp_b[i, k] - total
    for i in range(d):
        for c in range(r):
            total = 0.0
            for m in range(d):
                total += A[j + 1, m, i] * Mp_b[m, c]
            M_b[i, c] = total


@njit(**_PART)
def _update_adjoint(h, G, j, u, inverse, V_all, P_b, M_b, u_b, v_b, Pp_b, Mp_b, y_bar, R_bar):
    """Adjoint of the observation of step j: from (P_b, M_b) to its prediction's (Pp_b, Mp_b), y_bar and R_bar."""
    d, r = M_b.shape
    quadratic = 0.0
    for c in range(r):
        total = 0.0
        for e in range(r):
            total += G[c, e] * V_all[j, e]
        quadratic += total * V_all[j, c]
        total *= 2.0
        for i in range(d):
            total += u[i] * M_b[i, c]
        v_b[c] = total * inverse
    S_b = -0.5 * inverse - quadratic * inverse * inverse
    for i in range(d):
        gain = 0.0
        for c in range(r):
            gain += M_b[i, c] * V_all[j, c]
        curved = 0.0
        for k in range(d):
            curved += P_b[i, k] * u[k]
        u_b[i] = (gain - 2.0 * curved) * inverse
        S_b += u[i] * (curved - gain) * inverse * inverse
    R_bar[j] = S_b
    y_bar[j] = v_b[0]
    for i in range(d):
        u_b[i] += S_b * h[i]
    for i in range(d):
        for k in range(d):
            Pp_b[i, k] = P_b[i, k] + 0.5 * (u_b[i] * h[k] + h[i] * u_b[k])
        for c in range(r):
            Mp_b[i, c] = M_b[i, c] - h[i] * v_b[c]


@njit(**_OPTIONS)
def backward(h, A, P0, G, S_all, V_all, Pp_all, Mp_all, y_bar, R_bar, A_bar, P0_bar):
    """Reverse pass of L = sum(G * W'C^-1 W) - 1/2 ln|C| for a symmetric weight matrix G (r, r).

    Writes dL/dW[:, 0] to ``y_bar`` (N), dL/dR to ``R_bar`` (N), dL/dA to ``A_bar`` (N, d, d) and adds dL/dP0 to
    ``P0_bar`` (d, d). Every symbol ending in ``_b`` is the adjoint of the forward symbol.
    """
    N, r = V_all.shape
    d = len(h)
    Pp_b = np.zeros((d, d))  # adjoint of the next step's predictions
    Mp_b = np.zeros((d, r))
    P_b = np.zeros((d, d))
    M_b = np.zeros((d, r))
    D = np.empty((d, d))
    T = np.empty((d, d))
    u = np.empty(d)
    u_b = np.empty(d)
    v_b = np.empty(r)
    for j in range(N - 1, -1, -1):
        S = S_all[j]
        inverse = 1.0 / S  # zero where nothing was observed
        for i in range(d):
            total = 0.0
            for k in range(d):
                total += Pp_all[j, i, k] * h[k]
            u[i] = total
        if j + 1 < N:
            _predict_adjoint(A, j, P0, u, inverse, V_all, Pp_all, Mp_all, Pp_b, Mp_b, D, T, P_b, M_b, A_bar, P0_bar)
        if np.isinf(S):
            R_bar[j] = 0.0
            y_bar[j] = 0.0
            _copy(P_b, Pp_b)
            _copy(M_b, Mp_b)
            continue
        _update_adjoint(h, G, j, u, inverse, V_all, P_b, M_b, u_b, v_b, Pp_b, Mp_b, y_bar, R_bar)
    for i in range(d):
        for k in range(d):
            P0_bar[i, k] += Pp_b[i, k]


@njit(**_OPTIONS)
def smooth(h, A, S_all, V_all, Pp_all, Mp_all, mean, variance):
    """Bryson-Frazier smoother: write E[h'x_j | column c] to ``mean`` (N, r) and Var[h'x_j] to ``variance`` (N)."""
    N, r = V_all.shape
    d = len(h)
    lam = np.zeros((d, r))
    Lam = np.zeros((d, d))
    lam_next = np.zeros((d, r))
    half = np.zeros((d, d))
    F = np.zeros((d, d))
    u = np.empty(d)
    for j in range(N - 1, -1, -1):
        inverse = 1.0 / S_all[j]
        for i in range(d):
            total = 0.0
            for k in range(d):
                total += Pp_all[j, i, k] * h[k]
            u[i] = total
        # F = A_{j+1} (I - u h'/S): from this prediction to the next one.
        for i in range(d):
            for k in range(d):
                if j + 1 < N:
                    total = A[j + 1, i, k]
                    for m in range(d):
                        total -= A[j + 1, i, m] * u[m] * inverse * h[k]
                else:
                    total = 0.0
                F[i, k] = total
        for i in range(d):
            for c in range(r):
                total = h[i] * V_all[j, c] * inverse
                for m in range(d):
                    total += F[m, i] * lam[m, c]
                lam_next[i, c] = total
            for k in range(d):
                total = 0.0
                for m in range(d):
                    total += Lam[i, m] * F[m, k]
                half[i, k] = total
        for i in range(d):
            for k in range(d):
                total = h[i] * h[k] * inverse
                for m in range(d):
                    total += F[m, i] * half[m, k]
                Lam[i, k] = total
        _copy(lam_next, lam)
        spread = 0.0
        for i in range(d):
            for k in range(d):
                spread += h[i] * Pp_all[j, i, k] * h[k] - u[i] * Lam[i, k] * u[k]
        variance[j] = spread if spread > 0.0 else 0.0
        for c in range(r):
            total = 0.0
            for i in range(d):
                total += h[i] * Mp_all[j, i, c] + u[i] * lam[i, c]
            mean[j, c] = total


@njit(**_OPTIONS)
def simulate(h, A, P0, noise, path):
    """Write a draw of h'x_j to ``path`` (N) from standard normals ``noise`` (N, d)."""
    N = noise.shape[0]
    d = len(h)
    x = np.zeros(d)
    y = np.zeros(d)
    Q = np.zeros((d, d))
    L = np.zeros((d, d))
    zero = np.zeros((d, d))
    for j in range(N):
        if j == 0:
            _copy(P0, Q)
        else:
            _step_covariance(A, j, zero, P0, Q)  # P0 - A P0 A'
        for i in range(d):  # Cholesky of a matrix that may be singular (equal times)
            for k in range(i + 1):
                total = Q[i, k]
                for m in range(k):
                    total -= L[i, m] * L[k, m]
                if i == k:
                    L[i, i] = np.sqrt(total) if total > 0.0 else 0.0
                else:
                    L[i, k] = total / L[k, k] if L[k, k] > 0.0 else 0.0
        for i in range(d):
            total = 0.0
            if j > 0:
                for k in range(d):
                    total += A[j, i, k] * x[k]
            for k in range(i + 1):
                total += L[i, k] * noise[j, k]
            y[i] = total
        value = 0.0
        for i in range(d):
            x[i] = y[i]
            value += h[i] * y[i]
        path[j] = value


class Workspace:
    """Arrays of one forward and reverse pass, kept between calls (one workspace per thread).

    Parameters
    ----------
    n, d, r : int
        Number of times, state dimension, number of columns.
    """

    def __init__(self, n: int, d: int, r: int) -> None:
        # Written once: masked stores into pages that were never written cost a fault each, which makes passes that
        # keep nothing six times slower.
        self.S, self.V = np.full(n, 0.0), np.full((n, r), 0.0)
        self.Pp, self.Mp = np.full((n, d, d), 0.0), np.full((n, d, r), 0.0)
        self.y_bar, self.R_bar = np.empty(n), np.empty(n)
        self.A_bar = np.zeros((n, d, d))
        self.P0_bar = np.zeros((d, d))
        self.gram = np.zeros((r, r))

    def forward(self, h: tuple[float, ...], A: NDArray, P0: NDArray, R: NDArray, W: NDArray, keep: bool) -> float:
        """Run the filter; the Gram matrix is in ``self.gram``."""
        self.gram[:] = 0.0
        rest = (A, P0, R, W, self.gram, keep, self.S, self.V, self.Pp, self.Mp)
        return float(kalman_scalar.forward(*rest) if h == _SCALAR else forward(h, *rest))

    def backward(self, h: tuple[float, ...], A: NDArray, P0: NDArray, weights: NDArray) -> None:
        """Run the reverse pass after a ``forward(..., keep=True)``."""
        self.P0_bar[:] = 0.0
        found = (self.y_bar, self.R_bar, self.A_bar, self.P0_bar)
        rest = (A, P0, weights, self.S, self.V, self.Pp, self.Mp, *found)
        if h == _SCALAR:
            kalman_scalar.backward(*rest)
        else:
            backward(h, *rest)

    def smooth(self, h: tuple[float, ...], A: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return smoothed means (N, r) and variances (N) after a ``forward(..., keep=True)``."""
        mean, variance = np.empty_like(self.V), np.empty(len(self.S))
        smooth(h, A, self.S, self.V, self.Pp, self.Mp, mean, variance)
        return mean, variance
