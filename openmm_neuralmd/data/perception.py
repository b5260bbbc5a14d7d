"""Ligand and protein from atomic numbers, residue codes and one frame: what MISATO has in place of a topology."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.hdf5 import StoredArray
from openmm_neuralmd.molecule.bonds import find_parts, perceive_bonds
from openmm_neuralmd.molecule.chemistry import perceive_bond_orders
from openmm_neuralmd.molecule.complex import Complex, Protein, find_links
from openmm_neuralmd.molecule.ligand import Ligand
from openmm_neuralmd.molecule.residues import get_parent_residue, get_residue_type

LIGAND_CODE = 0  # MISATO's code of residues that are no amino acid
RESIDUE_CODES = dict(
    enumerate("MOL ACE ALA ARG ASN ASP CYS CYX GLN GLU GLY HIE ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())
)
_BOND_NM = 0.2  # the longest bond between C, N, O and S of proteins, S-S, is 0.205 and not needed
_CARBONYL_NM = 0.133  # C=O is 0.123, C-O 0.143, both with a standard deviation of 0.003 at 300 K
_MIN_COMPOSITION_MATCH = 0.9  # of the residues: ends and protonation states differ; in another order most do
_COMPOSITIONS = {
    "ALA": "C3NO", "ARG": "C6N4O", "ASN": "C4N2O2", "ASP": "C4NO3", "CYS": "C3NOS", "GLN": "C5N2O2", "GLU": "C5NO3",
    "GLY": "C2NO", "HIS": "C6N3O", "ILE": "C6NO", "LEU": "C6NO", "LYS": "C6N2O", "MET": "C5NOS", "PHE": "C9NO",
    "PRO": "C5NO", "SER": "C3NO2", "THR": "C4NO2", "TRP": "C11N2O", "TYR": "C9NO2", "VAL": "C5NO",
}  # heavy atoms of a residue inside a chain  # fmt: skip


@dataclass(frozen=True)
class Atoms:
    """What a file says of its atoms.

    Attributes:
        numbers, codes, owners: Atomic number, residue code and molecule of each atom, int64, (n_atoms,).
        notes: Molecules that are neither protein nor the last one.
    """

    numbers: np.ndarray
    codes: np.ndarray
    owners: np.ndarray
    notes: tuple[str, ...]

    @property
    def ligand(self) -> np.ndarray:
        return np.flatnonzero(self.owners == self.owners[-1])


def read_atoms(arrays: Mapping[str, StoredArray], label: str) -> Atoms:
    """The atoms of a group, from its arrays by name.

    Raises:
        InputError: If their numbers do not fit together, or there is only one molecule.
    """
    numbers = arrays["atoms_number"].read().astype(np.int64)
    codes = arrays["atoms_residue"].read().astype(np.int64)
    begins = np.unique(arrays["molecules_begin_atom_index"].read().astype(np.int64))
    shape = arrays["trajectory_coordinates"].shape
    if len(shape) != 3 or shape[0] < 1 or shape[1:] != (len(numbers), 3) or len(codes) != len(numbers):
        raise InputError(
            f"{label}: {len(numbers)} atomic numbers, {len(codes)} residue codes and coordinates of shape {shape} do "
            "not fit together; expected (n_frames, n_atoms, 3)"
        )
    begins = begins[begins < len(numbers)]  # some files close the list with the number of atoms
    if len(begins) < 2:
        raise InputError(f"{label}: one molecule only; a complex has a protein and, last, its ligand")
    owners = np.searchsorted(begins, np.arange(len(numbers)), side="right") - 1
    return Atoms(numbers, codes, owners, _list_others(numbers, codes, owners))


def _list_others(numbers: np.ndarray, codes: np.ndarray, owners: np.ndarray) -> tuple[str, ...]:
    """Molecules that are neither protein nor the last one."""
    notes = []
    for molecule in range(owners[-1]):
        members = owners == molecule
        if (codes[members] == LIGAND_CODE).all():
            heavy = [gemmi.Element(int(z)).name for z in numbers[members] if z > 1]
            what = "ion" if len(heavy) == 1 else "molecule"
            formula = " ".join(f"{s}{n}" for s, n in Counter(heavy).items())
            notes.append(f"{what} {formula} beside the ligand acts on nothing")
    return tuple(notes)


def build_complex(atoms: Atoms, start: np.ndarray, label: str, *, keep_hydrogens: bool) -> Complex:
    """Ligand and protein of one frame [nm], (n_atoms, 3); without topology.

    Raises:
        InputError: If the last molecule is no ligand, or no protein is found.
    """
    ligand = _build_ligand(atoms, start, label, keep_hydrogens=keep_hydrogens)
    unknown = f"{label}: the ligand's bond orders are unknown: all its bonds outside rings may turn"
    notes = (unknown,) if ligand.bond_orders is None else ()
    nowhere = np.empty((0, 3))  # without a topology nothing asks where all atoms are, and thousands of complexes add up
    return Complex(None, nowhere, ligand, _build_protein(atoms, start, label), source=label, notes=notes)


def _build_ligand(atoms: Atoms, start: np.ndarray, label: str, *, keep_hydrogens: bool) -> Ligand:
    members = atoms.ligand
    if (atoms.codes[members] != LIGAND_CODE).any():
        raise InputError(f"{label}: the last molecule is made of amino acids: peptide ligands are not supported")
    heavy, hydrogens = members[atoms.numbers[members] > 1], members[atoms.numbers[members] == 1]
    elements = atoms.numbers[heavy]
    metals = [gemmi.Element(int(z)).name for z in elements if gemmi.Element(int(z)).is_metal]
    if len(heavy) < 2 or metals:
        what = f"holds {', '.join(metals)}" if metals else f"has {len(heavy)} heavy atoms"
        raise InputError(f"{label}: the last molecule {what}: an ion or metal complex is no ligand")
    pose = start[heavy]
    bonds = perceive_bonds(elements, pose)
    n_parts = len(find_parts(len(heavy), bonds))
    if n_parts > 1:
        raise InputError(f"{label}: the last molecule is {n_parts} molecules, or broken: expected one ligand")
    parents = np.asarray(cKDTree(pose).query(start[hydrogens])[1] if len(hydrogens) else [], dtype=np.int64)
    orders = perceive_bond_orders(elements, bonds, parents, pose)
    counts = tuple(np.bincount(parents, minlength=len(heavy)).tolist()) if len(hydrogens) else None
    if not keep_hydrogens:
        hydrogens, parents = hydrogens[:0], parents[:0]
    return Ligand(
        name=RESIDUE_CODES[LIGAND_CODE],
        atomic_numbers=elements,
        masses=np.array([gemmi.Element(int(z)).weight for z in elements]),
        bonds=bonds,
        bond_orders=orders,
        positions=pose,
        geometry=pose,
        atom_indices=heavy,
        hydrogen_indices=hydrogens,
        hydrogen_parents=parents,
        n_hydrogens=counts,
        atom_names=tuple(f"{gemmi.Element(int(z)).name}{k + 1}" for k, z in enumerate(elements)),
    )


def _build_protein(atoms: Atoms, start: np.ndarray, label: str) -> Protein:
    backbone = _find_backbones(atoms, start)
    if not len(backbone):
        raise InputError(f"{label}: no protein: no chain of N, CA and C; broken or not a protein")
    names = [get_parent_residue(RESIDUE_CODES.get(int(code), "UNK")) for code in atoms.codes[backbone[:, 1]]]
    _check_codes(atoms, backbone, names, label)
    places = [(int(atoms.owners[n]), k) for k, n in enumerate(backbone[:, 0])]
    xyz = start[backbone]
    return Protein(
        residue_types=np.array([get_residue_type(n) for n in names], dtype=np.int64),
        backbone=xyz,
        is_linked=find_links(places, xyz[:, 1]),
        ca_indices=backbone[:, 1],
    )


def _find_backbones(atoms: Atoms, start: np.ndarray) -> np.ndarray:
    """Atom indices of N, CA, C of each amino acid, in file order, int64, (n_residues, 3).

    C is the neighbour of CA with the shortest bond to an oxygen, if that is a double bond: CB of SER has a single one.
    """
    numbers, owners = atoms.numbers, atoms.owners
    heavy = np.flatnonzero((numbers > 1) & (owners != owners[-1]))
    neighbours: dict[int, list[int]] = {int(k): [] for k in heavy}
    for a, b in heavy[cKDTree(start[heavy]).query_pairs(_BOND_NM, output_type="ndarray")].tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)

    def measure_oxygen(carbon: int) -> float:
        oxygens = [k for k in neighbours[carbon] if numbers[k] == 8]
        return min((float(np.linalg.norm(start[k] - start[carbon])) for k in oxygens), default=np.inf)

    found = []
    for ca in heavy[(numbers[heavy] == 6) & (atoms.codes[heavy] != LIGAND_CODE)].tolist():
        nitrogens = [k for k in neighbours[ca] if numbers[k] == 7]
        carbons = [k for k in neighbours[ca] if numbers[k] == 6]
        if not nitrogens or not carbons:
            continue
        c = min(carbons, key=measure_oxygen)
        if measure_oxygen(c) < _CARBONYL_NM:
            found.append((nitrogens[0], ca, c))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 3)


def _check_codes(atoms: Atoms, backbone: np.ndarray, names: Sequence[str], label: str) -> None:
    """The table of residue codes is checked against each residue's heavy atoms, which run from N to the next N."""
    ends = np.append(backbone[1:, 0], len(atoms.numbers))
    n_right = n_checked = 0
    for (first, _, _), last, name in zip(backbone.tolist(), ends.tolist(), names, strict=True):
        inside = np.arange(first, last)
        inside = inside[(atoms.owners[inside] == atoms.owners[first]) & (atoms.numbers[inside] > 1)]
        if name in _COMPOSITIONS:
            n_checked += 1
            n_right += Counter(atoms.numbers[inside].tolist()) == _parse_formula(_COMPOSITIONS[name])
    n_ends = 2 * len(np.unique(atoms.owners[backbone[:, 0]]))  # OXT and caps
    if n_right + n_ends < _MIN_COMPOSITION_MATCH * n_checked or not n_checked:
        raise InputError(
            f"{label}: the residue codes fit the atoms of {n_right} of {len(names)} residues: the file uses another "
            "table of codes than MISATO's"
        )


def _parse_formula(formula: str) -> Counter[int]:
    """C3NO2 to counts by atomic number."""
    counts: Counter[int] = Counter()
    symbol, digits = "", ""
    for letter in [*formula, "C"]:  # the last one closes the entry before it
        if letter.isdigit():
            digits += letter
            continue
        if symbol:
            counts[{"C": 6, "N": 7, "O": 8, "S": 16}[symbol]] += int(digits or 1)
        symbol, digits = letter, ""
    return counts
