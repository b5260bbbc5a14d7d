"""Steps beside a System's Context: the same path to the bit, and no evaluation in that Context."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm as mm
import pytest
from openmm import Platform

from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.ligand_context import VIBRATION_VARIABLE
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.simulation.watch import CALLER_PARAMETER
from tests.helpers import ModelDouble, build_periodic_system, displace, make_double

TRICLINIC = np.array([[2.5, 0, 0], [0.8, 2.5, 0], [-0.8, 0.8, 2.4]])
VIBRATING = {"amplitude": 0.3, "vibration": 0.2, "friction": 0.5}


def make_context(
    complex_: Complex, model: ModelDouble, platform: Platform, *, attach: bool, **settings: object
) -> mm.Context:
    """Periodic, with a force that the step does not ask for."""
    force = NeuralMDForce(complex_, model)
    system = build_periodic_system(complex_, TRICLINIC)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force, **settings)
    context = mm.Context(system, integrator, platform)
    positions = complex_.positions.copy()
    positions[complex_.ligand.atom_indices] = displace(complex_.ligand.positions, 0.01, seed=1)
    context.setPositions(positions)
    if attach:
        integrator.attach(context)
    return context


def read(context: mm.Context) -> list[np.ndarray]:
    """Positions and velocities of all particles, time, step, the parameters, and the vibration where there is one."""
    state = context.getState(positions=True, velocities=True, parameters=True)
    integrator = context.getIntegrator()
    parameters = {name: value for name, value in dict(state.getParameters()).items() if name != CALLER_PARAMETER}
    names = [integrator.getPerDofVariableName(k) for k in range(integrator.getNumPerDofVariables())]
    return [
        state.getPositions(asNumpy=True)._value,
        state.getVelocities(asNumpy=True)._value,
        np.array([state.getTime()._value, state.getStepCount(), *parameters.values()]),
        *(np.array(integrator.getPerDofVariableByName(n)) for n in names if n == VIBRATION_VARIABLE),
    ]


def assert_same(first: mm.Context, second: mm.Context) -> None:
    for a, b in zip(read(first), read(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scheme", find_schemes())
def test_same_to_the_bit(scheme: str, tiny_complex: Complex, platform: Platform) -> None:
    """With hydrogens that follow, in a skewed box, with vibration where the scheme takes noise."""
    settings = VIBRATING if find_schemes()[scheme].takes_noise else {"friction": 0.5}
    model = make_double(tiny_complex, **settings)
    plain, attached = (make_context(tiny_complex, model, platform, attach=a, scheme=scheme) for a in (False, True))
    start = read(plain)[0]
    for n_steps in (1, 1, 5, 0, 2):
        for context in (plain, attached):
            context.getIntegrator().step(n_steps)
        assert_same(plain, attached)
    moved = np.linalg.norm(read(attached)[0] - start, axis=1) > 1e-6
    ligand = tiny_complex.ligand
    assert sorted(np.flatnonzero(moved)) == sorted([*ligand.atom_indices, *ligand.hydrogen_indices])


def test_nothing_is_evaluated_in_the_context(
    tiny_complex: Complex, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its integrator takes no step, and the model is called as often as without."""
    model = make_double(tiny_complex, **VIBRATING)
    context = make_context(tiny_complex, model, platform, attach=True)
    stepped, step = [], mm.CustomIntegrator.step

    def spy(self: mm.CustomIntegrator, steps: int) -> None:
        stepped.append(self)
        step(self, steps)

    monkeypatch.setattr(mm.CustomIntegrator, "step", spy)
    context.getIntegrator().step(3)
    assert len(stepped) == 1
    assert stepped[0] is not context.getIntegrator()
    assert model.n_evaluations == 3


def test_what_is_set_between_steps_counts(tiny_complex: Complex, platform: Platform) -> None:
    """Positions, velocities, box, time, step, step size and friction."""
    model = make_double(tiny_complex, **VIBRATING)
    plain, attached = (make_context(tiny_complex, model, platform, attach=a) for a in (False, True))
    ligand = tiny_complex.ligand.atom_indices
    for context in (plain, attached):
        integrator = context.getIntegrator()
        integrator.step(2)
        positions, velocities = read(context)[:2]
        positions[ligand] = displace(positions[ligand], 0.02, seed=3)
        velocities[ligand] *= -0.5
        context.setPositions(positions)
        context.setVelocities(velocities)
        context.setPeriodicBoxVectors(*(1.1 * TRICLINIC))
        context.setTime(17.0)
        context.setStepCount(40)
        integrator.setStepSize(30.0)
        integrator.setGlobalVariableByName("friction", 0.001)
        integrator.step(2)
    assert_same(plain, attached)


def test_checkpoints_go_on_in_either(tiny_complex: Complex, platform: Platform) -> None:
    """Checkpoints and States of attached steps in a Context without, and the other way, vibration included."""
    model = make_double(tiny_complex, **VIBRATING)
    plain, attached = (make_context(tiny_complex, model, platform, attach=a) for a in (False, True))
    for context in (plain, attached):
        context.getIntegrator().step(3)
    checkpoints = [c.createCheckpoint() for c in (attached, plain)]
    states = [
        c.getState(positions=True, velocities=True, parameters=True, integratorParameters=True)
        for c in (attached, plain)
    ]
    for context in (plain, attached):
        context.getIntegrator().step(4)
    expected = read(plain)
    for context, checkpoint, state in zip((plain, attached), checkpoints, states, strict=True):
        context.loadCheckpoint(checkpoint)
        context.getIntegrator().step(4)
        assert all(np.array_equal(a, b) for a, b in zip(read(context), expected, strict=True))
        context.setState(state)
        context.getIntegrator().step(4)
        assert all(np.array_equal(a, b) for a, b in zip(read(context), expected, strict=True))


def test_a_step_that_fails_leaves_the_same_state(
    tiny_complex: Complex, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_force = ModelDouble.compute_force

    def fail(self: ModelDouble, positions: object) -> object:
        force = compute_force(self, positions)
        return force * float("nan") if self.n_evaluations == 3 else force

    monkeypatch.setattr(ModelDouble, "compute_force", fail)
    contexts = []
    for attach in (False, True):
        model = make_double(tiny_complex, **VIBRATING)
        context = make_context(tiny_complex, model, platform, attach=attach)
        with pytest.raises(NonFiniteStateError, match="step 3: the model's force is NaN"):
            context.getIntegrator().step(5)
        contexts.append(context)
    plain, attached = (read(c) for c in contexts)
    ligand = tiny_complex.ligand.atom_indices  # a broken step does not reach the hydrogens
    np.testing.assert_array_equal(plain[0][ligand], attached[0][ligand])
    np.testing.assert_array_equal(plain[1], attached[1])
    assert contexts[1].getStepCount() == contexts[0].getStepCount() == 2


def test_a_protein_that_moved_is_refused(tiny_complex: Complex, platform: Platform) -> None:
    context = make_context(tiny_complex, make_double(tiny_complex), platform, attach=True)
    context.getIntegrator().step(1)
    positions = read(context)[0]
    positions[tiny_complex.protein.ca_indices] += 0.2
    context.setPositions(positions)
    with pytest.raises(InputError, match="step 2: the protein is not where it was"):
        context.getIntegrator().step(1)


def test_integrator_of_a_system_that_was_read(tiny_complex: Complex, model_files: dict[str, Path]) -> None:
    system = build_rigid_system(tiny_complex)
    NeuralMDForce(tiny_complex, load_model(model_files["sde"]), seed=5).add_to(system)
    xml, found = mm.XmlSerializer.serialize(system), []
    for attach in (False, True):
        read_back = mm.XmlSerializer.deserialize(xml)
        integrator = NeuralMDIntegrator(read_back)
        context = mm.Context(read_back, integrator, Platform.getPlatformByName("CPU"))
        context.setPositions(tiny_complex.positions)
        if attach:
            integrator.attach(context)
        integrator.step(3)
        found.append(read(context))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_a_copy_is_not_attached(tiny_complex: Complex, platform: Platform) -> None:
    """It can be, to its own Context."""
    context = make_context(tiny_complex, make_double(tiny_complex, **VIBRATING), platform, attach=True)
    copied = copy.copy(context.getIntegrator())
    second = mm.Context(context.getSystem(), copied, platform)
    second.setPositions(read(context)[0])
    context.getIntegrator().step(1)
    copied.step(1)
    assert_same(context, second)
    copied.attach(second)
    context.getIntegrator().step(2)
    copied.step(2)
    assert_same(context, second)


class TestRefusals:
    def test_no_context(self, tiny_complex: Complex) -> None:
        integrator = NeuralMDIntegrator(NeuralMDForce(tiny_complex, make_double(tiny_complex)))
        with pytest.raises(InputError, match=r"context .*openmm\.Context, such as simulation\.context"):
            integrator.attach(None)

    def test_another_context(self, tiny_complex: Complex, platform: Platform) -> None:
        context = make_context(tiny_complex, make_double(tiny_complex), platform, attach=False)
        integrator = NeuralMDIntegrator(NeuralMDForce(tiny_complex, make_double(tiny_complex)))
        with pytest.raises(InputError, match="made with another integrator"):
            integrator.attach(context)

    def test_what_is_not_held(self, tiny_complex: Complex, platform: Platform) -> None:
        system = mm.System()
        for _ in range(tiny_complex.topology.getNumAtoms()):
            system.addParticle(12.0)
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        system.addForce(force)
        integrator = NeuralMDIntegrator(force)
        context = mm.Context(system, integrator, platform)
        with pytest.raises(InputError, match=r"other particles .* can move: use force\.add_to\(system\)"):
            integrator.attach(context)

    def test_a_context_that_is_gone(self, tiny_complex: Complex, platform: Platform) -> None:
        context = make_context(tiny_complex, make_double(tiny_complex), platform, attach=True)
        integrator = context.getIntegrator()
        del context
        with pytest.raises(InputError, match="is gone"):
            integrator.step(1)

    def test_a_backend_without_python(self, tiny_complex: Complex, platform: Platform) -> None:
        context = make_context(tiny_complex, make_double(tiny_complex), platform, attach=False)
        integrator = context.getIntegrator()
        integrator._apart.settings = replace(integrator._apart.settings, computes_drift=False)
        with pytest.raises(NotImplementedError, match="backend 'python' or 'pythontorch'"):
            integrator.attach(context)
