"""Protein-ligand contacts and hydrogen bonds, residue by residue and frame by frame."""

import mdtraj
import numpy as np

CONTACT_CUTOFF_NM = 0.45
"""Between heavy atoms; Best, Hummer, Eaton (2013), doi:10.1073/pnas.1311599110."""
HYDROGEN_BOND_NM = 0.25
"""From hydrogen to acceptor, at most; Baker, Hubbard (1984), doi:10.1016/0079-6107(84)90007-5."""
HYDROGEN_BOND_ANGLE = np.radians(120.0)
"""Donor, hydrogen, acceptor, at least; same source."""
_DONORS, _ACCEPTORS = ("N", "O"), ("N", "O")


def find_contacts(ligand: np.ndarray, residues: list[np.ndarray], *, cutoff: float = CONTACT_CUTOFF_NM) -> np.ndarray:
    """Which residues touch the ligand.

    Args:
        ligand: Heavy atoms [nm], (n_frames, n_ligand, 3).
        residues: Heavy atoms of each residue [nm], (n_frames, n_atoms_of_residue, 3); an empty one never touches.
        cutoff: [nm].

    Returns:
        bool, (n_frames, n_residues).
    """
    touching = np.zeros((len(ligand), len(residues)), dtype=bool)
    for k, atoms in enumerate(residues):
        if atoms.shape[1] == 0:
            continue
        squared = ((ligand[:, :, None] - atoms[:, None]) ** 2).sum(axis=-1)
        touching[:, k] = squared.reshape(len(ligand), -1).min(axis=1) < cutoff**2
    return touching


def list_hydrogen_bond_candidates(
    topology: mdtraj.Topology, bonds: np.ndarray, ligand: set[int], residues: dict[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Donor, hydrogen, acceptor of every hydrogen bond that could form between ligand and residues.

    Args:
        topology: Elements of the atoms.
        bonds: Atom pairs, those of donors with their hydrogens among them, (n_bonds, 2).
        ligand: Atom indices of the ligand.
        residues: Column of each atom of the residues.

    Returns:
        Atoms, int64, (n_candidates, 3), and the residue's column of each, int64, (n_candidates,). Empty where the
        topology has no hydrogens.
    """
    donors = []
    symbols = [a.element.symbol if a.element is not None else "" for a in topology.atoms]
    for a, b in np.asarray(bonds).tolist():
        heavy, hydrogen = (a, b) if symbols[b] == "H" else (b, a)
        if symbols[hydrogen] == "H" and symbols[heavy] in _DONORS:
            donors.append((heavy, hydrogen))
    acceptors = [k for k, symbol in enumerate(symbols) if symbol in _ACCEPTORS]
    triples, columns = [], []
    for donor, hydrogen in donors:
        for acceptor in acceptors:
            if donor in ligand and acceptor in residues:
                column = residues[acceptor]
            elif acceptor in ligand and donor in residues:
                column = residues[donor]
            else:
                continue
            triples.append((donor, hydrogen, acceptor))
            columns.append(column)
    return np.array(triples, dtype=np.int64).reshape(-1, 3), np.array(columns, dtype=np.int64)


def find_hydrogen_bonds(
    trajectory: mdtraj.Trajectory, candidates: np.ndarray, columns: np.ndarray, n_residues: int
) -> np.ndarray:
    """Which residues share a hydrogen bond with the ligand, by Baker and Hubbard's criterion.

    Args:
        trajectory: Molecules whole and next to each other.
        candidates, columns: As from ``list_hydrogen_bond_candidates``.
        n_residues: Number of columns.

    Returns:
        bool, (n_frames, n_residues).
    """
    bonded = np.zeros((trajectory.n_frames, n_residues), dtype=bool)
    if len(candidates) == 0:
        return bonded
    distances = mdtraj.compute_distances(trajectory, candidates[:, 1:], periodic=False)
    close = np.nonzero((distances < HYDROGEN_BOND_NM).any(axis=0))[0]
    if len(close) == 0:
        return bonded
    angles = mdtraj.compute_angles(trajectory, candidates[close], periodic=False)
    formed = (distances[:, close] < HYDROGEN_BOND_NM) & (angles > HYDROGEN_BOND_ANGLE)
    for k, column in enumerate(columns[close]):
        bonded[:, column] |= formed[:, k]
    return bonded
