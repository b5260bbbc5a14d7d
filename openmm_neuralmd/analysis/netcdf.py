"""Amber NetCDF files, whose header promises frames that a cut file lacks: their whole frames, by mdtraj's reader.

With the package netCDF4 mdtraj invents what lies beyond the end, without it it opens no such file.
"""

import os
from pathlib import Path
from typing import Any

from mdtraj.formats import NetCDFTrajectoryFile
from scipy.io import netcdf_file


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
