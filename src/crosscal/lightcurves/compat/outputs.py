"""PyCALI's text outputs, from a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.files import atomic_path, write_text
from crosscal.lightcurves.calibrated import _blocks
from crosscal.lightcurves.compat.options import Options
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.result import Intercalibration


def histogram_mode(values: NDArray[np.float64], bins: int = 50, width: float = 2.0) -> NDArray[np.float64]:
    """Peak of each column's histogram over [min, max], smoothed by a Gaussian of ``width`` bins.

    Parameters
    ----------
    values : array (n_draws, n)

    Returns
    -------
    array (n,)
        The centre of the highest bin; the value itself where a column is constant.
    """
    from scipy.ndimage import gaussian_filter1d

    low, high = values.min(axis=0), values.max(axis=0)
    spread = high - low
    constant = spread <= 1e-12 * np.maximum(np.abs(high), 1e-300)
    step = np.where(constant, 1.0, spread) / bins
    index = np.clip(((values - low) / step).astype(np.int64), 0, bins - 1)
    n = values.shape[1]
    counts = np.bincount((index + bins * np.arange(n)).ravel(), minlength=n * bins).reshape(n, bins)
    peak = np.argmax(gaussian_filter1d(counts.astype(float), width, axis=1), axis=1)
    return np.where(constant, low, low + (peak + 0.5) * step)


def calibrated_columns(result: Intercalibration, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and error of PyCALI's ``FILE_cali``: median, and the measured error's mode with the calibration error."""
    curve = result.curves.files[i]
    flux, error = np.empty(len(curve)), np.empty(len(curve))
    for part, values, own in _blocks(curve, result.factors, i):
        low, flux[part], high = np.quantile(values, [0.1585, 0.5, 0.8415], axis=0)
        error[part] = np.hypot(histogram_mode(own), 0.5 * (high - low))
    return flux, error


def write_pycali_outputs(result: Intercalibration, directory: Path, options: Options | None = None) -> list[Path]:
    """Write ``FILE_cali``, ``FILE_recon``, ``FILE_sort`` and, under ``data/``, PyCALI's tables and samples.

    The tables give *normalised* units, as PyCALI's do, in the gauge in which the model was sampled.
    """
    written = []
    names: set[str] = set()
    for i, curve in enumerate(result.curves.files):
        name = Path(curve.name).name
        while name in names:
            name = f"{name}_{i}"
        names.add(name)
        flux, error = calibrated_columns(result, i)
        rows = [
            f"{t:.6f} {f:.6e}  {e:.6e}  {curve.codes[c]}"
            for t, f, e, c in zip(curve.time, flux, error, curve.code, strict=True)
        ]
        written.append(write_text(directory / f"{name}_cali", "\n".join(rows) + "\n"))
        found = result.reconstruct(file=i)
        table = np.stack([found.time, found.mean, found.sd], axis=1)
        written.append(_save(directory / f"{name}_recon", table, "%.6f %.6e %.6e"))
        written.append(_save(directory / f"{name}_sort", curve.order[:, None], "%d"))
    data = directory / "data"
    written.append(write_text(data / "factor.txt", factor_text(result)))
    written.append(write_text(data / "PyCALI_output.txt", normalisation_text(result)))
    written.append(write_text(data / "param_input", param_text(options or options_of(result))))
    samples = result.model.to_pycali(result.draws.vectors)
    written.append(_save(data / "posterior_sample.txt", samples, "%.6e", header=f"# {len(samples)}"))
    explicit = Model(result.curves, result.model.settings, normalisation=result.model.norm, marginal=np.zeros(0, int))
    values = explicit.many(result.draws.vectors)[0][:, None]
    written.append(_save(data / "posterior_sample_info.txt", values, "%.6e", header=f"# {len(samples)}"))
    return written


def _save(path: Path, table: NDArray, form: str, header: str = "") -> Path:
    with atomic_path(path) as temporary:
        np.savetxt(temporary, table, fmt=form, header=header, comments="")
    return path


def factor_text(result: Intercalibration) -> str:
    """The content of ``factor.txt``: posterior means, standard deviations and covariances, normalised units."""
    lay, x = result.model.layout, result.draws.vectors
    phi, G = np.exp(x[:, lay.scale]), x[:, lay.shift]
    lines = [
        "# Note: factors apply to light curves after being normalized by their respective means.",
        "#       Means are output to the file PyCALI_output.txt.",
        "Code \t Scale  \t Error  \t Shift  \t Error    \t     Cov",
    ]
    for c, code in enumerate(result.curves.codes):
        covariance = np.cov(phi[:, c], G[:, c])[0, 1]
        numbers = (phi[:, c].mean(), phi[:, c].std(ddof=1), G[:, c].mean(), G[:, c].std(ddof=1), covariance)
        lines.append("\t".join([code, *(f"{v:.6e}" for v in numbers)]))
    lines.append("")
    lines.append(
        "\t".join(
            ["Code ", "flag ", "Syserr_Cont    ", " Err_Scale"]
            + ["Syserr_Line   ", " Err_Scale"] * (len(result.curves.lines))
        )
    )
    for c, code in enumerate(result.curves.codes):
        for k in range(result.curves.n_flags):
            means: list[float] = []
            for i in range(len(result.curves.files)):
                means += [x[:, lay.syserr[i, c, k]].mean(), np.exp(x[:, lay.errscale[i, c, k]]).mean()]
            lines.append("\t".join([code, str(k), *(f"{v:.6e}" for v in means)]))
    return "\n".join(lines) + "\n"


def normalisation_text(result: Intercalibration) -> str:
    """The content of ``PyCALI_output.txt``: the divisors and numbers of points."""
    lines = []
    for i, curve in enumerate(result.curves.files):
        lines.append(f"# normalization factor of {'line' if i else 'continuum'}: {curve.name}")
        for c, code in enumerate(curve.codes):
            lines.append(f"{c}\t{code}\t{result.model.norm.factors[i, c]:.6e}\t{curve.counts[c]}")
    return "\n".join(lines) + "\n"


def options_of(result: Intercalibration) -> Options:
    """Return the options that describe a result's settings."""
    s, codes = result.model.settings, result.curves.codes
    ranges = {}
    for name in ("scale", "shift", "syserr", "errscale", "sigma", "tau"):
        ranges[f"{name}_range_low"], ranges[f"{name}_range_up"] = getattr(s, name)
    return Options(
        fcont=result.curves.continuum.name,
        fline=tuple(line.name for line in result.curves.lines),
        nmcmc=len(result.draws.vectors),
        fixed_scale=s.fixed_scale,
        fixed_shift=s.fixed_shift,
        fixed_syserr=not s.systematic_error,
        fixed_error_scale=not s.error_scale,
        fixed_codes=tuple(codes.index(c) for c in s.fixed_codes),
        fixed_scalecodes=tuple(codes.index(c) for c in s.fixed_scale_codes),
        flag_norm=s.normalisation != "none",
        **ranges,
    )


def param_text(options: Options) -> str:
    """The content of ``param_input``: ``key = value`` lines."""
    lines = ["fname                = "]
    for name in options.__dataclass_fields__:
        if name == "ptol":
            continue
        value = getattr(options, name)
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        elif isinstance(value, bool):
            value = int(value)
        elif isinstance(value, float):
            value = f"{value:g}"
        lines.append(f"{name:<20} = {value}")
    return "\n".join(lines) + "\n"
