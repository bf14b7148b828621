"""Readers of the flux-calibration part."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .corpus_xray import simple
from .harness import Reader
from .sibling import sibling


@lru_cache
def _truth() -> Any:
    from crosscal.fluxcal.demo import simulate

    return simulate(seed=2, n_stars=3, n_targets=1, n_pixels=60)


def _frame(directory: Path) -> Path:
    def change(hdus: Any) -> None:
        hdus[0].header["FIB2"] = "P"
        hdus[0].header["SCRUNCH"] = True
        wave = hdus["WAVELA"].data[0]
        hdus[0].header["CRVAL1"], hdus[0].header["CDELT1"] = float(wave[0]), float(wave[1] - wave[0])

    return sibling("fluxcal/conftest.py").write_raw(directory / "0001red.fits", _truth(), change=change)


def _layout(name: str) -> Any:
    def build(directory: Path) -> Path:
        return sibling("fluxcal/layouts.py").WRITERS[name](directory / "frame.fits", _truth().frame)

    return build


def _mask_file(directory: Path) -> Path:
    (directory / "mask.dat").write_text("# O2\n6860.0 6970.0  # B band\n7585.0 7710.0\n8120.0 8350.0\n", "utf-8")
    return directory / "mask.dat"


def _mark_failed(path: Path) -> None:
    import tempfile

    from crosscal.fluxcal.frames.red import mark_failed

    with tempfile.TemporaryDirectory() as place:
        mark_failed(path, Path(place) / "copy.fits", "no stars")


@lru_cache
def _calibrated() -> bytes:
    import tempfile

    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.demo import demo_filters, demo_library, simulate
    from crosscal.fluxcal.frames.files import write_calibrated
    from crosscal.fluxcal.options import Options

    truth = simulate(seed=2, n_stars=8, n_targets=1, n_pixels=1000)
    result = Calibrator(truth.catalogue, demo_library(), demo_filters(), Options(fwhm=5.0, ebv=0.02)).calibrate(
        truth.frame
    )
    with tempfile.TemporaryDirectory() as place:
        return write_calibrated(result.apply(), Path(place) / "cal.fits").read_bytes()


def _curve(directory: Path) -> Path:
    (directory / "cal.fits").write_bytes(_calibrated())
    return directory / "cal.fits"


def _catalogue(suffix: str) -> Any:
    def build(directory: Path) -> Path:
        from astropy.table import Table

        c = _truth().catalogue
        table = Table({"name": c.name, "ra": c.ra, "dec": c.dec, "ebv": c.ebv, "g": c.magnitude[:, 0]})
        table["g_err"] = c.error[:, 0]
        kinds = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable", ".txt": "ascii.basic"}
        table.write(directory / f"stars{suffix}", format=kinds[suffix])
        return directory / f"stars{suffix}"

    return build


def _read_catalogue(path: Path) -> object:
    from crosscal.fluxcal.stars.catalogue import read_catalogue

    return read_catalogue(path, bands={"sdss-g": "g"}, errors={"sdss-g": "g_err"})


def _guess(path: Path) -> object:
    from crosscal.fluxcal.stars.catalogue import guess_bands

    return guess_bands(path, ["sdss-g"])


def _two_columns(name: str, low: float, high: float, n: int = 20) -> Any:
    def build(directory: Path) -> Path:
        x = np.linspace(low, high, n)
        y = np.exp(-0.5 * ((x - x.mean()) / (0.2 * (high - low))) ** 2)
        y[[0, -1]] = 0.0 if "filter" in name else y[1]
        np.savetxt(directory / name, np.column_stack([x, y]), header="wavelength value")
        return directory / name

    return build


def _load_filters(path: Path) -> object:
    from crosscal.fluxcal.stars.filters import load_filters

    return load_filters([str(path)])


def _site(path: Path) -> object:
    from crosscal.fluxcal.stars.sites import read_site

    return read_site(path)


def _grid(directory: Path) -> Path:
    from astropy.table import Table

    from crosscal.fluxcal.demo import demo_spectrum

    wave = np.arange(2800.0, 11600.0, 60.0)
    rows = []
    for k, (t, g) in enumerate(((6000, 4.0), (6500, 4.0))):
        np.savetxt(directory / f"s{k}.txt", np.column_stack([wave, demo_spectrum(wave, t, g, -1.0) * 1e20]))
        rows.append((f"s{k}.txt", t, g, -1.0))
    table = Table(rows=rows, names=("file", "teff", "logg", "feh"))
    table.meta = {"name": "mine", "medium": "air", "fwhm": 2.0}
    table.write(directory / "grid.ecsv", format="ascii.ecsv")
    return directory


def _load_grid(path: Path) -> object:
    from crosscal.fluxcal.stars.template_files import load_templates

    return load_templates(path, cache=False, refine=True)


def _cache(directory: Path) -> Path:
    from crosscal.fluxcal.stars.template_files import read_grid, write_cache

    _grid(directory)
    write_cache(read_grid(directory), directory / "slot")
    for path in directory.iterdir():
        if path.is_file():
            path.unlink()
    return directory / "slot"


def _kurucz_sdss(directory: Path) -> Path:
    from astropy.io import fits

    from crosscal.fluxcal.demo import demo_spectrum

    step = (np.log10(11000) - np.log10(3000)) / 120
    wave = 10 ** (np.log10(3000.0) + step * np.arange(120))
    data = np.stack([demo_spectrum(wave, t, 4.0, -1.0) for t in (6000, 6250)]).astype(np.float32) * 1e20
    data[:, :5] = 0
    header = fits.Header({"CRVAL1": np.log10(3000.0), "CD1_1": step})
    columns = [
        fits.Column("MODEL", "15A", array=["a", "b"]), fits.Column("FEH", "E", array=[-1.0, -1.0]),
        fits.Column("TEFF", "E", array=[6000, 6250]), fits.Column("G", "E", array=[4.0, 4.0]),
    ]  # fmt: skip
    hdus = fits.HDUList([fits.PrimaryHDU(data, header), fits.BinTableHDU.from_columns(columns)])
    hdus.writeto(directory / "k.fit")
    return directory / "k.fit"


def _spectrum_fits(directory: Path) -> Path:
    from astropy.io import fits

    wave = np.arange(3000.0, 3200.0, 10.0)
    columns = [fits.Column("WAVELENGTH", "E", array=wave), fits.Column("FLUX", "E", array=np.ones(wave.size))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(directory / "s.fits")
    return directory / "s.fits"


def _kurucz93(directory: Path) -> Path:
    from astropy.io import fits

    from crosscal.fluxcal.demo import demo_spectrum

    wave = np.arange(1000.0, 13000.0, 100.0)
    columns = [
        fits.Column("WAVELENGTH", "E", array=wave), fits.Column("g00", "E", array=np.zeros(wave.size)),
        fits.Column("g40", "E", array=demo_spectrum(wave, 6000, 4.0, -0.5) * 1e20),
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(directory / "km05_6000.fits")
    return directory


def _bosz(directory: Path) -> Path:
    from crosscal.fluxcal import bosz
    from crosscal.fluxcal.demo import demo_spectrum
    from crosscal.fluxcal.stars.resample import log_grid

    wave = log_grid(2500.0, 12500.0, 1e-2)
    np.savetxt(directory / "bosz2024_wave_r500.txt", wave)
    for t in (6000, 6250):
        path = directory / bosz.spectrum_name(t, 4.0, -1.0, resolution=500)
        path.parent.mkdir(parents=True, exist_ok=True)
        flux = demo_spectrum(wave, t, 4.0, -1.0) * 1e20
        with gzip.open(path, "wt") as stream:
            np.savetxt(stream, np.column_stack([flux, flux * 2]))
    return directory


def _calibrate(directory: Path) -> Path:
    _frame(directory)
    _catalogue(".csv")(directory)
    _two_columns("g.dat", 4200.0, 5300.0)(directory)
    return directory


def _list(path: Path) -> object:
    """A list of frames goes on after a damaged one; damage of the catalogue or a filter is an error."""
    import tempfile

    from crosscal.fluxcal.kspecdr import calibrate_list

    with tempfile.TemporaryDirectory() as place:
        return calibrate_list(
            [path / "0001red.fits"],
            {
                "CALIBFLUX_CATALOG": str(path / "stars.csv"), "CALIBFLUX_FILTERS": ["g"],
                "CALIBFLUX_FILTER_DIR": str(path), "CALIBFLUX_TEMPLATES": "demo", "CALIBFLUX_FWHM": 5.0,
            },
            place,
        )  # fmt: skip


def _dust(directory: Path) -> Path:
    from astropy.io import fits

    header = fits.Header({"LAM_NSGP": 1, "LAM_SCAL": 10.0, "CRPIX1": 11.0, "CRPIX2": 11.0})
    fits.PrimaryHDU(np.full((21, 21), 0.05, dtype=np.float32), header).writeto(directory / "dust.fits")
    return directory / "dust.fits"


def _use_dust(path: Path) -> object:
    from crosscal.fluxcal.stars.dust import read_dust_map

    return read_dust_map([path]).ebv([190.0, 10.0], [27.0, -20.0])


def _xp(directory: Path) -> Path:
    """Two sources in the archive's rows."""
    from astropy.table import Table

    n = 343
    flux = np.full((2, n), 1e-17)
    table = Table({"source_id": np.array([4472832130942575872, 5853498713190525696]), "flux": flux})
    table["flux_error"] = 0.01 * flux
    table.write(directory / "xp.fits")
    return directory / "xp.fits"


READERS = [
    simple("fluxcal.stars.xp.read_xp", _xp, share=0.4),
    Reader("fluxcal.stars.dust.read_dust_map", _dust, _use_dust),
    simple("fluxcal.frames.reading.read_frame", _frame),
    *(
        simple("fluxcal.frames.reading.read_frame", _layout(name), name, share=0.3)
        for name in ("desi", "pfs", "sdss", "pypeit")
    ),
    Reader("fluxcal.frames.red.mark_failed", _frame, _mark_failed, share=0.3),
    simple("fluxcal.frames.files.read_curve", _curve, share=0.4),
    *(
        Reader("fluxcal.stars.catalogue.read_catalogue", _catalogue(suffix), _read_catalogue, suffix[1:])
        for suffix in (".csv", ".ecsv", ".fits", ".vot", ".txt")
    ),
    Reader("fluxcal.stars.catalogue.guess_bands", _catalogue(".csv"), _guess),
    simple("fluxcal.stars.filters.read_filter", _two_columns("filter.dat", 4200.0, 5300.0)),
    Reader(
        "fluxcal.stars.filters.load_filters", _two_columns("filter.txt", 420.0, 530.0), _load_filters,
        covers=("fluxcal.stars.filters.load_filter",), share=0.5,
    ),
    Reader("fluxcal.stars.sites.read_site", _two_columns("site.dat", 3000.0, 9000.0), _site),
    simple("fluxcal.stars.template_files.read_grid", _grid, share=0.5),
    Reader("fluxcal.stars.template_files.load_templates", _grid, _load_grid, share=0.2),
    simple("fluxcal.stars.template_files.read_cache", _cache),
    simple("fluxcal.stars.template_files.read_kurucz_sdss", _kurucz_sdss),
    simple("fluxcal.stars.template_files.read_kurucz93", _kurucz93),
    simple("fluxcal.stars.template_files.read_spectrum", _two_columns("s.txt", 3000.0, 9000.0), "text"),
    simple("fluxcal.stars.template_files.read_spectrum", _spectrum_fits, "fits"),
    simple("fluxcal.bosz.read_bosz", _bosz, share=0.5),
    simple("fluxcal.kspecdr.read_mask", _mask_file),
    Reader("fluxcal.kspecdr.calibrate_list", _calibrate, _list, share=0.1, covers=("fluxcal.kspecdr.apply_fluxcal",)),
]  # fmt: skip
