"""Any propagator moves the ligand in a Context: the path it makes alone, whatever befalls the Context meanwhile."""

import copy
from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
import pytest
import torch
from openmm import Platform, app

from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation import snapshots
from openmm_neuralmd.simulation.computation import number_scheme
from openmm_neuralmd.simulation.force import NeuralMDForce, choose_backend
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import EXACT_A, ModelDouble, build_periodic_system, displace, make_complex, make_double
from tests.simulation.walk import BLOCK, Walk, WalkModel, make_walk

N_SNAPSHOTS = 8
INTERVAL = 80.0
FIXED_POINT_A = 1e-7  # GPU platforms hold forces, which displacements are to them, in multiples of 2^-32


def make_context(
    complex_: Complex,
    model: WalkModel | ModelDouble,
    platform: Platform,
    *,
    seed: int = 7,
    system: mm.System | None = None,
    **settings: object,
) -> mm.Context:
    force = NeuralMDForce(complex_, model, seed=seed)
    system = build_rigid_system(complex_) if system is None else system
    force.add_to(system)
    context = mm.Context(system, NeuralMDIntegrator(force, **settings), platform)
    context.setPositions(complex_.positions)
    return context


def set_ligand(context: mm.Context, complex_: Complex, xyz: np.ndarray, velocities: np.ndarray) -> None:
    for change, whole, own in (
        (context.setPositions, complex_.positions, xyz),
        (context.setVelocities, np.zeros_like(complex_.positions), velocities),
    ):
        values = whole.copy()
        values[complex_.ligand.atom_indices] = own
        change(values)


def read(context: mm.Context, complex_: Complex) -> tuple[np.ndarray, np.ndarray]:
    """Ligand positions [nm] and velocities [nm/ps]."""
    state = context.getState(positions=True, velocities=True)
    ligand = complex_.ligand.atom_indices
    return state.getPositions(asNumpy=True)._value[ligand], state.getVelocities(asNumpy=True)._value[ligand]


def collect(context: mm.Context, complex_: Complex, n: int = N_SNAPSHOTS) -> np.ndarray:
    path = []
    for _ in range(n):
        context.getIntegrator().step(1)
        path.append(read(context, complex_)[0])
    return np.array(path)


def walk_alone(xyz: np.ndarray, velocities: np.ndarray, *, n: int = N_SNAPSHOTS, seed: int = 7) -> np.ndarray:
    """The same walk without OpenMM."""
    history = 10 * torch.from_numpy(np.stack([xyz - INTERVAL * velocities, xyz]))[None]
    walk = Walk()
    return propagate(walk, walk.start(history, [seed]), n)[0][:, 0].numpy() / 10


def test_path_of_a_walk_with_memory_and_blocks(tiny_complex: Complex, any_platform: Platform) -> None:
    model = make_walk(tiny_complex)
    context = make_context(tiny_complex, model, any_platform)
    start = tiny_complex.ligand.positions
    velocities = displace(np.zeros_like(start), 2e-4, seed=2)
    set_ligand(context, tiny_complex, start, velocities)
    found, expected = collect(context, tiny_complex), walk_alone(start, velocities)
    is_exact = any_platform.getName() in ("Reference", "CPU")
    assert 10 * np.abs(found - expected).max() < (EXACT_A if is_exact else FIXED_POINT_A)
    assert 10 * np.abs(found[-1] - start).max() > 0.05
    assert model.walk is not None
    assert model.walk.n_calls == -(-N_SNAPSHOTS // BLOCK)


def test_velocities_are_the_propagators_where_it_stands(tiny_complex: Complex, platform: Platform) -> None:
    """At the end of a block those of the state; within it what leads from snapshot to snapshot."""
    context = make_context(tiny_complex, make_walk(tiny_complex), platform)
    start = tiny_complex.ligand.positions
    walk = Walk()
    state, _ = walk.advance(walk.start(10 * torch.from_numpy(start)[None, None], [7]))
    before = start
    for k in range(BLOCK):
        context.getIntegrator().step(1)
        x, v = read(context, tiny_complex)
        expected = (x - before) / INTERVAL if k < BLOCK - 1 else state.velocities[0].numpy() * 0.1 / INTERVAL
        np.testing.assert_allclose(v, expected, rtol=0, atol=1e-14)
        before = x


def test_force_is_zero_and_asking_changes_nothing(tiny_complex: Complex, platform: Platform) -> None:
    context = make_context(tiny_complex, make_walk(tiny_complex), platform)
    expected = walk_alone(tiny_complex.ligand.positions, np.zeros_like(tiny_complex.ligand.positions))
    found = []
    for _ in range(N_SNAPSHOTS):
        state = context.getState(forces=True, energy=True)
        assert not state.getForces(asNumpy=True)._value.any()
        assert state.getPotentialEnergy()._value == 0.0
        found.append(collect(context, tiny_complex, 1)[0])
    assert 10 * np.abs(np.array(found) - expected).max() < EXACT_A


@pytest.mark.parametrize("done", [2, 3])
def test_positions_that_were_set_start_anew(done: int, tiny_complex: Complex, platform: Platform) -> None:
    """Amid a block or after it; from positions and velocities, with noise that was not used before."""
    context = make_context(tiny_complex, make_walk(tiny_complex), platform)
    collect(context, tiny_complex, done)
    start = displace(tiny_complex.ligand.positions, 0.02, seed=3)
    velocities = displace(np.zeros_like(start), 2e-4, seed=4)
    set_ligand(context, tiny_complex, start, velocities)
    found = collect(context, tiny_complex)
    history = 10 * torch.from_numpy(np.stack([start - INTERVAL * velocities, start]))[None]
    walk = Walk()
    state = walk.start(history, [7])
    expected = propagate(walk, type(state)(**{**vars(state), "step": done}), N_SNAPSHOTS)[0][:, 0].numpy() / 10
    assert 10 * np.abs(found - expected).max() < EXACT_A
    assert 10 * np.abs(found - walk_alone(start, velocities)).max() > 0.01


def test_a_context_begun_again_takes_the_first_path(tiny_complex: Complex, platform: Platform) -> None:
    context = make_context(tiny_complex, make_walk(tiny_complex), platform)
    first = collect(context, tiny_complex)
    context.setPositions(tiny_complex.positions)
    context.setVelocities(np.zeros_like(tiny_complex.positions))
    context.setStepCount(0)
    np.testing.assert_allclose(collect(context, tiny_complex), first, rtol=0, atol=1e-14)


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_checkpoint_goes_on_with_memory_and_noise(done: int, tiny_complex: Complex, any_platform: Platform) -> None:
    model = make_walk(tiny_complex)
    context = make_context(tiny_complex, model, any_platform)
    collect(context, tiny_complex, done)
    checkpoint = context.createCheckpoint()
    expected = collect(context, tiny_complex)
    calls = model.walk.n_calls  # type: ignore[union-attr]
    context.loadCheckpoint(checkpoint)
    np.testing.assert_allclose(collect(context, tiny_complex), expected, rtol=0, atol=1e-14)
    assert model.walk.n_calls == calls  # type: ignore[union-attr]  # nothing is made twice


def test_what_is_remembered_is_bounded(
    tiny_complex: Complex, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_REMEMBERED", 4)
    force = NeuralMDForce(tiny_complex, make_walk(tiny_complex), seed=7)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    context = mm.Context(system, NeuralMDIntegrator(force), platform)
    start = tiny_complex.ligand.positions
    set_ligand(context, tiny_complex, start, np.zeros_like(start))
    found = collect(context, tiny_complex, 20)
    assert 10 * np.abs(found - walk_alone(start, np.zeros_like(start), n=20)).max() < EXACT_A
    assert len(force.computation.get_path(number_scheme(None), 0)._kept) == 4


def test_contexts_of_one_system_take_their_own_paths(tiny_complex: Complex, platform: Platform) -> None:
    force = NeuralMDForce(tiny_complex, make_walk(tiny_complex), seed=7)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    starts = [displace(tiny_complex.ligand.positions, 0.02, seed=s) for s in (1, 2)]
    still = np.zeros_like(starts[0])
    contexts = [mm.Context(system, NeuralMDIntegrator(force), platform) for _ in starts]
    for context, start in zip(contexts, starts, strict=True):
        set_ligand(context, tiny_complex, start, still)
    paths: list[list[np.ndarray]] = [[], []]
    for _ in range(N_SNAPSHOTS):
        for context, path in zip(contexts, paths, strict=True):
            path.append(collect(context, tiny_complex, 1)[0])
    for path, start in zip(paths, starts, strict=True):
        assert 10 * np.abs(np.array(path) - walk_alone(start, still)).max() < EXACT_A


@pytest.mark.parametrize("by", [(0.0, 0.0, 0.0), (1.25, 1.3, 1.35), (-7.3, 8.9, 20.0)])
def test_periodic_images_do_not_reach_the_path(by: tuple[float, ...], any_platform: Platform) -> None:
    """Inside the box, across its faces and cells away, and with atoms wrapped one by one between steps."""
    box = np.array([[2.5, 0, 0], [0.8, 2.5, 0], [-0.8, 0.8, 2.4]])
    around = make_complex()
    complex_ = Complex.from_topology(around.topology, around.positions + np.array(by), "LIG")
    context = make_context(complex_, make_walk(complex_), any_platform, system=build_periodic_system(complex_, box))
    start = complex_.ligand.positions
    velocities = np.full_like(start, 3e-3)  # 0.24 nm a snapshot at first: far enough to come near another image
    set_ligand(context, complex_, start, velocities)
    expected = walk_alone(start, velocities)
    assert np.abs(expected[-1] - start).max() > 0.4
    rng = np.random.default_rng(5)
    for k in range(N_SNAPSHOTS):
        context.getIntegrator().step(1)
        x, v = read(context, complex_)
        shifts = np.round((x - expected[k]) @ np.linalg.inv(box)) @ box
        np.testing.assert_allclose(x - shifts, expected[k], rtol=0, atol=1e-9)
        set_ligand(context, complex_, x + rng.integers(-1, 2, size=x.shape) @ box, v)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("scheme", find_schemes())
def test_a_force_takes_the_same_path_by_snapshots(
    scheme: str, steps: int, tiny_complex: Complex, platform: Platform
) -> None:
    """The force program and the propagator of the same model, with projection and vibration."""
    noise = {"amplitude": 0.3, "wave": 0.4, "vibration": 0.03} if find_schemes()[scheme].takes_noise else {}
    model = make_double(tiny_complex, friction=0.7, **noise)
    start = displace(tiny_complex.ligand.positions, 0.03, seed=1)
    velocities = displace(np.zeros_like(start), 2e-4, seed=2)
    paths, ends = [], []
    for by_snapshots in (False, True):
        settings = {"scheme": scheme, "steps_per_snapshot": steps, "by_snapshots": by_snapshots}
        context = make_context(tiny_complex, model, platform, **settings)
        set_ligand(context, tiny_complex, start, velocities)
        integrator = context.getIntegrator()
        assert (integrator.steps_per_snapshot, integrator.inner_steps) == ((1, steps) if by_snapshots else (steps, 1))
        path = []
        for _ in range(20):
            integrator.step(integrator.steps_per_snapshot)
            path.append(read(context, tiny_complex)[0])
        paths.append(np.array(path))
        ends.append(read(context, tiny_complex)[1])
    assert 10 * np.abs(paths[0] - paths[1]).max() < EXACT_A
    assert 10 * INTERVAL * np.abs(ends[0] - ends[1]).max() < 1e-7
    assert 10 * np.abs(paths[0][-1] - start).max() > 0.1


def test_one_evaluation_of_the_model_a_step(tiny_complex: Complex, platform: Platform) -> None:
    model = make_double(tiny_complex, amplitude=0.3)
    context = make_context(tiny_complex, model, platform, by_snapshots=True)
    context.getIntegrator().step(10)
    assert model.n_evaluations == 10


def test_xml_and_copies_give_the_same_path(
    tiny_complex: Complex, model_files: dict[str, Path], platform: Platform
) -> None:
    force = NeuralMDForce(tiny_complex, load_model(model_files["sde"]), seed=5)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force, by_snapshots=True, scheme="heun", steps_per_snapshot=2)
    read_back = mm.XmlSerializer.clone(system)
    pairs = [
        (system, integrator),
        (read_back, NeuralMDIntegrator(read_back, by_snapshots=True, scheme="heun", steps_per_snapshot=2)),
        (read_back, mm.XmlSerializer.clone(integrator)),
        (copy.deepcopy(system), copy.deepcopy(integrator)),
    ]
    paths = []
    for one, stepper in pairs:
        context = mm.Context(one, stepper, platform)
        context.setPositions(tiny_complex.positions)
        paths.append(collect(context, tiny_complex, 3))
    assert all(np.array_equal(path, paths[0]) for path in paths)


def test_a_walk_that_breaks_says_where_and_can_go_on(tiny_complex: Complex, platform: Platform) -> None:
    model = make_walk(tiny_complex, breaks_at=2)
    context = make_context(tiny_complex, model, platform)
    collect(context, tiny_complex, BLOCK)
    before = read(context, tiny_complex)[0]
    with pytest.raises(NonFiniteStateError, match="step 2: the walk has left the map"):
        context.getIntegrator().step(1)
    assert np.array_equal(read(context, tiny_complex)[0], before)
    assert model.walk is not None
    model.walk.breaks_at = None
    context.getIntegrator().step(1)


@pytest.mark.parametrize("backend", ["torchforce", "pythontorch"])
def test_other_backends_refuse_what_is_no_force(backend: str, tiny_complex: Complex) -> None:
    with pytest.raises(NotImplementedError, match="evaluates forces, which this model is not"):
        NeuralMDForce(tiny_complex, make_walk(tiny_complex), backend=backend)
    assert choose_backend("auto", tiny_complex, make_walk(tiny_complex)) == "python"


def test_reporters_and_saved_states_of_a_simulation(tiny_complex: Complex, platform: Platform, tmp_path: Path) -> None:
    """OpenMM's own reporters see the walk; a state that was saved amid a block goes on with what was kept."""
    force = NeuralMDForce(tiny_complex, make_walk(tiny_complex), seed=7)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    simulation = app.Simulation(tiny_complex.topology, system, NeuralMDIntegrator(force), platform)
    simulation.context.setPositions(tiny_complex.positions)
    simulation.reporters.append(app.DCDReporter(str(tmp_path / "walk.dcd"), 1))
    simulation.reporters.append(app.CheckpointReporter(str(tmp_path / "state.xml"), 4, writeState=True))
    simulation.reporters.append(app.StateDataReporter(str(tmp_path / "walk.csv"), 2, step=True, potentialEnergy=True))
    simulation.step(7)
    start = tiny_complex.ligand.positions
    expected = walk_alone(start, np.zeros_like(start), n=12)
    simulation.reporters.clear()
    topology = mdtraj.Topology.from_openmm(tiny_complex.topology)
    found = mdtraj.load_dcd(str(tmp_path / "walk.dcd"), top=topology).xyz[:, tiny_complex.ligand.atom_indices]
    np.testing.assert_allclose(found, expected[:7], rtol=0, atol=1e-6)
    assert len((tmp_path / "walk.csv").read_text().splitlines()) == 4
    simulation.loadState(str(tmp_path / "state.xml"))
    assert simulation.currentStep == 4
    assert 10 * np.abs(collect(simulation.context, tiny_complex) - expected[4:]).max() < EXACT_A


def test_steps_beside_a_context_are_the_same(tiny_complex: Complex, platform: Platform) -> None:
    """Attached in the middle of a block, moved by hand on the way."""
    paths = []
    for is_attached in (False, True):
        context = make_context(tiny_complex, make_walk(tiny_complex), platform)
        integrator = context.getIntegrator()
        path = [collect(context, tiny_complex, 2)]
        if is_attached:
            integrator.attach(context)
        path.append(collect(context, tiny_complex, 3))
        set_ligand(context, tiny_complex, displace(tiny_complex.ligand.positions, 0.02, seed=3), np.zeros((1, 3)))
        path.append(collect(context, tiny_complex))
        paths.append(np.concatenate(path))
    np.testing.assert_allclose(paths[1], paths[0], rtol=0, atol=1e-14)


def test_what_the_propagator_refuses_is_told_at_once(tiny_complex: Complex) -> None:
    force = NeuralMDForce(tiny_complex, make_walk(tiny_complex))
    with pytest.raises(InputError, match="this model knows none"):
        NeuralMDIntegrator(force, scheme="heun")
    with pytest.raises(InputError, match="by_snapshots is 1"):
        NeuralMDIntegrator(force, by_snapshots=1)


def test_another_step_size_is_refused(tiny_complex: Complex, platform: Platform) -> None:
    context = make_context(tiny_complex, make_walk(tiny_complex), platform)
    context.getIntegrator().setStepSize(40.0)
    with pytest.raises(InputError, match="step size is 40 ps; this program moves by snapshots of 80 ps"):
        context.getIntegrator().step(1)


def test_a_scheme_that_is_not_installed(tiny_complex: Complex) -> None:
    """An integrator names its scheme by a number, also one that was saved elsewhere."""
    computation = NeuralMDForce(tiny_complex, make_double(tiny_complex)).computation
    with pytest.raises(InputError, match=r"by a scheme that is none of leapfrog, .*: install the package"):
        computation.get_path(number_scheme("not_here"), 1)


def test_numbers_of_schemes_differ() -> None:
    numbers = [number_scheme(name) for name in (None, *find_schemes())]
    assert len(set(numbers)) == len(numbers)
    assert all(float(np.float32(n)) == n for n in numbers)
