"""A synthetic ligand whose law is known: a rigid ring whose place and turn are Ornstein-Uhlenbeck processes.

v(t+1) = (1 - gamma) v(t) - k c(t) + s xi,    c(t+1) = c(t) + v(t+1)

for each coordinate of the centroid, and the same with a smaller s for the vector of rotation. Training has to find
gamma and s, and its rollouts the stationary variance of c.
"""

import math

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.models.losses.rollouts import sample_paths
from openmm_neuralmd.models.losses.transition import compute_transition
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinStructure
from openmm_neuralmd.models.registry import build_network
from openmm_neuralmd.molecule.shape import build_shape
from openmm_neuralmd.training.loop import ComplexWindows, Trainer, TrainingSettings

FRICTION, STIFFNESS, NOISE, TURN = 1.2, 0.5, 0.30, 0.06  # [1/snapshot], [1/snapshot^2], [A], [rad]
N_FRAMES = 6000


def simulate(noise: float, generator: torch.Generator) -> Tensor:
    """Three independent coordinates, (N_FRAMES, 3), after they have forgotten their start."""
    v, c = torch.zeros(3), torch.zeros(3)
    path = []
    for _ in range(N_FRAMES + 200):
        v = (1.0 - FRICTION) * v - STIFFNESS * c + noise * torch.randn(3, generator=generator)
        c = c + v
        path.append(c)
    return torch.stack(path[200:])


def build_ring() -> tuple[LigandGraph, Tensor]:
    """Six carbons, and their coordinates [A]."""
    atoms = torch.arange(6)
    angle = atoms * math.pi / 3.0
    ring = 1.40 * torch.stack([angle.cos(), angle.sin(), torch.zeros(6)], dim=1)
    difference = (atoms[:, None] - atoms).abs()
    bonds = torch.stack([atoms, (atoms + 1) % 6], dim=1)
    graph = LigandGraph(
        elements=torch.full((6,), 6),
        masses=torch.full((6,), 12.0),
        separation=torch.minimum(difference, 6 - difference),
        torsion_axes=torch.zeros(0, 2, dtype=torch.int64),
        torsion_sides=torch.zeros(0, 6),
        shape=build_shape(ring.numpy() / 10.0, bonds.numpy()).convert(10.0, ring.dtype),
    )
    return graph, ring


def build_shell(generator: torch.Generator) -> ProteinStructure:
    """Twelve unlinked residues on a sphere of 6 A."""

    def draw() -> Tensor:
        return torch.nn.functional.normalize(torch.randn(12, 3, generator=generator), dim=-1)

    ca = 6.0 * draw()
    backbone = torch.stack([ca + 1.46 * draw(), ca, ca + 1.52 * draw()], dim=1)
    return ProteinStructure(torch.arange(12), backbone, torch.zeros(12, dtype=torch.bool), ca.mean(0))


def build_rotations(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3))


@pytest.mark.slow
def test_training_recovers_friction_noise_and_stationary_variance(tmp_path):
    generator = torch.Generator().manual_seed(0)
    graph, ring = build_ring()
    structure = build_shell(generator)
    centroid, turn = simulate(NOISE, generator), simulate(TURN, generator)
    jitter = 0.02 * torch.randn(N_FRAMES, 6, 3, generator=generator)
    x = (build_rotations(turn) @ ring.T).transpose(1, 2) + centroid[:, None] + jitter
    n_steps = 6
    windows = torch.stack([x[k : N_FRAMES - n_steps - 1 + k] for k in range(n_steps + 2)], dim=1)
    training, validation = windows[:4800], windows[4800 : 4800 + 400]
    torch.manual_seed(0)
    net = build_network(
        "sde", {"hidden": 32, "n_layers": 1, "n_radial": 16, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
    )
    settings = TrainingSettings(
        iterations=1100, batch_size=24, learning_rate=5e-3, displacement=0.0, rollout=n_steps, validate_every=250
    )
    complex_ = ComplexWindows(graph, structure, [training], [validation])
    result = Trainer(net, "sde", [complex_], settings, tmp_path).run()
    net.load_state_dict(result.state)
    net.eval()
    with torch.no_grad():
        protein = net.embed_protein(structure)
        current = validation[:, 1]
        _, fields = compute_transition(net, current - validation[:, 0], current, graph, protein)
        noise = (fields.unflatten(1, (6, 3)).mean(1).square().sum((1, 2)) / 3.0).mean().sqrt()
        starts = training[::40]
        start = torch.cat([starts[:, :2], starts[:, 1:2].expand(-1, 60, -1, -1)], dim=1)
        paths = sample_paths(net, start, graph, protein, torch.Generator().manual_seed(1))
    variance = paths[:, :, 20:].mean(3).square().mean()
    print(f"friction {net.compute_friction():.3f} noise {noise:.3f} variance {variance:.4f}")
    assert net.compute_friction().item() == pytest.approx(FRICTION, rel=0.1)
    assert noise.item() == pytest.approx(NOISE, rel=0.1)
    assert variance.item() == pytest.approx(compute_stationary_variance(), rel=0.1)


def compute_stationary_variance() -> float:
    """Of c: c(t+1) = a c(t) + b c(t-1) + s xi is an AR(2) process, a = 2 - gamma - k, b = gamma - 1."""
    a, b = 2.0 - FRICTION - STIFFNESS, FRICTION - 1.0
    return (1.0 - b) * NOISE**2 / ((1.0 + b) * ((1.0 - b) ** 2 - a**2))


def test_stationary_variance_is_that_of_a_long_path():
    path = simulate(NOISE, torch.Generator().manual_seed(2))
    assert path.square().mean().item() == pytest.approx(compute_stationary_variance(), rel=0.05)
