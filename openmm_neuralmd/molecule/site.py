"""The binding site: the place that every trajectory is brought to before anything is learned or compared."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.ligand import Ligand, build_ligand, select_ligand
from openmm_neuralmd.molecule.residues import RESIDUE_LETTERS, get_residue_type, is_amino_acid, list_atoms

POCKET_CUTOFF_NM = 0.6
"""A residue with a heavy atom this close to the ligand's starting pose belongs to the pocket."""
MIN_POCKET = 4
"""Residues of a pocket; fewer CA atoms do not fix a rotation well."""
SUPERPOSITIONS = ("pocket", "all")
"""CA atoms that frames are laid on. In the pocket's place the ligand's own motion is seen; in the whole protein's,
its domains' motion besides."""

ResidueKey = tuple[str, int]


@dataclass(frozen=True)
class BindingSite:
    """A ligand and the protein of the structure that everything is superposed on.

    Attributes:
        ligand: With the pose.
        sequence: One letter for each amino acid.
        keys: Chain and number of each.
        labels: For people, such as GLU400 (with the chain where numbers repeat).
        ca: CA positions [nm], (n_residues, 3).
        pocket: Indices of the residues around the pose, int64, (n_pocket,).
        key: Chain and number of the ligand's own residue.
    """

    ligand: Ligand
    sequence: str
    keys: tuple[ResidueKey, ...]
    labels: tuple[str, ...]
    ca: np.ndarray
    pocket: np.ndarray
    key: ResidueKey = ("", 0)

    @property
    def pose(self) -> np.ndarray:
        """The ligand's heavy atoms [nm], (n_atoms, 3)."""
        return self.ligand.positions

    @property
    def pocket_labels(self) -> tuple[str, ...]:
        return tuple(self.labels[k] for k in self.pocket)

    def require_pocket(self) -> None:
        """See that the ligand is in a pocket.

        Raises:
            InputError: If fewer than ``MIN_POCKET`` residues are near it.
        """
        if len(self.pocket) < MIN_POCKET:
            raise InputError(
                f"ligand {self.ligand.name} has {len(self.pocket)} residues within {POCKET_CUTOFF_NM} nm: it is not in "
                "a pocket, or it sits in another periodic image; start from a whole complex"
            )

    def choose_anchors(self, superpose_on: str) -> np.ndarray:
        """Residues whose CA atoms frames are laid on, int64: those of the "pocket" or "all".

        Raises:
            InputError: If ``superpose_on`` is neither, or the pocket has fewer than ``MIN_POCKET`` residues.
        """
        if superpose_on not in SUPERPOSITIONS:
            raise InputError(f"superposition on {superpose_on!r}: choose {' or '.join(SUPERPOSITIONS)}")
        if superpose_on == "all":
            return np.arange(len(self.ca))
        if len(self.pocket) < MIN_POCKET:
            raise InputError(
                f"the pocket has {len(self.pocket)} residues, too few to superpose on: choose all CA atoms"
            )
        return self.pocket


def build_site(
    topology: Any, positions: np.ndarray, *, ligand: str | None = None, graph: Ligand | None = None
) -> BindingSite:
    """The site of a structure.

    Args:
        topology: mdtraj's, of protein and ligand.
        positions: [nm], (n_atoms, 3); molecules whole.
        ligand: Residue name; may be None if only one residue can be the ligand.
        graph: The ligand with its bond orders and reference geometry, atoms in the topology's order; from the
            topology and pose where None.

    Raises:
        InputError: If there is no ligand or no protein around it.
        TopologyMismatchError: If ``graph`` is another molecule.
    """
    residue = select_ligand(topology, ligand)
    found = build_ligand(topology, residue, positions)
    if graph is not None:
        if not np.array_equal(graph.atomic_numbers, found.atomic_numbers):
            raise TopologyMismatchError(f"ligand {found.name}: elements or their order differ from those of the SDF")
        found = replace(
            found,
            bonds=graph.bonds,
            bond_orders=graph.bond_orders,
            geometry=graph.geometry,
            n_hydrogens=graph.n_hydrogens,
        )
    residues = list_residues(topology, residue)
    if not residues:
        raise InputError("no protein: no residue has a CA atom; give a trajectory of the complex")
    site = assemble_site(found, residue, residues, positions)
    site.require_pocket()
    return site


def assemble_site(ligand: Ligand, residue: Any, residues: Sequence[Any], positions: np.ndarray) -> BindingSite:
    """The site of a ligand among amino acids, which may be far from it.

    Args:
        ligand: With its pose.
        residue: Its residue, of an OpenMM or mdtraj topology.
        residues: Amino acids of the same topology.
        positions: Of all its atoms [nm], (n_atoms, 3).
    """
    owners, atoms = [], []
    for k, r in enumerate(residues):
        heavy = [a.index for a in list_atoms(r) if a.element is not None and a.element.atomic_number > 1]
        owners += [k] * len(heavy)
        atoms += heavy
    near = cKDTree(ligand.positions).query(positions[atoms])[0] < POCKET_CUTOFF_NM
    ca = [get_ca(r) for r in residues]
    return BindingSite(
        ligand=ligand,
        sequence=read_sequence(residues),
        keys=tuple(get_place(r) for r in residues),
        labels=_label_residues(residues),
        ca=np.asarray(positions, dtype=np.float64)[ca],
        pocket=np.unique(np.array(owners, dtype=np.int64)[near]),
        key=get_place(residue),
    )


def list_residues(topology: Any, ligand: Any) -> list[Any]:
    """Amino acids of an OpenMM or mdtraj topology, the ligand apart."""
    residues = topology.residues
    return [r for r in (residues() if callable(residues) else residues) if r is not ligand and is_amino_acid(r)]


def get_ca(residue: Any) -> int:
    """Index of the CA atom of an amino acid."""
    return int(next(a.index for a in list_atoms(residue) if a.name == "CA"))


def get_place(residue: Any) -> ResidueKey:
    """Chain and number of a residue of an OpenMM or mdtraj topology; 0 where its number is none."""
    number = getattr(residue, "resSeq", None)
    if number is not None:
        return str(residue.chain.chain_id), int(number)
    digits = residue.id.strip()
    return str(residue.chain.id), int(digits) if digits.lstrip("-").isdigit() else 0


def read_sequence(residues: Sequence[Any]) -> str:
    """One letter for each residue, X for unknown ones."""
    return "".join(RESIDUE_LETTERS[get_residue_type(r.name)] for r in residues)


def _label_residues(residues: Sequence[Any]) -> tuple[str, ...]:
    places = [get_place(r) for r in residues]
    counts = Counter(number for _, number in places)
    labels = []
    for residue, (chain, number) in zip(residues, places, strict=True):
        named = chain if chain not in ("", "None") else residue.chain.index
        labels.append(f"{residue.name}{number}" + (f":{named}" if counts[number] > 1 else ""))
    return tuple(labels)
