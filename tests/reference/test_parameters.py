"""Ligand parameters by AmberTools' programs: they fit the ligand, and what is missing is said."""

from pathlib import Path

import openmm as mm
import pytest
from openmm import unit
from openmm.app import Element, ForceField, NoCutoff, Topology
from rdkit import Chem
from rdkit.Chem import AllChem

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.parameters import find_ambertools, make_parameters


def write_sdf(smiles: str, path: Path) -> Chem.Mol:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    Chem.MolToMolFile(molecule, str(path))
    return molecule


@pytest.mark.reference
@pytest.mark.skipif(find_ambertools() is None, reason="pip install acpype, or AmberTools")
@pytest.mark.parametrize(("smiles", "charge"), [("CC(=O)N", 0), ("C[NH3+]", 1), ("CCl", 0)])
def test_a_small_molecule(smiles: str, charge: int, tmp_path: Path) -> None:
    pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    molecule = write_sdf(smiles, tmp_path / "in.sdf")
    found = ForceField("amber14-all.xml", str(make_parameters(tmp_path / "in.sdf", "ABC", tmp_path)))
    topology = Topology()
    residue = topology.addResidue("ABC", topology.addChain())
    atoms = [
        topology.addAtom(f"X{a.GetIdx()}", Element.getByAtomicNumber(a.GetAtomicNum()), residue)
        for a in molecule.GetAtoms()
    ]
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    system = found.createSystem(topology, nonbondedMethod=NoCutoff)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    charges = [force.getParticleParameters(k)[0].value_in_unit(unit.elementary_charge) for k in range(len(atoms))]
    assert sum(charges) == pytest.approx(charge, abs=1e-5)


def test_without_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    monkeypatch.setattr("openmm_neuralmd.reference.parameters.find_ambertools", lambda: None)
    with pytest.raises(InputError, match="pip install acpype"):
        make_parameters(tmp_path / "in.sdf", "ABC", tmp_path)
