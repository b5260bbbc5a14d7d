"""Copies of a run's trajectory in other formats, made from the DCD file whenever a session ends.

The DCD is what a run writes snapshot by snapshot and resumes to the byte; a copy is rewritten as a whole, so it can
neither be cut short nor fall behind. Equal runs have equal copies: there is no date, no name of a computer and no
version of another library in them. A copy is read again before it takes its place, because mdtraj's XTC writer does not
notice a full disk.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import mdtraj
import numpy as np
from mdtraj.formats import XTCTrajectoryFile

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import give_ascii_path, require_room, require_storage, write_whole
from openmm_neuralmd.io.directory import COPY_FORMATS, RunFiles
from openmm_neuralmd.io.hdf5_trajectories import HDF5Writer
from openmm_neuralmd.io.netcdf import NetCDFWriter
from openmm_neuralmd.io.trajectories import read_frames
from openmm_neuralmd.io.writers import read_dcd_frames
from openmm_neuralmd.units import NM_PER_ANGSTROM

_CHUNK = 500  # frames in memory
_TOLERANCE_NM = 6e-4  # XTC rounds to 0.001 nm; float32 is 1e-4 only beyond 1,000 nm


def check_formats(formats: Sequence[str]) -> None:
    """Raise InputError for a format that is not one of ``COPY_FORMATS``."""
    for name in formats:
        if name not in COPY_FORMATS:
            raise InputError(f"unknown trajectory format {name!r}; choose of {', '.join(COPY_FORMATS)} (dcd is always)")


def write_copies(files: RunFiles, formats: Sequence[str], *, interval: float) -> None:
    """Write ``trajectory.<format>`` for each format, and again for each copy that is there already.

    Nothing where the run has no frames yet.

    Args:
        files: Of the run; its DCD must hold whole frames only.
        formats: Of ``COPY_FORMATS``.
        interval: Between frames [ps]; the first is at one interval.
    """
    if not files.log.exists() or len(files.log.read_text().splitlines()) < 2:
        return
    for name in COPY_FORMATS:
        target = files.get_copy(name)
        if name in formats or target.exists():
            with write_whole(target) as temporary:
                _convert(files, name, temporary, interval)


def _convert(files: RunFiles, name: str, target: Path, interval: float) -> None:
    topology = mdtraj.load_topology(str(files.topology))
    frames = read_dcd_frames(files.trajectory, topology.n_atoms)
    copy = files.get_copy(name)
    remedy = "resume the run (`resume=True`), which writes it again"
    try:
        with give_ascii_path(target, write=True) as ascii_target, ExitStack() as stack:
            write = _open(name, ascii_target, topology, stack)
            for first in range(0, len(frames), _CHUNK):
                xyz = np.ascontiguousarray(frames[first : first + _CHUNK])  # A
                numbers = np.arange(first + 1, first + 1 + len(xyz), dtype=np.int32)
                write(xyz, (interval * numbers).astype(np.float32), numbers)
    except (OSError, RuntimeError) as error:
        require_storage(error, copy)
        raise InputError(f"{copy}: cannot be written: {describe_error(error)}; {remedy}") from error
    if not _is_whole(target, topology, frames):
        require_room(copy)  # XTC's writer does not say it
        raise InputError(f"{copy}: does not hold what was written to it; {remedy}")


def _open(
    name: str, target: str, topology: mdtraj.Topology, stack: ExitStack
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """What appends frames to a file: positions [A], (n_frames, n_atoms, 3), times [ps] and numbers, (n_frames,)."""
    if name == "nc":
        netcdf = stack.enter_context(closing(NetCDFWriter(target, topology.n_atoms)))
        return lambda xyz, times, _: netcdf.write(xyz, times)
    if name == "h5":
        hdf5 = stack.enter_context(closing(HDF5Writer(target, topology)))
        return lambda xyz, times, _: hdf5.write(NM_PER_ANGSTROM * xyz, times)
    xtc = stack.enter_context(closing(XTCTrajectoryFile(target, "w")))

    def write(xyz: np.ndarray, times: np.ndarray, numbers: np.ndarray) -> None:
        no_box = np.zeros((len(xyz), 3, 3), dtype=np.float32)
        xtc.write(np.float32(NM_PER_ANGSTROM) * xyz, time=times, step=numbers, box=no_box)

    return write


def _is_whole(path: Path, topology: mdtraj.Topology, frames: np.ndarray) -> bool:
    """Whether a copy holds all frames [A], (n_frames, n_atoms, 3), and no other ones."""
    n_read = 0
    try:
        for chunk in read_frames(path, topology):
            expected = NM_PER_ANGSTROM * frames[n_read : n_read + len(chunk)]
            if len(expected) < len(chunk) or not np.allclose(chunk.xyz, expected, rtol=1e-6, atol=_TOLERANCE_NM):
                return False
            n_read += len(chunk)
    except (InputError, OSError):
        return False
    return n_read == len(frames)
