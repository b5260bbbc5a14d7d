"""Reading PDB and mmCIF files: the first model, one location for each atom, chains and their sequences."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.molecule.residues import get_parent_residue, is_water

_PEPTIDES = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
_NUCLEIC = (gemmi.PolymerType.Dna, gemmi.PolymerType.Rna, gemmi.PolymerType.DnaRnaHybrid)


@dataclass(frozen=True)
class Atom:
    """Name, element symbol and position [A], (3,)."""

    name: str
    element: str
    position: np.ndarray


@dataclass(eq=False)
class Residue:
    """A residue, ion or molecule of a structure.

    Attributes:
        name: Residue name; names of protonation states are those of their parents.
        chain, number, insertion_code: Where it stands, as its authors number.
        atoms: Heavy atoms.
        hydrogens: Names of the hydrogens that the file had.
        input_name: Name in the file.
        sequence_number: Place in the chain's full sequence from 1; None where that is unknown.
        is_water: By composition first, see ``molecule.residues``.
    """

    name: str
    chain: str
    number: int
    insertion_code: str
    atoms: list[Atom]
    hydrogens: list[str]
    input_name: str
    sequence_number: int | None
    is_water: bool

    def __str__(self) -> str:
        return f"{self.name}:{self.chain}:{self.number}{self.insertion_code}"

    @property
    def positions(self) -> np.ndarray:
        """Of the heavy atoms [A], (n_atoms, 3)."""
        return np.array([a.position for a in self.atoms]).reshape(-1, 3)

    def get_position(self, name: str) -> np.ndarray | None:
        return next((a.position for a in self.atoms if a.name == name), None)


@dataclass(eq=False)
class Polymer:
    """A chain of a protein or nucleic acid; ``sequence`` is the full one where the file has it, else empty."""

    chain: str
    residues: list[Residue]
    sequence: list[str]
    is_peptide: bool


Link = tuple[tuple[str, str], tuple[str, str]]


@dataclass
class Structure:
    """A file's content; ``links`` and ``conects`` are the bonds between residues that its records name.

    Each is a pair of residue labels and atom names, of LINK records and of CONECT records; ``record`` says what reading
    decided: the model and the alternate locations.
    """

    polymers: list[Polymer]
    others: list[Residue]
    links: list[Link]
    conects: list[Link]
    record: dict[str, Any] = field(default_factory=dict)


def read_structure(path: str | Path) -> Structure:
    """The first model of a PDB or mmCIF file, with the location of highest occupancy in each residue.

    Raises:
        InputError: If the file is missing, empty, cut short or no structure, or a coordinate is no number.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}; give a PDB or mmCIF file, or an entry's name (`pdb_id`)")
    try:
        source = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError, IndexError) as error:  # gemmi's; the last of an empty mmCIF file
        reason = "empty" if isinstance(error, IndexError) else describe_error(error).rstrip(":. ")
        raise InputError(
            f"{path}: cannot be read as PDB or mmCIF ({reason}); give a whole file, neither cut short nor edited"
        ) from error
    if len(source) == 0 or source[0].count_atom_sites() == 0:
        raise InputError(f"{path}: empty or truncated, it holds no atoms; give a whole PDB or mmCIF file")
    _check_coordinates(source[0], path)
    input_names = {}
    for chain in source[0]:
        for deposited in chain:
            input_names[chain.name, str(deposited.seqid)] = deposited.name
            if deposited.name != "MSE":  # PDBFixer replaces its selenium
                deposited.name = get_parent_residue(deposited.name)
    source.setup_entities()
    source.assign_label_seq_id(True)
    structure = Structure(
        [], [], _list_links(source), _list_conects(source), {"models_in_file": len(source), "model_used": source[0].num}
    )
    choices: list[str] = []
    for chain in source[0]:
        polymer = chain.get_polymer()
        kind = polymer.check_polymer_type()
        is_polymer = kind in _PEPTIDES or kind in _NUCLEIC
        members = {(str(r.seqid), r.name) for r in polymer} if is_polymer else set()
        inside: list[Residue] = []
        for place, group in groupby(chain, key=lambda r: str(r.seqid)):
            residue, belongs = _choose_residue(list(group), members, chain.name, choices)
            residue.input_name = input_names.get((chain.name, place), residue.name)
            (inside if belongs else structure.others).append(residue)
        if inside:
            entity = source.get_entity_of(polymer)
            sequence = [gemmi.Entity.first_mon(name) for name in entity.full_sequence] if entity else []
            structure.polymers.append(Polymer(chain.name, inside, sequence, kind in _PEPTIDES))
    structure.record["alternate_locations"] = choices
    return structure


def compute_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Smallest distance between two sets of points, (n, 3) and (m, 3); infinite if one is empty."""
    if not len(first) or not len(second):
        return float("inf")
    return float(np.linalg.norm(first[:, None] - second[None], axis=-1).min())


def _choose_residue(
    group: list[gemmi.Residue], members: set[tuple[str, str]], chain: str, choices: list[str]
) -> tuple[Residue, bool]:
    """The residue of highest occupancy at one place, with one location; choices are noted."""
    best = max(group, key=_compute_occupancy(group))
    labels = sorted({a.altloc for a in best if a.altloc != "\0"})
    means = {label: float(np.mean([a.occ for a in best if a.altloc == label])) for label in labels}
    chosen = max(labels, key=lambda label: means[label]) if labels else "\0"
    atoms = [a for a in best if a.altloc in ("\0", chosen)]
    residue = Residue(
        name=best.name,
        chain=chain,
        number=best.seqid.num or 0,
        insertion_code=best.seqid.icode.strip(),
        atoms=[Atom(a.name, a.element.name, np.array(a.pos.tolist())) for a in atoms if not a.is_hydrogen()],
        hydrogens=[a.name for a in atoms if a.is_hydrogen()],
        input_name=best.name,
        sequence_number=best.label_seq,
        is_water=is_water(best.name, ["H" if a.is_hydrogen() else a.element.name for a in atoms]),
    )
    if len(group) > 1:
        choices.append(f"{residue} over {', '.join(r.name for r in group if r is not best)}")
    if len(labels) > 1:
        choices.append(f"{residue} location {chosen} ({', '.join(f'{k} {v:.2f}' for k, v in means.items())})")
    return residue, (str(best.seqid), best.name) in members


def _compute_occupancy(group: list[gemmi.Residue]) -> Callable[[gemmi.Residue], float]:
    return (lambda r: float(np.mean([a.occ for a in r]))) if len(group) > 1 else (lambda _: 1.0)


def _check_coordinates(model: gemmi.Model, path: Path) -> None:
    for site in model.all():
        if not np.isfinite(site.atom.pos.tolist()).all():
            place = f"{site.residue.name}:{site.chain.name}:{site.residue.seqid}"
            raise InputError(f"{path}: atom {site.atom.name} of {place} has no coordinates; mend the file")


def _list_conects(source: gemmi.Structure) -> list[Link]:
    """Residue label and atom name at both ends of each CONECT record between residues."""
    place = {
        site.atom.serial: (f"{site.residue.name}:{site.chain.name}:{site.residue.seqid}", site.atom.name)
        for site in source[0].all()
    }
    pairs = {tuple(sorted((a, b))) for a, others in source.conect_map.items() for b in others}
    links = [(place[a], place[b]) for a, b in sorted(pairs) if a in place and b in place]
    return [(one, other) for one, other in links if one[0] != other[0]]


def _list_links(source: gemmi.Structure) -> list[Link]:
    """Residue label and atom name at both ends of each covalent LINK."""
    covalent = [c for c in source.connections if c.type == gemmi.ConnectionType.Covale]
    return [(_describe_partner(c.partner1), _describe_partner(c.partner2)) for c in covalent]


def _describe_partner(partner: gemmi.AtomAddress) -> tuple[str, str]:
    return f"{partner.res_id.name}:{partner.chain_name}:{partner.res_id.seqid}", partner.atom_name
