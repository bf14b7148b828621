import errno
import os

import pytest

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import atomic_path, existing_file, refuse_inputs_inside, refuse_overwriting, sha256, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_sentence(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataFileError, match="writing failed \\(No space left on device\\)"):
        fail()
    assert not os.listdir(tmp_path)


def test_existing_outputs_can_be_protected(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(DataFileError, match="exists already"), atomic_path(target, overwrite=False):
        pass
    assert target.read_text() == "old"


def test_directories_are_no_outputs(tmp_path):
    with pytest.raises(DataFileError, match="is a directory"), atomic_path(tmp_path):
        pass


def test_an_impossible_directory_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFileError, match="cannot write here"), atomic_path(tmp_path / "file" / "a.txt"):
        pass


def test_sha256_of_known_content(tmp_path):
    digest = sha256(write_text(tmp_path / "abc", "abc"))
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_missing_files_directories_and_unreadable_files(tmp_path, monkeypatch):
    with pytest.raises(DataFileError, match=r"no such ARF"):
        existing_file(tmp_path / "x.arf", what="ARF")
    with pytest.raises(DataFileError, match="is a directory"):
        existing_file(tmp_path)
    target = write_text(tmp_path / "a", "")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataFileError, match=r"job: .*cannot be read"):
        existing_file(target, where="job")


def test_outputs_do_not_replace_inputs(tmp_path):
    source = write_text(tmp_path / "in.arf", "x")
    refuse_overwriting([tmp_path / "out.arf"], [source])
    with pytest.raises(InputError, match="would overwrite an input"):
        refuse_overwriting([tmp_path / "sub" / ".." / "in.arf"], [source])


def test_inputs_inside_a_run_directory_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    inside, outside, loop = tmp_path / "run" / "a.arf", tmp_path / "b.arf", tmp_path / "loop"
    loop.symlink_to(loop)
    refuse_inputs_inside(tmp_path / "run", {"arf": outside, "loop": loop})
    refuse_overwriting([tmp_path / "run" / "x"], [loop])
    with pytest.raises(InputError, match=r"a\.arf: the input telescope\.arf lies inside the run directory"):
        refuse_inputs_inside(tmp_path / "run", {"telescope.arf": inside})
    # Also through a link.
    (tmp_path / "linked").symlink_to(tmp_path / "run")
    with pytest.raises(InputError, match="lies inside the run directory"):
        refuse_inputs_inside(tmp_path / "linked", {"arf": inside})


def test_links_and_second_names_do_not_lead_to_an_input(tmp_path):
    import os

    (tmp_path / "data").mkdir()
    (tmp_path / "run").mkdir()
    source = tmp_path / "data" / "in.arf"
    source.write_text("kept")
    os.link(source, tmp_path / "run" / ".lock")
    with pytest.raises(InputError, match="would overwrite an input"):
        refuse_overwriting([tmp_path / "run" / ".lock"], [source])
    (tmp_path / "run" / ".lock").unlink()
    refuse_inputs_inside(tmp_path / "run", {"arf": source})
    (tmp_path / "run" / "figures").symlink_to(tmp_path / "data")
    with pytest.raises(InputError, match="lies inside the run directory"):
        refuse_inputs_inside(tmp_path / "run", {"arf": source})
