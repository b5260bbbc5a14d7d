"""A synthetic ligand whose law is known: training must find its friction, noise and spread."""

import numpy as np
import pytest
import torch

from openmm_neuralmd.complex import load_bundled_complex
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model

FRICTION, STIFFNESS, NOISE = 1.2, 0.5, 0.3  # [1/snapshot], [1/snapshot^2], [A/snapshot^1.5]
N_FRAMES = 6000


def make_path(pose: np.ndarray) -> np.ndarray:
    """The rigid ligand's place follows x' = x + (1 - gamma) v - k x + s xi; [nm], (n_frames, n_atoms, 3)."""
    rng = np.random.default_rng(7)
    place, previous = np.zeros(3), np.zeros(3)
    places = []
    for _ in range(N_FRAMES + 50):
        following = place + (1.0 - FRICTION) * (place - previous) - STIFFNESS * place + NOISE * rng.standard_normal(3)
        place, previous = following, place
        places.append(place)
    return pose + np.array(places[50:])[:, None] / 10.0


@pytest.mark.slow
def test_recovers_friction_noise_and_variance(tmp_path):
    complex_ = load_bundled_complex()
    path = make_path(complex_.ligand.geometry)
    settings = TrainingSettings(iterations=500, batch_size=16, learning_rate=5e-3, validate_every=100, seed=1)
    train_model(
        complex_,
        [LigandTrajectory(path, 80.0, "synthetic", "0" * 64)],
        tmp_path / "ou.pt",
        kind="sde",
        snapshot_interval=80.0,
        config={"hidden": 16, "n_layers": 1, "n_radial": 16},
        settings=settings,
    )
    model = load_model(tmp_path / "ou.pt").bind(complex_)
    x = torch.from_numpy(path[::60] * 10.0).float()
    draws = torch.randn(len(x), model.n_noise, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        _, noise = model.compute_force_and_noise(x, draws)
    spread = noise.mean(1).std().item()
    paths = 10.0 * run_replicas(complex_, model, n_snapshots=120, seeds=list(range(16)))[20:].mean(axis=2)
    expected = (10.0 * path.mean(axis=1)).var(axis=0).mean()
    variance = paths.reshape(-1, 3).var(axis=0).mean()
    print(f"friction {model.friction:.3f}, noise {spread:.3f}, variance {variance:.4f} (path {expected:.4f})")
    assert model.friction == pytest.approx(FRICTION, rel=0.1)
    assert spread == pytest.approx(NOISE, rel=0.1)
    assert variance == pytest.approx(expected, rel=0.1)
