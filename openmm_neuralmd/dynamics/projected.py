"""Any propagator with the ligand's bonds brought back after each of its advances."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.dynamics.stepped import Project
from openmm_neuralmd.errors import NeuralMDError


class ProjectedPropagator:
    """Shows and goes on from what a propagator makes, brought back to the ligand's shape.

    Velocities change by what the projection moved, as in ``Stepped``. What else the propagator keeps in its memory is
    of the positions before.

    Args:
        propagator: Of any kind; it knows nothing of shapes.
        project: Brings bonds back.
    """

    def __init__(self, propagator: Propagator, project: Project) -> None:
        self._propagator, self._project = propagator, project

    @property
    def n_history(self) -> int:
        return self._propagator.n_history

    @property
    def is_random(self) -> bool:
        return self._propagator.is_random

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """As the propagator does; the present is taken as it is."""
        return self._propagator.start(history, seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        """Projected snapshots, and the state after the last of them."""
        following, shown = self._propagator.advance(state)
        following = following.fail_non_finite()
        shows_all = torch.equal(shown[-1], following.positions)
        made = shown if shows_all else torch.cat([shown, following.positions.unsqueeze(0)])
        found = self._project(made.flatten(0, 1))
        projected = found.positions.reshape(made.shape)
        moved = projected[-1] - following.positions
        known = {failure.replica for failure in following.failures}
        errors: dict[int, NeuralMDError] = {}
        for place, error in found.errors.items():
            replica = place % state.n_replicas
            if replica not in known:
                errors.setdefault(replica, type(error)(f"step {following.step}: {error}"))
        following = replace(following, positions=projected[-1], velocities=following.velocities + moved)
        return following.fail(errors), projected[: len(shown)]
