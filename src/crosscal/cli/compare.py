"""``crosscal compare A B``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from crosscal.cli.lines import say
from crosscal.core.correction import Comparison

#: Rows of a curve that the terminal shows; the table on disk has all.
ROWS = 12


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Directory for the table, figure and numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, and nothing else, on stdout.")
@click.option("--average", is_flag=True, help="Also write the inverse-covariance mean of the two to OUTPUT.")
def command(first: str, second: str, output: Path | None, as_json: bool, average: bool) -> None:
    """Compare two corrections: do FIRST and SECOND agree within their uncertainties?

    FIRST and SECOND are run directories of any part, or correction.nc files. The two are assumed to be independent.
    """
    from crosscal.core.errors import InputError
    from crosscal.datasets import read_correction, write_correction

    if average and output is None:
        raise InputError("--average needs an output directory", where="crosscal compare", expected="--output DIRECTORY")
    a, b = read_correction(first), read_correction(second)
    compared = a.compare(b)
    facts = {
        "first": first,
        "second": second,
        "answer": str(compared),
        "chi2": compared.chi2,
        "dof": compared.dof,
        "p_value": compared.p_value if compared.dof else None,
        "remainder": compared.remainder,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        _show(compared)
        say(f"\n{compared}")
    if output is None:
        return
    from crosscal.core.files import write_ecsv, write_text
    from crosscal.plot import comparison, save_figures

    write_ecsv(output / "comparison.ecsv", table(compared))
    names = (Path(first).name, Path(second).name)
    save_figures({"comparison": comparison(compared, names if names[0] != names[1] else ("A", "B"))}, output)
    write_text(output / "comparison.json", json.dumps(facts, indent=1) + "\n")
    if average:
        write_correction(output / "correction.nc", a.average(b))
    click.echo(f"Written to {output}.", err=as_json)


def table(compared: Comparison) -> Any:
    """Return an astropy QTable: coordinate, both factors with sd of ln, ln ratio, its sd and their quotient."""
    import numpy as np
    from astropy.table import QTable

    rows = QTable({compared.first.axis: compared.coordinate})
    if compared.first.unit:
        rows[compared.first.axis].unit = compared.first.unit
    for name, correction in (("first", compared.first), ("second", compared.second)):
        rows[name], rows[f"{name}_sd_ln"] = correction.factor, correction.sd
    rows["ln_ratio"], rows["ln_ratio_sd"] = compared.log_ratio, compared.sd
    with np.errstate(divide="ignore", invalid="ignore"):
        rows["pull"] = compared.log_ratio / compared.sd
    rows.meta = {"chi2": compared.chi2, "dof": compared.dof, "p_value": compared.p_value}
    return rows


def _show(compared: Comparison) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    unit = f" ({compared.first.unit})" if compared.first.unit else ""
    shown = Table(box=None, pad_edge=False)
    for heading in (f"{compared.first.axis}{unit}", "first", "second", "ratio - 1 (%)", "sd (%)", "pull"):
        shown.add_column(heading, justify="right")
    n = compared.coordinate.size
    for i in np.unique(np.linspace(0, n - 1, min(n, ROWS) if compared.first.numeric else n).round().astype(int)):
        at, d, sd = compared.coordinate[i], compared.log_ratio[i], compared.sd[i]
        cells = (
            f"{at:.4g}" if compared.first.numeric else str(at),
            f"{compared.first.factor[i]:.4g}",
            f"{compared.second.factor[i]:.4g}",
            f"{100 * np.expm1(d):+.2f}",
            f"{100 * sd:.2f}",
            f"{d / sd:+.1f}" if sd > 0 else "",
        )
        shown.add_row(*cells)
    # Names are names: "[/b]" is no markup, ":x:" no emoji.
    Console(markup=False, emoji=False).print(shown)
