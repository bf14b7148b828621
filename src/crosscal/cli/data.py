"""``crosscal data list | path | find | fetch | build-plasma``."""

from __future__ import annotations

import click

from crosscal import datasets


@click.group("data")
def command() -> None:
    """Show, find, fetch and build data.

    Data are looked for in the directory CROSSCAL_DATA, then in the user's cache, then in the package.
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
@click.option("--url", help="Address, for data that are not among the known downloads.")
@click.option("--sha256", "checksum", help="SHA-256 that the file must have.")
def fetch(name: str, url: str | None, checksum: str | None) -> None:
    """Download NAME into the user's cache; it is kept only if its SHA-256 matches.

    NAME bosz fetches F and G spectra of BOSZ 2024 in their published layout (no checksums exist; lengths are checked).
    """
    if name == "bosz":
        from crosscal.cli.runner import display
        from crosscal.fluxcal.bosz import BASE_URL, fetch_bosz

        click.echo(fetch_bosz(base_url=url or BASE_URL, progress=display()))
        return
    click.echo(datasets.fetch(name, url=url, checksum=checksum))
