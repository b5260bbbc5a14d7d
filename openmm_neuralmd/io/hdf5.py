"""HDF5 files that are not trusted: numbers and texts of the file itself, and nothing that leads out of it.

HDF5 follows links to other files, takes data from raw files beside it, loads filters from shared libraries, and a
kilobyte may claim a petabyte. Here only plain arrays are read, chunk by chunk, and each chunk is unpacked to its own
size at most. Attributes that other libraries would unpickle are never read.
"""

import io
import itertools
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from openmm_neuralmd.errors import InputError, describe_error

MAX_BLOCK_BYTES = 2**30
"""Of a chunk, of a row of chunks and of what is read as a whole: more is no molecule."""
_MAX_TEXT_BYTES = 100  # of an attribute
_NUMBERS = tuple(
    kind
    for size in (8, 16, 32, 64)
    for order in ("LE", "BE")
    for kind in (
        getattr(h5py.h5t, f"STD_I{size}{order}"),
        getattr(h5py.h5t, f"STD_U{size}{order}"),
        *((getattr(h5py.h5t, f"IEEE_F{size}{order}"),) if size > 8 else ()),
    )
)
_FILTERS = {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_SHUFFLE: "shuffle"}


def open_hdf5(path: Path) -> h5py.File:
    """A file to read.

    Raises:
        InputError: If it is no HDF5 file, or cut short.
    """
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        told = describe_error(error).replace("synchronously ", "")
        raise InputError(f"{path}: not a readable HDF5 file, or cut short: {told}") from error


def has_member(group: h5py.Group, name: str) -> bool:
    """Whether a group has a direct member of this name, wherever that leads; a path is none."""
    if not name or "/" in name or name == "." or "\0" in name:
        return False
    try:
        return bool(group.id.links.exists(name.encode()))
    except (OSError, RuntimeError, ValueError, KeyError):
        return False


def find_member(group: h5py.Group, name: str, label: str) -> h5py.Group | h5py.Dataset | None:
    """What a group holds under a name; None if there is nothing.

    Args:
        group: Of an open file.
        name: Of a direct member.
        label: What messages call the group.

    Raises:
        InputError: If it is a link of another kind than HDF5's own, or damaged.
    """
    if not has_member(group, name):
        return None
    try:
        kind = group.id.links.get_info(name.encode()).type
        if kind == h5py.h5l.TYPE_HARD:
            found = group[name]
            return found if isinstance(found, h5py.Group | h5py.Dataset) else None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{label}: {name} cannot be read: {describe_error(error)}") from error
    what = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
    raise InputError(
        f"{label}: {name} is {what.get(kind, 'a link of unknown kind')}, which is not followed; write the data into "
        "the file itself"
    )


class Disk(io.RawIOBase):
    """The file that HDF5 writes to; it learns of no failure, because closing a file that fails ends the interpreter.

    Args:
        path: The file, replaced if it exists.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115
        self._error: OSError | None = None

    def raise_error(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._error is not None:
            raise self._error

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        try:
            while self._error is None and len(rest):
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._error = error
        if self._error is not None:  # as if it had been written
            self._file.seek(len(rest), os.SEEK_CUR)
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def create_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """A file to write, replaced if it exists.

    Raises:
        OSError: At the end, if the disk is full.
    """
    disk = Disk(path)
    try:
        with h5py.File(disk, "w", libver="earliest") as file:
            yield file
    finally:
        disk.close()
    disk.raise_error()


class StoredArray:
    """A dataset whose rows are read when asked for.

    Args:
        group: Of an open file.
        name: Of a direct member.
        label: What messages call the group.
        kinds: numpy's letters of the kinds of numbers that will do; "S" for text of fixed length.

    Attributes:
        label: What messages call it.
        shape, dtype: As stored.

    Raises:
        InputError: If it is absent, no plain array of such numbers, not in the file itself, packed in another way than
            gzip, or larger than any trajectory.
    """

    def __init__(self, group: h5py.Group, name: str, label: str, *, kinds: str) -> None:
        self.label = f"{label}: {name}"
        dataset = find_member(group, name, label)
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(f"{self.label} is {'missing' if dataset is None else 'no array'}")
        try:
            self._dataset = dataset
            self._plan = dataset.id.get_create_plist()
            self._check_place()
            self._check_type(kinds)
            self.shape = tuple(int(n) for n in dataset.shape or ())
            self.dtype = np.dtype(dataset.dtype)
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(f"{self.label} cannot be read: {describe_error(error)}") from error
        if not self.shape:
            raise InputError(f"{self.label} is a single value; an array was expected")
        self._check_size()
        self._chunks: dict[tuple[int, ...], np.ndarray] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int = 0, stop: int | None = None) -> np.ndarray:
        """The rows from ``first`` to before ``stop``, at most ``MAX_BLOCK_BYTES``.

        Raises:
            OSError: If they are damaged or not in the file.
            InputError: If they are too many.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        n_rows = max(stop - first, 0)
        if n_rows * self._row_bytes > MAX_BLOCK_BYTES:
            raise InputError(f"{self.label} claims shape {self.shape}, more than any trajectory or topology holds")
        if n_rows == 0 or 0 in self.shape:
            return np.empty((n_rows, *self.shape[1:]), dtype=self.dtype)
        if self._plan.get_layout() != h5py.h5d.CHUNKED:
            return np.asarray(self._dataset[first:stop], dtype=self.dtype)
        found = np.empty((n_rows, *self.shape[1:]), dtype=self.dtype)
        size = self._dataset.chunks
        starts = [range(first // size[0] * size[0], stop, size[0])]
        starts += [range(0, length, step) for length, step in zip(self.shape[1:], size[1:], strict=True)]
        for start in starts[0]:
            self._chunks = {place: chunk for place, chunk in self._chunks.items() if place[0] == start}
            rows = slice(max(start, first), min(start + size[0], stop))
            for rest in itertools.product(*starts[1:]):
                chunk = self._read_chunk((start, *rest))
                target = [slice(rows.start - first, rows.stop - first)]
                source = [slice(rows.start - start, rows.stop - start)]
                for begin, step, length in zip(rest, size[1:], self.shape[1:], strict=True):
                    end = min(begin + step, length)
                    target.append(slice(begin, end))
                    source.append(slice(0, end - begin))
                found[tuple(target)] = chunk[tuple(source)]
        return found

    def read_text(self, attribute: str) -> str | None:
        """A short text that goes with the array; None where there is none of that name, or no text."""
        try:
            if attribute not in self._dataset.attrs:
                return None
            kind = self._dataset.attrs.get_id(attribute)
            type_ = kind.get_type()
            if not isinstance(type_, h5py.h5t.TypeStringID) or math.prod(kind.shape or (0,)) > 1:
                return None
            if not type_.is_variable_str() and type_.get_size() > _MAX_TEXT_BYTES:
                return None
            value = np.asarray(self._dataset.attrs[attribute]).ravel()
            text = value[0] if len(value) else ""
            return (text.decode() if isinstance(text, bytes) else str(text)).strip("\0 ")
        except (OSError, RuntimeError, ValueError, KeyError, TypeError):
            return None

    @property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def _check_place(self) -> None:
        """Before anything asks for the shape, for which HDF5 would open the files of a virtual dataset."""
        if self._plan.get_layout() == h5py.h5d.VIRTUAL or self._plan.get_external_count() > 0:
            raise InputError(f"{self.label} is kept in other files, which are not opened; write the data into the file")
        filters = [self._plan.get_filter(k)[0] for k in range(self._plan.get_nfilters())]
        if not set(filters) <= _FILTERS.keys() or len(set(filters)) < len(filters):
            raise InputError(f"{self.label} is packed in another way than gzip; repack the file (h5repack -f GZIP=1)")

    def _check_type(self, kinds: str) -> None:
        type_ = self._dataset.id.get_type()
        if isinstance(type_, h5py.h5t.TypeStringID):
            is_right = "S" in kinds and not type_.is_variable_str()
        else:
            is_right = any(type_.equal(t) for t in _NUMBERS) and np.dtype(self._dataset.dtype).kind in kinds
        if not is_right:
            words = {"f": "floating-point numbers", "i": "whole numbers", "u": "", "S": "text of fixed length"}
            expected = " or ".join(filter(None, (words[k] for k in kinds)))
            raise InputError(f"{self.label} holds {_describe_type(type_)}; expected {expected}")

    def _check_size(self) -> None:
        if self._row_bytes > MAX_BLOCK_BYTES or math.prod(self.shape) >= 2**62:
            raise InputError(f"{self.label} claims shape {self.shape}, more than any trajectory holds")
        size = self._dataset.chunks
        if size is not None:
            if max(math.prod(size) * self.dtype.itemsize, size[0] * self._row_bytes) > MAX_BLOCK_BYTES:
                raise InputError(
                    f"{self.label} is stored in chunks of shape {size}, more than fits into memory; repack the file "
                    "(h5repack -l CHUNK=...)"
                )
        elif self._dataset.id.get_storage_size() < math.prod(self.shape) * self.dtype.itemsize:
            raise InputError(f"{self.label} claims shape {self.shape}, but the file does not hold these data")

    def _read_chunk(self, place: tuple[int, ...]) -> np.ndarray:
        if place not in self._chunks:
            n_bytes = math.prod(self._dataset.chunks) * self.dtype.itemsize
            stored = self._dataset.id.get_chunk_info_by_coord(place)
            if stored.byte_offset is None or not 0 < stored.size <= n_bytes + n_bytes // 100 + 1024:
                raise OSError(f"the chunk at {place} is not in the file")
            mask, packed = self._dataset.id.read_direct_chunk(place)
            content = self._unpack(bytes(packed), mask, n_bytes)
            self._chunks[place] = np.frombuffer(content, dtype=self.dtype).reshape(self._dataset.chunks)
        return self._chunks[place]

    def _unpack(self, content: bytes, mask: int, n_bytes: int) -> bytes:
        for k in reversed(range(self._plan.get_nfilters())):
            if mask >> k & 1:  # HDF5 leaves a filter out where it would not make the chunk smaller
                continue
            if self._plan.get_filter(k)[0] == h5py.h5z.FILTER_DEFLATE:
                stream = zlib.decompressobj()
                try:
                    content = stream.decompress(content, n_bytes + 1)
                except zlib.error as error:
                    raise OSError(f"damaged chunk ({error})") from error
            else:
                content = _unshuffle(content, self.dtype.itemsize)
        if len(content) != n_bytes:
            raise OSError(f"damaged chunk (it does not hold {n_bytes} bytes)")
        return content


def _unshuffle(content: bytes, size: int) -> bytes:
    """Put the bytes of each number together again, which HDF5 sorted by their place in the number."""
    n_whole = len(content) // size * size
    sorted_ = np.frombuffer(content, dtype=np.uint8, count=n_whole).reshape(size, -1)
    return sorted_.T.tobytes() + content[n_whole:]


def _describe_type(type_: h5py.h5t.TypeID) -> str:
    if isinstance(type_, h5py.h5t.TypeStringID):
        return "text"
    names = {h5py.h5t.INTEGER: "whole numbers", h5py.h5t.FLOAT: "floating-point numbers"}
    return names.get(type_.get_class(), "values of another kind")
