"""Rollouts of the Langevin model inside training, with gradients, and the score that judges them."""

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding
from openmm_neuralmd.molecule.constraints import settle
from openmm_neuralmd.molecule.geometry import compute_norm

N_SAMPLES = 2


def sample_paths(
    net: BindingNet, window: Tensor, graph: LigandGraph, protein: ProteinEmbedding, generator: torch.Generator
) -> Tensor:
    """Paths from the start of each window, which gives x_(t-1) and x_t, over the rest of its length.

    Args:
        window: [A], (n, n_steps + 2, n_atoms, 3).

    Returns:
        [A], (N_SAMPLES, n, n_steps, n_atoms, 3).
    """
    repeat = (N_SAMPLES, 1, 1)
    current = window[:, 1].repeat(repeat)
    velocity = net.map_velocities(current, current - window[:, 0].repeat(repeat), graph)
    n_noise = net.count_noise(graph)
    friction = net.compute_friction()
    path = []
    for _ in range(window.shape[1] - 2):
        shape = (len(current), n_noise + 3 * current.shape[1])
        normals = torch.randn(shape, generator=generator, dtype=current.dtype, device=current.device)
        force, noise = net.compute_force_and_noise(current, normals[:, :n_noise], graph, protein)
        following = current + (1.0 - friction) * velocity + force / graph.masses[:, None] + noise
        following = settle(following, graph.shape)
        velocity, current = following - current, following
        path.append(current + net.compute_vibration(current, normals[:, n_noise:], graph))
    return torch.stack(path, dim=1).unflatten(0, (N_SAMPLES, -1))


def compute_path_score(paths: Tensor, reference: Tensor) -> Tensor:
    """Energy score [A] of two sampled paths, (2, n, n_steps, n_atoms, 3), for each window, (n,).

    E|X - y| - E|X - X'|/2 at each snapshot, with the root mean square over atoms as the norm: a proper score, least
    where the samples are distributed as the reference is. Added to it: the same with all distances between atoms for
    coordinates, where rigid motion does not hide what the ligand does in itself.

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
