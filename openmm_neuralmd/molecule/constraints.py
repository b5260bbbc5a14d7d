"""What a ligand's shape allows: tangent projection and settling of a batch, in torch.

With J the gradients of ``shape``, a ridge r far below a bond's J J^T = 2 and the identity
1 - J^T (J J^T + r)^-1 J = r (J^T J + r)^-1 both need one Cholesky factor of the size of the ligand.
"""

import torch
from torch import Tensor

from openmm_neuralmd.molecule.shape import Shape, compute_shape_errors


def settle(positions: Tensor, shape: Shape, n_iterations: int = 2) -> Tensor:
    """Positions [A], (R, N, 3), brought near their shape: differentiable Gauss-Newton steps.

    For training; runs bring bonds back with ``simulation.projection``, to convergence.
    """
    for _ in range(n_iterations):
        errors, jacobian = compute_shape_errors(positions, shape)
        move = torch.cholesky_solve(jacobian.transpose(1, 2) @ errors.unsqueeze(-1), _factor(jacobian, 1e-2))
        positions = positions - move.reshape(positions.shape)
    return positions


def compute_normal_projector(positions: Tensor, shape: Shape) -> Tensor:
    """What of a displacement changes the shape, (R, 3N, 3N)."""
    identity = torch.eye(3 * positions.shape[1], dtype=positions.dtype, device=positions.device)
    fields = identity.expand(positions.shape[0], -1, -1)
    return fields - project_to_tangent(positions, shape, fields)


def project_to_tangent(positions: Tensor, shape: Shape, fields: Tensor, ridge: float = 1e-4) -> Tensor:
    """Displacement fields without the part that changes the shape to first order.

    Computed in double precision: what is kept would else be rounded by the ridge's inverse.

    Args:
        positions: [A], (R, N, 3).
        fields: (R, 3N, n_fields).
        ridge: For constraints that depend on one another (rings).

    Returns:
        (1 - J^T (J J^T)^-1 J) fields, same shape.
    """
    _, jacobian = compute_shape_errors(positions, shape)
    factor = _factor(jacobian.to(torch.float64), ridge)
    return torch.cholesky_solve(ridge * fields.to(torch.float64), factor).to(fields.dtype)


def _factor(jacobian: Tensor, ridge: float) -> Tensor:
    """Lower Cholesky factor of J^T J + ridge."""
    identity = torch.eye(jacobian.shape[2], dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.cholesky_ex(jacobian.transpose(1, 2) @ jacobian + ridge * identity)[0]
