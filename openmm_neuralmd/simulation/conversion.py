"""Copies of a run's trajectory in other formats, made from the DCD file whenever a session ends.

The DCD is what a run writes snapshot by snapshot and resumes to the byte; a copy is rewritten as a whole, so it can
neither be cut short nor fall behind.
"""

import warnings
from collections.abc import Sequence
from contextlib import closing

import mdtraj
import numpy as np
from mdtraj.formats import HDF5TrajectoryFile, NetCDFTrajectoryFile, XTCTrajectoryFile

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import give_ascii_path, write_whole
from openmm_neuralmd.simulation.directory import COPY_FORMATS, RunFiles
from openmm_neuralmd.simulation.writers import read_dcd_frames
from openmm_neuralmd.units import NM_PER_ANGSTROM

_CHUNK = 500  # frames in memory


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
                _convert(files, name, str(temporary), interval)


def _convert(files: RunFiles, name: str, target: str, interval: float) -> None:
    topology = mdtraj.load_topology(str(files.topology))
    frames = read_dcd_frames(files.trajectory, topology.n_atoms)
    with (
        warnings.catch_warnings(),
        give_ascii_path(target, write=True) as ascii_target,
        closing(_open(name, ascii_target)) as file,
    ):
        if name == "h5":
            file.topology = topology
        for first in range(0, len(frames), _CHUNK):
            xyz = np.ascontiguousarray(frames[first : first + _CHUNK])  # A
            numbers = np.arange(first + 1, first + 1 + len(xyz), dtype=np.int32)
            times = (interval * numbers).astype(np.float32)
            if name == "nc":
                file.write(xyz, time=times)
            elif name == "h5":
                file.write(NM_PER_ANGSTROM * xyz, time=times)
            else:
                no_box = np.zeros((len(xyz), 3, 3), dtype=np.float32)
                file.write(np.float32(NM_PER_ANGSTROM) * xyz, time=times, step=numbers, box=no_box)


def _open(name: str, target: str) -> XTCTrajectoryFile | NetCDFTrajectoryFile | HDF5TrajectoryFile:
    warnings.filterwarnings("ignore", ".*netCDF4.*", UserWarning)  # mdtraj writes with scipy, which is enough
    if name == "xtc":
        return XTCTrajectoryFile(target, "w")
    return (NetCDFTrajectoryFile if name == "nc" else HDF5TrajectoryFile)(target, "w", force_overwrite=True)
