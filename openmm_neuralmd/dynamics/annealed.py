"""Annealed Langevin sampling of a learned score, one snapshot after another."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State


class AnnealedLangevin:
    """Each snapshot is a sample of a density smoothed at falling noise levels, begun from the one before it.

    The present positions are blurred at the highest level, x <- x + sigma_1 z. Steps at each level sigma follow

        x <- x + (r/2) sigma^2 s(x, sigma) + sqrt(r) sigma z,

    and x <- x + sigma^2 s(x, sigma) at the end takes away the lowest level's noise.

    Args:
        score: s, the gradient of the log density [1/A] at a level [A], for positions [A], (n_replicas, n_atoms, 3).
        levels: sigma [A], falling.
        steps_per_level: How many.
        step_ratio: r.

    Source: algorithm 1 of Song and Ermon (2019), arXiv:1907.05600, with steps proportional to sigma^2.
    """

    n_history = 1
    is_random = True

    def __init__(
        self,
        score: Callable[[Tensor, float], Tensor],
        levels: Sequence[float],
        *,
        steps_per_level: int = 1,
        step_ratio: float = 0.3,
    ) -> None:
        self.score, self.levels = score, [float(level) for level in levels]
        self.steps_per_level, self.step_ratio = steps_per_level, step_ratio

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """Where the replicas are."""
        return begin(history[:, -1:], seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        """One sample; its velocity is the difference to the one before."""
        r, before = self.step_ratio, state.fill().positions
        ladder = [level for level in self.levels for _ in range(self.steps_per_level)]
        n_draws = 1 + len(ladder)  # all of a snapshot from one call: the counter goes on from draw to draw
        normals = draw_normals(state.seeds, state.step, n_draws * before[0].numel(), device=before.device).to(before)
        blur, *draws = normals.reshape(len(before), n_draws, *before.shape[1:]).unbind(1)
        x = before + self.levels[0] * blur
        for level, z in zip(ladder, draws, strict=True):
            x = x + 0.5 * r * level**2 * self._compute_score(x, before, level) + r**0.5 * level * z
        x = x + self.levels[-1] ** 2 * self._compute_score(x, before, self.levels[-1])
        state = replace(state, positions=x, velocities=x - before, step=state.step + 1).fail_non_finite()
        return state, state.positions.unsqueeze(0)

    def _compute_score(self, x: Tensor, before: Tensor, level: float) -> Tensor:
        """Where a replica has broken on the ladder, of where it began: a network computes of a batch together."""
        is_finite = torch.isfinite(x).flatten(1).all(1)[:, None, None]
        return self.score(torch.where(is_finite, x, before), level)
