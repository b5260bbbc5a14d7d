"""Frames of a trajectory of any engine in the binding site's place: whole, the ligand in its pocket, superposed.

This is the one way from a file to positions, for training, evaluation, comparison and labels alike. Atoms are matched
by ``molecule.matching``; the amino acids that the site has too are joined as in its structure, by the shortest
distances there, other atoms by their bonds; what neither holds (the ligand, ions, cofactors) comes to the image nearest
to the pocket. This works in any periodic cell and needs no bonds in the topology file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mdtraj
import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.checks import Clock, JumpGuard, check_chains, check_uncut
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.bonds import find_bonds, find_parts
from openmm_neuralmd.molecule.complex import CHAIN_BREAK_NM
from openmm_neuralmd.molecule.images import bring_together, make_whole, span_edges, span_points
from openmm_neuralmd.molecule.matching import choose_order, find_ligand, map_residues
from openmm_neuralmd.molecule.residues import is_solvent
from openmm_neuralmd.molecule.site import BindingSite, get_ca, list_residues
from openmm_neuralmd.molecule.superposition import find_superposition

_LONGEST_LINK_NM = 0.6  # between CA atoms of neighbours, 0.38


@dataclass(frozen=True)
class Selection:
    """Atoms that are kept of a file; all indices but ``atoms`` count within ``atoms``.

    Attributes:
        atoms: Indices in the file, sorted, int64, (n_kept,).
        topology: Of the kept atoms, mdtraj's.
        ligand: All atoms of the ligand's residue that are kept.
        orders: The ligand's heavy atoms in the site's order, int64, (n_orders, n_atoms), one row for each symmetry.
        partners: Residue of the file for each of the site's that is there, by the latter's index.
        ca: CA atom of each of these, in the same order.
        bonds: Between kept atoms, int64, (n_bonds, 2).
    """

    atoms: np.ndarray
    topology: mdtraj.Topology
    ligand: np.ndarray
    orders: np.ndarray
    partners: dict[int, Any]
    ca: np.ndarray
    bonds: np.ndarray

    @property
    def residues(self) -> np.ndarray:
        """The site's index of each residue that is there."""
        return np.fromiter(self.partners, dtype=np.int64)

    def locate(self, atoms: np.ndarray) -> np.ndarray:
        """Where atoms of the file are among those kept."""
        return np.searchsorted(self.atoms, atoms)


def select_atoms(file: TrajectoryFile, site: BindingSite, notes: list[str], *, whole_protein: bool) -> Selection:
    """Find the site's ligand and residues in a file.

    Args:
        file: Its topology and first frame are looked at.
        site: What is looked for.
        notes: Receives what a reader must know of the match.
        whole_protein: Keep all atoms but water and ions, else the ligand's heavy atoms and CA atoms.

    Raises:
        TopologyMismatchError: If the ligand or the protein is another one.
    """
    full = file.topology
    residue, orders = find_ligand(full, file.positions, file.cell, site, str(file.path))
    partners = map_residues(site, list_residues(full, residue), notes, file.path.name)
    ca = np.array([get_ca(r) for r in partners.values()], dtype=np.int64)
    if whole_protein:
        kept = [r for r in full.residues if r is residue or not is_solvent(r)]
        atoms = np.array(sorted(a.index for r in kept for a in r.atoms), dtype=np.int64)
    else:
        atoms = np.unique(np.concatenate([orders[0], ca]))
    topology = full.subset(atoms)
    placed = np.searchsorted(atoms, orders)
    found = find_bonds(topology, file.positions[atoms], file.cell) if whole_protein else None
    members = np.array([a.index for a in residue.atoms])
    return Selection(
        atoms=atoms,
        topology=topology,
        ligand=np.searchsorted(atoms, members[np.isin(members, atoms)]),
        orders=placed,
        partners=partners,
        ca=np.searchsorted(atoms, ca),
        bonds=placed[0][site.ligand.bonds] if found is None else found,
    )


class Placer:
    """Lays chunks of positions in the site's place, and refuses what cannot be laid there.

    Args:
        site: The place.
        selection: Which of a chunk's atoms are what.
        superpose_on: CA atoms of the "pocket" or of "all" residues; None to leave frames where they stand.
        source: Name of the frames, for messages.
        interval: Between frames [ps].
        is_own: Whether a model of ours made them: however far its ligand goes, that is the model's doing.

    Attributes:
        anchors: Residues of the site that frames are laid on, int64.
        order: The ligand's heavy atoms in the site's order, of several symmetric ones that nearest to the pose in the
            first frame; None before it.
    """

    def __init__(
        self,
        site: BindingSite,
        selection: Selection,
        superpose_on: str | None,
        *,
        source: str,
        interval: float,
        is_own: bool = False,
    ) -> None:
        self.site, self.selection, self.source, self.is_own = site, selection, source, is_own
        self.is_superposed = superpose_on is not None
        places = {int(residue): k for k, residue in enumerate(selection.residues)}
        self.anchors = np.array([k for k in site.choose_anchors(superpose_on or "all").tolist() if k in places])
        self.fixed = selection.ca[[places[int(k)] for k in self.anchors]]
        pocket = [places[int(k)] for k in site.pocket if int(k) in places] or list(places.values())
        self.pocket_ca = selection.ca[pocket]
        self.order: np.ndarray | None = None
        self.guard = JumpGuard(source, interval, site.pose.mean(axis=0))
        self._join()

    def _join(self) -> None:
        """The tree along which molecules are made whole, and the parts that are then brought to the pocket."""
        selection = self.selection
        links = span_points(self.site.ca[selection.residues])
        between = np.stack([selection.ca[links.children], selection.ca[links.parents]], axis=1)
        lengths = np.linalg.norm(
            self.site.ca[selection.residues[links.children]] - self.site.ca[selection.residues[links.parents]], axis=1
        )
        residues = list(selection.partners.values())
        follow = [
            residues[a] is None or abs(residues[a].index - residues[b].index) == 1
            for a, b in zip(links.children.tolist(), links.parents.tolist(), strict=True)
        ]
        self.links = between[(lengths < CHAIN_BREAK_NM) & np.array(follow, dtype=bool)]
        edges = np.concatenate([selection.bonds, between])
        weights = np.concatenate([np.zeros(len(selection.bonds)), lengths])  # bonds first
        self.tree = span_edges(len(selection.atoms), edges, weights)
        parts = find_parts(len(selection.atoms), edges)
        is_protein = np.zeros(len(selection.atoms), dtype=bool)
        is_protein[selection.ca] = True
        self.parts = [part for part in parts if not is_protein[part].any()]

    def place(self, positions: np.ndarray, cells: np.ndarray | None) -> np.ndarray:
        """The next frames in the site's place.

        Args:
            positions: [nm], (n_frames, n_kept, 3).
            cells: [nm], (n_frames, 3, 3), or None.

        Returns:
            [nm], float32, (n_frames, n_kept, 3).

        Raises:
            InputError: If molecules or chains are in other periodic images and there is no cell to mend them.
        """
        if cells is None:
            bonds = self.selection.bonds
            what = "a ligand bond" if len(bonds) == len(self.site.ligand.bonds) else "a bond"
            check_uncut(positions, bonds, self.source, what=what)
            neighbours = "the distance of neighbouring CA atoms"
            check_uncut(positions, self.links, self.source, longest=_LONGEST_LINK_NM, what=neighbours)
        else:
            positions = make_whole(positions, cells, self.tree)
            positions = bring_together(positions, cells, self.parts, positions[:, self.pocket_ca].mean(axis=1))
        if self.is_superposed:
            moved = find_superposition(positions[:, self.fixed], self.site.ca[self.anchors])
            positions = moved.apply(positions)
        positions = np.asarray(positions, dtype=np.float32)
        if self.order is None:
            self.order = choose_order(self.selection.orders, positions[0], self.site.pose)
        if cells is None and not self.is_own:
            check_chains(positions[:, self.fixed], self.site.ca[self.anchors], self.source, self.guard.n_read)
            self.guard.check(positions[:, self.order])
        return positions


class PlacedFrames:
    """A trajectory file, read once, in chunks of placed positions.

    Args:
        file: The trajectory.
        site: Where it is brought.
        superpose_on: CA atoms of the "pocket", or of "all" residues that both have.
        whole_protein: Keep all atoms but water and ions, else the ligand's heavy atoms and CA atoms.

    Attributes:
        selection, placer: Which atoms are kept, and how they are placed.
        notes: What a reader must know, complete once all is read.

    Raises:
        InputError: If ``superpose_on`` is neither.
        TopologyMismatchError: If the ligand or the protein is another one.
    """

    def __init__(
        self, file: TrajectoryFile, site: BindingSite, *, superpose_on: str = "pocket", whole_protein: bool = False
    ) -> None:
        self.file, self.notes = file, list[str]()
        site.choose_anchors(superpose_on)
        self.selection = select_atoms(file, site, self.notes, whole_protein=whole_protein)
        self.placer = Placer(
            site,
            self.selection,
            None if file.is_placed and superpose_on == "all" else superpose_on,
            source=file.path.name,
            interval=file.interval,
            is_own=bool(file.info),
        )

    @property
    def order(self) -> np.ndarray:
        """The ligand's heavy atoms among those kept, in the site's order; known with the first chunk."""
        if self.placer.order is None:
            raise InputError(f"{self.file.path}: no frame was read yet")
        return self.placer.order

    def __iter__(self) -> Iterator[np.ndarray]:
        """Chunks [nm], float32, (n_frames, n_kept, 3).

        Raises:
            InputError: If times are uneven or frames cannot be placed; see ``Placer.place``.
        """
        clock = Clock(self.file)
        for chunk in self.file.iterate(self.selection.atoms, self.notes):
            clock.check(chunk.time)
            yield self.placer.place(chunk.xyz, chunk.unitcell_vectors)

    def place_start(self) -> np.ndarray:
        """The structure of the topology file, which is whole, in the site's place [nm], float32, (1, n_kept, 3)."""
        start = self.file.positions[None, self.selection.atoms]
        moved = find_superposition(start[:, self.placer.fixed], self.placer.site.ca[self.placer.anchors])
        return moved.apply(start).astype(np.float32)
