"""Velocity Verlet of an acceleration, one step a snapshot."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State


class VelocityVerlet:
    """v' = v + a(x)/2, x <- x + v', v <- v' + a(x)/2: of order 2, time-reversible, one evaluation a step.

    The state keeps the acceleration between steps, in ``memory["acceleration"]``.

    Args:
        acceleration: a(x) [A/snapshot^2] for x [A], both (n_replicas, n_atoms, 3).

    Source: Swope et al. (1982), doi:10.1063/1.442716.
    """

    n_history = 2
    is_random = False

    def __init__(self, acceleration: Callable[[Tensor], Tensor]) -> None:
        self.acceleration = acceleration

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """Velocity of the present: that half a step ago, the difference of two snapshots, and a/2; or at rest."""
        state = begin(history, seeds)
        a = self.acceleration(state.positions)
        velocities = state.velocities + 0.5 * a if history.shape[1] > 1 else state.velocities
        return replace(state, velocities=velocities, memory={"acceleration": a})

    def advance(self, state: State) -> tuple[State, Tensor]:
        """One step on."""
        half = state.velocities + 0.5 * state.memory["acceleration"]
        x = state.positions + half
        state = replace(state, positions=x, velocities=half, step=state.step + 1).fail_non_finite()
        a = self.acceleration(state.fill().positions)
        state = replace(state, velocities=half + 0.5 * a, memory={"acceleration": a})
        return state, state.positions.unsqueeze(0)
