"""Makes tiny_mdtraj.h5: a trajectory with all that mdtraj's HDF5 layout holds, written by mdtraj itself.

Needs PyTables (made with mdtraj 1.11.1.post2, PyTables 3.11.1):  python -m tests.data.make_hdf5
"""

from pathlib import Path

import mdtraj
import numpy as np
from mdtraj.core.topology import Aromatic, Double, Single

PATH = Path(__file__).with_name("tiny_mdtraj.h5")
N_FRAMES = 9


def build_trajectory() -> mdtraj.Trajectory:
    """Two chains with names and segments, bonds with types and orders, a charge, a site without element, a box."""
    topology = mdtraj.Topology()
    protein, ligand = topology.add_chain("A"), topology.add_chain("z")
    glycine = topology.add_residue("GLY", protein, resSeq=-3, segment_id="PROA")
    ion = topology.add_residue("ZN", protein, resSeq=977, segment_id="")
    drug = topology.add_residue("LIG", ligand, resSeq=1, segment_id="HETA")
    elements = mdtraj.element
    atoms = [topology.add_atom(n, e, glycine) for n, e in (("N", elements.nitrogen), ("CA", elements.carbon))]
    topology.add_atom("ZN", elements.zinc, ion, formal_charge=2)
    atoms += [topology.add_atom(n, elements.carbon, drug) for n in ("C1", "C2", 'C"3')]
    topology.add_atom("LP1", elements.virtual, drug)
    kinds = ((0, 1, Single, 1), (2, 3, Double, 2), (3, 4, Aromatic, None), (1, 2, None, None))
    for first, second, kind, order in kinds:
        topology.add_bond(atoms[first], atoms[second], type=kind, order=order)
    rng = np.random.default_rng(3)
    return mdtraj.Trajectory(
        rng.normal(size=(N_FRAMES, topology.n_atoms, 3)).astype(np.float32),
        topology,
        time=80.0 * np.arange(N_FRAMES),
        unitcell_lengths=rng.uniform(3.0, 4.0, size=(N_FRAMES, 3)),
        unitcell_angles=np.tile([70.5, 109.5, 90.0], (N_FRAMES, 1)),
    )


if __name__ == "__main__":
    build_trajectory().save(str(PATH))
