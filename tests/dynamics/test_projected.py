"""Any propagator with bonds brought back: blocks of snapshots, what the state goes on from, replicas that break."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.projected import ProjectedPropagator
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.dynamics.stepped import Projected
from openmm_neuralmd.errors import NonFiniteStateError, ProjectionError


class Blocks:
    """Shows three snapshots an advance, each one further along x; goes on from beside the last one."""

    n_history, is_random = 1, False

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        return begin(history[:, -1:], seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        shown = torch.stack([state.positions + k for k in (1.0, 2.0, 3.0)])
        state = replace(state, positions=shown[-1] + 0.25, velocities=torch.ones_like(shown[0]), step=state.step + 3)
        return state, shown


def round_off(x: Tensor) -> Projected:
    """To whole numbers; where a coordinate is beyond 100 it fails, and stays."""
    errors = {k: ProjectionError("too far") for k in range(len(x)) if not bool((x[k].abs() < 100.0).all())}
    return Projected(torch.where(x.abs() < 100.0, x.round(), x), errors)


def start(positions: list[float]) -> tuple[ProjectedPropagator, State]:
    propagator = ProjectedPropagator(Blocks(), round_off)
    history = torch.tensor(positions, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 2, 3)
    return propagator, propagator.start(history, range(len(positions)))


def test_every_snapshot_and_the_state_are_projected() -> None:
    propagator, state = start([0.1, 5.2])
    assert state.positions[0, 0, 0] == 0.1
    state, shown = propagator.advance(state)
    assert shown[:, :, 0, 0].tolist() == [[1.0, 6.0], [2.0, 7.0], [3.0, 8.0]]
    assert state.positions[:, 0, 0].tolist() == [3.0, 8.0]  # 3.35 and 8.45
    torch.testing.assert_close(state.velocities[:, 0, 0], torch.tensor([0.65, 0.55], dtype=torch.float64))
    assert state.failures == ()


def test_replica_that_cannot_be_projected_takes_no_other_along() -> None:
    propagator, state = start([0.0, 98.5])
    for _ in range(2):
        state, shown = propagator.advance(state)
    assert shown[:, 0, 0, 0].tolist() == [4.0, 5.0, 6.0]
    assert torch.isnan(state.positions[1]).all()
    (failure,) = state.failures
    assert (failure.replica, failure.seed) == (1, 1)
    assert isinstance(failure.error, ProjectionError)
    assert str(failure.error) == "step 3: too far"


def test_what_is_not_finite_is_told_as_that() -> None:
    propagator, state = start([0.0, torch.inf])
    state, _ = propagator.advance(state)
    (failure,) = state.failures
    assert isinstance(failure.error, NonFiniteStateError)
