import hashlib
import re

import pytest

from crosscal import datasets
from crosscal.core.errors import DataFileError, InputError, UnknownNameError


@pytest.fixture
def places(tmp_path, monkeypatch):
    data, cache = tmp_path / "data", tmp_path / "cache"
    (data / "xray").mkdir(parents=True)
    (data / "xray" / "a.arf").write_text("from data")
    (cache / "data" / "xray").mkdir(parents=True)
    (cache / "data" / "xray" / "a.arf").write_text("from cache")
    (cache / "data" / "xray" / "b.arf").write_text("cached")
    monkeypatch.setenv("CROSSCAL_DATA", str(data))
    monkeypatch.setenv("CROSSCAL_CACHE", str(cache))
    return tmp_path


def test_the_search_path_is_followed_in_order(places, monkeypatch):
    assert datasets.find("xray/a.arf").read_text() == "from data"
    assert datasets.find("xray/b.arf").read_text() == "cached"
    assert datasets.listing()["xray/a.arf"] == "CROSSCAL_DATA"
    monkeypatch.delenv("CROSSCAL_DATA")
    assert datasets.find("xray/a.arf").read_text() == "from cache"


def test_job_files_name_data_by_prefix(places):
    assert datasets.resolve("data:xray/b.arf") == datasets.find("xray/b.arf")
    assert str(datasets.resolve("own/file.arf")) == "own/file.arf"


def test_missing_data_offer_the_closest(places):
    with pytest.raises(DataFileError, match=r"data:xray/c\.arf: no such data file; expected 'xray/"):
        datasets.find("xray/c.arf")


def test_missing_data_of_another_kind_offer_no_unrelated_names(places):
    """Where nothing is called alike, the sentence says where data are looked for."""
    where = " or ".join(re.escape(str(p)) for p in datasets.search_path().values())
    with pytest.raises(DataFileError, match=rf"^data:fluxcal/bosz2024: no such data file; expected it in {where}\.$"):
        datasets.find("fluxcal/bosz2024")


def test_an_unset_variable_is_said(places, monkeypatch):
    monkeypatch.delenv("CROSSCAL_DATA")
    with pytest.raises(DataFileError, match="CROSSCAL_DATA is not set"):
        datasets.find("none")


def test_a_wrong_variable_is_said(monkeypatch):
    monkeypatch.setenv("CROSSCAL_DATA", "/no/such/directory")
    with pytest.raises(InputError, match="is not a directory"):
        datasets.search_path()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", ""])
def test_names_stay_inside_the_data(places, name):
    with pytest.raises(InputError, match="not a data name"):
        datasets.find(name)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "published.dat"
    path.write_text("content")
    return path.as_uri(), hashlib.sha256(b"content").hexdigest()


def test_a_download_is_kept_when_its_checksum_matches(places, source):
    url, digest = source
    path = datasets.fetch("xray/new.dat", url=url, checksum=digest.upper())
    assert path == datasets.find("xray/new.dat")
    (places / "published.dat").unlink(missing_ok=True)
    assert datasets.fetch("xray/new.dat", url=url, checksum=digest) == path  # not fetched again


def test_a_known_download_is_fetched_by_its_short_name(places, source):
    known = {"new": datasets.Download("xray/new.dat", *source, "test")}
    assert datasets.fetch("new", known=known).read_text() == "content"


def test_a_wrong_checksum_leaves_nothing(places, source):
    with pytest.raises(DataFileError, match=r"has SHA-256 .* expected SHA-256 0000"):
        datasets.fetch("xray/new.dat", url=source[0], checksum="0" * 64)
    assert not (places / "cache" / "data" / "xray" / "new.dat").exists()
    assert not list((places / "cache").rglob(".partial*"))


def test_refused_downloads(places, source):
    with pytest.raises(UnknownNameError, match="unknown download"):
        datasets.fetch("nothing")
    with pytest.raises(InputError, match="SHA-256 of the file is not known"):
        datasets.fetch("x", url=source[0])
    with pytest.raises(InputError, match="expected https"):
        datasets.fetch("x", url="gopher://x", checksum="0" * 64)
    with pytest.raises(DataFileError, match="download failed"):
        datasets.fetch("x", url="file:///no/such/file", checksum="0" * 64)


def test_a_download_without_end_ends(places, monkeypatch):
    monkeypatch.setenv("CROSSCAL_LARGEST_FILE", "4M")
    with pytest.raises(DataFileError, match=r"larger than 0\.00391 GiB; .* CROSSCAL_LARGEST_FILE raises"):
        datasets.fetch("x.dat", url="file:///dev/zero", checksum="0" * 64)
    assert not [p for p in (places / "cache").rglob("*") if p.is_file() and "x.dat" in p.name]
