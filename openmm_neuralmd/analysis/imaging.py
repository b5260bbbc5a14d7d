"""Molecules in a periodic box: mended where the box cut them, and brought next to the pocket."""

from dataclasses import dataclass

import mdtraj
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from openmm_neuralmd.analysis.ligand import compute_nearest_images, perceive_bonds
from openmm_neuralmd.errors import InputError

_BROKEN_BOND_NM = 0.4  # no bond is this long; a longer one is cut by the periodic box
_LARGE_MOLECULE = 200  # atoms; the nearest image of a larger one is that of its nearest atom
_SHIFTS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


_LEAST_JUMP_NM = 2.0
_DIFFUSION_NM2_PER_PS = 5e-4  # of a drug in water, 5e-10 m^2/s; half the widths of boxes are 3 nm and more


class JumpGuard:
    """Finds the frame in which a ligand is in another periodic image, where no box can bring it back.

    No ligand moves four times as far as free diffusion would take it, and 2 nm, between two frames.

    Args:
        source: File name, for messages.
        interval: Between frames [ps].
        start: Centroid before the first frame [nm], (3,), where it is known.
    """

    def __init__(self, source: str, interval: float, start: np.ndarray | None = None) -> None:
        self.source, self.last, self.n_read = source, start, 0
        self.longest = max(_LEAST_JUMP_NM, 4.0 * float(np.sqrt(6.0 * _DIFFUSION_NM2_PER_PS * interval)))

    def check(self, ligand: np.ndarray) -> None:
        """Look at further frames [nm], (n_frames, n_atoms, 3), superposed on the protein.

        Raises:
            InputError: If the ligand jumps.
        """
        centroids = ligand.mean(axis=1)
        before = centroids[:1] if self.last is None else self.last[None]
        moved = np.linalg.norm(np.diff(np.concatenate([before, centroids]), axis=0), axis=1)
        if moved.max() > self.longest:
            k = int(np.argmax(moved > self.longest))
            frame = self.n_read + k
            raise InputError(
                f"{self.source}: frame {frame}: the ligand is {moved[k]:.1f} nm from "
                f"{'where it was one frame before' if frame else 'its pose'}, and the file holds no box: it is in "
                "another periodic image; write the trajectory with its box, or bring the ligand back (gmx trjconv "
                "-pbc mol)"
            )
        self.last, self.n_read = centroids[-1], self.n_read + len(ligand)


@dataclass(frozen=True)
class Molecules:
    """What is bonded to what.

    Attributes:
        bonds: Sorted, int32, (n_bonds, 2).
        tree: Bonds from parent to child, every parent before its children, int64, (n, 2).
        members: Atom indices of each molecule.
    """

    bonds: np.ndarray
    tree: np.ndarray
    members: tuple[np.ndarray, ...]


def find_molecules(topology: mdtraj.Topology, positions: np.ndarray, cell: np.ndarray | None) -> Molecules:
    """Molecules of a topology.

    Bonds that a reader put across a missing loop are left out; where a residue has no bond record, its bonds come
    from distances.

    Args:
        topology: Atoms and bond records.
        positions: Of one frame [nm], (n_atoms, 3).
        cell: Box vectors of that frame [nm], (3, 3), or None.
    """
    records = [(a.index, b.index) for a, b in topology.bonds]
    bonded = {a.residue.index for a, _ in topology.bonds}
    for residue in topology.residues:
        if residue.index not in bonded and residue.n_atoms > 1:
            atoms = np.array([a.index for a in residue.atoms])
            numbers = np.array([a.element.atomic_number if a.element else 0 for a in residue.atoms])
            records += [(int(atoms[i]), int(atoms[j])) for i, j in perceive_bonds(numbers, positions[atoms], cell)]
    pairs = np.unique(np.sort(np.array(records, dtype=np.int32).reshape(-1, 2), axis=1), axis=0)
    vectors = compute_nearest_images(positions[pairs[:, 1]] - positions[pairs[:, 0]], cell)
    bonds = pairs[np.linalg.norm(vectors, axis=1) < _BROKEN_BOND_NM]
    graph = _build_graph(bonds, topology.n_atoms)
    n_molecules, owners = connected_components(graph, directed=False)
    members = tuple(np.nonzero(owners == k)[0] for k in range(n_molecules))
    edges = []
    for molecule in members:
        order, parents = breadth_first_order(graph, molecule[0], directed=False)
        edges += [(int(parents[child]), int(child)) for child in order[1:]]
    return Molecules(bonds, np.array(edges, dtype=np.int64).reshape(-1, 2), members)


def make_whole(chunk: mdtraj.Trajectory, molecules: Molecules, pocket: np.ndarray, source: str) -> None:
    """Mend molecules cut by the box, in place, and put each next to the pocket.

    Args:
        chunk: Frames to mend.
        molecules: Of its topology.
        pocket: Atoms around the ligand; the molecule that has most of them stays where it is.
        source: File name, for messages.

    Raises:
        InputError: If molecules are cut and the frames have no box.
    """
    first, second = molecules.bonds.T
    is_cut = len(first) > 0 and np.abs(chunk.xyz[:, first] - chunk.xyz[:, second]).max() > _BROKEN_BOND_NM
    boxes = chunk.unitcell_vectors
    if boxes is None:
        if is_cut:
            raise InputError(
                f"{source}: molecules are cut by a periodic box that the file does not hold; make them whole first "
                "(gmx trjconv -pbc whole, or mdtraj image_molecules)"
            )
        return
    inverses = np.linalg.inv(boxes)
    if is_cut:
        for parent, child in molecules.tree.tolist():
            turns = np.round(np.einsum("fi,fij->fj", chunk.xyz[:, child] - chunk.xyz[:, parent], inverses))
            chunk.xyz[:, child] -= np.einsum("fi,fij->fj", turns, boxes)
    anchor = max(range(len(molecules.members)), key=lambda k: np.isin(pocket, molecules.members[k]).sum())
    target = chunk.xyz[:, pocket[np.isin(pocket, molecules.members[anchor])]].mean(axis=1)
    for k, molecule in enumerate(molecules.members):
        if k == anchor:
            continue
        offset = chunk.xyz[:, molecule].mean(axis=1) - target
        turns = np.round(np.einsum("fi,fij->fj", offset, inverses))
        images = np.einsum("fsi,fij->fsj", _SHIFTS[None] - turns[:, None], boxes)  # (n_frames, 27, 3)
        if len(molecule) < _LARGE_MOLECULE:
            best = np.linalg.norm(offset[:, None] + images, axis=-1).argmin(axis=1)
        else:
            frames = zip(chunk.xyz[:, molecule], target, images, strict=True)
            best = np.array([cKDTree(x).query(t - i)[0].argmin() for x, t, i in frames])
        chunk.xyz[:, molecule] += images[np.arange(len(chunk)), best][:, None]


def _build_graph(bonds: np.ndarray, n_atoms: int) -> csr_matrix:
    return coo_matrix((np.ones(len(bonds)), bonds.T), shape=(n_atoms, n_atoms)).tocsr()
