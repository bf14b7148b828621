"""Readers of the concordance part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .corpus_xray import simple
from .harness import Reader

KINDS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".txt": "ascii.commented_header"}


def _long(suffix: str) -> Any:
    def build(directory: Path) -> Path:
        from astropy.table import Table

        table = Table(
            {
                "instrument": ["pn", "pn", "MOS1", "MOS1", "acis"],
                "source": ["007", "b", "007", "b", "b"],
                "band": ["soft", "soft", "soft", "soft", "soft"],
                "flux": [1.0, 2.0, 1.1, 2.2, 3.0],
                "err": [0.1, 0.1, 0.1, 0.1, 0.1],
                "time": [1.0, 2.0, 3.0, 4.0, 5.0],
            }
        )
        if suffix in (".ecsv", ".fits"):
            table["flux"].unit = "erg / (s m2)"
        path = directory / f"table{suffix}"
        if suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet as parquet

            parquet.write_table(pyarrow.table({c: list(table[c]) for c in table.colnames}), path)
        else:
            table.write(path, format=KINDS[suffix])
        return path

    return build


def _read_long(path: Path) -> object:
    from crosscal.concordance.reading import read_table

    select = {"time": {"max": 10.0}}
    return read_table(path, error="err", band="band", time="time", select=select, flux_unit="erg / (s cm2)")


def _sorted_parquet(directory: Path) -> Path:
    import pyarrow
    import pyarrow.parquet as parquet

    columns = {
        "instrument": ["pn", "MOS1"] * 4,
        "source": [f"s{k // 2}" for k in range(8)],
        "flux": [1.0, 1.1, 2.0, 2.2, 3.0, 3.1, 4.0, 4.1],
        "err": [0.1] * 8,
    }
    parquet.write_table(pyarrow.table(columns), directory / "long.parquet", row_group_size=4)
    return directory / "long.parquet"


def _read_chunks(path: Path) -> object:
    from crosscal.concordance.chunks import ChunkedTable
    from crosscal.concordance.reading_cells import Request

    request = Request(
        "instrument", "source", "flux", None, None, "err", None, None, None, None, None, None, False,
        None, None, None, None, None, None, None, "", "",
    )  # fmt: skip
    table = ChunkedTable.open(path, request)
    return [table.read(k) for k in range(len(table.chunks))]


def _text(name: str, content: str) -> Any:
    def build(directory: Path) -> Path:
        (directory / name).write_text(content)
        return directory / name

    return build


def _read_matrix(path: Path) -> object:
    from crosscal.concordance.reading_wide import read_matrix

    return read_matrix(path, names="src", logarithmic=False, error=0.1), read_matrix(
        path, names="src", orientation="instruments", logarithmic=False
    )


def _read_tau(path: Path) -> object:
    from crosscal.concordance.reading_priors import iachec_tau, read_tau_matrix

    table = read_tau_matrix(path, keep_ambiguous=True)
    return table, iachec_tau({"pn1": "XMM pn"}, {"hard": (2.0, 8.0)}, path).tau("pn1", "hard")


def _read_draws(path: Path) -> object:
    from crosscal.concordance.priors import covariance_from_draws
    from crosscal.concordance.reading_priors import read_area_draws
    from crosscal.concordance.types import Comparison

    draws = read_area_draws(path)
    data = Comparison.from_cells(
        ["pn", "MOS1", "pn", "MOS1"], ["a", "a", "b", "b"], flux=np.ones(4), error=np.full(4, 0.1),
    )  # fmt: skip
    return covariance_from_draws(data, draws)


MATRIX = "src,pn,MOS1\na,1.0,2.0\nb,,4.0\nc,2.0,1.5\n"
TAU = "instrument,0.5-2.0,2.0-10,parse_note\nXMM pn,2,3,ok\nNuSTAR,,4,ambiguous\n"
DRAWS = "instrument,soft\npn,100\npn,101\npn,103\nMOS1,30\nMOS1,31\nMOS1,33\n"

READERS = [
    *(
        Reader("concordance.reading.read_table", _long(suffix), _read_long, suffix[1:])
        for suffix in (".csv", ".ecsv", ".fits", ".txt", ".parquet")
    ),
    Reader(
        "concordance.chunks.ChunkedTable.open",
        _sorted_parquet,
        _read_chunks,
        covers=("concordance.chunks.ChunkedTable.read", "concordance.parquet.open_parquet"),
        share=0.3,
    ),
    simple("concordance.table_columns.load_columns", _long(".csv")),
    Reader("concordance.reading_wide.read_matrix", _text("matrix.csv", MATRIX), _read_matrix),
    Reader(
        "concordance.reading_priors.read_tau_matrix",
        _text("tau.csv", TAU),
        _read_tau,
        covers=("concordance.reading_priors.iachec_tau",),
    ),
    Reader("concordance.reading_priors.read_area_draws", _text("draws.csv", DRAWS), _read_draws),
]
