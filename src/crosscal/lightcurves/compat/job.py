"""A parameter file of PyCALI is a job.

Apart from the job itself: every run asks whether its file is one, and most have nothing to do with light curves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from crosscal.jobs.options import plain, validate
from crosscal.jobs.parts import ForeignJob
from crosscal.lightcurves.compat.options import data_path, is_param_line, read_param_file
from crosscal.lightcurves.formats.pycali import read_pycali
from crosscal.lightcurves.settings import ModelChoice, Prior

if TYPE_CHECKING:
    from crosscal.lightcurves.options import LightcurvesJob


def job_from_param_file(path: str | os.PathLike[str]) -> LightcurvesJob:
    """Turn a PyCALI parameter file into a job, so that it runs as it is; the output goes to ``FILE-crosscal``.

    Data files are looked for in the working directory, as PyCALI does, then beside the parameter file.

    Raises
    ------
    ConfigError, DataFileError
        If the file or its data are not what PyCALI accepts.
    """
    from crosscal.lightcurves.options import LightcurvesJob

    options = read_param_file(path)
    continuum = data_path(options.fcont, path)
    lines = [data_path(name, path) for name in options.fline]
    settings = options.settings(read_pycali(continuum, lines))
    content = plain(settings)
    job: LightcurvesJob = validate(
        LightcurvesJob,
        {
            "job": "lightcurves",
            "output": Path(path).with_suffix("").name + "-crosscal",
            "data": {"continuum": str(continuum.resolve()), "lines": [str(line.resolve()) for line in lines]},
            "model": {k: v for k, v in content.items() if k in ModelChoice.__dataclass_fields__},
            "prior": {k: v for k, v in content.items() if k in Prior.__dataclass_fields__},
            "sampling": {"draws": min(max(options.nmcmc, 500), 20000)},
        },
        source=Path(path),
    )
    return job


PYCALI = ForeignJob("lightcurves", is_param_line, job_from_param_file)
