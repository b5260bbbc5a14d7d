"""Steppers of the baselines: annealed Langevin sampling of a score, velocity Verlet of a force."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def sample_annealed_langevin(
    score: Callable[[Tensor, float], Tensor],
    positions: Tensor,
    levels: Sequence[float],
    generator: torch.Generator,
    *,
    steps_per_level: int = 1,
    step_ratio: float = 0.3,
) -> Tensor:
    """Sample a smoothed density at falling noise levels, starting from ``positions`` blurred at the highest.

    x <- x + (r/2) sigma^2 s(x, sigma) + sqrt(r) sigma z at each step, and x <- x + sigma^2 s at the end, which
    removes the lowest level's noise.

    Args:
        score: Gradient of the log density [1/A] at a level [A].
        positions: [A], (n_replicas, n_atoms, 3).
        levels: Noise levels [A], falling.
        generator: Of z.
        step_ratio: r.

    Source: algorithm 1 of Song and Ermon (2019), arXiv:1907.05600, with steps proportional to sigma^2.
    """

    def draw() -> Tensor:
        return torch.randn(positions.shape, generator=generator, dtype=positions.dtype)

    x = positions + levels[0] * draw()
    for level in levels:
        for _ in range(steps_per_level):
            x = x + 0.5 * step_ratio * level**2 * score(x, level) + step_ratio**0.5 * level * draw()
    return x + levels[-1] ** 2 * score(x, levels[-1])


def step_velocity_verlet(
    acceleration: Callable[[Tensor], Tensor], positions: Tensor, velocities: Tensor, a: Tensor, timestep: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of velocity Verlet; ``a`` is the acceleration at ``positions``, and that of the end is returned last.

    Source: Swope et al. (1982), doi:10.1063/1.442716.
    """
    half = velocities + 0.5 * timestep * a
    positions = positions + timestep * half
    a = acceleration(positions)
    return positions, half + 0.5 * timestep * a, a
