"""Schemes: order, evaluations per step, time reversal, energy; and what they refuse."""

import numpy as np
import openmm as mm
import pytest
from openmm import Platform

from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator, check_scheme
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import ModelDouble, displace, fit_order, make_double

EVALUATIONS = {"leapfrog": 1, "euler": 1, "midpoint": 2, "rk4": 4, "euler_maruyama": 1, "heun": 2}
ORDERS = {"leapfrog": 2, "euler": 1, "midpoint": 2, "rk4": 4, "heun": 2}


def make_context(
    complex_: Complex, model: ModelDouble, platform: Platform, *, projection: bool = False, **settings: object
) -> mm.Context:
    force = NeuralMDForce(complex_, model, projection=projection)
    system = build_rigid_system(complex_)
    force.add_to(system)
    context = mm.Context(system, NeuralMDIntegrator(force, **settings), platform)
    positions = complex_.positions.copy()
    ligand = complex_.ligand.atom_indices
    positions[ligand] = displace(positions[ligand], 0.03, seed=1)
    context.setPositions(positions)
    return context


def read(context: mm.Context, complex_: Complex) -> tuple[np.ndarray, np.ndarray]:
    """Ligand positions [nm] and velocities [nm/ps]."""
    state = context.getState(positions=True, velocities=True)
    ligand = complex_.ligand.atom_indices
    return state.getPositions(asNumpy=True)._value[ligand], state.getVelocities(asNumpy=True)._value[ligand]


def solve_harmonic(x0: np.ndarray, v0: np.ndarray, model: ModelDouble, time: float) -> np.ndarray:
    """Closed form of the damped oscillator with positions [A] about the centre; time [snapshots]."""
    gamma = model.friction / 2
    omega = np.sqrt(model.stiffness / model.masses.numpy()[:, None] - gamma**2)
    return np.exp(-gamma * time) * (x0 * np.cos(omega * time) + (v0 + gamma * x0) / omega * np.sin(omega * time))


@pytest.mark.parametrize("scheme", ORDERS)
def test_converges_at_the_claimed_order(scheme: str, tiny_complex: Complex, platform: Platform) -> None:
    """To the closed form over two snapshots; leapfrog starts from the velocity half a step earlier."""
    friction = 0.0 if scheme == "leapfrog" else 0.4
    model = make_double(tiny_complex, stiffness=15.0, friction=friction)
    errors, steps = [], np.array([8, 16, 32, 64])
    for n in steps.tolist():
        context = make_context(tiny_complex, model, platform, scheme=scheme, steps_per_snapshot=n)
        x0 = 10 * read(context, tiny_complex)[0] - model.centre.numpy()
        if scheme == "leapfrog":
            acceleration = -model.stiffness * x0 / model.masses.numpy()[:, None]
            velocities = np.zeros((tiny_complex.topology.getNumAtoms(), 3))
            velocities[tiny_complex.ligand.atom_indices] = -acceleration / (2 * n) * 0.1 / model.snapshot_interval
            context.setVelocities(velocities)
        context.getIntegrator().step(2 * n)
        expected = solve_harmonic(x0, np.zeros_like(x0), model, 2.0)
        errors.append(np.abs(10 * read(context, tiny_complex)[0] - model.centre.numpy() - expected).max())
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(ORDERS[scheme], abs=0.25)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("scheme", EVALUATIONS)
def test_number_of_evaluations_is_the_minimum(
    scheme: str, projection: bool, tiny_complex: Complex, platform: Platform
) -> None:
    amplitude = 0.1 if find_schemes()[scheme].takes_noise else 0.0
    model = make_double(tiny_complex, amplitude=amplitude)
    context = make_context(tiny_complex, model, platform, scheme=scheme, projection=projection)
    context.getIntegrator().step(10)
    assert model.n_evaluations == 10 * EVALUATIONS[scheme]


def test_leapfrog_is_time_reversible(tiny_complex: Complex, platform: Platform) -> None:
    """Back with the velocity of the next half step, turned round."""
    model = make_double(tiny_complex, stiffness=10.0)
    context = make_context(tiny_complex, model, platform)
    start = read(context, tiny_complex)[0]
    context.getIntegrator().step(50)
    x, v = read(context, tiny_complex)
    acceleration = -model.stiffness * (10 * x - model.centre.numpy()) / model.masses.numpy()[:, None]
    turned = np.zeros((tiny_complex.topology.getNumAtoms(), 3))
    turned[tiny_complex.ligand.atom_indices] = -(v + 0.1 * acceleration / model.snapshot_interval)
    context.setVelocities(turned)
    context.getIntegrator().step(50)
    assert np.abs(read(context, tiny_complex)[0] - start).max() < 1e-12


def test_leapfrog_conserves_energy(tiny_complex: Complex, platform: Platform) -> None:
    """Over 5,000 steps the energy of the harmonic well oscillates but does not drift."""
    model = make_double(tiny_complex, stiffness=5.0)
    context = make_context(tiny_complex, model, platform)
    mass = model.masses.numpy()[:, None]
    energies, before = [], 10 * read(context, tiny_complex)[0] - model.centre.numpy()
    for _ in range(50):
        context.getIntegrator().step(100)
        x, v = read(context, tiny_complex)
        x = 10 * x - model.centre.numpy()
        v = 10 * v * model.snapshot_interval + 0.5 * (-model.stiffness * x / mass)  # at the whole step
        energies.append(0.5 * (mass * v**2).sum() + 0.5 * model.stiffness * (x**2).sum())
    initial = 0.5 * model.stiffness * (before**2).sum()
    assert np.ptp(energies) < 0.2 * initial
    assert abs(np.mean(energies[:25]) - np.mean(energies[25:])) < 0.02 * initial


def test_euler_gains_energy(tiny_complex: Complex, platform: Platform) -> None:
    """The check of conservation can fail: explicit Euler spirals outwards."""
    model = make_double(tiny_complex, stiffness=5.0)
    context = make_context(tiny_complex, model, platform, scheme="euler")
    start = np.abs(read(context, tiny_complex)[0] - tiny_complex.ligand.positions).max()
    context.getIntegrator().step(100)
    assert np.abs(read(context, tiny_complex)[0] - tiny_complex.ligand.positions).max() > 10 * start


@pytest.mark.parametrize("scheme", find_schemes())
def test_projection_keeps_bonds(scheme: str, tiny_complex: Complex, platform: Platform) -> None:
    """Positions keep their distances, and velocities agree with the positions for leapfrog."""
    amplitude = 0.5 if find_schemes()[scheme].takes_noise else 0.0
    model = make_double(tiny_complex, amplitude=amplitude, friction=0.5)
    context = make_context(tiny_complex, model, platform, scheme=scheme, projection=True)
    pairs, distances = tiny_complex.ligand.find_constraints()
    previous = None
    for _ in range(10):
        context.getIntegrator().step(1)
        x, v = read(context, tiny_complex)
        assert np.abs(np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1) - distances).max() < 1e-4
        if scheme == "leapfrog" and previous is not None:
            np.testing.assert_allclose(v, (x - previous) / model.snapshot_interval, rtol=0, atol=1e-15)
        previous = x


def test_timestep_is_the_snapshot_interval_over_the_steps(tiny_complex: Complex) -> None:
    force = NeuralMDForce(tiny_complex, make_double(tiny_complex, snapshot_interval=40.0))
    assert NeuralMDIntegrator(force, steps_per_snapshot=4).getStepSize()._value == 10.0
    assert NeuralMDIntegrator(force).getStepSize()._value == 40.0


def test_scheme_comes_from_the_model(tiny_complex: Complex) -> None:
    model = make_double(tiny_complex, scheme="midpoint", steps_per_snapshot=3)
    integrator = NeuralMDIntegrator(NeuralMDForce(tiny_complex, model))
    assert (integrator.scheme, integrator.steps_per_snapshot) == ("midpoint", 3)


def test_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(InputError, match="leapfrog, euler, midpoint"):
        check_scheme("verlet", has_noise=False)


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "rk4"])
def test_deterministic_schemes_refuse_noise(scheme: str, tiny_complex: Complex) -> None:
    force = NeuralMDForce(tiny_complex, make_double(tiny_complex, amplitude=0.1))
    with pytest.raises(InputError, match="leapfrog, euler_maruyama, heun"):
        NeuralMDIntegrator(force, scheme=scheme)


def test_no_steps_are_refused(tiny_complex: Complex) -> None:
    force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
    with pytest.raises(InputError, match="steps_per_snapshot is 0"):
        NeuralMDIntegrator(force, steps_per_snapshot=0)
