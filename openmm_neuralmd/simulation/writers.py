"""The files of a run: DCD trajectory, PDB topology, CSV log, JSON and checkpoint; none is ever half-replaced.

OpenMM's DCDFile puts the wall-clock time into the header and needs 4 ms for a frame of 5,000 atoms; this writer has the
same layout, is reproducible to the byte and needs 0.1 ms.
"""

import io
import json
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.units import ANGSTROM_PER_NM

_AKMA_PS = 0.04888821  # CHARMM's unit of time, in which DCD headers give the timestep
_HEADER = struct.Struct("<i4s9if13i80s80s4i")
_N_FRAMES_AT, _LAST_STEP_AT = 8, 20


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file; keys keep their order."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def write_topology(path: Path, complex_: Complex, positions: np.ndarray) -> None:
    """Write a PDB file with the ligand's CONECT records; positions [nm], (n_atoms, 3)."""
    from openmm import unit
    from openmm.app import PDBFile

    text = io.StringIO()
    PDBFile.writeFile(complex_.topology, positions * unit.nanometer, text, keepIds=True)
    write_atomically(path, text.getvalue())


class DCDWriter:
    """Appends frames to a DCD file; every frame is on disk when ``write`` returns.

    Args:
        path: The file; created if absent, else frames are appended after the whole ones.
        n_atoms: Of each frame.
        frame_interval: [ps]; the first frame is at one interval.
        has_box: Whether every frame comes with box vectors.

    Raises:
        InputError: If the file exists and is no DCD file of this writer, or has other atoms or another interval.
    """

    def __init__(self, path: Path, n_atoms: int, *, frame_interval: float, has_box: bool = False) -> None:
        header = _pack_header(n_atoms, frame_interval, has_box)
        if path.exists():
            self.n_frames = count_dcd_frames(path, n_atoms, frame_interval=frame_interval, has_box=has_box)
        else:
            write_atomically(path, header)
            self.n_frames = 0
        self.path = path
        self._n_atoms, self._has_box = n_atoms, has_box
        self._file: BinaryIO = open(path, "r+b", buffering=0)  # noqa: SIM115
        self._file.truncate(len(header) + self.n_frames * _frame_size(n_atoms, has_box))
        self._update_header()

    def write(self, positions: np.ndarray, box: np.ndarray | None = None) -> None:
        """Append one frame; positions [nm], (n_atoms, 3), and box vectors [nm], (3, 3), if every frame has them."""
        columns = np.ascontiguousarray(ANGSTROM_PER_NM * positions.T, dtype="<f4")
        length = struct.pack("<i", 4 * self._n_atoms)
        self._file.seek(0, os.SEEK_END)
        cell = _pack_box(box) if self._has_box and box is not None else b""
        self._file.write(b"".join([cell, *(length + column.tobytes() + length for column in columns)]))
        self.n_frames += 1
        self._update_header()

    def truncate(self, n_frames: int) -> None:
        """Keep the first frames only."""
        self.n_frames = n_frames
        self._file.truncate(_HEADER.size + n_frames * _frame_size(self._n_atoms, self._has_box))
        self._update_header()

    def close(self) -> None:
        self._file.close()

    def _update_header(self) -> None:
        for place in (_N_FRAMES_AT, _LAST_STEP_AT):
            self._file.seek(place)
            self._file.write(struct.pack("<i", self.n_frames))


def count_dcd_frames(path: Path, n_atoms: int, *, frame_interval: float, has_box: bool = False) -> int:
    """Whole frames of a file that ``DCDWriter`` wrote; a frame cut short at the end does not count.

    Raises:
        InputError: If the header is another one.
    """
    expected = bytearray(_pack_header(n_atoms, frame_interval, has_box))
    with open(path, "rb") as file:
        found = bytearray(file.read(len(expected)))
    for place in (_N_FRAMES_AT, _LAST_STEP_AT):
        expected[place : place + 4] = found[place : place + 4]
    if found != expected:
        raise InputError(
            f"{path}: damaged, or not a trajectory of {n_atoms} atoms every {frame_interval:g} ps; start again "
            "(--force)"
        )
    return (path.stat().st_size - len(expected)) // _frame_size(n_atoms, has_box)


def read_dcd_frames(path: Path, n_atoms: int) -> np.ndarray:
    """Whole frames of a file that ``DCDWriter`` wrote without boxes [A], float32, (n_frames, n_atoms, 3), on disk."""
    n_frames = (path.stat().st_size - _HEADER.size) // _frame_size(n_atoms, False)
    shape = (n_frames, 3, n_atoms + 2)  # each record between two lengths
    return np.memmap(path, dtype="<f4", mode="r", offset=_HEADER.size, shape=shape)[:, :, 1:-1].swapaxes(1, 2)


class CSVWriter:
    """Appends rows to a CSV file; every row is on disk when ``write`` returns.

    Args:
        path: The file; created with its column names if absent.
        columns: Names, with units.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path = path
        self._header = ",".join(columns) + "\n"
        if not path.exists():
            write_atomically(path, self._header)
        self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115

    def write(self, row: str) -> None:
        """Append one row, without its line end."""
        self._file.write(f"{row}\n".encode())

    def truncate(self, n_rows: int) -> None:
        """Keep the first rows only.

        Raises:
            InputError: If there are fewer, or the column names are others.
        """
        lines = self._path.read_text(errors="replace").splitlines(keepends=True)
        whole = [line for line in lines[1:] if line.endswith("\n")]
        if lines[:1] != [self._header] or len(whole) < n_rows:
            raise InputError(f"{self._path}: damaged, it holds {len(whole)} of {n_rows} rows; start again (--force)")
        self._file.close()
        write_atomically(self._path, "".join([self._header, *whole[:n_rows]]))
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115

    def close(self) -> None:
        self._file.close()


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
