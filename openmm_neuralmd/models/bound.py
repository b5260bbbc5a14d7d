"""A model bound to one complex: what a simulation asks of it, and the checks that compiled code leaves out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.checks import describe
from openmm_neuralmd.errors import InputError, ModelContractError


@dataclass(frozen=True)
class BoundModel:
    """A model bound to one complex; the protein is embedded once, here.

    Attributes:
        n_atoms: Ligand heavy atoms.
        n_noise: Independent normals a step, 0 for a Newtonian model.
        friction: gamma [1/snapshot].
        snapshot_interval: [ps].
        masses: Of the elements [Da], (n_atoms,).
        scheme, steps_per_snapshot: The defaults the model was trained for.
        path, sha256: The model file.
        dtype: Of the network and of what it gives; positions, velocities and normals may come in another.
        module: Frozen TorchScript module; its ``forward`` maps positions from ``origin`` [A], (R, N, 3), to forces.
        origin: A place in the pocket [A], float64, (3,). Far from zero single precision would round positions: at
            60 A by 4e-6 A, which bond projections multiply.
    """

    n_atoms: int
    n_noise: int
    friction: float
    snapshot_interval: float
    masses: Tensor
    scheme: str
    steps_per_snapshot: int
    path: Path
    sha256: str
    dtype: torch.dtype
    module: Any
    origin: Tensor

    def compute_force(self, positions: Tensor) -> Tensor:
        """Force [Da A/snapshot^2], (R, N, 3), for positions [A], (R, N, 3)."""
        return self.module(self._enter(positions))

    def compute_force_and_noise(self, positions: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        """Force as above and B(x) xi [A/snapshot^1.5], (R, N, 3), for standard normals (R, n_noise)."""
        x = self._enter(positions)
        return self.module.compute_force_and_noise(x, self._check(increments, (len(x), self.n_noise), "normals"))

    def map_velocities(self, positions: Tensor, velocities: Tensor) -> Tensor:
        """Initial velocities [A/snapshot] from those at hand, both (R, N, 3), at positions [A]."""
        x = self._enter(positions)
        return self.module.map_velocities(x, self._check(velocities, tuple(x.shape), "velocities"))

    def compute_vibration(self, positions: Tensor, normals: Tensor) -> Tensor:
        """Vibration [A], (R, N, 3), about positions with ideal bonds, for standard normals (R, 3N)."""
        x = self._enter(positions)
        return self.module.compute_vibration(x, self._check(normals, (len(x), 3 * self.n_atoms), "normals"))

    def _enter(self, positions: Tensor) -> Tensor:
        n_replicas = len(positions) if isinstance(positions, Tensor) and positions.ndim else 1
        self._check(positions, (n_replicas, self.n_atoms, 3), "positions")
        return (positions - self.origin.to(positions)).to(self.dtype)

    def _check(self, values: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
        """The values in the network's precision; compiled code checks neither that nor shapes: it would crash."""
        if not isinstance(values, Tensor) or not values.is_floating_point():
            found = f"of {values.dtype}" if isinstance(values, Tensor) else describe(values)
            raise InputError(f"{what} are {found}; give a tensor of floating-point numbers of shape {shape}")
        if values.shape != shape:
            raise ModelContractError(f"{what} of shape {tuple(values.shape)}; the bound model takes {shape}")
        return values.to(self.dtype)
