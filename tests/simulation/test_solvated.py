"""A real System: 40,000 atoms, periodic, constrained, with repartitioned hydrogen masses and PME."""

import gzip

import numpy as np
import openmm as mm
import pytest
from openmm.app import PDBFile

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce, compute_physical_energy
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.replicas import run_replicas
from tests.helpers import SHARED, make_double

FOLDER = SHARED / "data" / "4g3e"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / "solvated_system.xml.gz").exists(), reason=f"{FOLDER} is not there"),
]


def read_system() -> mm.System:
    with gzip.open(FOLDER / "solvated_system.xml.gz", "rt") as file:
        return mm.XmlSerializer.deserialize(file.read())


@pytest.fixture(scope="module")
def solvated() -> Complex:
    with gzip.open(FOLDER / "solvated_start.pdb.gz", "rt") as file:
        structure = PDBFile(file)
    return Complex.from_topology(structure.topology, structure.positions, "0WC")


def test_motion_remover_is_named(solvated: Complex) -> None:
    with pytest.raises(InputError, match=r"CMMotionRemover \(force 3\).*system\.removeForce\(3\)"):
        NeuralMDForce(solvated, make_double(solvated)).add_to(read_system())


@pytest.mark.parametrize("attach", [False, True])
def test_only_the_ligand_moves_and_the_force_field_stays(solvated: Complex, attach: bool) -> None:
    system = read_system()
    system.removeForce(3)
    before = [mm.XmlSerializer.serialize(f) for f in system.getForces()]
    model = make_double(solvated, amplitude=0.2, friction=1.0)
    force = NeuralMDForce(solvated, model)
    n_constraints = system.getNumConstraints()
    held = force.add_to(system)
    assert held.n_constraints_removed == n_constraints == 37445
    assert held.n_following == len(solvated.ligand.hydrogen_indices) == 16
    assert [mm.XmlSerializer.serialize(f) for f in system.getForces()[:-1]] == before
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"))
    context.setPositions(solvated.positions)
    model.n_evaluations = 0
    assert np.isfinite(compute_physical_energy(context)._value)
    assert model.n_evaluations == 0
    if attach:
        integrator.attach(context)
    integrator.step(20)
    found = context.getState(positions=True).getPositions(asNumpy=True)._value
    ligand = solvated.ligand.atom_indices
    expected = run_replicas(solvated, model, n_snapshots=20, seeds=[0])[-1, 0]
    np.testing.assert_allclose(found[ligand], expected, rtol=0, atol=1e-9)
    fixed = np.setdiff1d(np.arange(len(found)), [*ligand, *solvated.ligand.hydrogen_indices])
    np.testing.assert_allclose(found[fixed], solvated.positions[fixed], rtol=0, atol=1e-5)
