"""Folders that one process at a time writes to, and sets of files that take the place of others together."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import TEMPORARY_PREFIX, sync_file, sync_folder, tell_storage_errors, write_atomically
from openmm_neuralmd.signals import hold_signals

_LOCK, _NEW, _READY, _REPLACED = ".neuralmd-lock", ".neuralmd-new", ".neuralmd-ready", "replaced.json"
_TEMPORARY = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{16}}(\..*)?")
_LOCKS_ARE_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Write to a folder, created if absent, as the only process that does; the system lets go of it when we die.

    What processes that died left behind is tidied up first. A folder that was created here and stayed empty goes.

    Raises:
        InputError: If another process is writing there.
        StorageError: If the folder cannot be created.
    """
    missing = [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]
    try:
        with tell_storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            _tidy(folder)
            yield
    finally:
        for path in missing:  # the innermost first
            with suppress(OSError):  # not empty, or never made
                path.rmdir()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    path = folder / _LOCK
    lock = FileLock(path)
    try:
        with tell_storage_errors(path):
            lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"{folder}: another process is writing there (a run that has not ended?); wait for it, stop it, or give "
            "another directory"
        ) from error
    except (OSError, NotImplementedError) as error:  # some network file systems; nothing to be had there
        if isinstance(error, OSError) and error.errno not in _LOCKS_ARE_UNKNOWN:
            raise
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is ours: whoever opened it meanwhile finds that it is gone
        lock.release()


def _tidy(folder: Path) -> None:
    """Finish a replacement that was under way, and remove what can no longer become anything."""
    if (folder / _READY).is_symlink():
        (folder / _READY).unlink()
    elif (folder / _READY).is_dir():
        _finish(folder)
    _remove(folder / _NEW)
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
            path.unlink()


def settle_folder(folder: Path) -> None:
    """Before files are read: finish a replacement whose process died in the middle.

    Raises:
        InputError: If a process is replacing them now.
    """
    if (folder / _READY).is_dir():
        with own_folder(folder):
            pass


def replace_files(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write several files to a folder, created if absent: all of them, or none.

    Raises:
        InputError: If another process is writing there.
        StorageError: If the disk is full; what was there stays.
    """
    with make_replacement(folder) as new:
        for name, content in contents.items():
            write_atomically(new / name, content)


@contextmanager
def make_replacement(folder: Path) -> Iterator[Path]:
    """A folder for files that take the place of those of their names in another, created if absent, when all are made.

    Raises:
        InputError: If another process is writing there.
    """
    with own_folder(folder):
        try:
            yield begin_replacement(folder)
            finish_replacement(folder)
        finally:
            abandon_replacement(folder)


def begin_replacement(folder: Path) -> Path:
    """An empty folder inside one that is owned, where files are made that will take the place of others in it."""
    new = folder / _NEW
    _remove(new)
    with tell_storage_errors(new):
        new.mkdir()
    return new


def finish_replacement(folder: Path, replaced: Iterable[Path] = ()) -> None:
    """Bring what was made to where it belongs; from now on it stays, even if the process dies on the way.

    Files that are open stay so: they are moved, not copied.

    Args:
        folder: Whose replacement was begun.
        replaced: Files and folders in it that go, where the new ones do not have their names.
    """
    new = folder / _NEW
    names = sorted({path.name for path in replaced} - {path.name for path in new.iterdir()})
    write_atomically(new / _REPLACED, json.dumps(names))
    for path in new.iterdir():
        if path.is_file():
            with path.open("r+b") as file:
                sync_file(file, folder / path.name)
    sync_folder(new)
    with hold_signals():
        os.rename(new, folder / _READY)
        _finish(folder)


def abandon_replacement(folder: Path) -> None:
    """Remove what was begun; what it was to replace stays."""
    _remove(folder / _NEW)


def _finish(folder: Path) -> None:
    """Every step may have been done already."""
    ready = folder / _READY
    manifest = ready / _REPLACED
    if manifest.is_file():
        for name in _read_names(manifest):
            _remove(folder / name)
        manifest.unlink()
    for path in sorted(ready.iterdir()):
        target = folder / path.name
        if target.is_dir() and not target.is_symlink():
            _remove(target)
        os.replace(path, target)
    ready.rmdir()
    sync_folder(folder)


def _read_names(manifest: Path) -> list[str]:
    try:
        names = json.loads(manifest.read_text())
        if all(Path(name).name == name and name not in ("", ".", "..") for name in names):
            return list(names)
    except (ValueError, TypeError, RecursionError):
        pass
    raise InputError(f"{manifest}: damaged; remove {manifest.parent} after looking at what it holds")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
