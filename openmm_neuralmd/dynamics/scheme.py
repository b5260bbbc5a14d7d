"""What a scheme is, and where schemes are found: one file each, which holds its solver and its OpenMM program.

The package's own are the modules of ``dynamics.schemes``; other packages name theirs in the entry point group
``openmm_neuralmd.schemes``, when schemes are first asked for. Either way a module offers ``SCHEME``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from torch import Tensor

from openmm_neuralmd.dynamics import schemes
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.plugins import Plugins, load_own

DEFAULT_SCHEME = "leapfrog"


class Solver(Protocol):
    """State in, state out, one step for each of the increments.

    ``positions`` [A] and ``velocities`` [A/snapshot] are (n_replicas, n_atoms, 3), ``timestep`` h is in snapshots, and
    ``increments`` are standard normals xi, (n_steps, n_replicas, n_noise); without noise they give the number of steps.
    """

    def __call__(
        self, dynamics: Dynamics, positions: Tensor, velocities: Tensor, *, timestep: float, increments: Tensor
    ) -> tuple[Tensor, Tensor]: ...


class Program(Protocol):
    """Where OpenMM's instructions go: an ``openmm.CustomIntegrator``."""

    def addPerDofVariable(self, name: str, initialValue: float, /) -> Any: ...  # noqa: N802

    def addComputePerDof(self, variable: str, expression: str, /) -> Any: ...  # noqa: N802


@dataclass(frozen=True)
class Scheme:
    """A way to integrate dx = v dt, dv = (a(x) - friction v) dt + B(x) dW, in torch and in OpenMM alike.

    Attributes:
        name: As model files and callers say it.
        order: Exponent of the error in the timestep, without noise.
        strong_order: Exponent of the error of a path, where noise acts on velocities and B depends on x; None for
            schemes that take no noise. For a general B, with the same solver, it can be less.
        takes_noise: Whether it integrates models with noise.
        solve: Steps in torch.
        write_program: Writes the instructions of one step, for the name of the acceleration in expressions: a(x), and
            with noise a(x) + B(x) xi / sqrt(dt), with the same xi at every stage of a step. x, v, dt and ``friction``
            are defined; x and v are to be left at the end of the step.
        velocity_time: Where velocities stand, in steps from the positions.
    """

    name: str
    order: int
    strong_order: float | None
    takes_noise: bool
    solve: Solver
    write_program: Callable[[Program, str], None]
    velocity_time: float = 0.0


@cache
def find_schemes() -> Mapping[str, Scheme]:
    """All schemes by name: the default, then those without noise, then those with it, by order.

    What another package offers in vain, because it cannot be imported or has a name that is taken, is logged.
    """
    found = [*_find_own().values(), *OTHER_SCHEMES.load_all()]
    ordered = sorted(found, key=lambda s: (s.name != DEFAULT_SCHEME, s.takes_noise, s.order, s.name))
    return {scheme.name: scheme for scheme in ordered}


@cache
def _find_own() -> dict[str, Scheme]:
    return {scheme.name: scheme for scheme in load_own(schemes, "SCHEME")}


OTHER_SCHEMES = Plugins("openmm_neuralmd.schemes", "scheme", Scheme, _find_own)
"""Schemes of other packages."""


def check_scheme(scheme: Any, *, has_noise: bool) -> str:
    """The scheme's name itself; InputError if it is unknown or cannot integrate a model with noise."""
    known = find_schemes()
    if not isinstance(scheme, str) or scheme not in known:
        raise InputError(f"unknown scheme {scheme!r}; choose one of {', '.join(known)}")
    if has_noise and not known[scheme].takes_noise:
        raise InputError(
            f"scheme {scheme!r} integrates Newtonian models only, this one has noise; choose one of {join_noisy()}"
        )
    return scheme


def join_noisy() -> str:
    """The schemes that take models with noise, for messages."""
    return ", ".join(name for name, scheme in find_schemes().items() if scheme.takes_noise)
