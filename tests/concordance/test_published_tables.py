"""What published tables state beside their numbers is used, refused, or told."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from crosscal.concordance import read_matrix, read_table
from crosscal.core.cells import read_cell
from crosscal.core.errors import DataFileError, InputError, UnknownNameError

HEAD = "instrument,source,flux,err\n"
ROWS = "pn,A,1.0,0.05\nMOS1,A,1.1,0.05\n"
MARKDOWN = "| " + f"{HEAD}-,-,-,-\n{ROWS}".strip().replace(",", " | ").replace("\n", " |\n| ") + " |\n"


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def pair(**columns):
    return Table({"instrument": ["pn", "MOS1"], "source": ["A", "A"], **columns})


@pytest.mark.parametrize(
    "word", ["\u2014", "\u2013", "\\ldots", "$\\cdots$", "n.a.", "INDEF", "<NA>", "\\N", "--\\tnote{a}"]
)
def test_more_words_for_nothing(tmp_path, word):
    data = read_table(write(tmp_path, f"{HEAD}{ROWS}pn,B,2.0,0.05\nMOS1,B,{word},{word}\n"), error="err")
    assert data.n_cells == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.05 +/- 2%", (1.05, 0.021, 0.021, 0)),
        ("1.05(0.02)", (1.05, 0.02, 0.02, 0)),
        ("1.05 +0.03/-0.02", (1.05, 0.02, 0.03, 0)),
        ("1.05 (+0.03, -0.02)", (1.05, 0.02, 0.03, 0)),
        ("\u2264 0.3", (0.3, np.nan, np.nan, 1)),
        ("$\\geq0.3$", (0.3, np.nan, np.nan, -1)),
        ("$1.05\\times10^{-12}\\pm 2\\times10^{-14}$", (1.05e-12, 2e-14, 2e-14, 0)),
        ("$1.1^{+0.3}_{-0.2}\\times 10^{-12}$", (1.1e-12, 2e-13, 3e-13, 0)),
        ("(1.1 \u00b1 0.3) \u00d7 10^-12", (1.1e-12, 3e-13, 3e-13, 0)),
        ("$1.1 \\pm 0.1$\\tablenotemark{b}", (1.1, 0.1, 0.1, 0)),
    ],
)
def test_more_cells(text, expected):
    assert np.allclose(read_cell(text), expected, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("text", ["1.05 \u00b1 0.02e-12", "1.05 +0.03 -0.02e-12", "(2)", "1_0", "1.1(+3/-2)"])
def test_cells_of_two_readings_are_no_cells(text):
    assert read_cell(text) is None


@pytest.mark.parametrize("kind", ["f4", ">f4", "f8"])
def test_markers_are_found_as_the_column_holds_them(tmp_path, kind):
    flux = np.array([1.0, 1.1, 2.0, -99.9], kind)
    table = Table({"instrument": ["pn", "MOS1"] * 2, "source": ["A", "A", "B", "B"], "flux": flux, "e": [0.1] * 4})
    table.write(tmp_path / "t.fits")
    for source in (table, tmp_path / "t.fits"):
        with pytest.raises(DataFileError, match=r"row 4, column 'flux': -99.9 may be a measurement or a marker"):
            read_table(source, error="e")
        assert read_table(source, error="e", missing=[-99.9]).n_cells == 3


def test_high_markers(tmp_path):
    columns = {"instrument": "survey", "source": "star", "flux": "m", "error": "e", "scale": "magnitude"}
    stars = "survey,star,m,e\nPS1,s,15.0,0.01\nSDSS,s,99.99,0.1\n"
    with pytest.raises(DataFileError, match=r"99\.99 may be a measurement or a marker of a missing value"):
        read_table(write(tmp_path, stars), **columns)
    assert read_table(write(tmp_path, stars), missing=[99.99], **columns).n_cells == 1
    both = write(tmp_path, f"{HEAD}{ROWS}pn,B,999,999\n")
    with pytest.raises(DataFileError, match="row 3, column 'flux': 999 may be a measurement"):
        read_table(both, error="err")
    assert read_table(write(tmp_path, f"{HEAD}{ROWS}pn,B,999,20\n"), error="err").n_cells == 3


def test_units_of_errors():
    table = pair(flux=[1.0, 1.1] * u.mJy, e=[50.0, 60.0] * u.uJy)
    assert np.allclose(read_table(table, error="e").flux_low, [0.05, 0.06])
    assert np.allclose(read_table(table, error="e", flux_unit="uJy").flux_low, [50.0, 60.0])
    percent = pair(flux=[1.0, 1.1] * u.mJy, e=[5.0, 6.0] * u.percent)
    assert np.allclose(read_table(percent, error="e").flux_low, [0.05, 0.066])
    with pytest.raises(DataFileError, match="column 'e': error unit 's'; expected a unit convertible to 'mJy'"):
        read_table(pair(flux=[1.0, 1.1] * u.mJy, e=[5.0, 6.0] * u.s), error="e")
    logs = pair(log_flux=[0.0, 0.1], e=[5.0, 6.0] * u.percent)
    assert np.allclose(np.sqrt(read_table(logs, log_error="e").variance), [0.05, 0.06])


def test_units_of_wide_tables():
    table = Table({"source": ["A", "B"], "pn": [1.0, 2.0] * u.mJy, "pn_err": [100.0, 100.0] * u.uJy,
                   "NuSTAR": [1000.0, 2000.0] * u.uJy, "NuSTAR_err": [100.0, 100.0] * u.uJy})  # fmt: skip
    data = read_matrix(table)
    assert np.allclose(data.flux, [1.0, 1.0, 2.0, 2.0])
    assert np.allclose(data.flux_low, 0.1)
    assert data.flux_unit == "mJy"
    assert np.allclose(read_matrix(table, flux_unit="uJy").flux, [1000.0, 1000.0, 2000.0, 2000.0])
    table["NuSTAR"].unit = table["NuSTAR_err"].unit = None
    assert "Columns without a unit are assumed to be in mJy: NuSTAR." in read_matrix(table).assumed
    table["NuSTAR"].unit = "s"
    with pytest.raises(DataFileError, match="column 'NuSTAR': flux unit 's'"):
        read_matrix(table)


def test_a_column_of_units_is_not_overlooked(tmp_path):
    mixed = write(tmp_path, "instrument,source,flux,err,unit\npn,A,1.0,0.05,mJy\nMOS1,A,1100,50,uJy\n")
    with pytest.raises(DataFileError, match=r"column 'unit' holds several units \(mJy, uJy\); expected unit = 'unit'"):
        read_table(mixed, error="err")
    assert np.allclose(read_table(mixed, error="err", unit="unit").flux, [1.0, 1.1])
    one = write(tmp_path, "instrument,source,band,flux,err,unit\npn,A,hard,1.0,0.05,mJy\nMOS1,A,hard,1.1,0.1,mJy\n")
    assert read_table(one, error="err").assumed == ("Unused columns: band, unit.",)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("PS1_mag", "SDSS_mag"), "magnitudes"),
        (("gmag_PS1", "gmag_SDSS"), "magnitudes"),
        (("logF_pn", "logF_MOS1"), "logarithms"),
        (("log10_flux_pn", "log10_flux_MOS1"), "logarithms"),
    ],
)
def test_wide_tables_whose_names_tell_of_a_scale(tmp_path, names, kind):
    first, second = names
    text = f"star,{first},{first}_err,{second},{second}_err\ns1,15.0,0.01,15.1,0.01\ns2,16.0,0.01,16.1,0.01\n"
    with pytest.raises(DataFileError, match=f"column '{first}': the values may be {kind}"):
        read_matrix(write(tmp_path, text))
    assert read_matrix(write(tmp_path, text), scale="log10").n_cells == 4


def test_a_long_column_whose_name_tells_of_logarithms(tmp_path):
    path = write(tmp_path, "instrument,source,log10flux,err\npn,A,-12.0,0.05\nMOS1,A,-12.1,0.05\n")
    with pytest.raises(DataFileError, match="the values may be logarithms; expected scale = 'log10' or 'ln'"):
        read_table(path, flux="log10flux", error="err")
    data = read_table(path, flux="log10flux", error="err", scale="log10")
    assert np.allclose(data.log_rate, np.log(10) * np.array([-12.0, -12.1]))


def test_flags_of_limits_in_words(tmp_path):
    columns = {"instrument": "Inst", "source": "Src", "flux": "Flux", "error": "e_Flux"}
    head = "Inst,Src,l_Flux,Flux,e_Flux\npn,A,,1.0,.05\nMOS1,A,,1.1,.05\n"
    path = write(tmp_path, f"{head}pn,B,<,0.3,.1\nMOS1,B,,0.2,.05\n")
    data = read_table(path, **columns)
    assert data.limit.tolist() == [0, 0, 1, 0]
    assert "Column 'l_Flux' flags limits." in data.assumed
    assert read_table(path, limit="l_Flux", **columns).limit.tolist() == [0, 0, 1, 0]
    words = write(tmp_path, path.read_text().replace("<", "UL"))
    assert read_table(words, limit="l_Flux", **columns).limit.tolist() == [0, 0, 1, 0]
    odd = write(tmp_path, path.read_text().replace("UL", "<").replace("MOS1,B,,", "MOS1,B,maybe,"))
    with pytest.raises(DataFileError, match="row 4, column 'l_Flux': 'maybe' is not a limit flag"):
        read_table(odd, limit="l_Flux", **columns)
    flags = pair(flux=[1.0, 1.1], e=[0.1, 0.1], ul=[True, False])
    assert read_table(flags, error="e", limit="ul").limit.tolist() == [1, 0]
    wide = write(tmp_path, "s,Fpn,e_Fpn,l_Fpn,FM1,e_FM1,l_FM1\nA,1.0,.05,,1.1,.05,\nB,0.3,.1,<,0.2,.05,\n")
    assert read_matrix(wide).limit.tolist() == [0, 0, 1, 0]


def test_errors_below_and_above_are_told_apart(tmp_path):
    columns = {"instrument": "Inst", "source": "Src", "flux": "Flux"}
    cds = write(tmp_path, "Inst,Src,Flux,E_Flux,e_Flux\npn,A,1.0,.15,.05\nMOS1,A,1.1,.15,.05\n")
    with pytest.raises(
        DataFileError, match=r"but there is a column 'E_Flux' too; expected error = \['e_Flux', 'E_Flux'\]"
    ):
        read_table(cds, error="e_Flux", **columns)
    assert np.allclose(read_table(cds, error=["e_Flux"], **columns).flux_high, 0.05)
    assert np.allclose(read_table(cds, error=["e_Flux", "E_Flux"], **columns).flux_high, 0.15)
    with pytest.raises(DataFileError, match="are named before the errors below"):
        read_table(cds, error=["E_Flux", "e_Flux"], **columns)
    sides = write(tmp_path, "instrument,source,flux,err_lo,err_hi\npn,A,1.0,0.05,.07\nMOS1,A,1.1,0.06,.08\n")
    with pytest.raises(DataFileError, match=r"'err_hi'\) are named before the errors below \('err_lo'\)"):
        read_table(sides, error=["err_hi", "err_lo"])
    with pytest.raises(DataFileError, match="3 error columns"):
        read_table(sides, error=["err_hi", "err_lo", "flux"])


def test_ends_of_intervals_are_not_errors(tmp_path):
    path = write(tmp_path, "instrument,source,flux,lo,hi\npn,A,1.0,0.95,1.07\nMOS1,A,1.1,1.04,1.18\n")
    with pytest.raises(
        DataFileError, match="'lo' and 'hi' may hold errors, or the ends of the interval about the value"
    ):
        read_table(path, error=["lo", "hi"])
    data = read_table(path, error=["lo", "hi"], bounds=True)
    assert np.allclose(data.flux_low, [0.05, 0.06])
    assert np.allclose(data.flux_high, [0.07, 0.08])
    assert np.allclose(read_table(path, error=["lo", "hi"], bounds=False).flux_low, [0.95, 1.04])
    with pytest.raises(DataFileError, match="one column of bounds"):
        read_table(path, error="lo", bounds=True)


@pytest.mark.parametrize(
    "names",
    [
        ("@_FLUX", "@_FLUX_ERR_LO", "@_FLUX_ERR_HI"),
        ("@_FLUX", "@_FLUX_LOWERR", "@_FLUX_UPERR"),
        ("F@", "e_F@", "E_F@"),
    ],
)
def test_wide_tables_with_errors_to_both_sides(tmp_path, names):
    head = [n.replace("@", inst) for inst in ("PN", "M1") for n in names]
    path = write(tmp_path, f"src,{','.join(head)}\nA,1.0,.05,.07,1.1,.06,.08\nB,2.0,.05,.07,2.1,.06,.08\n")
    data = read_matrix(path)
    assert data.instruments == ("PN", "M1")
    assert np.allclose(data.flux_low, [0.05, 0.06] * 2)
    assert np.allclose(data.flux_high, [0.07, 0.08] * 2)
    value, low, high = (n.replace("@", "{inst}") for n in names)
    given = read_matrix(path, value=value, error=[low, high])
    assert np.allclose(given.flux_high, data.flux_high)


def test_names_of_wide_tables_that_do_not_exist(tmp_path):
    path = write(tmp_path, "s,PN_FLUX,PN_ERR,M1_FLUX,M1_ERR\na,1.0,.02,1.1,.03\nb,2.1,.03,2.2,.05\n")
    rest = {"ignore": ["PN_ERR", "M1_ERR"], "logarithmic": False}
    with pytest.raises(DataFileError, match=r"instrument 'PN' has no error column that fits '\{inst\}_SIGMA'"):
        read_matrix(path, value="{inst}_FLUX", error="{inst}_SIGMA", **rest)
    with pytest.raises(UnknownNameError, match="unknown column 'M1_FLX'"):
        read_matrix(path, value={"PN": "PN_FLUX", "M1": "M1_FLX"}, **rest)
    with pytest.raises(UnknownNameError, match="unknown instrument 'M2'"):
        read_matrix(path, value="{inst}_FLUX", error={"PN": "PN_ERR", "M1": "M1_ERR", "M2": "M1_ERR"})
    with pytest.raises(UnknownNameError, match="unknown column 'RA'"):
        read_matrix(path, ignore=["RA"])
    with pytest.raises(DataFileError, match="patterns of errors or limits without one of values"):
        read_matrix(path, error="{inst}_ERR")
    with pytest.raises(DataFileError, match=r"no column fits '\{inst\}_UL'"):
        read_matrix(path, value="{inst}_FLUX", error="{inst}_ERR", limit="{inst}_UL")
    plain = write(tmp_path, "s,pn,M1\nA,1,1.1\nB,2,2.1\n")
    for error in (5.0, -0.05):
        with pytest.raises(InputError, match=r"expected a fraction such as 0\.05"):
            read_matrix(plain, error=error, logarithmic=False)
    magnitudes = read_matrix(plain, error=0.05, scale="magnitude")
    assert np.allclose(np.sqrt(magnitudes.variance), np.sqrt(np.log1p(0.05**2)))


def test_ratios_with_confidence_and_limits(tmp_path):
    path = write(tmp_path, "instrument,to,flux,err\npn,MOS1,0.95,0.02\nNuSTAR,pn,1.10,0.03\n")
    sd = np.sqrt(read_table(path, to="to", error="err").variance)
    assert np.allclose(np.sqrt(read_table(path, to="to", error="err", confidence=0.9).variance), sd / 1.645, rtol=1e-3)
    limit = write(tmp_path, "instrument,to,flux\npn,MOS1,0.95 +/- 0.02\nNuSTAR,pn,<1.10\n")
    with pytest.raises(InputError, match="ratios with limits"):
        read_table(limit, to="to")
    sides = write(tmp_path, "instrument,to,flux\npn,MOS1,0.95 +0.05 -0.01\n")
    assert "Errors below and above differ; their root mean square is used." in read_table(sides, to="to").assumed


def test_asymmetric_errors_of_magnitudes_are_told():
    table = pair(m=[15.0, 15.1], low=[0.1, 0.1], high=[0.3, 0.3])
    data = read_table(table, flux="m", error=["low", "high"], scale="magnitude")
    assert "Errors below and above differ; their root mean square is used." in data.assumed


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("table.csv", HEAD + ROWS, "utf-16-le"),
        ("table.csv", HEAD + ROWS, "utf-16-be"),
        ("markdown.txt", MARKDOWN,
         "utf-8"),
        ("comma.csv", "instrument,source,flux,err,\npn,A,1.0,0.05,\nMOS1,A,1.1,0.05,\n", "utf-8"),
        ("excel.csv", "sep=;\n" + (HEAD + ROWS).replace(",", ";").replace(".", ","), "utf-8"),
        ("quoted.csv", 'instrument,source,flux,err\npn,A,"1,0","0,05"\nMOS1,A,"1,1","0,05"\n', "utf-8"),
    ],
)  # fmt: skip
def test_more_layouts_of_text(tmp_path, name, text, encoding):
    data = read_table(write(tmp_path, text, name, encoding), error="err")
    assert data.instruments == ("pn", "MOS1")
    assert np.allclose(data.flux, [1.0, 1.1])
    assert np.allclose(data.flux_low, 0.05)


def test_decimal_commas_in_numbers_with_errors(tmp_path):
    text = "instrument;source;flux\npn;A;1,05 \u00b1 0,02\nMOS1;A;1,10(3)\npn;B;<0,3\nMOS1;B;0,25 +0,05 -0,03\n"
    data = read_table(write(tmp_path, text))
    assert np.allclose(data.flux, [1.05, 1.10, 0.3, 0.25])
    assert data.flux_high[3] == pytest.approx(0.05)
    with pytest.raises(DataFileError, match=r"'1,050' may be 1\.050 or 1050"):
        read_table(write(tmp_path, "instrument;source;flux\npn;A;1,050 \u00b1 1,020\nMOS1;A;1,100(3)\n"))


def test_marks_of_footnotes_belong_to_no_name(tmp_path):
    rows = "pn & PKS~2155\\tablenotemark{a} & $1.05 \\pm 0.02$ \\\\\nMOS1 & PKS 2155 & $1.1 \\pm 0.1$ \\\\\n"
    text = f"\\begin{{tabular}}{{lll}}\ninstrument & source & flux \\\\\n{rows}\\end{{tabular}}\n"
    data = read_table(write(tmp_path, text, "t.tex"))
    assert [name for name, _ in data.columns] == ["PKS 2155"]


def test_other_tables_of_a_fits_file_are_told(tmp_path):
    hdus = [fits.BinTableHDU(pair(flux=[1.0, x]), name=f"V{x}") for x in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "t.fits")
    assert "The file holds several tables: V1 is used, not V2" in read_table(tmp_path / "t.fits").assumed[0]
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    with pytest.raises(DataFileError, match="no table"):
        read_table(tmp_path / "image.fits")


def test_bands_that_differ_by_case_are_refused(tmp_path):
    text = "instrument,source,band,flux\npn,A,hard,1\nMOS1,A,Hard,1.1\n"
    with pytest.raises(InputError, match="bands 'Hard', 'hard' differ by case or blanks only"):
        read_table(write(tmp_path, text), band="band")


@pytest.mark.parametrize(
    ("names", "errors"),
    [
        (("flux [mJy]", "err [uJy]"), [50.0, 60.0]),
        (("flux (mJy)", "err (uJy)"), [50.0, 60.0]),
        (("flux_mJy", "flux_err_uJy"), [50.0, 60.0]),
        (("flux", "flux_err_percent"), [5.0, 100 * 0.06 / 1.1]),
        (("flux", "err (%)"), [5.0, 100 * 0.06 / 1.1]),
        (("flux", "rel_err"), [0.05, 0.06 / 1.1]),
        (("flux", "flux_var"), [0.05**2, 0.06**2]),
        (("flux", "flux_ivar"), [0.05**-2, 0.06**-2]),
        (("flux", "snr"), [20.0, 1.1 / 0.06]),
    ],
)
def test_names_of_columns_that_tell_what_errors_are(tmp_path, names, errors):
    flux, error = names
    rows = "".join(f"{i},A,{v},{e!r}\n" for i, v, e in zip(("pn", "MOS1"), (1.0, 1.1), errors, strict=True))
    data = read_table(write(tmp_path, f"instrument,source,{flux},{error}\n{rows}"), flux=flux, error=error)
    assert np.allclose(data.flux_low, [0.05, 0.06])
    assert data.flux_unit in ("", "mJy")


def test_errors_with_a_unit_need_values_with_one():
    with pytest.raises(DataFileError, match="errors in mJy of values without a unit"):
        read_table(pair(flux=[1.0, 1.1], e=[0.1, 0.1] * u.mJy), error="e")


@pytest.mark.parametrize("batch", [2, 10_000])
def test_parquet_tables_of_astropy_keep_units_and_masks(tmp_path, monkeypatch, batch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("crosscal.concordance.parquet.BATCH", batch)
    table = Table({"instrument": ["pn", "MOS1"] * 2, "source": ["A", "A", "B", "B"],
                   "flux": np.ma.array([1.0, 1.1, 2.0, 5.0], mask=[0, 0, 0, 1]), "e": [100.0] * 4 * u.uJy})  # fmt: skip
    table["flux"].unit = "mJy"
    table.write(tmp_path / "t.parquet")
    data = read_table(tmp_path / "t.parquet", error="e")
    assert data.n_cells == 3
    assert data.flux_unit == "mJy"
    assert np.allclose(data.flux_low, 0.1)


def test_rows_of_wide_tables_named_by_numbers(tmp_path):
    data = read_matrix(write(tmp_path, "SRCID,pn,MOS1\n11,1.0,2.0\n12,1.1,2.1\n"), logarithmic=False)
    assert data.instruments == ("pn", "MOS1")
    assert [name for name, _ in data.columns] == ["11", "12"]
    assert "Column 'SRCID' names the rows." in data.assumed
    with pytest.raises(DataFileError, match="columns 'mean' may not be measurements"):
        read_matrix(write(tmp_path, "name,pn,MOS1,mean\nA,1.0,2.0,1.5\n"), logarithmic=False)


def test_julian_dates_beside_modified_ones(tmp_path):
    path = write(tmp_path, "instrument,source,flux,t\npn,A,1,55000\nMOS1,A,1,2455000.5\n")
    with pytest.raises(InputError, match=r"row 2: times such as 2455000\.5 may be Julian dates"):
        read_table(path, time="t")
