"""Rollout of many replicas in one batch, with the same noise and the same schemes as the OpenMM integrators."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.checks import check_scheme
from openmm_neuralmd.dynamics.equation import Dynamics, check_steps_per_snapshot
from openmm_neuralmd.dynamics.leapfrog import integrate_leapfrog
from openmm_neuralmd.dynamics.noise import check_seed, draw_increments
from openmm_neuralmd.dynamics.ode import integrate_ode
from openmm_neuralmd.dynamics.sde import integrate_sde
from openmm_neuralmd.errors import InputError, NonFiniteStateError


class Solver(Protocol):
    """State in, state out, one step for each of the increments."""

    def __call__(
        self, dynamics: Dynamics, positions: Tensor, velocities: Tensor, *, timestep: float, increments: Tensor
    ) -> tuple[Tensor, Tensor]: ...


SOLVERS: dict[str, Solver] = {
    "leapfrog": integrate_leapfrog,
    "euler": partial(integrate_ode, method="euler"),
    "midpoint": partial(integrate_ode, method="midpoint"),
    "rk4": partial(integrate_ode, method="rk4"),
    "euler_maruyama": partial(integrate_sde, method="euler"),
    "heun": partial(integrate_sde, method="heun"),
}


def rollout(
    dynamics: Dynamics,
    positions: Tensor,
    velocities: Tensor,
    *,
    n_snapshots: int,
    seeds: Sequence[int],
    scheme: str = "leapfrog",
    steps_per_snapshot: int = 1,
    first_step: int = 0,
    project: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Snapshots of all replicas.

    Args:
        dynamics: The equation.
        positions, velocities: Start [A], [A/snapshot], (n_replicas, n_atoms, 3); their dtype is that of the path.
        n_snapshots: How many to make.
        seeds: Of the noise, one for each replica; a replica's path depends on its own alone.
        scheme: One of ``SOLVERS``.
        steps_per_snapshot: h is its inverse.
        first_step: Steps taken before, which key the noise.
        project: Brings bonds back, positions to positions; the velocity is corrected by the displacement / h. Without
            it nothing vibrates.

    Returns:
        Positions after each snapshot [A], (n_snapshots, n_replicas, n_atoms, 3), and the last velocities.

    Raises:
        InputError: If scheme, steps or seeds cannot be used.
        NonFiniteStateError: If positions become NaN or infinite; the message names the step.
    """
    _check(dynamics, positions, seeds, scheme, steps_per_snapshot)
    solve = SOLVERS[scheme]
    timestep = 1.0 / steps_per_snapshot
    x, v = positions, velocities
    path = []
    vibrate = None if project is None else dynamics.compute_vibration
    n_vibration = 0 if vibrate is None else positions[0].numel()
    for step in range(first_step, first_step + n_snapshots * steps_per_snapshot):
        drawn = np.stack([draw_increments(seed, step, dynamics.n_noise + n_vibration) for seed in seeds])
        increments, normals = torch.from_numpy(drawn).to(x).split([dynamics.n_noise, n_vibration], dim=1)
        x, v = solve(dynamics, x, v, timestep=timestep, increments=increments[None])
        if not torch.isfinite(x).all():
            raise NonFiniteStateError(f"step {step + 1}: positions are NaN or infinite; use more steps per snapshot")
        if project is not None:
            projected = project(x)
            v = v + (projected - x) / timestep
            x = projected
        if (step - first_step + 1) % steps_per_snapshot == 0:
            path.append(x if vibrate is None else x + vibrate(x, normals))
    return torch.stack(path), v


def _check(dynamics: Dynamics, positions: Tensor, seeds: Sequence[int], scheme: str, steps_per_snapshot: int) -> None:
    check_scheme(scheme, has_noise=dynamics.n_noise > 0)
    check_steps_per_snapshot(steps_per_snapshot)
    if len(seeds) != len(positions):
        raise InputError(f"{len(seeds)} seeds for {len(positions)} replicas; give one for each")
    for seed in seeds:
        check_seed(seed)
