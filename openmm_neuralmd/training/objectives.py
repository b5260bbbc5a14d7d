"""What training minimises, one function for each kind of model.

NeuralMD is fitted by the likelihood of the next snapshot under the leapfrog transition. With one step a snapshot and
v = x_t - x_(t-1) that transition is exactly Gaussian:

    x_(t+1) ~ Normal(x_t + (1 - gamma) v + F(x_t)/m,  B B^T + b^2)

where b is what bonds do beyond the model (their vibration, which the noise fields leave alone). The drift is fitted
on clean and on displaced inputs, the covariance on clean inputs only: displaced inputs would inflate it.

Displaced inputs (``perturbation``) make rollouts contract, at a price: where they overlap with clean ones the drift is
pulled towards the mean and the noise grows to make up for it, so the spread stays right and the memory shortens.

All take a window x_(t-1), x_t, x_(t+1) [A], (n, 3, n_atoms, 3), and the largest strength of displacement.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.models.baselines import DenoisingLD, VerletMD
from openmm_neuralmd.models.bindingnet import BindingNet
from openmm_neuralmd.models.interface import LigandGraph, ProteinEmbedding
from openmm_neuralmd.training.perturbation import perturb

Objective = Callable[[Any, Tensor, LigandGraph, ProteinEmbedding, torch.Generator, float], Tensor]


def compute_transition(
    net: BindingNet, previous: Tensor, current: Tensor, graph: LigandGraph, protein: ProteinEmbedding
) -> tuple[Tensor, Tensor]:
    """Mean [A], (n, n_atoms, 3), and noise fields [A], (n, 3 n_atoms, n_noise), of the next snapshot."""
    force, fields = net.compute_force_and_fields(current, graph, protein)
    velocity = current - previous
    return current + (1.0 - net.compute_friction()) * velocity + force / graph.masses[:, None], fields


def compute_covariance_factor(net: BindingNet, fields: Tensor) -> Tensor:
    """Cholesky factor of B B^T + b^2, (n, 3 n_atoms, 3 n_atoms)."""
    identity = torch.eye(fields.shape[1], dtype=fields.dtype, device=fields.device)
    covariance = fields @ fields.transpose(1, 2) + torch.exp(2.0 * net.log_bond_noise) * identity
    return torch.linalg.cholesky_ex(covariance)[0]


def compute_negative_log_likelihood(residual: Tensor, factor: Tensor) -> Tensor:
    """-log Normal(residual; 0, L L^T) per coordinate, (n,), for residuals (n, n_atoms, 3)."""
    flat = residual.flatten(1).unsqueeze(-1)
    white = torch.linalg.solve_triangular(factor, flat, upper=False).squeeze(-1)
    log_determinant = factor.diagonal(dim1=1, dim2=2).log().sum(1)
    n = flat.shape[1]
    return 0.5 * (white * white).sum(1) / n + log_determinant / n + 0.5 * math.log(2.0 * math.pi)


def compute_langevin_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> Tensor:
    """Mean negative log-likelihood per coordinate over clean and displaced inputs."""
    mean, fields, following = _predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
    clean, moved = mean.chunk(2)
    factor = compute_covariance_factor(net, fields.chunk(2)[0])
    likelihood = compute_negative_log_likelihood(following - clean, factor)
    return 0.5 * (likelihood + compute_negative_log_likelihood(following - moved, factor.detach())).mean()


def compute_newtonian_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> Tensor:
    """Mean squared error [A^2] of the next snapshot over clean and displaced inputs."""
    mean, _, following = _predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
    return (mean - following.repeat(2, 1, 1)).square().mean()


def _predict_clean_and_displaced(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions from x_t and from a displaced x_t with the same velocity, and the snapshot that followed."""
    previous, current, following = window.unbind(1)
    displaced = perturb(current, graph, generator, displacement)
    shifted = torch.cat([previous, previous + displaced - current])
    mean, fields = compute_transition(net, shifted, torch.cat([current, displaced]), graph, protein)
    return mean, fields, following


def compute_next_position_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    _generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """GNN-MD: mean squared error [A^2] of the next positions, from clean inputs as in its paper."""
    previous, current, following = window.unbind(1)
    mean, _ = compute_transition(net, previous, current, graph, protein)
    return (mean - following).square().mean()


def compute_denoising_loss(
    net: DenoisingLD,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """DenoisingLD: mean squared error of the noise that was added to x_t, levels drawn evenly in their logarithm."""
    clean = window[:, 1]
    draw = torch.rand(len(clean), generator=generator, dtype=clean.dtype)
    highest, lowest = math.log(net.levels[0]), math.log(net.levels[-1])
    levels = torch.exp(lowest + (highest - lowest) * draw)
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    predicted = net.predict_noise(clean + levels[:, None, None] * noise, levels, graph, protein)
    return (predicted - noise).square().mean()


def compute_acceleration_loss(
    net: VerletMD,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    _generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """VerletMD: mean squared error [A^2/snapshot^4] of the accelerations x_(t+1) - 2 x_t + x_(t-1)."""
    previous, current, following = window.unbind(1)
    acceleration = following - 2.0 * current + previous
    return (net.compute_force(current, graph, protein) / graph.masses[:, None] - acceleration).square().mean()


OBJECTIVES: dict[str, Objective] = {
    "ode": compute_newtonian_loss,
    "sde": compute_langevin_loss,
    "gnn": compute_next_position_loss,
    "denoising": compute_denoising_loss,
    "verlet": compute_acceleration_loss,
}
