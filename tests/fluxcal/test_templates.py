"""Template libraries: interpolation, photometry, formats, cache, BOSZ's layout."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.fluxcal import bosz
from crosscal.fluxcal.demo import demo_spectrum
from crosscal.fluxcal.stars.photometry import ab_magnitude
from crosscal.fluxcal.stars.resample import log_grid
from crosscal.fluxcal.stars.template_files import (
    load_templates,
    read_cache,
    read_grid,
    read_kurucz93,
    read_kurucz_sdss,
    read_spectrum,
)
from crosscal.fluxcal.stars.templates import TemplateLibrary


def small(nodes=((6000, 4.0, -1.0), (6500, 4.0, -1.0), (6000, 4.5, -1.0), (6500, 4.5, -1.0))):
    wave = log_grid(4000.0, 7000.0, 5e-4)
    flux = np.stack([demo_spectrum(wave, *n) for n in nodes])
    flux = (flux / flux.mean(axis=1, keepdims=True)).astype(np.float32)
    return TemplateLibrary("small", wave, flux, np.array(nodes, dtype=float), tuple("abcdefgh"[: len(nodes)]))


def test_interpolation_is_multilinear_and_never_extrapolates():
    library = small()
    weights, reached = library.interpolation(
        [[6250, 4.25, -1.0], [6100, 4.0, -1.0], [6600, 4.2, -1.0], [6000, 4.5, -1.0]]
    )
    assert reached.tolist() == [True, True, False, True]
    np.testing.assert_allclose(weights[0], 0.25)
    np.testing.assert_allclose(weights[1], [0.8, 0.2, 0, 0])
    np.testing.assert_allclose(weights[3], [0, 0, 1, 0])
    assert weights[0] @ library.parameters[:, 0] == pytest.approx(6250)


def test_a_cell_without_a_node_is_not_filled():
    library = small(((6000, 4.0, -1.0), (6500, 4.0, -1.0), (6000, 4.5, -1.0)))
    _, reached = library.interpolation([[6250, 4.25, -1.0], [6250, 4.0, -1.0]])
    assert reached.tolist() == [False, True]


def test_refined_keeps_nodes_and_interpolates_in_ln_flux():
    library = small()
    fine = library.refined(teff=250, logg=0.5, feh=1)
    assert len(fine) == 6
    middle = np.flatnonzero((fine.parameters == [6250, 4.0, -1.0]).all(axis=1))[0]
    expected = np.sqrt(library.flux[0].astype(float) * library.flux[1])
    np.testing.assert_allclose(fine.flux[middle], expected, rtol=1e-5)  # float32


def test_magnitudes_of_all_templates_agree_with_one_at_a_time(library, filters):
    some = library.take(np.arange(0, len(library), 300))
    from crosscal.fluxcal.stars.extinction import redden

    fast = some.magnitudes(filters, ebv=0.1)
    slow = [
        [ab_magnitude(f, some.wavelength, row * redden(some.wavelength, 0.1)) for f in filters] for row in some.flux
    ]
    np.testing.assert_allclose(fast, slow, atol=2e-4)  # single precision
    assert some.box(teff=(6000, 6200)).sum() < len(some)
    with pytest.raises(InputError, match="no parameter"):
        some.box(mass=(0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ()}, "no templates"),
        ({"parameters": np.zeros((3, 3))}, "fluxes"),
        ({"medium": "water"}, "wavelengths in"),
        ({"parameters": np.full((4, 3), np.nan)}, "parameter is not finite"),
    ],
)
def test_library_refuses(change, message):
    base = small()
    facts = {k: getattr(base, k) for k in ("name", "wavelength", "flux", "parameters", "label", "medium")}
    with pytest.raises(InputError, match=message):
        TemplateLibrary(**{**facts, **change})
    with pytest.raises(InputError, match="evenly spaced"):
        TemplateLibrary(**{**facts, "wavelength": np.linspace(4000, 7000, base.wavelength.size)})
    with pytest.raises(InputError, match="flux is not positive"):
        TemplateLibrary(**{**facts, "flux": base.flux * 0})


def write_grid(directory):
    directory.mkdir()
    wave = np.arange(2800.0, 11600.0, 2.0)
    rows = []
    for k, (t, g) in enumerate(((6000, 4.0), (6500, 4.0))):
        np.savetxt(directory / f"s{k}.txt", np.column_stack([wave, demo_spectrum(wave, t, g, -1.0) * 1e20]))
        rows.append((f"s{k}.txt", t, g, -1.0))
    table = Table(rows=rows, names=("file", "teff", "logg", "feh"))
    table.meta = {"name": "mine", "medium": "air", "fwhm": 2.0}
    table.write(directory / "grid.ecsv", format="ascii.ecsv")
    return directory


def test_grid_format_and_cache(tmp_path):
    grid = write_grid(tmp_path / "grid")
    library = load_templates(grid, cache=tmp_path / "cache")
    assert library.medium == "air"
    assert library.fwhm == 2.0
    assert library.name == "mine"
    assert len(library) == 11  # steps of 50 K
    slots = list((tmp_path / "cache").iterdir())
    assert len(slots) == 1
    again = load_templates(str(grid), cache=tmp_path / "cache")
    np.testing.assert_array_equal(again.flux, library.flux)
    assert list((tmp_path / "cache").iterdir()) == slots
    # a changed file makes a new copy
    wave, flux = read_spectrum(grid / "s0.txt")
    np.savetxt(grid / "s0.txt", np.column_stack([wave, flux * (wave / 5000)]))
    changed = load_templates(grid, cache=tmp_path / "cache")
    assert not np.array_equal(changed.flux, library.flux)
    assert len(load_templates(grid, cache=False, refine=False)) == 2
    (slots[0] / "meta.json").write_text("{}")
    with pytest.raises(DataFileError, match="not a template cache"):
        read_cache(slots[0])


def test_grid_problems(tmp_path):
    with pytest.raises(DataFileError, match="no such grid table"):
        read_grid(tmp_path)
    grid = write_grid(tmp_path / "grid")
    table = Table.read(grid / "grid.ecsv")
    table[["file", "teff"]].write(grid / "grid.ecsv", format="ascii.ecsv", overwrite=True)
    with pytest.raises(DataFileError, match="no column feh"):
        read_grid(grid)
    table[:0].write(grid / "grid.ecsv", format="ascii.ecsv", overwrite=True)
    with pytest.raises(DataFileError, match="no rows"):
        read_grid(grid)
    (grid / "grid.ecsv").write_text("# %ECSV 1.0\nnonsense")
    with pytest.raises(DataFileError, match="not an ECSV"):
        read_grid(grid)
    (tmp_path / "s.txt").write_text("a b c")
    with pytest.raises(DataFileError, match="not a spectrum"):
        read_spectrum(tmp_path / "s.txt")
    (tmp_path / "s.txt").write_text("2 1\n1 1\n")
    with pytest.raises(InputError, match="do not increase"):
        read_spectrum(tmp_path / "s.txt")
    with pytest.raises(DataFileError, match="no path"):
        load_templates("grid")


def test_kurucz_sdss_layout(tmp_path):
    wave = 10 ** (np.log10(3000.0) + 1e-4 * np.arange(5600))
    data = (
        np.stack([demo_spectrum(wave, 6000, 4.0, -1.0), demo_spectrum(wave, 6250, 4.0, -1.0)]).astype(np.float32) * 1e20
    )
    data[:, :5] = 0
    header = fits.Header({"CRVAL1": np.log10(3000.0), "CD1_1": 1e-4})
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("MODEL", "15A", array=["a", "b"]),
            fits.Column("FEH", "E", array=[-1.0, -1.0]),
            fits.Column("TEFF", "E", array=[6000, 6250]),
            fits.Column("G", "E", array=[4.0, 4.0]),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(data, header), table]).writeto(tmp_path / "k.fit")
    library = read_kurucz_sdss(tmp_path / "k.fit")
    assert library.medium == "vacuum"
    assert len(library) == 2
    assert library.wavelength[0] == pytest.approx(wave[5])
    (tmp_path / "bad.fit").write_text("x")
    with pytest.raises(DataFileError, match="not a Kurucz standard file"):
        read_kurucz_sdss(tmp_path / "bad.fit")


def test_kurucz93_layout(tmp_path):
    wave = np.arange(1000.0, 13000.0, 20.0)
    columns = [
        fits.Column("WAVELENGTH", "E", array=wave),
        fits.Column("g00", "E", array=np.zeros(wave.size)),
        fits.Column("g40", "E", array=demo_spectrum(wave, 6000, 4.0, -0.5) * 1e20),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "km05_6000.fits")
    library = read_kurucz93(tmp_path)
    np.testing.assert_allclose(library.parameters, [[6000, 4.0, -0.5]])
    assert library.label == ("km05_6000_g40",)
    with pytest.raises(DataFileError, match="no Kurucz files"):
        read_kurucz93(tmp_path / "nothing")


def published(directory, truncate=""):
    """A tiny copy of the publisher's tree."""
    wave = log_grid(2500.0, 12500.0, 1e-3)
    directory.mkdir()
    np.savetxt(directory / "bosz2024_wave_r500.txt", wave)
    for t in (6000, 6250):
        name = bosz.spectrum_name(t, 4.0, -1.0, resolution=500)
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        flux = demo_spectrum(wave, t, 4.0, -1.0) * 1e20
        n = wave.size // 2 if name.endswith(truncate) and truncate else wave.size
        with gzip.open(path, "wt") as stream:
            np.savetxt(stream, np.column_stack([flux, flux])[:n])
    return directory


def test_bosz_fetch_and_read(tmp_path):
    source = published(tmp_path / "mast")
    box = {"teff": (6000, 6250, 6500), "logg": (4.0,), "feh": (-1.0,), "resolution": 500}
    found = bosz.fetch_bosz(**box, base_url=source.as_uri(), directory=tmp_path / "cache")
    assert len(list(found.rglob("*.gz"))) == 2  # the third is not published
    # nothing is fetched twice: the source may be gone
    again = bosz.fetch_bosz(**{**box, "teff": (6000, 6250)}, base_url="file:///nowhere", directory=tmp_path / "cache")
    assert again == found
    library = bosz.read_bosz(found)
    np.testing.assert_allclose(library.parameters, [[6000, 4.0, -1.0], [6250, 4.0, -1.0]])
    assert library.medium == "vacuum"
    np.testing.assert_allclose(library.fwhm, library.wavelength / 500)
    assert len(load_templates("bosz", found, cache=tmp_path / "t")) == 6
    assert len(load_templates(str(found), cache=tmp_path / "t")) == 6
    assert bosz.spectrum_name(9000, 4.0, 0.0).split("_")[1] == "ap"
    assert bosz.spectrum_name(6000, 2.0, 0.0).split("_")[1] == "ms"


def test_bosz_problems(tmp_path):
    source = published(tmp_path / "mast", truncate=".gz")
    box = {"teff": (6000,), "logg": (4.0,), "feh": (-1.0,), "resolution": 500, "directory": tmp_path / "c"}
    with pytest.raises(DataFileError, match="truncated"):
        bosz.fetch_bosz(**box, base_url=source.as_uri())
    assert not list((tmp_path / "c").rglob("*.gz"))
    with pytest.raises(DataFileError, match="no spectrum was found"):
        bosz.fetch_bosz(**{**box, "teff": (9999,)}, base_url=source.as_uri())
    with pytest.raises(DataFileError, match="no wavelength file"):
        bosz.fetch_bosz(**{**box, "resolution": 501}, base_url=source.as_uri())
    with pytest.raises(ConfigError, match="no teff"):
        bosz.fetch_bosz(**{**box, "teff": ()}, base_url=source.as_uri())
    with pytest.raises(ConfigError, match="address"):
        bosz.fetch_bosz(**box, base_url="gopher://x")
    with pytest.raises(DataFileError, match="download failed"):
        bosz.fetch_bosz(**{**box, "directory": tmp_path / "d"}, base_url="http://127.0.0.1:9/none")
    with pytest.raises(DataFileError, match="no BOSZ spectra"):
        bosz.read_bosz(tmp_path / "none")
    with pytest.raises(DataFileError, match="rows"):
        bosz.read_bosz(source)
    two = source / bosz.spectrum_name(6000, 4.0, -1.0, resolution=1000)
    two.parent.mkdir(parents=True)
    two.write_bytes(b"")
    with pytest.raises(DataFileError, match="resolutions 1000, 500"):
        bosz.read_bosz(source)


def test_bosz_wavelengths_are_where_the_archive_has_them(tmp_path):
    source = published(tmp_path / "mast")
    box = {"teff": (6000, 6250), "logg": (4.0,), "feh": (-1.0,), "resolution": 500}
    (source / "wavelength_grids").mkdir()
    (source / "bosz2024_wave_r500.txt").rename(source / "wavelength_grids" / "bosz2024_wave_r500.txt")
    found = bosz.fetch_bosz(**box, base_url=source.as_uri(), directory=tmp_path / "cache")
    assert len(bosz.read_bosz(found)) == len(bosz.read_bosz(source)) == 2


def test_bosz_alpha_is_a_fourth_parameter_and_other_doubles_are_refused(tmp_path):
    import shutil

    source = published(tmp_path / "mast")
    for path in list(source.rglob("*_resam.txt.gz")):
        shutil.copy(path, path.with_name(path.name.replace("_a+0.00_", "_a+0.25_")))
    library = bosz.read_bosz(source)
    assert library.parameters.shape[1] == 4
    assert set(library.parameters[:, 3]) == {0.0, 0.25}
    fine = library.refined()
    assert set(np.unique(fine.parameters[:, 3])) == {0.0, 0.25}
    assert fine.label[0].endswith("a+0.00")
    for path in list(source.rglob("*_a+0.00_*")):
        shutil.copy(path, path.with_name(path.name.replace("_v2_", "_v1_")))
    with pytest.raises(DataFileError, match="differ in microturbulence"):
        bosz.read_bosz(source)


def test_repeated_parameters_are_refused_where_a_grid_is_filled(library):
    twice = library.take([0, 1, 1])
    with pytest.raises(InputError, match="1 templates repeat the parameters"):
        twice.refined()


def test_a_missing_library_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSCAL_DATA", str(tmp_path))
    monkeypatch.setenv("CROSSCAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "fluxcal" / "kurucz_sdss").mkdir(parents=True)
    (tmp_path / "fluxcal" / "kurucz_sdss" / "kurucz_stds_v5.fit").write_bytes(b"")
    with pytest.raises(DataFileError, match=r"'bosz' is not on this machine.*data fetch bosz.*'kurucz-sdss'"):
        load_templates("bosz")
    with pytest.raises(DataFileError, match=r"'kurucz93' is not on this machine.*CALIBFLUX_TEMPLATE_FILE"):
        load_templates("kurucz93")
