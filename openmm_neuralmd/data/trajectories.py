"""Trajectories of a complex, from OpenMM, GROMACS or Amber, as ligand snapshots in the rigid protein's place.

Files are read in chunks, and only the ligand and the CA atoms of each frame are kept, so memory does not grow with the
number of atoms. Molecules are made whole, and the ligand is brought beside its protein, along short distances of the
complex's own geometry: this needs no bonds in the topology file and works in any periodic cell.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from openmm_neuralmd.analysis.imaging import JumpGuard
from openmm_neuralmd.analysis.site import POCKET_CUTOFF_NM, SUPERPOSITIONS
from openmm_neuralmd.checks import a_number, check_arguments, check_path, optional
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.formats import TIMED_SUFFIXES
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_trajectory
from openmm_neuralmd.molecule.complex import A_COMPLEX, Complex, get_parent_residue

MIN_POCKET = 4  # fewer CA atoms do not fix a rotation well
_LONGEST_BOND_NM = 0.3  # C-I is 0.21
_BOND_TOLERANCE_NM = 0.06  # of a mean over frames; the second neighbour of an atom is 0.1 nm farther than the first
_LARGEST_RMS_NM = 1.5  # unfolding proteins and flexible tails stay below
_LONGEST_LINK_NM = 0.6  # between CA atoms of neighbours, 0.38
_INTERVAL_TOLERANCE = 2e-3  # of the interval; single-precision times of long runs are no better


@dataclass(frozen=True)
class LigandTrajectory:
    """Snapshots of the ligand's heavy atoms, superposed on CA atoms of the complex's rigid protein.

    Attributes:
        snapshots: [nm], (n_frames, n_atoms, 3), atoms in the complex's order.
        frame_interval: [ps].
        source: File name.
        sha256: Of the file.
        superposed_on: "all" or "pocket" CA atoms, and how many.
        notes: What a reader must know, such as a damaged tail that was left out.
    """

    snapshots: np.ndarray
    frame_interval: float
    source: str
    sha256: str
    superposed_on: str = "all"
    notes: tuple[str, ...] = ()


@check_arguments(
    path=check_path, top=optional(check_path), complex_=A_COMPLEX, frame_interval=optional(a_number(above=0.0))
)
def load_ligand_trajectory(
    path: str | Path,
    top: str | Path | None,
    complex_: Complex,
    *,
    frame_interval: float | None = None,
    superpose_on: str = "pocket",
) -> LigandTrajectory:
    """Read a trajectory and superpose it on the rigid protein of ``complex_``.

    Args:
        path: DCD, XTC, TRR, NetCDF or HDF5.
        top: Its topology: PDB, mmCIF, GRO, prmtop or TPR; None for HDF5, which holds its own.
        complex_: Its ligand (by name and atoms) and residues must be in ``top``.
        frame_interval: [ps]; needed where the file does not carry it, checked where it does.
        superpose_on: CA atoms of the "pocket" (see ``choose_anchors``) or of "all" residues.

    Raises:
        InputError: If a file cannot be read, the interval is unknown, uneven or contradicted, or molecules are broken
            and the file has no box to mend them.
        TopologyMismatchError: If ligand or protein differ from those of ``complex_``, or atoms are ordered otherwise.
    """
    if superpose_on not in SUPERPOSITIONS:
        raise InputError(f"superposition on {superpose_on!r}: choose one of {', '.join(SUPERPOSITIONS)}")
    path = Path(path)
    file = open_trajectory(path, top, interval=frame_interval)
    name = f"{path.name} with {Path(top).name}" if top is not None else path.name
    ligand = match_ligand(file.topology, complex_, name)
    ca = match_residues(file.topology, complex_, name)
    atoms, places = np.unique(np.concatenate([ligand, ca]), return_inverse=True)
    frames = SnapshotExtractor(
        complex_,
        places[: len(ligand)],
        places[len(ligand) :],
        choose_anchors(complex_, superpose_on),
        source=name,
        interval=file.interval,
    )
    notes: list[str] = []
    clock = _Clock(file)
    parts = []
    for chunk in file.iterate(atoms, notes):
        clock.check(chunk)
        parts.append(frames.extract(chunk))
    if not parts:
        raise InputError(f"{path}: no frame could be read{': ' + notes[0] if notes else ''}")
    return LigandTrajectory(
        snapshots=np.concatenate(parts).astype(np.float64),
        frame_interval=file.interval,
        source=path.name,
        sha256=_hash_file(path),
        superposed_on=f"{superpose_on}, {len(frames.anchors)} CA atoms",
        notes=tuple(notes),
    )


def choose_anchors(complex_: Complex, superpose_on: str) -> np.ndarray:
    """Residue indices whose CA atoms frames are laid on, int64, (n_anchors,).

    The pocket is that of the analysis: residues with a heavy atom within ``POCKET_CUTOFF_NM`` of the ligand's pose.

    Raises:
        InputError: If the pocket has fewer than ``MIN_POCKET`` residues, or the complex does not know its atoms.
    """
    ca = complex_.protein.ca_indices
    if superpose_on == "all":
        return np.arange(len(ca))
    if complex_.topology is None:
        raise InputError("this complex knows no atoms around the ligand but CA: superpose on all CA atoms")
    residues = {atom.index: atom.residue.index for atom in complex_.topology.atoms()}
    is_heavy = np.array([a.element is not None and a.element.atomic_number > 1 for a in complex_.topology.atoms()])
    near = np.flatnonzero(
        is_heavy & (cKDTree(complex_.ligand.positions).query(complex_.positions)[0] < POCKET_CUTOFF_NM)
    )
    touching = {residues[atom] for atom in near.tolist()}
    pocket = np.flatnonzero([residues[atom] in touching for atom in ca.tolist()])
    if len(pocket) < MIN_POCKET:
        raise InputError(f"the pocket has {len(pocket)} residues, too few to superpose on: choose all CA atoms")
    return pocket


def match_ligand(topology: mdtraj.Topology, complex_: Complex, source: str) -> np.ndarray:
    """Topology index of each ligand heavy atom, in the complex's order; by names where both have the same ones.

    Of several copies it is the one that stands in the same place among those of the complex.

    Raises:
        TopologyMismatchError: If the ligand is absent, there more or less often than in the complex, or has other
            atoms.
    """
    ligand = complex_.ligand
    residues = [r for r in topology.residues if r.name == ligand.name]
    copies = [] if complex_.topology is None else [r for r in complex_.topology.residues() if r.name == ligand.name]
    if not residues or len(residues) != max(len(copies), 1):
        others = sorted({r.name for r in topology.residues if not r.is_protein and not r.is_water})
        raise TopologyMismatchError(
            f"{source}: ligand {ligand.name} found {len(residues)} times, expected {max(len(copies), 1)}; beside "
            f"protein and water it holds {', '.join(others[:12]) or 'nothing'}"
        )
    own = ligand.atom_indices[0]
    chosen = next((k for k, r in enumerate(copies) if own in [a.index for a in r.atoms()]), 0)
    heavy = [a for a in residues[chosen].atoms if a.element is not None and a.element.atomic_number > 1]
    by_name = {a.name: a for a in heavy}
    if len(by_name) == len(heavy) and by_name.keys() == set(ligand.atom_names):
        heavy = [by_name[name] for name in ligand.atom_names]
    if [a.element.atomic_number for a in heavy] != ligand.atomic_numbers.tolist():
        raise TopologyMismatchError(
            f"{source}: the {len(heavy)} heavy atoms of {ligand.name} differ in element or order from the complex's "
            f"{ligand.n_atoms}, and their names do not tell which is which; use topology and complex of one preparation"
        )
    return np.array([a.index for a in heavy])


def match_residues(topology: mdtraj.Topology, complex_: Complex, source: str) -> np.ndarray:
    """Topology index of the CA atom of each residue of the complex.

    Raises:
        TopologyMismatchError: If the residues differ; the message names the first that does.
    """
    found = [(r, {a.name: a.index for a in r.atoms}) for r in topology.residues if r.name != complex_.ligand.name]
    found = [(r, atoms) for r, atoms in found if {"N", "CA", "C"} <= atoms.keys()]
    if len(found) != complex_.protein.n_residues:
        raise TopologyMismatchError(
            f"{source}: {len(found)} residues with N, CA and C, the complex has {complex_.protein.n_residues}; "
            "use topology and complex of one preparation"
        )
    atoms = list(complex_.topology.atoms())
    for (residue, _), index in zip(found, complex_.protein.ca_indices.tolist(), strict=True):
        expected = atoms[index].residue
        if get_parent_residue(residue.name) != get_parent_residue(expected.name):
            raise TopologyMismatchError(
                f"{source}: residue {residue} stands where the complex has {expected.name}{expected.id}; use topology "
                "and complex of one preparation"
            )
    return np.array([names["CA"] for _, names in found])


class SnapshotExtractor:
    """Takes whole, superposed ligand snapshots out of chunks.

    Args:
        complex_: Reference geometry.
        ligand, ca: Where their atoms are in a chunk.
        anchors: Residues to superpose on.
        source: Of the frames, for messages.
        interval: Between frames [ps].
    """

    def __init__(
        self,
        complex_: Complex,
        ligand: np.ndarray,
        ca: np.ndarray,
        anchors: np.ndarray,
        *,
        source: str,
        interval: float,
    ) -> None:
        self.ligand, self.ca, self.anchors, self.source = ligand, ca, anchors, source
        self.guard = JumpGuard(source, interval, complex_.ligand.positions.mean(axis=0))
        self.bonds = complex_.ligand.bonds
        pose = complex_.ligand.positions
        self.lengths = np.linalg.norm(pose[self.bonds[:, 0]] - pose[self.bonds[:, 1]], axis=-1)
        self.links = np.flatnonzero(complex_.protein.is_linked)
        reference_ca = complex_.protein.backbone[:, 1]
        self.reference = mdtraj.Trajectory(reference_ca[anchors][None].astype(np.float32), None)
        self.points = np.concatenate([complex_.ligand.positions, reference_ca])

    @cached_property
    def tree(self) -> list[tuple[int, int]]:
        """Along which molecules are made whole; not needed where there is no box."""
        return _build_tree(self.points)

    def extract(self, chunk: mdtraj.Trajectory) -> np.ndarray:
        """Ligand snapshots of the next frames [nm], float32, (n_frames, n_atoms, 3).

        Raises:
            InputError: If ligand or chains are in another periodic image and there is no box.
            TopologyMismatchError: If bonds are too long or not those of the complex.
        """
        xyz = chunk.xyz[:, np.concatenate([self.ligand, self.ca])].copy()
        if chunk.unitcell_vectors is not None:
            _make_whole(xyz, chunk.unitcell_vectors, self.tree)
        ligand, ca = np.split(xyz, [len(self.ligand)], axis=1)
        has_box = chunk.unitcell_vectors is not None
        self._check_whole(ligand, ca, has_box=has_box)
        trajectory = mdtraj.Trajectory(np.concatenate([ca[:, self.anchors], ligand], axis=1), None)
        chosen = np.arange(len(self.anchors))
        trajectory.superpose(self.reference, atom_indices=chosen, ref_atom_indices=chosen)
        if not has_box:
            self._check_chains(trajectory.xyz[:, : len(self.anchors)])
            self.guard.check(trajectory.xyz[:, len(self.anchors) :])
        return trajectory.xyz[:, len(self.anchors) :]

    def _check_chains(self, anchors: np.ndarray) -> None:
        rms = np.sqrt(((anchors - self.reference.xyz[0]) ** 2).sum(axis=-1).mean(axis=1))
        if rms.max() > _LARGEST_RMS_NM:
            k = int(np.argmax(rms > _LARGEST_RMS_NM))
            raise InputError(
                f"{self.source}: frame {self.guard.n_read + k}: the protein's CA atoms are {rms[k]:.1f} nm from the "
                "complex's, root mean square, and the file holds no box: a chain is in another periodic image, or it "
                "is another structure; write the trajectory with its box"
            )

    def _check_whole(self, ligand: np.ndarray, ca: np.ndarray, *, has_box: bool) -> None:
        bonds = np.linalg.norm(ligand[:, self.bonds[:, 0]] - ligand[:, self.bonds[:, 1]], axis=-1)
        links = np.linalg.norm(ca[:, self.links] - ca[:, self.links + 1], axis=-1).max(axis=1, initial=0.0)
        for lengths, limit, what in (
            (bonds.max(axis=1), _LONGEST_BOND_NM, "a ligand bond"),
            (links, _LONGEST_LINK_NM, "neighbouring CA atoms"),
        ):
            if lengths.max() > limit:
                remedy = (
                    "the atoms are ordered otherwise than in the topology, or the simulation broke"
                    if has_box
                    else "make the molecules whole (gmx trjconv -pbc whole), or check that the atoms are ordered as in "
                    "the topology"
                )
                raise TopologyMismatchError(f"{self.source}: {what} {lengths.max():.2f} nm long in a frame: {remedy}")
        means = bonds.mean(axis=0)
        worst = int(np.abs(means - self.lengths).argmax())
        if abs(means[worst] - self.lengths[worst]) > _BOND_TOLERANCE_NM:
            raise TopologyMismatchError(
                f"{self.source}: a ligand bond is {means[worst]:.2f} nm long on average, {self.lengths[worst]:.2f} nm "
                "in the complex: the ligand's atoms are ordered otherwise than in the topology; use topology and "
                "trajectory of one run"
            )


class _Clock:
    """Checks that the times in a file fit one interval."""

    def __init__(self, file: TrajectoryFile) -> None:
        self.path, self.interval = file.path, file.interval
        self.is_timed = file.path.suffix.lower() in TIMED_SUFFIXES
        self.n_read, self.last = 0, np.zeros(0)

    def check(self, chunk: mdtraj.Trajectory) -> None:
        times = np.concatenate([self.last, chunk.time])
        steps = np.diff(times)
        tolerance = _INTERVAL_TOLERANCE * self.interval + 4 * np.finfo(np.float32).eps * np.abs(times).max()
        wrong = np.flatnonzero(np.abs(steps - self.interval) > tolerance)
        if self.is_timed and len(wrong) and steps.any():  # all zero: the writer knew no times
            k = int(wrong[0])
            raise InputError(
                f"{self.path}: frames {self.n_read - len(self.last) + k} and the next are {steps[k]:g} ps apart, "
                f"{self.interval:g} ps were expected: check the interval (`frame_interval`), or cut the "
                "file where it changes"
            )
        self.n_read += len(chunk.time)
        self.last = np.array(times[-1:], dtype=np.float64)


def _build_tree(reference: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (parent, child) of the minimum spanning tree of points [nm], parents first."""
    distances = cdist(reference, reference)
    tree = minimum_spanning_tree(distances)
    order, parents = breadth_first_order(tree + tree.T, 0, directed=False)
    return [(int(parents[k]), int(k)) for k in order[1:]]


def _make_whole(xyz: np.ndarray, cells: np.ndarray, tree: list[tuple[int, int]]) -> None:
    """Bring each point next to its parent, in place; xyz (n_frames, n_points, 3), cells (n_frames, 3, 3) [nm].

    Rounding fractional coordinates gives the nearest image in any cell, as long as the true distance is below half
    the cell's smallest width, which the short distances of a spanning tree are.
    """
    inverse = np.linalg.inv(cells.astype(np.float64))
    for parent, child in tree:
        step = xyz[:, child] - xyz[:, parent]
        images = np.round(np.einsum("fi,fij->fj", step, inverse))
        xyz[:, child] -= np.einsum("fi,fij->fj", images, cells)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
