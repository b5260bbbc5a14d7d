"""Bonds and 1-3 distances of a batch of ligands: first-order changes, tangent projection, settling, in torch.

The gradient of a distance has two blocks only, +u at the first atom and -u at the second. So runs never build the
Jacobian J: with S the signed incidence matrix of the pairs, J f = u . (S f), J^T y = S^T (y u),
J J^T = (u u^T) * (S S^T).
"""

from typing import Tuple

import torch
from torch import Tensor

from openmm_neuralmd.geometry import soft_normalize


def compute_stretch(positions: Tensor, pairs: Tensor, fields: Tensor) -> Tensor:
    """Change of each pair's distance to first order, (n_replicas, n_pairs, n_fields).

    Args:
        positions: [A], (n_replicas, n_atoms, 3).
        pairs: Int64, (n_pairs, 2).
        fields: (n_replicas, 3 n_atoms, n_fields).
    """
    incidence, units = _compute_directions(positions, pairs)
    return _contract(incidence, units, fields)


def compute_jacobian(positions: Tensor, pairs: Tensor) -> Tensor:
    """J itself, (n_replicas, n_pairs, 3 n_atoms): gradients of the distances."""
    incidence, units = _compute_directions(positions, pairs)
    return (incidence[None, :, :, None] * units.unsqueeze(2)).flatten(2)


def settle(positions: Tensor, pairs: Tensor, distances: Tensor, n_iterations: int = 2) -> Tensor:
    """Positions with pair distances brought near ``distances`` [A], (n_pairs,): differentiable Gauss-Newton steps.

    For training; runs bring bonds back with ``simulation.projection``, to convergence.
    """
    for _ in range(n_iterations):
        jacobian = compute_jacobian(positions, pairs)
        error = (positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]]).norm(dim=-1) - distances
        ridge = 1e-2 * torch.eye(pairs.shape[0], dtype=positions.dtype, device=positions.device)
        factor = torch.linalg.cholesky_ex(jacobian @ jacobian.transpose(1, 2) + ridge)[0]
        multipliers = torch.cholesky_solve(error.unsqueeze(-1), factor)
        positions = positions - (jacobian.transpose(1, 2) @ multipliers).reshape(positions.shape)
    return positions


def compute_normal_projector(positions: Tensor, pairs: Tensor) -> Tensor:
    """J^T (J J^T)^-1 J, (n_replicas, 3 n_atoms, 3 n_atoms): what of a displacement changes pair distances."""
    identity = torch.eye(3 * positions.shape[1], dtype=positions.dtype, device=positions.device)
    fields = identity.expand(positions.shape[0], -1, -1)
    return fields - project_to_tangent(positions, pairs, fields)


def project_to_tangent(positions: Tensor, pairs: Tensor, fields: Tensor, regularization: float = 1e-4) -> Tensor:
    """Displacement fields without the part that changes pair distances to first order.

    Args:
        positions: [A], (n_replicas, n_atoms, 3).
        pairs: Constrained pairs, int64, (n_pairs, 2).
        fields: (n_replicas, 3 n_atoms, n_fields).
        regularization: For redundant constraints (rings, planar groups); a bond's J J^T is 2.

    Returns:
        (1 - J^T (J J^T)^-1 J) fields, same shape.
    """
    incidence, units = _compute_directions(positions, pairs)
    ridge = regularization * torch.eye(pairs.shape[0], dtype=units.dtype, device=units.device)
    gram = (units @ units.transpose(1, 2)) * (incidence @ incidence.t()) + ridge
    factor = torch.linalg.cholesky_ex(gram)[0]
    multipliers = torch.cholesky_solve(_contract(incidence, units, fields), factor)
    along = (units.unsqueeze(-1) * multipliers.unsqueeze(2)).flatten(2)
    return fields - (incidence.t() @ along).reshape(fields.shape)


def _compute_directions(positions: Tensor, pairs: Tensor) -> Tuple[Tensor, Tensor]:
    """Signed incidence matrix S (n_pairs, n_atoms) and unit vectors u (n_replicas, n_pairs, 3)."""
    atoms = torch.arange(positions.shape[1], device=positions.device)
    first, second = pairs[:, 0:1] == atoms, pairs[:, 1:2] == atoms
    incidence = first.to(positions.dtype) - second.to(positions.dtype)
    return incidence, soft_normalize(incidence @ positions, 1e-6)


def _contract(incidence: Tensor, units: Tensor, fields: Tensor) -> Tensor:
    n_replicas, n_fields = fields.shape[0], fields.shape[2]
    change = incidence @ fields.reshape(n_replicas, incidence.shape[1], 3 * n_fields)
    return (units.unsqueeze(-1) * change.reshape(n_replicas, incidence.shape[0], 3, n_fields)).sum(2)
