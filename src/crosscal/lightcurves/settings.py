"""What a user decides about the model, apart from the data."""

from __future__ import annotations

from dataclasses import dataclass, field

from crosscal.core.errors import InputError
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.kernels.registry import kernel as find_kernel

Range = tuple[float, float]

ERRORS = ("gaussian", "student-t")


@dataclass(frozen=True)
class Settings:
    """Model and prior ranges; all ranges are in normalised flux units (see `Normalisation`).

    Parameters
    ----------
    kernel : Kernel or str
    scale : (low, high)
        Scale factor phi, log-uniform.
    shift : (low, high)
        Shift G, uniform.
    syserr : (low, high)
        Systematic error eps, uniform (half-normal for codes of at most 5 points).
    errscale : (low, high)
        Error scale b, log-uniform.
    sigma, tau : (low, high)
        sigma_d and tau of the process, log-uniform; tau is further cut to [span / N, span] of each file.
    fixed_scale, fixed_shift : bool
        Hold all scales at 1 (normalised), all shifts at 0.
    systematic_error, error_scale : bool
        Whether eps and b are free.
    fixed_codes, fixed_scale_codes : tuple of str
        Telescopes whose fluxes are used as they are; telescopes whose normalised scale is 1.
    normalisation : "mean", "none" or "spread"
    errors : "gaussian" or "student-t"
    degrees : float
        Degrees of freedom of Student-t errors.

    Raises
    ------
    InputError
        If a range is not low < high or not positive where logarithms are used, or both scale and shift are fixed.
    """

    kernel: Kernel | str = "drw"
    scale: Range = (0.5, 2.0)
    shift: Range = (-1.0, 1.0)
    syserr: Range = (0.0, 0.2)
    errscale: Range = (0.1, 2.0)
    sigma: Range = (1e-4, 1.0)
    tau: Range = (1.0, 1e4)
    fixed_scale: bool = False
    fixed_shift: bool = False
    systematic_error: bool = False
    error_scale: bool = False
    fixed_codes: tuple[str, ...] = field(default=())
    fixed_scale_codes: tuple[str, ...] = field(default=())
    normalisation: str = "mean"
    errors: str = "gaussian"
    degrees: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", find_kernel(self.kernel))
        checked = ["scale", "shift", "sigma", "tau"]
        checked += ["syserr"] if self.systematic_error else []
        checked += ["errscale"] if self.error_scale else []
        for name in ("scale", "shift", "syserr", "errscale", "sigma", "tau"):
            low, high = (float(x) for x in getattr(self, name))
            object.__setattr__(self, name, (low, high))
            if name in checked and not low < high:
                raise InputError(f"limits {low:g}, {high:g}", where=f"prior range of {name}", expected="low < high")
            if name in ("scale", "errscale", "sigma", "tau") and not low > 0:
                raise InputError(f"lower limit {low:g}", where=f"prior range of {name}", expected="a limit > 0")
        if self.syserr[0] < 0:
            raise InputError(f"lower limit {self.syserr[0]:g}", where="prior range of syserr", expected="a limit >= 0")
        if self.fixed_scale and self.fixed_shift:
            raise InputError("scale and shift are both fixed", where="settings", expected="one of them free")
        if self.errors not in ERRORS:
            raise InputError(f"errors = {self.errors!r}", where="settings", expected=" or ".join(map(repr, ERRORS)))
        if not self.degrees > 2:
            raise InputError(f"degrees = {self.degrees:g}", where="settings", expected="more than 2 degrees of freedom")

    @property
    def process(self) -> Kernel:
        """The kernel as an object."""
        assert isinstance(self.kernel, Kernel)
        return self.kernel
