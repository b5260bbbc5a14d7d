"""Where replicas are: tensors only, so that a state can be saved, moved to another device and gone on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from openmm_neuralmd.errors import NeuralMDError


@dataclass(frozen=True)
class Failure:
    """A replica that broke; what follows of its path is NaN.

    Attributes:
        replica: Its place in the batch.
        seed: Its seed.
        error: What went wrong; the message names the step.
    """

    replica: int
    seed: int
    error: NeuralMDError


@dataclass(frozen=True)
class State:
    """Replicas of one ligand, between two snapshots or steps.

    Attributes:
        positions: What the dynamics feel [A], (n_replicas, n_atoms, 3); snapshots may show vibration besides.
        velocities: [A/snapshot], (n_replicas, n_atoms, 3).
        seeds: One for each replica.
        step: Steps taken, which with the seed keys the noise.
        memory: What else a propagator keeps, by name, (n_replicas, ...).
        failures: Replicas that broke on the way here.
    """

    positions: Tensor
    velocities: Tensor
    seeds: tuple[int, ...]
    step: int = 0
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    @property
    def n_replicas(self) -> int:
        return len(self.positions)

    def to(self, device: torch.device | str) -> "State":
        """The same on a device."""
        return replace(
            self,
            positions=self.positions.to(device),
            velocities=self.velocities.to(device),
            memory={name: value.to(device) for name, value in self.memory.items()},
        )

    def fail(self, errors: Mapping[int, NeuralMDError]) -> "State":
        """With replicas broken, by their place: their positions are NaN from here on."""
        if not errors:
            return self
        broken = torch.zeros(self.n_replicas, 1, 1, dtype=torch.bool, device=self.positions.device)
        broken[list(errors)] = True
        return replace(
            self,
            positions=self.positions.masked_fill(broken, torch.nan),
            failures=(*self.failures, *(Failure(k, self.seeds[k], error) for k, error in errors.items())),
        )
