"""The snapshots of any propagator, one at a time, for Contexts that may be changed between any two of them.

A Context holds positions and velocities; a propagator's state may be more: what it shows is not always what it goes on
from, it may have memory, and it may make several snapshots at once. So the state after each snapshot is kept here, and
found again by the number of the step and the positions that were shown. Where a Context has others, because somebody
set them, loaded a checkpoint or began, the path starts anew from them and the velocities.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.propagator import Propagator, raise_failures
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM, compute_velocity_factor

_REMEMBERED = 256  # snapshots of all Contexts together; each takes some kilobytes
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # of positions in a Context of single precision, and their images
_MEMORY = "memory."


@dataclass
class Kept:
    """Where a path is once a snapshot was shown.

    Attributes:
        step: Snapshots before and with it, as the Context counts.
        shown: Its positions [nm], (n_atoms, 3).
        velocities: [nm/ps], (n_atoms, 3); the propagator's, or between snapshots that it made at once their difference.
        state: The propagator's, after all snapshots that it has made.
        pending: Those of them that are still to be shown [A], (n_pending, n_atoms, 3).
        following: After the next snapshot, once it was made.
    """

    step: int
    shown: np.ndarray
    velocities: np.ndarray
    state: State
    pending: Tensor
    following: "Kept | None" = None

    def pack(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name."""
        state = self.state
        return {
            "shown": self.shown,
            "velocities": self.velocities,
            "pending": self.pending.numpy(),
            "state_positions": state.positions.numpy(),
            "state_velocities": state.velocities.numpy(),
            "state_step": np.asarray(state.step),
            **{f"{_MEMORY}{name}": value.numpy() for name, value in state.memory.items()},
        }


def unpack(arrays: Mapping[str, np.ndarray], *, step: int, seed: int) -> Kept:
    """What ``Kept.pack`` packed, after so many snapshots.

    Raises:
        InputError: If arrays are missing or cannot belong together.
    """
    try:
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
        positions = tensors["state_positions"]
        memory = {name.removeprefix(_MEMORY): t for name, t in tensors.items() if name.startswith(_MEMORY)}
        n_steps = int(arrays["state_step"])
        state = State(positions, tensors["state_velocities"], (seed,), n_steps, memory)
        kept = Kept(step, arrays["shown"], arrays["velocities"], state, tensors["pending"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the state of the path cannot be read: {' '.join(str(error).split())}") from error
    shape = (len(kept.shown), 3)
    single = (positions, state.velocities, *state.memory.values())
    shapes = [kept.shown.shape, kept.velocities.shape, positions.shape[1:], state.velocities.shape[1:]]
    if {*map(tuple, shapes), tuple(kept.pending.shape[1:])} != {shape} or any(t.shape[:1] != (1,) for t in single):
        raise InputError("the state of the path cannot be read: its arrays have other shapes than one ligand's")
    return kept


class SnapshotPath:
    """Paths of one propagator with one seed, for all Contexts that one callable serves.

    Args:
        propagator: Makes the snapshots.
        seed: Of the noise.
        snapshot_interval: [ps].
    """

    def __init__(self, propagator: Propagator, *, seed: int, snapshot_interval: float) -> None:
        self._propagator, self._seed = propagator, seed
        self._factor = compute_velocity_factor(snapshot_interval)
        self._kept: deque[Kept] = deque(maxlen=_REMEMBERED)

    def find(self, step: int, positions: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> Kept | None:
        """What was kept at a step with these positions, to rounding in single precision.

        Args:
            step: The Context's count.
            positions: [nm], (n_atoms, 3).
            restore: Brings positions to the periodic image in which those are.
        """
        scale = max(1.0, float(np.abs(positions).max()))
        for kept in reversed(list(self._kept)):
            if kept.step == step and np.abs(restore(kept.shown) - positions).max() <= _ROUNDING * scale:
                return kept
        return None

    def keep(self, kept: Kept) -> None:
        """Go on from here where a Context stands there."""
        self._kept.append(kept)

    def start(self, step: int, past: np.ndarray, present: np.ndarray) -> Kept:
        """Start anew from two snapshots [nm], (n_atoms, 3) each, after so many steps."""
        history = ANGSTROM_PER_NM * torch.from_numpy(np.stack([past, present]))[None]
        state = self._propagator.start(history, [self._seed])
        # noise goes by the number of a step: that of steps before is not drawn again
        state = replace(state, step=step * getattr(self._propagator, "steps_per_snapshot", 1))
        velocities = self._factor * state.velocities[0].double().numpy()
        kept = Kept(step, np.array(present), velocities, state, state.positions.new_empty(0, *present.shape))
        self.keep(kept)
        return kept

    def advance(self, kept: Kept) -> Kept:
        """After the next snapshot; it is made once.

        Raises:
            NeuralMDError: What the propagator says of a replica that broke.
            NonFiniteStateError: If the snapshot holds NaN or infinity.
        """
        if kept.following is not None:
            return kept.following
        state, pending = kept.state, kept.pending
        if not len(pending):
            state, made = self._propagator.advance(state)
            raise_failures(state)
            pending = made[:, 0]
        shown = NM_PER_ANGSTROM * pending[0].double().numpy()
        if not np.isfinite(shown).all():
            raise NonFiniteStateError(f"step {kept.step + 1}: the model's snapshot is NaN or infinite")
        if len(pending) > 1:
            velocities = self._factor * ANGSTROM_PER_NM * (shown - kept.shown)
        else:
            velocities = self._factor * state.velocities[0].double().numpy()
        kept.following = Kept(kept.step + 1, shown, velocities, state, pending[1:])
        self.keep(kept.following)
        return kept.following
