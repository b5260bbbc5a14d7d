"""Texts that come in, gzipped or not, files that are replaced whole, and names that every reader takes."""

import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openmm_neuralmd.errors import InputError


def read_text(path: str | Path) -> str:
    """What a text file holds; one whose name ends in .gz is unpacked.

    Raises:
        InputError: If it is missing, cut short, or no text.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
        return io.TextIOWrapper(io.BytesIO(content), "utf-8").read()  # line ends of every system
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text (compressed files must end in .gz)") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def find_format(path: str | Path) -> str:
    """The suffix that tells a file's format, in lower case; .gz does not."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A name beside a file, of the same suffix: what is written there replaces the file, or goes if that fails."""
    temporary = path.with_name(f".tmp.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file only once the new content is complete."""
    with write_whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


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
    existing = next(
        path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if os.path.exists(path)
    )
    if not existing.is_dir():
        raise InputError(f"{existing} is a file; give a directory (--out)")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{existing} cannot be written to; give another directory (--out)")
