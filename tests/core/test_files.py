import errno
import os

import pytest

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import (
    atomic_path,
    existing_file,
    is_partial,
    open_own,
    refuse_inputs_inside,
    refuse_overwriting,
    remove_partials,
    sha256,
    write_text,
)


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
    with pytest.raises(DataFileError, match="already exists"), atomic_path(target, overwrite=False):
        pass
    assert target.read_text() == "old"


def test_directories_are_no_outputs(tmp_path):
    with pytest.raises(DataFileError, match="is a directory"), atomic_path(tmp_path):
        pass


def test_an_impossible_directory_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFileError, match="cannot create the file"), atomic_path(tmp_path / "file" / "a.txt"):
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


def test_what_a_killed_process_leaves_is_known_and_removed(tmp_path):
    """Whatever the target is called, and in folders too; nothing else, and nothing behind a link."""
    import subprocess
    import sys

    (tmp_path / "run" / "figures").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    kill = (
        "import os, sys, signal\nfrom crosscal.core.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t:\n    t.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for name in ("run/fluxes.ecsv", "run/figures/a b.png", "run/.hidden", "elsewhere/x", "run/odd\nname"):
        done = subprocess.run([sys.executable, "-c", kill, str(tmp_path / name)], check=False)
        assert done.returncode == -9
    store = tmp_path / "run" / ".partial-library.zarr-abcd_f12"
    (store / "c").mkdir(parents=True)
    (store / "c" / "0").write_text("")
    kept = [tmp_path / "run" / n for n in ("fluxes.ecsv", "partial-abcdefgh-x", ".partial-notes", "stages.json")]
    for path in kept:
        path.write_text("kept")
    (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere")
    removed = remove_partials(tmp_path / "run")
    assert len(removed) == 5
    assert all(is_partial(path) for path in removed)
    assert not any(is_partial(path.relative_to(tmp_path)) for path in kept if path.name != ".partial-notes")
    assert sorted(p.name for p in (tmp_path / "run").rglob("*") if p.is_file()) == sorted(p.name for p in kept)
    assert [p.name[:9] for p in (tmp_path / "elsewhere").iterdir()] == [".partial-"]
    assert remove_partials(tmp_path / "run") == []
    assert remove_partials(tmp_path / "absent") == []


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    (tmp_path / ".partial-abcdefgh-x").write_text("")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(DataFileError, match=r"files of an earlier run cannot be removed \(Permission denied\)"):
        remove_partials(tmp_path)


def test_files_of_a_run_are_opened_without_following_links(tmp_path):
    precious = write_text(tmp_path / "precious", "kept")
    for name, make in (
        ("link", lambda p: p.symlink_to(precious)),
        ("dangling", lambda p: p.symlink_to(tmp_path / "made by a link")),
        ("hard", lambda p: os.link(precious, p)),
        ("fifo", os.mkfifo),
        ("directory", os.mkdir),
    ):
        path = tmp_path / name
        make(path)
        for append in (True, False):
            with pytest.raises(DataFileError, match=f"{name}: .*(link|second name|regular|directory)"):
                open_own(path, append=append)
    assert precious.read_text() == "kept"
    assert not (tmp_path / "made by a link").exists()
    log = tmp_path / "run.log"
    for line in ("one\n", "two\n"):
        with open_own(log, append=True) as stream:
            stream.write(line)
    assert log.read_text() == "one\ntwo\n"
    with open_own(log) as stream:  # a lock is held, not emptied
        assert stream.read() == "one\ntwo\n"
    with pytest.raises(DataFileError, match="cannot be opened"):
        open_own(tmp_path / "none" / ".lock")
