"""The equation that all solvers integrate: dx = v dt, dv = (a(x) - friction v) dt + B(x) dW, in A and snapshots."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from openmm_neuralmd.checks import MOST_STEPS_PER_SNAPSHOT, check_count


@dataclass(frozen=True)
class Dynamics:
    """Callables and numbers of the equation; no model is known here.

    Attributes:
        compute_acceleration: a(x) [A/snapshot^2] for x [A], both (n_replicas, n_atoms, 3).
        compute_acceleration_and_noise: a(x) and B(x) xi [A/snapshot^1.5], for x and standard normals
            (n_replicas, n_noise).
        friction: [1/snapshot]; a scalar tensor where it is trained.
        n_noise: Independent normals a step; 0 makes the dynamics Newtonian.
        compute_vibration: Displacement [A] from projected positions, for standard normals (n_replicas, 3 n_atoms),
            which snapshots show and steps do not feel; None where nothing vibrates.
    """

    compute_acceleration: Callable[[Tensor], Tensor]
    compute_acceleration_and_noise: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    friction: float | Tensor
    n_noise: int
    compute_vibration: Callable[[Tensor, Tensor], Tensor] | None = None


def check_steps_per_snapshot(steps: int) -> int:
    """The number itself; InputError if it is no integer, not positive, or beyond all reason."""
    return check_count("steps_per_snapshot", steps, most=MOST_STEPS_PER_SNAPSHOT)
