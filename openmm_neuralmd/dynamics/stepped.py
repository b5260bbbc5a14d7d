"""The coarse step of a force, once: for one replica or ten thousand, on any device, with gradients or without.

A step follows a scheme (theory: "The coarse step"), is projected onto the ligand's shape, x <- P(x), and the
velocity is corrected by what the projection moved, v <- v + (P(x) - x)/h. A snapshot shows x and its vibration, which
the next step does not feel. OpenMM's programs in ``simulation.programs`` do the same, operation by operation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics, check_steps_per_snapshot
from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.dynamics.scheme import check_scheme, find_schemes
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.errors import NeuralMDError


class Projected(NamedTuple):
    """Positions in shape [A], (n_replicas, n_atoms, 3), and, by their place, replicas that could not be projected."""

    positions: Tensor
    errors: Mapping[int, NeuralMDError] = {}


Project = Callable[[Tensor], Projected]
Draw = Callable[[State, int], Tensor]
"""Standard normals of a step, (n_replicas, n), for a state and n."""


class Stepped:
    """Steps of a force between snapshots.

    Args:
        dynamics: The equation.
        scheme: One of ``find_schemes()``.
        steps_per_snapshot: The timestep h is its inverse.
        project: Brings bonds back; without it nothing vibrates.
        map_velocities: Initial velocities from positions [A] and those at hand [A/snapshot]; the same ones if None.
        draw: Where normals come from; counter-based by seed and step if None.

    Raises:
        InputError: If the scheme or the number of steps cannot be used.
    """

    n_history = 2

    def __init__(
        self,
        dynamics: Dynamics,
        *,
        scheme: str = "leapfrog",
        steps_per_snapshot: int = 1,
        project: Project | None = None,
        map_velocities: Callable[[Tensor, Tensor], Tensor] | None = None,
        draw: Draw | None = None,
    ) -> None:
        check_scheme(scheme, has_noise=dynamics.n_noise > 0)
        self.dynamics, self.scheme = dynamics, scheme
        self.steps_per_snapshot = check_steps_per_snapshot(steps_per_snapshot)
        self.timestep = 1.0 / steps_per_snapshot
        self._solve, self._project, self._map = find_schemes()[scheme].solve, project, map_velocities
        self._draw = _draw_counted if draw is None else draw
        self._vibrate = None if project is None else dynamics.compute_vibration

    @property
    def is_random(self) -> bool:
        return self.dynamics.n_noise > 0

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        """Present positions; velocities from the last two snapshots, mapped, or zero."""
        state = begin(history, seeds)
        if self._map is None:
            return state
        return replace(state, velocities=self._map(state.positions, state.velocities).to(state.positions))

    def advance(self, state: State) -> tuple[State, Tensor]:
        """One snapshot on."""
        normals = None
        for _ in range(self.steps_per_snapshot):
            state, normals = self.step(state)
        shown = state.positions
        if self._vibrate is not None and normals is not None:
            shown = shown + self._vibrate(state.fill().positions, normals)
        return state, shown.unsqueeze(0)

    def step(self, state: State) -> tuple[State, Tensor]:
        """One step, and the normals of its vibration, (n_replicas, 3 n_atoms), or none."""
        n_noise, h = self.dynamics.n_noise, self.timestep
        n_vibration = 0 if self._vibrate is None else state.positions[0].numel()
        state = state.fill()
        drawn = self._draw(state, n_noise + n_vibration).to(state.positions)
        increments, normals = drawn.split([n_noise, n_vibration], dim=1)
        x, v = self._solve(
            self.dynamics, state.positions, state.velocities, timestep=h, increments=increments.unsqueeze(0)
        )
        state = replace(state, positions=x, velocities=v, step=state.step + 1)
        state = state.fail_non_finite("use more steps per snapshot")
        if self._project is not None:
            projected = self._project(state.positions)
            v = state.velocities + (projected.positions - state.positions) / h
            state = replace(state, positions=projected.positions, velocities=v)
            state = state.fail(_name_step(projected.errors, state))
        return state, normals


def _draw_counted(state: State, n: int) -> Tensor:
    return draw_normals(state.seeds, state.step, n, device=state.positions.device)


def _name_step(errors: Mapping[int, NeuralMDError], state: State) -> dict[int, NeuralMDError]:
    known = {failure.replica for failure in state.failures}
    return {k: type(e)(f"step {state.step}: {e}") for k, e in errors.items() if k not in known}
