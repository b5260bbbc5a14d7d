"""GROMACS's XTC, which rounds positions to 0.001 nm."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import mdtraj
import numpy as np
from mdtraj.formats import XTCTrajectoryFile

from openmm_neuralmd.io.copies._reading import read_positions
from openmm_neuralmd.io.copy_format import CopyFormat, Write
from openmm_neuralmd.units import NM_PER_ANGSTROM


@contextmanager
def write_xtc(target: str, topology: mdtraj.Topology) -> Iterator[Write]:  # noqa: ARG001
    """A new file without box."""
    with closing(XTCTrajectoryFile(target, "w")) as xtc:

        def write(xyz: np.ndarray, times: np.ndarray, numbers: np.ndarray) -> None:
            no_box = np.zeros((len(xyz), 3, 3), dtype=np.float32)
            xtc.write(np.float32(NM_PER_ANGSTROM) * xyz, time=times, step=numbers, box=no_box)

        yield write


FORMAT = CopyFormat("xtc", write_xtc, read_positions)
