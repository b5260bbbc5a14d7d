"""The flexible part of a complex, as a molecular graph with places: what moves, turns, and must not change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.bonds import list_records, perceive_bonds
from openmm_neuralmd.molecule.chemistry import (
    build_graph,
    find_constrained_pairs,
    find_torsions,
    is_straight,
    list_neighbours,
    read_sdf,
)
from openmm_neuralmd.molecule.images import shift_to_nearest_image
from openmm_neuralmd.molecule.residues import is_ligand_like, list_atoms
from openmm_neuralmd.units import ANGSTROM_PER_NM

PYRAMIDALITY = 0.3
"""In MD at 300 K a stereocentre stays within 0.67 to 0.92, and planar carbon atoms bend to 0.38 (0WC, 720 frames)."""
FLAT_RING_NM = 0.01  # aromatic rings in crystal structures and force fields are flatter, puckered ones are not
_TETRAHEDRAL = frozenset((6, 14, 15, 16))


@dataclass(frozen=True)
class Ligand:
    """Heavy atoms in the order of their topology, and the hydrogens that follow them.

    Attributes:
        name: Residue name.
        atomic_numbers: int64, (n_atoms,); no hydrogens.
        masses: Of the elements [Da], (n_atoms,).
        bonds: Heavy-atom bonds, ligand indices, int64, (n_bonds, 2).
        bond_orders: One for each bond (1.5 aromatic), or None where the input had none.
        positions: The pose [nm], (n_atoms, 3); the pocket is what surrounds it.
        geometry: Coordinates [nm], (n_atoms, 3), whose bonds and 1-3 distances the ligand keeps: in a ``Complex`` from
            an SDF where one is given, else the pose, sp centres straight, sp2 ones flat (``idealize_geometry``).
        atom_indices: Of the heavy atoms in the topology, int64, (n_atoms,).
        hydrogen_indices, hydrogen_parents: Topology index of each hydrogen, ligand index of its heavy atom.
        atom_names: As in the topology.
        n_hydrogens: Hydrogens on each heavy atom, which an SDF tells where the topology has none; None where unknown.
    """

    name: str
    atomic_numbers: np.ndarray
    masses: np.ndarray
    bonds: np.ndarray
    bond_orders: tuple[float, ...] | None
    positions: np.ndarray
    geometry: np.ndarray
    atom_indices: np.ndarray
    hydrogen_indices: np.ndarray
    hydrogen_parents: np.ndarray
    atom_names: tuple[str, ...]
    n_hydrogens: tuple[int, ...] | None = None

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    @property
    def pairs(self) -> np.ndarray:
        """All distinct atom pairs, (n_pairs, 2)."""
        return np.stack(np.triu_indices(self.n_atoms, k=1), axis=1)

    def find_torsions(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotatable bonds: axes (n_torsions, 2) and turning sides (n_torsions, n_atoms); see ``chemistry``."""
        return find_torsions(self.geometry, self.bonds, self.bond_orders)

    def find_dihedrals(self) -> np.ndarray:
        """Four atoms for each rotatable bond, int64, (n_torsions, 4); a line of sp atoms counts as one bond."""
        neighbours = list_neighbours(self.n_atoms, self.bonds)
        quadruples = []
        for (left, right), side in zip(*(values.tolist() for values in self.find_torsions()), strict=True):
            first = next(k for k in neighbours[left] if not side[k] and not is_straight(self.geometry, k, left, right))
            last = next(k for k in neighbours[right] if side[k] and not is_straight(self.geometry, k, right, left))
            quadruples.append((first, left, right, last))
        return np.array(quadruples, dtype=np.int64).reshape(-1, 4)

    def find_constraints(self) -> tuple[np.ndarray, np.ndarray]:
        """Bonds and 1-3 pairs (n_pairs, 2) and their distances [nm] in ``geometry`` (n_pairs,)."""
        pairs = find_constrained_pairs(self.n_atoms, self.bonds)
        return pairs, np.linalg.norm(self.geometry[pairs[:, 0]] - self.geometry[pairs[:, 1]], axis=1)

    def find_centers(self, seen: Sequence[np.ndarray] = ()) -> np.ndarray:
        """C, Si, P and S that cannot turn inside out, with three of their heavy neighbours, (n_centers, 4).

        Those with four neighbours, hydrogens too; an atom that shows three, unless it is carbon with a multiple bond,
        where it is pyramidal and of one hand in ``geometry`` and throughout each trajectory of ``seen``. Planar atoms
        bend: one pose alone cannot tell.

        Args:
            seen: Trajectories of the ligand [nm], (n_frames, n_atoms, 3) each.
        """
        centers = []
        for atom, neighbours in enumerate(list_neighbours(self.n_atoms, self.bonds)):
            if len(neighbours) < 3 or int(self.atomic_numbers[atom]) not in _TETRAHEDRAL:
                continue
            center = (atom, *neighbours[:3])
            is_saturated = len(neighbours) + (self.n_hydrogens[atom] if self.n_hydrogens else 0) == 4
            if is_saturated or (not self._is_planar_carbon(atom) and _is_steady(center, (self.geometry[None], *seen))):
                centers.append(center)
        return np.array(centers, dtype=np.int64).reshape(-1, 4)

    def find_flat_rings(self) -> list[tuple[int, ...]]:
        """Rings that are aromatic, or flat in ``geometry`` where bond orders are unknown."""
        graph = build_graph(self.atomic_numbers, self.bonds)
        rings = [tuple(ring) for ring in graph.GetRingInfo().AtomRings()]
        if self.bond_orders is None:
            return [ring for ring in rings if _compute_thickness(self.geometry[list(ring)]) < FLAT_RING_NM]
        aromatic = {frozenset(b.tolist()) for b, o in zip(self.bonds, self.bond_orders, strict=True) if o == 1.5}
        return [r for r in rings if all(frozenset((r[k - 1], r[k])) in aromatic for k in range(len(r)))]

    def reorder(self, order: np.ndarray) -> "Ligand":
        """The same ligand, its atom k being the present atom ``order[k]``."""
        place = np.argsort(order)
        return replace(
            self,
            atomic_numbers=self.atomic_numbers[order],
            masses=self.masses[order],
            bonds=place[self.bonds],
            positions=self.positions[order],
            geometry=self.geometry[order],
            atom_indices=self.atom_indices[order],
            hydrogen_parents=place[self.hydrogen_parents],
            atom_names=tuple(self.atom_names[k] for k in order),
            n_hydrogens=None if self.n_hydrogens is None else tuple(self.n_hydrogens[k] for k in order),
        )

    def _is_planar_carbon(self, atom: int) -> bool:
        """Whether bond orders say so."""
        orders = zip(self.bonds.tolist(), self.bond_orders or (), strict=False)
        return int(self.atomic_numbers[atom]) == 6 and any(order > 1.0 and atom in bond for bond, order in orders)


def build_ligand(
    topology: Any, residue: Any, positions: np.ndarray, cell: np.ndarray | None = None, *, perceive: bool = True
) -> Ligand:
    """The ligand of an OpenMM or mdtraj topology; bonds from its records, or from distances where it has none.

    Args:
        topology: Holds ``residue``.
        residue: The ligand.
        positions: Of all atoms of the topology [nm], (n_atoms, 3).
        cell: Box vectors [nm], (3, 3), where the ligand may be cut by the box; its geometry is then of no use.
        perceive: Whether distances tell bonds where there are no records; else there are none.
    """
    atoms = [a for a in list_atoms(residue) if a.element is not None]
    heavy = [a for a in atoms if a.element.atomic_number > 1]
    hydrogens = [a for a in atoms if a.element.atomic_number == 1 and heavy]
    place = {a.index: k for k, a in enumerate(heavy)}
    members = {a.index for a in atoms}
    xyz = np.asarray(positions, dtype=np.float64)
    pose = xyz[[a.index for a in heavy]]
    numbers = np.array([a.element.atomic_number for a in heavy], dtype=np.int64)
    records = [r for r in list_records(topology) if r.first.index in members and r.second.index in members]
    between = [r for r in records if r.first.index in place and r.second.index in place]
    orders = [r.order for r in between]
    bonds = np.array([(place[r.first.index], place[r.second.index]) for r in between], dtype=np.int64)
    if not between and perceive:
        bonds, orders = perceive_bonds(numbers, pose, cell), [None]
    parents = {}
    for a, b in ((r.first.index, r.second.index) for r in records):
        if (a in place) != (b in place):
            parents[b if a in place else a] = place[a if a in place else b]
    for atom in hydrogens:  # without a record a hydrogen belongs to the nearest heavy atom
        vectors = shift_to_nearest_image(pose - xyz[atom.index], cell)
        parents.setdefault(atom.index, int(np.linalg.norm(vectors, axis=1).argmin()))
    owners = np.array([parents[a.index] for a in hydrogens], dtype=np.int64)
    return Ligand(
        name=residue.name,
        atomic_numbers=numbers,
        masses=np.array([float(getattr(a.element.mass, "_value", a.element.mass)) for a in heavy]),
        bonds=bonds.reshape(-1, 2),
        bond_orders=None if None in orders else tuple(o for o in orders if o is not None),
        positions=pose,
        geometry=pose,
        atom_indices=np.array([a.index for a in heavy], dtype=np.int64),
        hydrogen_indices=np.array([a.index for a in hydrogens], dtype=np.int64),
        hydrogen_parents=owners,
        atom_names=tuple(a.name for a in heavy),
        n_hydrogens=tuple(np.bincount(owners, minlength=len(heavy)).tolist()) if hydrogens else None,
    )


def load_ligand_sdf(path: str | Path, name: str = "LIG") -> Ligand:
    """Read a ligand with its bond orders and geometry from an SDF or MOL file; indices are those of the file.

    Raises:
        InputError: If the file is missing or unreadable.
    """
    molecule = read_sdf(path)
    atoms = list(molecule.GetAtoms())
    heavy = {a.GetIdx(): k for k, a in enumerate(a for a in atoms if a.GetAtomicNum() > 1)}
    kept = [b for b in molecule.GetBonds() if b.GetBeginAtomIdx() in heavy and b.GetEndAtomIdx() in heavy]
    symbols = [molecule.GetAtomWithIdx(i).GetSymbol() for i in heavy]
    hydrogens = [a for a in atoms if a.GetAtomicNum() == 1 and any(n.GetIdx() in heavy for n in a.GetNeighbors())]
    xyz = molecule.GetConformer().GetPositions()[list(heavy)] / ANGSTROM_PER_NM
    pairs = [(heavy[b.GetBeginAtomIdx()], heavy[b.GetEndAtomIdx()]) for b in kept]
    return Ligand(
        name=name,
        atomic_numbers=np.array([molecule.GetAtomWithIdx(i).GetAtomicNum() for i in heavy], dtype=np.int64),
        masses=np.array([molecule.GetAtomWithIdx(i).GetMass() for i in heavy]),
        bonds=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        bond_orders=tuple(b.GetBondTypeAsDouble() for b in kept),
        positions=xyz,
        geometry=xyz,
        atom_indices=np.array(list(heavy), dtype=np.int64),
        hydrogen_indices=np.array([a.GetIdx() for a in hydrogens], dtype=np.int64),
        hydrogen_parents=np.array([heavy[a.GetNeighbors()[0].GetIdx()] for a in hydrogens], dtype=np.int64),
        atom_names=tuple(f"{s}{symbols[: k + 1].count(s)}" for k, s in enumerate(symbols)),
        n_hydrogens=tuple(molecule.GetAtomWithIdx(i).GetTotalNumHs(includeNeighbors=True) for i in heavy),
    )


def select_ligand(topology: Any, name: str | None) -> Any:
    """The ligand's residue: the one called ``name``, or the only one that is neither protein, water nor ion.

    Args:
        topology: mdtraj's.
        name: Residue name.

    Raises:
        InputError: If there is none, or more than one; the message lists what is there.
    """
    candidates = [r for r in topology.residues if is_ligand_like(r)]
    found = [r for r in topology.residues if r.name == name] if name else candidates
    if len(found) == 1:
        return found[0]
    listing = ", ".join(sorted({f"{r.name}:{r.chain.chain_id or r.chain.index}:{r.resSeq}" for r in candidates}))
    wanted = f"ligand {name!r} found {len(found)} times" if name else f"{len(found)} residues could be the ligand"
    raise InputError(f"{wanted}; the topology holds {listing or 'no residue that could be a ligand'} (`ligand=NAME`)")


def describe_formula(ligand: Ligand) -> str:
    """Heavy-atom formula in Hill order, such as C19 Cl N5 O S."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    symbols = [table.GetElementSymbol(int(z)) for z in ligand.atomic_numbers]
    ordered = sorted(set(symbols), key=lambda s: (s != "C", s))
    return " ".join(f"{s}{symbols.count(s) if symbols.count(s) > 1 else ''}" for s in ordered)


def compute_pyramidality(positions: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Triple product of the unit vectors from each centre to three neighbours: 0 where flat, 0.77 for a tetrahedron.

    Args:
        positions: [nm], (n_frames, n_atoms, 3).
        centers: A centre and three of its neighbours, (n_centers, 4).

    Returns:
        From -1 to 1, the sign being that of the order of the neighbours, (n_frames, n_centers).
    """
    centre, *others = (np.asarray(positions[:, centers[:, k]], dtype=np.float64) for k in range(4))
    a, b, c = ((v - centre) / np.linalg.norm(v - centre, axis=-1, keepdims=True) for v in others)
    return np.asarray((a * np.cross(b, c)).sum(axis=-1))


def _is_steady(center: tuple[int, ...], trajectories: Sequence[np.ndarray]) -> bool:
    """Whether an atom is pyramidal and of one hand throughout each trajectory."""
    volumes = [compute_pyramidality(xyz, np.array([center])) for xyz in trajectories]
    return all(bool((v > PYRAMIDALITY).all() or (v < -PYRAMIDALITY).all()) for v in volumes)


def _compute_thickness(ring: np.ndarray) -> float:
    centred = ring - ring.mean(axis=0)
    return float(np.abs(centred @ np.linalg.svd(centred, full_matrices=False)[2][-1]).max())
