"""The ligand as a molecular graph, and finding it in any topology: by elements and bonds, not by names or order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from rdkit import Chem

from openmm_neuralmd.analysis.validity import compute_pyramidality
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.chemistry import build_graph, find_torsions, match_graphs, read_sdf

BOND_TOLERANCE = 1.3
"""Times the sum of covalent radii: atoms closer than this are bonded, where no record says so."""
PYRAMIDALITY = 0.3
"""In MD at 300 K a stereocentre stays within 0.67 to 0.92, and planar carbon atoms bend to 0.38 (0WC, 720 frames)."""
HYDROGEN_REACH_NM = 0.16
FLAT_RING_NM = 0.01
NOT_A_LIGAND = frozenset(
    (
        "HOH WAT SOL H2O TIP3 TIP3P TIP4 SPC NA CL K MG CA ZN NA+ CL- K+ LI CS RB IOD CLA SOD POT CAL ACE NME NMA NH2"
    ).split()
)
_TETRAHEDRAL = frozenset((6, 14, 15, 16))
_HYDROGEN = mdtraj.element.hydrogen


@dataclass(frozen=True)
class LigandGraph:
    """Heavy atoms of a ligand, their bonds, and what must not change.

    Attributes:
        name: Residue name.
        atom_names: One for each heavy atom.
        atomic_numbers: int64, (n_atoms,).
        bonds: int64, (n_bonds, 2).
        bond_orders: One for each bond (1.5 aromatic), or None where unknown.
        geometry: Reference coordinates [nm], (n_atoms, 3).
        n_hydrogens: Hydrogens on each heavy atom, or None where unknown.
    """

    name: str
    atom_names: tuple[str, ...]
    atomic_numbers: np.ndarray
    bonds: np.ndarray
    bond_orders: tuple[float, ...] | None
    geometry: np.ndarray
    n_hydrogens: tuple[int, ...] | None = None

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    @property
    def pairs(self) -> np.ndarray:
        """All distinct atom pairs, (n_pairs, 2)."""
        return np.stack(np.triu_indices(self.n_atoms, k=1), axis=1)

    def find_torsions(self) -> np.ndarray:
        """Four atoms for each rotatable bond, (n_torsions, 4); a line of sp atoms counts as one bond."""
        axes, sides = find_torsions(self.geometry, self.bonds, self.bond_orders)
        quadruples = []
        for (left, right), side in zip(axes.tolist(), sides, strict=True):
            first = next(k for k in self._list_neighbours(left) if not side[k] and not self._is_in_line(k, left, right))
            last = next(k for k in self._list_neighbours(right) if side[k] and not self._is_in_line(k, right, left))
            quadruples.append((first, left, right, last))
        return np.array(quadruples, dtype=np.int64).reshape(-1, 4)

    def find_centers(self, seen: Sequence[np.ndarray] = ()) -> np.ndarray:
        """C, Si, P and S that cannot turn inside out, with three of their heavy neighbours, (n_centers, 4).

        Those with four neighbours, hydrogens too; an atom that shows three, unless it is carbon with a multiple bond,
        where it is pyramidal and of one hand in ``geometry`` and throughout each trajectory of ``seen``. Planar atoms
        bend: one pose alone cannot tell.

        Args:
            seen: Trajectories of the ligand [nm], (n_frames, n_atoms, 3) each.
        """
        centers = []
        for atom in range(self.n_atoms):
            neighbours = self._list_neighbours(atom)
            if len(neighbours) < 3 or int(self.atomic_numbers[atom]) not in _TETRAHEDRAL:
                continue
            center = (atom, *neighbours[:3])
            is_saturated = len(neighbours) + (self.n_hydrogens[atom] if self.n_hydrogens else 0) == 4
            if is_saturated or (not self._is_planar_carbon(atom) and _is_steady(center, (self.geometry[None], *seen))):
                centers.append(center)
        return np.array(centers, dtype=np.int64).reshape(-1, 4)

    def find_flat_rings(self) -> list[tuple[int, ...]]:
        """Rings that are aromatic, or flat in ``geometry`` where bond orders are unknown."""
        molecule = self.build_molecule()
        rings = [tuple(ring) for ring in molecule.GetRingInfo().AtomRings()]
        if self.bond_orders is None:
            return [ring for ring in rings if _compute_thickness(self.geometry[list(ring)]) < FLAT_RING_NM]
        aromatic = {frozenset(b.tolist()) for b, o in zip(self.bonds, self.bond_orders, strict=True) if o == 1.5}
        return [r for r in rings if all(frozenset((r[k - 1], r[k])) in aromatic for k in range(len(r)))]

    def reorder(self, order: np.ndarray) -> "LigandGraph":
        """The same ligand, its atom k being the present atom ``order[k]``."""
        return LigandGraph(
            name=self.name,
            atom_names=tuple(self.atom_names[k] for k in order),
            atomic_numbers=self.atomic_numbers[order],
            bonds=np.argsort(order)[self.bonds],
            bond_orders=self.bond_orders,
            geometry=self.geometry[order],
            n_hydrogens=None if self.n_hydrogens is None else tuple(self.n_hydrogens[k] for k in order),
        )

    def build_molecule(self) -> Chem.Mol:
        """The graph alone for RDKit: elements and single bonds, so that bond orders never spoil a match."""
        return build_graph(self.atomic_numbers, self.bonds)

    def _list_neighbours(self, atom: int) -> list[int]:
        return [int(b if a == atom else a) for a, b in self.bonds if atom in (a, b)]

    def _is_planar_carbon(self, atom: int) -> bool:
        """Whether bond orders say so."""
        orders = zip(self.bonds.tolist(), self.bond_orders or (), strict=False)
        return int(self.atomic_numbers[atom]) == 6 and any(order > 1.0 and atom in bond for bond, order in orders)

    def _is_in_line(self, outer: int, near: int, far: int) -> bool:
        a, b = self.geometry[outer] - self.geometry[near], self.geometry[far] - self.geometry[near]
        return float(a @ b) < -0.94 * float(np.linalg.norm(a) * np.linalg.norm(b))


def load_ligand_sdf(path: str | Path, name: str = "LIG", atom_names: tuple[str, ...] | None = None) -> LigandGraph:
    """Read a ligand with its bond orders and geometry from an SDF or MOL file.

    Raises:
        InputError: If the file is missing or unreadable.
    """
    molecule = read_sdf(path)
    heavy = {a.GetIdx(): k for k, a in enumerate(a for a in molecule.GetAtoms() if a.GetAtomicNum() > 1)}
    kept = [b for b in molecule.GetBonds() if b.GetBeginAtomIdx() in heavy and b.GetEndAtomIdx() in heavy]
    elements = [molecule.GetAtomWithIdx(i).GetAtomicNum() for i in heavy]
    symbols = [molecule.GetAtomWithIdx(i).GetSymbol() for i in heavy]
    return LigandGraph(
        name=name,
        atom_names=atom_names or tuple(f"{s}{symbols[: k + 1].count(s)}" for k, s in enumerate(symbols)),
        atomic_numbers=np.array(elements, dtype=np.int64),
        bonds=np.array([(heavy[b.GetBeginAtomIdx()], heavy[b.GetEndAtomIdx()]) for b in kept], dtype=np.int64),
        bond_orders=tuple(b.GetBondTypeAsDouble() for b in kept),
        geometry=molecule.GetConformer().GetPositions()[list(heavy)] / 10.0,
        n_hydrogens=tuple(molecule.GetAtomWithIdx(i).GetTotalNumHs(includeNeighbors=True) for i in heavy),
    )


def select_ligand(topology: mdtraj.Topology, name: str | None) -> mdtraj.core.topology.Residue:
    """The ligand's residue: the one called ``name``, or the only one that is neither protein, water nor ion.

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


def is_ligand_like(residue: mdtraj.core.topology.Residue) -> bool:
    """Whether a residue is neither protein, cap, water nor a single ion."""
    n_heavy = sum(1 for a in residue.atoms if a.element is not None and a.element.atomic_number > 1)
    names = {a.name for a in residue.atoms}
    return n_heavy > 1 and residue.name.upper() not in NOT_A_LIGAND and not {"N", "CA", "C"} <= names


def build_ligand(
    topology: mdtraj.Topology,
    residue: mdtraj.core.topology.Residue,
    positions: np.ndarray,
    cell: np.ndarray | None = None,
) -> LigandGraph:
    """The ligand of a topology; bonds from its records, or from distances where it has none.

    Args:
        topology: Holds ``residue``.
        residue: The ligand.
        positions: Of all atoms of the topology [nm], (n_atoms, 3).
        cell: Box vectors [nm], (3, 3), where the ligand may be cut by the box; its geometry is then of no use.
    """
    heavy = [a for a in residue.atoms if a.element is not None and a.element.atomic_number > 1]
    place = {a.index: k for k, a in enumerate(heavy)}
    numbers = np.array([a.element.atomic_number for a in heavy], dtype=np.int64)
    xyz = np.asarray(positions, dtype=np.float64)[[a.index for a in heavy]]
    records = [b for b in topology.bonds if b[0].index in place and b[1].index in place]
    orders: list[float | None] = [float(b.order) if b.order else None for b in records]
    if records:
        bonds = np.array([(place[b[0].index], place[b[1].index]) for b in records], dtype=np.int64)
    else:
        bonds, orders = perceive_bonds(numbers, xyz, cell), [None]
    known = None if None in orders else tuple(o for o in orders if o is not None)
    hydrogens = np.asarray(positions, dtype=np.float64)[[a.index for a in residue.atoms if a.element is _HYDROGEN]]
    counts = _count_hydrogens(hydrogens, xyz, cell) if len(hydrogens) else None
    return LigandGraph(residue.name, tuple(a.name for a in heavy), numbers, bonds, known, xyz, counts)


def perceive_bonds(atomic_numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray | None = None) -> np.ndarray:
    """Bonds from distances; for topologies without bond records.

    Args:
        atomic_numbers: (n_atoms,).
        positions: [nm], (n_atoms, 3).
        cell: Box vectors [nm], (3, 3), where the molecule may be cut by the box.

    Returns:
        int64, (n_bonds, 2).
    """
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(z)) for z in atomic_numbers]) / 10.0
    distances = np.linalg.norm(compute_nearest_images(positions[:, None] - positions[None], cell), axis=-1)
    return np.argwhere(np.triu(distances < BOND_TOLERANCE * (radii[:, None] + radii[None]), k=1)).astype(np.int64)


def _count_hydrogens(hydrogens: np.ndarray, heavy: np.ndarray, cell: np.ndarray | None) -> tuple[int, ...]:
    """Hydrogens nearest to each heavy atom [nm], (n_hydrogens, 3), (n_heavy, 3)."""
    distances = np.linalg.norm(compute_nearest_images(hydrogens[:, None] - heavy[None], cell), axis=-1)
    owners = distances.argmin(axis=1)[distances.min(axis=1) < HYDROGEN_REACH_NM]
    return tuple(np.bincount(owners, minlength=len(heavy)).tolist())


def compute_nearest_images(vectors: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
    """Vectors [nm], (..., 3), less whole box vectors; right for vectors much shorter than the box."""
    return vectors if cell is None else vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell


def match_ligands(wanted: LigandGraph, found: LigandGraph) -> np.ndarray:
    """All ways (at most 256) in which ``found`` is the same molecule as ``wanted``.

    Args:
        wanted: Its atom order is kept.
        found: Any atom order and names.

    Returns:
        Index in ``found`` of each atom of ``wanted``, int64, (n_matches, n_atoms); more than one row where the
        molecule is symmetric.

    Raises:
        TopologyMismatchError: If it is another molecule.
    """
    matches = match_graphs(wanted.atomic_numbers, wanted.bonds, found.atomic_numbers, found.bonds)
    if not len(matches):
        raise TopologyMismatchError(
            f"{found.name} ({describe_formula(found)}, {len(found.bonds)} bonds between heavy atoms) is another "
            f"molecule than {wanted.name} ({describe_formula(wanted)}, {len(wanted.bonds)} bonds); compare "
            "trajectories of the same ligand"
        )
    return matches


def describe_formula(ligand: LigandGraph) -> str:
    """Heavy-atom formula in Hill order, such as C19 Cl N5 O S."""
    table = Chem.GetPeriodicTable()
    symbols = [table.GetElementSymbol(int(z)) for z in ligand.atomic_numbers]
    ordered = sorted(set(symbols), key=lambda s: (s != "C", s))
    return " ".join(f"{s}{symbols.count(s) if symbols.count(s) > 1 else ''}" for s in ordered)


def _is_steady(center: tuple[int, ...], trajectories: Sequence[np.ndarray]) -> bool:
    """Whether an atom is pyramidal and of one hand throughout each trajectory."""
    volumes = [compute_pyramidality(xyz, np.array([center])) for xyz in trajectories]
    return all(bool((v > PYRAMIDALITY).all() or (v < -PYRAMIDALITY).all()) for v in volumes)


def _compute_thickness(ring: np.ndarray) -> float:
    centred = ring - ring.mean(axis=0)
    return float(np.abs(centred @ np.linalg.svd(centred, full_matrices=False)[2][-1]).max())
