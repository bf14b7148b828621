"""Tables of temperatures in the forms in which people publish them: the same numbers, and what was assumed is told."""

import numpy as np
import pytest
from astropy.table import Table

from crosscal.core.errors import ConfigError, DataFileError
from crosscal.xray.correction.fit_logs import read_fit_log
from crosscal.xray.correction.pairs_columns import Column, column_of
from crosscal.xray.correction.pairs_io import read_pairs

# Two sources seen by pn and acis; errors of 0.1, 0.2 (pn) and 0.2, 0.3 (acis).
PLAIN = "source,kT_pn,kT_err_pn,kT_acis,kT_err_acis\nA1,5.0,0.1,5.5,0.2\nA2,7.0,0.2,7.9,0.3\n"
S90 = 1.6448536269514722
VIZIER = """\
#
#   VizieR Astronomical Server vizier.cds.unistra.fr
#Column\tName\t(a6)\tName of the cluster
#Column\te_kT_pn\t(F5.2)\t1{sigma} lower error
Name\t_RA\tkT_pn\te_kT_pn\tE_kT_pn\tkT_acis\te_kT_acis\tz\tn_H
\tdeg\tkeV\tkeV\tkeV\teV\teV\t\t10+20cm-2
------\t-----\t-----\t-----\t-----\t-----\t-----\t----\t----
A1\t10.1\t5.0\t0.05\t0.15\t5500\t200\t0.05\t3.0
A2\t20.1\t7.0\t0.1\t0.3\t7900\t300\t0.10\t5.0

"""
LATEX = r"""\begin{table}
\caption{Temperatures.}
\begin{tabular}{lcc}
\hline\hline
Cluster & $kT_{\rm pn}$ & $kT_{\rm acis}$ \\
 & (keV) & (keV) \\
\hline
A1 & $5.0\pm0.1$ & $5.5^{+0.2}_{-0.2}$ \\
A2\tablefootmark{a} & 7.0(2) & $7.9 \pm 0.3$ \\
\hline
\end{tabular}
\end{table}
"""
AASTEX = r"""\begin{deluxetable}{lcc}
\tablehead{\colhead{Cluster} & \colhead{$kT_{\rm pn}$} & \colhead{$kT_{\rm acis}$} \\
\colhead{} & \colhead{(eV)} & \colhead{(keV)}}
\startdata
A1 & $5000\pm100$ & $5.5^{+0.2}_{-0.2}$ \\
A2 & 7000(200) & $7.9 \pm 0.3$ \\
\enddata
\tablecomments{Errors are 1$\sigma$.}
\end{deluxetable}
"""
MRT = """Title: Temperatures
Authors: A. Nobody
Table: Temperatures
================================================================================
Byte-by-byte Description of file: t.txt
--------------------------------------------------------------------------------
   Bytes Format Units   Label     Explanations
--------------------------------------------------------------------------------
   1-  2 A2     ---     Name      Cluster
   5-  7 F3.1   keV     kT-pn     Temperature
   9- 14 F6.4   keV     e_kT-pn   Error (1)
  16- 16 A1     ---     l_kT-acis Limit
  18- 20 F3.1   keV     kT-acis   Temperature
  22- 27 F6.4   keV     e_kT-acis Error
--------------------------------------------------------------------------------
Note (1): Uncertainties are at 90% confidence.
--------------------------------------------------------------------------------
A1  5.0 0.1645   5.5 0.3290
A2  7.0 0.3290   7.9 0.4935
"""
IN_CELLS = ("the errors of kT_pn are read from its cells", "the errors of kT_acis are read from its cells")
FORMS = {
    "plus-minus.csv": ("source,kT_pn,kT_acis\nA1,5.0±0.1,5.5 +/- 0.2\nA2,7.0 +- 0.2,7.9 ± 0.3\n", IN_CELLS),
    "digits.csv": ("source,kT_pn,kT_acis\nA1,5.0(1),5.5(2)\nA2,7.0 (0.2),7.9(3)\n", IN_CELLS),
    "two-sided.csv": (
        'source,kT_pn,kT_acis\nA1,"5.0 (+0.15, -0.05)",5.5^{+0.2}_{-0.2}\nA2,7.0_{-0.1}^{+0.3},7.9 +0.3/-0.3\n',
        IN_CELLS,
    ),
    "decimal-commas.csv": (
        "source;kT_pn;kT_acis\nA1;5,0±0,1;5,5 ± 0,2\nA2;7,0(2);7,9 ± 0,3\n",
        (*IN_CELLS, "Decimal commas are read as points"),
    ),
    "latex.tex": (LATEX, (*IN_CELLS, "The table is read as LaTeX", "column Cluster names the sources")),
    "booktabs.tex": (
        LATEX.replace("\\hline\\hline", "\\toprule").replace("\\hline\nA1", "\\midrule\nA1"),
        (*IN_CELLS, "read as LaTeX", "column Cluster"),
    ),
    "latex-90.tex": (
        LATEX.replace("Temperatures.", r"Errors are at the 90\% confidence level.")
        .replace(r"\pm0.1", f"\\pm{0.1 * S90}")
        .replace("{+0.2}_{-0.2}", f"{{+{0.2 * S90}}}_{{-{0.2 * S90}}}")
        .replace("7.0(2)", f"7.0({0.2 * S90})")
        .replace(r"\pm 0.3", f"\\pm {0.3 * S90}"),
        (*IN_CELLS, "read as LaTeX", "column Cluster", "errors are taken at 90 % confidence"),
    ),
    "aastex.tex": (AASTEX, (*IN_CELLS, "read as LaTeX", "column Cluster")),
    "machine-readable.txt": (
        MRT,
        ("read as a machine-readable table", "column Name", "errors are taken at 90 % confidence"),
    ),
    "bars.txt": (
        "| source | kT_pn | kT_acis |\n|---|---|---|\n| A1 | 5.0±0.1 | 5.5±0.2 |\n| A2 | 7.0±0.2 | 7.9±0.3 |\n",
        IN_CELLS,
    ),
    "two-sigma.csv": (
        "# errors are 2 sigma\nsource,kT_pn,kT_err_pn,kT_acis,kT_err_acis\nA1,5.0,0.2,5.5,0.4\nA2,7.0,0.4,7.9,0.6\n",
        ("errors are taken at 95.45 % confidence and divided by 2.000",),
    ),
    "own.csv": (PLAIN, ()),
    "tabs.tsv": (PLAIN.replace(",", "\t"), ()),
    "semicolons.csv": (PLAIN.replace(",", ";"), ()),
    "spaces.txt": (PLAIN.replace(",", "  "), ()),
    "vizier.tsv": (VIZIER, ("column Name names the sources", "unused columns: _RA")),
    "vizier.csv": (VIZIER.replace("\t", ";"), ("column Name names the sources", "unused columns: _RA")),
    "xga.csv": (
        (
            "name,Tx_500_pn,Tx_500_pn-,Tx_500_pn+,Tx_500_acis,Tx_500_acis-,Tx_500_acis+,rad\n"
            "A1,5.0,0.1,0.1,5.5,0.2,0.2,1\nA2,7.0,0.2,0.2,7.9,0.3,0.3,1\n"
        ),
        ("column name names the sources", "unused columns: rad"),
    ),
    "telescope-first.csv": (
        "cluster,pn_kT,pn_kT_err,acis_kT,acis_kT_err\nA1,5.0,0.1,5.5,0.2\nA2,7.0,0.2,7.9,0.3\n",
        ("column cluster names the sources",),
    ),
    "negative.csv": (
        (
            "source,kT_pn,kT_lo_pn,kT_hi_pn,kT_acis,kT_err_lo_acis,kT_err_hi_acis\n"
            "A1,5.0,-0.1,0.1,5.5,-0.2,0.2\nA2,7.0,-0.2,0.2,7.9,-0.3,0.3\n"
        ),
        ("column kT_lo_pn is negative throughout", "column kT_err_lo_acis is negative throughout"),
    ),
    "bounds.csv": (
        (
            "source,kT_pn,kT_min_pn,kT_max_pn,kT_acis,kT_lo_acis,kT_hi_acis\n"
            "A1,5.0,4.9,5.1,5.5,5.3,5.7\nA2,7.0,6.8,7.2,7.9,7.6,8.2\n"
        ),
        ("kT_min_pn and kT_max_pn are bounds of kT_pn", "kT_lo_acis and kT_hi_acis are bounds"),
    ),
    "90-in-names.csv": (
        (
            f"source,kT_pn,kT_err90_pn,kT_acis,kT_err_90_acis\nA1,5.0,{0.1 * S90},5.5,{0.2 * S90}\n"
            f"A2,7.0,{0.2 * S90},7.9,{0.3 * S90}\n"
        ),
        ("errors are taken at 90 % confidence and divided by 1.645",),
    ),
    "90-in-a-comment.csv": (
        (
            f"# errors are at the 90% confidence level\nsource,kT_pn,kT_err_pn,kT_acis,kT_err_acis\n"
            f"A1,5.0,{0.1 * S90},5.5,{0.2 * S90}\nA2,7.0,{0.2 * S90},7.9,{0.3 * S90}\n"
        ),
        ("errors are taken at 90 % confidence and divided by 1.645",),
    ),
    "rows.csv": (
        "source,telescope,kT,kT_err\nA1,pn,5.0,0.1\nA1,acis,5.5,0.2\nA2,pn,7.0,0.2\nA2,acis,7.9,0.3\n",
        (),
    ),
    "rows-out-of-order.csv": (
        "Cluster,Instrument,kT,e_kT,E_kT\nA1,pn,5.0,0.1,0.1\nA2,acis,7.9,0.3,0.3\nA2,pn,7.0,0.2,0.2\nA1,acis,5.5,0.2,0.2\n",
        ("column Cluster names the sources",),
    ),
    "gaps.csv": (
        PLAIN + "A3,,,5.0,0.2\nA4,<3.0,,5.0,0.2\nA5,4.0,--,4.0,0.1\nA6,4.0,0.1,nan,0.1\n",
        (
            "'A3' is excluded: no kT of pn",
            "'A4' is excluded: kT of pn is a limit",
            "'A5' is excluded: no error of kT of pn",
            "'A6' is excluded: no kT of acis",
        ),
    ),
    "limits.csv": (
        (
            "source,kT_pn,kT_err_pn,l_kT_pn,kT_acis,kT_err_acis\nA1,5.0,0.1,,5.5,0.2\nA2,7.0,0.2,,7.9,0.3\n"
            "A3,9.0,0.2,>,8.9,0.3\n"
        ),
        ("'A3' is excluded: kT of pn is a limit",),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_pairs(tmp_path, name):
    text, notes = FORMS[name]
    (tmp_path / name).write_text(text)
    pairs = read_pairs(tmp_path / name)
    assert pairs.names == ("A1", "A2")
    assert pairs.telescopes == ("pn", "acis")
    np.testing.assert_allclose(pairs.values[..., 0], [[5.0, 7.0], [5.5, 7.9]])
    # The machine-readable table has errors of four digits.
    np.testing.assert_allclose(pairs.sd[..., 0], [[0.1, 0.2], [0.2, 0.3]], rtol=2e-4)
    assert len(pairs.notes) == len(notes), pairs.notes
    assert all(any(words in note for note in pairs.notes) for words in notes), pairs.notes
    assert all(name in note for note in pairs.notes)


@pytest.mark.parametrize(("name", "options"), [("p.xml", {"format": "votable"}), ("p.fits", {}), ("p.fits.gz", {})])
def test_binary_forms(tmp_path, name, options):
    (tmp_path / "p.csv").write_text(PLAIN)
    Table.read(tmp_path / "p.csv").write(tmp_path / name, **options)
    np.testing.assert_allclose(read_pairs(tmp_path / name).values, read_pairs(tmp_path / "p.csv").values)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("source,kT_pn,kT_err_pn,kT_acis\nA1,5±0.1,0.1,5.5±0.2\n", "are given in its cells and in column kT_err_pn"),
        ("source,kT_pn,kT_acis\nA1,99.99±0.1,5.5±0.2\n", "row 1: kT = 99.99 marks a missing value"),
        ("source,kT_pn,kT_acis\nA1,5.0±0,5.5±0.2\n", "row 1: error 0; expected a positive error"),
        ("source,kT_pn,kT_acis\nA1,about 5,5.5±0.2\n", "'about 5' is not a number"),
        ("source,kT_pn,kT_acis\nA1,5.1(+2/-1),5.5±0.2\n", r"'5\.1\(\+2/-1\)' is not a number"),
        ("source,kT_pn,kT_err_pn,kT_acis\nA1,5,0.1±0.1,5.5±0.2\n", "0.1±0.1 has an error"),
        (
            "# errors of kT are at 90 % and of norm at 68 %\nsource,kT_pn,kT_acis\nA1,5±0.1,5.5±0.2\n",
            "mention errors at 68.27 % and 90 %",
        ),
    ],
)
def test_cells_that_cannot_be_understood_are_refused(tmp_path, table, told):
    (tmp_path / "p.csv").write_text(table)
    with pytest.raises(DataFileError, match=told):
        read_pairs(tmp_path / "p.csv")


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_a_unit_that_nobody_knows_is_refused(tmp_path):
    (tmp_path / "p.mrt").write_text(MRT.replace("keV     kT-pn", "\\\\      kT-pn"))
    with pytest.raises(DataFileError, match="column kT-pn: unit"):
        read_pairs(tmp_path / "p.mrt")


def test_cells_without_an_error_or_value_leave_their_source_out(tmp_path):
    rows = "A1,5.0±0.1,5.5±0.2\nA2,<3,5.0±0.1\nA3,,5.0±0.1\nA4,5.0,5.0±0.1\nA5,\\nodata,5.0±0.1\n"
    (tmp_path / "p.csv").write_text(f"source,kT_pn,kT_acis\n{rows}")
    pairs = read_pairs(tmp_path / "p.csv")
    assert pairs.names == ("A1",)
    notes = " ".join(pairs.notes)
    for why in ("'A2' is excluded: kT of pn is a limit", "'A3' is excluded: no kT", "'A4' is excluded: no error",
                "'A5' is excluded: no kT"):  # fmt: skip
        assert why in notes


def test_constants_of_sources(tmp_path):
    (tmp_path / "v.tsv").write_text(VIZIER)
    pairs = read_pairs(tmp_path / "v.tsv")
    np.testing.assert_allclose(pairs.constants["nH"], [0.03, 0.05])
    np.testing.assert_allclose(pairs.take([1]).constants["Redshift"], [0.1])
    lines = PLAIN.splitlines()
    lines = [lines[0] + ",nH,z", *(line + f",{nh},0.2" for line, nh in zip(lines[1:], (3e20, 5e20), strict=True))]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    pairs = read_pairs(tmp_path / "p.csv")
    np.testing.assert_allclose(pairs.constants["nH"], [0.03, 0.05])
    assert "column nH is assumed to be in 1 / cm2" in pairs.notes[0]


def test_confidence_given_or_in_metadata(tmp_path):
    (tmp_path / "p.csv").write_text(PLAIN)
    one = read_pairs(tmp_path / "p.csv")
    np.testing.assert_allclose(read_pairs(tmp_path / "p.csv", confidence=0.9).sd, one.sd / S90)
    assert read_pairs(tmp_path / "p.csv", confidence=0.6827).notes == ()
    table = Table.read(tmp_path / "p.csv")
    table.meta["confidence"] = 0.9
    table.write(tmp_path / "p.ecsv")
    np.testing.assert_allclose(read_pairs(tmp_path / "p.ecsv").sd, one.sd / S90)
    with pytest.raises(ConfigError, match=r"a confidence of 90; expected a share such as 0\.9"):
        read_pairs(tmp_path / "p.csv", confidence=90)
    table.meta["confidence"] = "high"
    table.write(tmp_path / "q.ecsv")
    with pytest.raises(DataFileError, match="confidence is 'high'"):
        read_pairs(tmp_path / "q.ecsv")


LOG = """\
#========================================================================
#Model TBabs<1>*apec<2> Source No.: 1   Active/On
#Model Model Component  Parameter  Unit     Value
# par  comp
#   1    1   TBabs      nH         10^22    5.00000E-02  frozen
#   2    2   apec       kT         keV      1.00000      +/-  0.0
#========================================================================
#XSPEC12>fit
#   1    1   TBabs      nH         10^22    5.00000E-02  frozen
#   2    2   apec       kT         keV      {kT}      +/-  {error}
#   3    2   apec       Abundanc            0.300000     +/-  2.00000E-02
#   4    2   apec       Redshift            5.00000E-02  frozen
#   5    2   apec       norm                1.20000E-02  +/-  1.00000E-04
#XSPEC12>error 2
# Parameter   Confidence Range (2.706)
#     2      {low}      {high}    (-0.1,0.2)
"""


def log(directory, name, kT, sd):
    low, high = kT - 0.5 * sd * 2.706**0.5, kT + 1.5 * sd * 2.706**0.5
    (directory / name).write_text(LOG.format(kT=kT, error=9.9, low=low, high=high))


SHERPA = """\
Dataset               = 1
Confidence Method     = covariance
Fitting Method        = levmar
Statistic             = cstat
covariance 1-sigma (68.2689%) bounds:
   Param            Best-Fit  Lower Bound  Upper Bound
   -----            --------  -----------  -----------
   gal.nH               0.04        -0.01         0.01
   p1.kT                 9.9         -9.9          9.9
Dataset               = 1
Confidence Method     = confidence
Iterative Fit Method  = None
Fitting Method        = levmar
Statistic             = cstat
confidence 1.6-sigma (89.0401%) bounds:
   Param            Best-Fit  Lower Bound  Upper Bound
   -----            --------  -----------  -----------
   p1.kT                 {kT}        {low}       {high}
   p1.Abundanc           0.3        -----        0.096
   p1.norm             0.012   -0.00016     0.00032
"""


def test_logs_of_sherpa(tmp_path):
    (tmp_path / "a.txt").write_text(SHERPA.format(kT=5.0, low=-0.16, high=0.32))
    found = read_fit_log(tmp_path / "a.txt")
    assert list(found) == ["kT", "Abundanc", "norm"]
    assert found["kT"].value == 5.0
    assert (found["kT"].below, found["kT"].above) == pytest.approx((0.1, 0.2))
    assert np.isnan(found["Abundanc"].below)
    assert found["norm"].above == pytest.approx(2e-4)
    for name, kT in (("pn.txt", 5.0), ("acis.txt", 5.5)):
        (tmp_path / name).write_text(
            SHERPA.format(kT=kT, low=-0.16, high=0.16).replace("-----        0", "-0.08        0")
        )
    (tmp_path / "pairs.csv").write_text("source,telescope,log\nA,pn,pn.txt\nA,acis,acis.txt\n")
    pairs = read_pairs(tmp_path / "pairs.csv", trusted="acis", corrected="pn")
    assert pairs.values[:, 0, 0].tolist() == [5.5, 5.0]
    np.testing.assert_allclose(pairs.sd[:, 0, 0], 0.1)


def test_sherpa_s_own_table_is_read(tmp_path):
    """The text is what Sherpa prints today."""
    fit = pytest.importorskip("sherpa.fit")
    names, values = ("p1.kT", "p1.norm"), (5.0, 0.012)
    printed = fit.ErrorEstResults.__new__(fit.ErrorEstResults)
    vars(printed).update(
        datasets=(1,), methodname="confidence", iterfitname="none", fitname="levmar", statname="cstat", sigma=1,
        percent=68.27, parnames=names, parvals=values, parmins=(-0.1, None), parmaxes=(0.2, 1e-4),
    )  # fmt: skip
    (tmp_path / "a.txt").write_text(printed.format())
    found = read_fit_log(tmp_path / "a.txt")
    assert (found["kT"].below, found["kT"].above) == (0.1, 0.2)
    assert np.isnan(found["norm"].below)


def test_logs_of_xspec(tmp_path):
    log(tmp_path, "a.log", 5.0, 0.1)
    found = read_fit_log(tmp_path / "a.log")
    assert (found["kT"].value, found["nH"].below) == (5.0, 0.0)
    assert (found["kT"].below, found["kT"].above) == pytest.approx((0.05, 0.15))
    assert found["norm"].above == 1e-4
    (tmp_path / "zero.log").write_text(LOG.format(kT=5.0, error="-", low=0, high=5.2))
    assert np.isnan(read_fit_log(tmp_path / "zero.log")["kT"].below)
    (tmp_path / "none.log").write_text("XSPEC version: 12\n")
    with pytest.raises(DataFileError, match=r"none\.log: no fitted model; expected a log of XSPEC"):
        read_fit_log(tmp_path / "none.log")


def test_a_table_may_name_logs(tmp_path):
    rows = [("A1", "pn", 5.0, 0.1), ("A1", "acis", 5.5, 0.2), ("A2", "pn", 7.0, 0.2), ("A2", "acis", 7.9, 0.3)]
    for source, telescope, kT, sd in rows:
        log(tmp_path, f"{source}_{telescope}.log", kT, sd)
    text = "source,telescope,log\n" + "".join(f"{s},{t},{s}_{t}.log\n" for s, t, *_ in rows)
    (tmp_path / "p.csv").write_text(text)
    pairs = read_pairs(tmp_path / "p.csv")
    assert pairs.quantities == ("kT", "norm", "Abundanc")
    np.testing.assert_allclose(pairs.values[..., 0], [[5.0, 7.0], [5.5, 7.9]])
    np.testing.assert_allclose(pairs.sd[..., 0], [[0.1, 0.2], [0.2, 0.3]])
    assert "values and errors come from the logs in column log" in pairs.notes[0]
    (tmp_path / "p.csv").write_text(text.replace("A2_pn.log", "absent.log"))
    with pytest.raises(DataFileError, match=r"absent\.log: no such log of fits"):
        read_pairs(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("source,kT_pn,kT_pn,kT_acis\n", "column name 'kT_pn' occurs twice"),
        (PLAIN + "A3,1.0\n", "row 3: 2 cells; expected 5, as names"),
        (PLAIN.replace("7.9", "hot"), "column kT_acis, row 2: 'hot' is not a number"),
        (PLAIN.replace("0.3", "0"), "column kT_err_acis, row 2: error 0; expected a positive"),
        ("source,telescope,kT,kT_err\nA,pn,5,1\nA,pn,6,1\n", "the source 'A' appears twice with pn"),
        ("source,telescope\nA,pn\n", "no column 'kT'"),
        ("source,kT_pn,kT_err_pn,kT_acis,kT_err_acis\nA,,,1,1\n", "no source has all values"),
        (PLAIN.replace("kT_err_pn", "T_pn"), "two columns of kT of 'pn'"),
        ("", "the table has no rows"),
    ],
)
def test_what_cannot_be_read_names_the_place(tmp_path, text, match):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataFileError, match=match):
        read_pairs(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kT_mos1+2", ("kT", "value", "mos1+2")),
        ("kT_err_lo_mos1+2", ("kT", "errlo", "mos1+2")),
        ("norm_acis_i", ("norm", "value", "acis_i")),
        ("Z_pn", ("Abundanc", "value", "pn")),
        ("z", ("Redshift", "value", "")),
        ("e_T_x_pn", ("kT", "err", "pn")),
        ("RA", None),
        ("kT_norm_corr_pn", None),
    ],
)
def test_names_of_columns(name, expected):
    found = column_of(name)
    assert found == (None if expected is None else Column(name, *expected))


@pytest.mark.parametrize(
    ("name", "part", "telescope"),
    [
        ("err_kT_pn", "err", "pn"), ("sigma_kT_pn", "err", "pn"), ("delta_kT_pn", "err", "pn"), ("dkT_pn", "err", "pn"),
        ("ekT_pn", "err", "pn"), ("kT_pn_errplus", "errhi", "pn"), ("kT_pn_errminus", "errlo", "pn"),
        ("kT_pn_elo", "errlo", "pn"), ("kT_pn_eup", "errhi", "pn"), ("kT_mos1", "value", "mos1"),
        ("kT_ACIS-S", "value", "ACIS-S"), ("pn_kT", "value", "pn"),
    ],
)  # fmt: skip
def test_errors_are_known_wherever_their_word_stands(name, part, telescope):
    found = column_of(name)
    assert (found.quantity, found.part, found.telescope) == ("kT", part, telescope)


def test_units_of_temperatures(tmp_path):
    """In names, in metadata, in kelvin; numbers that can be no keV are refused."""
    kelvin = 1 / 8.617333262e-8
    for head, factor in (
        ("source,kT_pn (keV),kT_err_pn (keV),kT_acis [keV],kT_err_acis [keV]", 1.0),
        ("source,kT_pn (eV),kT_err_pn (eV),kT_acis (eV),kT_err_acis (eV)", 1e3),
        ("source,kT_pn (MK),err_kT_pn (MK),kT_acis (MK),err_kT_acis (MK)", 1e-6 * kelvin),
    ):
        row = ",".join(f"{factor * value:.6g}" for value in (5.0, 0.1, 5.5, 0.2))
        (tmp_path / "a.csv").write_text(f"{head}\nA,{row}\n")
        pairs = read_pairs(tmp_path / "a.csv", trusted="acis", corrected="pn")
        np.testing.assert_allclose(pairs.values[:, 0, 0], [5.5, 5.0], rtol=1e-5)
        np.testing.assert_allclose(pairs.sd[:, 0, 0], [0.2, 0.1], rtol=1e-5)
    (tmp_path / "a.csv").write_text("source,kT_pn,kT_err_pn,kT_acis,kT_err_acis\nA,5000,100,5500,200\n")
    with pytest.raises(DataFileError, match=r"kT of 'A' in acis is 5500 keV; expected temperatures in keV, or columns"):
        read_pairs(tmp_path / "a.csv", trusted="acis", corrected="pn")


def of_lines(tmp_path, *lines):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_pairs(path, trusted="pn", corrected="acis")


def test_errors_without_a_unit_have_that_of_their_values(tmp_path):
    pairs = of_lines(
        tmp_path,
        "source,kT_pn (eV),kT_err_pn,kT_acis (keV),kT_err_acis",
        "A,5000,100,5.5,0.2",
        "B,7000,200,7.9,0.3",
    )
    np.testing.assert_allclose(pairs.sd[..., 0], [[0.1, 0.2], [0.2, 0.3]])
    assert sum("kT_err_pn has no unit: that of kT_pn, eV, is taken" in note for note in pairs.notes) == 1
    assert not any("kT_err_acis" in note for note in pairs.notes)


def test_errors_in_another_unit_or_per_cent_are_refused(tmp_path):
    with pytest.raises(
        DataFileError, match="every error of kT_pn is larger than its value, such as 100 of 5; expected"
    ):
        of_lines(tmp_path, "source,kT_pn,kT_err_pn,kT_acis,kT_err_acis", "A,5,100,5.5,0.2", "B,7,200,7.9,0.3")


@pytest.mark.parametrize("name", ["Mean", "weighted mean", "<All>", "Average (4)", "rms", "Std. dev."])
def test_averages_are_no_sources(tmp_path, name):
    with pytest.raises(DataFileError, match="may be an average of the others; expected sources only"):
        of_lines(tmp_path, "source,kT_pn,kT_err_pn,kT_acis,kT_err_acis", "A,5,.1,5.5,.2", f"{name},7,.2,7.9,.3")


@pytest.mark.parametrize(
    ("column", "values", "expected", "told"),
    [
        ("nH (1e20 cm-2)", (3.1, 11), (0.031, 0.11), ""),
        ("nH [10^20 cm^-2]", (3.1, 11), (0.031, 0.11), ""),
        ("nH (10^{22} / cm**2)", (0.031, 0.11), (0.031, 0.11), ""),
        ("nH", (3.1, 11), (3.1, 11), "up to 11, is assumed to be in 1e22 / cm2"),
        ("nH", (0.031, 0.11), (0.031, 0.11), ""),
    ],
)
def test_units_of_columns_of_hydrogen(tmp_path, column, values, expected, told):
    head = f"source,kT_pn,kT_err_pn,kT_acis,kT_err_acis,{column}"
    pairs = of_lines(tmp_path, head, f"A,5,.1,5.5,.2,{values[0]}", f"B,7,.2,7.9,.3,{values[1]}")
    np.testing.assert_allclose(pairs.constants["nH"], expected)
    assert not any("not used" in note for note in pairs.notes)
    assert any("assumed to be in" in note and told in note for note in pairs.notes) == bool(told)
