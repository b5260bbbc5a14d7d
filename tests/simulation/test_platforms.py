"""What must hold on every platform, above all where atoms are reordered and wrapped behind the caller's back."""

from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
import pytest
from openmm import Platform

from openmm_neuralmd.errors import NonFiniteStateError
from openmm_neuralmd.models.bound import BoundForce
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce, compute_physical_energy
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ModelDouble, make_double

N_STEPS = 300  # GPU platforms reorder atoms every 250 steps
BOX = np.array([[3.0, 0, 0], [0.9, 2.9, 0], [-0.9, 0.9, 2.8]])


def build_periodic_system(complex_: Complex, n_waters: int = 200) -> tuple[mm.System, np.ndarray]:
    """The complex with periodic nonbonded forces among many small molecules, which makes GPU platforms wrap."""
    system = build_rigid_system(complex_)
    nonbonded = mm.NonbondedForce()
    nonbonded.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    for _ in range(system.getNumParticles()):
        nonbonded.addParticle(0.1, 0.1, 0.1)
    for _ in range(n_waters):
        system.addParticle(0.0)
        nonbonded.addParticle(0.1, 0.1, 0.1)
    system.addForce(nonbonded)
    system.setDefaultPeriodicBoxVectors(*BOX)
    waters = np.random.default_rng(0).uniform(0, 1, size=(n_waters, 3)) @ BOX
    return system, np.concatenate([complex_.positions, waters])


def shift(complex_: Complex, by: np.ndarray) -> Complex:
    return Complex.from_topology(complex_.topology, complex_.positions + by, "LIG")


@pytest.mark.parametrize("by", [(0.0, 0.0, 0.0), (1.5, 1.4, 1.4), (-7.3, 8.9, 20.0)])
def test_periodic_wrapping_does_not_reach_the_path(
    by: tuple[float, ...], tiny_complex: Complex, any_platform: Platform
) -> None:
    """Inside the box, across its faces and cells away: the path of an open system, moved."""
    complex_ = shift(tiny_complex, np.array(by))
    model = make_double(complex_, amplitude=0.1, friction=1.0, stiffness=20.0)
    system, positions = build_periodic_system(complex_)
    force = NeuralMDForce(complex_, model, seed=2)
    system.addForce(force)
    force.setUsesPeriodicBoundaryConditions(True)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, any_platform)
    context.setPositions(positions)
    expected = run_replicas(complex_, model, n_snapshots=N_STEPS, seeds=[2])[:, 0]
    ligand = complex_.ligand.atom_indices
    for done in range(100, N_STEPS + 1, 100):
        integrator.step(100)
        found = context.getState(positions=True).getPositions(asNumpy=True)._value
        np.testing.assert_allclose(found[ligand], expected[done - 1], rtol=0, atol=1e-4)
        fixed = np.setdiff1d(np.arange(len(found)), [*ligand, *complex_.ligand.hydrogen_indices])
        np.testing.assert_allclose(found[fixed], positions[fixed], rtol=0, atol=1e-5)
    assert np.isfinite(compute_physical_energy(context)._value)


def test_hydrogens_follow_and_files_are_whole(tiny_complex: Complex, any_platform: Platform, tmp_path: Path) -> None:
    model = make_double(tiny_complex, amplitude=0.3, friction=0.5)
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=5, platform=any_platform.getName())
    xyz = mdtraj.load(str(files.trajectory), top=str(files.topology)).xyz
    ligand = tiny_complex.ligand
    expected = run_replicas(tiny_complex, model, n_snapshots=5, seeds=[0])[:, 0]
    np.testing.assert_allclose(xyz[:, ligand.atom_indices], expected, rtol=0, atol=1e-5)
    bonded = ligand.atom_indices[ligand.hydrogen_parents]
    lengths = np.linalg.norm(xyz[:, ligand.hydrogen_indices] - xyz[:, bonded], axis=-1)
    start = tiny_complex.positions
    before = np.linalg.norm(start[ligand.hydrogen_indices] - start[bonded], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(before, lengths.shape), rtol=0, atol=1e-5)


def make_constrained_system(complex_: Complex) -> mm.System:
    system = mm.System()
    for atom in complex_.topology.atoms():
        system.addParticle(atom.element.mass)
    system.addConstraint(0, 1, float(np.linalg.norm(complex_.positions[0] - complex_.positions[1])))
    return system


def check_path(complex_: Complex, model: ModelDouble | BoundForce, context: mm.Context) -> None:
    """Five steps lead where they lead without OpenMM."""
    context.setPositions(complex_.positions)
    context.getIntegrator().step(5)
    found = context.getState(positions=True).getPositions(asNumpy=True)._value
    expected = run_replicas(complex_, model, n_snapshots=5, seeds=[0])[-1, 0]
    np.testing.assert_allclose(found[complex_.ligand.atom_indices], expected, rtol=0, atol=1e-5)


def test_constraints_of_the_surroundings_do_not_reach_the_path(tiny_complex: Complex, any_platform: Platform) -> None:
    """With a constraint left, and one command that applies it, GPU platforms evaluate forces at earlier positions."""
    model = make_double(tiny_complex, amplitude=0.3, friction=0.5)
    system = make_constrained_system(tiny_complex)
    force = NeuralMDForce(tiny_complex, model)
    force.add_to(system)
    check_path(tiny_complex, model, mm.Context(system, NeuralMDIntegrator(force), any_platform))


def test_a_system_that_is_not_held_may_have_constraints(
    tiny_complex: Complex, any_platform: Platform, model_files: dict[str, Path]
) -> None:
    """The force only added, a massless particle elsewhere, the integrator made for the System as after XML."""
    model = load_model(model_files["ode"]).bind(tiny_complex)
    system = make_constrained_system(tiny_complex)
    system.setParticleMass(5, 0.0)
    system.addForce(NeuralMDForce(tiny_complex, model))
    check_path(tiny_complex, model, mm.Context(system, NeuralMDIntegrator(system), any_platform))


def test_resumed_gives_the_same_bytes(tiny_complex: Complex, any_platform: Platform, tmp_path: Path) -> None:
    model = make_double(tiny_complex, amplitude=0.3, friction=0.5)
    name = any_platform.getName()
    whole = simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=6, platform=name)
    simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=3, platform=name)
    parts = simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=6, platform=name, resume=True)
    assert parts.trajectory.read_bytes() == whole.trajectory.read_bytes()
    assert parts.log.read_bytes() == whole.log.read_bytes()


@pytest.mark.parametrize("error", [ZeroDivisionError("in the model"), KeyboardInterrupt()])
def test_errors_arrive_as_they_were_raised(error: BaseException, tiny_complex: Complex, any_platform: Platform) -> None:
    class Broken(ModelDouble):
        def compute_force(self, positions):
            raise error

    force = NeuralMDForce(tiny_complex, Broken(**vars(make_double(tiny_complex))))
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, any_platform)
    context.setPositions(tiny_complex.positions)
    with pytest.raises(type(error)) as caught:
        integrator.step(1)
    assert caught.value is error


def test_nan_is_noticed(tiny_complex: Complex, any_platform: Platform) -> None:
    force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, any_platform)
    context.setPositions(tiny_complex.positions)
    velocities = np.zeros_like(tiny_complex.positions)
    velocities[tiny_complex.ligand.atom_indices] = np.nan
    context.setVelocities(velocities)
    with pytest.raises(NonFiniteStateError, match="step 1"):
        integrator.step(1)
