"""Bonds and 1-3 distances of a batch of ligands: their gradients and tangent projection, in torch."""

import torch
from torch import Tensor

from openmm_neuralmd.geometry import soft_normalize


def compute_constraint_jacobian(positions: Tensor, pairs: Tensor) -> Tensor:
    """Gradients of pair distances, (n_replicas, n_pairs, 3 n_atoms), at positions (n_replicas, n_atoms, 3)."""
    n_replicas, n_atoms, _ = positions.shape
    difference = positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]]
    units = soft_normalize(difference, 1e-6)
    rows = torch.arange(pairs.shape[0], device=positions.device)
    jacobian = torch.zeros(n_replicas, pairs.shape[0], n_atoms, 3, dtype=positions.dtype, device=positions.device)
    jacobian[:, rows, pairs[:, 0]] = units
    jacobian[:, rows, pairs[:, 1]] = -units
    return jacobian.reshape(n_replicas, pairs.shape[0], 3 * n_atoms)


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
    jacobian = compute_constraint_jacobian(positions, pairs)
    gram = jacobian @ jacobian.transpose(1, 2)
    gram = gram + regularization * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky_ex(gram)[0]
    return fields - jacobian.transpose(1, 2) @ torch.cholesky_solve(jacobian @ fields, factor)
