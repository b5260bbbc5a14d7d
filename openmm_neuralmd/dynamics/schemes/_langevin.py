"""Langevin dynamics with torchsde on a fixed grid, fed with given increments."""

import math

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics

_CALCULUS = {"euler": "ito", "heun": "stratonovich"}


def integrate_sde(
    dynamics: Dynamics, positions: Tensor, velocities: Tensor, *, timestep: float, increments: Tensor, method: str
) -> tuple[Tensor, Tensor]:
    """Positions and velocities after some steps.

    torchsde checks the shapes with one evaluation more at the start of each call.

    Args:
        dynamics: The equation, with noise or without.
        positions, velocities: [A], [A/snapshot], (n_replicas, n_atoms, 3).
        timestep: h [snapshots].
        increments: Standard normals, (n_steps, n_replicas, n_noise).
        method: torchsde's "euler" (Euler-Maruyama, Ito) or "heun" (Stratonovich).
    """
    from torchsde import sdeint  # here: with what it imports it takes 25 MB, which few runs need

    state = torch.cat([positions.flatten(1), velocities.flatten(1)], dim=1)
    times = positions.new_tensor([0.0, timestep * len(increments)])
    brownian = _GivenIncrements(increments, timestep)
    final = sdeint(
        _FirstOrderSystem(dynamics, _CALCULUS[method]), state, times, bm=brownian, method=method, dt=timestep
    )
    x, v = final[-1].chunk(2, dim=1)
    return x.reshape(positions.shape), v.reshape(positions.shape)


class _FirstOrderSystem:
    """y = (x, v) in the form that torchsde asks for, with general noise given by its product with an increment."""

    noise_type = "general"

    def __init__(self, dynamics: Dynamics, calculus: str) -> None:
        self.dynamics, self.sde_type = dynamics, calculus

    def f_and_g_prod(self, _: Tensor, y: Tensor, increment: Tensor) -> tuple[Tensor, Tensor]:
        x, v = (part.reshape(len(y), -1, 3) for part in y.chunk(2, dim=1))
        if self.dynamics.n_noise > 0:
            acceleration, noise = self.dynamics.compute_acceleration_and_noise(x, increment)
        else:
            acceleration = self.dynamics.compute_acceleration(x)
            noise = torch.zeros_like(acceleration)
        slope = acceleration - self.dynamics.friction * v
        return (
            torch.cat([v.flatten(1), slope.flatten(1)], dim=1),
            torch.cat([torch.zeros_like(x).flatten(1), noise.flatten(1)], dim=1),
        )


class _GivenIncrements:
    """W(t + h) - W(t) = sqrt(h) xi on the grid of steps; has what torchsde asks of a ``BaseBrownian``."""

    levy_area_approximation = "none"

    def __init__(self, increments: Tensor, timestep: float) -> None:
        self.increments, self.timestep = increments, timestep

    def __call__(self, ta: Tensor, tb: Tensor | None = None, return_U: bool = False, return_A: bool = False) -> Tensor:  # noqa: ARG002
        return math.sqrt(self.timestep) * self.increments[round(float(ta) / self.timestep)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_steps={len(self.increments)}, timestep={self.timestep})"

    @property
    def dtype(self) -> torch.dtype:
        return self.increments.dtype

    @property
    def device(self) -> torch.device:
        return self.increments.device

    @property
    def shape(self) -> torch.Size:
        return self.increments.shape[1:]

    def size(self) -> torch.Size:
        return self.shape
