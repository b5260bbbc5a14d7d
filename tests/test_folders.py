"""Folders that one process at a time writes to, and sets of files that replace others together."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openmm_neuralmd import folders
from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.folders import (
    abandon_replacement,
    begin_replacement,
    finish_replacement,
    own_folder,
    replace_files,
    settle_folder,
)
from tests.helpers import ROOT

HOLD = """
import sys, time
from pathlib import Path
from openmm_neuralmd.folders import own_folder
with own_folder(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that owns a folder until it is killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def test_one_process_at_a_time_and_none_after_it_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with hold(folder) as other:
        with pytest.raises(InputError, match="another process is writing there"), own_folder(folder):
            pass
        assert folder.is_dir()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with own_folder(folder):
        (folder / "mine").touch()
    assert [p.name for p in folder.iterdir()] == ["mine"]


def test_within_one_process_too(tmp_path: Path) -> None:
    with own_folder(tmp_path / "run"):
        with pytest.raises(InputError, match="another process"), own_folder(tmp_path / "run"):
            pass
        with own_folder(tmp_path / "other"):
            pass


def test_what_was_made_for_nothing_goes(tmp_path: Path) -> None:
    with pytest.raises(KeyError), own_folder(tmp_path / "a" / "b" / "c"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with own_folder(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a").is_dir()  # it was there
    assert not (tmp_path / "a" / "b").exists()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    folder.mkdir()
    (folder / ".neuralmd-lock").symlink_to(victim)
    with pytest.raises(OSError, match="neuralmd-lock"), own_folder(folder):
        pass
    assert victim.read_text() == "mine"


class TestReplacing:
    def test_all_or_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        replace_files(tmp_path / "out", {"a": "1", "b": "1"})
        write, calls = folders.write_atomically, []

        def fail_at_the_second(path: Path, content: str | bytes) -> None:
            calls.append(path)
            if len(calls) == 2:
                raise StorageError("full")
            write(path, content)

        monkeypatch.setattr(folders, "write_atomically", fail_at_the_second)
        with pytest.raises(StorageError):
            replace_files(tmp_path / "out", {"a": "2", "b": "2"})
        assert read_all(tmp_path / "out") == {"a": "1", "b": "1"}

    def test_what_has_other_names_goes_and_the_users_own_stays(self, tmp_path: Path) -> None:
        make(tmp_path, {"old.xtc": "old", "run.json": "old", "mine.txt": "mine"})
        (tmp_path / "gromacs").mkdir()
        with own_folder(tmp_path):
            new = begin_replacement(tmp_path)
            make(new, {"run.json": "new"})
            finish_replacement(tmp_path, [tmp_path / n for n in ("old.xtc", "run.json", "gromacs")])
        assert read_all(tmp_path) == {"run.json": "new", "mine.txt": "mine"}

    def test_open_files_move_along(self, tmp_path: Path) -> None:
        with own_folder(tmp_path), (begin_replacement(tmp_path) / "a").open("w", buffering=1) as file:
            file.write("one\n")
            finish_replacement(tmp_path)
            file.write("two\n")
        assert (tmp_path / "a").read_text() == "one\ntwo\n"

    def test_what_was_abandoned_or_killed_leaves_the_old(self, tmp_path: Path) -> None:
        make(tmp_path, {"a": "old"})
        with own_folder(tmp_path):
            make(begin_replacement(tmp_path), {"a": "new"})
            abandon_replacement(tmp_path)
            make(begin_replacement(tmp_path), {"a": "new"})  # as if killed here
        make(tmp_path, {".tmp-0123456789abcdef.dcd": "half", ".tmp-mine": "mine"})
        with own_folder(tmp_path):
            pass
        assert read_all(tmp_path) == {"a": "old", ".tmp-mine": "mine"}

    @pytest.mark.parametrize("n_done", range(6))
    def test_killed_in_the_middle_it_is_finished_by_whoever_comes_next(
        self, n_done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(tmp_path, {"a": "old", "b": "old", "c": "old"})
        count = iter(range(100))

        def die_after(function: Callable[..., None]) -> Callable[..., None]:
            def wrapped(*arguments: object) -> None:
                if next(count) >= n_done:
                    raise KeyError("killed")
                function(*arguments)

            return wrapped

        with own_folder(tmp_path):
            make(begin_replacement(tmp_path), {"a": "new", "b": "new"})
            with monkeypatch.context() as patched:
                patched.setattr(folders.os, "replace", die_after(os.replace))
                patched.setattr(folders, "_remove", die_after(folders._remove))
                try:
                    finish_replacement(tmp_path, [tmp_path / "c"])
                    ended = True
                except KeyError:
                    ended = False
        if not ended:
            assert (tmp_path / ".neuralmd-ready").is_dir() or n_done == 0
        settle_folder(tmp_path)
        with own_folder(tmp_path):
            pass
        expected = {"a": "new", "b": "new"} if n_done else {"a": "old", "b": "old", "c": "old"}
        assert read_all(tmp_path) == expected

    def test_a_list_of_names_elsewhere_removes_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "victim").touch()
        ready = tmp_path / "run" / ".neuralmd-ready"
        ready.mkdir(parents=True)
        for names in (["../victim"], [".."], [""], 5, {"a": 1}, [None], ["a/../../victim"]):
            make(ready, {"replaced.json": json.dumps(names)})
            if names == {"a": 1}:  # its only name is harmless
                continue
            with pytest.raises(InputError, match="damaged"):
                settle_folder(tmp_path / "run")
        assert (tmp_path / "victim").exists()


def make(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (folder / name).write_text(text)


def read_all(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir()}
