"""What a ligand's shape allows: tangent projection and settling of a batch, in torch.

With J the gradients of ``shape`` and a ridge r far below a bond's J J^T = 2, the identity of theory (4.8)

    1 - J^T (J J^T + r)^-1 J = r (J^T J + r)^-1

leaves one Cholesky factor of the size of the ligand to compute. Settling needs the same one.
"""

import torch
from torch import Tensor

from openmm_neuralmd.molecule.shape import Shape, compute_shape_errors


def settle(positions: Tensor, shape: Shape, n_iterations: int = 2) -> Tensor:
    """Positions [A], (R, N, 3), brought near their shape: differentiable Gauss-Newton steps, theory (4.2).

    For training; runs bring bonds back with ``dynamics.projection``, to convergence.
    """
    for _ in range(n_iterations):
        errors, jacobian = compute_shape_errors(positions, shape)
        pull = jacobian.transpose(1, 2) @ errors.unsqueeze(-1)
        move = torch.cholesky_solve(pull, _factor(jacobian, 1e-2))
        positions = positions - move.reshape(positions.shape)
    return positions


def compute_normal_projector(positions: Tensor, shape: Shape) -> Tensor:
    """1 - P: takes from a displacement what changes the shape, (R, 3N, 3N); theory (4.8)."""
    identity = torch.eye(3 * positions.shape[1], dtype=positions.dtype, device=positions.device)
    identities = identity.expand(positions.shape[0], -1, -1)
    return identities - project_to_tangent(positions, shape, identities)


def project_to_tangent(positions: Tensor, shape: Shape, fields: Tensor, ridge: float = 1e-4) -> Tensor:
    """P fields: displacement fields without the part that changes the shape to first order; theory (4.8).

    Computed in double precision, because r (J^T J + r)^-1 divides by a small number what it then multiplies with it.

    Args:
        positions: [A], (R, N, 3).
        fields: (R, 3N, n_fields).
        ridge: For constraints that depend on one another (rings).

    Returns:
        r (J^T J + r)^-1 fields, same shape.
    """
    _, jacobian = compute_shape_errors(positions, shape)
    factor = _factor(jacobian.to(torch.float64), ridge)
    return torch.cholesky_solve(ridge * fields.to(torch.float64), factor).to(fields.dtype)


def _factor(jacobian: Tensor, ridge: float) -> Tensor:
    """Lower Cholesky factor of J^T J + ridge."""
    identity = torch.eye(jacobian.shape[2], dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.cholesky_ex(jacobian.transpose(1, 2) @ jacobian + ridge * identity)[0]
