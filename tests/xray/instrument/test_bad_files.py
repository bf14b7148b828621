"""Bad input: one clear sentence that names file, HDU, column and row."""

import struct

import numpy as np
import pytest
from astropy.io import fits

from crosscal.core.errors import DataFileError
from crosscal.xray.instrument.ensemble import read_arf_ensemble
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import read_arf
from crosscal.xray.instrument.ogip_pca import read_pca_library
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_spectrum import read_observation, read_spectra, read_spectrum


def setting(hdu, column, row, value):
    def change(spec):
        entry = spec[hdu]["columns"][column]
        if isinstance(value, float) and entry[0] in ("J", "I"):
            entry[0], entry[2] = "D", entry[2].astype(float)
        entry[2][row] = value

    return change


def card(hdu, key, value):
    return lambda spec: spec[hdu]["cards"].update({key: value})


def no_card(hdu, key):
    return lambda spec: spec[hdu]["cards"].pop(key)


def no_column(hdu, column):
    return lambda spec: spec[hdu]["columns"].pop(column)


def unit(hdu, column, text):
    return lambda spec: spec[hdu]["columns"][column].__setitem__(1, text)


def renamed(old, new):
    return lambda spec: spec.update({new: spec.pop(old)}) or spec[new]["cards"].pop("HDUCLAS1")


def truncated(hdu, rows):
    def change(spec):
        for entry in spec[hdu]["columns"].values():
            entry[2] = entry[2][:rows]

    return change


def text_column(hdu, column):
    def change(spec):
        spec[hdu]["columns"][column] = ["8A", None, np.full(len(spec[hdu]["columns"][column][2]), "bad")]

    return change


def vector_column(hdu, column):
    def change(spec):
        values = spec[hdu]["columns"][column][2]
        spec[hdu]["columns"][column] = ["2D", spec[hdu]["columns"][column][1], np.stack([values, values], axis=1)]

    return change


def element(value):
    def change(spec):
        spec["MATRIX"]["columns"]["MATRIX"][2][2][1] = value

    return change


def group(column, row, values):
    def change(spec):
        spec["MATRIX"]["columns"][column][2][row] = np.asarray(values, dtype=np.int16)

    return change


# id: kind of file, change, words that the sentence must contain
CASES = {
    "arf-negative-area": ("arf", setting("SPECRESP", "SPECRESP", 2, -1.0), "[SPECRESP], column SPECRESP, row 3: -1"),
    "arf-nan-area": ("arf", setting("SPECRESP", "SPECRESP", 0, np.nan), "column SPECRESP, row 1: nan"),
    "arf-infinite-energy": ("arf", setting("SPECRESP", "ENERG_HI", 4, np.inf), "column ENERG_HI, row 5: inf"),
    "arf-negative-energy": ("arf", setting("SPECRESP", "ENERG_LO", 0, -0.5), "column ENERG_LO, row 1: -0.5"),
    "arf-bin-backwards": ("arf", setting("SPECRESP", "ENERG_HI", 1, 0.9), "column ENERG_HI, row 2: ENERG_HI is 0.9"),
    "arf-empty-bin": ("arf", setting("SPECRESP", "ENERG_HI", 1, 1.0), "column ENERG_LO, row 3: without gaps"),
    "arf-gap": ("arf", setting("SPECRESP", "ENERG_LO", 3, 3.2), "column ENERG_LO, row 4: without gaps"),
    "arf-no-column": ("arf", no_column("SPECRESP", "SPECRESP"), "no column SPECRESP"),
    "arf-no-energy": ("arf", no_column("SPECRESP", "ENERG_HI"), "no column ENERG_HI 'ENERG_LO'"),
    "arf-all-zero": (
        "arf",
        lambda spec: spec["SPECRESP"]["columns"]["SPECRESP"].__setitem__(2, np.zeros(5)),
        "column SPECRESP: all values are 0",
    ),
    "arf-area-unit": ("arf", unit("SPECRESP", "SPECRESP", "keV"), "column SPECRESP: 'keV' cm2"),
    "arf-energy-unit": ("arf", unit("SPECRESP", "ENERG_LO", "Angstrom"), "column ENERG_LO: 'Angstrom' keV"),
    "arf-nonsense-unit": ("arf", unit("SPECRESP", "ENERG_LO", "bananas"), "column ENERG_LO: 'bananas' keV"),
    "arf-wrong-class": ("arf", card("SPECRESP", "HDUCLAS1", "SPECTRUM"), "HDUCLAS1 is 'SPECTRUM' 'RESPONSE'"),
    "arf-wrong-class-2": ("arf", card("SPECRESP", "HDUCLAS2", "RSP_MATRIX"), "HDUCLAS2 is 'RSP_MATRIX'"),
    "arf-no-hdu": ("arf", renamed("SPECRESP", "TABLE"), "no SPECRESP table among the HDUs PRIMARY, TABLE"),
    "arf-empty-table": ("arf", truncated("SPECRESP", 0), "[SPECRESP] no rows"),
    "arf-text": ("arf", text_column("SPECRESP", "SPECRESP"), "column SPECRESP: numbers"),
    "arf-vector": ("arf", vector_column("SPECRESP", "SPECRESP"), "column SPECRESP: one number a row"),
    "rmf-no-matrix": ("rmf", renamed("MATRIX", "OTHER"), "no MATRIX table"),
    "rmf-no-ebounds": ("rmf", lambda spec: spec.pop("EBOUNDS"), "no EBOUNDS table"),
    "rmf-no-column": ("rmf", no_column("MATRIX", "N_CHAN"), "[MATRIX] no column N_CHAN"),
    "rmf-negative-element": ("rmf", element(-0.1), "column MATRIX, row 3: -0.1"),
    "rmf-nan-element": ("rmf", element(np.nan), "column MATRIX, row 3: nan"),
    "rmf-empty-group": ("rmf", group("N_CHAN", 1, [0, 2]), "column MATRIX, row 2: 3 elements 2, the sum of N_CHAN"),
    "rmf-negative-group": ("rmf", group("N_CHAN", 1, [-1, 2]), "column N_CHAN, row 2: group 1 has -1 channels"),
    "rmf-group-out-of-range": (
        "rmf",
        group("F_CHAN", 1, [1, 4]),
        "column F_CHAN, row 2: reaches channel 5 channels 1 to 4",
    ),
    "rmf-group-below": ("rmf", group("F_CHAN", 0, [0]), "column F_CHAN, row 1: a group reaches channel 0"),
    "rmf-too-many-groups": ("rmf", setting("MATRIX", "N_GRP", 2, 3), "column N_GRP, row 3: 3 groups"),
    "rmf-wrong-length": ("rmf", group("N_CHAN", 2, [2]), "column MATRIX, row 3: 3 elements 2, the sum of N_CHAN"),
    "rmf-short-row": ("rmf", group("N_CHAN", 0, [3]), "column MATRIX, row 1: 2 elements 3, the sum of N_CHAN"),
    "rmf-fractional-groups": ("rmf", setting("MATRIX", "N_GRP", 2, 1.5), "column N_GRP, row 3: 1.5 whole number"),
    "rmf-ebounds-disorder": (
        "rmf",
        setting("EBOUNDS", "E_MIN", 2, 0.1),
        "[EBOUNDS], column E_MIN, row 3: out of order",
    ),
    "rmf-ebounds-empty": ("rmf", setting("EBOUNDS", "E_MAX", 1, 1.5), "[EBOUNDS], column E_MAX, row 2: E_MAX is 1.5"),
    "rmf-detchans": (
        "rmf",
        lambda spec: [spec[hdu]["cards"].update(DETCHANS=7) for hdu in ("EBOUNDS", "MATRIX")],
        "[EBOUNDS] 4 rows DETCHANS = 7",
    ),
    "rmf-channel-jump": ("rmf", setting("EBOUNDS", "CHANNEL", 2, 9), "column CHANNEL, row 3: channel 9 follows 2"),
    "rmf-bad-tlmin": ("rmf", card("MATRIX", "TLMIN4", "one"), "column F_CHAN: TLMIN is 'one'"),
    "rmf-all-zero": (
        "rmf",
        lambda spec: [row.fill(0) for row in spec["MATRIX"]["columns"]["MATRIX"][2]],
        "column MATRIX: all elements are zero",
    ),
    "pha-negative": ("pha", setting("SPECTRUM", "COUNTS", 1, -4), "column COUNTS, row 2: -4"),
    "pha-nan": ("pha", setting("SPECTRUM", "COUNTS", 1, np.nan), "column COUNTS, row 2: nan"),
    "pha-no-counts": ("pha", no_column("SPECTRUM", "COUNTS"), "no column COUNTS COUNTS or RATE"),
    "pha-no-channel": ("pha", no_column("SPECTRUM", "CHANNEL"), "no column CHANNEL"),
    "pha-no-exposure": ("pha", no_card("SPECTRUM", "EXPOSURE"), "no keyword EXPOSURE"),
    "pha-zero-exposure": ("pha", card("SPECTRUM", "EXPOSURE", 0.0), "EXPOSURE is 0.0 positive"),
    "pha-text-exposure": ("pha", card("SPECTRUM", "EXPOSURE", "long"), "EXPOSURE is long"),
    "pha-negative-backscal": ("pha", card("SPECTRUM", "BACKSCAL", -1.0), "BACKSCAL is -1.0"),
    "pha-detchans": ("pha", card("SPECTRUM", "DETCHANS", 3), "4 channels DETCHANS = 3"),
    "pha-channel-jump": ("pha", setting("SPECTRUM", "CHANNEL", 3, 8), "column CHANNEL, row 4: channel 8 follows 3"),
    "pha-grouping": ("pha", setting("SPECTRUM", "GROUPING", 2, 5), "column GROUPING, row 3: 5 from -1 to 1"),
    "pha-quality": ("pha", setting("SPECTRUM", "QUALITY", 0, -7), "column QUALITY, row 1: -7"),
    "pha-per-kev": ("pha", unit("SPECTRUM", "COUNTS", "count/keV"), "column COUNTS: per keV"),
    "pha-zero-areascal": ("pha", card("SPECTRUM", "AREASCAL", 0.0), "AREASCAL is 0"),
    "pha-text-systematic": ("pha", card("SPECTRUM", "SYS_ERR", "few"), "SYS_ERR is few"),
    "pha-negative-systematic": ("pha", card("SPECTRUM", "SYS_ERR", -0.1), "column SYS_ERR: -0.1"),
    "pha-negative-error": (
        "pha",
        lambda spec: (
            spec["SPECTRUM"]["columns"].update(STAT_ERR=["D", None, np.array([1.0, 1.0, -2.0, 1.0])]),
            spec["SPECTRUM"]["cards"].update(POISSERR=False),
        ),
        "column STAT_ERR, row 3: -2",
    ),
    "pha-wrong-class": ("pha", card("SPECTRUM", "HDUCLAS1", "EVENTS"), "HDUCLAS1 is 'EVENTS' 'SPECTRUM'"),
    "pha-backscal-column": (
        "pha",
        lambda spec: spec["SPECTRUM"]["columns"].update(BACKSCAL=["D", None, np.array([1.0, 1.0, 0.0, 1.0])]),
        "column BACKSCAL, row 3: 0",
    ),
}
READERS = {"arf": read_arf, "rmf": read_rmf, "pha": read_spectrum}


@pytest.mark.parametrize("case", CASES)
def test_bad_file(make, case):
    kind, change, words = CASES[case]
    path = make(kind, change)
    with pytest.raises(DataFileError) as caught:
        READERS[kind](path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words.split():
        assert word in message, message


def test_absent_directory_and_foreign_files(tmp_path):
    with pytest.raises(DataFileError, match=r"absent\.arf: no such ARF"):
        read_arf(tmp_path / "absent.arf")
    with pytest.raises(DataFileError, match="is a directory"):
        read_rmf(tmp_path)
    (tmp_path / "text.arf").write_text("not a FITS file")
    with pytest.raises(DataFileError, match=r"text\.arf: this cannot be read as FITS"):
        read_arf(tmp_path / "text.arf")
    (tmp_path / "empty.rmf").touch()
    with pytest.raises(DataFileError, match=r"empty\.rmf: this cannot be read as FITS"):
        read_rmf(tmp_path / "empty.rmf")
    (tmp_path / "fake.rmf.gz").write_bytes(b"\x1f\x8b" + b"nonsense" * 20)
    with pytest.raises(DataFileError, match="cannot be read as FITS"):
        read_rmf(tmp_path / "fake.rmf.gz")


@pytest.mark.parametrize("kind", ["arf", "rmf", "pha"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_files_cut_short(make, kind, share):
    path = make(kind)
    content = path.read_bytes()
    # Padding at the end may go without harm: cut inside the data.
    path.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])
    with pytest.raises(DataFileError) as caught:
        READERS[kind](path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("descriptor", [(1_000_000, 0), (3, 2_000_000_000), (-5, 0)])
def test_a_damaged_heap(make, descriptor):
    path = make("rmf")
    with fits.open(path) as hdus:
        start, row_length = hdus["MATRIX"].fileinfo()["datLoc"], hdus["MATRIX"].header["NAXIS1"]
    content = bytearray(path.read_bytes())
    # The last 8 bytes of a row say how many elements of MATRIX it has and where in the heap they lie.
    content[start + row_length - 8 : start + row_length] = struct.pack(">ii", *descriptor)
    path.write_bytes(content)
    with pytest.raises(DataFileError) as caught:
        read_rmf(path)
    assert str(path) in str(caught.value)


def test_grids_that_differ(make):
    def longer(spec):
        for entry in spec["SPECRESP"]["columns"].values():
            entry[2] = entry[2][:4]

    with pytest.raises(DataFileError, match=r"SPECRESP\]: the ARF has 4 energy bins; expected 5"):
        read_response(make("arf", longer), make("rmf"))

    def shifted(spec):
        columns = spec["SPECRESP"]["columns"]
        columns["ENERG_HI"][2][1] = columns["ENERG_LO"][2][2] = 2.3

    with pytest.raises(DataFileError, match=r"column ENERG_LO, row 3: the energy is 2\.3 keV; expected 2 keV"):
        read_response(make("arf", shifted), make("rmf"))

    def last(spec):
        spec["SPECRESP"]["columns"]["ENERG_HI"][2][4] = 9.0

    with pytest.raises(DataFileError, match="column ENERG_HI, row 5"):
        read_response(make("arf", last), make("rmf"))


def test_area_twice_or_never(make):
    with pytest.raises(DataFileError, match="does not include the effective area; expected an ARF"):
        read_response(make("rmf"))

    def full(spec):
        values = spec["MATRIX"]["columns"]["MATRIX"][2]
        for k, row in enumerate(values):
            values[k] = row * 100.0

    with pytest.raises(DataFileError, match="includes the effective area already"):
        read_response(make("arf"), make("rmf", full))


def test_spectra_of_type_two_need_a_choice(make):
    path = make("pha2")
    with pytest.raises(DataFileError, match="holds 3 spectra and none is chosen; expected row = 1 to 3"):
        read_spectrum(path)
    with pytest.raises(DataFileError, match="row 4 is asked for"):
        read_spectrum(path, row=4)

    def negative(spec):
        spec["SPECTRUM"]["columns"]["COUNTS"][2][1, 2] = -1

    with pytest.raises(DataFileError, match="column COUNTS, row 2"):
        read_spectra(make("pha2", negative))

    def scale(spec):
        spec["SPECTRUM"]["columns"]["AREASCAL"][2][2, 1] = 0

    with pytest.raises(DataFileError, match="column AREASCAL, row 3"):
        read_spectra(make("pha2", scale))

    def width(spec):
        spec["SPECTRUM"]["columns"]["AREASCAL"] = ["5D", None, np.ones((3, 5))]

    with pytest.raises(DataFileError, match="column AREASCAL: a row holds 5 values; expected 4, as COUNTS"):
        read_spectra(make("pha2", width))

    def jump(spec):
        spec["SPECTRUM"]["columns"]["CHANNEL"][2][1, 3] = 77

    with pytest.raises(DataFileError, match="column CHANNEL, row 2: channel 77 follows 3"):
        read_spectra(make("pha2", jump))


def test_links_that_lead_nowhere(make):
    path = make("pha", card("SPECTRUM", "BACKFILE", "bkg.pha"))
    with pytest.raises(DataFileError, match=r"BACKFILE names 'bkg\.pha', which is not there"):
        read_spectrum(path, "auto")
    path = make("pha")
    with pytest.raises(DataFileError, match=r"RESPFILE names 'test\.rmf', which is not there"):
        read_observation(path)
    make("rmf")
    with pytest.raises(DataFileError, match=r"ANCRFILE names 'test\.arf'"):
        read_observation(path)
    bare = make("pha", lambda spec: spec["SPECTRUM"]["cards"].update(RESPFILE="none", ANCRFILE="none"))
    with pytest.raises(DataFileError, match="RESPFILE names no file; expected the rmf given explicitly"):
        read_observation(bare)


def test_background_of_other_channels(make):
    def shorter(spec):
        spec["SPECTRUM"]["cards"]["DETCHANS"] = 3
        for entry in spec["SPECTRUM"]["columns"].values():
            entry[2] = entry[2][:3]

    background = make("pha", shorter, "short.pha")
    with pytest.raises(DataFileError, match=r"short\.pha: the background has 3 channels from 1; expected 4 from 1"):
        read_spectrum(make("pha"), background)


def pca_spec(spec):
    spec["SPECRESP"]["columns"]["BIAS"] = ["E", "cm**2", np.zeros(5)]
    spec["SPECRESP"]["cards"]["EMETHOD"] = "PCA1DADD"
    spec["PCACOMP"] = {
        "columns": {
            "COMPONENT": ["I", None, np.array([0, 1])],
            "FVARIANCE": ["D", None, np.array([0.8, 0.2])],
            "EIGENVAL": ["E", None, np.array([4.0, 2.0])],
            "EIGENVEC": ["5E", None, np.eye(5)[:2]],
        },
        "cards": {"HDUCLAS1": "CALERR", "HDUCLAS2": "PCACOMP"},
    }


def test_bad_pca_libraries(make):
    def method(spec):
        pca_spec(spec)
        spec["SPECRESP"]["cards"]["EMETHOD"] = "SIM1DADD"

    with pytest.raises(DataFileError, match="EMETHOD is 'SIM1DADD'; expected 'PCA1DADD'"):
        read_pca_library(make("arf", method))

    def length(spec):
        pca_spec(spec)
        spec["PCACOMP"]["columns"]["EIGENVEC"] = ["4E", None, np.eye(4)[:2]]

    with pytest.raises(DataFileError, match="column EIGENVEC: a row holds 4 values; expected 5, as SPECRESP"):
        read_pca_library(make("arf", length))
    with pytest.raises(DataFileError, match="no PCACOMP table"):
        read_pca_library(make("arf"))


def test_pca_library_reads(make):
    library = read_pca_library(make("arf", pca_spec))
    assert library.scale.tolist() == [4.0, 2.0]
    assert library.vectors.shape == (2, 5)


def test_bad_ensembles(make, tmp_path):
    def deviations(values):
        def change(spec):
            spec["SIMCOMP"] = {
                "columns": {"SIMCOMP": [f"{values.shape[1]}D", "cm2", values]},
                "cards": {"HDUCLAS1": "CALERR", "HDUCLAS2": "SIMCOMP"},
            }

        return change

    with pytest.raises(DataFileError, match="column SIMCOMP: a row holds 4 values"):
        read_arf_ensemble(make("arf", deviations(np.zeros((2, 4)))))
    negative = np.zeros((2, 5))
    negative[1, 0] = -11.0
    with pytest.raises(DataFileError, match="column SIMCOMP, row 2: the area becomes -1 cm2"):
        read_arf_ensemble(make("arf", deviations(negative)))
    with pytest.raises(DataFileError, match="no SIMCOMP table"):
        read_arf_ensemble(make("arf"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataFileError, match="there are no draws"):
        read_arf_ensemble(tmp_path / "nothing")
    make("arf", None, "draw_0001.arf")

    def other(spec):
        spec["SPECRESP"]["columns"]["ENERG_LO"][2][0] = 0.7

    make("arf", other, "draw_0002.arf")
    with pytest.raises(DataFileError, match=r"draw_0002\.arf\[SPECRESP\]: the energies differ"):
        read_arf_ensemble(tmp_path)
