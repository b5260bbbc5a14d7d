"""What every kind of model does with a state: begin from snapshots, and go on by one or more of them."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.noise import check_seed
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.errors import InputError


class Propagator(Protocol):
    """Advances replicas of one ligand in its pocket.

    Attributes:
        n_history: Snapshots that ``start`` makes use of; it takes fewer too, down to one.
        is_random: Whether the seed matters.
    """

    @property
    def n_history(self) -> int: ...

    @property
    def is_random(self) -> bool: ...

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """The state after the last snapshots [A], (n_replicas, n_snapshots, n_atoms, 3), the present one last."""
        ...

    def advance(self, state: State) -> tuple[State, Tensor]:
        """The next state, and the snapshots on the way to it [A], (n_snapshots, n_replicas, n_atoms, 3).

        A replica that breaks is NaN from there on and in ``State.failures``; the others go on. Raises nothing.
        """
        ...


def begin(history: Tensor, seeds: Sequence[int]) -> State:
    """The state of a propagator without memory: present positions, and the difference of two snapshots as velocity.

    Raises:
        InputError: If there is not one seed for each replica, or a seed cannot be used.
    """
    if len(seeds) != len(history):
        raise InputError(f"{len(seeds)} seeds for {len(history)} replicas; give one for each")
    present = history[:, -1]
    velocities = present - history[:, -2] if history.shape[1] > 1 else torch.zeros_like(present)
    return State(present, velocities, tuple(check_seed(seed) for seed in seeds))


def propagate(propagator: Propagator, state: State, n_snapshots: int) -> tuple[Tensor, State]:
    """Snapshots after a state [A], (n_snapshots, n_replicas, n_atoms, 3), and the state that the last ones lead to.

    Where a propagator makes several at once the state may be beyond the last snapshot that is returned.
    """
    shown: list[Tensor] = []
    n_made = 0
    while n_made < n_snapshots:
        state, made = propagator.advance(state)
        shown.append(made)
        n_made += len(made)
    return torch.cat(shown)[:n_snapshots], state


def raise_failures(state: State) -> None:
    """Raise the error of the first replica that broke, where one did."""
    if state.failures:
        raise state.failures[0].error
