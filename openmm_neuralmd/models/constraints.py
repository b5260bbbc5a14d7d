"""Bonds and 1-3 distances of a batch of ligands: first-order changes and tangent projection, in torch.

The gradient of a distance has two blocks only, +u at the first atom and -u at the second. So the Jacobian J is never
built: with S the signed incidence matrix of the pairs, J f = u . (S f), J^T y = S^T (y u), J J^T = (u u^T) * (S S^T).
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
