"""A complete protein from a deposited one: gaps built or capped, missing atoms and hydrogens added.

PDBFixer and OpenMM's Modeller do the work, always on a named platform. The ligand and the other molecules stand by, so
that nothing is built into them.
"""

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from openmm import Platform, unit
from openmm.app import Modeller, Topology
from pdbfixer import PDBFixer

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.preparation.structure import Atom, Polymer, Residue, compute_distance

_PEPTIDE_BOND_A = 2.0  # C-N farther apart than this are not bonded (0.13 nm is the bond)
_HYDROGEN_LENGTHS_NM = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.1336}  # of the Amber force fields
_BACKBONE = ("N", "CA", "C", "O", "OXT")
_SEED = 1  # of the random directions in which PDBFixer and Modeller start to place atoms
CAPS = ("ACE", "NME")
_VARIANTS = {
    "HIS": ({"HD1", "HE2"}, {frozenset(("HD1", "HE2")): "HIP", frozenset(("HD1",)): "HID", frozenset(("HE2",)): "HIE"}),
    "ASP": ({"HD2"}, {frozenset(("HD2",)): "ASH", frozenset(): "ASP"}),
    "GLU": ({"HE2"}, {frozenset(("HE2",)): "GLH", frozenset(): "GLU"}),
    "LYS": ({"HZ1", "HZ2", "HZ3"}, {frozenset(("HZ1", "HZ2", "HZ3")): "LYS", frozenset(("HZ2", "HZ3")): "LYN"}),
}  # residue: hydrogens that tell its states apart, and the state of each set
_INPUT_VARIANTS = frozenset("HID HIE HIP ASH GLH LYN CYX".split())
_CHARMM_VARIANTS = {"HSD": "HID", "HSE": "HIE", "HSP": "HIP"}


@dataclass
class Segment:
    """A stretch of chain without open gaps.

    Attributes:
        residues: As deposited.
        insertions: Residue names to build, by the place in ``residues`` before which they go.
        cap_start, cap_end: Whether residues are missing there.
    """

    residues: list[Residue] = field(default_factory=list)
    insertions: dict[int, list[str]] = field(default_factory=dict)
    cap_start: bool = False
    cap_end: bool = False


@dataclass
class CompletedProtein:
    """Heavy atoms complete; positions [nm], (n_atoms, 3)."""

    topology: Topology
    positions: np.ndarray
    variants: list[str | None]
    record: dict[str, Any]
    warnings: list[str]


def find_segments(polymer: Polymer, *, max_gap: int) -> tuple[list[Segment], dict[str, list[str]]]:
    """Cut a chain at its gaps, except those of at most ``max_gap`` residues whose sequence is known.

    Returns:
        Segments, and a record of the built and the capped gaps and of ends that lack residues, which are capped too.
    """
    record: dict[str, list[str]] = {"gaps_built": [], "gaps_capped": [], "ends_capped": []}
    segments = [Segment()]
    previous: Residue | None = None
    for residue in polymer.residues:
        if previous is not None and polymer.is_peptide:
            missing = _find_missing(polymer, previous, residue)
            between = f"{polymer.chain}: between {previous.number} and {residue.number}"
            if missing and len(missing) <= max_gap:
                segments[-1].insertions[len(segments[-1].residues)] = missing
                record["gaps_built"].append(f"{between}: {' '.join(missing)}")
            elif missing or not _is_bonded(previous, residue):
                size = f"{len(missing)} residues" if missing else "a break of the chain"
                record["gaps_capped"].append(f"{between}: {size}")
                segments[-1].cap_end = True
                segments.append(Segment(cap_start=True))
        segments[-1].residues.append(residue)
        previous = residue
    first, last = polymer.residues[0].sequence_number, polymer.residues[-1].sequence_number
    if polymer.is_peptide and polymer.sequence and first is not None and last is not None:
        segments[0].cap_start, segments[-1].cap_end = first > 1, last < len(polymer.sequence)
        if first > 1:
            record["ends_capped"].append(f"{polymer.chain}: {first - 1} residues before {polymer.residues[0].number}")
        if last < len(polymer.sequence):
            n_missing = len(polymer.sequence) - last
            record["ends_capped"].append(f"{polymer.chain}: {n_missing} residues after {polymer.residues[-1].number}")
    return segments, record


def complete_protein(
    polymers: Sequence[Polymer], others: Sequence[Residue], *, max_gap: int, platform: Platform
) -> CompletedProtein:
    """Replace nonstandard residues, build short gaps and missing atoms, cap long gaps; no hydrogens yet.

    Args:
        polymers: Chains to complete.
        others: Residues that must not be built into.
        max_gap: Longest gap to build [residues].
        platform: For PDBFixer's minimisation.

    Raises:
        InputError: If a chain is a CA trace.
    """
    record: dict[str, Any] = {"gaps_built": [], "gaps_capped": [], "ends_capped": []}
    segments: list[Segment] = []
    for polymer in polymers:
        _check_backbone(polymer)
        found, notes = find_segments(polymer, max_gap=max_gap)
        segments += found
        for key, lines in notes.items():
            record[key] += lines
    text = format_pdb([s.residues for s in segments] + [[r] for r in others])
    fixer = PDBFixer(pdbfile=io.StringIO(text), platform=platform)
    inside = {r.index for c in list(fixer.topology.chains())[: len(segments)] for r in c.residues()}
    fixer.findNonstandardResidues()
    fixer.nonstandardResidues = [(r, name) for r, name in fixer.nonstandardResidues if r.index in inside]
    record["residues_replaced"] = [f"{_describe(r)} by {name}" for r, name in fixer.nonstandardResidues]
    fixer.replaceNonstandardResidues()
    unknown = [
        _describe(r)
        for c in list(fixer.topology.chains())[: len(segments)]
        for r in c.residues()
        if r.name not in fixer.templates
    ]
    record["residues_unknown"] = unknown
    fixer.missingResidues = {
        (k, place): names for k, segment in enumerate(segments) for place, names in _list_insertions(segment).items()
    }
    fixer.findMissingAtoms()
    record["atoms_built"] = [
        f"{_describe(residue)}: {' '.join(a.name for a in atoms)}"
        for residue, atoms in sorted(fixer.missingAtoms.items(), key=lambda item: item[0].index)
    ]
    fixer.addMissingAtoms(seed=_SEED)
    _rebuild_mirrored(
        fixer, len(segments), {(r.chain, f"{r.number}{r.insertion_code}") for p in polymers for r in p.residues}
    )
    modeller = Modeller(fixer.topology, fixer.positions)
    modeller.delete([c for k, c in enumerate(fixer.topology.chains()) if k >= len(segments)])
    warnings = [
        f"{name} is no residue that PDBFixer knows: kept without added hydrogens, of unknown type to the model"
        for name in unknown
    ]
    variants = _choose_variants(modeller.topology, [s.residues for s in segments])
    return CompletedProtein(
        modeller.topology,
        np.array(modeller.positions.value_in_unit(unit.nanometer)),
        variants,
        record,
        warnings,
    )


def add_hydrogens(
    topology: Topology, positions: np.ndarray, variants: list[str | None], *, ph: float, platform: Platform
) -> tuple[Topology, np.ndarray, dict[str, str]]:
    """Add hydrogens to the residues that Modeller knows; other atoms stay where they are.

    Args:
        topology: Complete heavy atoms.
        positions: [nm], (n_atoms, 3).
        variants: Protonation state of each residue, None to choose by ``ph`` and hydrogen bonds.
        ph: Of the standard pKa rules.
        platform: For the minimisation of the hydrogens.

    Returns:
        Topology, positions [nm], and the states: of histidines, of cysteines, given ones, and others than the usual.
    """
    modeller = Modeller(topology, positions * unit.nanometer)
    residues = list(topology.residues())
    with _seeded():
        chosen = modeller.addHydrogens(pH=ph, variants=variants, platform=platform)
    states = {
        _describe(residue): str(state)
        for residue, given, state in zip(residues, variants, chosen, strict=True)
        if state is not None and (given is not None or residue.name in ("HIS", "CYS"))
    }
    for residue in modeller.topology.residues():  # Modeller names no state that the pH alone decides
        if residue.name in _VARIANTS:
            telling, named = _VARIANTS[residue.name]
            found = named.get(frozenset(telling & {a.name for a in residue.atoms()}))
            if found is not None and found != residue.name:
                states.setdefault(_describe(residue), found)
    xyz = np.array(modeller.positions.value_in_unit(unit.nanometer))
    _set_bond_lengths(modeller.topology, xyz, topology)
    return modeller.topology, xyz, states


def format_pdb(chains: Sequence[Sequence[Residue]]) -> str:
    """PDB text of chains of residues, each ended by TER."""
    lines, serial = [], 0
    for chain in chains:
        for residue in chain:
            for atom in residue.atoms:
                serial += 1
                lines.append(_format_atom(serial, residue, atom))
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def _format_atom(serial: int, residue: Residue, atom: Atom) -> str:
    name = f" {atom.name:<3}" if len(atom.element) == 1 and len(atom.name) < 4 else f"{atom.name:<4}"
    x, y, z = atom.position
    return (
        f"ATOM  {serial % 100000:5d} {name} {residue.name[:3]:>3} {residue.chain[:1]}{residue.number:4d}"
        f"{residue.insertion_code or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {atom.element:>2}"
    )


def _rebuild_mirrored(fixer: PDBFixer, n_chains: int, deposited: set[tuple[str, str]]) -> None:
    """Build the side chains of mirror-image residues anew: PDBFixer's minimisation of whole residues makes some."""
    xyz = np.array(fixer.positions.value_in_unit(unit.nanometer))
    mirrored = []
    for chain in list(fixer.topology.chains())[:n_chains]:
        for residue in chain.residues():
            if (chain.id, f"{residue.id}{residue.insertionCode.strip()}") not in deposited and is_mirrored(
                residue, xyz
            ):
                mirrored.append(residue)
    if mirrored:
        modeller = Modeller(fixer.topology, fixer.positions)
        modeller.delete([a for r in mirrored for a in r.atoms() if a.name not in _BACKBONE])
        fixer.topology, fixer.positions = modeller.topology, modeller.positions
        fixer.missingResidues = {}
        fixer.findMissingAtoms()
        fixer.addMissingAtoms(seed=_SEED)


def is_mirrored(residue: Any, positions: np.ndarray) -> bool:
    """Whether an amino acid is the mirror image (D) of the natural one; positions [nm] of the whole topology."""
    place = {a.name: positions[a.index] for a in residue.atoms()}
    if not {"N", "CA", "C", "CB"} <= place.keys():
        return False
    n, c, cb = (place[name] - place["CA"] for name in ("N", "C", "CB"))
    return float(np.cross(n, c) @ cb) < 0.0


def _check_backbone(polymer: Polymer) -> None:
    bare = [r for r in polymer.residues if len(r.atoms) < 3]
    if polymer.is_peptide and len(bare) > len(polymer.residues) / 2:
        raise InputError(
            f"chain {polymer.chain}: {len(bare)} of {len(polymer.residues)} residues have fewer than 3 atoms (a CA "
            "trace?); give a structure with all backbone atoms"
        )


def _find_missing(polymer: Polymer, previous: Residue, residue: Residue) -> list[str]:
    """Names of the residues between two neighbours, from the sequence; empty if none or unknown."""
    first, last = previous.sequence_number, residue.sequence_number
    if not polymer.sequence or first is None or last is None:
        return []
    return polymer.sequence[first : last - 1]


def _is_bonded(previous: Residue, residue: Residue) -> bool:
    c, n = previous.get_position("C"), residue.get_position("N")
    if c is None or n is None:  # the backbone itself is incomplete: PDBFixer builds it
        return compute_distance(previous.positions, residue.positions) < _PEPTIDE_BOND_A
    return float(np.linalg.norm(c - n)) < _PEPTIDE_BOND_A


def _list_insertions(segment: Segment) -> dict[int, list[str]]:
    insertions = dict(segment.insertions)
    if segment.cap_start:
        insertions[0] = [CAPS[0]]
    if segment.cap_end:
        insertions[len(segment.residues)] = [CAPS[1]]
    return insertions


def _choose_variants(topology: Topology, chains: Sequence[Sequence[Residue]]) -> list[str | None]:
    """Protonation states that the input's residue names or hydrogens tell; None elsewhere."""
    states = {}
    for chain in chains:
        for residue in chain:
            state = _read_variant(residue)
            if state is not None:
                states[residue.chain, f"{residue.number}{residue.insertion_code}"] = state
    variants: list[str | None] = []
    for residue in topology.residues():
        place = (residue.chain.id, f"{residue.id}{residue.insertionCode.strip()}")
        variants.append(states.get(place) if residue.name not in CAPS else None)  # a cap may share a number
    return variants


def _read_variant(residue: Residue) -> str | None:
    name = _CHARMM_VARIANTS.get(residue.input_name, residue.input_name)
    if name in _INPUT_VARIANTS:
        return None if name == "CYX" else name  # disulfides are found by their geometry
    if residue.hydrogens and residue.name in _VARIANTS:
        telling, states = _VARIANTS[residue.name]
        return states.get(frozenset(telling & set(residue.hydrogens)))
    return None


def _set_bond_lengths(topology: Topology, positions: np.ndarray, before: Topology) -> None:
    """Bring added hydrogens to the usual distance along their bond: Modeller's repulsion leaves them 0.01 nm off."""
    had = {(a.residue.index, a.name) for a in before.atoms()}
    for bond in topology.bonds():
        for parent, atom in (bond, bond[::-1]):
            length = _HYDROGEN_LENGTHS_NM.get(parent.element.symbol)
            if atom.element.symbol == "H" and length and (atom.residue.index, atom.name) not in had:
                direction = positions[atom.index] - positions[parent.index]
                positions[atom.index] = positions[parent.index] + length * direction / np.linalg.norm(direction)


def _describe(residue: Any) -> str:
    return f"{residue.name}:{residue.chain.id}:{residue.id}{residue.insertionCode.strip()}"


@contextmanager
def _seeded() -> Iterator[None]:
    """Modeller draws from Python's global generator: fix it, and give its state back."""
    state = random.getstate()
    random.seed(_SEED)
    try:
        yield
    finally:
        random.setstate(state)
