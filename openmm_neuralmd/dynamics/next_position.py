"""The next snapshot from the present one alone, by a displacement."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State


class NextPosition:
    """x <- x + d(x).

    Args:
        displacement: d(x) [A] for x [A], both (n_replicas, n_atoms, 3).
    """

    n_history = 1
    is_random = False

    def __init__(self, displacement: Callable[[Tensor], Tensor]) -> None:
        self.displacement = displacement

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """Where the replicas are."""
        return begin(history[:, -1:], seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        """One displacement on; it is the velocity too."""
        x = state.fill().positions
        d = self.displacement(x)
        state = replace(state, positions=x + d, velocities=d, step=state.step + 1).fail_non_finite()
        return state, state.positions.unsqueeze(0)
