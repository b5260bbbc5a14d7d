"""What is bonded to what in a topology of OpenMM or mdtraj: by its records, by distances where it has none."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from openmm_neuralmd.molecule.images import shift_to_nearest_image
from openmm_neuralmd.units import ANGSTROM_PER_NM

BOND_TOLERANCE = 1.3
"""Times the sum of covalent radii: atoms closer than this are bonded, where no record says so."""
BROKEN_BOND_NM = 0.4
"""No bond is this long, those to metals included; a longer one is cut by the periodic box, or spans a missing loop."""


class BondRecord(NamedTuple):
    """Two atoms of a topology and the order of their bond, None where unknown."""

    first: Any
    second: Any
    order: float | None


def list_records(topology: Any) -> list[BondRecord]:
    """The bonds that a topology names, each once."""
    bonds = topology.bonds
    seen: dict[frozenset[int], BondRecord] = {}
    for bond in bonds() if callable(bonds) else bonds:
        a, b = bond[0], bond[1]
        order = getattr(bond, "order", None)
        seen.setdefault(frozenset((a.index, b.index)), BondRecord(a, b, float(order) if order else None))
    return list(seen.values())


def perceive_bonds(atomic_numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray | None = None) -> np.ndarray:
    """Bonds from distances; for topologies without bond records.

    Args:
        atomic_numbers: (n_atoms,).
        positions: [nm], (n_atoms, 3).
        cell: Box vectors [nm], (3, 3), where the molecule may be cut by the box.

    Returns:
        int64, (n_bonds, 2).
    """
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(z)) for z in atomic_numbers]) / ANGSTROM_PER_NM
    distances = np.linalg.norm(shift_to_nearest_image(positions[:, None] - positions[None], cell), axis=-1)
    return np.argwhere(np.triu(distances < BOND_TOLERANCE * (radii[:, None] + radii[None]), k=1)).astype(np.int64)


def find_bonds(topology: Any, positions: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
    """Bonds of an mdtraj topology, sorted, int64, (n_bonds, 2).

    Bonds that a reader put across a missing loop are left out; where a residue has no bond record, its bonds come
    from distances.

    Args:
        topology: Atoms and bond records.
        positions: Of one frame [nm], (n_atoms, 3).
        cell: Box vectors of that frame [nm], (3, 3), or None.
    """
    records = list_records(topology)
    pairs = [(r.first.index, r.second.index) for r in records]
    bonded = {r.first.residue.index for r in records}
    for residue in topology.residues:
        if residue.index not in bonded and residue.n_atoms > 1:
            atoms = np.array([a.index for a in residue.atoms])
            numbers = np.array([a.element.atomic_number if a.element else 0 for a in residue.atoms])
            pairs += [(int(atoms[i]), int(atoms[j])) for i, j in perceive_bonds(numbers, positions[atoms], cell)]
    found = np.unique(np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1), axis=0)
    vectors = shift_to_nearest_image(positions[found[:, 1]] - positions[found[:, 0]], cell)
    return found[np.linalg.norm(vectors, axis=1) < BROKEN_BOND_NM]


def find_parts(n_atoms: int, bonds: np.ndarray) -> list[np.ndarray]:
    """Atoms of each molecule, sorted, int64."""
    graph = coo_matrix((np.ones(len(bonds)), bonds.T), shape=(n_atoms, n_atoms))
    owners = connected_components(graph, directed=False)[1]
    order = np.argsort(owners, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
