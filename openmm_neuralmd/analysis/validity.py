"""Is the ligand still the molecule it was: bonds, angles, chirality, rings, and clashes with the protein."""

import numpy as np
from rdkit import Chem

CLASH_FRACTION = 0.75
"""Of the sum of van der Waals radii; PoseBusters' limit, doi:10.1039/D3SC04185A (Table 3)."""


def get_vdw_radii(atomic_numbers: np.ndarray) -> np.ndarray:
    """Van der Waals radii [nm] of RDKit's periodic table, the one PoseBusters uses, (n_atoms,)."""
    table = Chem.GetPeriodicTable()
    return np.array([table.GetRvdw(int(z)) for z in atomic_numbers]) / 10.0


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
    radii = get_vdw_radii(ligand_elements)[:, None] + get_vdw_radii(protein_elements)[None, :]
    counts = np.empty(len(ligand), dtype=np.int64)
    for k, pose in enumerate(ligand):  # one frame at a time: memory stays that of one frame
        environment = protein if protein.ndim == 2 else protein[k]
        distances = np.linalg.norm(pose[:, None] - environment[None], axis=-1)
        counts[k] = np.count_nonzero(distances < fraction * radii)
    return counts
