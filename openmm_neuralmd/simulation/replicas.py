"""Many replicas of one complex in one batch, without OpenMM: the paths that ``simulate`` gives, seed by seed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.models.export import BoundModel
from openmm_neuralmd.simulation.projection import BondProjection
from openmm_neuralmd.solvers.dynamics import Dynamics
from openmm_neuralmd.solvers.rollout import rollout
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM, compute_velocity_factor


def run_replicas(
    complex_: Complex,
    model: BoundModel,
    *,
    n_snapshots: int,
    seeds: Sequence[int],
    steps_per_snapshot: int | None = None,
    scheme: str | None = None,
    projection: bool = True,
    starts: np.ndarray | None = None,
    velocities: np.ndarray | None = None,
) -> np.ndarray:
    """Ligand positions [nm] after each snapshot, (n_snapshots, n_replicas, n_atoms, 3), for one seed a replica.

    Args:
        complex_: The complex the model is bound to.
        model: Bound model.
        n_snapshots: How many.
        seeds: Of the noise, one for each replica.
        steps_per_snapshot, scheme: The model's own if None.
        projection: Whether bonds are brought back after each step.
        starts: [nm], (n_replicas, n_atoms, 3); where the ligand stands in the complex if None.
        velocities: [nm/ps], same shape; zero if None.

    Raises:
        InputError, NonFiniteStateError, ProjectionError: As ``rollout`` and ``BondProjection.project``.
    """
    ligand = complex_.ligand
    shape = (len(seeds), ligand.n_atoms, 3)
    x = np.broadcast_to(complex_.positions[ligand.atom_indices] if starts is None else starts, shape)
    v = np.zeros(shape) if velocities is None else velocities / compute_velocity_factor(model.snapshot_interval)
    project = _make_projection(BondProjection(ligand)) if projection else None
    with torch.inference_mode():
        path, _ = rollout(
            make_dynamics(model),
            torch.from_numpy(ANGSTROM_PER_NM * x),
            torch.from_numpy(v),
            n_snapshots=n_snapshots,
            seeds=seeds,
            scheme=scheme or model.scheme,
            steps_per_snapshot=steps_per_snapshot or model.steps_per_snapshot,
            project=project,
        )
    return NM_PER_ANGSTROM * path.numpy()


def make_dynamics(model: BoundModel) -> Dynamics:
    """The equation of a bound model; the state may have another precision than the model."""
    masses = model.masses[:, None]

    def compute_acceleration(x: Tensor) -> Tensor:
        return (model.compute_force(x.to(model.dtype)) / masses).to(x.dtype)

    def compute_acceleration_and_noise(x: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        force, noise = model.compute_force_and_noise(x.to(model.dtype), increments.to(model.dtype))
        return (force / masses).to(x.dtype), noise.to(x.dtype)

    return Dynamics(compute_acceleration, compute_acceleration_and_noise, model.friction, model.n_noise)


def _make_projection(projection: BondProjection) -> Callable[[Tensor], Tensor]:
    def project(x: Tensor) -> Tensor:
        return torch.from_numpy(ANGSTROM_PER_NM * projection.project(NM_PER_ANGSTROM * x.numpy())[0])

    return project
