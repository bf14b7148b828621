"""Names in published tables: powers of ten, signs for errors, averages, bands, instruments in rows."""

import re

import numpy as np
import pytest

from crosscal.concordance import read_matrix, read_table
from crosscal.core.cells import read_cell
from crosscal.core.errors import DataFileError, InputError

FLUX = {"pn": [1.0, 2.0, 5.0], "MOS1": [1.1, 2.2, 5.5], "MOS2": [0.9, 1.8, 4.5]}
SOURCES = ("3C 273", "PKS 2155", "H1426")


@pytest.fixture
def write(tmp_path):
    def make(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def wide(names, form="{:.2f}", sizes=(1, 1, 1), more=()):
    rows = [",".join(["source", *names])]
    for k, source in enumerate(SOURCES):
        fluxes = [f[k] * size for f, size in zip(FLUX.values(), sizes, strict=True)]
        rows.append(",".join([source, *(form.format(flux, 0.05 * flux) for flux in fluxes)]))
    return "\n".join([*rows, *more]) + "\n"


def ratios(data):
    """Fluxes of the three instruments over that of the first, for the first source, and their names."""
    first = data.log_rate[data.column == 0]
    return tuple(data.instruments), np.exp(first - first[0])


@pytest.mark.parametrize(
    "form",
    [
        "{} ({}1e-1{})", "{} [{}10^-1{} erg cm^-2 s^-1]", "{} ({}1e-1{} erg/s/cm2)", "{} {}1e-1{}", "{} ({}×10⁻¹{})",
        "{} ({}10^-1{} cgs)", "{} ($10^{{{}-1{}}}$)", "{} {}×10^-1{}",
    ],
)  # fmt: skip
def test_powers_of_ten_in_names_are_used(write, form):
    raised = "²²³" if "⁻" in form else "223"
    names = [form.format(inst, "", digit) for inst, digit in zip(FLUX, raised, strict=True)]
    data = read_matrix(write(wide(names, sizes=(1, 1, 10))), logarithmic=False)
    found, values = ratios(data)
    assert found == ("pn", "MOS1", "MOS2")
    np.testing.assert_allclose(values, [1.0, 1.1, 0.9], rtol=1e-12)


def test_powers_of_ten_of_errors(write):
    text = "instrument,source,flux (1e-12 cgs),err (1e-13 cgs)\npn,A,1.0,.5\nMOS1,A,1.1,.5\n"
    data = read_table(write(text), flux="flux (1e-12 cgs)", error="err (1e-13 cgs)")
    np.testing.assert_allclose(data.flux_low, 0.05)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.05×10⁻¹²", (1.05e-12, np.nan)), ("(1.05±0.02)×10⁻¹²", (1.05e-12, 2e-14)),
        ("1.05 x 10⁻¹²", (1.05e-12, np.nan)),
        ("1.05×10⁻¹² ± 0.02×10⁻¹²", (1.05e-12, 2e-14)), ("2×10³", (2000.0, np.nan)),
    ],
)  # fmt: skip
def test_raised_exponents(text, expected):
    np.testing.assert_allclose(read_cell(text)[:2], expected, rtol=1e-12)


@pytest.mark.parametrize("text", ["5.00²", "10⁻¹² 3", "5.00ᵃ", "0.95–1.05", "1.1*", "1.1†"])
def test_marks_that_are_no_numbers(text):
    assert read_cell(text) is None


@pytest.mark.parametrize("form", ["σ_{}", "{} ±", "Δ{}", "u({})", "{} +/-", "σ({})", "{}_unc"])
def test_signs_for_errors_in_names(write, form):
    names = [name for inst in FLUX for name in (inst, form.format(inst))]
    data = read_matrix(write(wide(names, "{:.3f},{:.4f}")))
    found, values = ratios(data)
    assert found == tuple(FLUX)
    np.testing.assert_allclose(values, [1.0, 1.1, 0.9], rtol=1e-9)
    np.testing.assert_allclose(data.flux_low / data.flux, 0.05, rtol=1e-3)


@pytest.mark.parametrize("name", ["σ_X", "X ±", "u(X)", "ΔX"])
def test_signs_for_errors_of_no_column_are_no_instruments(write, name):
    text = wide([*FLUX, name], more=()).replace("\n", ",0.1\n").replace(f"{name},0.1", name)
    with pytest.raises(DataFileError, match="may not be measurements"):
        read_matrix(write(text), logarithmic=False)


@pytest.mark.parametrize(
    "name",
    [
        "Gamma", "N_H (10^20)", "Epoch", "L_X", "r500", "No.", "Photon index", "kT (keV)", "Exposure (ks)", "Phase",
        "MOS1/pn", "rms", "N", "Emin", "Ref.",
    ],
)  # fmt: skip
def test_other_quantities_are_no_instruments(write, name):
    text = wide([*FLUX, name]).replace("\n", ",1.8\n").replace(f"{name},1.8", name)
    with pytest.raises(DataFileError, match="may not be measurements"):
        read_matrix(write(text), logarithmic=False)


@pytest.mark.parametrize(
    "name",
    ["Mean", "Weighted mean (3)", "Sum", "Std. dev.", "rms", "N", "<all>", "Average (all)", "scatter", "Uncertainty"],
)
def test_rows_of_averages_are_refused(write, name):
    with pytest.raises(DataFileError, match="may be an average of the others"):
        read_matrix(write(wide(FLUX, more=[f"{name},2.7,2.9,2.4"])), logarithmic=False)


@pytest.mark.parametrize(
    "names",
    [("XMM-Newton/EPIC-pn", "XMM-Newton/MOS1", "Chandra ACIS"), ("pn", "MOS1", "MOS2"), ("FPMA", "FPMB", "XRT")],
)
def test_instruments_in_rows_are_not_taken_for_sources(write, names):
    rows = [",".join([name, *(f"{x:.2f}" for x in flux)]) for name, flux in zip(names, FLUX.values(), strict=True)]
    path = write("\n".join(["name," + ",".join(SOURCES), *rows]) + "\n")
    with pytest.raises(DataFileError, match="the rows are named as instruments"):
        read_matrix(path, logarithmic=False)
    found, values = ratios(read_matrix(path, orientation="instruments", logarithmic=False))
    assert found == names
    np.testing.assert_allclose(values, [1.0, 1.1, 0.9], rtol=1e-12)


def test_ratios_keep_their_names(write):
    text = "source,MOS1/pn,MOS1/pn_err,MOS2/pn,MOS2/pn_err\nA,1.1,.02,.9,.02\nB,1.12,.02,.88,.02\n"
    assert tuple(read_matrix(write(text)).instruments) == ("MOS1/pn", "MOS2/pn")


@pytest.mark.parametrize("names", [("pn (0.5-2 keV)", "MOS1 (0.5-2 keV)", "MOS2 (2-10 keV)")])
def test_bands_in_brackets(write, names):
    with pytest.raises(DataFileError, match="hold several bands"):
        read_matrix(write(wide(names)), logarithmic=False)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("emin", (0.5, 2.0), "holds several bands"), ("energy_low", (0.5, 2.0), "holds several bands"),
        ("wavelength", (5100, 1350), "holds several bands"), ("scale", (1e-12, 1e-13), "differs from row to row"),
        ("exponent", (-12, -13), "differs from row to row"),
    ],
)  # fmt: skip
def test_columns_that_change_rows_are_not_overlooked(write, name, values, sentence):
    rows = [f"pn,A,1.0,.05,{values[0]}", f"MOS1,A,1.1,.05,{values[1]}"]
    head = f"instrument,source,flux,flux_err,{name}"
    with pytest.raises(DataFileError, match=sentence):
        read_table(write("\n".join([head, *rows])), error="flux_err")
    same = [row.replace(str(values[1]), str(values[0])) for row in rows]
    assert read_table(write("\n".join([head, *same])), error="flux_err").n_cells == 2


def test_logarithms_of_fluxes_in_cgs_units_are_natural_or_decimal(write):
    text = "source,pn,MOS1\nA,-11.9,-11.86\nB,-12.3,-12.26\n"
    with pytest.raises(DataFileError, match="natural or decimal logarithms"):
        read_matrix(write(text))
    data = read_matrix(write(text), scale="log10")
    np.testing.assert_allclose(data.log_rate[1] - data.log_rate[0], 0.04 * np.log(10), rtol=1e-9)


@pytest.mark.parametrize(
    "said",
    [r"\caption{Fluxes with 90\% errors}", r"\caption{Fluxes {\it and} uncertainties\\ at 90\% confidence}"],
)
def test_levels_in_captions_of_latex_tables(write, said):
    rows = "source & pn & MOS1 \\\\\nA & $1.00\\pm0.08$ & $1.10\\pm0.08$ \\\\\nB & $2.0\\pm0.2$ & $2.2\\pm0.2$ \\\\\n"
    path = write(f"\\begin{{table}}{said}\n\\begin{{tabular}}{{lcc}}\n{rows}\\end{{tabular}}\\end{{table}}\n", "t.tex")
    with pytest.raises(DataFileError, match="calls the errors '90"):
        read_matrix(path)
    assert read_matrix(path, confidence=0.9).n_cells == 4


def test_levels_in_comments_of_deluxetables(write):
    path = write(
        "\\begin{deluxetable}{lcc}\n\\tablehead{\\colhead{source} & \\colhead{pn} & \\colhead{MOS1}}\n\\startdata\n"
        "A & $1.0\\pm0.1$ & $1.1\\pm0.1$ \\\\\nB & $2.0\\pm0.2$ & $2.2\\pm0.2$\n\\enddata\n"
        "\\tablecomments{Errors are at the 90\\% level.}\n\\end{deluxetable}\n",
        "t.tex",
    )
    with pytest.raises(DataFileError, match="calls the errors '90"):
        read_matrix(path)


def test_values_without_errors_beside_others_are_named(write):
    with pytest.raises(InputError, match="row 1, column 'pn': a value without an error"):
        read_matrix(write("source,pn,MOS1\nA,1.0,1.1 +/- 0.02\nB,2.0,2.2 +/- 0.02\n"))


@pytest.mark.parametrize("mark", ["$^{a}$", "$^a$", "^{b,c}", "$^{\\dagger}$", "$^{\\ast}$", "^*"])
@pytest.mark.parametrize("cell", ["1.10$\\pm$0.02", "1.10", "$1.10\\pm0.02$"])
def test_footnote_marks_of_latex(cell, mark):
    np.testing.assert_equal(read_cell(cell + mark), read_cell(cell))


def test_powers_are_no_footnote_marks():
    assert read_cell("$1.1^{+0.3}_{-0.2}$").high == 0.3
    np.testing.assert_allclose(read_cell("$1.1\\times10^{2}$").value, 110.0)


def test_usual_names_in_capitals(write):
    data = read_table(write("INSTRUMENT,SOURCE,FLUX,FLUX_ERR\npn,A,1.0,.05\nMOS1,A,1.1,.05\n"), error="FLUX_ERR")
    assert data.n_cells == 2


@pytest.mark.parametrize(
    ("sizes", "errors", "sentence"),
    [
        ((1e-12, 1.0), (5e-14, 0.05), "Fluxes of 'MOS1' are about 1e\\+12 times those of 'pn'"),
        ((1e-12, 1e-12), (0.05, 0.05), "Errors are about 5e\\+10 times the fluxes"),
        ((1.0, 1.0), (5e-14, 5e-14), "Errors are about 5e-14 times the fluxes"),
    ],
)
def test_sizes_that_tell_of_different_units_are_told(write, sizes, errors, sentence):
    pairs = [f"{sizes[0]},{errors[0]}", f"{sizes[1]},{errors[1]}"]
    rows = [f"{inst},{s},{pair}" for s in "ABC" for inst, pair in zip(("pn", "MOS1"), pairs, strict=True)]
    path = write("\n".join(["instrument,source,flux,err", *rows]))
    assert any(re.search(sentence, note) for note in read_table(path, error="err").assumed)
    rows = [f"{inst},{s},1.0,0.05" for s in "ABC" for inst in ("pn", "MOS1")]
    same = write("\n".join(["instrument,source,flux,err", *rows]))
    assert not any("unit" in note for note in read_table(same, error="err").assumed)
