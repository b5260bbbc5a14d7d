"""Many replicas of one complex, without OpenMM: the paths that ``simulate`` gives, seed by seed.

A replica alone is that path to 1e-9 A. In a batch single precision rounds differently: of 16 paths of the bundled SDE
the worst was 8e-6 A from the lone one after 20 snapshots. In double precision (``bind(..., dtype=torch.float64)``) all
stay below 1e-8 A.

Replicas run in batches, one on each of torch's threads at a time. A batch costs little more than a replica where calls
dominate, and stays small enough for what it computes to remain in the processor's caches.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.checks import (
    MOST_SNAPSHOTS,
    check_arguments,
    check_count,
    check_finite,
    check_reals,
    check_threads,
)
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.dynamics.rollout import rollout
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import Complex, strip_unit
from openmm_neuralmd.simulation.arguments import REPLICA_ARGUMENTS, bind_model
from openmm_neuralmd.simulation.computation import map_velocities
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM, compute_velocity_factor

_BATCH = 8  # replicas; from 4 to 16 the time differs by a few per cent, with 64 it is half as much again


@check_arguments(**REPLICA_ARGUMENTS)
def run_replicas(
    complex_: Complex,
    model: Model | BoundModel,
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
        complex_: The complex.
        model: A loaded model, bound here, or one that is bound to the complex.
        n_snapshots: How many.
        seeds: Of the noise, one for each replica.
        steps_per_snapshot, scheme: The model's own if None.
        projection: Whether bonds are brought back after each step.
        starts: [nm], (n_replicas, n_atoms, 3), or (n_atoms, 3) for all; where the ligand stands in the complex if None.
        velocities: [nm/ps], same shape; zero if None. Both may be OpenMM quantities.

    Raises:
        InputError: If an argument cannot be used, there is no seed or no snapshot, or as ``rollout``.
        ModelContractError: If the model does not fit the ligand.
        NonFiniteStateError, ProjectionError: As ``rollout`` and ``BondProjection.project``.
    """
    n_snapshots = check_count("n_snapshots", n_snapshots, most=MOST_SNAPSHOTS) if n_snapshots != 0 else 0
    if n_snapshots < 1 or len(seeds) < 1:
        raise InputError(f"{n_snapshots} snapshots of {len(seeds)} replicas: give at least one snapshot and one seed")
    model = bind_model(model, complex_)
    ligand = complex_.ligand
    shape = (len(seeds), ligand.n_atoms, 3)
    x = _give_each("starts", complex_.positions[ligand.atom_indices] if starts is None else starts, shape, unit="nm")
    still = np.zeros(shape[1:]) if velocities is None else velocities
    v = map_velocities(model, x, _give_each("velocities", still, shape, unit="nm/ps"))
    v = v / compute_velocity_factor(model.snapshot_interval)
    dynamics = make_dynamics(model)
    project = _make_projection(BondProjection(ligand)) if projection else None

    def run(batch: slice) -> np.ndarray:
        with torch.inference_mode():  # here, because it belongs to a thread
            path, _ = rollout(
                dynamics,
                torch.from_numpy(ANGSTROM_PER_NM * x[batch]),
                torch.from_numpy(v[batch]),
                n_snapshots=n_snapshots,
                seeds=seeds[batch],
                scheme=model.scheme if scheme is None else scheme,
                steps_per_snapshot=model.steps_per_snapshot if steps_per_snapshot is None else steps_per_snapshot,
                project=project,
            )
        return NM_PER_ANGSTROM * path.numpy()

    n_threads = torch.get_num_threads()
    size = min(_BATCH, -(-len(seeds) // n_threads))
    batches = [slice(k, k + size) for k in range(0, len(seeds), size)]
    if len(batches) == 1:
        return run(batches[0])
    with use_threads(1), ThreadPoolExecutor(min(n_threads, len(batches))) as pool:
        return np.concatenate(list(pool.map(run, batches)), axis=1)


def _give_each(name: str, values: Any, shape: tuple[int, ...], *, unit: str) -> np.ndarray:
    array = check_finite(name, check_reals(name, strip_unit(name, values, unit=unit), unit=unit))
    if array.shape not in (shape, shape[1:], (1, *shape[1:])):
        raise InputError(
            f"{name} of shape {array.shape} cannot be used: give numbers [{unit}] of shape {shape}, (seeds, atoms, 3)"
        )
    return np.broadcast_to(array, shape)


def make_dynamics(model: BoundModel) -> Dynamics:
    """The equation of a bound model; the state may have another precision than the model."""
    masses = model.masses[:, None]

    def compute_acceleration(x: Tensor) -> Tensor:
        return (model.compute_force(x) / masses).to(x.dtype)

    def compute_acceleration_and_noise(x: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        force, noise = model.compute_force_and_noise(x, increments)
        return (force / masses).to(x.dtype), noise.to(x.dtype)

    def compute_vibration(x: Tensor, normals: Tensor) -> Tensor:
        return model.compute_vibration(x, normals).to(x.dtype)

    return Dynamics(
        compute_acceleration,
        compute_acceleration_and_noise,
        model.friction,
        model.n_noise,
        compute_vibration if model.n_noise > 0 else None,
    )


def _make_projection(projection: BondProjection) -> Callable[[Tensor], Tensor]:
    def project(x: Tensor) -> Tensor:
        return torch.from_numpy(ANGSTROM_PER_NM * projection.project(NM_PER_ANGSTROM * x.numpy())[0])

    return project


@contextmanager
def use_threads(n_threads: int | None) -> Iterator[None]:
    """So many threads in torch, and as many as before afterwards; None leaves them.

    Raises:
        InputError: If it is no such number, or more than this machine can bear.
    """
    n_threads = check_threads(n_threads)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before if n_threads is None else n_threads)
        yield
    finally:
        torch.set_num_threads(before)
