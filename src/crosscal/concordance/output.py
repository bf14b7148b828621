"""What a concordance leaves on disk: tables, posterior, corrections against energy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosscal.concordance import columns
from crosscal.core.files import write_ecsv
from crosscal.core.provenance import write_provenance
from crosscal.datasets import CORRECTION_FILE, write_correction

if TYPE_CHECKING:
    from crosscal.concordance.result import Result


def correction_table(correction: Any) -> Any:
    """Return a Correction as a table: coordinate, factor, sd of ln factor, intervals; the covariance is in the meta."""
    from astropy.table import QTable

    from crosscal.core.tables import describe

    low, high = correction.interval(0.95)
    table = QTable({correction.axis: correction.coordinate})
    table["factor"], table["log_sd"] = correction.factor, correction.sd
    table["q2.5"], table["q97.5"] = low, high
    if correction.unit:
        table[correction.axis].unit = correction.unit
    table.meta = {"target": correction.target, "log_covariance": correction.covariance.tolist()}
    return describe(table, columns.CORRECTION)


def write_result(result: Result, directory: Path) -> dict[str, Path]:
    """See `Result.write`."""
    tables: Iterable[tuple[str, Any]] = (
        ("summary", result.summary()),
        ("fluxes", result.fluxes()),
        ("influence", result.influences()),
        ("conflict", result.conflicts()),
        ("leave_one_out", result.leave_one_out()),
        ("correction", correction_table(result.correction)),
    )
    paths = {name: write_ecsv(directory / f"{name}.ecsv", table) for name, table in tables}
    paths["posterior"] = result.posterior_draws.write(directory / "posterior.nc")
    paths["correction.nc"] = write_correction(directory / CORRECTION_FILE, result.correction)
    paths["provenance"] = write_provenance(directory, result.provenance)
    for instrument in result.data.instruments:
        # Against energy, for jobs of other parts; only where the job said what its bands mean in keV.
        if all(band in result.band_energies for name, band in result.data.channels if name == instrument):
            path = directory / f"correction_{instrument.replace(' ', '_').replace('/', '_')}.nc"
            paths[path.stem] = write_correction(path, result.correction_for(instrument))
    return paths
