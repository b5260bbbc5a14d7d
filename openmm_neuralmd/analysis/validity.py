"""Is the ligand still the molecule it was: bonds, angles, chirality, rings, and clashes with the protein."""

from collections.abc import Sequence

import numpy as np
from rdkit import Chem
from scipy.spatial import cKDTree

from openmm_neuralmd.analysis.chunks import in_chunks
from openmm_neuralmd.analysis.metrics import compute_pair_distances
from openmm_neuralmd.molecule.ligand import compute_pyramidality
from openmm_neuralmd.units import ANGSTROM_PER_NM

CLASH_FRACTION = 0.75
"""Of the sum of van der Waals radii; PoseBusters' limit, doi:10.1039/D3SC04185A (Table 3)."""


def compute_bond_deviations(positions: np.ndarray, geometry: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Bond lengths minus those of ``geometry`` (n_atoms, 3) [nm], (n_frames, n_bonds)."""
    return compute_pair_distances(positions, bonds) - compute_pair_distances(geometry[None], bonds)


def find_angles(bonds: np.ndarray) -> np.ndarray:
    """Atoms i-j-k of every bond angle, int64, (n_angles, 3), with i < k."""
    neighbours: dict[int, list[int]] = {}
    for a, b in np.asarray(bonds).tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    angles = [(i, j, k) for j in sorted(neighbours) for i in neighbours[j] for k in neighbours[j] if i < k]
    return np.array(angles, dtype=np.int64).reshape(-1, 3)


@in_chunks
def compute_angles(positions: np.ndarray, triples: np.ndarray) -> np.ndarray:
    """Angles i-j-k [rad], (n_frames, n_angles); accurate near 0 and pi, where arccos is not."""
    xyz = np.asarray(positions, dtype=np.float64)
    a, b = xyz[:, triples[:, 0]] - xyz[:, triples[:, 1]], xyz[:, triples[:, 2]] - xyz[:, triples[:, 1]]
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))


def compute_handedness(positions: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Sign of ``compute_pyramidality``: it changes when a centre is inverted; -1 or 1 (0 when flat)."""
    return np.sign(compute_pyramidality(positions, centers))


@in_chunks
def compute_ring_deviations(positions: np.ndarray, rings: Sequence[Sequence[int]]) -> np.ndarray:
    """Largest distance [nm] of a ring's atoms from their best plane, (n_frames, n_rings)."""
    xyz = np.asarray(positions, dtype=np.float64)
    deviations = np.zeros((len(xyz), len(rings)))
    for k, ring in enumerate(rings):
        atoms = xyz[:, list(ring)]
        centred = atoms - atoms.mean(axis=1, keepdims=True)
        normals = np.linalg.svd(centred, full_matrices=False)[2][:, -1]
        deviations[:, k] = np.abs(np.einsum("fai,fi->fa", centred, normals)).max(axis=1)
    return deviations


def get_vdw_radii(atomic_numbers: np.ndarray) -> np.ndarray:
    """Van der Waals radii [nm] of RDKit's periodic table, the one PoseBusters uses, (n_atoms,)."""
    table = Chem.GetPeriodicTable()
    kinds, which = np.unique(atomic_numbers, return_inverse=True)  # RDKit takes one element at a time
    return np.array([table.GetRvdw(int(z)) for z in kinds])[which] / ANGSTROM_PER_NM


def count_clashes(
    ligand: np.ndarray,
    protein: np.ndarray,
    *,
    ligand_elements: np.ndarray,
    protein_elements: np.ndarray,
    fraction: float = CLASH_FRACTION,
) -> np.ndarray:
    """Number of ligand-protein atom pairs closer than ``fraction`` of the sum of their van der Waals radii.

    Args:
        ligand: Heavy atoms [nm], (n_frames, n_ligand, 3).
        protein: Heavy atoms [nm], (n_frames, n_protein, 3), or (n_protein, 3) if rigid.
        ligand_elements, protein_elements: Atomic numbers, (n_ligand,), (n_protein,).
        fraction: Of the sum of radii; the default is PoseBusters'.

    Returns:
        int64, (n_frames,).
    """
    limits = fraction * (get_vdw_radii(ligand_elements)[:, None] + get_vdw_radii(protein_elements)[None, :])
    counts = np.empty(len(ligand), dtype=np.int64)
    tree = cKDTree(protein) if protein.ndim == 2 else None
    for k, pose in enumerate(ligand):
        tree_of_frame = tree if tree is not None else cKDTree(protein[k])
        near = cKDTree(pose).sparse_distance_matrix(tree_of_frame, limits.max(), output_type="ndarray")
        counts[k] = np.count_nonzero(near["v"] < limits[near["i"], near["j"]])
    return counts
