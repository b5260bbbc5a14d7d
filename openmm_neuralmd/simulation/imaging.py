"""Periodic images: the ligand whole and next to the protein, wherever OpenMM has wrapped it."""

from dataclasses import replace
from typing import Any

import numpy as np

from openmm_neuralmd.molecule.complex import Complex, Ligand

_POCKET_NM = 1.0


class LigandImage:
    """Brings ligand positions to the image that is whole and nearest to the pose.

    Args:
        ligand: Its bonds make it whole, its pose is next to the protein.

    Attributes:
        children, parents: Atoms of the tree of bonds, int64, (n_atoms - 1,).
        paths: 1 where a bond of the tree lies between the first atom and another, (n_atoms, n_atoms - 1).
    """

    def __init__(self, ligand: Ligand) -> None:
        order, parents = _walk_bonds(ligand)
        self.children = np.array(order, dtype=np.int64)
        self.parents = np.array([parents[a] for a in order], dtype=np.int64)
        self.paths = np.zeros((ligand.n_atoms, len(order)))
        for k, atom in enumerate(order):
            self.paths[atom] = self.paths[parents[atom]]
            self.paths[atom, k] = 1.0
        self._centre = ligand.positions.mean(axis=0)

    def restore(self, positions: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Positions [nm], (n_atoms, 3), moved by multiples of the box vectors [nm], (3, 3), in reduced form."""
        bonds = positions[self.children] - positions[self.parents]
        whole = positions[0] + self.paths @ shift_to_nearest_image(bonds, box)
        offset = whole.mean(axis=0) - self._centre
        return whole + (shift_to_nearest_image(offset, box) - offset)


def shift_to_nearest_image(difference: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Difference vectors (..., 3) reduced by the box vectors (3, 3), as OpenMM does for triclinic boxes."""
    for k in (2, 1, 0):
        difference = difference - np.round(difference[..., k : k + 1] / box[k, k]) * box[k]
    return difference


def bring_ligand_to_protein(complex_: Complex) -> Complex:
    """The complex with its ligand in the periodic image that has most CA atoms within 1 nm.

    Unchanged where the topology has no box or the ligand is in the best image already.
    """
    box = read_box(complex_.topology)
    if box is None:
        return complex_
    ligand, ca = complex_.ligand, complex_.protein.backbone[:, 1]
    steps = np.stack(np.meshgrid([0, -1, 1], [0, -1, 1], [0, -1, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = steps @ box
    contacts = [_count_contacts(ligand.positions + shift, ca) for shift in shifts]
    best = shifts[int(np.argmax(contacts))]
    if not best.any():
        return complex_
    positions = complex_.positions.copy()
    positions[np.concatenate([ligand.atom_indices, ligand.hydrogen_indices])] += best
    return replace(complex_, positions=positions, ligand=replace(ligand, positions=ligand.positions + best))


def read_box(topology: Any) -> np.ndarray | None:
    """Box vectors [nm], (3, 3), of an OpenMM topology; None where it has none."""
    vectors = None if topology is None else topology.getPeriodicBoxVectors()
    return None if vectors is None else np.array([list(v) for v in vectors._value], dtype=np.float64)


def _count_contacts(positions: np.ndarray, ca: np.ndarray) -> int:
    near = ca[np.linalg.norm(ca - positions.mean(axis=0), axis=1) < 10 * _POCKET_NM]
    return int(
        (np.linalg.norm(near[:, None] - positions[None], axis=-1).min(axis=1, initial=np.inf) < _POCKET_NM).sum()
    )


def _walk_bonds(ligand: Ligand) -> tuple[list[int], dict[int, int]]:
    """Atoms but the first in breadth-first order over the bonds, and the atom each was reached from."""
    parents: dict[int, int] = {}
    shell = [0]
    while shell:
        following = []
        for a, b in [*ligand.bonds.tolist(), *ligand.bonds[:, ::-1].tolist()]:
            if a in shell and b != 0 and b not in parents:
                parents[b] = a
                following.append(b)
        shell = following
    return list(parents), parents
