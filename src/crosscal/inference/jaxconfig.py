"""Double precision is asked for, never switched on behind a host program's back."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from crosscal.core.errors import ConfigError


def require_x64() -> None:
    """Check that JAX computes in double precision.

    Raises
    ------
    ConfigError
        Saying how to enable it.
    """
    import jax

    _quiet_tqdm()
    if not jax.config.jax_enable_x64:
        raise ConfigError(
            "JAX computes in single precision",
            where="JAX configuration",
            expected="crosscal.enable_x64() or JAX_ENABLE_X64=1 before the first computation",
        )


def enable_x64() -> None:
    """Switch JAX to double precision for the whole process (the command line and notebooks call this).

    Examples
    --------
    >>> import crosscal  # doctest: +SKIP
    >>> crosscal.enable_x64()  # doctest: +SKIP
    """
    _quiet_tqdm()
    _configure("jax_enable_x64", True)


def enable_compilation_cache(directory: str | os.PathLike[str]) -> None:
    """Keep compiled programs between runs, which saves seconds at each start of a sampler.

    Arrays that a function holds become arguments of its compiled program (JAX 0.7 or newer), so that the program serves
    any data of the same shape; otherwise each data set would be compiled anew.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    _configure("jax_compilation_cache_dir", str(directory))
    _configure("jax_persistent_cache_min_compile_time_secs", 0.5)
    _configure("jax_use_simplified_jaxpr_constants", True)


def _configure(name: str, value: bool | float | str) -> None:
    """Change a setting; JAX takes a second to import, so until somebody needs it, it is told by the environment."""
    if "jax" in sys.modules:
        import jax

        if name in jax.config.values:
            jax.config.update(name, value)
    else:
        os.environ[name.upper()] = str(value)


def _quiet_tqdm() -> None:
    """Import tqdm, which NumPyro loads and CrossCal does not show, without its warning that ipywidgets are absent."""
    if "IPython" in sys.modules and "tqdm.auto" not in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tqdm.auto  # noqa: F401
