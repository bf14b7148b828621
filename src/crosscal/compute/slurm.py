"""Slurm jobs as Dask workers: started with checks, so that a run does not wait for workers that never come."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from crosscal.compute.environment import worker_environment
from crosscal.core.errors import ConfigError, MissingDependencyError

_WHERE = "executor 'dask', table slurm"


def processes(options: Mapping[str, Any]) -> int:
    """Return the worker processes of one job: one a core (one thread each) unless said otherwise."""
    return int(options.get("processes", options.get("cores", 1)))


def start(options: Mapping[str, Any]) -> Any:
    """Return a ``dask_jobqueue.SLURMCluster`` that keeps ``jobs`` jobs, replacing those that end.

    Raises
    ------
    MissingDependencyError
        If dask-jobqueue is not installed.
    ConfigError
        If dask-jobqueue or Slurm refuses the options.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise MissingDependencyError("dask-jobqueue", extra="cluster", purpose="Slurm jobs") from None
    given = dict(options)
    jobs = int(given.pop("jobs", 1))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in worker_environment().items()]
    given["processes"] = processes(options)
    given["job_script_prologue"] = [*exports, *given.get("job_script_prologue", [])]
    try:
        cluster = SLURMCluster(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"dask-jobqueue refuses these options ({error})",
            where=_WHERE,
            expected="options of SLURMCluster, such as cores = 8 and memory = '16GB'",
        ) from error
    try:
        _try_submission(cluster.job_script())
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _try_submission(script: str) -> None:
    """Ask Slurm whether it would take the job; Dask itself would wait for a refused one for ever."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as stream:
        stream.write(script)
        stream.flush()
        try:
            tried = subprocess.run(["sbatch", "--test-only", stream.name], capture_output=True, text=True)
        except FileNotFoundError:
            raise ConfigError(
                "there is no sbatch", where=_WHERE, expected="a machine that submits Slurm jobs"
            ) from None
    if tried.returncode:
        said = " ".join(tried.stderr.split()).replace("sbatch: error: ", "").replace("allocation failure: ", "")
        raise ConfigError(f"Slurm refuses the job ({said})", where=_WHERE, expected="options of this cluster")


def living_jobs(numbers: list[str]) -> set[str]:
    """Return which of the Slurm jobs wait or run."""
    if not numbers:
        return set()
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%i", "--jobs", ",".join(numbers)], capture_output=True, text=True
    )
    # Slurm forgets jobs some minutes after their end and then calls the numbers invalid.
    return set(listed.stdout.split())
