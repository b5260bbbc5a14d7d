"""Newtonian dynamics with torchdiffeq on a fixed grid."""

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics


def integrate_ode(
    dynamics: Dynamics, positions: Tensor, velocities: Tensor, *, timestep: float, increments: Tensor, method: str
) -> tuple[Tensor, Tensor]:
    """Positions and velocities after some steps.

    Args:
        dynamics: The equation, without noise.
        positions, velocities: [A], [A/snapshot], (n_replicas, n_atoms, 3).
        timestep: h [snapshots].
        increments: Empty, (n_steps, n_replicas, 0); gives the number of steps.
        method: torchdiffeq's "euler", "midpoint" or "rk4" (the 3/8 rule).
    """
    from torchdiffeq import odeint  # here: with what it imports it takes 25 MB, which few runs need

    def compute_slope(_: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, v = state
        return v, dynamics.compute_acceleration(x) - dynamics.friction * v

    grid = timestep * torch.arange(len(increments) + 1, dtype=positions.dtype, device=positions.device)
    x, v = odeint(compute_slope, (positions, velocities), grid, method=method)
    return x[-1], v[-1]
