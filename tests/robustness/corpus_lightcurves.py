"""Readers of the light-curve part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .corpus_xray import simple
from .harness import Reader

BLOCKS = """# A 4
1.0 1.1 0.1
2.0 1.2 0.1
3.0 1.3 0.1
4.0 1.0 0.1
# B 3
1.5 2.1 0.1
2.5 2.2 0.1
3.5 2.3 0.1
"""
FLAGGED = "# A 3\n1.0 1.1 0.1 0\n2.0 1.2 0.1 1\n3.0 1.3 0.1 0\n# B 2\n1.5 2.1 0.1 0\n2.5 2.2 0.1 7\n"
PARAM = """# a comment
FileCont   cont.txt
FileLine   line0.txt
NMcmc      1000
PTol       0.1
ScaleRangeUp\t2.5
FixedSyserr 0    # free
FixedCodes 1
FixedScaleCodes 0
FlagNorm 0
"""


def _text(name: str, content: str) -> Any:
    def build(directory: Path) -> Path:
        (directory / name).write_text(content)
        return directory / name

    return build


def _survey(name: str) -> str:
    from .sibling import sibling

    return getattr(sibling("lightcurves/test_survey.py"), name)


def _later(name: str) -> Any:
    return lambda directory: _text("table.csv", _survey(name))(directory)


def _parameters(directory: Path) -> Path:
    _text("cont.txt", BLOCKS)(directory)
    _text("line0.txt", BLOCKS)(directory)
    return _text("param.txt", PARAM)(directory)


def _survey_reader(name: str, **options: Any) -> Any:
    def read(path: Path) -> object:
        from crosscal.lightcurves import reading as survey

        cuts = survey.Selection(errlimit=None, rebin=1.0)
        return survey.merge(getattr(survey, name)(path, cuts, **options))

    return read


def _columns(path: Path) -> object:
    from crosscal.lightcurves.reading import merge, read_columns

    return merge(read_columns(path, "mine"))


def _convert(name: str, *arguments: Any) -> Any:
    def read(path: Path) -> object:
        from crosscal.lightcurves.compat import helpers

        return getattr(helpers, name)(path, *arguments)

    return read


def _job(path: Path) -> object:
    from crosscal.lightcurves.compat.job import job_from_param_file

    job = job_from_param_file(path)
    return job.data.read(job.model.reference), job.settings()


def _sample(name: str) -> Any:
    def build(directory: Path) -> Path:
        from .sibling import sibling

        samples = sibling("lightcurves/samples.py")
        if name in samples.BINARY:
            return samples.BINARY[name](directory / "table.dat")
        return _text("table.dat", samples.TEXTS[name])(directory)

    return build


def _any(path: Path) -> object:
    from crosscal.lightcurves import reading as survey

    return survey.read(path, error=0.1)


#: Layouts and containers, each read by looking into the file.
KINDS = (
    "asassn-client", "ztf-tbl", "ztf-forced", "ztf-alerts", "ztf-alerts-difference", "gaia", "gaia-alerts", "crts",
    "panstarrs", "aavso", "cosmograil", "cds", "tess", "uvot", "parquet", "ecsv",
)  # fmt: skip
READ = "lightcurves.reading.read"

ASASSN = "lightcurves.reading.read_asassn"

READERS = [
    simple("lightcurves.formats.pycali.read_pycali", _text("c.txt", BLOCKS)),
    simple("lightcurves.formats.pycali.read_block_file", _text("c.txt", FLAGGED), "flags"),
    simple("lightcurves.compat.helpers.load_pycali_data", _text("c.txt", BLOCKS)),
    simple("lightcurves.compat.helpers.load_pycali_data_flag", _text("c.txt", FLAGGED)),
    Reader("lightcurves.reading.read_asassn", _later("OLD"), _survey_reader("read_asassn"), "old"),
    Reader(ASASSN, _later("NEW"), _survey_reader("read_asassn", by_camera=True), "new"),
    Reader(ASASSN, _later("OLD"), _survey_reader("read_asassn", use_flux=True), "flux"),
    Reader("lightcurves.reading.read_ztf", _later("ZTF"), _survey_reader("read_ztf")),
    Reader("lightcurves.reading.read_atlas", _later("ATLAS"), _survey_reader("read_atlas")),
    *(Reader(READ, _sample(kind), _any, kind, covers=(f"{READ}_table",), share=0.5) for kind in KINDS),
    Reader("lightcurves.reading.read_columns", _text("c.txt", "1 2 0.1\n2 3 0.1\n3,4,0.1,x\n"), _columns),
    Reader("lightcurves.compat.helpers.convert_asassn", _later("OLD"), _convert("convert_asassn"), share=0.5),
    Reader("lightcurves.compat.helpers.convert_ztf", _later("ZTF"), _convert("convert_ztf"), share=0.5),
    Reader(
        "lightcurves.compat.helpers.convert_mydata", _text("c.txt", "1 2 0.1\n2 3 0.1\n"),
        _convert("convert_mydata", "mine"), share=0.5,
    ),
    simple("lightcurves.compat.options.read_param_file", _parameters),
    Reader("lightcurves.compat.job.job_from_param_file", _parameters, _job, covers=("lightcurves.options.Data.read",)),
]  # fmt: skip
