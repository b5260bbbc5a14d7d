"""Likelihood of the next snapshot under the leapfrog transition of the Langevin model.

    x_(t+1) ~ (1 - e) Normal(mean, C) + e Normal(mean, C + T + m^2),    C = B B^T + V + b^2 N

B holds the noise fields, V the vibration of bonds and angles (``models.vibration``), and b what else happens along
bonds (N projects on them), which no run reproduces. The second part is for a ligand that turned into another rotamer
between two snapshots: T opens every torsion far beyond its ordinary noise, and m is what the arc of such a turn is off
its tangent. It is held fixed: fitted as ordinary noise, one turn there and back in some nanoseconds would double the
width of the torsion in all snapshots.
"""

import math

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.diffusion import FIRST_TORSION_FIELD
from openmm_neuralmd.models.networks.interface import LigandGraph
from openmm_neuralmd.molecule.constraints import compute_normal_projector

_TURN = 10.0  # amplitude of a torsion in a turn between rotamers, in that of its ordinary noise
_TURN_MISS = 0.5  # [A]
_TURN_PROBABILITY = 0.02


def factor_covariances(net: BindingNet, positions: Tensor, fields: Tensor, graph: LigandGraph) -> tuple[Tensor, Tensor]:
    """Cholesky factors of C and of C + T + m^2 [A], (n, 3 n_atoms, 3 n_atoms), at positions [A], (n, n_atoms, 3).

    Args:
        fields: B, (n, 3 n_atoms, n_noise).
    """
    with torch.no_grad():  # the spreads of bonds are fitted by themselves
        vibration = net.vibration.compute_covariance(positions, graph)
    normal = compute_normal_projector(positions, graph.shape)
    covariance = fields @ fields.transpose(1, 2) + vibration + torch.exp(2.0 * net.log_bond_noise) * normal
    last = FIRST_TORSION_FIELD + len(graph.torsion_axes)
    turns = _TURN * fields[..., FIRST_TORSION_FIELD:last].detach()
    identity = torch.eye(fields.shape[1], dtype=fields.dtype, device=fields.device)
    wide = covariance.detach() + turns @ turns.transpose(1, 2) + _TURN_MISS**2 * identity
    return torch.linalg.cholesky_ex(covariance)[0], torch.linalg.cholesky_ex(wide)[0]


def compute_negative_log_likelihood(residual: Tensor, factor: Tensor) -> Tensor:
    """-log Normal(residual; 0, L L^T) per coordinate, (n,), for residuals (n, n_atoms, 3)."""
    flat = residual.flatten(1).unsqueeze(-1)
    white = torch.linalg.solve_triangular(factor, flat, upper=False).squeeze(-1)
    log_determinant = factor.diagonal(dim1=1, dim2=2).log().sum(1)
    n = flat.shape[1]
    return 0.5 * (white * white).sum(1) / n + log_determinant / n + 0.5 * math.log(2.0 * math.pi)


def compute_transition_loss(residual: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """Negative log-likelihood per coordinate of the mixture, (n,), for residuals (n, n_atoms, 3)."""
    n = residual[0].numel()
    ordinary, turning = (n * compute_negative_log_likelihood(residual, factor) for factor in factors)
    return -torch.logaddexp(math.log(1.0 - _TURN_PROBABILITY) - ordinary, math.log(_TURN_PROBABILITY) - turning) / n
