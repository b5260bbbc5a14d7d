"""Amber NetCDF files: read by mdtraj's reader as far as their frames are whole, written the same each time.

The header of a cut file promises frames that are not there: with the package netCDF4 mdtraj invents what lies beyond
the end, without it it opens no such file. Its writer puts the date and the name of the computer into each file.

Layout: AMBER NetCDF convention, version 1.0 (https://ambermd.org/netcdf/nctraj.xhtml).
"""

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from mdtraj.formats import NetCDFTrajectoryFile
from scipy.io import netcdf_file

from openmm_neuralmd.version import __version__

_N_FRAMES_AT = 4  # byte of the record count, after the four of the mark: NetCDF's classic format


class _CutFile(netcdf_file):
    """NetCDF 3 with as many records as the file holds, whatever its header promises."""

    def _read_var(self) -> Any:
        found = super()._read_var()
        shape, begin = found[2], found[7]
        if shape and shape[0] is None:  # one that grows with the records
            self.__dict__.setdefault("_first_record", begin)
        return found

    @property
    def promised(self) -> int:
        """Number of records that the header tells."""
        return int(self.__dict__.get("_recs", 0))

    @property
    def _recs(self) -> int:
        if not self._recsize:
            return self.promised
        size = os.path.getsize(self.filename) - self.__dict__["_first_record"]
        return max(0, min(self.promised, size // self._recsize))


def open_netcdf(path: Path) -> tuple[Any, int]:
    """An mdtraj file object that ends with the last whole frame, and the number of frames its header promises.

    Raises:
        Exception: Whatever scipy raises if the file is no NetCDF, or not even its header is whole.
    """
    handle = _CutFile(str(path), mode="r", version=2)
    file = NetCDFTrajectoryFile.__new__(NetCDFTrajectoryFile)
    file._closed, file._mode, file._handle = False, "r", handle
    file._frame_index, file._needs_initialization = 0, False
    return file, handle.promised


class NetCDFWriter:
    """Writes a trajectory without box; the same frames give the same bytes.

    Args:
        path: The file, replaced if it exists.
        n_atoms: Of each frame.
    """

    def __init__(self, path: str | Path, n_atoms: int) -> None:
        self._record = np.dtype([("time", ">f4"), ("coordinates", ">f4", (n_atoms, 3))])
        self._n_frames = 0
        self._file = open(path, "wb")  # noqa: SIM115
        self._file.write(_make_header(n_atoms)[: -self._record.itemsize])

    def write(self, positions: np.ndarray, times: np.ndarray) -> None:
        """Append frames: positions [A], (n_frames, n_atoms, 3), and times [ps], (n_frames,)."""
        records = np.empty(len(times), dtype=self._record)
        records["time"], records["coordinates"] = times, positions
        self._file.write(records.tobytes())
        self._n_frames += len(times)

    def close(self) -> None:
        with self._file as file:  # closed even where the disk is full
            file.seek(_N_FRAMES_AT)
            file.write(struct.pack(">i", self._n_frames))


def _make_header(n_atoms: int) -> bytes:
    """A file of one frame: without any scipy would not tell how long a frame is."""
    content = io.BytesIO()
    file = netcdf_file(content, mode="w", version=2)
    for name, text in (
        ("title", "ligand moves, surroundings are rigid"),
        ("application", "openmm_neuralmd"),
        ("program", "openmm_neuralmd"),
        ("programVersion", __version__),
        ("Conventions", "AMBER"),
        ("ConventionVersion", "1.0"),
    ):
        setattr(file, name, text)
    for name, length in (("frame", None), ("spatial", 3), ("atom", n_atoms)):
        file.createDimension(name, length)
    file.createVariable("spatial", "c", ("spatial",))[:] = list("xyz")
    time = file.createVariable("time", "f", ("frame",))
    coordinates = file.createVariable("coordinates", "f", ("frame", "atom", "spatial"))
    time.units, coordinates.units = "picosecond", "angstrom"
    time[:1], coordinates[:1] = np.zeros(1), np.zeros((1, n_atoms, 3))
    file.flush()
    return content.getvalue()
