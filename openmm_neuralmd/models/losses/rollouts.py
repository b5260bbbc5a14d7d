"""Rollouts inside training, with gradients: the coarse step with settled bonds, and the score that judges paths."""

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.dynamics.stepped import Projected, Stepped
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding
from openmm_neuralmd.molecule.constraints import settle
from openmm_neuralmd.molecule.geometry import compute_norm

N_SAMPLES = 2
"""Of each window: the score of theory (7.6) needs two."""


def make_training_step(
    net: BindingNet, graph: LigandGraph, protein: ProteinEmbedding, generator: torch.Generator
) -> Stepped:
    """The leapfrog step of a network, one a snapshot, with gradients to its weights; noise from a generator."""
    masses = graph.masses[:, None]

    def compute_acceleration(x: Tensor) -> Tensor:
        return net(x, graph, protein) / masses

    def compute_acceleration_and_noise(x: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        force, noise = net.compute_force_and_noise(x, increments, graph, protein)
        return force / masses, noise

    def compute_vibration(x: Tensor, normals: Tensor) -> Tensor:
        return net.compute_vibration(x, normals, graph)

    def project(x: Tensor) -> Projected:
        return Projected(settle(x, graph.shape))

    def map_velocities(x: Tensor, v: Tensor) -> Tensor:
        return net.map_velocities(x, v, graph)

    def draw(state: State, n: int) -> Tensor:
        x = state.positions
        return torch.randn(state.n_replicas, n, generator=generator, dtype=x.dtype, device=x.device)

    n_noise = net.count_noise(graph)
    return Stepped(
        Dynamics(
            compute_acceleration,
            compute_acceleration_and_noise,
            net.compute_friction(),
            n_noise,
            compute_vibration if n_noise > 0 else None,
        ),
        project=project,
        map_velocities=map_velocities,
        draw=draw,
    )


def roll_out(step: Stepped, history: Tensor, n_snapshots: int) -> Tensor:
    """Snapshots after those of a history [A], (n, 2, n_atoms, 3), as (n, n_snapshots, n_atoms, 3)."""
    state = step.start(history, range(len(history)))  # seeds that ``draw`` does not use
    path, _ = propagate(step, state, n_snapshots)
    return path.transpose(0, 1)


def sample_paths(
    net: BindingNet, window: Tensor, graph: LigandGraph, protein: ProteinEmbedding, generator: torch.Generator
) -> Tensor:
    """Paths from the start of each window, which gives x_(t-1) and x_t, over the rest of its length.

    Args:
        window: [A], (n, n_steps + 2, n_atoms, 3).

    Returns:
        [A], (N_SAMPLES, n, n_steps, n_atoms, 3).
    """
    history = window[:, :2].repeat(N_SAMPLES, 1, 1, 1)
    path = roll_out(make_training_step(net, graph, protein, generator), history, window.shape[1] - 2)
    return path.unflatten(0, (N_SAMPLES, -1))


def compute_path_score(paths: Tensor, reference: Tensor) -> Tensor:
    """Energy score [A] of two sampled paths, (2, n, n_steps, n_atoms, 3), for each window, (n,).

    E|X - y| - E|X - X'|/2 at each snapshot, with the root mean square over atoms as the norm: a proper score, least
    where the samples are distributed as the reference is. Added to it: the same with all distances between atoms for
    coordinates, where rigid motion does not hide what the ligand does in itself. Theory (7.6).

    Source: Gneiting and Raftery (2007), eq. 22, doi:10.1198/016214506000001437.
    """
    first, second = torch.triu_indices(paths.shape[-2], paths.shape[-2], 1).to(paths.device)

    def measure(x: Tensor) -> Tensor:
        return compute_norm(x[..., first, :] - x[..., second, :]).unsqueeze(-1)

    return _score(paths, reference) + _score(measure(paths), measure(reference))


def _score(samples: Tensor, reference: Tensor) -> Tensor:
    def compute_distance(difference: Tensor) -> Tensor:
        return compute_norm(difference.flatten(-2)) / difference.shape[-2] ** 0.5

    spread = compute_distance(samples[0] - samples[1])
    return (compute_distance(samples - reference).mean(0) - 0.5 * spread).mean(-1)
