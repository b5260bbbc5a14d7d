"""Which residue is the ligand, and topologies in which that is not plain."""

import gzip
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from openmm import unit
from openmm.app import Element, PDBFile, Topology
from rdkit import Chem
from rdkit.Chem import AllChem

from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.complex import Complex, load_complex
from openmm_neuralmd.molecule.residues import get_parent_residue
from tests.helpers import make_topology

SMILES = "CC(=O)N"


@pytest.fixture
def two_copies() -> tuple[Topology, np.ndarray]:
    """Two ligands in one chain, as crystal structures number them."""
    topology, positions = make_topology(SMILES, n_copies=2)
    for number, residue in zip(("901", "902"), list(topology.residues())[-2:], strict=True):
        residue.id, residue.chain.id = number, "A"
    return topology, positions


@pytest.mark.parametrize(("number", "copy"), [("901", 0), ("902", 1)])
def test_chosen_by_residue_number(number: str, copy: int, two_copies: tuple[Topology, np.ndarray]) -> None:
    topology, positions = two_copies
    ligand = Complex.from_topology(topology, positions, f"LIG:A:{number}").ligand
    own = [a.index for a in list(topology.residues())[-2 + copy].atoms()]
    assert set(ligand.atom_indices) | set(ligand.hydrogen_indices) == set(own)
    np.testing.assert_array_equal(ligand.positions, positions[ligand.atom_indices])


@pytest.mark.parametrize("selection", ["LIG", "LIG:A"])
def test_two_copies_ask_for_a_choice(selection: str, two_copies: tuple[Topology, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"found 2 times \(LIG:A:901, LIG:A:902\); choose one as NAME:CHAIN:NUMBER"):
        Complex.from_topology(*two_copies, selection)


def test_absent_ligand_lists_what_is_there(two_copies: tuple[Topology, np.ndarray]) -> None:
    with pytest.raises(InputError, match="'LIG:A:903' not found; the structure holds LIG:A:901, LIG:A:902"):
        Complex.from_topology(*two_copies, "LIG:A:903")


def test_amino_acids_are_no_ligands(two_copies: tuple[Topology, np.ndarray]) -> None:
    with pytest.raises(InputError, match="GLY is the name of an amino acid"):
        Complex.from_topology(*two_copies, "GLY")


def test_a_bond_that_is_named_twice_counts_once() -> None:
    topology, positions = make_topology("c1ccccc1")
    expected = Complex.from_topology(topology, positions, "LIG").ligand.bonds
    first = next(b for b in topology.bonds() if b[0].residue.name == "LIG")
    topology.addBond(first[1], first[0])
    assert np.array_equal(Complex.from_topology(topology, positions, "LIG").ligand.bonds, expected)


def test_ligand_without_bonds() -> None:
    """As a PDB file without CONECT records gives it."""
    topology, positions = make_topology(SMILES)
    topology._bonds.clear()
    with pytest.raises(InputError, match="bonds"):
        Complex.from_topology(topology, positions, "LIG")


class TestBondToTheProtein:
    def build(self, distance: float, box: float | None = None) -> Complex:
        """A bond record from the ligand's first atom to the first CA, ``distance`` [nm] away along x."""
        topology, positions = make_topology(SMILES)
        atoms = list(topology.atoms())
        ligand = next(a for a in atoms if a.residue.name == "LIG")
        topology.addBond(ligand, atoms[1])
        positions[ligand.index :] += positions[1] + [distance, 0.0, 0.0] - positions[ligand.index]
        if box:
            topology.setPeriodicBoxVectors(np.eye(3) * box * unit.nanometer)
        return Complex.from_topology(topology, positions, "LIG")

    @pytest.mark.parametrize(("distance", "box"), [(0.18, None), (0.18, 4.0), (3.82, 4.0)])
    def test_is_refused(self, distance: float, box: float | None) -> None:
        """Also across the box."""
        with pytest.raises(InputError, match=r"LIG:B:9 is bonded to GLY:A:1 \(C0-CA, 0.18 nm\): covalent ligands"):
            self.build(distance, box)

    def test_a_record_of_no_bond_is_said(self) -> None:
        assert self.build(0.8).notes == (
            "ligand LIG:B:9: its bond record with GLY:A:1 (C0-CA) was not followed: the atoms are 0.80 nm apart, which "
            "no bond is",
        )


@pytest.mark.parametrize(
    ("symbol", "is_refused"), [("Fe", True), ("Zn", True), ("Na", True), ("Se", False), ("B", False)]
)
def test_metals_in_the_ligand(symbol: str, is_refused: bool) -> None:
    topology, positions = make_topology(SMILES)
    next(a for a in topology.atoms() if a.name == "O2").element = Element.getBySymbol(symbol)
    if not is_refused:
        assert Complex.from_topology(topology, positions, "LIG").ligand.n_atoms == 4
        return
    with pytest.raises(
        InputError, match=rf"ligand LIG:B:9 holds metal atoms \(O2 {symbol}\): metals are not supported"
    ):
        Complex.from_topology(topology, positions, "LIG")


class TestPdbFiles:
    def write(self, path: Path, n_models: int = 1) -> Path:
        topology, positions = make_topology(SMILES)
        with (path / "x.pdb").open("w") as file:
            PDBFile.writeHeader(topology, file)
            for k in range(n_models):
                xyz = (positions + 0.1 * k) * unit.nanometer
                PDBFile.writeModel(topology, xyz, file, modelIndex=k + 1 if n_models > 1 else None)
            PDBFile.writeFooter(topology, file)
        return path / "x.pdb"

    def test_of_several_models_the_first_is_used_and_said(self, tmp_path: Path) -> None:
        one = load_complex(self.write(tmp_path), "LIG")
        several = load_complex(self.write(tmp_path, 3), "LIG")
        assert np.array_equal(one.positions, several.positions)
        assert one.notes == ()
        assert several.notes == ("x.pdb: model 1 of 3 used",)

    def test_gzipped(self, tmp_path: Path) -> None:
        path = self.write(tmp_path)
        packed = tmp_path / "packed.PDB.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert np.array_equal(load_complex(packed, "LIG").positions, load_complex(path, "LIG").positions)
        packed.write_bytes(packed.read_bytes()[:-20])
        with pytest.raises(InputError, match=r"packed.PDB.gz: cannot be read: Compressed file ended"):
            load_complex(packed, "LIG")

    @pytest.mark.parametrize(
        "content",
        [b"", b"END\n", b"\xff\xfe\x00", b"ATOM      1  N   GLY A   1     "],
    )
    @pytest.mark.parametrize("name", ["x.pdb", "x.cif"])
    def test_damaged(self, tmp_path: Path, content: bytes, name: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: .*(no atoms|no text|cut short)"):
            load_complex(tmp_path / name, "LIG")


def test_ligand_in_two_pieces() -> None:
    topology, positions = make_topology("CC.OC")
    with pytest.raises(InputError, match="join only 2 of 4 heavy atoms"):
        Complex.from_topology(topology, positions, "LIG")


def test_positions_of_another_structure() -> None:
    topology, positions = make_topology(SMILES)
    with pytest.raises(TopologyMismatchError, match="the topology has"):
        Complex.from_topology(topology, positions[:-1], "LIG")
    with pytest.raises(InputError, match="NaN or infinity"):
        Complex.from_topology(topology, np.where(positions > 0.5, np.nan, positions), "LIG")


def test_broken_chain_is_not_linked() -> None:
    """Glycines 0.57 nm apart, and a second chain: no peptide bond is assumed."""
    topology, positions = make_topology(SMILES)
    assert not Complex.from_topology(topology, positions, "LIG").protein.is_linked.any()


@pytest.mark.parametrize(
    ("name", "parent"),
    [("HIE", "HIS"), ("HISE", "HIS"), ("HISH", "HIS"), ("LYSH", "LYS"), ("CYS2", "CYS"), ("GLUP", "GLU"),
     ("NALA", "ALA"), ("CHIE", "HIS"), ("NLYS", "LYS"), ("LIG", "LIG"), ("NADP", "NADP"), ("CLIG", "CLIG")],
)  # fmt: skip
def test_names_of_force_fields(name: str, parent: str) -> None:
    """GROMACS', CHARMM's and Amber's names of protonation states and chain ends."""
    assert get_parent_residue(name) == parent


class TestSdfInAnotherOrder:
    """The file's atoms are laid over the structure's by the molecular graph."""

    SMILES = "CC(C)(C#N)c1ccc(O)nc1CCl"

    def write(self, path: Path, order: list[int] | None, smiles: str = SMILES) -> Path:
        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(molecule, randomSeed=7)
        AllChem.MMFFOptimizeMolecule(molecule)
        molecule = Chem.RemoveHs(molecule)
        Chem.MolToMolFile(Chem.RenumberAtoms(molecule, order) if order else molecule, str(path / "lig.sdf"))
        return path / "lig.sdf"

    def get_orders(self, complex_: Complex) -> dict[frozenset[int], float]:
        ligand = complex_.ligand
        assert ligand.bond_orders is not None
        return dict(zip(map(frozenset, ligand.bonds.tolist()), ligand.bond_orders, strict=True))

    def test_carbons_permuted(self, tmp_path: Path) -> None:
        """Elements in the same order, bonds between other atoms: nothing but the bonds can tell."""
        topology, positions = make_topology(self.SMILES)
        expected = Complex.from_topology(topology, positions, "LIG", sdf=self.write(tmp_path, None))
        n = expected.ligand.n_atoms
        numbers = expected.ligand.atomic_numbers.tolist()
        carbons = [k for k in range(n) if numbers[k] == 6]
        order = list(range(n))
        for k, other in zip(carbons, reversed(carbons), strict=True):
            order[k] = other
        for permutation in (order, list(reversed(range(n)))):
            found = Complex.from_topology(topology, positions, "LIG", sdf=self.write(tmp_path, permutation))
            assert self.get_orders(found) == self.get_orders(expected)
            assert "lig.sdf: atoms are ordered otherwise" in found.notes[0]
            assert np.allclose(found.ligand.find_constraints()[1], expected.ligand.find_constraints()[1], atol=1e-3)
        assert expected.notes == ()

    def test_the_first_of_several_molecules_is_used_and_said(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, None)
        one = path.read_text().removesuffix("$$$$\n") + "$$$$\n"
        path.write_text(one)
        assert Complex.from_topology(*make_topology(self.SMILES), "LIG", sdf=path).notes == ()
        path.write_text(3 * one)
        found = Complex.from_topology(*make_topology(self.SMILES), "LIG", sdf=path)
        assert found.notes == ("lig.sdf: molecule 1 of 3 used",)

    def test_another_molecule_shows_both_formulas(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, None, "CCO")
        expected = (
            r"lig.sdf has the heavy atoms C2 O1, LIG:B:9 in the structure has C10 Cl1 N2 O1: give this ligand's SDF"
        )
        with pytest.raises(TopologyMismatchError, match=expected):
            Complex.from_topology(*make_topology(self.SMILES), "LIG", sdf=path)

    def test_an_isomer_is_refused(self, tmp_path: Path) -> None:
        topology, positions = make_topology(self.SMILES)
        path = self.write(tmp_path, None, "CC(C)(C#N)c1cc(CCl)nc(O)c1")
        with pytest.raises(TopologyMismatchError, match="other bonds"):
            Complex.from_topology(topology, positions, "LIG", sdf=path)


@pytest.mark.parametrize(("factor", "message"), [(10.0, "these may be in A"), (0.0, "give real positions in nm")])
def test_positions_in_another_unit(factor: float, message: str) -> None:
    """Plain numbers are nm; those of MDAnalysis are angstrom."""
    topology, positions = make_topology("CCO")
    with pytest.raises(InputError, match=message):
        Complex.from_topology(topology, factor * positions, "LIG")


def test_selection_with_too_many_parts() -> None:
    topology, positions = make_topology("CCO")
    with pytest.raises(InputError, match="give NAME, NAME:CHAIN or NAME:CHAIN:NUMBER"):
        Complex.from_topology(topology, positions, "LIG:B:1:zzz")


def test_a_pickle_does_not_depend_on_what_was_asked_before(tiny_complex: Complex) -> None:
    fresh = replace(tiny_complex, topology=None)
    before = pickle.dumps(fresh)
    assert len(fresh.site.ca) == 8
    assert pickle.dumps(fresh) == before
    assert len(pickle.loads(before).site.ca) == 8
