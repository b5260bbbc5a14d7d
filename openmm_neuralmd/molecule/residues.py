"""What a residue is: amino acid, cap, water, ion or another molecule; by its composition first, by its name second.

Programs call the same thing by many names (water is HOH, SOL, WAT, TIP3, T3P, OPC, DOD, ...), and some names stand for
two things (CLA is chloride in CHARMM and chlorophyll in the PDB). Elements do not lie, so they decide; a name decides
only where elements leave it open: a water's oxygen alone, an ion whose element a reader took for another one.

All functions take plain names and element symbols, or residues of OpenMM's or mdtraj's topologies alike.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from openmm_neuralmd.errors import InputError

RESIDUE_TYPES = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split()
UNKNOWN_RESIDUE = len(RESIDUE_TYPES)
N_RESIDUE_TYPES = len(RESIDUE_TYPES) + 1
RESIDUE_LETTERS = "ARNDCQEGHILKMFPSTWYVX"
"""One for each of ``RESIDUE_TYPES``, and X for any other."""
AMINO_ACID, CAP, WATER, ION, MOLECULE = "amino acid", "cap", "water", "ion", "molecule"
"""What ``classify`` tells."""

_PARENT_RESIDUE = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG", "TYM": "TYR", "MSE": "MET",
    "HISA": "HIS", "HISB": "HIS", "HISD": "HIS", "HISE": "HIS", "HISH": "HIS", "HIS1": "HIS", "HIS2": "HIS",
    "CYSH": "CYS", "CYS1": "CYS", "CYS2": "CYS", "ASPH": "ASP", "ASPP": "ASP", "GLUH": "GLU", "GLUP": "GLU",
    "LYSH": "LYS", "LSN": "LYS",
}  # fmt: skip
_WATER_NAMES = frozenset(
    "HOH DOD H2O D2O WAT SOL TIP TIP2 TIP3 TIP4 TIP5 TIP7 TIP3P TIP4P TIP5P TP3 TP4 TP5 TPF T2P T3P T4P T5P T4E OPC "
    "OPC3 OP3 SPC SPCE SPE FB3 FB4 W4".split()
)
"""In the PDB, GROMACS, Amber, CHARMM, Desmond and OpenMM."""
ION_ELEMENTS = {
    "LI": "Li", "LIT": "Li", "LI+": "Li", "NA": "Na", "SOD": "Na", "NA+": "Na", "K": "K", "POT": "K", "K+": "K",
    "RB": "Rb", "RUB": "Rb", "RB+": "Rb", "CS": "Cs", "CES": "Cs", "CS+": "Cs", "MG": "Mg", "MG2": "Mg", "MG+2": "Mg",
    "CA": "Ca", "CAL": "Ca", "CA2": "Ca", "CA+2": "Ca", "ZN": "Zn", "ZN2": "Zn", "ZIN": "Zn", "ZN+2": "Zn",
    "F": "F", "F-": "F", "CL": "Cl", "CLA": "Cl", "CL-": "Cl", "BR": "Br", "BR-": "Br", "IOD": "I", "I-": "I",
}  # fmt: skip
"""The element behind the name of an ion in Amber, CHARMM, GROMACS and the PDB; others are recognised by element."""
BULK_IONS = ("Na", "Cl", "K")
_CAPS = frozenset(("ACE", "NME", "NMA", "NH2"))
_HALIDES = frozenset("F Cl Br I".split())
NONMETALS = frozenset("H B C N O F Si P S Cl As Se Br Te I".split())
_NOBLE = frozenset("He Ne Ar Kr Xe Rn".split())
_BACKBONE = {"N": "N", "CA": "C", "C": "C"}
_MAX_CAP_ATOMS = 3  # heavy ones: C, O and CH3 of ACE


def list_symbols(atoms: Iterable[Any]) -> list[str]:
    """Element symbol of each atom of an OpenMM or mdtraj topology; "" for a virtual site, H for deuterium."""
    symbols = ["" if a.element is None or not a.element.atomic_number else a.element.symbol for a in atoms]
    return ["H" if symbol == "D" else symbol for symbol in symbols]


def list_atoms(residue: Any) -> list[Any]:
    """Atoms of a residue of an OpenMM topology, whose ``atoms`` is a method, or of mdtraj's, whose is a property."""
    atoms = residue.atoms
    return list(atoms() if callable(atoms) else atoms)


def classify_residue(residue: Any) -> str:
    """``classify`` of a residue of an OpenMM or mdtraj topology."""
    atoms = list_atoms(residue)
    return classify(residue.name, [a.name for a in atoms], list_symbols(atoms))


def classify(name: str, atom_names: Sequence[str], symbols: Sequence[str]) -> str:
    """``AMINO_ACID``, ``CAP``, ``WATER``, ``ION`` or ``MOLECULE``.

    Args:
        name: Of the residue.
        atom_names, symbols: Of its atoms; "" is the symbol of a virtual site or of an atom of unknown element.
    """
    if has_backbone(name, atom_names, symbols):
        return AMINO_ACID
    if is_water(name, symbols):
        return WATER
    if is_ion(name, symbols):
        return ION
    n_heavy = sum(symbol not in ("", "H") for symbol in symbols)
    return CAP if name.upper() in _CAPS and n_heavy <= _MAX_CAP_ATOMS else MOLECULE


def is_water(name: str, symbols: Sequence[str]) -> bool:
    """One oxygen with two hydrogens and any number of virtual sites, or what is left of it under a water's name.

    Without hydrogens, as in crystals, or without elements the name decides; hydroxide and hydronium are no water.
    """
    real = sorted(symbol for symbol in symbols if symbol)
    return real == ["H", "H", "O"] or (real in (["O"], []) and name.upper() in _WATER_NAMES)


def is_ion(name: str, symbols: Sequence[str]) -> bool:
    """One atom of a metal or a halogen, or any single atom under an ion's name; virtual sites are not counted."""
    real = [symbol for symbol in symbols if symbol]
    if len(real) > 1 or (not real and len(symbols) > 1):
        return False
    is_named = name.upper() in ION_ELEMENTS
    return is_named or any(s in _HALIDES or s not in NONMETALS | _NOBLE for s in real)


def has_backbone(name: str, atom_names: Sequence[str], symbols: Sequence[str]) -> bool:
    """N, CA and C of these elements, with an oxygen whose name begins so too, or nothing but CB beside them.

    Files of backbones may leave the oxygen out; a residue with the name of an amino acid needs none in any case.
    """
    atoms = dict(zip(atom_names, symbols, strict=True))
    if any(atoms.get(atom) not in (symbol, "") for atom, symbol in _BACKBONE.items()):
        return False
    if is_amino_acid_name(name) or any(a.startswith("O") and s in ("O", "") for a, s in atoms.items()):
        return True
    return {a for a, s in atoms.items() if s != "H"} <= {*_BACKBONE, "CB"}


def is_amino_acid(residue: Any) -> bool:
    """Whether a residue of an OpenMM or mdtraj topology has the backbone that models and superpositions need."""
    return classify_residue(residue) == AMINO_ACID


def is_ligand_like(residue: Any) -> bool:
    """Whether a residue of an OpenMM or mdtraj topology could be a ligand: another molecule with two heavy atoms."""
    n_heavy = sum(symbol not in ("", "H") for symbol in list_symbols(list_atoms(residue)))
    return n_heavy > 1 and classify_residue(residue) == MOLECULE and not is_amino_acid_name(residue.name)


def is_solvent(residue: Any) -> bool:
    """Whether a residue of an OpenMM or mdtraj topology is water or an ion."""
    return classify_residue(residue) in (WATER, ION)


def is_bulk(residue: Any) -> bool:
    """Whether a residue is water or one of ``BULK_IONS``: what boxes are filled and neutralised with."""
    kind = classify_residue(residue)
    return kind == WATER or (kind == ION and _get_ion_element(residue) in BULK_IONS)


def _get_ion_element(residue: Any) -> str:
    """By its atom where that is a metal or a halogen, else by its name."""
    known = [s for s in list_symbols(list_atoms(residue)) if s in _HALIDES or (s and s not in NONMETALS | _NOBLE)]
    return known[0] if known else ION_ELEMENTS.get(residue.name.upper(), "")


def is_amino_acid_name(name: str) -> bool:
    """Whether a name is that of one of the twenty amino acids, in any protonation state or at a chain's end."""
    return get_parent_residue(name.upper()) in RESIDUE_TYPES


def is_reserved_name(name: str) -> bool:
    """Whether a residue name is that of an amino acid, a cap, water or an ion.

    What such a residue is decides its composition; the name alone serves messages, and files without elements.
    """
    name = name.upper()
    return is_amino_acid_name(name) or name.upper() in _WATER_NAMES or name in ION_ELEMENTS or name in _CAPS


def describe_residue(residue: Any) -> str:
    """NAME:CHAIN:NUMBER of a residue of an OpenMM topology."""
    return f"{residue.name}:{residue.chain.id}:{residue.id}"


def select_residue(topology: Any, selection: str) -> Any:
    """The residue of an OpenMM topology that NAME, NAME:CHAIN or NAME:CHAIN:NUMBER names.

    Raises:
        InputError: If there is none or several; the message lists what could be the ligand.
    """
    name, *place = selection.split(":")
    if len(place) > 2:
        raise InputError(f"ligand {selection!r}: give NAME, NAME:CHAIN or NAME:CHAIN:NUMBER")
    residues = list(topology.residues())
    named = [r for r in residues if r.name == name]
    if is_reserved_name(name) and not any(is_ligand_like(r) for r in named):
        raise InputError(
            f"ligand {selection!r}: {name} is the name of an amino acid, cap, water or ion; rename the ligand's residue"
        )
    found = named
    for attribute, wanted in zip((lambda r: r.chain.id, lambda r: r.id), place, strict=False):
        found = [r for r in found if attribute(r) == wanted]
    if not found:
        candidates = [r for r in residues if not is_reserved_name(r.name) and not is_solvent(r)]
        listing = ", ".join(describe_residue(r) for r in candidates[:12]) or "no residue that could be a ligand"
        raise InputError(f"ligand {selection!r} not found; the structure holds {listing}")
    if len(found) > 1:
        names = [describe_residue(r) for r in found]
        remedy = "give each a chain or number of its own" if len(place) == 2 else "choose one as NAME:CHAIN:NUMBER"
        raise InputError(f"ligand {selection!r} found {len(found)} times ({', '.join(names[:12])}); {remedy}")
    return found[0]


def get_parent_residue(name: str) -> str:
    """The amino acid behind a protonation state (HIE: HIS) or Amber's chain end (NALA: ALA), or the name itself."""
    upper = name.upper()
    if len(upper) == 4 and upper[0] in "NC" and (upper[1:] in RESIDUE_TYPES or upper[1:] in _PARENT_RESIDUE):
        upper = upper[1:]
    return upper if upper in RESIDUE_TYPES else _PARENT_RESIDUE.get(upper, name)


def get_residue_type(name: str) -> int:
    """Index into ``RESIDUE_TYPES`` of an amino acid in any protonation state; ``UNKNOWN_RESIDUE`` for another name."""
    parent = get_parent_residue(name).upper()
    return RESIDUE_TYPES.index(parent) if parent in RESIDUE_TYPES else UNKNOWN_RESIDUE
