"""Files are put in place whole or not at all, whatever the destination is and whoever is interrupted."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpbnet import files
from hpbnet.files import remove_left_parts, replacing, write_bytes


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "a.txt") as part:
        part.write_bytes(b"half")
        assert part.parent == tmp_path and part.name != "a.txt"
        raise ValueError("no")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_bytes() == b"old"


def test_an_error_names_the_destination_and_another_files_error_that_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as failure, replacing(tmp_path / "a.txt") as part:
        raise OSError(28, "No space left on device", str(part))
    assert failure.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError) as failure, replacing(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_bytes()
    assert str(failure.value.filename) == str(tmp_path / "source.txt")
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [250, 255])
def test_names_may_be_as_long_as_the_system_takes(tmp_path: Path, length: int) -> None:
    name = "x" * (length - 4) + ".png"
    write_bytes(tmp_path / name, b"data")
    assert names(tmp_path) == [name]


def test_a_link_keeps_pointing_at_what_is_written_even_where_that_is_new(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "away" / "real.txt")
    for data in (b"new", b"again"):
        write_bytes(tmp_path / "link.txt", data)
        assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "away" / "real.txt").read_bytes() == data
    assert names(tmp_path) == ["away", "link.txt"] and names(tmp_path / "away") == ["real.txt"]


def test_a_planted_link_of_the_part_files_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    (tmp_path / ".hpbnet-known").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "a.txt", b"data")
    assert (tmp_path / "victim").read_bytes() == b"mine" and names(tmp_path) == [".hpbnet-known", "victim"]


def test_two_writers_of_one_name_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([value]) * 300_000 for value in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(tmp_path / "a.bin", each)) for each in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() in contents


def test_permissions_of_what_is_replaced_are_kept_and_a_new_file_has_the_usual(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_bytes(tmp_path / "new", b"data")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    write_bytes(tmp_path / "new", b"other")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_what_is_replaced_is_flushed_to_the_disk_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths))[1])
    write_bytes(tmp_path / "a.txt", b"data")
    assert calls[:2] == ["fsync", "replace"]


KILLED = """
import os, signal, sys
from hpbnet.files import replacing
with replacing(sys.argv[1]) as part:
    part.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(files.fcntl is None, reason="part files are not locked on this system")
def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_kept(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.txt")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].startswith(".hpbnet-")
    with replacing(tmp_path / "b.txt") as part:
        remove_left_parts.cache_clear()
        write_bytes(tmp_path / "c.txt", b"data")
        assert names(tmp_path) == sorted([part.name, "c.txt"])
    assert names(tmp_path) == ["b.txt", "c.txt"]


def test_folders_are_refused_and_devices_written_to(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="a file was expected"):
        write_bytes(tmp_path, b"data")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        write_bytes(tmp_path / "no" / "a.txt", b"data")
    write_bytes(os.devnull, b"data")
    assert not Path(os.devnull).is_file()
