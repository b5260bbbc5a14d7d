"""What a force field says of single snapshots, as networks learn it."""

from typing import NamedTuple

import torch
from torch import Tensor

LABELS_OF_FORCE_FIELD = "force_field"
"""What kinds that can learn these name among their ``labels``."""


class FrameLabels(NamedTuple):
    """Of snapshots of one complex; ``training.labels`` makes them."""

    positions: Tensor  # [A], (n, n_atoms, 3)
    forces: Tensor  # [Da A/snapshot^2], (n, n_atoms, 3)
    energies: Tensor  # [Da A^2/snapshot^2], (n,), up to a constant
    force_square: Tensor  # mean square of the training forces' components, a scalar
    energy_variance: Tensor  # of the training energies, a scalar

    def draw(self, n: int, generator: torch.Generator) -> "FrameLabels":
        """Some of them, with replacement."""
        device = self.positions.device
        chosen = torch.randint(len(self.positions), (n,), generator=generator, device=device)
        return self._replace(
            positions=self.positions[chosen], forces=self.forces[chosen], energies=self.energies[chosen]
        )
