"""What needs no model: a pose for ever, and harmonic noise about a mean. Baselines that a model has to beat."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State


class Frozen:
    """A pose for ever.

    Args:
        pose: [A], (n_atoms, 3); the one that each replica starts from if None.
    """

    n_history = 1
    is_random = False

    def __init__(self, pose: Tensor | None = None) -> None:
        self.pose = pose

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """At rest in the pose."""
        state = begin(history[:, -1:], seeds)
        if self.pose is None:
            return state
        return replace(state, positions=self.pose.to(history).expand_as(state.positions))

    def advance(self, state: State) -> tuple[State, Tensor]:
        """The same again."""
        return replace(state, step=state.step + 1), state.positions.unsqueeze(0)


class HarmonicNoise:
    """Independent draws of a normal distribution: each snapshot is mean + L z, whatever came before.

    Args:
        mean: [A], (n_atoms, 3).
        factor: L, with L L^T the covariance of the coordinates [A^2], (3 n_atoms, 3 n_atoms).
    """

    n_history = 1
    is_random = True

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        self.mean, self.factor = mean, factor

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """Where the replicas are."""
        return begin(history[:, -1:], seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        """One draw."""
        x = state.positions
        normals = draw_normals(state.seeds, state.step, x[0].numel(), device=x.device)
        drawn = self.mean.to(x) + (normals @ self.factor.to(normals).t()).to(x).reshape(x.shape)
        return replace(state, positions=drawn, step=state.step + 1), drawn.unsqueeze(0)
