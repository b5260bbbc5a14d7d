"""A model bound to one complex: what a simulation asks of it, and the checks that compiled code leaves out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.checks import describe
from openmm_neuralmd.dynamics.batch_projection import Projection
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.molecule.complex import Ligand


@dataclass(frozen=True)
class BoundModel:
    """A model bound to one complex; the protein is embedded once, here.

    Attributes:
        ligand: What it moves.
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

    ligand: Ligand
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

    @property
    def n_atoms(self) -> int:
        """Ligand heavy atoms."""
        return self.ligand.n_atoms

    @property
    def is_random(self) -> bool:
        """Whether a seed matters."""
        return self.n_noise > 0

    def make_propagator(
        self, *, scheme: str | None = None, steps_per_snapshot: int | None = None, projection: bool = True
    ) -> Stepped:
        """What advances replicas by this model; see ``make_stepped``."""
        return make_stepped(self, scheme=scheme, steps_per_snapshot=steps_per_snapshot, projection=projection)

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


def make_stepped(
    model: BoundModel,
    *,
    scheme: str | None = None,
    steps_per_snapshot: int | None = None,
    projection: bool = True,
) -> Stepped:
    """The coarse step of a bound model; the state may have another precision than the model.

    Args:
        model: Gives the force, and the ligand whose shape is kept.
        scheme, steps_per_snapshot: The model's own if None.
        projection: Whether bonds are brought back after each step.
    """
    masses = model.masses[:, None]

    def compute_acceleration(x: Tensor) -> Tensor:
        return (model.compute_force(x) / masses).to(x.dtype)

    def compute_acceleration_and_noise(x: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        force, noise = model.compute_force_and_noise(x, increments)
        return (force / masses).to(x.dtype), noise.to(x.dtype)

    def compute_vibration(x: Tensor, normals: Tensor) -> Tensor:
        return model.compute_vibration(x, normals).to(x.dtype)

    return Stepped(
        Dynamics(
            compute_acceleration,
            compute_acceleration_and_noise,
            model.friction,
            model.n_noise,
            compute_vibration if model.n_noise > 0 else None,
        ),
        scheme=model.scheme if scheme is None else scheme,
        steps_per_snapshot=model.steps_per_snapshot if steps_per_snapshot is None else steps_per_snapshot,
        project=Projection(model.ligand) if projection else None,
        map_velocities=model.map_velocities,
    )
