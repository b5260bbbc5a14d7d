"""Likelihood of the next snapshot under the leapfrog transition of the Langevin model, theory (7.1) to (7.4).

    x_(t+1) ~ (1 - e) Normal(mean, C) + e Normal(mean, C + T + m^2),    C = B B^T + V + b^2 N

The first part is ordinary noise. The second is for a ligand that turned into another rotamer between two snapshots. It
is held fixed: fitted as ordinary noise, one turn there and back in some nanoseconds would double the width of the
torsion in all snapshots.

    B   noise fields                                                     ``fields``
    V   vibration of bonds and angles (``networks.vibration``)           ``vibration``
    b   what else happens along bonds, which no run reproduces           exp of ``log_bond_noise``
    N   projector on what changes the shape                              ``normal``
    T   every torsion, opened far beyond its ordinary noise              ``turns`` times its transpose
    m   what the arc of a turn is off its tangent                        ``_TURN_MISS``
    e   how often there is a turn                                        ``_TURN_PROBABILITY``

In docs/theory.md C is Gamma, and e is epsilon.
"""

import math

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.diffusion import FIRST_TORSION_FIELD
from openmm_neuralmd.models.networks.interface import LigandGraph
from openmm_neuralmd.molecule.constraints import compute_normal_projector

# docs/decisions/0005-turns-between-rotamers.md: a jump of 140 degrees about a bond that otherwise varies by 14.
_TURN = 10.0  # amplitude of a torsion in a turn between rotamers, in that of its ordinary noise
_TURN_MISS = 0.5  # [A], m
_TURN_PROBABILITY = 0.02  # e: turns are rare


def factor_covariances(net: BindingNet, positions: Tensor, fields: Tensor, graph: LigandGraph) -> tuple[Tensor, Tensor]:
    """Cholesky factors of C and of C + T + m^2 [A], (n, 3 n_atoms, 3 n_atoms), at positions [A], (n, n_atoms, 3).

    Args:
        fields: B, (n, 3 n_atoms, n_noise).
    """
    ordinary = _compute_covariance(net, positions, fields, graph)
    turning = _open_torsions(ordinary.detach(), fields.detach(), graph)
    return torch.linalg.cholesky_ex(ordinary)[0], torch.linalg.cholesky_ex(turning)[0]


def _compute_covariance(net: BindingNet, positions: Tensor, fields: Tensor, graph: LigandGraph) -> Tensor:
    """C [A^2], (n, 3 n_atoms, 3 n_atoms), theory (7.1)."""
    with torch.no_grad():  # the spreads of bonds are fitted by themselves
        vibration = net.vibration.compute_covariance(positions, graph)
    normal = compute_normal_projector(positions, graph.shape)
    return fields @ fields.transpose(1, 2) + vibration + torch.exp(2.0 * net.log_bond_noise) * normal


def _open_torsions(covariance: Tensor, fields: Tensor, graph: LigandGraph) -> Tensor:
    """C + T + m^2 [A^2], theory (7.3)."""
    last = FIRST_TORSION_FIELD + len(graph.torsion_axes)
    turns = _TURN * fields[..., FIRST_TORSION_FIELD:last]
    identity = torch.eye(fields.shape[1], dtype=fields.dtype, device=fields.device)
    return covariance + turns @ turns.transpose(1, 2) + _TURN_MISS**2 * identity


def compute_negative_log_likelihood(residual: Tensor, factor: Tensor) -> Tensor:
    """-log Normal(residual; 0, L L^T) per coordinate, (n,), for residuals (n, n_atoms, 3); theory (7.2)."""
    y = residual.flatten(1).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(factor, y, upper=False).squeeze(-1)  # L^-1 y: independent, variance 1
    log_determinant = factor.diagonal(dim1=1, dim2=2).log().sum(1)  # of L
    n = y.shape[1]
    return 0.5 * (whitened * whitened).sum(1) / n + log_determinant / n + 0.5 * math.log(2.0 * math.pi)


def compute_transition_loss(residual: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """-log p per coordinate of the mixture, (n,), for residuals (n, n_atoms, 3); theory (7.3)."""
    n = residual[0].numel()
    ordinary, turning = (n * compute_negative_log_likelihood(residual, factor) for factor in factors)
    return -torch.logaddexp(math.log(1.0 - _TURN_PROBABILITY) - ordinary, math.log(_TURN_PROBABILITY) - turning) / n
