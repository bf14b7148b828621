"""``crosscal fluxcal FRAMES``: flux calibration of a list of frames without a job file."""

from __future__ import annotations

from typing import Any

import click


def _tell(outcome: Any) -> None:
    """Print the outcome of a frame as soon as it is known."""
    if outcome.calibrated:
        click.echo(f"{outcome.text} -> {outcome.output}")
    else:
        path = str(outcome.path)
        click.echo(outcome.text if outcome.text.startswith(path) else f"{path}: {outcome.text}")


@click.command("fluxcal")
@click.argument("frames", nargs=-1, required=True)
@click.option("-c", "--catalogue", required=True, help="Photometric catalogue of the standard stars.")
@click.option("-o", "--output", help="Directory of NAME_cal.fits [beside each frame].")
@click.option("-f", "--filter", "filters", multiple=True, help="Filter of the catalogue; may be given several times.")
@click.option("--band", "bands", multiple=True, help="FILTER=COLUMN, if columns do not have the names of filters.")
@click.option("--system", help="AB or Vega, for all bands [the system of each filter].")
@click.option("--filter-dir", help="Directory with FILTER.dat files; other filters come from speclite.")
@click.option("--templates", default="bosz", show_default=True, help="Template library, or a grid directory.")
@click.option("--template-file", help="The published file of the library.")
@click.option("--fwhm", type=float, help="Resolution in Angstrom [that of the file, else fitted to the stars].")
@click.option("--metric", default="chi2", show_default=True, help="chi2 or huber.")
@click.option("--no-smooth", is_flag=True, help="Do not smooth the curve.")
@click.option("--position/--no-position", default=None, help="Fit losses that vary over the plate [by left-out stars].")
@click.option("--ebv", type=float, default=0.0, show_default=True, help="E(B-V) of the field.")
def command(
    frames: tuple[str, ...],
    catalogue: str,
    output: str | None,
    filters: tuple[str, ...],
    bands: tuple[str, ...],
    system: str | None,
    filter_dir: str | None,
    templates: str,
    template_file: str | None,
    fwhm: float | None,
    metric: str,
    no_smooth: bool,
    position: bool | None,
    ebv: float,
) -> None:
    """Calibrate FRAMES with their standard stars; the files themselves are not touched.

    The exit code is 3 if a frame failed; its copy then says FLUXCAL = F and why.
    """
    from crosscal.cli.tell import CHECK_FAILED
    from crosscal.core.errors import ConfigError
    from crosscal.fluxcal.kspecdr import calibrate_list

    for text in bands:
        if "=" not in text:
            raise ConfigError(f"--band {text}", where="crosscal fluxcal", expected="FILTER=COLUMN")
    outcomes = calibrate_list(
        frames,
        {
            "CALIBFLUX_CATALOG": catalogue,
            "CALIBFLUX_FILTERS": list(filters) or None,
            "CALIBFLUX_BANDS": dict(text.split("=", 1) for text in bands) or None,
            "CALIBFLUX_SYSTEM": system,
            "CALIBFLUX_FILTER_DIR": filter_dir,
            "CALIBFLUX_TEMPLATES": templates,
            "CALIBFLUX_TEMPLATE_FILE": template_file,
            "CALIBFLUX_FWHM": fwhm,
            "CALIBFLUX_METRIC": metric,
            "CALIBFLUX_SMOOTH": not no_smooth,
            "CALIBFLUX_EBV": ebv,
            "CALIBFLUX_POSITION": "auto" if position is None else position,
        },
        output,
        each=_tell,
    )
    if not all(outcome.calibrated for outcome in outcomes):
        raise SystemExit(CHECK_FAILED)
