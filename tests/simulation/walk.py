"""A model that is no force: a random walk with memory that makes three snapshots at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.molecule.complex import Complex, Ligand

BLOCK = 3


class Walk:
    """The trend, which is no velocity of the snapshots, decays and is pushed; the age turns it.

    Attributes:
        n_calls: How often it advanced.
        breaks_at: Step at which the replica breaks.
    """

    n_history = 2
    is_random = True

    def __init__(self, *, breaks_at: int | None = None) -> None:
        self.n_calls, self.breaks_at = 0, breaks_at

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        state = begin(history, seeds)
        age = torch.zeros(state.n_replicas, dtype=torch.int64)
        return replace(state, memory={"trend": 0.5 * state.velocities, "age": age})

    def advance(self, state: State) -> tuple[State, Tensor]:
        self.n_calls += 1
        x, trend, age = state.positions, state.memory["trend"], state.memory["age"]
        n = x[0].numel()
        noise = draw_normals(state.seeds, state.step, BLOCK * n).reshape(len(x), BLOCK, *x.shape[1:])
        made = []
        for k in range(BLOCK):
            age = age + 1
            trend = 0.8 * trend + 0.02 * (1.0 + torch.sin(age.double()))[:, None, None] * noise[:, k]
            x = x + trend
            made.append(x + 0.01 * noise[:, k])  # what is shown is not what the walk goes on from
        state = replace(
            state, positions=x, velocities=2.0 * trend, step=state.step + 1, memory={"trend": trend, "age": age}
        )
        if state.step == self.breaks_at:
            state = state.fail({0: NonFiniteStateError(f"step {state.step}: the walk has left the map")})
        return state, torch.stack(made)


@dataclass
class WalkModel:
    """Bound to a ligand; offers a propagator and no force."""

    ligand: Ligand
    snapshot_interval: float = 80.0
    is_force: bool = False
    is_random: bool = True
    path: Path | None = None
    sha256: str = ""
    binding_sha256: str = ""
    breaks_at: int | None = None
    walk: Walk | None = None

    @property
    def n_atoms(self) -> int:
        return self.ligand.n_atoms

    def make_propagator(self, **settings: Any) -> Walk:
        if settings["scheme"] is not None:
            raise InputError(f"scheme {settings['scheme']!r}: this model knows none; leave it out")
        self.walk = Walk(breaks_at=self.breaks_at)
        return self.walk


def make_walk(complex_: Complex, **settings: Any) -> WalkModel:
    return WalkModel(complex_.ligand, **settings)
