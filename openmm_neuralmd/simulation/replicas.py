"""Many replicas of one complex, without OpenMM: the paths that ``simulate`` gives, seed by seed.

A replica alone is that path to 1e-9 A. In a batch single precision rounds differently: of 16 paths of the bundled SDE
the worst was 8e-6 A from the lone one after 20 snapshots. In double precision (``bind(..., dtype=torch.float64)``) all
stay below 1e-8 A.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from openmm_neuralmd.checks import (
    MOST_SNAPSHOTS,
    check_arguments,
    check_count,
    check_finite,
    check_reals,
)
from openmm_neuralmd.dynamics.ensembles import report_failures, run_ensemble
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import Complex, strip_unit
from openmm_neuralmd.simulation.arguments import REPLICA_ARGUMENTS, bind_model
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM, compute_velocity_factor


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
        InputError: If an argument cannot be used, there is no seed or no snapshot, or as ``Stepped``.
        ModelContractError: If the model does not fit the ligand.
        NonFiniteStateError, ProjectionError: If every replica breaks. Where some do, the log names their seeds, and
            their positions are NaN from there on.
    """
    n_snapshots = check_count("n_snapshots", n_snapshots, most=MOST_SNAPSHOTS) if n_snapshots != 0 else 0
    if n_snapshots < 1 or len(seeds) < 1:
        raise InputError(f"{n_snapshots} snapshots of {len(seeds)} replicas: give at least one snapshot and one seed")
    model = bind_model(model, complex_)
    ligand = complex_.ligand
    shape = (len(seeds), ligand.n_atoms, 3)
    present = complex_.positions[ligand.atom_indices] if starts is None else starts
    still = np.zeros(shape[1:]) if velocities is None else velocities
    x = ANGSTROM_PER_NM * torch.from_numpy(_give_each("starts", present, shape, unit="nm"))
    v = torch.from_numpy(_give_each("velocities", still, shape, unit="nm/ps"))
    history = torch.stack([x - v / compute_velocity_factor(model.snapshot_interval), x], dim=1)
    propagator = model.make_propagator(scheme=scheme, steps_per_snapshot=steps_per_snapshot, projection=projection)
    ensemble = run_ensemble(propagator, history, seeds, n_snapshots)
    if len(ensemble.failures) == len(seeds):
        raise ensemble.failures[0].error
    report_failures(ensemble)
    return NM_PER_ANGSTROM * ensemble.path.numpy()


def _give_each(name: str, values: Any, shape: tuple[int, ...], *, unit: str) -> np.ndarray:
    array = check_finite(name, check_reals(name, strip_unit(name, values, unit=unit), unit=unit))
    if array.shape not in (shape, shape[1:], (1, *shape[1:])):
        raise InputError(
            f"{name} of shape {array.shape} cannot be used: give numbers [{unit}] of shape {shape}, (seeds, atoms, 3)"
        )
    return np.array(np.broadcast_to(array, shape))
