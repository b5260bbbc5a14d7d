"""Leapfrog: velocity at half steps, one evaluation a step."""

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.scheme import Program, Scheme


def integrate_leapfrog(
    dynamics: Dynamics, positions: Tensor, velocities: Tensor, *, timestep: float, increments: Tensor
) -> tuple[Tensor, Tensor]:
    """Positions and velocities after some steps.

    v <- (1 - friction h) v + h a(x) + sqrt(h) B(x) xi,    x <- x + h v

    Without friction and noise it is symplectic, time-reversible and of order 2 (velocities stand half a step before
    positions); with one step a snapshot the transition between snapshots is exactly Gaussian.

    Args:
        dynamics: The equation.
        positions, velocities: [A], [A/snapshot], (n_replicas, n_atoms, 3).
        timestep: h [snapshots].
        increments: Standard normals xi, (n_steps, n_replicas, n_noise).
    """
    x, v = positions, velocities
    for xi in increments:
        if dynamics.n_noise > 0:
            acceleration, noise = dynamics.compute_acceleration_and_noise(x, xi)
            kick = timestep * acceleration + timestep**0.5 * noise
        else:
            kick = timestep * dynamics.compute_acceleration(x)
        v = kick + (1.0 - dynamics.friction * timestep) * v
        x = torch.add(x, v, alpha=timestep)
    return x, v


def write_leapfrog(program: Program, a: str) -> None:
    """The same; 1 evaluation."""
    program.addComputePerDof("v", f"(1 - friction*dt)*v + dt*{a}")
    program.addComputePerDof("x", "x + dt*v")


SCHEME = Scheme(
    name="leapfrog",
    order=2,
    strong_order=1.0,
    takes_noise=True,
    solve=integrate_leapfrog,
    write_program=write_leapfrog,
    velocity_time=-0.5,
)
