"""What a residue is, whatever it is called: a truth table with near misses."""

import mdtraj
import pytest
from openmm.app import Element, Topology

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.residues import (
    AMINO_ACID,
    CAP,
    ION,
    MOLECULE,
    WATER,
    classify,
    classify_residue,
    get_residue_type,
    is_bulk,
    is_ligand_like,
    is_reserved_name,
    select_residue,
)

WATERS = "HOH WAT SOL H2O DOD TIP3 TIP3P TIP4P TIP5P TP3 TP4 TP5 T3P T4P OPC OPC3 SPC SPCE".split()
HEME = ["Fe", *["N"] * 4, *["C"] * 20]


@pytest.mark.parametrize(
    ("name", "names", "symbols", "expected"),
    [
        *[(name, "O H1 H2", "O H H", WATER) for name in (*WATERS, "XYZ", "LIG")],
        *[(name, "O", "O", WATER) for name in WATERS],  # crystals show no hydrogens
        ("UNL", "O", "O", MOLECULE),
        ("TP4", "O H1 H2 M", ["O", "H", "H", ""], WATER),
        ("T5P", "O H1 H2 L1 L2", ["O", "H", "H", "", ""], WATER),
        ("SW4", "OW DP HW1 HW2 MW", ["O", "", "H", "H", ""], WATER),  # polarisable, with a Drude particle
        ("SOL", "OW HW1 HW2 MW", ["", "", "", ""], WATER),  # elements unknown
        ("OH", "O H", "O H", MOLECULE),  # hydroxide
        ("HOH", "O H", "O H", MOLECULE),
        ("H3O", "O H1 H2 H3", "O H H H", MOLECULE),
        ("HOH", "O H1 H2 H3", "O H H H", MOLECULE),
        ("H2S", "S H1 H2", "S H H", MOLECULE),
        ("PEO", "O1 O2 H1 H2", "O O H H", MOLECULE),  # hydrogen peroxide
        ("SOL", "C O H1 H2 H3 H4", "C O H H H H", MOLECULE),  # methanol as a solvent
        *[(name, name[:2], [symbol], ION) for name, symbol in
          (("NA", "Na"), ("CL", "Cl"), ("XX", "Zn"), ("FE2", "Fe"), ("MN", "Mn"), ("CD", "Cd"), ("BR", "Br"))],
        ("NA", "NA", ["N"], ION),  # read as nitrogen, named as sodium
        ("CLA", "CLA", ["C"], ION),
        ("K+", "K", [""], ION),
        ("CLA", "MG C1 C2 N1", ["Mg", "C", "C", "N"], MOLECULE),  # chlorophyll A
        ("CAL", "C1 C2 O1", "C C O", MOLECULE),
        ("HEM", " ".join(f"A{k}" for k in range(25)), HEME, MOLECULE),
        ("XE", "XE", ["Xe"], MOLECULE),  # a noble gas in a cavity is no ion
        ("NH4", "N H1 H2 H3 H4", "N H H H H", MOLECULE),
        ("SO4", "S O1 O2 O3 O4", "S O O O O", MOLECULE),
        ("ALA", "N CA C O CB", "N C C O C", AMINO_ACID),
        ("HIE", "N CA C", "N C C", AMINO_ACID),
        ("NALA", "N CA C", "N C C", AMINO_ACID),
        ("UNK", "N CA C O", "N C C O", AMINO_ACID),
        ("SEP", "N CA C OT1 OT2 P", "N C C O O P", AMINO_ACID),
        ("SEP", "N CA C CB HA", "N C C C H", AMINO_ACID),  # a backbone alone
        ("LIG", "N CA C C4 C5", "N C C C C", MOLECULE),  # names that mean nothing
        ("LIG", "N CA C O1", ["C", "C", "C", "O"], MOLECULE),
        ("LIG", "N CA C O", ["N", "Ca", "C", "O"], MOLECULE),
        ("ALA", "CA", "C", MOLECULE),  # a trace of CA atoms has no backbone
        ("ACE", "C O CH3 H1", "C O C H", CAP),
        ("NME", "N H C", "N H C", CAP),
        ("NH2", "N HN1 HN2", "N H H", CAP),
        ("ACE", "C1 C2 C3 C4 O1", "C C C C O", MOLECULE),  # acetone, acenaphthene, whatever: no cap
        ("0WC", "C1 N1 O1 CL1", ["C", "N", "O", "Cl"], MOLECULE),
    ],
)  # fmt: skip
def test_composition_first_name_second(name: str, names: str, symbols: str | list[str], expected: str) -> None:
    symbols = symbols.split() if isinstance(symbols, str) else symbols
    assert classify(name, names.split(), symbols) == expected
    residue = build_mdtraj(name, names.split(), symbols)
    assert classify_residue(residue) == expected
    assert classify_residue(build_openmm(name, names.split(), symbols)) == expected
    assert not (is_ligand_like(residue) and expected != MOLECULE)


def build_openmm(name: str, names: list[str], symbols: list[str]) -> object:
    topology = Topology()
    residue = topology.addResidue(name, topology.addChain("A"))
    for atom, symbol in zip(names, symbols, strict=True):
        topology.addAtom(atom, Element.getBySymbol(symbol) if symbol else None, residue)
    return residue


def build_mdtraj(name: str, names: list[str], symbols: list[str]) -> object:
    topology = mdtraj.Topology()
    residue = topology.add_residue(name, topology.add_chain())
    for atom, symbol in zip(names, symbols, strict=True):
        element = mdtraj.element.get_by_symbol(symbol) if symbol else mdtraj.element.virtual
        topology.add_atom(atom, element, residue)
    return residue


def test_deuterium_is_hydrogen() -> None:
    assert classify_residue(build_mdtraj("DOD", ["O", "D1", "D2"], ["O", "D", "D"])) == WATER
    assert classify_residue(build_openmm("X", ["O", "D1", "D2"], ["O", "D", "D"])) == WATER


@pytest.mark.parametrize(
    ("name", "symbols", "expected"),
    [
        ("TP3", ["O", "H", "H"], True), ("SOD", ["Na"], True), ("CL", ["Cl"], True), ("POT", ["K"], True),
        ("NA", ["N"], True), ("ZN", ["Zn"], False), ("MG", ["Mg"], False), ("CA", ["Ca"], False), ("BR", ["Br"], False),
        ("LIG", ["C", "O"], False), ("SO4", ["S", "O", "O", "O", "O"], False),
    ],
)  # fmt: skip
def test_what_boxes_are_filled_with(name: str, symbols: list[str], expected: bool) -> None:
    residue = build_openmm(name, [f"A{k}" for k in range(len(symbols))], symbols)
    assert is_bulk(residue) is expected


def test_a_ligand_may_have_the_name_of_an_ion() -> None:
    """Chlorophyll A is CLA, as chloride is in CHARMM."""
    topology = Topology()
    chain = topology.addChain("A")
    ligand = topology.addResidue("CLA", chain)
    for k in range(4):
        topology.addAtom(f"C{k}", Element.getBySymbol("C"), ligand)
    assert select_residue(topology, "CLA") is ligand
    water = topology.addResidue("SOL", chain)
    topology.addAtom("O", Element.getBySymbol("O"), water)
    with pytest.raises(InputError, match="name of an amino acid, cap, water or ion"):
        select_residue(topology, "SOL")


@pytest.mark.parametrize("name", [*WATERS, "ala", "HSD", "CGLY", "ACE", "NA", "POT", "Cl-"])
def test_reserved_names(name: str) -> None:
    assert is_reserved_name(name)


def test_types_of_residues() -> None:
    assert [get_residue_type(name) for name in ("ALA", "hie", "NVAL", "MSE", "SEP")] == [0, 8, 19, 12, 20]
