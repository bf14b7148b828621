"""``crosscal data list | path | find | fetch | build-plasma``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosscal import datasets


@click.group("data")
def command() -> None:
    """List, find, download and build data files.

    CrossCal searches the directory CROSSCAL_DATA, then the user's cache, then the package.
    """


@command.command("path")
def path() -> None:
    """Print the data search path."""
    for name, directory in datasets.search_path().items():
        click.echo(f"{name:14s} {directory}{'' if directory.is_dir() else '  (absent)'}")


@command.command("list")
def list_files() -> None:
    """List the data found, and the downloads that `crosscal data fetch` knows."""
    for name, where in datasets.listing().items():
        click.echo(f"{name}  [{where}]")
    for name, entry in datasets.DOWNLOADS.items():
        click.echo(f"fetch {name}: {entry.purpose}")


@command.command("find")
@click.argument("name")
def find(name: str) -> None:
    """Print the path of the data file NAME."""
    click.echo(datasets.find(name))


@command.command("fetch")
@click.argument("name")
@click.option("--url", help="URL, for data that are not in the list of known downloads.")
@click.option("--sha256", "checksum", help="Expected SHA-256 of the file.")
def fetch(name: str, url: str | None, checksum: str | None) -> None:
    """Download NAME into the user's cache; it is kept only if its SHA-256 matches.

    NAME bosz fetches F and G spectra of BOSZ 2024 in their published layout (no checksums exist; lengths are checked).
    """
    if name == "bosz":
        from crosscal.compute.progress import display
        from crosscal.fluxcal.bosz import BASE_URL, fetch_bosz

        click.echo(fetch_bosz(base_url=url or BASE_URL, progress=display()))
        return
    click.echo(datasets.fetch(name, url=url, checksum=checksum))


@command.command("build-plasma")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--coco", type=click.Path(path_type=Path), help="The continuum file, if SOURCE is a line file.")
@click.option("--bins", default=1000, show_default=True, help="Bins from 0.1 to 17 keV; 20000 for microcalorimeters.")
@click.option("--lines", default=1900, show_default=True, help="Number of lines stored at their exact energies.")
@click.option("--all-lines", is_flag=True, help="Store every line at its exact energy.")
@click.option("--kT", "kT_range", type=(float, float), default=(0.08, 90.0), show_default=True, help="keV.")
@click.option("--velocity", default=0.0, show_default=True, help="Turbulent broadening of all lines, sigma in km/s.")
@click.option("--thermal", is_flag=True, help="Thermal broadening of all lines.")
@click.option("--precision", type=click.Choice(["half", "single"]), default="half", show_default=True)
@click.option("--force", is_flag=True, help="Replace OUTPUT if it exists.")
def build_plasma(source: Path, output: Path, coco: Path | None, all_lines: bool, force: bool, **options: Any) -> None:
    """Make a plasma table OUTPUT (.npz) from AtomDB's files.

    SOURCE is a directory with apec_v*_line.fits and apec_v*_coco.fits (gzipped or not), or the line file, with the
    other one given by --coco. Use the table with `plasma = "OUTPUT"` in a job's [model] or Model(..., table=OUTPUT).
    """
    from crosscal.xray.emission.build import build_plasma as build

    if all_lines:
        options["lines"] = None
    path = build(source, coco, output, overwrite=force, **options)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


@command.command("area-draws")
@click.argument("ensembles", nargs=-1, required=True, metavar="NAME=FILE...")
@click.option("--band", "bands", type=(str, float, float), multiple=True, required=True, help="Name, low, high (keV).")
@click.option("--index", default=2.0, show_default=True, help="Photon index of the weighting spectrum.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The table to write (ECSV).")
def area_draws(ensembles: tuple[str, ...], bands: tuple[Any, ...], index: float, output: Path) -> None:
    """Average ensembles of ARFs over energy bands, for `area_draws` of a concordance job's [prior].

    Each NAME=FILE is an instrument as the concordance calls it, and its ensemble (one file, or a directory of ARFs).
    """
    from crosscal.joins import write_area_draws

    click.echo(write_area_draws(output, ensembles, {name: (low, high) for name, low, high in bands}, index=index))
