"""Models bound to one complex: what a simulation or an evaluation asks of them, whatever their kind.

Every bound model makes a propagator. One that is a force besides (``BoundForce``) is stepped by OpenMM's own programs;
any other (``BoundPropagator``) moves the ligand by the displacements of its propagator.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from openmm_neuralmd.checks import describe
from openmm_neuralmd.dynamics.batch_projection import Projection
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.projected import ProjectedPropagator
from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.files import hash_arrays
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding
from openmm_neuralmd.molecule.complex import Complex, Ligand


class FrozenNetwork(NamedTuple):
    """A compiled force network with its ligand and protein; ``forward`` maps positions from the origin to forces."""

    module: Any
    n_noise: int
    friction: float


class Binding(Protocol):
    """A network and the complex it is bound to: what a kind makes its bound model of.

    Attributes:
        complex: The complex.
        net: The network in eval mode and in ``dtype``.
        graph: The ligand, as the model reads it.
        protein: The rigid protein, embedded once; its coordinates are from ``origin``.
        origin: A place in the pocket [A], float64, (3,). Far from zero single precision would round positions: at
            60 A by 4e-6 A, which bond projections multiply.
        dtype: What to compute in.
        facts: What every bound model knows: the fields of ``BoundModel``, by name.
    """

    complex: Complex
    graph: LigandGraph
    origin: Tensor
    dtype: torch.dtype
    facts: Mapping[str, Any]

    @property
    def net(self) -> nn.Module: ...

    @property
    def protein(self) -> ProteinEmbedding: ...

    def freeze(self) -> FrozenNetwork:
        """The network compiled with ligand and protein in it, for kinds whose network is a BindingNet."""
        ...

    def adapt(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function of absolute positions [A] in any precision, from one of positions from ``origin`` in ``dtype``.

        Its result, vectors such as a force or a displacement, comes in the precision of the positions.
        """
        ...


@dataclass(frozen=True)
class BoundModel(ABC):
    """A model bound to one complex; the protein is embedded once.

    Attributes:
        kind: Its name.
        ligand: What it moves.
        snapshot_interval: [ps].
        scheme, steps_per_snapshot: The defaults the model was trained for; of forces.
        path, sha256: The model file.
        binding_sha256: Of what was read of the complex, see ``compute_binding_hash``.
        dtype: Of the network and of what it gives; positions, velocities and normals may come in another.
        keeps_shape: Whether its rollouts, as the kind is defined, bring bonds back after each step.
    """

    is_force: ClassVar[bool]
    """Whether it gives a force that OpenMM's integrator programs step; else it gives displacements."""

    kind: str
    ligand: Ligand
    snapshot_interval: float
    scheme: str
    steps_per_snapshot: int
    path: Path
    sha256: str
    binding_sha256: str
    dtype: torch.dtype
    keeps_shape: bool

    @property
    def n_atoms(self) -> int:
        """Ligand heavy atoms."""
        return self.ligand.n_atoms

    @property
    @abstractmethod
    def is_random(self) -> bool:
        """Whether a seed matters."""

    @abstractmethod
    def make_propagator(
        self, *, scheme: str | None = None, steps_per_snapshot: int | None = None, projection: bool = True
    ) -> Propagator:
        """What advances replicas by this model.

        Args:
            scheme, steps_per_snapshot: The model's own if None.
            projection: Whether bonds are brought back after each step.

        Raises:
            InputError: If the scheme or the number of steps cannot be used.
        """

    def list_propagators(self) -> dict[str, Propagator]:
        """What an evaluation judges: its own propagator under an empty name, and variants by what they are called."""
        return {"": self.make_propagator(projection=self.keeps_shape)}

    def check_complex(self, complex_: Complex) -> None:
        """Check that it is bound to this complex.

        Raises:
            ModelContractError: If it is not.
        """
        ligand = complex_.ligand
        if self.n_atoms != ligand.n_atoms:
            raise ModelContractError(
                f"the model is bound to {self.n_atoms} atoms, ligand {ligand.name} has {ligand.n_atoms} heavy atoms: "
                "bind it to this complex"
            )
        if self.binding_sha256 != compute_binding_hash(complex_):
            raise ModelContractError(
                f"the model is bound to another complex than this one with ligand {ligand.name} (other atoms, pose or "
                "protein): give the model as load_model gives it, which is bound here, or bind it to this complex"
            )


@dataclass(frozen=True)
class BoundForce(BoundModel):
    """A bound model that is a force.

    Attributes:
        n_noise: Independent normals a step, 0 for a Newtonian model.
        friction: gamma [1/snapshot].
        masses: Of the elements [Da], (n_atoms,).
        module: Frozen TorchScript module; its ``forward`` maps positions from ``origin`` [A], (R, N, 3), to forces.
        origin: See ``Binding``.
    """

    is_force = True

    n_noise: int
    friction: float
    masses: Tensor
    module: Any
    origin: Tensor

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


@dataclass(frozen=True)
class BoundPropagator(BoundModel):
    """A bound model that is no force: one snapshot, or a block of them, follows from those before.

    Attributes:
        propagator: Without projection.
        variants: Other propagators that an evaluation judges beside it, by name.
    """

    is_force = False

    propagator: Propagator
    variants: Mapping[str, Propagator]

    @property
    def is_random(self) -> bool:
        """Whether a seed matters."""
        return self.propagator.is_random

    def make_propagator(
        self, *, scheme: str | None = None, steps_per_snapshot: int | None = None, projection: bool = True
    ) -> Propagator:
        """Its propagator; with ``projection`` each snapshot is brought back to the ligand's shape.

        Raises:
            InputError: If a scheme or a number of steps is given that is not the model's own: it steps no force.
        """
        if scheme not in (None, self.scheme) or steps_per_snapshot not in (None, self.steps_per_snapshot):
            raise InputError(
                f"a model of kind {self.kind} is no force and takes no scheme and no steps within a snapshot: "
                "leave out `scheme` and `steps_per_snapshot`"
            )
        return ProjectedPropagator(self.propagator, Projection(self.ligand)) if projection else self.propagator

    def list_propagators(self) -> dict[str, Propagator]:
        """As of every bound model, and the variants."""
        return {**super().list_propagators(), **self.variants}


def make_stepped(
    model: BoundForce,
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


def compute_binding_hash(complex_: Complex) -> str:
    """SHA-256 of all that binding reads: elements, bonds, pose and geometry of the ligand; residues and backbone."""
    ligand, protein = complex_.ligand, complex_.protein
    return hash_arrays(
        *(ligand.atomic_numbers, ligand.bonds, ligand.positions, ligand.geometry),
        *(protein.residue_types, protein.backbone, protein.is_linked),
    )
