"""Where replicas are: tensors only, so that a state can be saved, moved to another device and gone on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from openmm_neuralmd.errors import NeuralMDError, NonFiniteStateError

FARTHEST_NM = 1e4  # beyond it a path has broken, though numbers may still be finite


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
        """With replicas broken, by their place: these, and those that broke before, are NaN."""
        if not errors and not self.failures:
            return self
        failures = (*self.failures, *(Failure(k, self.seeds[k], error) for k, error in errors.items()))
        is_broken = torch.zeros(self.n_replicas, 1, 1, dtype=torch.bool, device=self.positions.device)
        is_broken[[failure.replica for failure in failures]] = True
        return replace(self, positions=self.positions.masked_fill(is_broken, torch.nan), failures=failures)

    def fail_non_finite(self, advice: str = "the model does not hold where it came to") -> "State":
        """With those broken whose positions are NaN or infinite; the advice ends their message."""
        is_finite = torch.isfinite(self.positions).flatten(1).all(1)
        if bool(is_finite.all()):
            return self.fail({})
        error = NonFiniteStateError(f"step {self.step}: positions are NaN or infinite; {advice}")
        known = {failure.replica for failure in self.failures}
        return self.fail({k: error for k in torch.nonzero(~is_finite).flatten().tolist() if k not in known})

    def fill(self) -> "State":
        """With a whole replica, at rest, in the places of broken ones: what models compute of a batch stays finite.

        ``fail`` and ``fail_non_finite`` make their positions NaN again.
        """
        if not self.failures:
            return self
        broken = [failure.replica for failure in self.failures]
        whole = next((k for k in range(self.n_replicas) if k not in broken), None)
        positions, velocities = self.positions.clone(), self.velocities.clone()
        positions[broken] = 0.0 if whole is None else self.positions[whole]
        velocities[broken] = 0.0
        return replace(self, positions=positions, velocities=velocities)
