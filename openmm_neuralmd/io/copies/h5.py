"""MDTraj's HDF5, which holds its own topology."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import mdtraj

from openmm_neuralmd.io.copies._reading import read_positions
from openmm_neuralmd.io.copy_format import CopyFormat, Write
from openmm_neuralmd.io.hdf5_trajectories import HDF5Writer
from openmm_neuralmd.units import NM_PER_ANGSTROM


@contextmanager
def write_hdf5(target: str, topology: mdtraj.Topology) -> Iterator[Write]:
    """A new file."""
    with closing(HDF5Writer(target, topology)) as hdf5:
        yield lambda xyz, times, _: hdf5.write(NM_PER_ANGSTROM * xyz, times)


FORMAT = CopyFormat("h5", write_hdf5, read_positions)
