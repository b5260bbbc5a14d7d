"""Files that are replaced whole, also where the disk is full or somebody has put something in the way."""

import errno
import gzip
import io
import os
from pathlib import Path

import pytest

from openmm_neuralmd import files
from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.files import (
    check_writable,
    explain_storage,
    read_json,
    read_text,
    tell_storage_errors,
    write_atomically,
    write_fully,
    write_whole,
)

MEGABYTE = 2**20


class TestWriteWhole:
    def test_content_replaces_the_file_and_keeps_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")
        path.chmod(0o640)
        write_atomically(path, "new")
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == 0o640
        assert list(tmp_path.iterdir()) == [path]

    def test_a_new_file_has_the_mode_of_any_other(self, tmp_path: Path) -> None:
        (tmp_path / "plain").touch()
        write_atomically(tmp_path / "a", b"")
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_a_failure_leaves_the_old_file_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")
        with pytest.raises(KeyError), write_whole(path) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise KeyError
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_links_under_names_that_could_be_guessed_are_not_followed(self, tmp_path: Path) -> None:
        victim, folder = tmp_path / "victim", tmp_path / "run"
        victim.write_text("mine")
        folder.mkdir()
        for name in (".tmp.checkpoint", ".checkpoint.tmp", f".checkpoint.{os.getpid()}", "checkpoint.tmp", ".tmp"):
            (folder / name).symlink_to(victim)
        write_atomically(folder / "checkpoint", "new")
        assert victim.read_text() == "mine"

    def test_names_are_never_used_twice(self, tmp_path: Path) -> None:
        names = set()
        for _ in range(3):
            with write_whole(tmp_path / "a.nc") as temporary:
                names.add(temporary)
        assert len(names) == 3
        assert {name.suffix for name in names} == {".nc"}
        assert {name.parent for name in names} == {tmp_path}

    def test_a_name_that_is_there_is_not_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
        (tmp_path / "victim").write_text("mine")
        (tmp_path / ".tmp-guessed").symlink_to(tmp_path / "victim")
        with pytest.raises(FileExistsError):
            write_atomically(tmp_path / "a", "new")
        assert (tmp_path / "victim").read_text() == "mine"

    def test_long_names(self, tmp_path: Path) -> None:
        path = tmp_path / ("a" * 200 + "." + "\u00e9" * 20)
        write_atomically(path, "new")
        assert path.read_text() == "new"


class Reluctant(io.RawIOBase):
    """Takes three bytes at a time, as a file may, and none when it is full."""

    def __init__(self, room: int) -> None:
        self.taken, self.room = b"", room

    def write(self, content: bytes) -> int:  # type: ignore[override]
        if len(self.taken) >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(content[:3])
        self.taken += part
        return len(part)


def test_short_writes_are_completed() -> None:
    file = Reluctant(100)
    write_fully(file, b"0123456789", Path("a.dcd"))  # type: ignore[arg-type]
    assert file.taken == b"0123456789"


def test_a_write_that_stays_short_is_told() -> None:
    with pytest.raises(StorageError, match=r"a\.dcd: cannot be written \(No space left on device\): the disk is full"):
        write_fully(Reluctant(6), b"0123456789", Path("a.dcd"))  # type: ignore[arg-type]


class TestFullDisk:
    def test_the_old_file_stays(self, small_disk: Path) -> None:
        path = small_disk / "a"
        write_atomically(path, "old")
        with pytest.raises(StorageError, match=f"{path}: cannot be written .*: the disk is full: make room"):
            write_atomically(path, bytes(2 * MEGABYTE))
        assert path.read_text() == "old"
        assert list(small_disk.iterdir()) == [path]

    def test_libraries_may_say_it_in_any_way(self, small_disk: Path) -> None:
        path = small_disk / "a"
        with pytest.raises(StorageError, match="the disk is full"), write_whole(path) as temporary:  # noqa: PT012
            with temporary.open("wb", buffering=0) as file:
                file.write(bytes(2 * MEGABYTE))  # as much as there is room for
            raise RuntimeError("PytorchStreamWriter failed")
        assert not path.exists()

    def test_other_errors_stay_what_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="mine"), explain_storage(tmp_path / "a"):
            raise RuntimeError("mine")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EDQUOT, "quota"), (errno.EFBIG, "ulimit"), (errno.EROFS, "read-only")],
)
def test_what_to_do(number: int, remedy: str) -> None:
    with pytest.raises(StorageError, match=f"a: cannot be written .*{remedy}"), tell_storage_errors("a"):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(PermissionError), tell_storage_errors("a"):
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_json_that_cannot_be_used(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: (not valid JSON: .*; it is damaged: |damaged, .*; )start again"):
        read_json(tmp_path / "a.json", "start again")


def test_texts_that_unpack_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LARGEST_TEXT", MEGABYTE)
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(bytes(4 * MEGABYTE)))
    with pytest.raises(InputError, match=r"a\.xml\.gz: holds more than"):
        read_text(tmp_path / "a.xml.gz")


def test_a_folder_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        check_writable(tmp_path / "file" / "run")
