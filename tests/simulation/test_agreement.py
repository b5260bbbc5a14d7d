"""OpenMM and torch take the same path: same start, seed and scheme."""

from pathlib import Path

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import Platform

from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.models.bound import BoundForce
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import EXACT_A, SINGLE_PRECISION_A, displace, make_double

N_SNAPSHOTS = 20


def run_openmm(
    complex_: Complex,
    model: BoundForce,
    platform: Platform,
    start: np.ndarray,
    velocities: np.ndarray,
    **settings: object,
) -> np.ndarray:
    """Ligand positions [nm], (n_snapshots, n_atoms, 3)."""
    force = NeuralMDForce(complex_, model, seed=settings.pop("seed", 0), projection=settings.pop("projection", True))
    system = build_rigid_system(complex_)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force, **settings)
    context = mm.Context(system, integrator, platform)
    ligand = complex_.ligand.atom_indices
    whole = complex_.positions.copy()
    whole[ligand] = start
    context.setPositions(whole)
    whole_velocities = np.zeros_like(whole)
    whole_velocities[ligand] = velocities
    context.setVelocities(whole_velocities)
    path = []
    for _ in range(N_SNAPSHOTS):
        integrator.step(integrator.steps_per_snapshot)
        path.append(context.getState(positions=True).getPositions(asNumpy=True)._value[ligand])
    return np.array(path)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("scheme", find_schemes())
def test_agrees_to_rounding_in_double_precision(
    scheme: str, steps: int, projection: bool, tiny_complex: Complex, platform: Platform
) -> None:
    amplitude, wave = (0.3, 0.4) if find_schemes()[scheme].takes_noise else (0.0, 0.0)
    model = make_double(tiny_complex, amplitude=amplitude, wave=wave, friction=0.7, snapshot_interval=40.0)
    start = displace(tiny_complex.ligand.positions, 0.03, seed=1)
    velocities = displace(np.zeros_like(start), 2e-4, seed=2)
    settings = {"scheme": scheme, "steps_per_snapshot": steps, "projection": projection}
    found = run_openmm(tiny_complex, model, platform, start, velocities, seed=11, **settings)
    expected = run_replicas(
        tiny_complex,
        model,
        n_snapshots=N_SNAPSHOTS,
        seeds=[11],
        starts=start[None],
        velocities=velocities[None],
        **settings,
    )
    assert 10 * np.abs(found - expected[:, 0]).max() < EXACT_A
    assert 10 * np.abs(found[-1] - start).max() > 0.1


@pytest.mark.parametrize("kind", ["ode", "sde"])
def test_agrees_in_single_precision(kind: str, model_files: dict[str, Path]) -> None:
    complex_ = load_bundled_complex()
    platform = Platform.getPlatformByName("CPU")
    model = load_model(model_files[kind]).bind(complex_, dtype=torch.float32)
    start = complex_.ligand.positions
    found = run_openmm(complex_, model, platform, start, np.zeros_like(start), seed=3)
    expected = run_replicas(complex_, model, n_snapshots=N_SNAPSHOTS, seeds=[3])
    assert 10 * np.abs(found - expected[:, 0]).max() < SINGLE_PRECISION_A
    assert 10 * np.abs(found[-1] - start).max() > 0.01


def test_a_replica_is_the_same_alone_and_in_a_batch(tiny_complex: Complex) -> None:
    model = make_double(tiny_complex, amplitude=0.3, friction=0.5)
    together = run_replicas(tiny_complex, model, n_snapshots=10, seeds=[4, 9, 4])
    alone = run_replicas(tiny_complex, model, n_snapshots=10, seeds=[9])
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(together[:, 0], together[:, 2], rtol=0, atol=1e-12)
    assert np.abs(together[:, 0] - together[:, 1]).max() > 0.01


@pytest.mark.parametrize("steps", [1, 2])
def test_vibrations_agree(steps: int, tiny_complex: Complex, platform: Platform) -> None:
    model = make_double(tiny_complex, amplitude=0.3, vibration=0.03, friction=0.7)
    start = tiny_complex.ligand.positions
    settings = {"steps_per_snapshot": steps, "scheme": "leapfrog"}
    found = run_openmm(tiny_complex, model, platform, start, np.zeros_like(start), seed=11, **settings)
    expected = run_replicas(tiny_complex, model, n_snapshots=N_SNAPSHOTS, seeds=[11], **settings)
    assert 10 * np.abs(found - expected[:, 0]).max() < EXACT_A


def test_vibration_is_shown_and_not_felt(tiny_complex: Complex) -> None:
    """With vibration every snapshot differs from the one without it, by a draw of its own that leaves no trace."""
    still, moving = (make_double(tiny_complex, amplitude=0.3, vibration=s, friction=0.5) for s in (0.0, 0.03))
    paths = [run_replicas(tiny_complex, m, n_snapshots=30, seeds=[1], steps_per_snapshot=2) for m in (still, moving)]
    difference = 10 * (paths[1] - paths[0])[:, 0]
    assert 0.01 < np.abs(difference[:3]).max() < 0.3
    assert np.abs(difference).max() < 0.3
    assert np.corrcoef(difference[10].ravel(), difference[11].ravel())[0, 1] < 0.9


def test_initial_velocities_are_mapped_once(tiny_complex: Complex) -> None:
    """Both sides start from the model's mapping of the velocities at hand, and later steps do not map again."""
    settings = {"scheme": "leapfrog", "projection": False}
    start = displace(tiny_complex.ligand.positions, 0.03, seed=1)
    plain = make_double(tiny_complex, friction=0.7)
    mapped = make_double(tiny_complex, friction=0.7, mapping=0.5)
    velocities = 0.5 * (start - tiny_complex.ligand.positions) / plain.snapshot_interval
    by_hand = run_replicas(
        tiny_complex, plain, n_snapshots=5, seeds=[0], starts=start[None], velocities=velocities[None], **settings
    )
    found = run_replicas(tiny_complex, mapped, n_snapshots=5, seeds=[0], starts=start[None], **settings)
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-12)
