"""NeuralMDForce: the right force, in any System, with noise that is nobody else's, and errors that arrive."""

import copy
import pickle
import traceback
from dataclasses import replace

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import Platform

from openmm_neuralmd.errors import (
    InputError,
    ModelContractError,
    NonFiniteStateError,
    ProjectionError,
    TopologyMismatchError,
)
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce, compute_physical_energy
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import ModelDouble, build_periodic_system, make_complex, make_double, make_topology


def build_free_system(complex_: Complex, *, moved_mass: float = 0.0) -> mm.System:
    """All atoms free, with a spring on each as physical force; hydrogen masses repartitioned by ``moved_mass`` [Da]."""
    system = mm.System()
    masses = np.array([a.element.mass._value for a in complex_.topology.atoms()])
    masses[complex_.ligand.hydrogen_indices] += moved_mass
    np.subtract.at(masses, complex_.ligand.atom_indices[complex_.ligand.hydrogen_parents], moved_mass)
    spring = mm.CustomExternalForce("x*x")
    for k, mass in enumerate(masses):
        system.addParticle(mass)
        spring.addParticle(k)
    system.addForce(spring)
    return system


def make_context(system: mm.System, complex_: Complex, integrator: mm.Integrator, platform: Platform) -> mm.Context:
    context = mm.Context(system, integrator, platform)
    context.setPositions(complex_.positions)
    context.computeVirtualSites()
    return context


def run_path(
    complex_: Complex, model: ModelDouble, platform: Platform, *, n_steps: int = 5, seed: int = 0
) -> np.ndarray:
    force = NeuralMDForce(complex_, model, seed=seed)
    system = build_rigid_system(complex_)
    force.add_to(system)
    context = make_context(system, complex_, NeuralMDIntegrator(force), platform)
    return collect_path(context, n_steps)


def collect_path(context: mm.Context, n_steps: int) -> np.ndarray:
    path = []
    for _ in range(n_steps):
        context.getIntegrator().step(1)
        path.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return np.array(path)


def read_forces(context: mm.Context, force: mm.Force, ligand: np.ndarray) -> np.ndarray:
    """Of the learned force alone [kJ/mol/nm]."""
    state = context.getState(forces=True, groups={force.getForceGroup()})
    return state.getForces(asNumpy=True)._value[ligand]


class TestValues:
    def test_equals_the_direct_model_call(self, tiny_complex, platform, model_files) -> None:
        """In kJ/mol/nm: 0.1 / (80 ps)^2 times Da A/snapshot^2; drift only, whatever the noise."""
        model = load_model(model_files["sde"]).bind(tiny_complex, dtype=torch.float64)
        force = NeuralMDForce(tiny_complex, model)
        system = build_free_system(tiny_complex)
        system.addForce(force)
        context = make_context(system, tiny_complex, mm.VerletIntegrator(0.001), platform)
        x = torch.from_numpy(10 * tiny_complex.ligand.positions)[None]
        expected = model.compute_force(x)[0].detach().numpy() * 0.1 / 80.0**2
        found = read_forces(context, force, tiny_complex.ligand.atom_indices)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-18)
        assert np.abs(expected).max() > 0

    def test_takes_a_loaded_model(self, tiny_complex, model_files) -> None:
        assert NeuralMDForce(tiny_complex, load_model(model_files["ode"])).model.n_atoms == tiny_complex.ligand.n_atoms

    @pytest.mark.parametrize("moved_mass", [0.0, 2.0])
    def test_motion_does_not_depend_on_the_systems_masses(self, moved_mass, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.2)
        expected = run_path(tiny_complex, model, platform)
        force = NeuralMDForce(tiny_complex, model)
        system = build_free_system(tiny_complex, moved_mass=moved_mass)
        force.add_to(system)
        found = collect_path(make_context(system, tiny_complex, NeuralMDIntegrator(force), platform), 5)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

    def test_plain_add_force_moves_the_ligand_the_same_way(self, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.2)
        expected = run_path(tiny_complex, model, platform)
        force = NeuralMDForce(tiny_complex, model)
        system = build_free_system(tiny_complex)
        system.addForce(force)
        found = collect_path(make_context(system, tiny_complex, NeuralMDIntegrator(force), platform), 5)
        ligand = tiny_complex.ligand.atom_indices
        np.testing.assert_allclose(found[:, ligand], expected[:, ligand], rtol=0, atol=1e-12)

    def test_turns_with_the_system(self, tiny_complex, platform, model_files) -> None:
        """The complex in another orientation and place gives the turned force."""
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        moved = Complex.from_topology(tiny_complex.topology, tiny_complex.positions @ turn.T + [2.0, 1.0, -3.0], "LIG")
        forces = []
        for complex_ in (tiny_complex, moved):
            force = NeuralMDForce(complex_, load_model(model_files["ode"]).bind(complex_, dtype=torch.float64))
            system = build_rigid_system(complex_)
            force.add_to(system)
            context = make_context(system, complex_, mm.VerletIntegrator(0.001), platform)
            forces.append(read_forces(context, force, complex_.ligand.atom_indices))
        np.testing.assert_allclose(forces[1], forces[0] @ turn.T, rtol=0, atol=1e-8 * np.abs(forces[0]).max())


class TestNoise:
    def test_same_seed_same_path_other_seed_other_path(self, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.3)
        first, again, other = (run_path(tiny_complex, model, platform, seed=s) for s in (3, 3, 4))
        assert np.array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3

    def test_live_contexts_do_not_disturb_each_other(self, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.3)
        alone = [run_path(tiny_complex, model, platform, seed=s) for s in (0, 1)]
        contexts = []
        for seed in (0, 1):
            force = NeuralMDForce(tiny_complex, model, seed=seed)
            system = build_rigid_system(tiny_complex)
            force.add_to(system)
            contexts.append(make_context(system, tiny_complex, NeuralMDIntegrator(force), platform))
        paths: list[list[np.ndarray]] = [[], []]
        for _ in range(5):
            for k, context in enumerate(contexts):
                paths[k].append(collect_path(context, 1)[0])
        assert np.array_equal(np.array(paths), np.array(alone))

    def test_asking_for_forces_changes_nothing(self, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.3)
        force = NeuralMDForce(tiny_complex, model)
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
        path = []
        for _ in range(5):
            found = read_forces(context, force, tiny_complex.ligand.atom_indices)
            x = context.getState(positions=True).getPositions(asNumpy=True)._value[tiny_complex.ligand.atom_indices]
            expected = -model.stiffness * (10 * x - model.centre.numpy()) * 0.1 / 80.0**2
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
            path.append(collect_path(context, 1)[0])
        assert np.array_equal(np.array(path), run_path(tiny_complex, model, platform))

    def test_a_checkpoint_goes_on_with_the_same_noise(self, tiny_complex, platform) -> None:
        model = make_double(tiny_complex, amplitude=0.3)
        force = NeuralMDForce(tiny_complex, model)
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
        collect_path(context, 3)
        checkpoint = context.createCheckpoint()
        expected = collect_path(context, 4)
        context.loadCheckpoint(checkpoint)
        assert np.array_equal(collect_path(context, 4), expected)

    @pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a"])
    def test_wrong_seed(self, tiny_complex, seed) -> None:
        with pytest.raises(InputError, match=f"seed {seed!r}: give an integer"):
            NeuralMDForce(tiny_complex, make_double(tiny_complex), seed=seed)


class TestPeriodicImages:
    @pytest.mark.parametrize(
        "box", [np.diag([2.5, 2.6, 2.7]), np.array([[2.5, 0, 0], [0.8, 2.5, 0], [-0.8, 0.8, 2.4]])]
    )
    def test_any_image_of_any_atom_gives_the_same_force(self, box, tiny_complex, platform) -> None:
        """As GPU platforms do it: atoms arrive wrapped one by one."""
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        system = build_periodic_system(tiny_complex, box)
        force.add_to(system)
        context = make_context(system, tiny_complex, mm.VerletIntegrator(0.001), platform)
        ligand = tiny_complex.ligand.atom_indices
        positions = tiny_complex.positions.copy()
        positions[ligand] += np.random.default_rng(0).normal(size=(len(ligand), 3)) * 0.01
        context.setPositions(positions)
        expected = read_forces(context, force, ligand)
        shifts = np.random.default_rng(2).integers(-2, 3, size=(len(ligand), 3))
        positions[ligand] += shifts @ box
        context.setPositions(positions)
        np.testing.assert_allclose(read_forces(context, force, ligand), expected, rtol=0, atol=1e-12)
        assert force.usesPeriodicBoundaryConditions()

    def test_ligand_in_another_image_than_the_protein_is_brought_back(self, model_files) -> None:
        """A PDB file with the ligand one box away: the pocket is found all the same."""
        complex_ = make_complex(box=4.0)
        away = complex_.positions.copy()
        own = np.concatenate([complex_.ligand.atom_indices, complex_.ligand.hydrogen_indices])
        away[own] += [4.0, -4.0, 0.0]
        moved = Complex.from_topology(complex_.topology, away, "LIG")
        model = load_model(model_files["ode"])
        near, far = NeuralMDForce(complex_, model), NeuralMDForce(moved, model)
        np.testing.assert_allclose(far.complex.positions, complex_.positions, rtol=0, atol=1e-12)
        x = torch.from_numpy(10 * complex_.ligand.positions).float()[None]
        assert torch.allclose(near.model.compute_force(x), far.model.compute_force(x), rtol=1e-4, atol=1e-5)

    def test_whole_system_in_another_image_walks_the_same_path(self, tiny_complex, platform) -> None:
        paths = []
        for shift in ([0.0, 0.0, 0.0], [4.0, -8.0, 0.0]):
            force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
            system = build_periodic_system(tiny_complex, 4.0 * np.eye(3))
            force.add_to(system)
            context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
            context.setPositions(tiny_complex.positions + shift)
            paths.append(collect_path(context, 3) - shift)
        np.testing.assert_allclose(paths[1], paths[0], rtol=0, atol=1e-9)

    def test_not_periodic_without_a_box(self, tiny_complex) -> None:
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        force.add_to(build_rigid_system(tiny_complex))
        assert not force.usesPeriodicBoundaryConditions()


class TestExistingSystems:
    def test_integrator_made_too_early_is_refused(self, tiny_complex) -> None:
        """Force group 31 is taken: the force gets another one, which the integrator's program does not name."""
        system = build_free_system(tiny_complex)
        system.getForce(0).setForceGroup(31)
        before = mm.XmlSerializer.serialize(system)
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        NeuralMDIntegrator(force)
        with pytest.raises(InputError, match="then add_to, then the integrator"):
            force.add_to(system)
        assert mm.XmlSerializer.serialize(system) == before

    def test_constraints_added_later_are_refused(self, tiny_complex) -> None:
        system = build_free_system(tiny_complex)
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        force.add_to(system)
        system.addConstraint(0, 1, 0.15)
        with pytest.raises(InputError, match="1 constraints that were added after add_to"):
            NeuralMDIntegrator(force)

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_copies_of_an_integrator_step_alike(self, duplicate, tiny_complex, platform) -> None:
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex, amplitude=0.3))
        system = build_free_system(tiny_complex)
        force.add_to(system)
        integrator = NeuralMDIntegrator(force)
        paths = [
            collect_path(make_context(system, tiny_complex, i, platform), 3)
            for i in (duplicate(integrator), integrator)
        ]
        assert np.array_equal(*paths)

    def test_force_of_another_system_is_refused(self, tiny_complex) -> None:
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        force.add_to(build_free_system(tiny_complex))
        second = build_free_system(tiny_complex)
        before = mm.XmlSerializer.serialize(second)
        with pytest.raises(InputError, match="in a System already"):
            force.add_to(second)
        assert mm.XmlSerializer.serialize(second) == before

    def test_protein_that_stands_elsewhere_is_refused(self, tiny_complex, platform) -> None:
        """The pocket is the complex's: among another frame's positions the ligand would feel a ghost."""
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
        turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        context.setPositions(tiny_complex.positions @ turn.T)
        with pytest.raises(InputError, match="step 1: the protein is not where it was"):
            context.getIntegrator().step(1)
        context.setPositions(np.round(tiny_complex.positions, 4))  # as a PDB file has them
        context.getIntegrator().step(1)

    def test_other_forces_stay_and_their_energy_is_read_without_the_model(self, tiny_complex, platform) -> None:
        system = build_free_system(tiny_complex)
        before = mm.XmlSerializer.serialize(system.getForce(0))
        model = make_double(tiny_complex)
        force = NeuralMDForce(tiny_complex, model)
        held = force.add_to(system)
        assert mm.XmlSerializer.serialize(system.getForce(0)) == before
        context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
        energy = compute_physical_energy(context)._value
        assert energy == pytest.approx((tiny_complex.positions[:, 0] ** 2).sum(), rel=1e-5)
        assert model.n_evaluations == 0
        assert held.n_following == len(tiny_complex.ligand.hydrogen_indices)

    def test_takes_a_free_force_group(self, tiny_complex) -> None:
        system = build_free_system(tiny_complex)
        system.getForce(0).setForceGroup(31)
        charges = mm.NonbondedForce()
        for _ in range(system.getNumParticles()):
            charges.addParticle(0, 0.1, 0)
        charges.setReciprocalSpaceForceGroup(30)
        system.addForce(charges)
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        force.add_to(system)
        assert force.getForceGroup() == 29

    def test_no_free_force_group(self, tiny_complex) -> None:
        system = build_free_system(tiny_complex)
        for group in range(32):
            spring = mm.CustomExternalForce("x")
            spring.setForceGroup(group)
            system.addForce(spring)
        with pytest.raises(InputError, match="32 force groups"):
            NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(system)

    @pytest.mark.parametrize(
        "mover",
        [
            mm.CMMotionRemover(),
            mm.MonteCarloBarostat(1, 300),
            mm.MonteCarloAnisotropicBarostat(mm.Vec3(1, 1, 1), 300),
            mm.MonteCarloFlexibleBarostat(1, 300),
            mm.MonteCarloMembraneBarostat(
                1, 0, 300, mm.MonteCarloMembraneBarostat.XYIsotropic, mm.MonteCarloMembraneBarostat.ZFree
            ),
            mm.AndersenThermostat(300, 1),
        ],
        ids=lambda f: type(f).__name__,
    )
    def test_movers_are_refused_and_nothing_is_changed(self, mover, tiny_complex) -> None:
        system = build_free_system(tiny_complex)
        system.addForce(mm.XmlSerializer.clone(mover))
        before = mm.XmlSerializer.serialize(system)
        with pytest.raises(InputError, match=r"system\.removeForce\(1\)"):
            NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(system)
        assert mm.XmlSerializer.serialize(system) == before

    def test_second_force_is_refused(self, tiny_complex) -> None:
        system = build_free_system(tiny_complex)
        NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(system)
        with pytest.raises(InputError, match="already"):
            NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(system)

    def test_another_system_is_refused(self, tiny_complex) -> None:
        with pytest.raises(TopologyMismatchError, match="particles"):
            NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(mm.System())

    def test_model_of_another_ligand_is_refused(self, tiny_complex) -> None:
        with pytest.raises(ModelContractError, match="bound to 3 atoms"):
            NeuralMDForce(tiny_complex, make_double(make_complex("CCO")))

    @pytest.mark.parametrize("chain", ["B", "C"])
    def test_one_of_two_ligands_moves(self, chain, platform) -> None:
        topology, positions = make_topology("CC(=O)Nc1ccccc1", n_copies=2)
        complex_ = Complex.from_topology(topology, positions, f"LIG:{chain}")
        path = run_path(complex_, make_double(complex_, amplitude=0.3), platform)
        moved = np.flatnonzero(np.abs(path[-1] - positions).max(axis=1) > 1e-6)
        residues = {a.residue.chain.id for a in topology.atoms() if a.index in moved}
        assert residues == {chain}

    def test_constraints_and_virtual_sites_elsewhere(self, tiny_complex, platform) -> None:
        """Constrained hydrogens of the ligand, a constrained pair and a virtual site of the surroundings."""
        system = build_free_system(tiny_complex)
        ligand = tiny_complex.ligand
        for hydrogen, parent in zip(ligand.hydrogen_indices, ligand.hydrogen_parents, strict=True):
            system.addConstraint(int(hydrogen), int(ligand.atom_indices[parent]), 0.109)
        system.addConstraint(0, 1, 0.15)
        system.setParticleMass(5, 0.0)
        system.setVirtualSite(5, mm.TwoParticleAverageSite(3, 4, 0.5, 0.5))
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex, amplitude=0.3))
        held = force.add_to(system)
        assert held.n_constraints_removed == len(ligand.hydrogen_indices) + 1
        context = make_context(system, tiny_complex, NeuralMDIntegrator(force), platform)
        path = collect_path(context, 5)
        fixed = np.setdiff1d(np.arange(system.getNumParticles()), [*ligand.atom_indices, *ligand.hydrogen_indices, 5])
        assert np.abs(path[:, fixed] - tiny_complex.positions[fixed]).max() < 1e-12
        bonded = ligand.atom_indices[ligand.hydrogen_parents]
        lengths = np.linalg.norm(path[:, ligand.hydrogen_indices] - path[:, bonded], axis=-1)
        start = np.linalg.norm(
            tiny_complex.positions[ligand.hydrogen_indices] - tiny_complex.positions[bonded], axis=-1
        )
        np.testing.assert_allclose(lengths, np.broadcast_to(start, lengths.shape), rtol=0, atol=1e-6)


class Broken(ModelDouble):
    """Raises, or returns NaN, at an evaluation."""

    error: BaseException | None = None
    at: int = 3

    def compute_force(self, positions: torch.Tensor) -> torch.Tensor:
        force = super().compute_force(positions)
        if self.n_evaluations == self.at:
            if self.error is None:
                return force * torch.nan
            raise self.error
        return force


class TestErrors:
    def make_broken(self, complex_: Complex, error: BaseException | None, platform: Platform) -> mm.Context:
        model = Broken(**vars(make_double(complex_)))
        model.error = error
        force = NeuralMDForce(complex_, model)
        system = build_rigid_system(complex_)
        force.add_to(system)
        self.integrator = NeuralMDIntegrator(force)
        return make_context(system, complex_, self.integrator, platform)

    @pytest.mark.parametrize("error", [ZeroDivisionError("in the model"), KeyboardInterrupt(), MemoryError("big")])
    def test_an_exception_arrives_as_it_was_raised(self, error, tiny_complex, platform) -> None:
        self.context = self.make_broken(tiny_complex, error, platform)
        self.integrator.step(2)
        with pytest.raises(type(error)) as caught:
            self.integrator.step(5)
        assert caught.value is error
        assert "compute_force" in "".join(traceback.format_tb(caught.value.__traceback__))
        self.integrator.step(1)  # an earlier error is not raised again

    def test_ctrl_c_while_the_callable_is_entered(self, tiny_complex, platform, monkeypatch) -> None:
        """OpenMM passes on no more than that there was an exception."""
        self.context = self.make_broken(tiny_complex, None, platform)

        def interrupt(*_: object) -> None:
            raise mm.OpenMMException("<NULL>")

        monkeypatch.setattr(mm.CustomIntegrator, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            self.integrator.step(1)

    def test_nan_names_the_step(self, tiny_complex, platform) -> None:
        self.context = self.make_broken(tiny_complex, None, platform)
        with pytest.raises(NonFiniteStateError, match="step 3"):
            self.integrator.step(5)

    def test_nan_positions_name_the_step(self, tiny_complex, platform) -> None:
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        integrator = NeuralMDIntegrator(force)
        context = make_context(system, tiny_complex, integrator, platform)
        integrator.step(2)
        velocities = np.zeros_like(tiny_complex.positions)
        velocities[tiny_complex.ligand.atom_indices] = np.nan
        context.setVelocities(velocities)
        with pytest.raises(NonFiniteStateError, match="step 3"):
            integrator.step(1)

    def test_projection_errors_name_the_step(self, tiny_complex, platform, monkeypatch) -> None:
        monkeypatch.setattr("openmm_neuralmd.dynamics.projection.MAX_ITERATIONS", 0)
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex, amplitude=1.0))
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        integrator = NeuralMDIntegrator(force)
        self.context = make_context(system, tiny_complex, integrator, platform)
        with pytest.raises(ProjectionError, match="step 1"):
            integrator.step(1)

    def test_openmms_own_errors_stay(self, tiny_complex, platform) -> None:
        force = NeuralMDForce(tiny_complex, make_double(tiny_complex))
        system = build_rigid_system(tiny_complex)
        force.add_to(system)
        integrator = NeuralMDIntegrator(force)
        self.context = mm.Context(system, integrator, platform)
        with pytest.raises(mm.OpenMMException, match="positions"):
            integrator.step(1)


def test_projection_can_be_left_out(tiny_complex, platform) -> None:
    force = NeuralMDForce(tiny_complex, make_double(tiny_complex, amplitude=0.5), projection=False)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    path = collect_path(make_context(system, tiny_complex, NeuralMDIntegrator(force), platform), 5)
    pairs, distances = tiny_complex.ligand.find_constraints()
    x = path[-1][tiny_complex.ligand.atom_indices]
    assert np.abs(np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1) - distances).max() > 0.01
    assert force.computation.n_iterations == 0


def test_complex_is_not_changed(tiny_complex, platform) -> None:
    before = replace(tiny_complex, positions=tiny_complex.positions.copy())
    run_path(tiny_complex, make_double(tiny_complex, amplitude=0.3), platform)
    assert np.array_equal(before.positions, tiny_complex.positions)
