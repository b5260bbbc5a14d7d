"""A piece of the bundled complex: the ligand between two loops of its pocket, small enough for real MD in a test."""

from pathlib import Path

import numpy as np
import openmm as mm
import pytest
from openmm import unit
from openmm.app import Modeller, PDBFile, Topology

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.reference.system import MolecularSystem, build_system

LOOPS = ((410, 416), (469, 475))  # residues of NIK: the glycine-rich loop and the hinge
LIGAND = "0WC"


@pytest.fixture(scope="session")
def parameters() -> Path:
    """GAFF2 parameters of the bundled ligand."""
    return get_bundled_path("ligand_gaff2.xml")


@pytest.fixture(scope="session")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PDB file of the ligand and both loops, capped with ACE and NME made of the next residues' atoms."""
    pdb = PDBFile(str(get_bundled_path("complex.pdb")))
    xyz = np.array(pdb.positions.value_in_unit(unit.nanometer))
    residues = {int(r.id): r for r in pdb.topology.residues() if r.name not in (LIGAND, "ACE", "NME")}
    topology, positions, copies = Topology(), [], {}

    def add(residue: object, chain: object, name: str, names: dict[str, str]) -> None:
        new = topology.addResidue(name, chain, residue.id)
        for atom in residue.atoms():
            if atom.name in names:
                copies[atom.index] = topology.addAtom(names[atom.name], atom.element, new)
                positions.append(xyz[atom.index])

    for letter, (first, last) in zip("AB", LOOPS, strict=True):
        chain = topology.addChain(letter)
        add(residues[first - 1], chain, "ACE", {"C": "C", "O": "O", "CA": "CH3"})
        for k in range(first, last + 1):
            add(residues[k], chain, residues[k].name, {a.name: a.name for a in residues[k].atoms()})
        add(residues[last + 1], chain, "NME", {"N": "N", "H": "H", "CA": "C"})
    ligand = next(r for r in pdb.topology.residues() if r.name == LIGAND)
    add(ligand, topology.addChain("L"), LIGAND, {a.name: a.name for a in ligand.atoms()})
    topology.createStandardBonds()
    for first, second in pdb.topology.bonds():
        if first.residue is ligand:
            topology.addBond(copies[first.index], copies[second.index])
    modeller = Modeller(topology, np.array(positions) * unit.nanometer)
    modeller.addHydrogens(platform=mm.Platform.getPlatformByName("CPU"))
    path = tmp_path_factory.mktemp("pocket") / "pocket.pdb"
    with path.open("w") as file:
        PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)
    return path


@pytest.fixture(scope="session")
def vacuum(pocket: Path, parameters: Path) -> MolecularSystem:
    """The piece alone."""
    return build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent="none")


@pytest.fixture(scope="session")
def solvated(pocket: Path, parameters: Path) -> MolecularSystem:
    """The piece in water with salt."""
    return build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, padding=0.15)
