"""What training minimises: the likelihood of the next snapshot under the leapfrog transition.

With one step a snapshot and v = x_t - x_(t-1), leapfrog's transition is exactly Gaussian:

    x_(t+1) ~ Normal(x_t + (1 - gamma) v + F(x_t)/m,  B B^T + b^2)

where b is what bonds do beyond the model (their vibration, which the noise fields leave alone). The drift is fitted
on clean and on displaced inputs, the covariance on clean inputs only: displaced inputs would inflate it.
"""

import math

import torch
from torch import Tensor

from openmm_neuralmd.models.bindingnet import BindingNet
from openmm_neuralmd.models.interface import LigandGraph, ProteinEmbedding


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
    return torch.linalg.cholesky_ex(fields @ fields.transpose(1, 2) + torch.exp(2.0 * net.log_bond_noise) * identity)[0]


def compute_negative_log_likelihood(residual: Tensor, factor: Tensor) -> Tensor:
    """-log Normal(residual; 0, L L^T) per coordinate, (n,), for residuals (n, n_atoms, 3)."""
    flat = residual.flatten(1).unsqueeze(-1)
    white = torch.linalg.solve_triangular(factor, flat, upper=False).squeeze(-1)
    log_determinant = factor.diagonal(dim1=1, dim2=2).log().sum(1)
    n = flat.shape[1]
    return 0.5 * (white * white).sum(1) / n + log_determinant / n + 0.5 * math.log(2.0 * math.pi)


def compute_langevin_loss(
    net: BindingNet, window: Tensor, displaced: Tensor, graph: LigandGraph, protein: ProteinEmbedding
) -> Tensor:
    """Mean negative log-likelihood per coordinate over clean and displaced inputs.

    Args:
        window: x_(t-1), x_t, x_(t+1) [A], (n, 3, n_atoms, 3).
        displaced: x_t displaced [A], (n, n_atoms, 3); its velocity is that of the clean snapshot.
    """
    previous, current, following = window.unbind(1)
    shifted = torch.cat([previous, previous + displaced - current])
    mean, fields = compute_transition(net, shifted, torch.cat([current, displaced]), graph, protein)
    clean, moved = mean.chunk(2)
    factor = compute_covariance_factor(net, fields.chunk(2)[0])
    likelihood = compute_negative_log_likelihood(following - clean, factor)
    return 0.5 * (likelihood + compute_negative_log_likelihood(following - moved, factor.detach())).mean()


def compute_newtonian_loss(
    net: BindingNet, window: Tensor, displaced: Tensor, graph: LigandGraph, protein: ProteinEmbedding
) -> Tensor:
    """Mean squared error [A^2] of the next snapshot over clean and displaced inputs; arguments as above."""
    previous, current, following = window.unbind(1)
    shifted = torch.cat([previous, previous + displaced - current])
    mean, _ = compute_transition(net, shifted, torch.cat([current, displaced]), graph, protein)
    return (mean - following.repeat(2, 1, 1)).square().mean()
