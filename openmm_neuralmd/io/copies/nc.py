"""Amber's NetCDF."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import mdtraj

from openmm_neuralmd.io.copies._reading import read_positions
from openmm_neuralmd.io.copy_format import CopyFormat, Write
from openmm_neuralmd.io.netcdf import NetCDFWriter


@contextmanager
def write_netcdf(target: str, topology: mdtraj.Topology) -> Iterator[Write]:
    """A new file."""
    with closing(NetCDFWriter(target, topology.n_atoms)) as netcdf:
        yield lambda xyz, times, _: netcdf.write(xyz, times)


FORMAT = CopyFormat("nc", write_netcdf, read_positions)
