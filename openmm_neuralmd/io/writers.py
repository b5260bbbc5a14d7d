"""The files of a run: DCD trajectory, PDB topology, CSV log, JSON and checkpoint; none is ever half-replaced.

OpenMM's DCDFile puts the wall-clock time into the header and needs 4 ms for a frame of 5,000 atoms; this writer has the
same layout, is reproducible to the byte and needs 0.1 ms.
"""

import hashlib
import io
import json
import os
import struct
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.files import read_text, sync_file, write_atomically, write_fully
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM

_AKMA_PS = 0.04888821  # CHARMM's unit of time, in which DCD headers give the timestep
_HEADER = struct.Struct("<i4s9if13i80s80s4i")
_N_FRAMES_AT, _LAST_STEP_AT = 8, 20  # bytes in the header of CHARMM's DCD that count frames and steps
START_AGAIN = "start again (`overwrite=True`)"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file; keys keep their order."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def write_topology(path: Path, complex_: Complex) -> None:
    """Write the start as a PDB file with the ligand's CONECT records."""
    write_atomically(path, _format_topology(complex_))


def check_topology(path: Path, complex_: Complex) -> None:
    """Raise InputError if a file is there that holds something else than ``write_topology`` writes."""
    if path.is_file() and _list_records(read_text(path)) != _list_records(_format_topology(complex_)):
        raise InputError(f"{path}: changed since the run began; put the original back, or {START_AGAIN}")


def _format_topology(complex_: Complex) -> str:
    from openmm import unit
    from openmm.app import PDBFile

    text = io.StringIO()
    PDBFile.writeFile(complex_.topology, complex_.positions * unit.nanometer, text, keepIds=True)
    return text.getvalue()


def _list_records(text: str) -> list[str]:
    """Without the remark, which holds OpenMM's version and a date."""
    return [line for line in text.splitlines() if not line.startswith("REMARK")]


def extend_digest(digest: str, content: bytes) -> str:
    """The running digest of frames or rows, SHA-256 in hex, with one more; that of nothing is empty."""
    return hashlib.sha256(digest.encode() + content).hexdigest()


class DCDWriter:
    """Appends frames to a DCD file; every frame is in the file when ``write`` returns, on the disk after ``sync``.

    Args:
        path: The file; created if absent, else what follows the first ``n_frames`` is cut off.
        n_atoms: Of each frame.
        frame_interval: [ps]; the first frame is at one interval.
        has_box: Whether every frame comes with box vectors.
        n_frames, digest: Of ``check_dcd``, for a file that is there.

    Attributes:
        path: Where the file is now.
        n_frames: In the file.
        digest: Running digest of the frames.
    """

    def __init__(
        self,
        path: Path,
        n_atoms: int,
        *,
        frame_interval: float,
        has_box: bool = False,
        n_frames: int = 0,
        digest: str = "",
    ) -> None:
        self.path, self.n_frames, self.digest = path, n_frames, digest
        self._n_atoms, self._has_box = n_atoms, has_box
        if n_frames == 0:
            write_atomically(path, _pack_header(n_atoms, frame_interval, has_box))
        self._file: BinaryIO = open(path, "r+b", buffering=0)  # noqa: SIM115
        self._end_here()

    def write(self, positions: np.ndarray, box: np.ndarray | None = None) -> None:
        """Append one frame; positions [nm], (n_atoms, 3), and box vectors [nm], (3, 3), if every frame has them.

        Raises:
            StorageError: If the disk is full; the frame is taken away again.
        """
        columns = np.ascontiguousarray(ANGSTROM_PER_NM * positions.T, dtype="<f4")
        length = struct.pack("<i", 4 * self._n_atoms)
        cell = _pack_box(box) if self._has_box and box is not None else b""
        frame = b"".join([cell, *(length + column.tobytes() + length for column in columns)])
        try:
            self._file.seek(0, os.SEEK_END)
            write_fully(self._file, frame, self.path)
        except StorageError:
            self._end_here()
            raise
        self.n_frames += 1
        self.digest = extend_digest(self.digest, frame)
        self._update_header()

    def sync(self) -> None:
        """Return once all frames are on the disk."""
        sync_file(self._file, self.path)

    def close(self) -> None:
        self._file.close()

    def _end_here(self) -> None:
        self._file.truncate(_HEADER.size + self.n_frames * _frame_size(self._n_atoms, self._has_box))
        self._update_header()

    def _update_header(self) -> None:
        for place in (_N_FRAMES_AT, _LAST_STEP_AT):
            self._file.seek(place)
            write_fully(self._file, struct.pack("<i", self.n_frames), self.path)


def check_dcd(
    path: Path, n_atoms: int, n_frames: int, digest: str, *, frame_interval: float, has_box: bool = False
) -> None:
    """Check that a file begins with these frames, as ``DCDWriter`` wrote them; nothing is changed.

    Args:
        path: The file.
        n_atoms, frame_interval, has_box: As of the writer.
        n_frames: How many; what follows them does not matter.
        digest: Their running digest.

    Raises:
        InputError: If the header is another one, frames are missing, or one is not as it was written.
    """
    expected = bytearray(_pack_header(n_atoms, frame_interval, has_box))
    size = _frame_size(n_atoms, has_box)
    with _open_to_check(path) as file:
        found = bytearray(file.read(len(expected)))
        for place in (_N_FRAMES_AT, _LAST_STEP_AT):
            expected[place : place + 4] = found[place : place + 4]
        if found != expected:
            raise InputError(
                f"{path}: damaged, or not a trajectory of {n_atoms} atoms every {frame_interval:g} ps; {START_AGAIN}"
            )
        running = ""
        for k in range(n_frames):
            frame = file.read(size)
            if len(frame) < size:
                raise InputError(f"{path}: damaged, it holds {k} of {n_frames} frames; {START_AGAIN}")
            running = extend_digest(running, frame)
    if running != digest:
        raise InputError(f"{path}: damaged, its frames are not those that were written; {START_AGAIN}")


def _open_to_check(path: Path) -> BinaryIO:
    if not path.is_file():
        raise InputError(f"{path}: damaged, it is not there; {START_AGAIN}")
    return path.open("rb")


def count_dcd_frames(path: Path, n_atoms: int, *, has_box: bool = False) -> int:
    """Whole frames that a file of ``DCDWriter`` has room for."""
    return max(path.stat().st_size - _HEADER.size, 0) // _frame_size(n_atoms, has_box)


def read_dcd_frames(path: Path, n_atoms: int) -> np.ndarray:
    """Whole frames of a file that ``DCDWriter`` wrote without boxes [A], float32, (n_frames, n_atoms, 3), on disk."""
    n_frames = count_dcd_frames(path, n_atoms)
    shape = (n_frames, 3, n_atoms + 2)  # each record between two lengths
    return np.memmap(path, dtype="<f4", mode="r", offset=_HEADER.size, shape=shape)[:, :, 1:-1].swapaxes(1, 2)


class CSVWriter:
    """Appends rows to a CSV file; every row is in the file when ``write`` returns, on the disk after ``sync``.

    Args:
        path: The file; created with its column names if absent, else what follows the first ``n_rows`` is cut off.
        columns: Names, with units.
        n_rows, digest: Of ``check_csv``, for a file that is there.

    Attributes:
        path: Where the file is now.
        n_rows: In the file, without the names.
        digest: Running digest of the rows.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], *, n_rows: int = 0, digest: str = "") -> None:
        self.path, self.n_rows, self.digest = path, n_rows, digest
        if n_rows == 0:
            write_atomically(path, _format_names(columns))
        with path.open("rb") as file:
            self._size = sum(len(file.readline()) for _ in range(1 + n_rows))
        self._file: BinaryIO = open(path, "r+b", buffering=0)  # noqa: SIM115
        self._file.truncate(self._size)

    def write(self, row: str) -> None:
        """Append one row, without its line end.

        Raises:
            StorageError: If the disk is full; the row is taken away again.
        """
        line = f"{row}\n".encode()
        try:
            self._file.seek(self._size)
            write_fully(self._file, line, self.path)
        except StorageError:
            self._file.truncate(self._size)
            raise
        self._size += len(line)
        self.n_rows += 1
        self.digest = extend_digest(self.digest, line)

    def sync(self) -> None:
        """Return once all rows are on the disk."""
        sync_file(self._file, self.path)

    def close(self) -> None:
        self._file.close()


def check_csv(path: Path, columns: tuple[str, ...], n_rows: int, digest: str) -> None:
    """Check that a file begins with these rows, as ``CSVWriter`` wrote them; nothing is changed.

    Args:
        path: The file.
        columns: As of the writer.
        n_rows: How many; what follows them does not matter.
        digest: Their running digest.

    Raises:
        InputError: If the names are others, rows are missing, or one is not as it was written.
    """
    with _open_to_check(path) as file:
        names = file.readline()
        lines = [line for line in islice(file, n_rows) if line.endswith(b"\n")]
    if names != _format_names(columns).encode() or len(lines) < n_rows:
        raise InputError(f"{path}: damaged, it holds {len(lines)} of {n_rows} rows; {START_AGAIN}")
    if reduce(extend_digest, lines, "") != digest:
        raise InputError(f"{path}: damaged, its rows are not those that were written; {START_AGAIN}")


def _format_names(columns: tuple[str, ...]) -> str:
    return ",".join(columns) + "\n"


def _pack_header(n_atoms: int, frame_interval: float, has_box: bool) -> bytes:
    """A CHARMM header: frames are numbered 1, 2, ... with one step of ``frame_interval`` each."""
    remark = b"molecular dynamics" if has_box else b"ligand moves, surroundings are rigid"
    return _HEADER.pack(
        84, b"CORD", 0, 1, 1, 0, 0, 0, 0, 0, 0, frame_interval / _AKMA_PS, int(has_box), *(0,) * 8, 24, 84, 164, 2,
        b"Created by openmm_neuralmd".ljust(80), remark.ljust(80),
        164, 4, n_atoms, 4,
    )  # fmt: skip


def _pack_box(box: np.ndarray) -> bytes:
    """CHARMM's record of the cell: lengths [A] and the cosines of its angles, in the order a, ab, b, ac, bc, c."""
    lengths = np.linalg.norm(box, axis=1)
    cosines = box @ box.T / np.outer(lengths, lengths)
    a, b, c = ANGSTROM_PER_NM * lengths
    return struct.pack("<i6di", 48, a, cosines[0, 1], b, cosines[0, 2], cosines[1, 2], c, 48)


def _frame_size(n_atoms: int, has_box: bool) -> int:
    return 3 * (4 * n_atoms + 8) + 56 * has_box
