"""``MLPotential("neuralmd")`` of openmm-ml makes a mixed System that runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm as mm
import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import FORCE_NAME, NeuralMDForce, compute_physical_energy
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system

openmmml = pytest.importorskip("openmmml", reason="openmm-ml is not installed: pip install openmmml")


@pytest.fixture
def potential(model_files: dict[str, Path]) -> "openmmml.MLPotential":
    if "neuralmd" not in openmmml.MLPotential._implFactories:
        pytest.skip("the entry point is not installed: pip install -e . again")
    return openmmml.MLPotential("neuralmd", model=str(model_files["sde"]))


def build_system(complex_: Complex) -> mm.System:
    """All atoms free, with charges and the ligand's bonds."""
    system, charges, bonds = mm.System(), mm.NonbondedForce(), mm.HarmonicBondForce()
    for k, atom in enumerate(complex_.topology.atoms()):
        system.addParticle(atom.element.mass)
        charges.addParticle(0.1 * (-1) ** k, 0.1, 0.1)
    for bond in complex_.topology.bonds():
        bonds.addBond(bond[0].index, bond[1].index, 0.1, 100.0)
    system.addForce(charges)
    system.addForce(bonds)
    return system


def run(complex_: Complex, system: mm.System) -> np.ndarray:
    integrator = NeuralMDIntegrator(system)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(complex_.positions)
    integrator.step(3)
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def list_ligand(complex_: Complex) -> list[int]:
    return sorted([*complex_.ligand.atom_indices.tolist(), *complex_.ligand.hydrogen_indices.tolist()])


@pytest.mark.parametrize("embedding", ["neuralmd", "mechanical"])
def test_mixed_system_moves_the_ligand_as_the_force_does(potential, embedding, tiny_complex, model_files) -> None:
    original = build_system(tiny_complex)
    before = mm.XmlSerializer.serialize(original)
    mixed = potential.createMixedSystem(
        tiny_complex.topology,
        original,
        list_ligand(tiny_complex),
        positions=tiny_complex.positions,
        embedding=embedding,
    )
    assert mm.XmlSerializer.serialize(original) == before
    system = build_rigid_system(tiny_complex)
    NeuralMDForce(tiny_complex, load_model(model_files["sde"])).add_to(system)
    np.testing.assert_allclose(run(tiny_complex, mixed), run(tiny_complex, system), rtol=0, atol=1e-12)


def test_own_embedding_leaves_the_force_field_whole(potential, tiny_complex) -> None:
    original = build_system(tiny_complex)
    mixed = potential.createMixedSystem(
        tiny_complex.topology,
        original,
        list_ligand(tiny_complex),
        positions=tiny_complex.positions,
        embedding="neuralmd",
    )
    energies = []
    for system in (original, mixed):
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(tiny_complex.positions)
        energies.append(compute_physical_energy(context)._value)
    assert energies[0] == pytest.approx(energies[1], rel=1e-6)


def test_whole_system_needs_a_ligand_name(potential, tiny_complex) -> None:
    system = potential.createSystem(
        tiny_complex.topology, removeCMMotion=False, positions=tiny_complex.positions, ligand="LIG"
    )
    assert [f.getName() for f in system.getForces()] == [FORCE_NAME]
    with pytest.raises(InputError, match="which residue is the ligand"):
        potential.createSystem(tiny_complex.topology, positions=tiny_complex.positions)


def test_misuse(potential, tiny_complex) -> None:
    system, atoms = build_system(tiny_complex), list_ligand(tiny_complex)
    mixed = {"embedding": "neuralmd", "positions": tiny_complex.positions}
    with pytest.raises(InputError, match="give positions="):
        potential.createMixedSystem(tiny_complex.topology, system, atoms, embedding="neuralmd")
    with pytest.raises(InputError, match="all atoms of one residue"):
        potential.createMixedSystem(tiny_complex.topology, system, atoms[:-1], **mixed)
    with pytest.raises(NotImplementedError, match="no energy to interpolate"):
        potential.createMixedSystem(tiny_complex.topology, system, atoms, interpolate=True, **mixed)
    with pytest.raises(InputError, match=r"unknown arguments.*charge"):
        potential.createMixedSystem(tiny_complex.topology, system, atoms, charge=1, **mixed)
    with pytest.raises(InputError, match="takes model="):
        openmmml.MLPotential("neuralmd", weights="x")


def test_import_of_openmmml_loads_no_torch() -> None:
    code = "import sys, openmmml; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
