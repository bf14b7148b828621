"""Checks of a result: prior-data conflict, leave-one-instrument-out, posterior predictive checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, kurtosis, kurtosistest

from crosscal.concordance.algebra import AreaPosterior, times_of
from crosscal.concordance.chains import Draws
from crosscal.concordance.model import Model
from crosscal.concordance.predictive import PredictiveCheck, predictive_check
from crosscal.concordance.priors import AreaPrior
from crosscal.concordance.residual_tests import Drifts, NoiseScore, drift_warning, drifts, noise_score
from crosscal.concordance.routes import sample
from crosscal.concordance.settings import Checks, Sampling
from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress

Floats = NDArray[np.float64]
#: Below these p-values a sentence warns.
CONFLICT_LIMIT, PREDICTIVE_LIMIT, PULL_LIMIT = 0.01, 0.005, 3.0
#: Largest problem that is refitted without each instrument by default.
LEAVE_ONE_OUT_CHANNELS, LEAVE_ONE_OUT_CELLS = 30, 20_000
#: More groups or instruments than these are told in one sentence.
MOST_SENTENCES = 4
#: Tails are tested from so many residuals on, and warn below this p-value times the number of channels.
LEAST_RESIDUALS, TAIL_LIMIT = 20, 1e-3
#: An excess kurtosis below this biases nothing, however many residuals show it: the test's p-value is 1 there.
LEAST_KURTOSIS = 0.1


@dataclass(frozen=True)
class Conflict:
    """Test of the prior against the data in one component.

    Attributes
    ----------
    channels : tuple of str
        Members with a finite tau.
    chi2, dof, p_value : float
        Contrasts of (data-only estimate - b) against their covariance (data + L).
    mandel_paule, dersimonian_laird : float
        Common standard deviation of B - b between instruments by these estimators, which use no prior (see `between`).
    """

    channels: tuple[str, ...]
    chi2: float
    dof: int
    p_value: float
    mandel_paule: float = np.nan
    dersimonian_laird: float = np.nan


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What each instrument changes, arrays (N,).

    Attributes
    ----------
    pull : array
        (Area of i from the sources and the other instruments - b_i) / its predictive standard deviation.
    shift : array
        Largest move of another instrument's B, in its posterior standard deviations, when i is left out; NaN where
        nothing is left to compare or no refit was made.
    moved : int array
        Which instrument moves most (-1 for none).
    """

    pull: Floats
    shift: Floats
    moved: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ModelTests:
    """All tests of a model against its data, with the sentences that follow from them.

    ``tail_p`` (N,) are the p-values of `tails`; ``information`` (N, N) and ``vector`` (N,) are what data alone say of B
    (see `data_information`); ``drifts`` and ``noise`` are None where they were not tested.
    """

    conflicts: tuple[Conflict, ...]
    leave_one_out: LeaveOneOut
    predictive: PredictiveCheck | None
    tail_p: Floats
    warnings: tuple[str, ...]
    information: Floats
    vector: Floats
    drifts: Drifts | None = None
    noise: NoiseScore | None = None


def _gaussian(model: Model, found: Draws, typical: AreaPosterior | None) -> tuple[Floats, Floats]:
    """Precision and mean of B: exact at typical variances for log-normal noise, else moments of the draws."""
    n = model.data.n_channels
    if typical is not None and model.noise == "log-normal":
        covariance, mean = typical.covariance[:n, :n], typical.mean[:n]
    else:
        flat = found.b.reshape(-1, n)
        covariance, mean = np.cov(flat, rowvar=False).reshape(n, n), flat.mean(axis=0)
    return np.asarray(np.linalg.inv(covariance)), np.asarray(mean)


def data_information(model: Model, precision: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return what data alone say of B: precision (N, N) and information vector (N,), prior subtracted."""
    prior = model.prior
    return precision - prior.precision, precision @ mean - prior.precision @ np.where(prior.flat, 0.0, prior.mean)


def conflict_tests(model: Model, information: Floats, vector: Floats) -> tuple[Conflict, ...]:
    """Test each component's contrasts: (zbar - b) ~ N(0, data covariance + L), chi2 with n - 1 degrees of freedom.

    Data never see the common mode of a component, so that only n - 1 contrasts of its n anchored channels are tested.
    ``information`` (N, N) and ``vector`` (N,) are those of `data_information`: precision and information vector
    of B from the data alone. With unknown variances the data covariance is taken at their posterior mean.
    Cf. Evans & Moshonov 2006 (Bayesian Analysis 1, 893).
    """
    return conflicts_of(model.data.channel_names, model.components, model.prior, information, vector)


def conflicts_of(
    channel_names: tuple[str, ...], components: NDArray[np.int32], prior: AreaPrior, information: Floats, vector: Floats
) -> tuple[Conflict, ...]:
    """Test each component (see `conflict_tests`)."""
    tests = []
    for part in range(int(components.max()) + 1):
        inside = np.flatnonzero(components == part)
        anchored = inside[~prior.flat[inside]]
        n = len(anchored)
        if n < 2:
            continue
        a, h = _marginal(information, vector, inside, anchored)
        # Helmert contrasts: orthonormal and orthogonal to the common mode.
        basis = np.linalg.svd(np.eye(n) - 1.0 / n)[0][:, : n - 1]
        inner = basis.T @ a @ basis
        estimate = np.linalg.solve(inner, basis.T @ h)
        difference = estimate - basis.T @ prior.mean[anchored]
        covariance = np.linalg.inv(inner) + basis.T @ prior.covariance[np.ix_(anchored, anchored)] @ basis
        statistic = float(difference @ np.linalg.solve(covariance, difference))
        names = tuple(channel_names[i] for i in anchored)
        tests.append(Conflict(names, statistic, n - 1, float(chi2.sf(statistic, n - 1)), *between(difference, inner)))
    return tuple(tests)


def between(difference: Floats, information: Floats) -> tuple[float, float]:
    """Return the standard deviation tau of B - b between instruments by Mandel & Paule and by DerSimonian & Laird.

    ``difference`` d (K,) are orthonormal contrasts of the data's estimate minus b, with ``information`` A (K, K). The
    first solves d' (A^-1 + tau^2)^-1 d = K, the second is tau^2 = (d' A d - K) / tr A; both are 0 where d' A d < K.
    Mandel & Paule 1970 (Anal. Chem. 42, 1194); DerSimonian & Laird 1986 (Control. Clin. Trials 7, 177).
    """
    values, vectors = np.linalg.eigh(information)
    square, k = (vectors.T @ difference) ** 2, len(difference)

    def excess(variance: float) -> float:
        return float(np.sum(square * values / (1 + values * variance)) - k)

    if excess(0.0) <= 0:
        return 0.0, 0.0
    top = float(np.sum(square))
    while excess(top) > 0:
        top *= 2
    return float(np.sqrt(brentq(excess, 0.0, top))), float(np.sqrt(excess(0.0) / np.sum(values)))


def _marginal(information: Floats, vector: Floats, inside, anchored) -> tuple[Floats, Floats]:
    """Information on the anchored channels with the component's flat ones integrated out."""
    flat = np.setdiff1d(inside, anchored)
    a, h = information[np.ix_(anchored, anchored)], vector[anchored]
    if len(flat):
        cross = information[np.ix_(anchored, flat)]
        gain = np.linalg.solve(information[np.ix_(flat, flat)], np.column_stack([cross.T, vector[flat]]))
        a, h = a - cross @ gain[:, :-1], h - cross @ gain[:, -1]
    return a, h


def pulls(model: Model, information: Floats, vector: Floats) -> Floats:
    """Return for each channel how far the sources and the other channels put its area from its own prior, in sd.

    The channel's prior is left out, the others' kept; NaN for a channel that shares no source. For independent priors
    each channel costs O(N) after one inverse (the prior of one channel is a change of rank one), else O(N^3).
    """
    n, prior = model.data.n_channels, model.prior
    values = np.full(n, np.nan)
    sizes, anchored = np.bincount(model.components), np.bincount(model.components, ~prior.flat)
    fair = ~prior.flat & (sizes[model.components] > 1) & (anchored[model.components] > 1)
    b = np.where(prior.flat, 0.0, prior.mean)
    if np.array_equal(prior.precision, np.diag(np.diag(prior.precision))):
        own = np.diag(prior.precision)
        inverse = np.linalg.inv(information + prior.precision)
        variance, mean = np.diag(inverse).copy(), inverse @ (vector + own * b)
        # Sherman & Morrison 1950: without the channel's own prior its variance and mean are those of the data and the
        # other channels.
        left = 1 - own * variance
        fair &= left > 1e-9
        without = np.where(fair, variance / np.where(fair, left, 1.0), np.nan)
        centre = (mean - own * variance * b) / np.where(fair, left, 1.0)
        values[fair] = ((centre - b) / np.sqrt(without + prior.tau**2))[fair]
        return values
    for i in np.flatnonzero(fair):
        others = np.flatnonzero(np.arange(n) != i)
        rest = prior.drop(int(i))
        precision, h = information.copy(), vector.copy()
        precision[np.ix_(others, others)] += rest.precision
        h[others] += rest.precision @ np.where(rest.flat, 0.0, rest.mean)
        solved = np.linalg.solve(precision, np.column_stack([h, np.eye(n)[:, i]]))
        values[i] = (solved[i, 0] - b[i]) / np.sqrt(solved[i, 1] + prior.tau[i] ** 2)
    return values


def leave_one_out(model: Model, found: Draws, *, seed: int = 0, progress: Progress = SILENT) -> tuple[Floats, NDArray]:
    """Refit without each channel; return the largest shift (N,) of the others in sd, and which moved (N,).

    ``found`` are the draws of the whole model, from which the shifts are counted.
    """
    n = model.data.n_channels
    flat = found.b.reshape(-1, n)
    mean, sd = flat.mean(axis=0), flat.std(axis=0)
    shift, moved = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    sizes = {"draws": 200, "warmup": 50} if model.in_flux else {"draws": 750, "warmup": 250}
    short = Sampling(route="map" if model.noise == "poisson" else "auto", chains=2, **sizes)  # type: ignore[arg-type]
    with progress.stage("Leaving one instrument out", total=n) as advance:
        for i in range(n):
            advance(1)
            if n < 3:
                continue
            try:
                rest = model.without_channel(i)
            except InputError:
                continue  # without this instrument nothing anchors the others
            again = sample(rest, short, seed=seed)
            others = np.flatnonzero(np.arange(n) != i)
            moves = np.abs(again.b.reshape(-1, n - 1).mean(axis=0) - mean[others]) / sd[others]
            shift[i], moved[i] = moves.max(), others[int(np.argmax(moves))]
    return shift, moved


def examine(
    model: Model,
    found: Draws,
    typical: AreaPosterior | None,
    checks: Checks,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> ModelTests:
    """Make all tests of a fitted model (see the functions of this module)."""
    n = model.data.n_channels
    information, vector = data_information(model, *_gaussian(model, found, typical))
    conflicts = conflict_tests(model, information, vector)
    pull = pulls(model, information, vector)
    shift, moved = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    small = n <= LEAVE_ONE_OUT_CHANNELS and model.data.n_cells <= LEAVE_ONE_OUT_CELLS
    wanted = small and model.noise != "gamma-poisson" if checks.leave_one_out is None else checks.leave_one_out
    if wanted:
        shift, moved = leave_one_out(model, found, seed=seed, progress=progress)
    check = predictive_check(model, found, replicates=checks.predictive, seed=seed, progress=progress)
    tail_p = tails(model, found)
    drifting, score = drifts(model, found), noise_score(model, found)
    warnings = (
        *_warnings(model, conflicts, pull, check),
        *_noise_warning(model, tail_p, score),
        *drift_warning(model, drifting),
    )
    return ModelTests(
        conflicts, LeaveOneOut(pull, shift, moved), check, tail_p, warnings, information, vector, drifting, score
    )


def residuals(model: Model, found: Draws) -> Floats:
    """Residuals of the cells about the posterior means, in their standard deviations; NaN for limits and lone cells."""
    data, n = model.data, model.data.n_channels
    assert found.flux_mean is not None
    level = found.b.reshape(-1, n).mean(axis=0)[data.row] + found.flux_mean[data.column]
    if found.drift is not None:
        level = level + found.drift.reshape(-1, n).mean(axis=0)[data.row] * times_of(data, True)
    s = np.zeros(n) if found.s is None else found.s.reshape(-1, n).mean(axis=0)
    usable = np.diff(data.indptr)[data.column] > 1
    if model.in_flux:
        assert data.flux is not None
        assert data.flux_low is not None
        assert data.flux_high is not None
        mu = np.exp(level)
        sd = np.sqrt(np.where(data.flux > mu, data.flux_low, data.flux_high) ** 2 + s[data.row] * mu**2)
        limited = np.zeros(data.n_cells, bool) if data.limit is None else data.limit != 0
        return np.where(usable & ~limited, (data.flux - mu) / sd, np.nan)
    variance = model.variance.cells(data, s)
    return np.where(usable, (data.log_rate + data.half * variance - level) / np.sqrt(variance), np.nan)


def tails(model: Model, found: Draws) -> Floats:
    """P-value of each channel's kurtosis if its residuals were Gaussian, (N,); NaN below 20 residuals.

    Small values mean outliers. Residuals about the posterior means show them better than those of a draw, which the
    uncertainty of each flux blurs. Anscombe & Glynn 1983 (Biometrika 70, 227).
    """
    n = model.data.n_channels
    if model.noise not in ("log-normal", "gaussian-flux") or model.varying:
        return np.full(n, np.nan)
    values = residuals(model, found)
    good = np.isfinite(values)
    order = np.argsort(model.data.row[good], kind="stable")
    start = np.searchsorted(model.data.row[good][order], np.arange(n + 1))
    ordered = values[good][order]
    found_p = np.full(n, np.nan)
    for i in range(n):
        own = ordered[start[i] : start[i + 1]]
        if len(own) >= LEAST_RESIDUALS and np.ptp(own) > 0:
            small = float(kurtosis(own)) < LEAST_KURTOSIS
            found_p[i] = 1.0 if small else float(kurtosistest(own, alternative="greater").pvalue)
    return found_p


def _noise_warning(model: Model, tail_p: Floats, score: NoiseScore | None) -> tuple[str, ...]:
    """Advise Student-t errors where they predict the data better, or residuals have outliers."""
    bad = np.flatnonzero(tail_p * max(model.data.n_channels, 1) < TAIL_LIMIT)
    names = tuple(model.data.channel_names[i] for i in bad[np.argsort(tail_p[bad])])
    if score is not None and score.prefers_t:
        where = f", and the residuals of {_few(names)} have outliers" if len(bad) else ""
        sentence = (
            f"Student-t errors predict the measurements better (leave-one-out log score {score.difference:+.1f} +/- "
            f"{score.error:.1f} against Gaussian errors){where}: use noise = 'log-t'."
        )
        return (sentence,)
    if not len(bad):
        return ()
    return (f"The residuals of {_few(names)} have outliers that bias the areas: use noise = 'log-t'.",)


def _few(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def conflict_sentence(test: Conflict) -> str:
    """What a conflict of priors and data means, and what to do."""
    return (
        f"The areas disagree more than their priors allow (chi2 = {test.chi2:.1f} for {test.dof} contrasts, "
        f"p = {test.p_value:.2g}) among {_few(test.channels)}: use ratios of areas, not the areas themselves; free the "
        "discrepant instrument (tau = inf), or allow outlying instruments (areas = 't')."
    )


def _conflict_sentences(conflicts: tuple[Conflict, ...]) -> list[str]:
    """Sentences on the groups in conflict, in one where there are many."""
    bad = sorted((test for test in conflicts if test.p_value < CONFLICT_LIMIT), key=lambda test: test.p_value)
    if len(bad) <= MOST_SENTENCES:
        return [conflict_sentence(test) for test in bad]
    rest = ", ".join(_few(test.channels, 2) for test in bad[1:4])
    return [f"{conflict_sentence(bad[0])} The same holds for {len(bad) - 1} other groups ({rest}, ...)."]


def _warnings(model: Model, conflicts, pull: Floats, check: PredictiveCheck | None) -> tuple[str, ...]:
    names = model.data.channel_names
    sentences = _conflict_sentences(conflicts)
    far = np.flatnonzero(np.abs(pull) > PULL_LIMIT)
    far = far[np.argsort(-np.abs(pull[far]))]
    if len(far) > MOST_SENTENCES:
        listed = ", ".join(f"{names[i]} ({abs(pull[i]):.1f} sd)" for i in far[:MOST_SENTENCES])
        sentences.append(
            f"{len(far)} instruments lie far from the prediction of prior and other instruments: {listed}, ..."
        )
    else:
        sentences += [
            f"{names[i]} lies {abs(pull[i]):.1f} sd from the prediction of its prior and the other instruments."
            for i in far
        ]
    if check is not None:
        for label, p in (("The scatter is", check.scatter_p), ("The largest residual is", check.extreme_p)):
            bad = np.flatnonzero(p < PREDICTIVE_LIMIT)
            if len(bad):
                which = ", ".join(f"{names[i]} ({p[i]:.3f})" for i in bad[:4])
                sentences.append(
                    f"{label} larger than the model predicts for {which} (posterior predictive p-values): "
                    "try log-t noise, excess variance or variable sources."
                )
        wide = np.flatnonzero(check.scatter_p > 1 - PREDICTIVE_LIMIT)
        if len(wide):
            which = ", ".join(names[i] for i in wide[:4])
            sentences.append(
                f"The residuals of {which} scatter less than the quoted errors: the errors are overestimated or "
                "correlated, so the intervals of these areas are too wide; variance = 'unknown' estimates the errors."
            )
    return tuple(sentences)
