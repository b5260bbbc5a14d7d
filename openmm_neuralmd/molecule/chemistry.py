"""The ligand's molecular graph: bond separations, torsions that turn, and the distances that stay.

Everything here follows from heavy atoms, bonds and one geometry; no force field is involved.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.checks import check_arguments, check_path
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.units import ANGSTROM_PER_NM

MAX_SEPARATION = 4  # bonds; beyond 1-4 pairs force fields treat atoms as not bonded at all
MAX_MATCHES = 256  # orders of equivalent atoms: eight flipping rings
_COLLINEAR_COSINE = -0.94  # bond angle above 160 degrees: sp centres, cumulenes
_CHARGES = (0, 1, -1, 2, -2)  # tried in this order
_MAX_ITERATIONS = 20_000  # of the search for bond orders, milliseconds; drugs need tens
_LONGEST_MULTIPLE = {2.0: 0.97, 3.0: 0.88}  # in sums of covalent radii: C=C has 0.88, C#C 0.79, C-C 1.01


@check_arguments(path=check_path)
def read_sdf(path: str | Path) -> Any:
    """The first molecule of an SDF or MOL file, hydrogens kept, as an ``rdkit.Chem.Mol``.

    Raises:
        InputError: If the file is missing or unreadable.
    """
    from rdkit import Chem, rdBase

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the ligand's SDF file")
    with rdBase.BlockLogs():
        molecule = Chem.MolFromMolFile(str(path), removeHs=False)
    if molecule is None:
        raise InputError(f"{path}: not a readable SDF/MOL file")
    return molecule


def describe_choice(sdf: str | Path) -> str:
    """For a note, which molecule of an SDF file is read, "x.sdf: molecule 1 of 3 used"; empty if it holds one."""
    text = Path(sdf).read_text(errors="replace")
    n_molecules = max(text.count(mark) for mark in ("$$$$", "M  END"))  # of the last one either may be missing
    return f"{Path(sdf).name}: molecule 1 of {n_molecules} used" if n_molecules > 1 else ""


def format_formula(symbols: Iterable[str]) -> str:
    """Formula in Hill order with every count: C19 Cl1 N5."""
    counts = Counter(symbols)
    return " ".join(f"{s}{counts[s]}" for s in sorted(counts, key=lambda s: (s != "C", s)))


def match_graphs(
    wanted_numbers: np.ndarray, wanted_bonds: np.ndarray, numbers: np.ndarray, bonds: np.ndarray
) -> np.ndarray:
    """All ways (at most 256) in which two drawings show the same molecule, by elements and bonds.

    Args:
        wanted_numbers, numbers: Atomic numbers, (n_atoms,).
        wanted_bonds, bonds: Atom pairs, int64, (n_bonds, 2).

    Returns:
        For each atom of the first its place in the second, int64, (n_matches, n_atoms); no row if they differ.
    """
    matches: Sequence[Sequence[int]] = ()
    if sorted(wanted_numbers) == sorted(numbers) and len(wanted_bonds) == len(bonds):
        matches = build_graph(numbers, bonds).GetSubstructMatches(
            build_graph(wanted_numbers, wanted_bonds), uniquify=False, maxMatches=MAX_MATCHES
        )
    return np.array(matches, dtype=np.int64).reshape(len(matches), len(wanted_numbers))


def build_graph(numbers: np.ndarray, bonds: np.ndarray) -> Any:
    """The graph alone as an ``rdkit.Chem.RWMol``: elements, single bonds and rings, no implicit hydrogens."""
    from rdkit import Chem

    graph = Chem.RWMol()
    for number in np.asarray(numbers).tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        graph.AddAtom(atom)
    for a, b in np.asarray(bonds).tolist():
        graph.AddBond(a, b, Chem.BondType.SINGLE)
    Chem.GetSymmSSSR(graph)
    return graph


def perceive_bond_orders(
    atomic_numbers: np.ndarray, bonds: np.ndarray, hydrogen_parents: np.ndarray, positions: np.ndarray
) -> tuple[float, ...] | None:
    """Bond orders of a molecule all of whose hydrogens are known; 1.5 for aromatic bonds.

    Elements, bonds and hydrogens alone decide (RDKit's ``DetermineBondOrders``), the total charge being the first of 0,
    +1, -1, +2, -2 that leaves no radical and no charge on carbon; bond lengths must then allow the multiple bonds,
    which they do not where hydrogens are left out.

    Args:
        atomic_numbers: Of heavy atoms, (n_atoms,).
        bonds: Between them, int64, (n_bonds, 2).
        hydrogen_parents: Heavy atom of each hydrogen, int64, (n_hydrogens,).
        positions: Of heavy atoms [nm], (n_atoms, 3).

    Returns:
        One for each bond; None where nothing fits.

    Source: xyz2mol of Kim and Kim (2015), doi:10.1002/bkcs.10334.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    if len(hydrogen_parents) == 0:
        return None
    ends = np.concatenate([bonds.ravel(), hydrogen_parents])
    is_ammonium = (atomic_numbers == 7) & (np.bincount(ends, minlength=len(atomic_numbers)) == 4)
    n_heavy, n_hydrogens = len(atomic_numbers), len(hydrogen_parents)
    graph = build_graph(  # with carbon for ammonium, its likeness: RDKit finds no order of bonds in zwitterions
        np.concatenate([np.where(is_ammonium, 6, atomic_numbers), np.ones(n_hydrogens, dtype=np.int64)]),
        np.concatenate([bonds, np.stack([n_heavy + np.arange(n_hydrogens), hydrogen_parents], axis=1)]),
    )
    n_electrons = int(atomic_numbers.sum()) + len(hydrogen_parents)
    for charge in (c for c in _CHARGES if (n_electrons - c) % 2 == 0):
        molecule = Chem.RWMol(graph)
        try:
            with rdBase.BlockLogs():
                rdDetermineBonds.DetermineBondOrders(
                    molecule, charge=charge - int(is_ammonium.sum()), embedChiral=False, maxIterations=_MAX_ITERATIONS
                )
                Chem.SanitizeMol(molecule)
        except (ValueError, RuntimeError):  # no order of bonds has this charge, or too many were tried
            continue
        orders = tuple(molecule.GetBondBetweenAtoms(int(a), int(b)).GetBondTypeAsDouble() for a, b in bonds)
        if _is_usual(molecule) and _fit_lengths(orders, atomic_numbers, bonds, positions):
            return orders
    return None


def _is_usual(molecule: Any) -> bool:
    """Whether no atom is a radical and carbon carries no charge but in carbon monoxide-like ends (isonitriles)."""
    return all(
        a.GetNumRadicalElectrons() == 0 and (a.GetAtomicNum() != 6 or a.GetFormalCharge() == 0 or a.GetDegree() == 1)
        for a in molecule.GetAtoms()
    )


def _fit_lengths(orders: Sequence[float], atomic_numbers: np.ndarray, bonds: np.ndarray, positions: np.ndarray) -> bool:
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    for (a, b), order in zip(bonds.tolist(), orders, strict=True):
        radii = sum(table.GetRcovalent(int(atomic_numbers[k])) for k in (a, b)) / ANGSTROM_PER_NM
        longest = _LONGEST_MULTIPLE.get(order)
        if longest is not None and np.linalg.norm(positions[a] - positions[b]) > longest * radii:
            return False
    return True


def compute_bond_separation(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """Number of bonds between each pair of atoms.

    Args:
        n_atoms: Number of ligand atoms.
        bonds: Atom pairs, int64, (n_bonds, 2).

    Returns:
        int64, (n_atoms, n_atoms): 0 on the diagonal, 1 for bonded, 2 for 1-3 pairs, at most ``MAX_SEPARATION``,
        which also stands for "not connected".
    """
    neighbours = list_neighbours(n_atoms, bonds)
    separation = np.full((n_atoms, n_atoms), MAX_SEPARATION, dtype=np.int64)
    for start in range(n_atoms):
        separation[start, start] = 0
        queue = deque([start])
        while queue:
            atom = queue.popleft()
            depth = separation[start, atom] + 1
            if depth >= MAX_SEPARATION:
                continue
            for other in neighbours[atom]:
                if separation[start, other] > depth:
                    separation[start, other] = depth
                    queue.append(other)
    return separation


def find_constrained_pairs(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """Pairs whose distance the bond projection keeps: bonds and 1-3 pairs, int64, (n_pairs, 2), first < second."""
    separation = compute_bond_separation(n_atoms, bonds)
    first, second = np.nonzero(np.triu((separation == 1) | (separation == 2)))
    return np.stack([first, second], axis=1).astype(np.int64)


def find_lines(positions: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Straight a-b-c, as at both carbons of C#C: centre b has no other neighbour; int64, (n_lines, 3).

    Args:
        positions: Ligand geometry [nm], (n_atoms, 3).
        bonds: Atom pairs, int64, (n_bonds, 2).
    """
    found = [
        (a, b, c)
        for b, (a, c) in ((b, pair) for b, pair in enumerate(list_neighbours(len(positions), bonds)) if len(pair) == 2)
        if is_straight(positions, a, b, c)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def find_torsions(
    positions: np.ndarray, bonds: np.ndarray, orders: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rotatable bonds of the ligand; bonds in a line (both ends of C-C#C-C) count as one torsion.

    A bond turns if it is in no ring, is single (where orders are known) and each of its sides holds an atom off
    its axis. Rotations about collinear bonds are the same motion, so each line is one torsion.

    Args:
        positions: Ligand geometry [nm], (n_atoms, 3), used to see which bonds lie in a line.
        bonds: Atom pairs, int64, (n_bonds, 2).
        orders: Bond orders (1.5 for aromatic), one for each bond; None where unknown.

    Returns:
        Axes, int64, (n_torsions, 2), and sides, float64, (n_torsions, n_atoms): 1 for the atoms that turn, which
        are those beyond the axis' second atom.
    """
    n_atoms = len(positions)
    neighbours = list_neighbours(n_atoms, bonds)
    axes: list[tuple[int, int]] = []
    sides: list[np.ndarray] = []
    seen: set[frozenset[int]] = set()
    for k, (a, b) in enumerate(bonds.tolist()):
        if orders is not None and orders[k] != 1.0:
            continue
        left, right = _follow_line(positions, neighbours, b, a), _follow_line(positions, neighbours, a, b)
        if frozenset((left, right)) in seen:
            continue
        side = _collect_side(neighbours, a, b)
        if side is None or len(neighbours[left]) < 2 or len(neighbours[right]) < 2:
            continue
        seen.add(frozenset((left, right)))
        axes.append((left, right))
        mask = np.zeros(n_atoms)
        mask[list(side)] = 1.0
        sides.append(mask)
    return (
        np.array(axes, dtype=np.int64).reshape(-1, 2),
        np.array(sides, dtype=np.float64).reshape(-1, n_atoms),
    )


def list_neighbours(n_atoms: int, bonds: np.ndarray) -> list[list[int]]:
    """What each atom is bonded to, in the order of the bonds."""
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for a, b in bonds.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    return neighbours


def _collect_side(neighbours: list[list[int]], a: int, b: int) -> set[int] | None:
    """Atoms on b's side of the bond a-b, b included; None if the bond is part of a ring."""
    side, queue = {b}, deque([b])
    while queue:
        atom = queue.popleft()
        for other in neighbours[atom]:
            if atom == b and other == a:
                continue
            if other == a:
                return None
            if other not in side:
                side.add(other)
                queue.append(other)
    return side


def _follow_line(positions: np.ndarray, neighbours: list[list[int]], start: int, end: int) -> int:
    """The last atom of the straight line of two-connected atoms that begins start-end."""
    while len(neighbours[end]) == 2:
        following = neighbours[end][0] if neighbours[end][1] == start else neighbours[end][1]
        if not is_straight(positions, start, end, following):
            break
        start, end = end, following
    return end


def is_straight(positions: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether atoms a-b-c lie nearly in a line, by an angle above 160 degrees."""
    back, ahead = positions[a] - positions[b], positions[c] - positions[b]
    return bool(back @ ahead <= _COLLINEAR_COSINE * np.linalg.norm(back) * np.linalg.norm(ahead))
