"""Texts that come in, gzipped or not, files that are replaced whole, and names that every reader takes."""

import errno
import gzip
import hashlib
import io
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openmm_neuralmd.errors import InputError, NeuralMDError, StorageError, describe_error

if TYPE_CHECKING:  # not in every command that is asked for help
    import numpy as np

_LONGEST_NAME = 255  # bytes, of all usual file systems
_LARGEST_TEXT = 4 * 2**30  # bytes, unpacked; a System of a million atoms has 0.5 GB
_REMEDIES = {
    errno.ENOSPC: "the disk is full: make room, or name a folder on another disk",
    errno.EDQUOT: "your quota of disk space is used up: make room, or name a folder on another disk",
    errno.EFBIG: "the file may not grow further (ulimit -f, or the file system's limit): raise it",
    errno.EROFS: "the file system is read-only: name another folder",
    errno.EIO: "the disk does not answer as it should: name a folder on another one",
}
TEMPORARY_PREFIX = ".tmp-"
_LONGEST_SUFFIX = 20  # bytes
_PROBE_BYTES = 2**20  # a disk that takes as much is not full


def read_text(path: str | Path) -> str:
    """What a text file holds; one whose name ends in .gz is unpacked.

    Raises:
        InputError: If it is missing, cut short, no text, or absurdly large.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
        if len(content) > _LARGEST_TEXT:
            raise InputError(f"{path}: holds more than {_LARGEST_TEXT >> 30} GB of text; no structure or System does")
        return io.TextIOWrapper(io.BytesIO(content), "utf-8").read()  # line ends of every system
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text (compressed files must end in .gz)") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {describe_error(error)}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """What a JSON file holds: names and values.

    Args:
        path: The file.
        remedy: What to do where it is damaged, for the message.

    Raises:
        InputError: If it is missing, no JSON, or something else than names and values.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        told = describe_error(error)
        raise InputError(f"{path}: not valid JSON: {told}; it is damaged: {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, it holds no names with values; {remedy}")
    return content


def compute_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content in hexadecimal digits; memory does not grow with the file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_arrays(*arrays: "np.ndarray") -> str:
    """SHA-256 of arrays, their types and shapes, in hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def find_format(path: str | Path) -> str:
    """The suffix that tells a file's format, in lower case; .gz does not."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def write_fully(file: BinaryIO, content: bytes, path: Path) -> None:
    """Write all of it to an unbuffered file: one call may write less than it was given, without an error.

    Args:
        file: Open for writing.
        content: What to write.
        path: What errors call the file.

    Raises:
        StorageError: If the rest cannot be written.
    """
    rest = memoryview(content)
    with tell_storage_errors(path):
        while rest:
            rest = rest[file.write(rest) :]


def sync_file(file: BinaryIO, path: Path) -> None:
    """Return once what was written is on the disk, also if the machine goes down; ``path`` as above.

    Raises:
        StorageError: If the disk did not take it.
    """
    with tell_storage_errors(path):
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on the disk; without effect where folders cannot be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with tell_storage_errors(folder):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # file systems without
                raise
        finally:
            os.close(number)


@contextmanager
def tell_storage_errors(path: str | Path) -> Iterator[None]:
    """Errors of a full disk and its kin name the file and what to do; others pass.

    Raises:
        StorageError: In place of such an OSError.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise describe_storage_error(error, path) from error


def describe_storage_error(error: OSError, path: str | Path | None = None) -> OSError:
    """The error with its file and remedy, where it says that something cannot be written; else itself."""
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None or isinstance(error, StorageError):
        return error
    name = path if path is not None else error.filename
    where = "standard output" if name is None else f"{os.fsdecode(name)}"
    return StorageError(f"{where}: cannot be written ({os.strerror(error.errno or 0)}): {remedy}")


@contextmanager
def explain_storage(path: Path) -> Iterator[None]:
    """If what libraries write to a file's folder fails, say so where the disk is why: they do it in many ways.

    Raises:
        StorageError: In place of the exception.
    """
    try:
        yield
    except NeuralMDError:
        raise
    except Exception as error:
        require_storage(error, path)
        raise


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A file beside another, of the same suffix: what is written there replaces that, or goes if it fails.

    Its name is new and nobody else's, so that nothing that stands in the folder is written to. When the context ends
    the content is on the disk.

    Raises:
        StorageError: If the disk is full, whatever the code within made of that.
    """
    folder = path.parent
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{suffix}"
    with tell_storage_errors(path):
        number = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        if path.is_file():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.close(number)
        with explain_storage(path):
            yield temporary
        with temporary.open("r+b") as file:
            sync_file(file, path)
        with tell_storage_errors(path):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file only once the new content is complete and on the disk.

    Raises:
        StorageError: If the disk is full; the old file stays.
    """
    with write_whole(path) as temporary, temporary.open("r+b", buffering=0) as file:
        write_fully(file, content.encode() if isinstance(content, str) else content, path)


def require_storage(error: Exception, path: Path) -> None:
    """After an error of what wrote a file: tell whether the disk is why.

    Raises:
        StorageError: If the error says so, or ``require_room`` does.
    """
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        raise describe_storage_error(error, path) from error
    require_room(path)


def require_room(path: Path) -> None:
    """After something failed that wrote a file: tell whether the disk is why.

    Raises:
        StorageError: If a megabyte cannot be written beside the file.
    """
    try:
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as file:
            write_fully(file, bytes(_PROBE_BYTES), path)
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _REMEDIES:
            raise describe_storage_error(error, path) from error


@contextmanager
def give_ascii_path(path: str | Path, *, write: bool = False) -> Iterator[str]:
    """A name of ASCII alone for a file: its own, or a link to it while the context lasts.

    mdtraj's readers and writers of XTC, TRR and DCD take no other.

    Args:
        path: The file.
        write: Whether it will be written; a file that is there goes, because writers would replace the link instead.
    """
    path = Path(path)
    if write:
        path.unlink(missing_ok=True)
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(dir=None if tempfile.gettempdir().isascii() else "/tmp") as folder:
        link = Path(folder) / f"file{path.suffix}"
        link.symlink_to(path.absolute())
        yield str(link)


def check_writable(folder: str | Path) -> None:
    """Check, before anything is computed, that files can be written to a folder, which need not exist yet.

    Raises:
        InputError: If it or a folder above it is a file or must not be written to.
    """
    _check_name(folder)
    existing = next(
        path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if os.path.lexists(path)
    )
    if existing.is_symlink() and not existing.exists():
        raise InputError(f"{existing} is a link to nowhere; remove it, or give another directory (`out`)")
    if not existing.is_dir():
        raise InputError(f"{existing} is a file; give a directory (`out`)")
    if not _is_writable(existing):
        raise InputError(f"{existing} cannot be written to; give another directory (`out`)")


def check_output_file(path: str | Path, name: str) -> None:
    """Check, before anything is computed, that a file can be written or replaced.

    Args:
        path: The file; its folder must be there.
        name: Of the argument, for the message.

    Raises:
        InputError: If it is a folder or no regular file, or its folder is absent or must not be written to.
    """
    path = Path(path)
    check_plain_file(path, name)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{name} {path}: there is no folder {folder}; make it first, or give another name")
    if not _is_writable(folder):
        raise InputError(f"{name} {path}: its folder cannot be written to; give another name")


def check_plain_file(path: str | Path, name: str) -> None:
    """Check that a name is free, or that of a file that can be replaced.

    Args:
        path: Where something will be written.
        name: Of the argument, for the message.

    Raises:
        InputError: If a folder, a pipe, a device or a link to nowhere has the name, or no file can have it.
    """
    path = Path(path)
    _check_name(path)
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"{name} {path}: is {'a folder' if path.is_dir() else 'no plain file'}; give another name")


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; permissions alone do not tell of /proc, nor root anything."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in _REMEDIES  # a full disk is told by what is written then, with its remedy


def _check_name(path: str | Path) -> None:
    """Raise InputError for a name that file systems do not take."""
    for part in Path(path).parts:
        if len(os.fsencode(part)) > _LONGEST_NAME:
            raise InputError(f"{part[:40]}...: this name is too long; give one of at most {_LONGEST_NAME} bytes")
        if "\0" in part:
            raise InputError(f"{part!r}: holds a NUL character; give another name")
