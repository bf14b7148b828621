"""What a user decides about the model, apart from the data; the tables [model] and [prior] of a job file."""

from __future__ import annotations

from typing import Literal

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, option, options
from crosscal.lightcurves.kernels.base import Kernel, Variability
from crosscal.lightcurves.kernels.registry import kernel as find_kernel

Range = tuple[float, float]


@options
class ModelChoice:
    """The model and its free parameters.

    Attributes
    ----------
    kernel : str
        Variability model of the source: see `crosscal list kernels`; "auto" chooses among four Gaussian processes by
        evidence, "running-mean" assumes no process.
    reference : str
        The telescope whose flux scale is kept; the first one by default.
    systematic_error : bool or "auto"
        Fit a systematic error, added in quadrature, per telescope and flag; "auto" decides by leave-one-out
        prediction.
    error_scale : bool
        Fit a factor that multiplies the quoted errors, per telescope and flag.
    errors : str
        Distribution of the errors: "gaussian", "student-t" if there are outliers, or "auto", which decides by
        leave-one-out prediction.
    degrees : float
        Degrees of freedom of Student-t errors.
    fixed_scale, fixed_shift : bool
        Fix all (normalised) scales at 1, or all shifts at 0.
    fixed_codes : tuple of str
        Telescopes with scale fixed at 1 and shift at 0.
    fixed_scale_codes : tuple of str
        Telescopes whose (normalised) scale is fixed at 1.
    normalisation : str
        Divisor of the fluxes: "mean" of each telescope, "none" for the mean of the reference, "spread" for the
        standard deviation of each (for difference fluxes).
    """

    kernel: str | Variability = "drw"
    reference: str | None = option(default=None, example="A")
    systematic_error: bool | Literal["auto"] = False
    error_scale: bool = False
    errors: Literal["gaussian", "student-t", "auto"] = "gaussian"
    degrees: float = 4.0
    fixed_scale: bool = False
    fixed_shift: bool = False
    fixed_codes: tuple[str, ...] = option(default=(), example=["B"])
    fixed_scale_codes: tuple[str, ...] = option(default=(), example=["C"])
    normalisation: Literal["mean", "none", "spread"] = "mean"

    def __post_init__(self) -> None:
        if self.kernel != "auto" and not isinstance(find_kernel(self.kernel), Kernel) and self.errors == "student-t":
            raise ConfigError(
                "a running mean with Student-t errors", where="settings",
                expected="errors = 'gaussian' with remove_outliers, or a kernel that is a Gaussian process",
            )  # fmt: skip
        if self.fixed_scale and self.fixed_shift:
            raise ConfigError("scale and shift are both fixed", where="settings", expected="one of them free")
        if not self.degrees > 2:
            raise ConfigError(
                f"degrees = {self.degrees:g}", where="settings", expected="more than 2 degrees of freedom"
            )


@options
class Prior:
    """Prior ranges in normalised flux units, log-uniform or uniform.

    Attributes
    ----------
    scale : (low, high)
        Scale factor phi, log-uniform.
    shift : (low, high)
        Shift G, uniform.
    syserr : (low, high)
        Systematic error eps, uniform (half-normal for telescopes of at most 5 points).
    errscale : (low, high)
        Error scale b, log-uniform.
    sigma : (low, high)
        Amplitude sigma_d of the process, log-uniform.
    tau : (low, high)
        Its time scale, log-uniform, cut to [span / N, span] of each light curve; or the width of the running mean,
        cut to [span / 20 N, span].
    """

    scale: Band = (0.5, 2.0)
    shift: Band = (-1.0, 1.0)
    syserr: Range = (0.0, 0.2)
    errscale: Range = (0.1, 2.0)
    sigma: Band = (1e-4, 1.0)
    tau: Band = (1.0, 1e4)

    def __post_init__(self) -> None:
        for name in ("scale", "errscale", "sigma", "tau"):
            low = getattr(self, name)[0]
            if not low > 0:
                raise ConfigError(f"lower limit {low:g}", where=f"prior range of {name}", expected="a limit > 0")
        if self.syserr[0] < 0:
            raise ConfigError(f"lower limit {self.syserr[0]:g}", where="prior range of syserr", expected="a limit >= 0")


@options
class Settings(ModelChoice, Prior):
    """The model and its prior ranges; all ranges are in normalised flux units (see `Normalisation`).

    Examples
    --------
    >>> settings = lightcurves.Settings(kernel="matern32", systematic_error=True)  # doctest: +SKIP
    >>> result = lightcurves.intercalibrate(curves, settings)  # doctest: +SKIP
    """

    def __post_init__(self) -> None:
        ModelChoice.__post_init__(self)
        Prior.__post_init__(self)
        for name, used in (("syserr", self.systematic_error), ("errscale", self.error_scale)):
            low, high = getattr(self, name)
            if used and not low < high:
                raise ConfigError(f"limits {low:g}, {high:g}", where=f"prior range of {name}", expected="low < high")

    @property
    def automatic(self) -> bool:
        """Whether something is left for the data to choose."""
        return "auto" in (self.kernel, self.systematic_error, self.errors)

    @property
    def process(self) -> Variability:
        """The kernel as an object."""
        return find_kernel(self.kernel)
