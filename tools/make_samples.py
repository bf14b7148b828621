"""Write the small simulated tables of ``docs/samples``: ``python tools/make_samples.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

import crosscal
from crosscal import concordance, lightcurves, xray
from crosscal.fluxcal.demo import simulate

FOLDER = Path(__file__).parents[1] / "docs" / "samples"


def clusters() -> Table:
    """Temperatures and norms of 24 clusters; the area of acis is 8 % larger at 1.8 keV than its analysts think."""
    telescope = xray.example_telescope("b")
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    design = xray.Gaussian.grid(A=(-0.15, 0.15, 7), mu=(0.7, 5.0, 9), sigma=(0.5, 2.0, 5))
    library = xray.build_library(telescope, model, design, kT=np.geomspace(1.5, 14, 12), counts=5e4, band=(0.7, 7.0))
    pairs = xray.simulate_pairs(
        xray.train(library, "spline"),
        {"A": 0.08, "mu": 1.8, "sigma": 0.9},
        kT=np.geomspace(2, 12, 24),
        relative_error=0.02,
        telescopes=("pn", "acis"),
        seed=1,
    )
    columns: dict[str, object] = {"source": [f"cluster{k:02d}" for k in range(1, 25)]}
    sd = np.sqrt(np.diagonal(pairs.covariance, axis1=-2, axis2=-1))
    for q, name in enumerate(("kT", "norm")):
        for j, telescope_name in enumerate(pairs.telescopes):
            columns[f"{name}_{telescope_name}"] = pairs.values[j, :, q].round(4)
            columns[f"{name}_err_{telescope_name}"] = sd[j, :, q].round(4)
    return Table(columns)


def fluxes() -> Table:
    """Fluxes of 16 sources in three cameras."""
    data = concordance.published_like("XCAL_hard", tau=0.05, seed=8).data
    flux = np.exp(data.matrix()[:16])
    rng = np.random.default_rng(1)
    rows = [
        (f"source{i + 1:02d}", name, f"{1e-12 * flux[i, j]:.3e}", f"{1e-12 * flux[i, j] * 0.02:.1e}")
        for i in range(len(flux))
        for j, name in enumerate(data.channel_names)
        if rng.uniform() > 0.05  # not every camera saw every source
    ]
    return Table(rows=rows, names=("source", "instrument", "flux", "flux_err"))


def curves() -> dict[str, Table]:
    """The light curve of one source from two telescopes."""
    found, _ = lightcurves.simulate(seed=11, codes=("A", "B"), points=(60, 40))
    curve = found.files[0]
    tables = {}
    for k, code in enumerate(found.codes):
        mine = curve.code == k
        columns = {"mjd": (58000 + curve.time[mine]).round(3), "flux": curve.flux[mine].round(5)}
        tables[f"telescope_{code}.csv"] = Table({**columns, "flux_err": curve.error[mine].round(5)})
    return tables


def stars() -> Table:
    """Positions and magnitudes of standard stars."""
    found = simulate(seed=3).catalogue
    columns = {"name": found.name, "ra": found.ra.round(6), "dec": found.dec.round(6)}
    for k, band in enumerate(found.bands):
        columns[f"mag_{band.rsplit('_', 1)[-1].rsplit('-', 1)[-1]}"] = found.magnitude[:, k].round(3)
    return Table(columns)


def main() -> None:
    """Write all tables."""
    crosscal.enable_x64()
    FOLDER.mkdir(exist_ok=True)
    for name, table in {"clusters.csv": clusters(), "fluxes.csv": fluxes(), **curves(), "stars.csv": stars()}.items():
        table.write(FOLDER / name, format="ascii.csv", overwrite=True)
    spectra = [
        f"{source},{telescope},{source}_{telescope}.pha,{telescope}.arf,{telescope}.rmf,{nh},{redshift}"
        for source, nh, redshift in (("A2029", 0.0325, 0.0773), ("A1795", 0.0119, 0.0622))
        for telescope in ("pn", "acis")
    ]
    text = "\n".join(["source,telescope,pha,arf,rmf,nH,Redshift", *spectra, ""])
    (FOLDER / "spectra.csv").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
