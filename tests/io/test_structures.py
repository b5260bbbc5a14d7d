"""Complexes from GROMACS' and Amber's files: what these lack is guessed, checked and said."""

from collections.abc import Callable
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.structures import load_structure
from openmm_neuralmd.io.topologies import load_topology
from openmm_neuralmd.molecule.chemistry import perceive_bond_orders
from openmm_neuralmd.molecule.complex import Complex, load_complex
from tests.helpers import make_complex

DATA = Path(__file__).parents[1] / "data"
ASSETS = Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))
HALIDES = "Clc1ccc(Br)cc1C(=O)N(C)C#N"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a complex as a GRO file in a box of 4 nm, after an edit of the frame."""

    def write_frame(complex_: Complex, edit: Callable[[mdtraj.Trajectory], mdtraj.Trajectory] = lambda x: x) -> Path:
        frame = mdtraj.Trajectory(complex_.positions[None], mdtraj.Topology.from_openmm(complex_.topology))
        frame.unitcell_vectors = 4.0 * np.eye(3)[None]
        edit(frame).save(str(tmp_path / "md.gro"))
        return tmp_path / "md.gro"

    return write_frame


def set_of_bonds(complex_: Complex) -> dict[frozenset[int], float]:
    orders = complex_.ligand.bond_orders
    assert orders is not None
    return dict(zip(map(frozenset, complex_.ligand.bonds.tolist()), orders, strict=True))


@pytest.fixture(scope="module")
def prepared() -> Complex:
    return load_complex(ASSETS / "pocket.pdb", "0WC", sdf=ASSETS / "ligand.sdf")


class TestGro:
    def test_elements_bonds_and_orders_are_those_of_the_molecule(self, write: Write, prepared: Complex) -> None:
        """The pocket of 4G3E; chlorine is CL1, as force-field tools write it."""

        def rename(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
            for atom in frame.topology.atoms:
                atom.name = atom.name.upper()
            return frame

        found = load_structure(write(prepared, rename), "0WC")
        assert found.ligand.atomic_numbers.tolist() == prepared.ligand.atomic_numbers.tolist()
        assert set_of_bonds(found) == set_of_bonds(prepared)
        assert found.protein.residue_types.tolist() == prepared.protein.residue_types.tolist()
        assert found.protein.is_linked.tolist() == prepared.protein.is_linked.tolist()
        assert [n.partition(": ")[0].split(" were ")[0] for n in found.notes] == [
            "md.gro holds no elements",
            "md.gro holds no bonds of the ligand",
            "bond orders of 0WC",
        ]

    def test_an_sdf_gives_bonds_and_orders(self, write: Write, prepared: Complex) -> None:
        found = load_structure(write(prepared), "0WC", sdf=ASSETS / "ligand.sdf")
        assert found.ligand.bonds.tolist() == prepared.ligand.bonds.tolist()
        assert len(found.notes) == 1

    def test_without_hydrogens_orders_stay_unknown(self, write: Write) -> None:
        found = load_structure(write(make_complex(hydrogens=False)), "LIG")
        assert found.ligand.bond_orders is None
        assert "give `sdf`" in found.notes[-1]

    def test_what_the_box_cut_is_whole(self, write: Write) -> None:
        tiny = make_complex()

        def wrap(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frame.xyz = np.mod(frame.xyz, 4.0)  # around the origin: everything is cut
            return frame

        found = load_structure(write(tiny, wrap), "LIG")
        pairs = [np.concatenate([c.ligand.positions, c.protein.backbone[:, 1]]) for c in (tiny, found)]
        distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in pairs]
        assert np.abs(distances[0] - distances[1]).max() < 2e-3  # GRO keeps 0.001 nm

    def test_water_and_salt_are_left_out_and_counted(self, write: Write) -> None:
        def solvate(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
            topology = frame.topology.copy()
            chain = topology.add_chain()
            for names in (("OW", "HW1", "HW2"), ("OW", "HW1", "HW2", "MW"), ("NA",), ("ZN",)):
                residue = topology.add_residue("SOL" if len(names) > 1 else names[0], chain)
                for name in names:
                    topology.add_atom(name, mdtraj.element.oxygen, residue)
            more = np.linspace([1.5, 1.5, 1.5], [1.9, 1.9, 1.9], 9)[None]
            return mdtraj.Trajectory(
                np.concatenate([frame.xyz, more], axis=1), topology,
                unitcell_lengths=frame.unitcell_lengths, unitcell_angles=frame.unitcell_angles,
            )  # fmt: skip

        found = load_structure(write(make_complex(), solvate), "LIG")
        assert found.notes[0] == "md.gro: 2 waters and 1 ion (Na, Cl, K) left out of the rigid surroundings"
        assert [a.element.symbol for a in found.topology.atoms() if a.residue.name == "ZN"] == ["Zn"]

    def test_a_name_that_hides_the_element_is_refused(self, write: Write) -> None:
        def rename(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frame.topology.atom(next(a.index for a in frame.topology.atoms if a.name == "C1")).name = "CL1"
            return frame

        with pytest.raises(InputError, match=r"atom CL1 of LIG:A:\d+ reads as Cl, but has 4 neighbours: rename it"):
            load_structure(write(make_complex(), rename), "LIG")

    def test_a_covalent_ligand_is_refused(self, write: Write) -> None:
        def push(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
            ligand = [a.index for a in frame.topology.atoms if a.residue.name == "LIG"]
            first = next(k for k in ligand if frame.topology.atom(k).name == "C0")
            frame.xyz[0, ligand] += frame.xyz[0, 1] + [0.0, 0.0, 0.15] - frame.xyz[0, first]
            return frame

        with pytest.raises(InputError, match=r"LIG:A:\d+ is bonded to GLY:A:1 .* covalent ligands"):
            load_structure(write(make_complex(), push), "LIG")

    def test_absent_ligand(self, write: Write) -> None:
        with pytest.raises(InputError, match="'ABC' not found; the structure holds LIG"):
            load_structure(write(make_complex()), "ABC")

    @pytest.mark.parametrize("content", ["", "title\n 5\n", "title\n2\n    1LIG     C1    1   0.0"])
    def test_damaged(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "md.gro").write_text(content)
        with pytest.raises(InputError, match=r"md.gro: .*(empty or cut short|atoms|Unexpected line)"):
            load_structure(tmp_path / "md.gro", "LIG")


@pytest.mark.skipif(
    tuple(map(int, version("MDAnalysis").split(".")[:2])) < (2, 10), reason="MDAnalysis 2.10 (Python 3.11)"
)
def test_tpr_has_coordinates_and_bonds() -> None:
    pytest.importorskip("MDAnalysis")
    found, tiny = load_structure(DATA / "tiny.tpr", "LIG"), make_complex()
    assert np.abs(found.ligand.geometry - tiny.ligand.positions).max() < 1e-3 or np.allclose(
        np.linalg.norm(np.diff(found.ligand.positions, axis=0), axis=-1),
        np.linalg.norm(np.diff(tiny.ligand.positions, axis=0), axis=-1),
        atol=2e-3,
    )
    assert {frozenset(b) for b in found.ligand.bonds.tolist()} == {frozenset(b) for b in tiny.ligand.bonds.tolist()}
    assert sorted(set(set_of_bonds(found).values())) == [1.0, 1.5, 2.0, 3.0]
    assert [n for n in found.notes if "bonds of the ligand" in n] == []


class TestPrmtop:
    def test_the_pose_is_the_first_frame(self, tmp_path: Path) -> None:
        tiny = make_complex()
        xyz = tiny.positions + 0.01 * np.arange(3)[:, None, None]
        frames = mdtraj.Trajectory(xyz, mdtraj.Topology.from_openmm(tiny.topology), time=80.0 * np.arange(3))
        frames.save(str(tmp_path / "md.nc"))
        found = load_structure(DATA / "tiny.prmtop", "LIG", trajectory=tmp_path / "md.nc")
        assert np.allclose(found.ligand.positions, tiny.ligand.positions, atol=1e-4)
        assert "the pose is the first frame of md.nc" in found.notes[0]

    def test_alone_it_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"tiny.prmtop: holds no coordinates; give the complex as PDB"):
            load_structure(DATA / "tiny.prmtop", "LIG")


def test_names_of_a_gro_file(write: Write) -> None:
    tiny = make_complex(HALIDES)
    names = {"Cl0": "CL", "Br5": "BR1"}

    def rename(frame: mdtraj.Trajectory) -> mdtraj.Trajectory:
        for atom in frame.topology.atoms:
            atom.name = names.get(atom.name, atom.name)
        return frame

    topology, _ = load_topology(write(tiny, rename))
    expected = [a.element.symbol for a in tiny.topology.atoms()]
    assert [a.element.symbol for a in topology.atoms] == expected


class TestBondOrders:
    @pytest.mark.parametrize(
        "smiles",
        [
            HALIDES,
            "CC(=O)[O-]",
            "C[NH3+]",
            "NC(=[NH2+])c1ccccc1",
            "O=[N+]([O-])c1ccncc1",
            "CS(=O)(=O)Nc1ccccc1",
            "C/C=C/C=O",
            "COP(=O)([O-])[O-]",
            "[NH3+]CC([O-])=O",
            "C[N+](C)(C)CC([O-])=O",
            "c1cc[n+](C)cc1",
        ],
    )
    def test_known_molecules(self, smiles: str) -> None:
        """Up to which of two equal oxygen or nitrogen atoms has the double bond."""
        from rdkit import Chem
        from rdkit.Chem import AllChem

        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(molecule, randomSeed=1)
        AllChem.MMFFOptimizeMolecule(molecule)
        heavy = [a.GetIdx() for a in molecule.GetAtoms() if a.GetAtomicNum() > 1]
        kept = [b for b in molecule.GetBonds() if max(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) < len(heavy)]
        bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in kept])
        numbers = np.array([molecule.GetAtomWithIdx(k).GetAtomicNum() for k in heavy])
        hydrogens = [a for a in molecule.GetAtoms() if a.GetAtomicNum() == 1]
        parents = np.array([a.GetNeighbors()[0].GetIdx() for a in hydrogens])
        xyz = molecule.GetConformer().GetPositions()[heavy] / 10.0
        found = perceive_bond_orders(numbers, bonds, parents, xyz)
        assert found is not None
        assert sorted(found) == sorted(b.GetBondTypeAsDouble() for b in kept)
        fewer = perceive_bond_orders(numbers, bonds, parents[:-2], xyz)
        assert fewer is None or sorted(fewer) != sorted(found)

    def test_hydrogens_left_out_are_noticed(self) -> None:
        """A chain of three carbons without its hydrogens is no cumulene: its bonds are too long."""
        xyz = np.array([[0.0, 0.0, 0.0], [0.153, 0.0, 0.0], [0.2, 0.146, 0.0], [0.15, 0.2, 0.13]])
        bonds = np.array([(0, 1), (1, 2), (2, 3)])
        assert perceive_bond_orders(np.array([6, 6, 6, 8]), bonds, np.array([3]), xyz) is None


def test_another_molecule_as_sdf(write: Write, prepared: Complex) -> None:
    with pytest.raises(TopologyMismatchError, match="C19 Cl1 N5 O1 S1, LIG:A:9 in the structure has C11 N1 O2"):
        load_structure(write(make_complex()), "LIG", sdf=ASSETS / "ligand.sdf")
